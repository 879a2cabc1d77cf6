"""Records -> page data: which rows may be compared, who ranks where, what is owed. Pure: no torch, no file is read."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from suite import plan, registry
from suite.errors import SuiteError
from suite.floors import Floors, floors
from suite.records import PROTOCOL, Record, canonical
from suite.rows import COSTS, QUALITY, Metric, Row, Verdict, measured_row, missing_row, spread, verdict
from suite.setups import STATES, Measurement, Setup, State
from suite.sources import spell
from suite.stats import ranks
from suite.tasks import PROFILES

#: A method whose family has this word in it is one that the others must beat.
CONTROL = "control"
#: The metric that decides, by a task's objective, of ours: `decider` knows others.
HEADLINES = {"classification": "top1", "reconstruction": "loss", "generation": "frechet_small"}
#: The seeds that DESIGN section 7 asks of the full profile; other profiles owe only the seeds in use.
FULL_SEEDS = (0, 1, 2)
#: Every method owes the seeds that any has, up to so many: a stranger's thousands make no millions of missing cells.
MOST_SEEDS = 20
#: No quantity that is measured here is larger, or above zero and smaller than its inverse.
LARGEST = 1e30


@dataclass(frozen=True)
class Board:
    """The rows that may be compared: one task, one profile, one data set; best headline metric first.

    `setups` are where speed was measured, the default first; `floors` the noise floors by setup, as fractions, of rows
    whose own run measured none; `dense` the dense model's metrics, averaged over seeds.
    """

    task: str
    title: str
    embedded: bool
    profile: str
    data_sha256: str | None
    data_source: str | None
    headline: Metric
    rows: tuple[Row, ...]
    setups: tuple[Setup, ...]
    floors: Mapping[Setup, float]
    dense: Mapping[str, float]

    @property
    def slug(self) -> str:
        return f"{self.profile}-{(self.data_sha256 or 'unknown')[:8]}"

    @property
    def newest(self) -> str:
        return max((record.created for row in self.rows for record in row.records), default="")

    @property
    def contended(self) -> bool:
        """Was every speed-up of a compressed network measured on a busy machine?"""
        speeds = [each for row in self.rows if row.method != plan.DENSE for each in row.speeds.values()]
        return bool(speeds) and all(each.contended for each in speeds)

    def count(self, state: State) -> int:
        return sum(row.state == state for row in self.rows)


@dataclass(frozen=True)
class Tally:
    """How many of one method's cells on one board are measured, and what became of the others."""

    by_state: Mapping[State, int]
    rows: int
    timed: int

    @property
    def cells(self) -> int:
        return sum(self.by_state.values())


@dataclass(frozen=True)
class Leaderboard:
    """Everything that pages show. `cells` holds all records of each cell, newest first: also those that are history."""

    boards: tuple[Board, ...]
    cells: Mapping[str, tuple[Record, ...]]
    machines: Mapping[str, Mapping[str, Any]]
    noise: tuple[Record, ...]
    methods: tuple[str, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(board.task for board in self.boards))

    def boards_of(self, task: str) -> tuple[Board, ...]:
        return tuple(board for board in self.boards if board.task == task)

    def main_board(self, task: str) -> Board:
        """The task's most serious board with a row that counts: a full run that failed hides no quick one."""
        boards = self.boards_of(task)
        return next((board for board in boards if board.count("ok")), boards[0])


