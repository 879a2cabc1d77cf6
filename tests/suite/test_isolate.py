"""Cells in processes of their own: every way to die is a record, the others go on, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from suite import isolate, modelfiles, plan, records, run
from suite.errors import DataError, TaskError
from suite.invocation import Places
from suite.isolate import Step
from suite.plan import Cell
from suite.progress import Progress

ROOT = Path(__file__).parents[2]
QUIET = Progress(silent=True)
TinyCell = Callable[..., Cell]
#: Seconds; on an idle machine each step takes one or two.
PATIENCE = 300

FATAL = '''
import ctypes
import os
import resource
import signal
import time
from pathlib import Path

import torch

from suite import register_method


@register_method("segfaults", family="unstructured pruning")
def segfaults(model, bench):
    """Read where nothing is."""
    ctypes.string_at(0)


@register_method("hungers", family="unstructured pruning")
def hungers(model, bench):
    """Allocate without end, within what its process may have."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
    kept = []
    while True:
        kept.append(torch.zeros(2**23))


@register_method("is-killed", family="unstructured pruning")
def is_killed(model, bench):
    """End as the system ends a process where memory runs short."""
    os.kill(os.getpid(), signal.SIGKILL)


@register_method("sleeps", family="unstructured pruning")
def sleeps(model, bench):
    """Sleep for ever."""
    time.sleep(1000)
