"""Many cells: what is fresh is skipped, what fails stands beside what does not, and nothing finished is ever lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from suite import bench, conditions, energy, execute, invocation, machine, plan, records
from suite.bench import Row
from suite.errors import DataError, DeviceError, TaskError, UsageError
from suite.execute import Outcome, Session
from suite.plan import Cell
from suite.progress import Progress

QUIET = Progress(silent=True)
Start = Callable[..., Session]


@pytest.fixture
def session(places: Any, results_dir: Path) -> Start:
    """`session(force=..., ...)`: another invocation, with the results of this test and the models of this module."""

    def call(**changes: Any) -> Session:
        asked = {"places": replace(places, results=results_dir), "device": "cpu", "progress": QUIET} | changes
        return Session(origin=invocation.provenance(), **asked)

    return call


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def said(outcomes: Iterator[Outcome]) -> list[tuple[str, str, bool]]:
    return [(outcome.record.method, outcome.record.status, outcome.skipped) for outcome in outcomes]


def test_second_run_skips_what_is_fresh(session: Start, tiny_cell: Callable[..., Cell], results_dir: Path) -> None:
    cells = [tiny_cell("dense"), tiny_cell("zeroes")]
    first = list(execute.compress(cells, session()))
    assert [outcome.skipped for outcome in first] == [False, False]
    before = contents(results_dir)
    assert len(before) == 2, "one file of records, one of the machine"
    second = list(execute.compress(cells, session()))
    assert [outcome.skipped for outcome in second] == [True, True]
    assert [records.encode(outcome.record) for outcome in second] == [
        records.encode(outcome.record) for outcome in first
    ]
    assert contents(results_dir) == before
    more = [*cells, tiny_cell("zeroes", share=0.25)]
    assert said(execute.compress(more, session())) == [
        ("dense", "ok", True), ("zeroes", "ok", True), ("zeroes", "ok", False)]  # fmt: skip


def test_force_measures_again_into_a_new_file(
    session: Start, tiny_cell: Callable[..., Cell], results_dir: Path
) -> None:
    (one,) = execute.compress([tiny_cell("zeroes")], session())
    before = contents(results_dir)
    (two,) = execute.compress([tiny_cell("zeroes")], session(force=True))
    assert not two.skipped and two.record.run != one.record.run
    assert two.record.metrics == one.record.metrics
    after = contents(results_dir)
    assert {path: after[path] for path in before} == before, "what was there is untouched"
    assert len(after) == len(before) + 1
    found, problems = records.read_results(results_dir)
    assert len(found) == 2 and not problems
    assert [record.run for record in plan.standing(found).values()] == [two.record.run], "the newest counts"


def test_other_cells_go_on_where_one_fails(session: Start, tiny_cell: Callable[..., Cell], results_dir: Path) -> None:
    cells = [tiny_cell(name) for name in ("dense", "raises", "refuses", "zeroes")]
    expected = [
        ("dense", "ok", False),
        ("raises", "error", False),
        ("refuses", "unsupported", False),
        ("zeroes", "ok", False),
    ]
    assert said(execute.compress(cells, session())) == expected
    found, problems = records.read_results(results_dir)
    assert [(record.method, record.status) for record in found] == [each[:2] for each in expected] and not problems
    skipped = {method: skipped for method, _, skipped in said(execute.compress(cells, session()))}
    assert skipped == {"dense": True, "zeroes": True, "raises": False, "refuses": False}, "only what is ok"


def test_stale_record_does_not_stand_and_is_kept(
    session: Start, tiny_cell: Callable[..., Cell], results_dir: Path
) -> None:
    (one,) = execute.compress([tiny_cell("zeroes")], session())
    (path,) = records.record_files(results_dir)
    path.write_bytes(records.encode(msgspec.structs.replace(one.record, freshness="0" * 64)))
    before = path.read_bytes()
    assert said(execute.compress([tiny_cell("zeroes")], session())) == [("zeroes", "ok", False)]
    assert path.read_bytes() == before
    assert said(execute.compress([tiny_cell("zeroes")], session())) == [("zeroes", "ok", True)]


def test_record_of_another_device_does_not_stand(
    session: Start, tiny_cell: Callable[..., Cell], results_dir: Path
) -> None:
    (one,) = execute.compress([tiny_cell("zeroes")], session())
    (path,) = records.record_files(results_dir)
    path.write_bytes(records.encode(msgspec.structs.replace(one.record, device="cuda")))
    assert said(execute.compress([tiny_cell("zeroes")], session())) == [("zeroes", "ok", False)]


def test_model_that_another_run_has_made_meanwhile_is_not_made_again(
    session: Callable[..., Session], tiny_cell: Callable[..., Cell]
) -> None:
    cells = [tiny_cell("zeroes")]
    (one,) = execute.compress(cells, session(), for_models=True)
    (two,) = execute.compress(cells, session(), for_models=True)  # as a benchmark asks that found none to begin with
    assert (one.skipped, two.skipped) == (False, True) and two.record.run == one.record.run
    (three,) = execute.compress(cells, session(force=True), for_models=True)
    assert not three.skipped


def test_interrupted_run_keeps_what_was_finished_and_goes_on(
    session: Start, tiny_cell: Callable[..., Cell], results_dir: Path
) -> None:
    class CtrlC(Progress):
        def say(self, text: str) -> None:
            if "--method zeroes" in text:
                raise KeyboardInterrupt

    cells = [tiny_cell("dense"), tiny_cell("zeroes")]
    with pytest.raises(KeyboardInterrupt):
        list(execute.compress(cells, session(progress=CtrlC(silent=True))))
    assert [record.method for record in records.read_results(results_dir)[0]] == ["dense"]
    assert said(execute.compress(cells, session())) == [("dense", "ok", True), ("zeroes", "ok", False)]


def test_damaged_results_are_named_and_do_not_stop_a_run(
    session: Start, tiny_cell: Callable[..., Cell], results_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results_dir / "m").mkdir(parents=True)
    (results_dir / "m" / "r.jsonl").write_bytes(b'{"half a rec')
    before = contents(results_dir)
    assert said(execute.compress([tiny_cell("zeroes")], session(progress=Progress()))) == [("zeroes", "ok", False)]
    assert {path: contents(results_dir)[path] for path in before} == before
    assert f"passed over: {results_dir / 'm' / 'r.jsonl'}:1: " in capsys.readouterr().err


def test_unknown_executor_is_a_usage_error_with_the_nearest_one(session: Start, tiny_cell: Callable[..., Cell]) -> None:
    with pytest.raises(UsageError, match=r"unknown executor 'locale': did you mean 'local'\?"):
        list(execute.compress([tiny_cell("dense")], session(), "locale"))


# ------------------------------------------------------------------------------------------------------------- workers


def test_workers_give_the_records_of_one_process(
    session: Start, tiny_cell: Callable[..., Cell], places: Any, tmp_path: Path
) -> None:
    cells = [tiny_cell("dense"), tiny_cell("zeroes", finetune=True), tiny_cell("raises")]
    alone = {outcome.record.cell: outcome.record for outcome in execute.compress(cells, session())}
    fresh = replace(places, results=tmp_path / "two", artifacts=tmp_path / "artifacts")
    together = [outcome.record for outcome in execute.compress(cells, session(places=fresh, workers=2))]
    assert {record.cell for record in together} == set(alone) and len(together) == 3
    for record in together:
        other = alone[record.cell]
        for name in ("hyperparameters", "status", "reason", "architecture", "freshness", "recipe", "data_sha256"):
            assert getattr(record, name) == getattr(other, name), name
        assert record.metrics.keys() == other.metrics.keys()
        for name in ("parameters", "nonzero_parameters", "macs", "size_bytes", "training_macs"):
            assert record.metrics.get(name) == other.metrics.get(name), name
    assert len({record.checkpoint_sha256 for record in together}) == 1
    found, problems = records.read_results(tmp_path / "two")
    assert len(found) == 3 and not problems
    assert len(list((tmp_path / "artifacts").glob("tiny/dense/*/model.safetensors"))) == 1, "trained once"


# -------------------------------------------------------------------------------------------------------- benchmarking


def test_jobs_begin_with_the_noise_floor_of_each_task(tiny_cell: Callable[..., Cell]) -> None:
    hot, cold = Row(1, 1), Row(1, 1, cache="cold")
    found = execute.jobs([tiny_cell("zeroes"), tiny_cell("zeroes", seed=1)], [hot, cold])
    assert [(job.cell.method, job.cell.seed, job.kind, job.row.cache) for job in found] == [
        ("dense", 0, "noise-floor", "hot"), ("dense", 0, "noise-floor", "cold"),
        ("zeroes", 0, "latency", "hot"), ("zeroes", 0, "latency", "cold"),
        ("zeroes", 1, "latency", "hot"), ("zeroes", 1, "latency", "cold"),
        ("zeroes", 0, "memory", "hot"), ("zeroes", 1, "memory", "hot"),
    ]  # fmt: skip


def test_on_cuda_memory_and_energy_are_measured_once_a_batch_and_precision(tiny_cell: Callable[..., Cell]) -> None:
    rows = [replace(row, batch_size=1) for row in conditions.standard_rows("cuda", "all")]
    found = execute.jobs([tiny_cell("zeroes")], list(dict.fromkeys(rows)), kinds=records.KINDS)
    for kind in ("memory", "energy"):
        asked = [(job.row.backend, job.row.precision, job.row.timing) for job in found if job.kind == kind]
        assert asked == [("eager", "fp32", "wall"), ("eager", "fp16", "wall"), ("eager", "bf16", "wall"),
                         ("compile", "fp32", "wall")]  # fmt: skip
    assert sum(job.kind == "latency" for job in found) == sum(job.kind == "noise-floor" for job in found) == 11


def test_no_energy_is_asked_of_a_machine_without_a_counter(
    tiny_cell: Callable[..., Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert conditions.kinds("cpu") == ("latency", "memory")
    assert conditions.kinds("cpu", ["memory"]) == ("memory",)
    assert {job.kind for job in execute.jobs([tiny_cell("zeroes")], [Row(1, 1)], kinds=("memory",))} == {"memory"}
    with pytest.raises(DeviceError, match="--kind energy: no energy counter"):
        conditions.kinds("cpu", ["energy"])
    assert {job.kind for job in execute.jobs([tiny_cell("zeroes")], [Row(1, 1)], kinds=conditions.kinds("cpu"))} == {
        "noise-floor", "latency", "memory",
    }  # fmt: skip


def test_noise_floor_of_half_precision_is_that_of_the_dense_network(
    session: Start, tiny_cell: Callable[..., Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    monkeypatch.setattr(  # which CUDA alone can measure
        bench, "measure_noise_floor", lambda folder, row, **more: asked.update({row.precision: (folder, more)})
    )
    subject = bench.Subject("x", tmp_path / "own", None, {}, {"model": "rebuilt"})
    for precision in ("fp32", "fp16", "int8"):
        job = execute.Job(tiny_cell("zeroes"), Row(1, 1, precision=precision), "noise-floor")
        execute.measure_job(job, subject, session(), tmp_path)
    found = {precision: (folder, more["architecture"]) for precision, (folder, more) in asked.items()}
    dense = (None, {"model": "rebuilt"})
    assert found == {"fp32": dense, "fp16": dense, "int8": (tmp_path / "own", None)}


def test_benchmark_measures_once_and_compresses_first_what_is_missing(
    session: Start, tiny_cell: Callable[..., Cell], places: Any, results_dir: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)  # on whatever machine: no energy
    fresh = replace(places, results=results_dir, artifacts=tmp_path / "artifacts")
    cells, rows = [tiny_cell("zeroes", share=0.75)], [Row(1, 1)]
    found = list(execute.benchmark(cells, rows, session(places=fresh)))
    assert [(outcome.record.kind, outcome.record.method) for outcome in found] == [
        ("accuracy", "dense"), ("accuracy", "zeroes"), ("noise-floor", "dense"), ("latency", "zeroes"),
        ("memory", "zeroes"),
    ]  # fmt: skip
    assert [outcome.record.status for outcome in found] == ["ok"] * 5
    latency = found[3].record
    assert latency.conditions == {
        "batch_size": 1,
        "threads": 1,
        "backend": "eager",
        "precision": "fp32",
        "cache": "hot",
    }
    assert latency.command is not None and latency.command.endswith(" --device cpu")
    job = execute.Job(cells[0], Row(1, 1, cache="cold"), "latency")
    told = execute.cost_record(job, bench.Measurement("latency", {}, "error", "why", {}, [], {}), session())
    assert told.command == f"{latency.command} --rows all", "the command that measures this very row"
    lacking = Cell("vgg16-cifar10", "dense", {}, 0, "smoke")
    bare = replace(fresh, data=tmp_path / "none", results=tmp_path / "bare")
    measured = []
    with pytest.raises(DataError, match="cifar10 is not in"):  # but the cell that has a model is measured first
        for outcome in execute.benchmark([lacking, *cells], rows, session(places=bare, kinds=("memory",))):
            measured.append((outcome.record.task, outcome.record.kind, outcome.record.status))
    assert measured == [("tiny", "memory", "ok")]
    before = contents(results_dir)
    again = list(execute.benchmark(cells, rows, session(places=fresh)))
    assert [(outcome.record.kind, outcome.skipped) for outcome in again] == [
        ("noise-floor", True), ("latency", True), ("memory", True)]  # fmt: skip
    assert contents(results_dir) == before
    elsewhere = replace(fresh, results=tmp_path / "elsewhere")
    with ThreadPoolExecutor(1) as other, machine.device_lock("cpu"):
        waiting = other.submit(lambda: list(execute.benchmark(cells, rows, session(places=elsewhere))))
        while not waiting.done() and "waiting for process" not in capsys.readouterr().err:
            time.sleep(0.05)
        shutil.copytree(
            results_dir, elsewhere.results, dirs_exist_ok=True
        )  # what the one who holds the lock has measured meanwhile
    assert [outcome.skipped for outcome in waiting.result()] == [True] * 3, "two at once measure nothing twice"
    path = results_dir / latency.machine / f"{latency.run}.jsonl"
    elsewhere = records.encode(msgspec.structs.replace(latency, machine="another-machine"))
    path.write_bytes(path.read_bytes().replace(records.encode(latency), elsewhere))
    again = list(execute.benchmark(cells, rows, session(places=fresh)))
    skipped = {outcome.record.kind: outcome.skipped for outcome in again}
    assert skipped == {"noise-floor": True, "memory": True, "latency": False}, (
        "another machine's time is not this one's"
    )


def test_cell_that_cannot_be_compressed_has_no_rows_to_announce(
    session: Start, tiny_cell: Callable[..., Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    list(execute.compress([tiny_cell("dense")], session()))
    found = execute.benchmark([tiny_cell("refuses")], [Row(1, 1)], session(progress=Progress()))
    assert [(each.record.kind, each.record.status) for each in found] == [
        ("accuracy", "unsupported"), ("noise-floor", "ok")]  # fmt: skip
    assert "1 row to measure (1 noise-floor): about" in capsys.readouterr().err


@pytest.mark.parametrize(("fault", "raised"), [("file", TaskError), ("data", DataError)], ids=("file", "data"))
def test_what_is_wrong_with_one_task_keeps_no_cell_of_another_from_being_measured(
    session: Start, tiny_cell: Callable[..., Cell], places: Any, own_task: str, install: Callable[..., Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, raised: type[Exception],
) -> None:  # fmt: skip
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    install(tasks={"theirs": own_task.replace("== targets)", "== nobody)") if fault == "file" else own_task})
    np.savez(tmp_path / "theirs.npz", x=np.zeros((30 if fault == "file" else 3, 4, 4, 2), np.uint8))
    cells = [Cell("theirs", "dense", {}, 0, "smoke"), tiny_cell("zeroes")]
    fresh = replace(places, data=tmp_path, artifacts=tmp_path / "artifacts", results=tmp_path / "results")
    found = []
    with pytest.raises(raised):
        for outcome in execute.benchmark(cells, [Row(1, 1)], session(places=fresh, kinds=("memory",))):
            found.append((outcome.record.task, outcome.record.method, outcome.record.kind))
    assert found == [("tiny", "zeroes", "accuracy"), ("tiny", "zeroes", "memory")]
