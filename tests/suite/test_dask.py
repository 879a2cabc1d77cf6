"""Cells on the workers of a real Dask scheduler, each a process on loopback: one shares our models, one does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from suite import artifacts, energy, execute, machine, records, run
from suite.bench import Row
from suite.errors import DataError, DeviceError, UsageError
from suite.execute import Session
from suite.plan import Cell
from suite.progress import Progress

pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[dask]'")
from suite import dask_cluster, dask_worker, invocation  # after the skip: what follows needs no Dask to be imported

#: Seconds; on an idle machine everything waited for here takes a few.
PATIENCE = 120
ROOT = Path(__file__).parents[2]
TinyCell = Callable[..., Cell]


@dataclass
class Behind:
    """A scheduler, its address, and its workers by name."""

    address: str
    scheduler: psutil.Popen
    workers: dict[str, psutil.Popen]

    @property
    def executor(self) -> str:
        return f"dask:{self.address}"


class Heard(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(silent=True)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def wait_until(condition: Callable[[], Any], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tiny_package: Path, places: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """A scheduler and the workers `sharing` and `apart`: the second sees another folder where we keep our models."""
    folder = tmp_path_factory.mktemp("dask")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tiny_package)]),
        "PRUNEMARK_DATA": str(folder / "data"),
        "PRUNEMARK_TEST_WAIT": str(folder / "wait"),
        "OMP_NUM_THREADS": "1",
        "DASK_TEMPORARY_DIRECTORY": str(folder / "scratch"),
    }

    def start(*words: str, **more: str) -> psutil.Popen:
        log = open(folder / f"{words[0]}-{len(list(folder.iterdir()))}.log", "wb")  # noqa: SIM115
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:], "--no-dashboard"]
        return psutil.Popen(command, env=environment | more, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    host, _, port = address.removeprefix("tcp://").partition(":")
    scheduler = start("scheduler", "--host", host, "--port", port)
    worker = ("worker", address, "--nthreads", "1", "--no-nanny", "--preload", "suite.dask_worker", "--name")
    workers = {"sharing": start(*worker, "sharing"),
               "apart": start(*worker, "apart", PRUNEMARK_ARTIFACTS=str(folder / "elsewhere"))}  # fmt: skip
    try:
        client = None
        while client is None:
            try:
                client = dask_cluster.connect(address)
            except DeviceError:
                assert scheduler.poll() is None, "the scheduler did not start"
        client.wait_for_workers(2, timeout=PATIENCE)
        client.close()
        yield Behind(address, scheduler, workers)
    finally:
        for process in (*workers.values(), scheduler):
            with process:
                process.kill()


@pytest.fixture
def session(places: Any, results_dir: Path, tmp_path: Path) -> Callable[..., Session]:
    """`session(...)`: an invocation with the folders of this test alone."""

    def call(**changes: Any) -> Session:
        fresh = replace(places, results=results_dir, artifacts=tmp_path / "artifacts")
        given = {"places": fresh, "device": "cpu", "progress": Heard(), "origin": invocation.provenance()}
        return Session(**given | changes)

    return call


def children_of(worker: psutil.Popen) -> list[psutil.Process]:
    """The processes that work on a cell: those that its fork server has started."""
    return [each for server in worker.children() for each in server.children()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_executor_is_named_with_an_address() -> None:
    for name in ("dask", "dask:", "local:here"):
        with pytest.raises(UsageError, match="write it as "):
            execute.executor_called(name)
    with pytest.raises(UsageError, match=r"'foo': choose one of dask, local. \(--executor local or dask:ADDRESS\)"):
        execute.executor_called("foo")
    assert execute.executor_called("dask:tcp://host:8786").address == "tcp://host:8786"


def test_scheduler_that_is_not_there_is_one_line(
    session: Callable[..., Session], tiny_cell: TinyCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "SECONDS_TO_CONNECT", 0.5)
    asked = session()
    with pytest.raises(DeviceError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9: start one with"):
        list(execute.compress([tiny_cell("dense")], asked, "dask:tcp://127.0.0.1:9"))
    with pytest.raises(UsageError, match="is no address, such as tcp://host:8786"):
        list(execute.compress([tiny_cell("dense")], asked, "dask:carrier-pigeon://here"))
    before = time.monotonic()
    with pytest.raises(UsageError, match="is no address, such as tcp://host:8786"):
        list(execute.compress([tiny_cell("dense")], asked, "dask:host-without-port"))
    assert time.monotonic() - before < 5, "a client of such an address closes itself for half a minute"
    assert contents(asked.places.artifacts) == {}, "nothing is left behind"


def test_workers_give_the_records_and_models_of_one_machine(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell, tmp_path: Path
) -> None:
    shares = (0.5, 0.4, 0.3, 0.2)
    cells = [*(tiny_cell("zeroes", share=share) for share in shares), tiny_cell("raises")]
    away = session()
    found = {each.record.cell: each.record for each in execute.compress(cells, away, cluster.executor)}
    assert set(found) == {cell.key for cell in cells}
    said = "\n".join(away.progress.lines)  # type: ignore[attr-defined]
    assert said.count("dense model of") == 1, "trained once"
    assert "on worker sharing" in said and "on worker apart" in said
    assert "worker apart: " in said and "which is sent its models" in said
    here = replace(away.places, results=tmp_path / "2", artifacts=tmp_path / "3")
    for cell in (cells[0], cells[-1]):
        record = records.decode(records.encode(run.run_cell(cell, here, "cpu", away.origin, Heard())))
        other = found[cell.key]
        for name in ("status", "reason", "freshness", "data_sha256", "data_source", "architecture", "command", "run"):
            assert getattr(other, name) == getattr(record, name), name
        assert other.metrics.keys() == record.metrics.keys() and other.machine == machine.identity().slug
        assert other.metrics.get("nonzero_parameters") == record.metrics.get("nonzero_parameters")
    assert len({record.checkpoint_sha256 for record in found.values()}) == 1
    for cell in cells[:-1]:  # every model came home, whoever made it
        folder = invocation.newest_model(cell, away.places.artifacts)
        assert folder is not None and artifacts.load(folder) is not None
    written, problems = records.read_results(away.places.results)
    assert len(written) == len(cells) and not problems
    assert [path.stem for path in (away.places.results / "machines").iterdir()] == [machine.identity().slug]
    assert all(each.skipped for each in execute.compress(cells[:-1], away, cluster.executor)), "what is fresh stands"


def test_cell_whose_base_fails_has_failed_too_and_keeps_the_hash_of_its_data(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell
) -> None:
    cells = [tiny_cell("raises"), tiny_cell("zeroes", base="raises"), tiny_cell("refuses"),
             tiny_cell("zeroes", base="refuses")]  # fmt: skip
    found = {each.record.cell: each.record for each in execute.compress(cells, session(), cluster.executor)}
    base, failed, _, impossible = (found[cell.key] for cell in cells)
    assert (failed.status, failed.reason) == ("error", f"its base raises: {base.reason}")
    assert failed.base_cell == base.cell and failed.data_sha256 == base.data_sha256 is not None
    assert impossible.status == "unsupported"


def test_rows_are_measured_by_workers(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    asked = session()
    cells, rows = [tiny_cell("zeroes", share=0.75)], lambda cores: [Row(1, cores)]
    found = [each.record for each in execute.benchmark(cells, rows, asked, cluster.executor)]
    kinds = [record.kind for record in found if record.kind != "energy"]
    assert sorted(kinds) == ["accuracy", "accuracy", "latency", "memory", "noise-floor"]
    assert {record.status for record in found} == {"ok"}, [record.reason for record in found]
    latency = next(record for record in found if record.kind == "latency")
    assert latency.conditions is not None and latency.conditions["threads"] == machine.usable_cores()
    assert latency.machine == machine.identity().slug and latency.run == asked.origin.run
    assert latency.metrics["speedup"] and "weights" not in latency.notes, "of the models themselves"
    again = list(execute.benchmark(cells, rows, asked, cluster.executor))
    assert all(each.skipped for each in again) and len(again) == len(found) - 2


def test_rows_are_measured_before_what_is_wrong_with_another_task_is_raised(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(session(), kinds=("memory",))
    ready = execute.get_ready

    def fails_then(*given: Any) -> Iterator[Any]:
        yield from ready(*given)
        raise DataError("cifar10 is not there")

    monkeypatch.setattr(execute, "get_ready", fails_then)
    found = execute.benchmark([tiny_cell("zeroes", share=0.75)], lambda cores: [Row(1, 1)], asked, cluster.executor)
    kinds = []
    with pytest.raises(DataError, match="cifar10"):
        for each in found:
            kinds.append(each.record.kind)
    assert kinds.count("memory") == 1


def test_a_kind_that_no_worker_can_measure_is_refused(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)  # the workers live in this process
    asked = replace(session(), kinds=("energy",))
    cells, rows = [tiny_cell("zeroes", share=0.75)], lambda cores: [Row(1, cores)]
    with pytest.raises(DeviceError, match=r"^--kind energy: no worker's machine can measure it"):
        list(execute.benchmark(cells, rows, asked, cluster.executor))
    assert not records.read_results(asked.places.results)[0]


def test_worker_of_another_version_gets_nothing(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = session()
    monkeypatch.setattr(dask_worker, "fingerprint", lambda: "0" * 64)
    with pytest.raises(DeviceError, match="may take part: it runs another version of the suite: install there what"):
        list(execute.compress([tiny_cell("dense")], asked, cluster.executor))
    assert not asked.places.results.exists()


def test_a_task_whose_data_no_worker_has_is_left_and_the_others_are_done(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell, tmp_path: Path
) -> None:
    asked = session()
    lacking = [replace(tiny_cell(method), task="vgg16-cifar10") for method in ("dense", "zeroes")]
    with pytest.raises(DataError, match=r"^no Dask worker can run vgg16-cifar10: cifar10 is not in .* \(of worker "):
        list(execute.compress([*lacking, tiny_cell("dense"), tiny_cell("raises")], asked, cluster.executor))
    found = records.read_results(asked.places.results)[0]
    assert {(record.task, record.method): record.status for record in found} == {
        ("tiny", "dense"): "ok", ("tiny", "raises"): "error"}  # fmt: skip
    assert sum("gets no more cells of vgg16-cifar10" in line for line in asked.progress.lines) == 2


def test_interrupted_run_ends_what_its_workers_do(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell
) -> None:
    wait = Path(cluster.workers["apart"].environ()["PRUNEMARK_TEST_WAIT"])
    wait.touch()
    asked = session()
    going = execute.compress([tiny_cell("dense"), tiny_cell("waits")], asked, cluster.executor)
    assert next(going).record.method == "dense"

    def interrupt() -> None:
        lines = asked.progress.lines  # type: ignore[attr-defined]
        wait_until(lambda: any("--method waits" in line for line in lines), "the cell was never sent")
        wait_until(lambda: any(map(children_of, cluster.workers.values())), "the cell never began")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        next(going)
    wait_until(lambda: not any(map(children_of, cluster.workers.values())), "the cell goes on")
    wait.unlink()
    assert [record.method for record in records.read_results(asked.places.results)[0]] == ["dense"]


def test_cell_of_a_worker_that_is_killed_is_done_by_another_and_what_is_lost_with_the_scheduler_is_one_line(
    cluster: Behind, session: Callable[..., Session], tiny_cell: TinyCell
) -> None:
    wait = Path(cluster.workers["apart"].environ()["PRUNEMARK_TEST_WAIT"])
    wait.touch()
    asked = session()
    lines = asked.progress.lines  # type: ignore[attr-defined]
    cells = [tiny_cell("dense"), tiny_cell("waits"), tiny_cell("waits", seed=1)]
    family: list[psutil.Process] = []

    def kill() -> None:
        wait_until(lambda: any("--method waits" in line for line in lines), "the cell was never sent")
        name = next(line for line in lines if "--method waits" in line).rpartition(" ")[2]
        wait_until(lambda: children_of(cluster.workers[name]), "the cell never began")
        family.extend(cluster.workers[name].children(recursive=True))
        cluster.workers[name].send_signal(signal.SIGKILL)
        wait_until(lambda: any("another one takes over" in line for line in lines), "the death was not seen")
        wait.unlink()

    killer = threading.Thread(target=kill)
    killer.start()
    found = [each.record for each in execute.compress(cells, asked, cluster.executor)]
    killer.join()
    assert sorted((record.method, record.seed, record.status) for record in found) == [
        ("dense", 0, "ok"), ("waits", 0, "ok"), ("waits", 1, "ok")]  # fmt: skip
    (died,) = [line for line in lines if "died while it ran" in line]
    assert "--method waits" in died and died.endswith("another one takes over")
    assert family and not psutil.wait_procs(family, timeout=PATIENCE)[1], "nothing of it lives on"

    wait.touch()
    going = execute.compress([tiny_cell("zeroes", share=0.1), tiny_cell("waits", seed=2)], asked, cluster.executor)
    assert next(going).record.method == "zeroes"
    cluster.scheduler.send_signal(signal.SIGKILL)
    with pytest.raises(DeviceError, match=r"the Dask scheduler at tcp://\S+ is gone: what was finished is kept"):
        list(going)
    assert len(records.read_results(asked.places.results)[0]) == len(cells) + 1
