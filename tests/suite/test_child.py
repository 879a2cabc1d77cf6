"""A function in a fresh process: results come back, and every kind of death becomes a status with a reason."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from suite import child
from suite.child import ChildFailed


def test_result_comes_back_from_another_process() -> None:
    first, second = child.run(os.getpid, seconds=120), child.run(os.getpid, seconds=120)
    assert len({first, second, os.getpid()}) == 3


def collector() -> tuple[bool, int, int]:
    """Is it on, and how many objects does it leave alone, and look at?"""
    return gc.isenabled(), gc.get_freeze_count(), len(gc.get_objects())


def test_child_collects_garbage_but_not_among_what_the_server_imported() -> None:
    is_on, left_alone, looked_at = child.run(collector, seconds=120)
    assert is_on and left_alone > 100_000 and looked_at < left_alone / 10


def test_server_spends_nothing_on_its_end() -> None:
    code = (
        "import time, psutil\nimport multiprocessing.forkserver as f\nfrom suite import child\n"
        "child.run(time.time, seconds=120)\nserver = psutil.Process(f._forkserver._forkserver_pid)\n"
        "before = sum(server.cpu_times()[:2])\nf._forkserver._stop()\nafter = psutil.Process().cpu_times()\n"
        "print(before, after.children_user + after.children_system)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, after = map(float, said.split())
    assert before > 1 and after < before + 0.5, "to take a server's modules down cost 1.7 s"


def test_exception_becomes_an_error_with_one_line() -> None:
    with pytest.raises(ChildFailed, match=r"^FileNotFoundError: .*no-such-folder'$") as caught:
        child.run(os.listdir, "no-such-folder", seconds=120)
    assert caught.value.status == "error"


def test_crash_becomes_an_error_that_names_the_signal() -> None:
    with pytest.raises(ChildFailed, match="crashed \\(SIGABRT\\)") as caught:
        child.run(os.abort, seconds=120)
    assert caught.value.status == "error"


def test_killed_child_ran_out_of_memory() -> None:
    with pytest.raises(ChildFailed, match="killed") as caught:
        child.run(signal.raise_signal, signal.SIGKILL, seconds=120)
    assert caught.value.status == "oom"


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", False),
    ],
)
def test_gpu_says_in_its_own_words_that_it_has_no_memory(words: str, refused: bool) -> None:
    assert child.is_out_of_memory(RuntimeError(words)) is refused


def test_refused_allocation_is_out_of_memory() -> None:
    with pytest.raises(ChildFailed, match="out of memory") as caught:
        child.run(bytes, 1 << 60, seconds=120)
    assert caught.value.status == "oom"


def test_early_exit_is_an_error() -> None:
    with pytest.raises(ChildFailed, match="exit code 3") as caught:
        child.run(os._exit, 3, seconds=120)
    assert caught.value.status == "error"


def test_time_out_ends_the_child_soon() -> None:
    child.run(os.getpid, seconds=120)  # the server is up
    started = time.perf_counter()
    with pytest.raises(ChildFailed, match=r"stopped after 0\.3 s") as caught:
        child.run(time.sleep, 60, seconds=0.3)
    assert caught.value.status == "timeout"
    assert time.perf_counter() - started < 5


def sleep_beside_another(tell: Callable[[int], None]) -> None:
    tell(subprocess.Popen(["sleep", "1000"]).pid)
    time.sleep(1000)


def test_killed_child_takes_what_it_has_started_with_it() -> None:
    told: list[int] = []
    sleeper: child.Child[None] = child.Child(sleep_beside_another, (), seconds=120, told=told.append)
    try:
        while not told:
            child.wait([sleeper])
    finally:
        sleeper.kill()
    limit = time.monotonic() + 60
    while psutil.pid_exists(told[0]) and psutil.Process(told[0]).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit, "it lives on"
        time.sleep(0.05)


def start_another(tell: Callable[[int], None]) -> None:
    tell(subprocess.Popen(["sleep", "1000"]).pid)


def test_child_that_has_ended_leaves_nothing_it_has_started() -> None:
    told: list[int] = []
    starter: child.Child[None] = child.Child(start_another, (), seconds=120, told=told.append)
    while not starter.is_over:
        child.wait([starter])
    starter.result()
    starter.kill()
    limit = time.monotonic() + 60
    while psutil.pid_exists(told[0]) and psutil.Process(told[0]).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit, "it lives on"
        time.sleep(0.05)


def test_the_server_hears_no_interrupt_from_its_first_moment() -> None:
    code = (
        "import multiprocessing.forkserver as f\nfrom suite import child\nchild.start_server(())\n"
        "print(open(f'/proc/{f._forkserver._forkserver_pid}/status').read())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    blocked = next(line.split()[1] for line in said.splitlines() if line.startswith("SigBlk"))
    assert int(blocked, 16) & (1 << (signal.SIGINT - 1)), "or Ctrl-C prints the server's traceback"


def count(tell: Callable[[int], None], upto: int) -> str:
    for number in range(upto):
        tell(number)
    print("on standard error", flush=True)
    return "done"


def test_child_tells_while_it_works_and_prints_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[int] = []
    counter: child.Child[str] = child.Child(count, (1000,), seconds=120, told=told.append)
    while not counter.is_over:
        child.wait([counter])
    assert counter.result() == "done" and told == list(range(1000))
    counter.kill()
    assert capfd.readouterr().out == ""


def test_waiting_costs_no_processor_time() -> None:
    child.run(os.getpid, seconds=120)
    before = time.process_time()
    child.run(time.sleep, 1.0, seconds=120)
    assert time.process_time() - before < 0.1


def test_child_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    child.run(print, "hello", seconds=120)
    child.run(os.system, "echo hello; echo hello >&2", seconds=120)
    assert capfd.readouterr() == ("", "")
