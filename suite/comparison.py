"""A study beside the records: each number of a source, what we measured for it, how far apart they are. Pure: no torch.

Accuracies are of the most serious profile that has any, means over the seeds that all numbers beside them in a table,
figure or sentence have: two seeds of one row are no match for one of another. A cost is one of the lowest seed, each
machine's newest, and of these the one that can be trusted most: of a quiet machine, of the trained weights, converged,
and then the newest: the narrowest interval is of several the luckiest. A target is decided by three seeds, one relative
to another quantity by their differences paired by seed.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from suite import plan, setups, side_by_side
from suite.filled import (
    Comparison,
    FilledFigure,
    FilledFinding,
    FilledNumber,
    FilledSeries,
    FilledTable,
    FilledTarget,
    Found,
)
from suite.history import epochs
from suite.records import Record, Scalar, canonical
from suite.rows import Verdict, verdict
from suite.setups import STATES, State
from suite.studies import EPOCH, Figure, Finding, Number, Quantity, Series, Study, Table, Target
from suite.study_plan import cell, command
from suite.tasks import PROFILES

#: Logged values are computed by steps such as 1 - 0.1 k: 0.4 is there as 0.3999999999999999.
SAME = 1e-9


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
        tables=tuple(_table(table, known) for table in study.tables),
        figures=tuple(_figure(figure, known) for figure in study.figures),
        targets=tuple(_target(each, known) for each in study.targets),
        findings=tuple(_finding(each, known) for each in study.findings),
        others=tuple(find(each, known) for each in study.others),
    )


def _target(target: Target, known: Index) -> FilledTarget:
    if target.than is None:
        return FilledTarget(target, find(target.by, known))
    seeds = _shared((target.by, target.than), known)
    found, than = (find(quantity, known, seeds) for quantity in (target.by, target.than))
    return FilledTarget(target, found, than, _apart(target.by, target.than, known))


def _apart(quantity: Quantity, other: Quantity, known: Index) -> Verdict | None:
    """The difference of two quantities, paired by seed within one profile and data set; None where no seed has both."""
    own, rival = (_by_seed(each, known) for each in (quantity, other))
    differences = [own[key] - rival[key] for key in sorted(own.keys() & rival.keys(), key=str)]
    return verdict(other.method, differences) if differences else None


def _by_seed(quantity: Quantity, known: Index) -> dict[tuple[int, str, str | None], float]:
    state, group = _standing(quantity, known)
    chosen = _chosen(quantity, group) if state in ("ok", "stale") else []
    return {(record.seed, record.profile, record.data_sha256): value
            for record in chosen if (value := read(quantity, record)) is not None}  # fmt: skip


def _finding(finding: Finding, known: Index) -> FilledFinding:
    seeds = _shared((quantity for _, quantity in finding.by.values()), known)
    return FilledFinding(finding, {name: find(quantity, known, seeds) for name, (_, quantity) in finding.by.items()})


def _table(table: Table, known: Index) -> FilledTable:
    asked = [number.by for line in table.lines for number in line.numbers if number.by is not None]
    seeds = _shared(asked, known)

    def fill(number: Number) -> FilledNumber:
        return FilledNumber(number, None if number.by is None else find(number.by, known, seeds))

    lines = tuple((line, tuple(map(fill, line.numbers))) for line in table.lines)
    return FilledTable(table, lines, _cut(asked, known, seeds), _drift(asked, known))


def _figure(figure: Figure, known: Index) -> FilledFigure:
    seeds = _shared((quantity for series in figure.series for _, quantity in series.points), known)
    return FilledFigure(figure, tuple(_series(each, known, seeds) for each in figure.series))


#: Of a compressed network's time, that of the dense one beside it.
DENSE_TIMES = {"compressed_seconds": "dense_seconds", "total_cpu_seconds": "dense_total_cpu_seconds"}
#: By how much dense times may differ before it is said.
DRIFT = 1.1

#: Seeds by profile.
Seeds = Mapping[str, Set[int]]


def _shared(quantities: Iterable[Quantity], known: Index) -> Seeds:
    """The seeds of each profile that every accuracy which has any of it has; profiles without such are left out."""
    found: dict[str, Set[int]] = {}
    for quantity in quantities:
        state, group = _standing(quantity, known)
        if quantity.kind == "accuracy" and state == "ok":
            own = {record.seed for record in _seeds(group)}
            found[group[0].profile] = found.get(group[0].profile, own) & own
    return {profile: seeds for profile, seeds in found.items() if seeds}


def _cut(quantities: Iterable[Quantity], known: Index, shared: Seeds) -> tuple[int, ...]:
    """The seeds shared, of the first profile in which some accuracy has more than those; empty where none has."""
    for quantity in quantities:
        state, group = _standing(quantity, known)
        kept = shared.get(group[0].profile) if group and state == "ok" and quantity.kind == "accuracy" else None
        if kept is not None and len(_seeds(group)) > len(kept):
            return tuple(sorted(kept))
    return ()


def _drift(quantities: Iterable[Quantity], known: Index) -> str:
    """What to know of times that stand beside each other, each measured in its own minutes: how far dense itself moved.

    Of one machine, task and setup; empty where no dense network's times differ by more than a tenth.
    """
    beside: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for quantity in quantities:
        state, group = _standing(quantity, known)
        if quantity.metric in DENSE_TIMES and state in ("ok", "stale") and group:
            record = _one(group)
            dense = _number(record.metrics.get(DENSE_TIMES[quantity.metric]))
            if dense:
                place = (record.machine, quantity.task, quantity.metric, canonical(dict(record.conditions or {})))
                beside[place].append(dense)
    widest: dict[str, tuple[float, float]] = {}
    for (_, task, *_), times in beside.items():
        low, high = widest.get(task, (1.0, 1.0))
        if max(times) / min(times) > max(DRIFT, high / low):
            widest[task] = min(times), max(times)
    if not widest:
        return ""
    several = len({task for _, task, *_ in beside}) > 1
    ranges = [" to ".join(side_by_side.decimal(end, "seconds", 3) for end in ends) + (f" ({task})" if several else "")
              for task, ends in widest.items()]  # fmt: skip
    return (
        f"Times are of different minutes, in which the machine itself changes: the dense network beside these "
        f"took {', '.join(ranges)}. What a row gains is its speed-up, which is measured against dense in the same "
        "seconds."
    )


# ---------------------------------------------------------------------------------------------------------- one number


def find(quantity: Quantity, known: Index, seeds: Seeds | None = None) -> Found:
    """What a quantity came out as; an accuracy that counts is the mean over `seeds`, over all that it has without."""
    state, group = _standing(quantity, known)
    if seeds and quantity.kind == "accuracy" and state == "ok":
        group = [record for record in group if record.seed in seeds.get(record.profile, {record.seed})]
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
    chosen = _chosen(quantity, group)
    values = [value for record in chosen if (value := read(quantity, record)) is not None]
    if not values:
        if quantity.point is not None and any(read_point(quantity, each.curve) is not None for each in chosen):
            again = command(quantity, profile="full", seed=newest.seed)
            return Found("missing", again, profile=newest.profile, cells=(newest.cell,),
                         reason=f"the {newest.profile} profile spends no epoch there")  # fmt: skip
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
        caveats=() if quantity.kind == "accuracy" else (*setups.caveats(chosen[0]), *_base(quantity, chosen[0])),
    )


def _base(quantity: Quantity, record: Record) -> Iterator[str]:
    """What a compiled network's memory is to be compared with, since an eager base stands beside it."""
    dense = _number(record.metrics.get("dense_peak_bytes"))
    if quantity.metric == "peak_bytes" and dense is not None and (record.conditions or {}).get("backend") == "compile":
        yield f"compiled dense {side_by_side.decimal(dense, 'bytes', 4)}"