def assemble(records: Sequence[Record], machines: Mapping[str, Mapping[str, Any]]) -> Leaderboard:
    """The page data of `records` (oldest first) and machine descriptions, judged by this checkout's registry."""
    cells: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        cells[record.cell].append(record)
    noise = tuple(record for record in records if record.kind == "noise-floor" and record.status == "ok")
    judged_by = floors(noise)
    groups: dict[tuple[str, str], list[list[Record]]] = defaultdict(list)
    for found in cells.values():
        measured = [record for record in found if record.kind != "noise-floor"]
        if measured:
            groups[measured[0].task, measured[0].profile].append(measured)
    tasks, methods = list(registry.tasks()), list(registry.catalogue().methods)
    found_boards = (board for group in groups.values() for board in _boards(group, judged_by))
    boards = sorted(found_boards, key=lambda board: board.newest)
    boards.reverse()  # newest data set first among equals: the sort below is stable
    boards.sort(key=lambda b: (b.embedded, *_place(b.task, tasks), -PROFILES.index(b.profile)))
    named = {record.method for record in records if record.kind != "noise-floor"}
    return Leaderboard(
        boards=tuple(boards),
        cells={key: tuple(reversed(found)) for key, found in cells.items()},
        machines={name: machines.get(name, {}) for name in sorted({r.machine for r in records} | set(machines))},
        noise=noise,
        methods=(*methods, *sorted(named - set(methods))),
    )


def decider(objective: str) -> str:
    """The metric that decides by a task's objective, ours or a task file's; empty where this checkout lacks it."""
    return HEADLINES.get(objective) or registry.decider(objective)


def absurd(record: Record) -> str | None:
    """Why a valid record cannot be counted with: a metric no machine could have measured, which sums would choke on."""
    for name, value in record.metrics.items():
        if value is not None and not (value == 0 or 1 / LARGEST <= abs(value) <= LARGEST):
            return f"metric {name} is beyond anything measurable"
    return None


def _place(name: str, known: Sequence[str]) -> tuple[int, str]:
    return (known.index(name) if name in known else len(known), name)


# -------------------------------------------------------------------------------------------------------------- boards


def _boards(cells: Sequence[Sequence[Record]], noise: Floors) -> Iterator[Board]:
    """The boards of one task and profile: one for each data set that its accuracy was measured on.

    What failed before it read its data belongs to the data set in use. Only a number that names none stands apart.
    """
    current = _data_in_use([record for found in cells for record in found])

    def data_of(record: Record) -> str | None:
        is_number = (record.kind, record.status) == ("accuracy", "ok")
        return record.data_sha256 if record.data_sha256 is not None or is_number else current

    rows: dict[str | None, dict[str, dict[int, list[Record]]]] = defaultdict(lambda: defaultdict(dict))
    newest: dict[str | None, Record] = {}
    for found in cells:
        setting = canonical([found[0].method, found[0].hyperparameters])
        shas = {data_of(r) for r in found if r.kind == "accuracy"} or {data_of(r) for r in found}
        for sha in shas:
            # A cost belongs to the data set that it names; one that names none, to all.
            own = [r for r in found if data_of(r) == sha or (r.kind != "accuracy" and r.data_sha256 is None)]
            # the same setting under another protocol is another cell: that of today's stands, whatever came last
            if found[0].protocol == PROTOCOL or found[0].seed not in rows[sha][setting]:
                rows[sha][setting][found[0].seed] = own
            if sha not in newest or newest[sha].created < own[-1].created:
                newest[sha] = own[-1]
    for sha, settings in rows.items():
        profile = newest[sha].profile
        uses = Counter(seed for by_seed in settings.values() for seed in by_seed)
        often = sorted(uses, key=lambda seed: (-uses[seed], seed))[:MOST_SEEDS]
        seeds = sorted({*(FULL_SEEDS if profile == "full" else ()), *often})
        # What is missing is missing on the data set in use, not on those of old.
        planned = _planned(newest[sha].task, profile, seeds) if sha == current else {}
        made = [measured_row(by_seed, sha, planned.get(key, {})) for key, by_seed in settings.items()]
        made += [missing_row(by_seed, sha) for key, by_seed in planned.items() if key not in settings]
        yield _board(newest[sha], sha, made, noise)


def _data_in_use(records: Sequence[Record]) -> str | None:
    """The data set of the newest accuracy that names one, of costs where no accuracy is there; None where none does."""
    measured = [record for record in records if record.kind == "accuracy"] or records
    named = [record for record in measured if record.data_sha256 is not None]
    return max(named, key=lambda record: record.created).data_sha256 if named else None


