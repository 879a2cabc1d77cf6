"""Board -> charts: points, axes and their place on paper, for the SVG in the page and for plotly on top of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from suite import plan
from suite.leaderboard import CONTROL, LARGEST, Board
from suite.records import canonical
from suite.rows import Row
from suite.setups import Setup
from suite.tables import TIMES, UNITS, metric_text, setup_text, times
from suite.winners import front, gain

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 34, 60
#: A shape for each family, which says without any colour what kind of method it is; the last is any other family's.
FAMILIES = {
    "baseline": "star",
    "structured pruning": "circle",
    "unstructured pruning": "triangle-up",
    "quantization": "square",
    CONTROL: "diamond",
    "": "hexagon",
}
COLOURS = 8
#: An accuracy plot shows the best so many points; networks that are worse than that are in the table.
TALLEST = 0.12
#: The plot of a loss shows what is at most so many times the best.
WORST = 3.0


@dataclass(frozen=True)
class Point:
    """One row in a chart's own units; `low` and `high` bound x, `deviation` goes both ways in y."""

    x: float
    y: float
    label: str
    cell: str
    low: float | None = None
    high: float | None = None
    deviation: float | None = None


@dataclass(frozen=True)
class Series:
    """Points of one look. `colour` counts from 0, None is dense's own; a hollow marker is a control.

    `dash` is the line's (dashed, dotted or none); to the points numbered in `breaks` no line leads.
    """

    name: str
    colour: int | None
    shape: str
    hollow: bool
    points: tuple[Point, ...]
    joined: bool = False
    dash: str = ""
    breaks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high`, with (value, text) ticks; `log` is to the base 2, `falling` has the low end on top.

    A loss falls, so that up and to the right is better on every chart.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False
    falling: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        share = (value - self.low) / (self.high - self.low)
        return 1 - share if self.falling else share


@dataclass(frozen=True)
class Chart:
    """A chart with something in it. `reference` is dense's y.

    `front` joins the outermost of the points that nothing beats, further in x the worse in y.
    """

    key: str
    title: str
    note: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    front: tuple[tuple[float, float], ...] = ()
    reference: float | None = None


Looks = Mapping[str, tuple[int | None, str]]


def looks(families: Mapping[str, str]) -> Looks:
    """Colour and shape of each method, from its family: the same on every page.

    The shape is the family's. Colours are dealt family by family: the methods of one family, up to eight, differ.
    """
    order = list(FAMILIES)
    kinds = {name: family if family in FAMILIES else "" for name, family in families.items()}
    dealt = [name for name in sorted(kinds, key=lambda name: order.index(kinds[name])) if name != plan.DENSE]
    found: dict[str, tuple[int | None, str]] = {
        name: (index % COLOURS, FAMILIES[kinds[name]]) for index, name in enumerate(dealt)
    }
    return found | {plan.DENSE: (None, FAMILIES["baseline"])}


# --------------------------------------------------------------------------------------------------------------- charts


def pareto(board: Board, axis: str, look: Looks, setup: Setup | None = None) -> Chart | None:
    """The headline metric against how many times less a row costs than dense; None where nothing was measured."""
    by_method: dict[str, list[Point]] = defaultdict(list)
    for row in board.rows:
        x, y = gain(row, axis, setup), row.metrics.get(board.headline.name)
        if x is None or y is None:
            continue
        measured = row.speeds.get(setup) if axis == "speedup" and setup is not None else None
        low, high = (measured.interval if measured else None) or (None, None)
        how = " (INT8, compiled, over eager dense)" if measured is not None and measured.over_eager else ""
        label = f"{_name(row)}: {_score(board, y.mean)} at {times(x)}{how}"
        by_method[row.method].append(Point(x, y.mean, label, row.id, low, high, y.deviation))
    if not any(name != plan.DENSE for name in by_method):
        return None
    ys = _window([p.y for points in by_method.values() for p in points], board)
    hidden = sum(not ys.low <= p.y <= ys.high for points in by_method.values() for p in points)
    name, label, note = PARETO[axis]
    if axis == "speedup" and setup is not None:
        note = f"{note}; {setup_text(setup)}"
        if any(row.speeds[setup].over_eager for row in board.rows if setup in row.speeds):
            note += "; INT8 networks compiled, over the eager dense one"
    if hidden:
        note += f". {hidden} worse row{'s' * (hidden > 1)} off the chart"
    kept = {name: [p for p in points if ys.low <= p.y <= ys.high] for name, points in by_method.items()}
    xs = [end for points in kept.values() for p in points for end in (p.x, p.low, p.high) if end is not None]
    line = [(x, row.metrics[board.headline.name].mean) for row in front(board, axis, setup)
            if (x := gain(row, axis, setup)) is not None]  # fmt: skip
    return Chart(
        key=axis,
        title=f"{board.headline.label} and {name}",
        note=note,
        x=_ratio_axis(label, xs),
        y=ys,
        series=tuple(_series(name, points, board, look) for name, points in kept.items() if points),
        front=tuple((x, y) for x, y in _outermost(line, board) if ys.low <= y <= ys.high),
        reference=board.dense.get(board.headline.name),
    )


def _outermost(points: Sequence[tuple[float, float]], board: Board) -> list[tuple[float, float]]:
    """Those of points in order of rising x that are better in y than all further on: a line that never turns back."""
    sign = 1 if board.headline.higher_is_better else -1
    kept: list[tuple[float, float]] = []
    for x, y in reversed(points):
        if not kept or sign * y > sign * kept[-1][1]:
            kept.append((x, y))
    return kept[::-1]


#: The axes of the Pareto plots: what they are called, their label, a note.
PARETO = {
    "speedup": ("measured speed-up", "speed-up over dense", "Dense time / compressed time"),
    "macs": ("MACs", "times fewer MACs", "Dense / compressed: what fewer MACs promise of time, at equal precision"),
    "size_bytes_compressed": ("file size", "times smaller", "Dense / compressed, both zipped"),
}
SWEEP = "The whole sweep"


def sweep(board: Board, look: Looks) -> Chart | None:
    """The headline metric over the share of parameters removed; rows that differ in one number are joined."""
    lines: dict[tuple[str, str], list[Point]] = defaultdict(list)
    swept = {name: _swept([row for row in board.rows if row.method == name]) for name in {r.method for r in board.rows}}
    for row in board.rows:
        x, y = _removed(row), row.metrics.get(board.headline.name)
        if row.state != "ok" or x is None or y is None or row.method == plan.DENSE:
            continue
        others = {name: value for name, value in row.hyperparameters.items() if name != swept[row.method]}
        label = f"{_name(row)}: {_score(board, y.mean)}"
        lines[row.method, canonical(others)].append(Point(x, y.mean, label, row.id, None, None, y.deviation))
    series = [_series(name, sorted(points, key=lambda p: p.x), board, look, joined=True)
              for (name, _), points in sorted(lines.items()) if len(points) > 1]  # fmt: skip
    note = "Test split; zeros count as removed; a line joins rows that differ in one setting"
    alone = sum(len(points) == 1 for points in lines.values())
    if alone:
        note += f". {alone} row{'s' * (alone > 1)} without such a neighbour left out"
    return _curves("sweep", SWEEP, note, series, board)


def steps(board: Board, look: Looks) -> Chart | None:
    """What methods logged on their way: validation score over the share of parameters removed, one run a method."""
    sign = 1 if board.headline.higher_is_better else -1  # of a loss, the score is minus it
    longest: dict[str, tuple[Row, list[Point]]] = {}
    for row in board.rows:
        if row.state == "ok" and row.records:
            points = _logged(row, sign)
            if len(points) > max(1, len(longest[row.method][1]) if row.method in longest else 1):
                longest[row.method] = (row, points)
    series = [_series(name, points, board, look, joined=True) for name, (_, points) in longest.items()]
    return _curves("steps", "Step by step", "Validation split, one run of each method, as it logged it", series, board)


def _curves(key: str, title: str, note: str, series: list[Series], board: Board) -> Chart | None:
    points = [point for each in series for point in each.points]
    if not points:
        return None
    reference = board.dense.get(board.headline.name) if key == "sweep" else None
    values = [p.y for p in points] + ([reference] if reference is not None else [])
    x = _linear_axis("parameters removed, %", [0.0, *(p.x for p in points)], 100, pad=0.02)
    y = _quality_axis(values, board, " on validation data" if key == "steps" else "")
    return Chart(key, title, note, x, y, tuple(series), (), reference)


def _removed(row: Row) -> float | None:
    left, dense = row.mean("nonzero_parameters"), row.mean("dense_parameters")
    return None if left is None or not dense else 1 - left / dense


def _swept(rows: Sequence[Row]) -> str | None:
    """The hyperparameter that takes the most values: the one that a sweep is over."""
    values: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name, value in row.hyperparameters.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values[name].add(canonical(value))
    return max(values, key=lambda name: len(values[name]), default=None)


def _logged(row: Row, sign: int) -> list[Point]:
    """The curve of the row's first seed as points, where it logged parameters and a validation score, times `sign`."""
    record, found = row.records[0], []
    dense = record.metrics.get("dense_parameters")
    for at in record.curve:
        left = at.get("nonzero_parameters", at.get("parameters"))
        score = next((value for name, value in at.items() if name == "val" or name.startswith("val/")), None)
        if _plain(left) and _plain(score) and dense:
            label = f"{row.method}, step {at.get('step')}"
            found.append(Point(1 - left / dense, sign * score, label, row.id))
    return found


def _plain(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _series(name: str, points: Iterable[Point], board: Board, look: Looks, *, joined: bool = False) -> Series:
    colour, shape = look.get(name, (0, "circle"))
    hollow = any(CONTROL in row.family for row in board.rows if row.method == name)
    return Series(name, colour, shape, hollow, tuple(points), joined)


def _name(row: Row) -> str:
    return f"{row.method} {row.setting}".strip()


def _score(board: Board, value: float) -> str:
    unit = UNITS.get(board.headline.kind, "")
    return f"{board.headline.label} {metric_text(board.headline, value)}{unit and ' '}{unit}"


# ----------------------------------------------------------------------------------------------------------------- axes


def _window(values: Sequence[float], board: Board) -> Axis:
    """The y axis of a Pareto plot: from the best value to TALLEST below it, of a loss to WORST times the best.

    The dense network's is on it in any case, and what is no worse: all else is read against it.
    """
    dense = board.dense.get(board.headline.name)
    if board.headline.kind == "percent":
        least = min(max(values) - TALLEST, 1.0 if dense is None else dense)
        values = [value for value in values if value >= least]
    elif not board.headline.higher_is_better:
        most = max(WORST * min(values), 0.0 if dense is None else dense)
        values = [value for value in values if value <= most] or values
    return _quality_axis(values, board)


def _quality_axis(values: Sequence[float], board: Board, on: str = "") -> Axis:
    unit = UNITS.get(board.headline.kind, "")
    label = f"{board.headline.label}{on}, {unit}" if unit else f"{board.headline.label}{on}"
    if not board.headline.higher_is_better:
        label += " (lower is better: it falls upwards)"
    axis = _linear_axis(label, values, 100 if board.headline.kind == "percent" else 1, pad=0.06)
    return replace(axis, falling=not board.headline.higher_is_better)


def plain_axis(label: str, scale: float, values: Sequence[float]) -> Axis:
    """A linear scale over at least one value; its ticks are in `scale` times the values' own unit."""
    return _linear_axis(label, values, scale, pad=0.06)


def _linear_axis(label: str, values: Sequence[float], scale: float, pad: float) -> Axis:
    low, high = min(values), max(values)
    margin = pad * (high - low) or max(abs(high), 1e-9) * 0.01
    ticks = nice_ticks(scale * (low - margin), scale * (high + margin))
    return Axis(label, low - margin, high + margin, tuple((tick / scale, f"{tick:g}") for tick in ticks))


def _ratio_axis(label: str, values: Sequence[float]) -> Axis:
    """Powers of two where ratios span more than 3, else a linear scale; 1, which is dense, is always on it."""
    low, high = min([1.0, *values]), max([1.0, *values])
    if high / low < 3:
        linear = _linear_axis(label, [low, high], 1, pad=0.06)
        ticks = tuple((value, f"{value:g}{TIMES}") for value, _ in linear.ticks)
        return Axis(label, linear.low, linear.high, ticks)
    low, high = low / 1.12, high * 1.12
    # Every second power where there would be more than eight labels.
    step = 1 + int(math.log2(high / low) // 8)
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1, step)
    return Axis(label, low, high, tuple((2.0**power, f"{2.0**power:g}{TIMES}") for power in powers), log=True)


def nice_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers between `low` and `high`, at most so many: steps of 1, 2, 2.5 or 5 times a power of ten."""
    span = (high - low) / most
    power = 10.0 ** math.floor(math.log10(span))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= span)
    first = math.ceil(low / step)
    return [round(index * step, 10) for index in range(first, math.floor(high / step) + 1)]


# ---------------------------------------------------------------------------------------------------------------- paper


def paper_x(chart: Chart, value: float) -> float:
    """Pixels from the left of the SVG."""
    return round(LEFT + chart.x.place(value) * (WIDTH - LEFT - RIGHT), 1)


def paper_y(chart: Chart, value: float) -> float:
    """Pixels from the top of the SVG."""
    return round(HEIGHT - BOTTOM - chart.y.place(value) * (HEIGHT - TOP - BOTTOM), 1)


def front_path(chart: Chart) -> str:
    """The front as an SVG path: steps, for between two rows only the worse one is proved."""
    parts = []
    for index, (x, y) in enumerate(chart.front):
        if index:
            parts.append(f"V{paper_y(chart, y)}")
        parts.append(f"{'H' if index else 'M'}{paper_x(chart, x)}" + ("" if index else f" {paper_y(chart, y)}"))
    return " ".join(parts)


def joined_path(chart: Chart, series: Series) -> str:
    """A line through a series' points, but for its breaks."""
    return " ".join(
        f"{'L' if i and i not in series.breaks else 'M'}{paper_x(chart, p.x)} {paper_y(chart, p.y)}"
        for i, p in enumerate(series.points)
    )


_CORNERS = {
    "square": ((-4.4, -4.4), (4.4, -4.4), (4.4, 4.4), (-4.4, 4.4)),
    "triangle-up": ((0, -6), (5.4, 4), (-5.4, 4)),
    "triangle-down": ((0, 6), (5.4, -4), (-5.4, -4)),
    "diamond": ((0, -6.2), (6.2, 0), (0, 6.2), (-6.2, 0)),
    "hexagon": ((-5.5, 0), (-2.75, -4.8), (2.75, -4.8), (5.5, 0), (2.75, 4.8), (-2.75, 4.8)),
    "cross": ((-2, -5.5), (2, -5.5), (2, -2), (5.5, -2), (5.5, 2), (2, 2), (2, 5.5), (-2, 5.5), (-2, 2), (-5.5, 2),
              (-5.5, -2), (-2, -2)),
    "star": tuple((7 * math.sin(k * math.pi / 5) * (1, 0.45)[k % 2], -7 * math.cos(k * math.pi / 5) * (1, 0.45)[k % 2])
                  for k in range(10)),
}  # fmt: skip


def marker(shape: str) -> str:
    """A marker around (0, 0) as an SVG path."""
    if shape == "circle":
        return "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z"
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in _CORNERS[shape]) + "Z"