def _chosen(quantity: Quantity, group: Sequence[Record]) -> list[Record]:
    return _seeds(group) if quantity.kind == "accuracy" else [_one(group)]


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
    first, then = ("simulated", "contended"), ("random weights", "not converged")
    return (*(each in doubts for each in first), record.seed, *(each in doubts for each in then))


def _interval(quantity: Quantity, record: Record) -> tuple[float | None, float | None]:
    if quantity.metric not in ("speedup", "speedup_over_eager"):
        return None, None
    return _number(record.metrics.get(f"{quantity.metric}_low")), _number(record.metrics.get(f"{quantity.metric}_high"))


def read(quantity: Quantity, record: Record) -> float | None:
    """The quantity's value in one of its records; None where it has none."""
    if quantity.point is not None:
        return read_point(quantity, trained(record.curve))
    if quantity.form == "mean":
        side = 0 if quantity.metric.startswith("dense_") else 1
        return statistics.fmean(pair[side] for pair in record.samples) if record.samples else None
    own, dense = _number(record.metrics.get(quantity.metric)), _number(record.metrics.get(f"dense_{quantity.metric}"))
    return _formed(quantity, own, dense)


def _formed(quantity: Quantity, own: float | None, other: float | None) -> float | None:
    if own is None or quantity.form == "value":
        return own
    if quantity.form == "negated":
        return -own
    if quantity.form == "complement":
        return 1 - own
    if other is None:
        return None
    if quantity.form == "less-dense":
        return own - other
    return own / other if other else None