def _planned(task: str, profile: str, seeds: Sequence[int]) -> dict[str, dict[int, plan.Cell]]:
    """The standard cells of a task for the seeds in use, by setting; none for a task that this checkout lacks."""
    found: dict[str, dict[int, plan.Cell]] = defaultdict(dict)
    if task not in registry.tasks():
        return found
    for method in registry.catalogue().methods.values():
        try:
            cells = plan.cells([registry.task(task)], [method], settings={}, seeds=seeds, profile=profile)
        except SuiteError:  # points that do not fit the method's own signature: conformance reports them
            continue
        for cell in cells:
            found[canonical([cell.method, dict(cell.hyperparameters)])][cell.seed] = cell
    return found


def _board(newest: Record, sha: str | None, rows: list[Row], noise: Floors) -> Board:
    task = registry.tasks().get(newest.task)
    headline = _headline(decider(task.objective) if task else "", rows)
    measured_in = tuple(dict.fromkeys(setup for row in rows for setup in row.speeds))
    rows = [_on_floors(row.beside(measured_in), noise, measured_in) for row in rows]
    uses = Counter(setup for row in rows for setup in row.speeds)
    setups = sorted(uses, key=lambda s: (not s.headline, -uses[s], s.machine, s.device, canonical(s.conditions)))
    if headline.name in QUALITY:  # of a metric that this checkout does not know, neither end is the better one
        rows = _against_controls([_against_dense(row, headline) for row in rows], headline)
    return Board(
        task=newest.task,
        title=task.title if task else newest.task,
        embedded=bool(task and task.embedded),
        profile=newest.profile,
        data_sha256=sha,
        data_source=next((r.data_source for row in rows for r in row.records if r.data_source), None),
        headline=headline,
        rows=tuple(sorted(_ranked(rows, setups), key=lambda row: _order(row, headline))),
        setups=tuple(setups),
        floors={
            setup: floor for setup in setups if (floor := noise.at((newest.task, newest.profile, setup))) is not None
        },
        dense=_dense(rows),
    )


def _on_floors(row: Row, noise: Floors, known: Sequence[Setup]) -> Row:
    """The row with the noise floor that each of its speed-ups is judged by."""

    def judged(setup: Setup, found: Measurement) -> Measurement:
        return replace(found, floor=noise.of(found.record, (setup, *known)) or 0.0)

    return replace(row, speeds={setup: judged(setup, found) for setup, found in row.speeds.items()})


def _headline(wanted: str, rows: Sequence[Row]) -> Metric:
    present = {name for row in rows for name in row.metrics}
    known = next((name for name in (wanted, *QUALITY) if name in present and name in QUALITY), wanted)
    foreign = (name for name in sorted(present - {*QUALITY, *COSTS}) if f"dense_{name}" in present)
    if not known and (name := next(foreign, None)):  # the metric of a task whose file is not here
        return Metric(name, name, "number", True)
    return QUALITY[known or "top1"]


def _order(row: Row, headline: Metric) -> tuple[int, float, str, str]:
    """Best headline metric first, rows without one last."""
    value = row.mean(headline.name)
    if value is None:
        return (1 + STATES.index(row.state), 0.0, row.method, row.setting)
    return (0, -value if headline.higher_is_better else value, row.method, row.setting)


def _dense(rows: Sequence[Row]) -> dict[str, float]:
    by_seed: dict[str, dict[int, float]] = defaultdict(dict)
    dense_last = sorted((row for row in rows if row.state == "ok"), key=lambda row: row.method == plan.DENSE)
    for record in (record for row in dense_last for record in row.records):
        for name, value in record.metrics.items():
            if name.startswith("dense_") and value is not None:
                by_seed[name.removeprefix("dense_")][record.seed] = float(value)
    return {name: statistics.fmean(values.values()) for name, values in by_seed.items()}


