"""Cells and rows on the machines of a Dask cluster: `--executor dask:tcp://host:8786`.

One cell is one task, in a process of its own on the worker, and one worker does one at a time. Whoever started the
command plans, keeps the models and writes the records; a worker answers with a record that names its own machine.

- A dense model is trained once, by one worker; then the cells that start from it. Where the workers see the folder
  of the models, they read and write there; to others models are sent by content and come back with the answer.
- A worker that dies gives its cell back, at most `TRIES` times; then the cell has an `error` record.
- Rows are measured on each kind of machine that has a worker, one at a time on each machine. Where workers offer the
  resource BENCH, they alone measure.
- Workers run what the client's pickles say and the client loads theirs: that is Dask's own trust, so a scheduler
  belongs on a closed network, or behind `tls://` with its certificates.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite import conditions, dask_worker, execute, isolate, machine, modelfiles, pictures, records
from suite.bench import Measurement, Row, Subject
from suite.dask_cluster import TRIES, Cluster, Ended, Member
from suite.dask_worker import Answer, Order
from suite.errors import DataError, DeviceError, RecordError, TaskError
from suite.execute import Job, Outcome, Rows, Session
from suite.invocation import Provenance, newest_model, one_line
from suite.isolate import Failure, Step, Work
from suite.plan import DENSE, Cell
from suite.records import Record


def run_cells(cells: Sequence[Cell], session: Session, address: str) -> Iterator[Record]:
    """The record of each cell, in the order in which they get ready; a dense model comes before its dependants."""
    with (
        Cluster[Step](address, session) as cluster,
        session.progress.bar("cells", len(cells)) as advance,
    ):
        for record in _Run(isolate.steps(cells, session.places.artifacts), cluster, session).records():
            advance()
            yield record


class _Run:
    """The steps of one command: those that wait for a model, those that may start, and what is known of models."""

    def __init__(self, steps: list[Step], cluster: Cluster[Step], session: Session) -> None:
        self.cluster, self.session = cluster, session
        self.root = session.places.artifacts
        unmade = {step.cell.key for step in steps}
        self.waits_for = {step: isolate.needs(step) & unmade for step in steps}
        self.dependants: dict[str, list[Step]] = {}
        for step, keys in self.waits_for.items():
            for key in keys:
                self.dependants.setdefault(key, []).append(step)
        self.ready = deque(step for step in steps if not self.waits_for[step])
        self.stored: dict[str, str | None] = {}  # by cell, the folder of its model
        self.lost: dict[str, Failure] = {}  # the dense models and bases that could not be made
        self.data: dict[str, str] = {}  # by task, the SHA-256 of its data
        self.deaths: Counter[Step] = Counter()
        self.unfit: dict[tuple[str, Member], str] = {}  # by task and worker, why its cells cannot be done there
        self.left: dict[str, str] = {}  # by task, why nobody can do its cells

    def records(self) -> Iterator[Record]:
        self.cluster.look()
        while self.ready or self.cluster.running:
            yield from self._start()
            for ended in self.cluster.answers():
                yield from self._end(ended)
        if self.left:
            raise DataError(next(iter(self.left.values())))

    def _start(self) -> Iterator[Record]:
        waiting = []
        while self.ready and self.cluster.free() is not None:
            step = self.ready.popleft()
            task = step.cell.task
            why = isolate.inherited(step, self.lost)
            if why is not None:
                yield from self._close(step, why, None)
                continue
            able = [member for member in self.cluster.members.values() if (task, member) not in self.unfit]
            if task in self.left or not able:
                self._leave(task)
                continue
            member = self.cluster.free(able.__contains__, held=self._folder(step.cell.dense))
            if member is None:
                waiting.append(step)
                continue
            named = f"{'dense model of ' if step.trains_only else ''}{step.cell.arguments}"
            self.session.progress.say(f"{named}, on worker {member.name}")
            resources = ("GPU",) if self.session.device == "cuda" else ()
            self.cluster.send(step, member, self._order(step, member), resources=resources)
        self.ready.extendleft(reversed(waiting))

    def _leave(self, task: str) -> None:
        """No worker can run the cells of a task: they are left, those of other tasks are not."""
        if task in self.left:
            return
        member = next(reversed(self.cluster.members.values()))
        self.left[task] = f"no Dask worker can run {task}: {self.unfit[task, member]} (of worker {member.name})"
        if any(step.cell.task != task for step in self.ready) or self.cluster.running:
            self.session.progress.say(f"{self.left[task]}; going on with the other tasks")

    def _order(self, step: Step, member: Member) -> Order:
        origin, places, device = _origin(member, self.session), member.welcome.places, self.session.device
        threads = min(member.threads, member.welcome.machine.cores)
        before = [step.cell.dense, *([step.cell.base] if step.cell.base else [])] if step.cell.method != DENSE else []
        return Order(
            **_common(step.cell, member, self.session),
            needs=tuple(folder for cell in before if (folder := self._folder(cell)) is not None),
            ships=not member.welcome.shares,
            work=Work(step, places, device, origin, threads),
            data_sha256=self._data(step),
        )

    def _data(self, step: Step) -> str | None:
        """The hash of the data that a step must read; with other data each would train a dense model of its own."""
        dense = self._folder(step.cell.dense)
        if step.cell.task in self.data or step.cell.method == DENSE or dense is None:
            return self.data.get(step.cell.task)
        known: str | None = (modelfiles.facts(self.root / dense) or {}).get("facts", {}).get("data_sha256")
        return known

    def _folder(self, cell: Cell) -> str | None:
        """Where a cell's model lies, below the folder of all models."""
        if cell.key not in self.stored:
            folder = newest_model(cell, self.root)
            self.stored[cell.key] = _below(folder, self.root)
        return self.stored[cell.key]

    def _end(self, ended: Ended[Step]) -> Iterator[Record]:
        step, answer, member = ended.thing, ended.answer, ended.member
        if ended.died:
            self.deaths[step] += 1
            told = f"worker {member.name} died while it ran {step.cell.arguments}"
            if self.deaths[step] < TRIES:
                self.session.progress.say(f"{told}; another one takes over")
                self.ready.appendleft(step)
                return
            self.session.progress.say(told)
            yield from self._close(step, Failure("error", deaths_said(member), {}), member)
        elif answer is None:
            assert ended.error is not None
            yield from self._close(step, Failure("error", one_line(ended.error), {}), member)
        elif answer.refusal is not None:
            self.ready.appendleft(step)
            if answer.of_task:
                self._pass_over(member, step.cell.task, answer.refusal)
            else:
                self.cluster.dismiss(member, answer.refusal)
        elif answer.data_sha256 not in (None, self.data.get(step.cell.task, answer.data_sha256)):
            self.ready.appendleft(step)
            self._pass_over(member, step.cell.task, "its data are not those of the other workers")
        else:
            if answer.data_sha256 is not None:
                self.data[step.cell.task] = answer.data_sha256
            self._keep(step.cell, answer, member)
            found = records.decode(answer.record) if answer.record is not None else answer.failure
            yield from self._close(step, found, member)

    def _pass_over(self, member: Member, task: str, reason: str) -> None:
        """Give this worker no cells of that task any more."""
        self.unfit[task, member] = reason
        self.session.progress.say(f"worker {member.name} gets no more cells of {task}: {reason}")

    def _keep(self, cell: Cell, answer: Answer, member: Member) -> None:
        """Store what came with an answer: the model by the name that this cell's has, its pictures by their hashes."""
        self.stored[cell.key] = answer.folder
        if answer.folder is not None:
            expected = f"{cell.key[:12]}-{str(cell.freshness)[:8]}-"
            path = Path(answer.folder)
            if path.parent != Path(cell.task, cell.method) or not path.name.startswith(expected):
                raise RecordError(f"worker {member.name} names {answer.folder[:80]!r}, not the folder of {cell.task}/"
                                  f"{cell.method}: is it one of yours?")  # fmt: skip
            member.held.add(answer.folder)
            if answer.parcel is not None:
                dask_worker.unpack(replace(answer.parcel, folder=answer.folder), self.root)
        for picture in answer.gallery:
            if len(picture) <= pictures.MOST_BYTES:
                pictures.keep(picture, self.session.places.results / pictures.FOLDER)

    def _close(self, step: Step, found: Record | Failure | None, member: Member | None) -> Iterator[Record]:
        """The step is over, whatever came of it: those that waited for it may start. `member` ran it, if anyone did."""
        cell = step.cell
        why = isolate.failed(found)
        if why is not None and self._folder(cell) is None:
            self.lost[cell.key] = why
        for other in self.dependants.pop(cell.key, []):
            self.waits_for[other].discard(cell.key)
            if not self.waits_for[other]:
                self.ready.append(other)
        if isinstance(found, Failure) and not step.trains_only:
            origin = self.session.origin if member is None else _origin(member, self.session)
            found = isolate.failed_record(cell, found, self.session.places, self.session.device, origin)
        if isinstance(found, Record):
            machine.write_machine(self.session.places.results, None if member is None else member.welcome.machine)
            yield found


