"""Many cells: what is fresh is skipped, dense models come first, each record is written as soon as it is there."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite import bench, child, clock, conditions, cost, cuda, isolate, machine, modelfiles, plan, registry
from suite.bench import Measurement, Row, Subject
from suite.claims import News
from suite.conditions import as_precision, is_extra
from suite.errors import DataError, TaskError, UsageError, without_folders
from suite.files import require_writable
from suite.invocation import Places, Provenance, blank, newest_model
from suite.plan import Cell
from suite.progress import Progress, duration
from suite.records import KINDS, Record, RunFile, read_results


@dataclass(frozen=True)
class Outcome:
    """A record, and whether it was measured before (nothing was done)."""

    record: Record
    skipped: bool = False


@dataclass(frozen=True)
class Session:
    """One invocation: where things lie, the device, who measures, and whether fresh records are measured again.

    `workers` is how many cells are compressed side by side.
    """

    places: Places
    device: str
    origin: Provenance
    progress: Progress
    force: bool = False
    #: Of `records.KINDS`, what is measured; empty: all that the machine can.
    kinds: tuple[str, ...] = ()
    workers: int = 1
    #: Seconds that a cell, or a child that measures, may take; None: as long as its profile allows.
    timeout: float | None = None

    @contextlib.contextmanager
    def files(self) -> Iterator[Callable[[Record], None]]:
        """A call that writes a record to this run's file of the machine that made it."""
        require_writable(self.places.results)  # before the work of hours, not after it
        opened: dict[str, RunFile] = {}
        with contextlib.ExitStack() as stack:

            def append(record: Record) -> None:
                name = record.machine
                if name not in opened:
                    opened[name] = stack.enter_context(RunFile(self.places.results, name, self.origin.run))
                opened[name].append(record)

            yield append


def standing_records(session: Session) -> list[Record]:
    """The valid records of the results folder; bad lines are named and passed over."""
    found, problems = read_results(session.places.results)
    session.progress.pass_over(problems)
    late = clock.behind(found)
    if late is not None:
        session.progress.say(late)
    return found


# ---------------------------------------------------------------------------------------------------------- compressing


def compress(
    cells: Sequence[Cell], session: Session, executor: str = "local", *, for_models: bool = False
) -> Iterator[Outcome]:
    """The accuracy record of each cell, in the order in which they get ready; those that stand already come first.

    The bases that cells start from are run first, where their models are not stored. Several cells are announced. With
    `for_models` records are no reason to skip: the models are wanted, and the caller has announced them.
    """
    found = [] if for_models else standing_records(session)
    standing = {} if session.force else plan.standing(found)
    todo = []
    for cell in cells:
        known = standing.get((cell.key, "accuracy", session.device))
        if known is None:
            todo.append(cell)
        else:
            yield Outcome(known, skipped=True)
    if not todo:
        return
    todo = list(plan.with_bases(todo, lambda base: _stored(base, session) is None))
    called = executor_called(executor)
    if len(todo) > 1 and not for_models:
        macs = {} if called.address else cost.stated(found)  # of workers' machines nothing is known
        session.progress.say(cost.announcement(todo, session.device, session.places.artifacts, macs))
    with session.files() as append:
        for record in called.run(todo, session, called.address):
            if record.run == session.origin.run:  # or another run made it meanwhile, and wrote it
                append(record)
            yield Outcome(record, skipped=record.run != session.origin.run)


@dataclass(frozen=True)
class Executor:
    """Who runs cells and measures rows; `address` is what stands behind the colon of its name."""

    run: Callable[[Sequence[Cell], Session, str], Iterator[Record]]
    measure: Callable[[Sequence[Cell], Rows, Session, str], Iterator[Outcome]]
    address: str = ""


