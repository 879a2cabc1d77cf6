"""One function in a fresh process: its result, or why there is none. The process that waits does nothing meanwhile."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from suite.errors import SuiteError, Unsupported

T = TypeVar("T")

#: What the forkserver imports, once, so that a child starts in 0.1 s instead of 3 s. It imports and runs nothing: a
#: thread pool or a warmed allocator would be inherited by every child.
PRELOAD = ("torch", "pytest", "pytest_benchmark.plugin", "suite.artifacts", "suite.bench", "suite.latency",
           "suite.memory", "models")  # fmt: skip
#: How an allocation that the system refused reads in torch's RuntimeErrors, on the CPU and on CUDA.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")


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
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()  # the child's end alone is left: its death ends the wait
    answer: tuple[str, Any] | None = None
    try:
        if not receiver.poll(seconds):
            raise ChildFailed("timeout", f"stopped after {seconds:.3g} s, its time limit")
        answer = receiver.recv()
    except EOFError:
        process.join()
        raise _death(process.exitcode or 0) from None
    finally:
        if answer is not None:
            process.join(timeout=5)
        if process.is_alive():  # it ran out of time, or the person who waits pressed Ctrl-C
            process.kill()
            process.join()
        receiver.close()
    status, result = answer
    if status != "ok":
        raise ChildFailed(status, result)
    return result  # type: ignore[no-any-return]


def _child(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Standard output belongs to the command line's --json; standard error to its progress.
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


def failure(error: BaseException) -> tuple[str, str]:
    """An exception as a record's status and one-line reason."""
    text = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, ChildFailed):
        return error.status, str(error)
    if isinstance(error, MemoryError) or any(phrase in str(error).lower() for phrase in _OUT_OF_MEMORY):
        return "oom", f"out of memory: {text[:300] or 'an allocation failed'}"
    if isinstance(error, Unsupported):
        return "unsupported", text
    if isinstance(error, SuiteError):
        return "error", text
    return "error", f"{type(error).__name__}: {text[:300]}"


def _death(exitcode: int) -> ChildFailed:
    if exitcode == -signal.SIGKILL:
        return ChildFailed("oom", "the measured process was killed, most likely by the system for want of memory")
    if exitcode < 0:
        return ChildFailed("error", f"the measured process crashed ({signal.Signals(-exitcode).name})")
    return ChildFailed("error", f"the measured process ended early, with exit code {exitcode}")
