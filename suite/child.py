"""Functions in fresh processes: their results, or why there are none. Whoever waits does nothing meanwhile."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from suite import uncollected
from suite.errors import SuiteError, Unsupported, first_line

T = TypeVar("T")
#: Seconds; the system counts a wait's milliseconds in 32 bits, and a full profile's limit of 28 days has more.
LONGEST_WAIT = 24 * 3600
#: What a child says while it works, and who is told it.
Told = Callable[[Any], None]

#: What the forkserver imports, once, so that a child starts in 0.1 s instead of 3 s. It imports and runs nothing: a
#: thread pool or a warmed allocator would be inherited by every child.
PRELOAD = (uncollected.PRELOADED, "torch", "pytest", "pytest_benchmark.plugin", "suite.artifacts", "suite.bench",
           "suite.latency", "suite.memory", "models")  # fmt: skip
#: How an allocation that the system refused reads in torch's RuntimeErrors, on the CPU and on CUDA (cuBLAS's
#: ALLOC_FAILED, and cuDNN's INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED).
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory",
                  "alloc_failed", "allocation_failed")  # fmt: skip


class ChildFailed(SuiteError):
    """The function came to no result. `status` is a record's: `oom`, `timeout`, `error` or `unsupported`."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def run(function: Callable[..., T], *arguments: Any, seconds: float) -> T:
    """`function(*arguments)` in a fresh process, which ends with it; both sides of the call must pickle.

    Its standard output and error are discarded. ChildFailed where it raises, crashes, runs out of memory, or takes
    longer than `seconds`.
    """
    child: Child[T] = Child(function, arguments, seconds=seconds)
    try:
        while not child.is_over:
            wait([child])
        return child.result()
    finally:
        child.kill()


def start_server(preload: Sequence[str] = PRELOAD) -> None:
    """Start the process that children are forked from, unless it runs: whoever asks first says what it imports."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(preload))
    # A library that looks for a GPU while the server imports it asks the driver, and takes CUDA from no child.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    # Blocked in the server and so in each child: Ctrl-C is the waiting process's alone, which then kills them.
    multiprocessing.resource_tracker.ensure_running()  # or the server starts it, which lets the signal in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Child(Generic[T]):
    """A function at work in a process of its own, for at most `seconds`.

    With `told` the function is given another argument before its own, a call that hands `told` whatever pickles, and
    what it prints goes to standard error; without, it prints nowhere.
    """

    def __init__(
        self, function: Callable[..., T], arguments: tuple[Any, ...], *, seconds: float, told: Told | None = None
    ) -> None:
        start_server()
        context = multiprocessing.get_context("forkserver")
        self.connection, sender = context.Pipe(duplex=False)
        # A daemon may start no processes: one that is measured does not, a method's training may.
        self._process = context.Process(
            target=_child, args=(sender, function, arguments, told is not None), daemon=told is None
        )
        self._process.start()
        sender.close()  # the child's end alone is left: its death ends the wait
        self._told = told
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._answer: tuple[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        return self._answer is not None

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def listen(self) -> None:
        """Take the next thing that it has said, if there is any; end it where its time is up."""
        try:
            while self._answer is None and self.connection.poll():
                kind, value = self.connection.recv()
                if kind != "told":
                    self._answer = kind, value
                elif self._told is not None:
                    self._told(value)
        except EOFError:
            self._process.join()
            self._answer = _death(self._process.exitcode or 0)
        if self._answer is None and self.seconds_left == 0:
            self._answer = "timeout", f"stopped after {self._seconds:.10g} s, its time limit"
            self.kill()

    def result(self) -> T:
        """What the function returned; ChildFailed where it returned nothing. Only once it is over."""
        assert self._answer is not None
        status, value = self._answer
        if status != "ok":
            raise ChildFailed(status, value)
        self._process.join(timeout=5)
        return value  # type: ignore[no-any-return]

    def kill(self) -> None:
        """End it, and whatever it has started, unless it has ended; then forget it."""
        if self._process.pid is not None:
            with contextlib.suppress(OSError):  # it leads no group, or nothing is left of it
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._process.join()
        self.connection.close()


def wait(children: Iterable[Child[Any]], longest: float = LONGEST_WAIT) -> None:
    """Sleep until one of the children says something, ends, or runs out of time; then listen to all of them.

    After `longest` seconds it returns all the same: whoever waits asks whether they are over, and waits again.
    """
    children = list(children)
    left = min(child.seconds_left for child in children)
    multiprocessing.connection.wait([child.connection for child in children], min(left, longest))
    for child in children:
        child.listen()


def _child(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], tells: bool) -> None:
    uncollected.resume()
    os.setsid()  # a group of its own, to be killed as one
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if tells:  # standard output belongs to the command line's records
        os.dup2(2, 1)
        faulthandler.enable()
        arguments = (lambda value: sender.send(("told", value)), *arguments)
    else:
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(silence, stream)
    # Where memory runs short the system is to stop this process and not the run, which then records it.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("900")
    try:
        answer = ("ok", function(*arguments))
    except BaseException as error:
        answer = failure(error)
    sender.send(answer)
    sender.close()


def _die_with_parent() -> None:
    """Killed without a chance to clean up, the process that waits must leave nothing behind that goes on for hours."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def failure(error: BaseException) -> tuple[str, str]:
    """An exception as a record's status and one-line reason."""
    text = first_line(error)
    if isinstance(error, ChildFailed):
        return error.status, str(error)
    if is_out_of_memory(error):
        return "oom", f"out of memory: {text[:300] or 'an allocation failed'}"
    if isinstance(error, Unsupported):
        return "unsupported", text
    if isinstance(error, SuiteError):
        return "error", text
    return "error", f"{type(error).__name__}: {text[:300]}"


def is_out_of_memory(error: BaseException) -> bool:
    """Was it the system that refused an allocation? torch says so in a RuntimeError's words."""
    return isinstance(error, MemoryError) or any(phrase in str(error).lower() for phrase in _OUT_OF_MEMORY)


def _death(exitcode: int) -> tuple[str, str]:
    if exitcode == -signal.SIGKILL:
        return "oom", "its process was killed, most likely by the system for want of memory"
    if exitcode < 0:
        return "error", f"its process crashed ({signal.Signals(-exitcode).name})"
    return "error", f"its process ended early, with exit code {exitcode}"