# ------------------------------------------------------------------------------------------------- verdicts and ranks


def _by_seed(row: Row, name: str) -> dict[int, float]:
    return {r.seed: float(value) for r in row.records if (value := r.metrics.get(name)) is not None}


def _better_by(headline: Metric, own: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Differences paired by seed, signed so that above 0 is better."""
    sign = 1 if headline.higher_is_better else -1
    return [sign * (own[seed] - other[seed]) for seed in sorted(own.keys() & other.keys())]


def _against_dense(row: Row, headline: Metric) -> Row:
    own, dense = _by_seed(row, headline.name), _by_seed(row, f"dense_{headline.name}")
    changes = [own[seed] - dense[seed] for seed in sorted(own.keys() & dense.keys())]
    if row.method == plan.DENSE or not changes:
        return row
    return replace(row, change=spread(changes), verdicts=(verdict(plan.DENSE, _better_by(headline, own, dense)),))


def _against_controls(rows: list[Row], headline: Metric) -> list[Row]:
    """Each row judged against the controls that have its very size, the same parameters and the same MACs.

    The hardest to beat comes first, of those that there is a verdict on: it is the one that tables show.
    """
    controls = [row for row in rows if CONTROL in row.family and row.state == "ok"]
    done = []
    for row in rows:
        if row.state != "ok" or CONTROL in row.family or row.method == plan.DENSE:
            done.append(row)
            continue
        rivals = [c for c in controls if _size(c) == _size(row) and None not in _size(c)]
        pairs = [(c, _better_by(headline, _by_seed(row, headline.name), _by_seed(c, headline.name))) for c in rivals]
        verdicts = [verdict(_rival(c, rivals), differences) for c, differences in pairs if differences]
        done.append(replace(row, verdicts=(*row.verdicts, *sorted(verdicts, key=_hardness))))
    return done


def _hardness(judged: Verdict) -> tuple[bool, float]:
    """Verdicts first, the hardest to beat first: on one seed the luckiest control would be the hardest."""
    return judged.outcome == "no verdict", judged.difference


def _rival(control: Row, rivals: Sequence[Row]) -> str:
    """A control by its name and, where several rows of it are as large, what tells this one from them."""
    others = [each.hyperparameters for each in rivals if each.method == control.method]
    told = [f"{name} {spell(value)}" for name, value in control.hyperparameters.items()
            if any(other.get(name) != value for other in others)]  # fmt: skip
    return ", ".join([control.method, *told])


def _size(row: Row) -> tuple[float | None, float | None]:
    return (row.mean("parameters"), row.mean("macs"))


def _ranked(rows: list[Row], setups: Iterable[Setup]) -> list[Row]:
    """The rows with the ranks of their speed-ups, setup by setup; stale, failed and contended ones have none."""
    speeds = {row.key: dict(row.speeds) for row in rows}
    for setup in setups:
        entrants = [
            (row.key, m, interval)
            for row in rows
            if row.state == "ok" and (m := row.speeds.get(setup)) is not None and m.comparable
            if (interval := m.interval) is not None
        ]
        intervals, noise = [interval for *_, interval in entrants], [m.floor for _, m, _ in entrants]
        slowest_first = ranks([(1 / high, 1 / low) for low, high in intervals], noise)
        for (key, m, _), place, behind in zip(entrants, ranks(intervals, noise), slowest_first, strict=True):
            worst = len(entrants) + 1 - behind
            speeds[key][setup] = replace(m, rank=place, worst=worst, entrants=len(entrants))
    return [replace(row, speeds=speeds[row.key]) for row in rows]


def tally(board: Board, method: str) -> Tally:
    """The state of one method's cells on a board."""
    rows = [row for row in board.rows if row.method == method]
    return Tally(
        by_state=Counter(cell.state for row in rows for cell in row.cells),
        rows=len(rows),
        timed=sum(any(m.comparable for m in row.speeds.values()) for row in rows),
    )