# ------------------------------------------------------------------------------------------------------ benchmarking


def benchmark(cells: Sequence[Cell], rows: Rows, session: Session, address: str) -> Iterator[Outcome]:
    """Measure each cell's rows on each kind of machine that has a worker, one at a time on each machine.

    DeviceError where rows are left and the machines that they are for are gone, or where no machine can measure a kind
    of benchmark that was asked for by name.
    """
    found = execute.standing_records(session)
    with Cluster[Job](address, session) as cluster:
        met = cluster.meet()
        _require_kinds(met, session.kinds)
        todo = [job for member in met for job in _asked(cells, rows, session, member, found)[0]]
    subjects: dict[str, Subject | None] = {}
    fault: DataError | TaskError | None = None
    try:
        yield from execute.get_ready(todo, found, session, f"dask:{address}", subjects)
    except (DataError, TaskError) as error:  # of one task: the cells of the others have their models
        session.progress.say(f"{error}; measuring the cells that have a model")
        fault = error
    queues: dict[str, deque[Job]] = {}
    deaths: Counter[tuple[str, str, Row]] = Counter()
    with Cluster[Job](address, session) as cluster, session.files() as append:
        cluster.meet()
        while True:
            for member in _those_that_measure(cluster):
                slug = member.welcome.machine.slug
                if slug not in queues:
                    owed, standing = _asked(cells, rows, session, member, found)
                    yield from (Outcome(record, skipped=True) for record in standing)
                    queues[slug] = deque(job for job in owed if subjects.get(job.cell.key) is not None)
                    session.progress.say(f"{len(queues[slug])} rows to measure on {slug}")
            _send_rows(cluster, queues, subjects, session)
            if not cluster.running and not any(queues.values()):
                if fault is not None:
                    raise fault
                return
            cluster.require_use(any(queues.get(slug) for slug in cluster.slugs), "rows are left")
            for ended in cluster.answers():
                record = _measured(ended, queues, deaths, cluster, session)
                if record is not None:
                    machine.write_machine(session.places.results, ended.member.welcome.machine)
                    append(record)
                    yield Outcome(record)


