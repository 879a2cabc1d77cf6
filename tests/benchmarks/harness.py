"""What the harness itself costs, beside what it may: a table, and exit code 1 where a budget is exceeded.

`nox -s bench-self` runs it. Each figure is the best of a few, since other processes only ever add to it; CPU seconds
stand beside those of the clock, and count every process that was started. Nothing is written outside a temporary
folder.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What other processes leave to us becomes our child, so that its CPU seconds are counted (prctl(2)).
PR_SET_CHILD_SUBREAPER = 36
ATTEMPTS = 3
RECORDS = 5000


@dataclass(frozen=True)
class Figure:
    """What was found, in `unit`s, and the budget; None where there is none."""

    name: str
    found: float
    unit: str
    budget: float | None = None
    cpu_seconds: float | None = None

    @property
    def kept(self) -> bool:
        return self.budget is None or self.found <= self.budget

    def __str__(self) -> str:
        verdict = (
            "" if self.budget is None else f"budget {self.budget:g} {self.unit} {'kept' if self.kept else 'BROKEN'}"
        )
        cpu = "" if self.cpu_seconds is None else f"{self.cpu_seconds:.2f} s CPU"
        return f"{self.name:46} {self.found:10.4g} {self.unit:10} {cpu:14} {verdict}".rstrip()


# ------------------------------------------------------------------------------------------------------ a measured pass


def measured_pass() -> Iterator[Figure]:
    """What a pass takes inside a timed block more than in a bare loop, as a share of the quickest network's pass."""
    import torch

    from suite import latency, registry

    torch.set_num_threads(1)
    images = torch.zeros(1, 3, 32, 32)
    network = latency.Network(lambda inputs: None, images, lambda: None)
    passes = 100_000

    def bare() -> None:
        call, inputs = network.model, images
        for _ in range(passes):
            call(inputs)

    # The shortest block that is timed has five passes: what a block costs is spread over no more.
    in_block = min(network.time(latency.FEWEST_PASSES) for _ in range(10_000))
    extra = in_block - best(bare) / passes
    with torch.inference_mode():
        model = registry.build_model("vgg16", {"classes": 10, "width": 0.25}).eval()
        one_pass = min(latency.eager(model, images).time(20) for _ in range(5))
    yield Figure("a pass of vgg16-digits, batch 1", 1e6 * one_pass, "us")
    yield Figure("harness in a measured pass", 100 * extra / one_pass, "%", budget=2)