def trained(curve: Sequence[Mapping[str, Scalar]]) -> list[Mapping[str, Scalar]]:
    """A logged curve from its start, without the levels that got no epoch: they show what the one before left."""
    return [point for number, point in enumerate(curve) if _is_trained(number, point)]


def _is_trained(number: int, point: Mapping[str, Scalar]) -> bool:
    return number == 0 or point.get("epochs") != 0


def read_point(quantity: Quantity, curve: Sequence[Mapping[str, Scalar]]) -> float | None:
    """The value of the curve's last point that has what the quantity's `point` asks for; None where none has."""
    wanted = quantity.point or {}
    values = [
        value
        for point in curve
        if all(_same(point.get(name), each) for name, each in wanted.items())
        and (value := _number(point.get(quantity.metric))) is not None
    ]
    first = _number(curve[0].get(quantity.metric)) if curve else None
    return _formed(quantity, values[-1], first) if values else None


def _same(value: Scalar, wanted: Scalar) -> bool:
    own, other = _number(value), _number(wanted)
    return value == wanted if own is None or other is None else math.isclose(own, other, abs_tol=SAME)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# ---------------------------------------------------------------------------------------------------------- one curve


def _series(series: Series, known: Index, seeds: Seeds) -> FilledSeries:
    if series.logged is None:
        found = [(x, find(quantity, known, seeds)) for x, quantity in series.points]
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
    curve: Sequence[Mapping[str, Scalar]] = record.curve if series.x != EPOCH else epochs(record.trainings)
    kept = trained(curve)
    drawn = list(_points(series, quantity, curve))
    if not drawn:
        which = "the logged curve" if series.x != EPOCH else "what it trained, epoch by epoch,"
        lacking = Found("missing", f"{again} --force", reason=f"{which} has no {quantity.metric}")
        return FilledSeries(series, (), (lacking,))
    shown = Found(state, again, seeds=1, profile=record.profile, machine=record.machine, cells=(record.cell,))
    numbers = [number for number, _, _ in drawn]
    return FilledSeries(
        series,
        points=tuple(pair for _, pair, _ in drawn),
        found=(shown,),
        untrained=len(curve) - len(kept),
        breaks=tuple(i for i in range(1, len(numbers)) if numbers[i] > numbers[i - 1] + 1),
        restarts=tuple(restart for _, _, restart in drawn),
    )


def _points(
    series: Series, quantity: Quantity, curve: Sequence[Mapping[str, Scalar]]
) -> Iterator[tuple[int, tuple[float, float], int]]:
    """Number in the curve, (x, y) and which restart, of each trained point that has both."""
    first = _number(curve[0].get(quantity.metric)) if curve else None
    restarts = 0
    for number, point in enumerate(curve):
        x, y = _number(point.get(series.x)), _formed(quantity, _number(point.get(quantity.metric)), first)
        restarts += bool(point.get("restart"))
        if x is not None and y is not None and _is_trained(number, point):
            yield number, (x, y), restarts if point.get("restart") else 0