def _require_kinds(met: Sequence[Member], asked: Iterable[str]) -> None:
    """DeviceError where a kind of benchmark was asked for by name and no worker's machine can measure it."""
    lacking = [kind for kind in asked if not any(kind in member.welcome.kinds for member in met)]
    if lacking:
        raise DeviceError(f"--kind {lacking[0]}: no worker's machine can measure it; `python -m suite doctor` says why")


def _asked(
    cells: Sequence[Cell], rows: Rows, session: Session, member: Member, found: Sequence[Record]
) -> tuple[list[Job], list[Record]]:
    """What a worker's kind of machine owes, and the records that stand of it."""
    here = member.welcome.machine
    kinds = conditions.chosen(member.welcome.kinds, session.kinds)
    asked = execute.jobs(cells, execute.rows_on(rows, here.cores), session.places.artifacts, kinds)
    return execute.owed(asked, [] if session.force else found, here.slug, session.device)


def _measured(
    ended: Ended[Job],
    queues: dict[str, deque[Job]],
    deaths: Counter[tuple[str, str, Row]],
    cluster: Cluster[Job],
    session: Session,
) -> Record | None:
    """The record of a row that is over; None where it is to be measured once more."""
    job, answer, member = ended.thing, ended.answer, ended.member
    row = (job.cell.key, job.kind, job.row)
    deaths[row] += ended.died
    if (ended.died and deaths[row] < TRIES) or (answer is not None and answer.refusal is not None):
        queues[member.welcome.machine.slug].appendleft(job)
        if answer is not None:
            cluster.dismiss(member, str(answer.refusal))
        return None
    if answer is not None and answer.record is not None:
        return records.decode(answer.record)
    reason = one_line(ended.error) if ended.error is not None else deaths_said(member)
    failed = Measurement(job.kind, job.row.conditions, "error", reason, {}, [], {})
    return execute.cost_record(job, failed, replace(session, origin=_origin(member, session)))


