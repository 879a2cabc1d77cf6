"""A study beside the records: each number of a source, what we measured for it, how far apart they are. Pure: no torch.

Accuracies are means over the seeds of the most serious profile that has any; a cost is one of the lowest seed, each
machine's newest, and of these the one that can be trusted most: of a quiet machine, of the trained weights, converged,
with the narrowest interval.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite import plan, setups
from suite.records import Record, Scalar, canonical
from suite.setups import STATES, State
from suite.studies import Figure, Finding, Line, Number, Quantity, Series, Study, Table, Target
from suite.study_plan import cell, command
from suite.tasks import PROFILES

#: Logged values are computed by steps such as 1 - 0.1 k: 0.4 is there as 0.3999999999999999.
SAME = 1e-9


@dataclass(frozen=True)
class Found:
    """What a quantity came out as. `value` is there where the state is ok or stale, else `reason` says what is wrong.

    `low` and `high` are a speed-up's interval, `deviation` the standard deviation over several seeds; `caveats` are
    why a cost is to be read with care. `command` measures it, or measures it again; `cells` are the keys of the cells
    whose records were read.
    """

    state: State
    command: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    seeds: int = 0
    profile: str | None = None
    machine: str | None = None
    reason: str | None = None
    cells: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Is it fresh, and no busy machine's and no simulation's?"""
        return self.state == "ok" and not {"contended", "simulated"} & set(self.caveats)


@dataclass(frozen=True)
class FilledNumber:
    """A place of a table beside what answers it; `found` is None where nothing does.

    `difference` is ours less the source's, `relative` the same as a share of the source's.
    """

    number: Number
    found: Found | None

    @property
    def is_cost(self) -> bool:
        """Is it a number that depends on the machine?"""
        return self.number.by is not None and self.number.by.kind != "accuracy"

    @property
    def difference(self) -> float | None:
        value = None if self.found is None else self.found.value
        return None if value is None or self.number.reported is None else value - self.number.reported

    @property
    def relative(self) -> float | None:
        difference, reported = self.difference, self.number.reported
        return None if difference is None or not reported else difference / abs(reported)


@dataclass(frozen=True)
class FilledTable:
    """A table's lines, each with its numbers filled in, column by column."""

    table: Table
    lines: tuple[tuple[Line, tuple[FilledNumber, ...]], ...]

    @property
    def mixes_machines(self) -> bool:
        """Are its costs of more than one machine? Then each place must say which."""
        places = [place for _, places in self.lines for place in places if place.is_cost and place.found is not None]
        return len({place.found.machine for place in places if place.found and place.found.value is not None}) > 1


@dataclass(frozen=True)
class FilledSeries:
    """A curve of the source beside ours: `points` are (x, y) that were measured, `found` what each of them, or the
    whole logged curve, came from. `untrained` of its points are left out: no epoch was spent there.
    """

    series: Series
    points: tuple[tuple[float, float], ...]
    found: tuple[Found, ...]
    untrained: int = 0


@dataclass(frozen=True)
class FilledFigure:
    """A figure's curves, filled in."""

    figure: Figure
    series: tuple[FilledSeries, ...]


@dataclass(frozen=True)
class FilledTarget:
    """A target and what it came to, and what `than` did; `met` is None until the full profile has said."""

    target: Target
    found: Found
    than: Found | None = None

    @property
    def value(self) -> float | None:
        """What the bound is on: the quantity, or its difference from the other."""
        if self.than is None or self.found.value is None:
            return self.found.value
        return None if self.than.value is None else self.found.value - self.than.value

    @property
    def met(self) -> bool | None:
        read = [self.found] if self.than is None else [self.found, self.than]
        value = self.value
        if value is None or any(each.state != "ok" or each.profile != PROFILES[-1] for each in read):
            return None
        low, high = self.target.at_least, self.target.at_most
        return (low is None or value >= low) and (high is None or value <= high)


@dataclass(frozen=True)
class FilledFinding:
    """A finding with what its numbers came out as."""

    finding: Finding
    found: Mapping[str, Found]

    @property
    def holds(self) -> bool:
        """Are the numbers those of the results over which the words were written?"""
        return all(each.comparable and each.profile == self.finding.profile for each in self.found.values())

    @property
    def seeds(self) -> int:
        """Of the accuracy that has the fewest; 0 where only costs are told."""
        asked = self.finding.by
        return min((each.seeds for name, each in self.found.items() if asked[name][1].kind == "accuracy"), default=0)

    @property
    def machines(self) -> tuple[str, ...]:
        """Where its costs were measured."""
        asked = self.finding.by
        costs = [each for name, each in self.found.items() if asked[name][1].kind != "accuracy"]
        return tuple(dict.fromkeys(each.machine for each in costs if each.machine))