def executor_called(name: str) -> Executor:
    """The executor of that name, `local` or `dask:ADDRESS`; UsageError where there is none."""
    kind, _, address = name.partition(":")
    found = registry.lookup("executor", kind, EXECUTORS, listing="--executor local or dask:ADDRESS")
    if bool(address) != (kind in ADDRESSED):
        wanted = f"{kind}:ADDRESS, such as {kind}:tcp://host:8786" if kind in ADDRESSED else kind
        raise UsageError(f"--executor {name}: write it as {wanted}")
    return replace(found, address=address)


def _local(cells: Sequence[Cell], session: Session, address: str) -> Iterator[Record]:
    machine.write_machine(session.places.results)
    news = None if session.force else News(session.places.results, session.device, session.origin.run)
    yield from isolate.run_cells(
        cells, session.places, session.device, session.origin, session.progress,
        workers=session.workers, timeout=session.timeout, news=news,
    )  # fmt: skip


def _dask(cells: Sequence[Cell], session: Session, address: str) -> Iterator[Record]:
    from suite import dask_engine

    return dask_engine.run_cells(cells, session, address)


def _dask_rows(cells: Sequence[Cell], rows: Rows, session: Session, address: str) -> Iterator[Outcome]:
    from suite import dask_engine

    return dask_engine.benchmark(cells, rows, session, address)


# --------------------------------------------------------------------------------------------------------- benchmarking


#: The family of the methods whose models compute in INT8.
QUANTIZATION = "quantization"
#: The rows asked for: these, or what a call makes of a machine's number of cores.
Rows = Sequence[Row] | Callable[[int], Sequence[Row]]


def rows_on(rows: Rows, cores: int) -> Sequence[Row]:
    """The rows asked for on a machine with so many cores."""
    return rows(cores) if callable(rows) else rows


@dataclass(frozen=True)
class Job:
    """One row to measure: a cell's latency, memory or energy, or a dense model's noise floor (INT8: the cell's own)."""

    cell: Cell
    row: Row
    kind: str


def jobs(
    cells: Iterable[Cell], rows: Sequence[Row], root: Path | None = None, kinds: Sequence[str] = KINDS[:2]
) -> list[Job]:
    """Every row of every cell, in the precision that its model in `root` has: noise floors, then kind after kind.

    So what a reader looks for first is there first where time runs out. Noise floors are of latencies.
    """
    cells = list(cells)
    found = []
    by_task = {cell.task: conditions.for_objective(rows, registry.task(cell.task).objective) for cell in cells}
    precisions = {cell.key: _precision(cell, root) for cell in cells}
    dense = list({cell.dense.key: cell.dense for cell in cells}.values())
    for task in dict.fromkeys(cell.task for cell in cells) if "latency" in kinds else ():
        first = next(cell for cell in dense if cell.task == task)
        found += [Job(first, row, "noise-floor") for row in by_task[task]]
        quantized = [cell for cell in cells if cell.task == task and precisions[cell.key] != "fp32"]
        int8_rows = [row for row in as_precision(by_task[task], "int8") if row.timing is None]  # none on CUDA
        found += [Job(cell, row, "noise-floor") for cell in quantized[:1] for row in int8_rows]
    own = {cell.key: as_precision(by_task[cell.task], precisions[cell.key]) for cell in cells}
    found += [Job(cell, row, kind) for kind in kinds for cell in cells for row in own[cell.key] if _worth(row, kind)]
    return found


def _precision(cell: Cell, root: Path | None) -> str:
    """What the cell's stored model computes in; while there is none, what its method's family promises."""
    folder = None if root is None else newest_model(cell, root)
    if folder is None:
        return "int8" if registry.method(cell.method).family == QUANTIZATION else "fp32"
    return str((modelfiles.facts(folder) or {}).get("architecture", {}).get("precision", "fp32"))


def _worth(row: Row, kind: str) -> bool:
    # Neither a cold cache nor the clock changes a peak, and energy is of a network that runs on and on.
    if kind == "energy" and row.precision == "int8" and row.timing is not None:
        return False  # its latency record says why
    return kind == "latency" or (row.cache == "hot" and row.timing in (None, cuda.WALL))