'''


@pytest.fixture
def fatal(install: Callable[..., Path]) -> None:
    install(methods={"fatal": FATAL})


@pytest.fixture
def run_cells(places: Any, origin: Any) -> Callable[..., Iterator[Any]]:
    def call(cells: list[Cell], **given: Any) -> Iterator[Any]:
        return isolate.run_cells(cells, given.pop("places", places), "cpu", origin, QUIET, **given)

    return call


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_death_is_a_record_and_the_other_cells_go_on(
    fatal: None, run_cells: Callable[..., Iterator[Any]], tiny_cell: TinyCell, workers: int
) -> None:
    names = ("dense", "segfaults", "dies", "is-killed", "hungers", "zeroes")
    found = {record.method: record for record in run_cells([tiny_cell(name) for name in names], workers=workers)}
    assert list(found) == list(names) if workers == 1 else set(found) == set(names)
    told = {name: (record.status, str(record.reason)) for name, record in found.items()}
    assert told["dense"] == told["zeroes"] == ("ok", "None")
    assert told["segfaults"] == ("error", "its process crashed (SIGSEGV)")
    assert told["dies"] == ("error", "its process ended early, with exit code 9")
    assert told["is-killed"][0] == "oom" and "killed" in told["is-killed"][1]
    assert told["hungers"][0] == "oom" and "memory" in told["hungers"][1]
    for record in found.values():
        line = records.encode(record)
        assert records.encode(records.decode(line)) == line
        assert record.data_sha256 == found["dense"].data_sha256 and record.recipe == found["dense"].recipe
        assert record.checkpoint_sha256 == found["dense"].checkpoint_sha256


def test_cell_that_takes_too_long_is_stopped_and_the_next_one_begins(
    fatal: None, run_cells: Callable[..., Iterator[Any]], tiny_cell: TinyCell
) -> None:
    list(run_cells([tiny_cell("dense")]))
    first, second = run_cells([tiny_cell("sleeps"), tiny_cell("sleeps", seed=1)], timeout=1.5)
    assert (first.method, first.status, first.reason) == ("sleeps", "timeout", "stopped after 1.5 s, its time limit")
    assert second.status == "timeout"


def test_dense_model_that_is_not_made_in_time_fails_every_cell_that_starts_from_it(
    fatal: None, run_cells: Callable[..., Iterator[Any]], tiny_task: Any, places: Any, tmp_path: Path
) -> None:
    """Thirty epochs do not fit in a second; the cells that want them are not tried one after the other."""
    cells = [Cell("tiny-slow", "zeroes", {"share": share, "finetune": False}, 0, "smoke") for share in (0.25, 0.5)]
    fresh = replace(places, artifacts=tmp_path / "artifacts")
    found = list(run_cells(cells, places=fresh, timeout=0.2))
    assert [(record.method, record.status) for record in found] == [("zeroes", "timeout")] * 2
    assert {record.reason for record in found} == {"its dense model: stopped after 0.2 s, its time limit"}


def test_process_of_a_cell_reads_its_data_once_wherever_it_was_started(
    monkeypatch: pytest.MonkeyPatch, tiny_cell: TinyCell, places: Any, origin: Any, tmp_path: Path
) -> None:
    asked: list[Any] = []
    prepare = run.prepare
    monkeypatch.setattr(run, "prepare", lambda *given: asked.append(given) or prepare(*given))  # type: ignore[func-returns-value]
    monkeypatch.chdir(tmp_path)
    here = replace(places, data=Path("data"), artifacts=Path("artifacts"), results=Path("results"))
    work = isolate.Work(isolate.Step(tiny_cell("dense")), here, "cpu", origin, threads=None)
    assert isolate._work(lambda told: None, work).status == "ok"  # type: ignore[union-attr]
    assert len(asked) == 1 and asked[0][2].data.is_absolute()


def test_cells_of_one_process_each_do_not_depend_on_each_other(
    run_cells: Callable[..., Iterator[Any]], tiny_cell: TinyCell, places: Any, origin: Any, tmp_path: Path
) -> None:
    """The same bits come from a process of a cell's own, from workers side by side, and from this process."""
    cells = [tiny_cell("dense"), tiny_cell("zeroes", finetune=True)]
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = [run.run_cell(cell, replace(places, artifacts=tmp_path / "0"), "cpu", origin, QUIET) for cell in cells]
    finally:
        torch.set_num_threads(threads)
    workers = max(2, os.cpu_count() or 1)  # one thread each
    there = {each.method: each for each in run_cells(
        cells, places=replace(places, artifacts=tmp_path / "1"), workers=workers)}  # fmt: skip
    for record in here:
        other = there[record.method]
        assert (other.metrics, other.curve, other.checkpoint_sha256) == (
            record.metrics, record.curve, record.checkpoint_sha256)  # fmt: skip
    weights = [sorted((tmp_path / name).rglob(modelfiles.WEIGHTS)) for name in "01"]
    assert [path.read_bytes() for path in weights[0]] == [path.read_bytes() for path in weights[1]]


def test_cell_whose_base_fails_has_failed_too_and_is_not_called_impossible(
    fatal: None, run_cells: Callable[..., Iterator[Any]], tiny_cell: TinyCell
) -> None:
    base = tiny_cell("segfaults")
    first, second, third = run_cells([base, tiny_cell("zeroes", base="segfaults"), tiny_cell("zeroes")])
    assert (second.status, second.reason) == ("error", "its base segfaults: its process crashed (SIGSEGV)")
    assert second.base_cell == first.cell == base.key and second.data_sha256 == third.data_sha256
    assert third.status == "ok"


def test_dense_model_that_failed_tells_whoever_starts_from_it_which_data_it_read(
    tiny_cell: TinyCell, make_record: Callable[..., Any]
) -> None:
    cell = tiny_cell("zeroes")
    why = isolate.failed(make_record(method="dense", status="oom", reason="no memory", data_sha256="d" * 64))
    assert why is not None
    told = isolate.inherited(Step(cell), {cell.dense.key: why})
    assert told is not None and (told.status, told.reason) == ("oom", "its dense model: no memory")
    assert told.known["data_sha256"] == "d" * 64
    assert isolate.failed(make_record(status="unsupported", reason="grouped convolutions")) is None
    assert isolate.inherited(Step(cell), {}) is None


def test_steps_train_a_dense_model_once_and_only_where_nobody_else_does(tiny_cell: TinyCell, tmp_path: Path) -> None:
    one, two, other = tiny_cell("zeroes"), tiny_cell("zeroes", share=0.25), tiny_cell("zeroes", seed=1)
    told = [(step.cell.method, step.cell.seed, step.trains_only) for step in isolate.steps([one, two, other], tmp_path)]
    assert told == [("dense", 0, True), ("zeroes", 0, False), ("zeroes", 0, False), ("dense", 1, True),
                    ("zeroes", 1, False)]  # fmt: skip
    asked = isolate.steps([one.dense, one], tmp_path)
    assert [(step.cell.method, step.trains_only) for step in asked] == [("dense", False), ("zeroes", False)]
    assert isolate.needs(Step(one)) == {one.dense.key} and isolate.needs(Step(one.dense)) == set()


def test_only_what_the_cells_need_is_imported_before_they_are_forked(tiny_cell: TinyCell) -> None:
    import importlib

    digits, cifar = tiny_cell("zeroes"), Cell("vgg16-cifar10", "quantize-static", {}, 0, "smoke")
    slow = {"sklearn.datasets", "torch_pruning", "torchao.quantization.pt2e"}
    assert slow & set(isolate.preload([digits], "cpu")) == {"sklearn.datasets"}
    assert slow & set(isolate.preload([cifar], "cpu")) == {"torchao.quantization.pt2e"}
    structured = Cell("vgg16-digits", "structured", {}, 0, "smoke")
    modules = isolate.preload([cifar, structured], "cpu")
    assert slow <= set(modules)
    for name in modules:
        importlib.import_module(name)
    program = """
        import importlib, os, sys
        own, gpu = (words.split() for words in sys.argv[1:])
        for name in own: importlib.import_module(name)
        import torch
        from suite import complexity, registry
        network, known = registry.build_model("vgg16", {"classes": 10, "width": 0.25}), set(sys.modules)
        torch.optim.SGD(network.parameters(), lr=0.1).zero_grad()
        complexity.macs(network, (3, 32, 32))
        print(len(set(sys.modules) - known))
        for name in gpu: importlib.import_module(name)
        if os.fork() == 0: os._exit(getattr(torch._C, "_cuda_isInBadFork", lambda: False)())
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    both = isolate.preload([digits], "cpu"), isolate.preload([digits, cifar, structured], "cuda")
    words = [sys.executable, "-c", textwrap.dedent(program), *map(" ".join, both)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    new, spoiled = map(int, done.stdout.split())
    assert new < 20, "a cell's process imports modules that all of them import (it was 814)"
    # torch's CUDA build says so without a GPU too
    assert not spoiled, "what was imported has looked for a GPU, and no process forked after that can use one"


def test_honest_runs_end_long_before_their_limit() -> None:
    """The longest cell of each profile, as planned for two cores, within a tenth of what it may take."""
    from suite import cost, registry

    for profile, limit in isolate.LIMITS.items():
        cells = plan.cells(list(registry.tasks().values()), [registry.method("dense"), registry.method("branch-alpha")],
                           settings={}, seeds=[0], profile=profile)  # fmt: skip
        longest = max(cost.training_macs(cell) for cell in cells) / (cost.MACS_PER_CORE * 2)
        assert longest < limit / 10, profile


def test_cell_of_the_full_profile_is_waited_for(run_cells: Callable[..., Iterator[Any]], tiny_cell: TinyCell) -> None:
    (found,) = run_cells([tiny_cell("dense")], timeout=max(isolate.LIMITS.values()))
    assert (found.status, found.reason) == ("ok", None)


def test_missing_data_are_named_before_anything_is_trained(
    run_cells: Callable[..., Iterator[Any]], tiny_cell: TinyCell, tmp_path: Path
) -> None:
    cells = [tiny_cell("dense"), Cell("vgg16-cifar10", "dense", {}, 0, "smoke")]
    with pytest.raises(DataError, match=r"^cifar10 is not in .*suite download cifar10 --data .*or put cifar10\.npz"):
        list(run_cells(cells, places=Places(tmp_path / "data", tmp_path / "artifacts", tmp_path / "results")))
    assert not (tmp_path / "artifacts").exists()


def test_fault_of_the_tasks_own_file_is_raised_and_no_record(
    install: Callable[..., Path], own_task: str, run_cells: Callable[..., Iterator[Any]], tmp_path: Path
) -> None:
    install(tasks={"theirs": own_task.replace("nn.Conv2d(2,", "nn.Conv2d(3,", 1)})
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 2)).astype(np.uint8)
    np.savez(tmp_path / "theirs.npz", x=pixels)
    cells = [Cell("theirs", name, {}, 0, "smoke") for name in ("dense", "l1-three-stage")]
    with pytest.raises(TaskError, match=r"model 'their-net' with options .* fails on \(2, 2, 4, 4\): RuntimeError"):
        list(run_cells(cells, places=Places(tmp_path, tmp_path, tmp_path)))
    going_on, found = [*cells, Cell("vgg16-digits", "dense", {}, 0, "smoke")], []
    with pytest.raises(TaskError, match="model 'their-net'"):
        for record in run_cells(going_on, places=Places(tmp_path, tmp_path, tmp_path)):
            found.append((record.task, record.status))
    assert found == [("vgg16-digits", "ok")], "what is wrong with one task keeps no other from being measured"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_ended_run_leaves_no_process_and_loses_nothing(
    start_cli: Callable[..., subprocess.Popen[str]], results_dir: Path, tmp_path: Path, end: signal.Signals
) -> None:
    (tmp_path / "wait").touch()
    asked = ("--task", "tiny", "--method", "dense", "--method", "waits", "--profile", "smoke")
    process = start_cli("run", *asked, "--results", results_dir)
    assert process.stderr is not None
    for line in process.stderr:
        if "--method waits" in line:
            break
    this = psutil.Process(process.pid)
    wait_until(lambda: any(each.children() for each in this.children()), "the method never began")
    family = [each.pid for each in this.children(recursive=True)]
    process.send_signal(end)
    printed, said = process.communicate(timeout=PATIENCE)
    wait_until(lambda: not any(map(is_alive, family)), f"some of {family} live on")
    assert "tiny dense" in printed and "Traceback" not in said
    if end is signal.SIGINT:
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith("prunemark: interrupted; what was finished is kept")
    assert [record.method for record in records.read_results(results_dir)[0]] == ["dense"]
