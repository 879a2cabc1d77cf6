"""Many cells: what is fresh is skipped, dense models come first, each record is written as soon as it is there."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from suite import artifacts, bench, machine, plan, registry, run
from suite.bench import Measurement, Row, Subject
from suite.plan import Cell
from suite.progress import Progress
from suite.records import Record, RunFile, read_results
from suite.run import Places, Prepared, Provenance


@dataclass(frozen=True)
class Outcome:
    """A record, and whether it was measured before (nothing was done)."""

    record: Record
    skipped: bool = False


@dataclass(frozen=True)
class Session:
    """One invocation: where things lie, the device, who measures, and whether fresh records are measured again."""

    places: Places
    device: str
    origin: Provenance
    progress: Progress
    force: bool = False
    workers: int = 1

    def file(self) -> RunFile:
        return RunFile(self.places.results, self.origin.machine, self.origin.run)


# ---------------------------------------------------------------------------------------------------------- compressing


def compress(cells: Sequence[Cell], session: Session, executor: str = "local") -> Iterator[Outcome]:
    """The accuracy record of each cell, in the order in which they get ready; those that stand already come first."""
    standing = {} if session.force else plan.standing(read_results(session.places.results)[0])
    todo = []
    for cell in cells:
        known = standing.get((cell.key, "accuracy", session.device))
        if known is None:
            todo.append(cell)
        else:
            yield Outcome(known, skipped=True)
    if not todo:
        return
    machine.write_machine(session.places.results)
    with session.file() as file:
        for record in executor_called(executor)(todo, session):
            file.append(record)
            yield Outcome(record)


def executor_called(name: str) -> Callable[[Sequence[Cell], Session], Iterator[Record]]:
    """The executor of that name; UsageError where there is none."""
    return registry.lookup("executor", name, EXECUTORS, listing="python -m suite run --help")


def _local(cells: Sequence[Cell], session: Session) -> Iterator[Record]:
    if session.workers == 1:
        with session.progress.bar("cells", len(cells)) as advance:
            for cell in cells:
                session.progress.say(f"{cell.arguments}")
                yield run.run_cell(cell, session.places, session.device, session.origin, session.progress)
                advance()
        return
    yield from _pool(cells, session)


def _pool(cells: Sequence[Cell], session: Session) -> Iterator[Record]:
    """Worker processes with an equal share of the cores; dense models are trained before what starts from them."""
    quiet = replace(session, progress=Progress(silent=True), workers=1)
    threads = max(1, machine.usable_cores() // session.workers)
    dense = list({cell.dense.key: cell.dense for cell in cells}.values())
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(session.workers, mp_context=context) as pool,
        session.progress.bar("dense models, then cells", len(dense) + len(cells)) as advance,
    ):
        try:
            for done in concurrent.futures.as_completed([pool.submit(_train_dense, c, quiet, threads) for c in dense]):
                done.result()
                advance()
            waiting = [pool.submit(_run_cell, cell, quiet, threads) for cell in cells]
            for future in concurrent.futures.as_completed(waiting):
                yield future.result()
                advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _train_dense(cell: Cell, session: Session, threads: int) -> None:
    _limit_threads(threads)
    ready = run.prepare(cell.task, cell.profile, session.places, session.device)
    run.dense_model(cell, ready, session.places, session.device, session.progress)


def _run_cell(cell: Cell, session: Session, threads: int) -> Record:
    _limit_threads(threads)
    return run.run_cell(cell, session.places, session.device, session.origin, session.progress)


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


EXECUTORS: Mapping[str, Callable[[Sequence[Cell], Session], Iterator[Record]]] = {"local": _local}


# --------------------------------------------------------------------------------------------------------- benchmarking


@dataclass(frozen=True)
class Job:
    """One row to measure: a cell's latency or memory, or the noise floor of a task's dense model."""

    cell: Cell
    row: Row
    kind: str


def jobs(cells: Iterable[Cell], rows: Sequence[Row]) -> list[Job]:
    """Every row of every cell: the noise floor first, then latency and memory."""
    cells = list(cells)
    found = []
    dense = list({cell.dense.key: cell.dense for cell in cells}.values())
    for task in dict.fromkeys(cell.task for cell in dense):
        first = next(cell for cell in dense if cell.task == task)
        found += [Job(first, row, "noise-floor") for row in rows]
    for cell in cells:
        found += [Job(cell, row, kind) for row in rows for kind in ("latency", "memory") if _worth(row, kind)]
    return found


def _worth(row: Row, kind: str) -> bool:
    return kind == "latency" or row.cache == "hot"  # a cold cache changes no peak


def benchmark(cells: Sequence[Cell], rows: Sequence[Row], session: Session) -> Iterator[Outcome]:
    """Measure each cell's rows, one at a time under the device's lock; cells without a stored model are run first.

    Rows that stand already, on this machine and under these conditions, are skipped.
    """
    known = {}
    for record in read_results(session.places.results)[0]:
        if record.status == "ok" and plan.is_fresh(record) and record.machine == session.origin.machine:
            known[_identity(record.cell, record.kind, record.device, record.conditions)] = record
    todo = []
    for job in jobs(cells, rows):
        identity = _identity(job.cell.key, job.kind, session.device, job.row.conditions)
        if identity in known and not session.force:
            yield Outcome(known[identity], skipped=True)
        else:
            todo.append(job)
    if not todo:
        return
    subjects = {}
    for cell in dict.fromkeys(job.cell.key for job in todo):
        first = next(job.cell for job in todo if job.cell.key == cell)
        yield from _missing(first, session)
        subjects[cell] = _subject(first, session)
    machine.write_machine(session.places.results)
    with (
        session.file() as file,
        machine.device_lock(session.device),
        session.progress.bar("benchmark", len(todo), still=True) as advance,
    ):
        for job in todo:
            subject = subjects[job.cell.key]
            if subject is not None:
                record = _record(job, _measure(job, subject, session), session)
                file.append(record)
                yield Outcome(record)
            advance(note=f"{job.cell.method} {job.kind}")


def _identity(cell: str, kind: str, device: str, conditions: Mapping[str, Any] | None) -> tuple[Any, ...]:
    return cell, kind, device, tuple(sorted((conditions or {}).items()))


def _missing(cell: Cell, session: Session) -> Iterator[Outcome]:
    """Compress a cell whose model is not stored, so that there is something to measure."""
    if artifacts.facts(_folders(cell, session)[0]) is None:
        yield from compress([cell], replace(session, force=True))


def _folders(cell: Cell, session: Session) -> tuple[Any, Any]:
    ready: Prepared = run.prepare(cell.task, cell.profile, session.places, session.device)
    own, dense = (run.artifact_folder(session.places.artifacts, c, ready.dataset.sha256) for c in (cell, cell.dense))
    return own, dense


def _subject(cell: Cell, session: Session) -> Subject | None:
    """What to measure; None where the cell cannot be compressed (its accuracy record says why)."""
    own, dense = _folders(cell, session)
    if artifacts.facts(own) is None or artifacts.facts(dense) is None:
        return None
    return Subject(key=cell.key, compressed=own, dense=dense)


def _measure(job: Job, subject: Subject, session: Session) -> Measurement:
    if job.kind == "noise-floor":
        return bench.measure_noise_floor(subject.dense, job.row, profile=job.cell.profile, device=session.device)
    return bench.measure(subject, job.row, profile=job.cell.profile, device=session.device, kind=job.kind)


def _record(job: Job, measured: Measurement, session: Session) -> Record:
    command = f"python -m suite bench {job.cell.arguments} --device {session.device}"
    common = run.blank(job.cell, session.device, session.origin, kind=measured.kind, command=command)
    return Record(
        **common,
        status=measured.status,  # type: ignore[arg-type]
        reason=measured.reason,
        metrics=measured.metrics,
        conditions=measured.conditions,
        samples=measured.samples,
        notes=measured.notes,
    )