def owed(
    jobs: Iterable[Job], found: Iterable[Record], machine_slug: str, device: str
) -> tuple[list[Job], list[Record]]:
    """Which of the jobs this machine still has to measure, and the fresh records of the others."""
    known = {
        _identity(record.cell, record.kind, record.device, record.conditions): record
        for record in found
        if record.status == "ok" and record.machine == machine_slug and plan.is_fresh(record)
    }
    todo, standing = [], []
    for job in jobs:
        record = known.get(_identity(job.cell.key, job.kind, device, job.row.conditions))
        if record is None:
            todo.append(job)
        else:
            standing.append(record)
    return todo, standing


def _identity(cell: str, kind: str, device: str, conditions: Mapping[str, Any] | None) -> tuple[Any, ...]:
    return cell, kind, device, tuple(sorted((conditions or {}).items()))


def benchmark(cells: Sequence[Cell], rows: Rows, session: Session, executor: str = "local") -> Iterator[Outcome]:
    """Measure each cell's rows, one at a time under the device's lock; cells that were never run are run first.

    Rows that stand already, on the machine that measures and under these conditions, are skipped.
    """
    called = executor_called(executor)
    return called.measure(cells, rows, session, called.address)


def _measure_here(cells: Sequence[Cell], rows: Rows, session: Session, address: str) -> Iterator[Outcome]:
    found = standing_records(session)
    here = rows_on(rows, machine.usable_cores())
    asked = jobs(cells, here, session.places.artifacts, conditions.kinds(session.device, session.kinds))
    todo, standing = owed(asked, [] if session.force else found, session.origin.machine, session.device)
    yield from (Outcome(record, skipped=True) for record in standing)
    if not todo:
        return
    child.start_server()  # before a cell is compressed: what measures is forked from a process that imported less
    subjects: dict[str, Subject | None] = {}
    macs = cost.stated(found)
    try:
        yield from get_ready(todo, found, session, "local", subjects)
    except (DataError, TaskError) as error:  # of cells that have no model; to measure the others takes no data
        if any(subjects.values()):
            session.progress.say(f"{error}; measuring the cells that have a model")
        yield from _measure_ready(todo, subjects, session, macs)
        raise
    yield from _measure_ready(todo, subjects, session, macs)


def _measure_ready(
    todo: Iterable[Job], subjects: Mapping[str, Subject | None], session: Session, macs: Mapping[str, int]
) -> Iterator[Outcome]:
    there = {key: subject for key, subject in subjects.items() if subject is not None}
    todo = [job for job in todo if job.cell.key in there]  # what could not be compressed has a record that says why
    if not todo:
        return
    counts = Counter(job.kind for job in todo)
    kinds = ", ".join(_count(number, kind) for kind, number in counts.items())
    measuring = duration(cost.benchmark_seconds(todo, session.device, macs))
    session.progress.say(f"{_count(len(todo), 'row')} to measure ({kinds}): about {measuring}")
    with machine.device_lock(session.device) as waited:
        if waited and not session.force:  # whoever measured before may have measured some of these
            todo, standing = owed(todo, standing_records(session), session.origin.machine, session.device)
            yield from (Outcome(record, skipped=True) for record in standing)
        if todo:
            yield from _measure_all(todo, there, session)


def _measure_all(todo: Sequence[Job], subjects: Mapping[str, Subject], session: Session) -> Iterator[Outcome]:
    machine.write_machine(session.places.results)
    with (
        session.files() as append,
        tempfile.TemporaryDirectory(prefix="prunemark-") as scratch,
        session.progress.bar("benchmark", len(todo), still=True) as advance,
    ):
        for job in todo:
            advance(0, note=f"{job.cell.task} {job.cell.method} {job.kind} {job.row}")
            record = cost_record(job, measure_job(job, subjects[job.cell.key], session, Path(scratch)), session)
            append(record)
            yield Outcome(record)
            advance()