def measured(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best(work: Callable[[], object]) -> float:
    return min(measured(work) for _ in range(ATTEMPTS))


# ---------------------------------------------------------------------------------------------------------- processes


def cpu_seconds() -> float:
    """Of all processes that we started, and that they left to us, and that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command(*words: str, folder: Path, attempts: int = ATTEMPTS) -> tuple[float, float]:
    """Seconds of the clock and of the CPU that a Python process takes, the best of a few. It must end well."""
    found = []
    for _ in range(attempts):
        before = cpu_seconds()
        started = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        elapsed = time.perf_counter() - started
        wait_for_orphans()
        found.append((elapsed, cpu_seconds() - before))
    return min(found)


def wait_for_orphans() -> None:
    """Until everything that a command has left behind has ended (its fork server, a moment later)."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def commands(folder: Path) -> Iterator[Figure]:
    """How long the user waits before anything happens."""
    nothing, _ = command("-c", "pass", folder=folder)
    budgets = {("-c", "import suite"): 1.5, ("-m", "suite", "--help"): 1.5, ("-m", "suite", "list", "tasks"): None,
               ("-c", "import suite.isolate"): None}  # fmt: skip
    for words, budget in budgets.items():
        seconds, used = command(*words, folder=folder)
        yield Figure(" ".join(("python", *words)), seconds, "s", budget, used)
    heavy = subprocess.run(
        [sys.executable, "-c", "import sys, suite; print('torch' in sys.modules, 'numpy' in sys.modules)"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    yield Figure("heavy packages that `import suite` loads", heavy.stdout.count("True"), "", budget=0)
    yield Figure("python -c pass", nothing, "s")


CHILDREN = """
import os, time
from suite import child, isolate, plan, registry
if __name__ == "__main__":
    methods = list(registry.catalogue().methods.values())
    cells = plan.cells([registry.task("vgg16-digits")], methods, settings={}, seeds=[0], profile="smoke", which="first")
    started = time.perf_counter()
    child.start_server(isolate.preload(cells, "cpu"))
    child.run(os.getpid, seconds=600)
    print(time.perf_counter() - started)
    for _ in range(10):
        started = time.perf_counter()
        child.run(os.getpid, seconds=600)
        print(time.perf_counter() - started)
"""


def children(folder: Path) -> Iterator[Figure]:
    """What a process of its own costs a cell or a row."""
    script = folder / "children.py"
    script.write_text(CHILDREN)
    done = subprocess.run([sys.executable, script], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          check=True, capture_output=True, text=True)  # fmt: skip
    wait_for_orphans()
    first, *others = map(float, done.stdout.split())
    yield Figure("the first child process, everything imported", first, "s")
    yield Figure("each further child process", statistics.median(others), "s", budget=0.5)


# ------------------------------------------------------------------------------------------------------ many machines


CELLS = """
import sys, time
from pathlib import Path
from suite import datafiles, execute, invocation, plan, registry
from suite.progress import Progress
if __name__ == "__main__":
    folder, executor, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    places = invocation.Places(datafiles.default_root(), folder / "artifacts", folder / "results")
    session = execute.Session(places, "cpu", invocation.provenance(), Progress(silent=True))
    method = registry.method("global-unstructured")
    settings = [method.complete({"sparsity": (each + 1) / (count + 2), "epochs": 0}) for each in range(count + 1)]
    first, *others = [plan.Cell("vgg16-digits", method.name, each, 0, "smoke") for each in settings]
    list(execute.compress([first], session, executor))  # trains the dense model, and imports everything
    started, used = time.perf_counter(), time.process_time()
    done = list(execute.compress(others, session, executor))
    print((time.perf_counter() - started) / count, (time.process_time() - used) / count)
    assert all(each.record.status == "ok" for each in done), [each.record.reason for each in done]
"""


def many_machines(folder: Path, count: int = 40) -> Iterator[Figure]:
    """What a cell costs more on a Dask worker, on loopback, than in a process here: the time in which it stands still.

    Cells that take next to no time themselves, one at a time, so that nothing hides behind the work of another.
    """
    script = folder / "cells.py"
    script.write_text(CELLS)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # as the worker's one thread

    def per_cell(name: str, executor: str) -> tuple[float, float]:
        done = subprocess.run([sys.executable, script, folder / name, executor, str(count)], cwd=folder,
                              env=environment, check=True, capture_output=True, text=True)  # fmt: skip
        seconds, used = map(float, done.stdout.split())
        return seconds, used

    here, _ = per_cell("here", "local")
    yield Figure("a cell that trains nothing, here", here, "s")
    for name, models, budget in (("sees", str(folder / "sees" / "artifacts"), 1.0), ("sent", str(folder / "own"), 2.0)):
        with dask(folder, PRUNEMARK_ARTIFACTS=models) as executor:
            seconds, used = per_cell(name, executor)
        yield Figure(f"more on a Dask worker that {MODELS[name]}", seconds - here, "s", budget)
        yield Figure("of which the client's own processor", used, "s")


MODELS = {"sees": "sees the models", "sent": "is sent its models"}


@contextlib.contextmanager
def dask(folder: Path, **more: str) -> Iterator[str]:
    """A scheduler and a worker, processes on loopback, as an executor's name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DASK_TEMPORARY_DIRECTORY": str(folder)} | more
    address = f"tcp://127.0.0.1:{port}"
    commands = (["scheduler", "--host", "127.0.0.1", "--port", port],
                ["worker", address, "--nthreads", "1", "--no-nanny", "--preload", "suite.dask_worker"])  # fmt: skip
    with open(folder / "dask.log", "ab") as log:
        started = [subprocess.Popen([sys.executable, "-m", f"distributed.cli.dask_{words[0]}", *words[1:],
                                     "--no-dashboard"], env=environment, cwd=folder, stdout=log, stderr=log)
                   for words in commands]  # fmt: skip
    try:
        wait_for_scheduler(int(port))
        yield f"dask:{address}"
    finally:
        for process in started:
            process.kill()
            process.wait()


def wait_for_scheduler(port: int, seconds: float = 60) -> None:
    """Until it listens; the run itself waits for the worker."""
    limit = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.1)


# -------------------------------------------------------------------------------------------------- records and pages


def records_and_pages(folder: Path) -> Iterator[Figure]:
    """Reading, and building the pages of, thousands of records: ours again and again, under other seeds."""
    import msgspec

    from suite import records

    known = [record for record in records.read_results(ROOT / "results")[0] if record.kind == "accuracy"]
    results = folder / "results"
    path = results / known[0].machine / "20250101T000000Z-abcdef.jsonl"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for index in range(RECORDS):
            record = known[index % len(known)]
            seed = 1000 + index // len(known)
            asked = {name: getattr(record, name) for name in ("task", "method", "hyperparameters", "profile")}
            file.write(
                records.encode(msgspec.structs.replace(record, seed=seed, cell=records.cell_key(**asked, seed=seed)))
            )
    found: list[int] = []
    seconds = best(lambda: found.append(len(records.read_results(results)[0])))
    assert set(found) == {RECORDS}, found
    yield Figure("records read", RECORDS / seconds, "records/s")
    seconds, used = command("-m", "suite", "site", "--results", str(results), "--out", str(folder / "site"),
                            folder=folder, attempts=1)  # fmt: skip
    yield Figure(f"pages of {RECORDS} records", seconds, "s", budget=60, cpu_seconds=used)


# --------------------------------------------------------------------------------------------------------- quickstart


def quickstart(folder: Path, phases: list[list[str]]) -> Iterator[Figure]:
    """The quickstart's own commands, in a folder that has seen none of them."""
    total = total_cpu = 0.0
    (folder / "results").symlink_to(ROOT / "results")
    for words in phases:
        seconds, used = command(*words[1:], folder=folder, attempts=1)
        total, total_cpu = total + seconds, total_cpu + used
        yield Figure(f"quickstart: {' '.join(words[1:4])}", seconds, "s", cpu_seconds=used)
    yield Figure("quickstart, on an idle machine of two cores", total, "s", budget=300, cpu_seconds=total_cpu)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--quickstart", type=json.loads, metavar="JSON", help="its commands, to be timed too")
    options = parser.parse_args()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n", flush=True)
    broken = 0
    with tempfile.TemporaryDirectory(prefix="prunemark-") as name:
        folder = Path(name)
        groups = [measured_pass(), commands(folder), children(folder), many_machines(folder), records_and_pages(folder)]
        if options.quickstart:
            fresh = folder / "quickstart"
            fresh.mkdir()
            groups.append(quickstart(fresh, options.quickstart))
        for group in groups:
            for figure in group:
                print(figure, flush=True)
                broken += not figure.kept
    print(f"\n{broken} budgets broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