def _those_that_measure(cluster: Cluster[Job]) -> list[Member]:
    members = list(cluster.members.values())
    return [member for member in members if "BENCH" in member.resources] or members


def _send_rows(
    cluster: Cluster[Job], queues: dict[str, deque[Job]], subjects: dict[str, Subject | None], session: Session
) -> None:
    """Give each machine that measures nothing its next row."""
    measuring = {member.welcome.host for member in cluster.members.values() if member.busy}
    for member in _those_that_measure(cluster):
        queue = queues.get(member.welcome.machine.slug)
        if not queue or member.welcome.host in measuring or member.busy:
            continue
        measuring.add(member.welcome.host)
        job = queue.popleft()
        subject = subjects[job.cell.key]
        assert subject is not None
        own, dense = (_below(each, session.places.artifacts) for each in (subject.compressed, subject.dense))
        order = Order(
            **_common(job.cell, member, session),
            needs=tuple(dict.fromkeys(each for each in (own, dense) if each is not None)),
            job=job,
            own=own,
            dense=dense,
            shapes=(subject.architecture, subject.dense_architecture),
        )
        resources = ("BENCH", "GPU") if session.device == "cuda" else ("BENCH",)
        session.progress.say(f"{job.cell.task} {job.cell.method} {job.kind} {job.row}, on worker {member.name}")
        cluster.send(job, member, order, resources=resources)


# ------------------------------------------------------------------------------------------------------------- common


def _common(cell: Cell, member: Member, session: Session) -> dict[str, Any]:
    return {
        "suite": dask_worker.fingerprint(),
        "freshness": cell.freshness,
        "places": member.welcome.places,
        "origin": _origin(member, session),
        "device": session.device,
        "limit": session.timeout,
    }


def _origin(member: Member, session: Session) -> Provenance:
    """A record's provenance is that of the machine that made it; its run is this one."""
    return replace(member.welcome.origin, run=session.origin.run)


def _below(folder: Path | None, root: Path) -> str | None:
    return None if folder is None else folder.relative_to(root).as_posix()


def deaths_said(member: Member) -> str:
    """A record's reason where no worker lived to its end; machines by their slugs, never by an address."""
    return f"{TRIES} workers died while they ran it, the last on {member.welcome.machine.slug}"