@dataclass(frozen=True)
class Comparison:
    """A study with everything that was measured for it."""

    study: Study
    tables: tuple[FilledTable, ...]
    figures: tuple[FilledFigure, ...]
    targets: tuple[FilledTarget, ...]
    findings: tuple[FilledFinding, ...] = ()
    others: tuple[Found, ...] = ()

    @property
    def found(self) -> tuple[Found, ...]:
        """Every measurement that the study asks for; what answers several of its numbers stands here as often."""
        places = [p.found for t in self.tables for _, numbers in t.lines for p in numbers if p.found is not None]
        curves = [found for figure in self.figures for series in figure.series for found in series.found]
        aims = [found for each in self.targets for found in (each.found, each.than) if found is not None]
        return (*places, *curves, *aims, *self.others)

    @property
    def owed(self) -> tuple[str, ...]:
        """The commands that would measure what is missing, stale or failed, none twice."""
        return tuple(dict.fromkeys(each.command for each in self.found if each.state not in ("ok", "unsupported")))


# ---------------------------------------------------------------------------------------------- records beside a study

Index = Mapping[tuple[str, str, str, str], Sequence[Record]]


def index(records: Iterable[Record]) -> Index:
    """Records by kind, task, method and hyperparameters, in the order in which they come (oldest first)."""
    found: dict[tuple[str, str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        found[record.kind, record.task, record.method, canonical(record.hyperparameters)].append(record)
    return found


def compare(study: Study, known: Index) -> Comparison:
    """The study's tables, figures and targets, filled from an index of records."""
    return Comparison(
        study=study,
        tables=tuple(
            FilledTable(
                table, tuple((line, tuple(_fill(each, known) for each in line.numbers)) for line in table.lines)
            )
            for table in study.tables
        ),
        figures=tuple(
            FilledFigure(figure, tuple(_series(each, known) for each in figure.series)) for figure in study.figures
        ),
        targets=tuple(_target(each, known) for each in study.targets),
        findings=tuple(_finding(each, known) for each in study.findings),
        others=tuple(find(each, known) for each in study.others),
    )


def _target(target: Target, known: Index) -> FilledTarget:
    return FilledTarget(target, find(target.by, known), None if target.than is None else find(target.than, known))


def _finding(finding: Finding, known: Index) -> FilledFinding:
    return FilledFinding(finding, {name: find(quantity, known) for name, (_, quantity) in finding.by.items()})


def _fill(number: Number, known: Index) -> FilledNumber:
    return FilledNumber(number, None if number.by is None else find(number.by, known))


# ---------------------------------------------------------------------------------------------------------- one number


def find(quantity: Quantity, known: Index) -> Found:
    """What a quantity came out as."""
    state, group = _standing(quantity, known)
    return _found(quantity, state, group) if group else _missing(quantity)


def _missing(quantity: Quantity) -> Found:
    return Found("missing", command(quantity), reason="never measured")


def _standing(quantity: Quantity, known: Index) -> tuple[State, list[Record]]:
    """The records that count, oldest first, alike in state and profile: the best there are."""
    key = (quantity.kind, quantity.task, quantity.method, canonical(dict(cell(quantity).hyperparameters)))
    standing = [(record, _state(record)) for record in known.get(key, ()) if _fits(quantity, record)]
    for state in STATES:
        for profile in reversed(PROFILES):
            group = [record for record, own in standing if own == state and record.profile == profile]
            if group:
                return state, group
    return "missing", []


def _fits(quantity: Quantity, record: Record) -> bool:
    if quantity.kind == "accuracy":
        return True
    return record.device == quantity.device and dict(record.conditions or {}) == dict(quantity.conditions or {})


def _state(record: Record) -> State:
    if record.status != "ok":
        return "unsupported" if record.status == "unsupported" else "failed"
    return "ok" if plan.is_fresh(record) else "stale"


def _found(quantity: Quantity, state: State, group: Sequence[Record]) -> Found:
    """Of records that are alike in state and profile, oldest first."""
    newest = group[-1]
    again = command(quantity, profile=newest.profile, seed=newest.seed)
    if state not in ("ok", "stale"):
        return Found(state, again, profile=newest.profile, machine=newest.machine, reason=newest.reason,
                     cells=(newest.cell,))  # fmt: skip
    chosen = _seeds(group) if quantity.kind == "accuracy" else [_one(group)]
    values = [value for record in chosen if (value := read(quantity, record)) is not None]
    if not values:
        what = "the logged curve" if quantity.point is not None else "the record"
        return Found("missing", f"{again} --force", profile=newest.profile, cells=(newest.cell,),
                     reason=f"{what} has no {quantity.metric}")  # fmt: skip
    low, high = _interval(quantity, chosen[0])
    return Found(
        state=state,
        command=again,
        value=statistics.fmean(values),
        low=low,
        high=high,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        seeds=len(values),
        profile=newest.profile,
        machine=chosen[0].machine,
        reason="measured with an earlier version of the method, model, task or protocol" if state == "stale" else None,
        cells=tuple(record.cell for record in chosen),
        caveats=() if quantity.kind == "accuracy" else setups.caveats(chosen[0]),
    )


def _seeds(group: Sequence[Record]) -> list[Record]:
    """The newest record of each seed, of the data set that was used last."""
    newest = {record.seed: record for record in group if record.data_sha256 == group[-1].data_sha256}
    return [newest[seed] for seed in sorted(newest)]


def _one(group: Sequence[Record]) -> Record:
    """Of each machine the newest, of these the most trusted; one of a busy machine only for want of another."""
    newest = {(record.machine, record.seed, bool(record.notes.get("contended"))): record for record in group}
    return min(reversed(newest.values()), key=_distrust)


def _distrust(record: Record) -> tuple[Any, ...]:
    doubts = setups.caveats(record)
    low, middle, high = (_number(record.metrics.get(name)) for name in ("speedup_low", "speedup", "speedup_high"))
    width = 0.0 if low is None or high is None or not middle else (high - low) / middle
    first, then = ("simulated", "contended"), ("random weights", "not converged")
    return (*(each in doubts for each in first), record.seed, *(each in doubts for each in then), width)


def _interval(quantity: Quantity, record: Record) -> tuple[float | None, float | None]:
    if quantity.metric not in ("speedup", "speedup_over_eager"):
        return None, None
    return _number(record.metrics.get(f"{quantity.metric}_low")), _number(record.metrics.get(f"{quantity.metric}_high"))


def read(quantity: Quantity, record: Record) -> float | None:
    """The quantity's value in one of its records; None where it has none."""
    if quantity.point is not None:
        return _logged(quantity, quantity.point, record)
    if quantity.form == "mean":
        side = 0 if quantity.metric.startswith("dense_") else 1
        return statistics.fmean(pair[side] for pair in record.samples) if record.samples else None
    own, dense = _number(record.metrics.get(quantity.metric)), _number(record.metrics.get(f"dense_{quantity.metric}"))
    return _formed(quantity, own, dense)


def _formed(quantity: Quantity, own: float | None, other: float | None) -> float | None:
    if own is None or quantity.form == "value":
        return own
    if quantity.form == "complement":
        return 1 - own
    if other is None:
        return None
    if quantity.form == "less-dense":
        return own - other
    return own / other if other else None


def _logged(quantity: Quantity, wanted: Mapping[str, Scalar], record: Record) -> float | None:
    values = [
        value
        for point in record.curve
        if all(_same(point.get(name), each) for name, each in wanted.items())
        and (value := _number(point.get(quantity.metric))) is not None
    ]
    first = _number(record.curve[0].get(quantity.metric)) if record.curve else None
    return _formed(quantity, values[-1], first) if values else None


def _same(value: Scalar, wanted: Scalar) -> bool:
    own, other = _number(value), _number(wanted)
    return value == wanted if own is None or other is None else math.isclose(own, other, abs_tol=SAME)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# ---------------------------------------------------------------------------------------------------------- one curve


def _series(series: Series, known: Index) -> FilledSeries:
    if series.logged is None:
        found = [(x, find(quantity, known)) for x, quantity in series.points]
        measured = tuple((x, each.value) for x, each in found if each.value is not None)
        return FilledSeries(series, measured, tuple(each for _, each in found))
    return _logged_series(series, series.logged, known)


def _logged_series(series: Series, quantity: Quantity, known: Index) -> FilledSeries:
    """The curve that the lowest seed's record logged."""
    state, group = _standing(quantity, known)
    if state not in ("ok", "stale"):
        return FilledSeries(series, (), (_found(quantity, state, group) if group else _missing(quantity),))
    record = _one(group)
    again = command(quantity, profile=record.profile, seed=record.seed)
    trained = [point for number, point in enumerate(record.curve) if number == 0 or point.get("epochs") != 0]
    points = tuple(_points(series, quantity, trained))
    if not points:
        lacking = Found("missing", f"{again} --force", reason=f"the logged curve has no {quantity.metric}")
        return FilledSeries(series, (), (lacking,))
    shown = Found(state, again, seeds=1, profile=record.profile, machine=record.machine, cells=(record.cell,))
    return FilledSeries(series, points, (shown,), len(record.curve) - len(trained))


def _points(series: Series, quantity: Quantity, curve: Sequence[Mapping[str, Scalar]]) -> Iterator[tuple[float, float]]:
    first = _number(curve[0].get(quantity.metric)) if curve else None
    for point in curve:
        x, y = _number(point.get(series.x)), _formed(quantity, _number(point.get(quantity.metric)), first)
        if x is not None and y is not None:
            yield x, y