def get_ready(
    todo: Iterable[Job], found: Iterable[Record], session: Session, executor: str, subjects: dict[str, Subject | None]
) -> Iterator[Outcome]:
    """Fill in the subject of each cell that is to be measured, by key; cells without a model are run first."""
    shapes = recorded_shapes(found)
    asking = list({job.cell.key: job.cell for job in todo}.values())
    subjects |= {cell.key: subject_of(cell, shapes, session) for cell in asking}
    missing = [cell for cell in asking if subjects[cell.key] is None]
    if missing:
        limit = cost.at_most(missing, session.device, session.places.artifacts, cost.stated(found))
        session.progress.say(f"first, {_count(len(missing), 'cell')} without a model: {limit}")
        try:
            yield from compress(missing, session, executor, for_models=True)
        finally:  # what is wrong with one task is raised once the cells of the others have their models
            subjects |= {cell.key: subject_of(cell, {}, session) for cell in missing}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 or thing in ("latency", "memory") else f"{number} {thing}s"


def recorded_shapes(found: Iterable[Record]) -> dict[str, dict[str, Any] | None]:
    """The architectures of the cells, by key, whose networks may be rebuilt with random weights."""
    return {
        record.cell: record.architecture
        for record in found
        if record.kind == "accuracy"
        and record.status == "ok"
        and plan.is_fresh(record)
        and _full(record)
        and modelfiles.rebuildable(record.architecture or {})
    }


def subject_of(cell: Cell, shapes: Mapping[str, dict[str, Any] | None], session: Session) -> Subject | None:
    """What to measure: the stored models, or, where they are gone, networks of the recorded shapes; None without both.

    Time does not depend on the weights (the value-blind control shows it), unless many of them are zero: a sparse
    network whose model is gone is compressed again.
    """
    own, dense = _stored(cell, session), _stored(cell.dense, session)
    own_shapes, dense_shapes = shapes.get(cell.key), shapes.get(cell.dense.key)
    if (own is None and own_shapes is None) or (dense is None and dense_shapes is None):
        return None
    return Subject(cell.key, own, dense, own_shapes, dense_shapes)


def _full(record: Record) -> bool:
    """Are nearly all of the network's parameters non-zero?"""
    return (record.metrics.get("nonzero_parameters") or 0) > 0.99 * (record.metrics.get("parameters") or 0)


def _stored(cell: Cell, session: Session) -> Path | None:
    return newest_model(cell, session.places.artifacts)


def measure_job(job: Job, subject: Subject, session: Session, scratch: Path) -> Measurement:
    """Measure one row in processes of their own; whoever calls holds the device's lock."""
    if job.kind == "noise-floor":
        quantized = job.row.precision == "int8"
        return bench.measure_noise_floor(
            subject.compressed if quantized else subject.dense,
            job.row,
            profile=job.cell.profile,
            device=session.device,
            architecture=None if quantized else subject.dense_architecture,
            timeout_seconds=session.timeout,
            scratch=scratch,
        )
    return bench.measure(
        subject,
        job.row,
        profile=job.cell.profile,
        device=session.device,
        kind=job.kind,
        timeout_seconds=session.timeout,
        scratch=scratch,
    )


def cost_record(job: Job, measured: Measurement, session: Session) -> Record:
    """The record of a row that was measured, with the command that measures it."""
    extra = " --rows all" if is_extra(job.row, session.device) else ""
    command = f"python -m suite bench {job.cell.arguments} --device {session.device}{extra}"
    common = blank(job.cell, session.device, session.origin, kind=measured.kind, command=command)
    return Record(
        **common,
        status=measured.status,  # type: ignore[arg-type]
        reason=None if measured.reason is None else without_folders(measured.reason),
        metrics=measured.metrics,
        conditions=measured.conditions,
        samples=measured.samples,
        notes=measured.notes,
    )


# ------------------------------------------------------------------------------------------------------------ executors

EXECUTORS: Mapping[str, Executor] = {"local": Executor(_local, _measure_here), "dask": Executor(_dask, _dask_rows)}
#: Those that somebody else runs, at an address.
ADDRESSED = ("dask",)
