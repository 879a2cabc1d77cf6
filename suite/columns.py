"""What readers may choose of a table: its columns and the filters over how rows were timed. Pure: no file is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from suite.leaderboard import Board
from suite.records import Scalar
from suite.rows import QUALITY, Metric
from suite.setups import Measurement, Setup, setup_of
from suite.sources import spell
from suite.tables import ELSEWHERE, TIMES, UNITS, rivals, setup_text

#: At most so many other setups have a column of their own; the others are chosen by "Timed with".
MOST_ELSEWHERE = 12
#: How a row was timed, in the order of the filters: field of a record, its label.
FACETS = {"machine": "Machine", "device": "Device", "batch_size": "Batch", "threads": "Threads", "backend": "Backend",
          "precision": "Precision", "cache": "Caches", "timing": "Clock"}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of numbers. `better` is the end that a first click sorts to the top; `title` explains the column.

    `shown`: there unless the reader chooses otherwise. `fields` are what a download has of it, named as in records
    where records have it.
    """

    key: str
    label: str
    unit: str
    title: str
    better: Literal["high", "low"]
    fields: tuple[str, ...]
    shown: bool = True


def columns(board: Board) -> tuple[Column, ...]:
    """The columns of a board, the ones that matter most first: a phone shows quality and speed side by side."""
    others = [m for m in QUALITY.values() if m != board.headline and any(m.name in row.metrics for row in board.rows)]
    extra = [Column(m.name, m.label, UNITS.get(m.kind, ""), "Test split", _direction(m), _of_quality(m.name))
             for m in others]  # fmt: skip
    # A reconstruction is judged by all of its metrics; of a classification the top 5 say little beside the top 1.
    near, far = ([], extra) if board.headline.kind == "percent" else (extra, [])
    speed = "Speed-up: time of dense / time of compressed, 95 % interval"
    if any(m.over_eager for row in board.rows for m in row.speeds.values()):
        speed = f"{speed}. {COMPILED_RULE}"
    sizes = ("size_bytes_compressed", "size_bytes", "dense_size_bytes_compressed", "dense_size_bytes")
    left = ("nonzero_parameters", "dense_nonzero_parameters")
    quality, *differences = _headline_columns(board)
    return (
        Column("rank", "Rank", "speed", RANK_RULE, "low", ("speed_rank", "speed_rank_worst")),
        quality,
        Column("speedup", "Measured", TIMES, speed, "high",
               ("speedup", "speedup_low", "speedup_high", "contended", "over_eager", "speedup_over_compiled")),
        Column("promised", "Promised", TIMES, "Dense MACs / compressed MACs: a promise, at equal precision", "high",
               ("promised",)),
        *differences,
        *near,
        *_elsewhere(board),
        Column("compressed_seconds", "Time", "", "Median time of one pass; below it the dense model's", "low",
               ("compressed_seconds", "dense_seconds")),
        Column("parameters_left", "Parameters", "% left", "Non-zero parameters, as a share of dense", "low", left),
        Column("macs_left", "MACs", "% left", "Multiply-accumulates of one sample, as a share of dense", "low",
               ("macs", "dense_macs")),
        Column("size_bytes_compressed", "File", "zipped", "Saved weights, compressed; below it as they are", "low",
               sizes),
        Column("peak_bytes", "Memory", "peak", "Peak memory of a fresh process; below it the dense model's", "low",
               ("peak_bytes", "dense_peak_bytes")),
        Column("joules", "Energy", "per image", "Energy of one image; below it the dense model's", "low",
               ("joules", "dense_joules"), shown=any(row.energy for row in board.rows)),
        *far,
    )  # fmt: skip


def _headline_columns(board: Board) -> tuple[Column, ...]:
    """What the task is judged by, and its differences from dense and, where there are any, from controls."""
    head, controls = board.headline, rivals(board)
    in_points = head.kind == "percent"
    unit = UNITS.get(head.kind, "")
    points = "points" if in_points else unit
    told = "Test split; mean and deviation over seeds" + ("" if head.higher_is_better else "; lower is better")
    change = "Difference paired by seed; verdict by a 95 % t interval"
    if not in_points:
        change += "; below it as a share of dense"
    ends = ("change", "change_deviation", "change_low", "change_high")
    found = [Column(head.name, head.label, unit, told, _direction(head), _of_quality(head.name)),
             Column("change", "vs dense", points, change, _direction(head), ends)]  # fmt: skip
    if controls:
        told = f"As vs dense, against a row of the same size: {', '.join(controls)}"
        fields = ("control", "control_low", "control_high", "control_rival")
        found.append(Column("control", "vs control", points, told, _direction(head), fields))
    return tuple(found)


def _elsewhere(board: Board) -> Iterator[Column]:
    """The speed-up in every setup at once, a column each: other machines are shown, other conditions to be chosen."""
    here = {(setup.machine, setup.device) for setup in board.setups[:1]}
    for place, setup in enumerate(board.setups[:MOST_ELSEWHERE] if len(board.setups) > 1 else ()):
        new = setup.headline and (setup.machine, setup.device) not in here
        here.add((setup.machine, setup.device))
        text = setup_text(setup)
        fields = (f"speedup, {text}", f"speedup_low, {text}", f"speedup_high, {text}")
        yield Column(f"{ELSEWHERE}{place}", setup_text(setup, machine=False), setup.machine,
                     f"Speed-up, whatever the table is timed with: {text}", "high", fields, shown=new)  # fmt: skip


def _of_quality(name: str) -> tuple[str, ...]:
    return (name, f"{name}_deviation", f"dense_{name}")


COMPILED_RULE = (
    "compiled: INT8 kernels run in compiled networks alone, so this is the time of the eager dense network / the time "
    "of the compiled INT8 one; below it the speed-up over the compiled dense network"
)
RANK_RULE = (
    "1 + the rows whose whole speed-up interval, widened by the noise floor, lies above this row's; below it, from the "
    "best to the worst place that the intervals leave open"
)


def _direction(metric: Metric) -> Literal["high", "low"]:
    return "high" if metric.higher_is_better else "low"


# ------------------------------------------------------------------------------------------------------------- filters


def facets(board: Board) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """(field, label, values) of what rows can be filtered by: how any of them was timed; only what there is."""
    values: dict[str, dict[str, None]] = {name: {} for name in FACETS}
    for way in {own_setup(each): None for row in board.rows for each in row.speeds.values()}:
        for name, value in setup_facets(way).items():
            values[name].setdefault(value)
    return tuple((name, label, tuple(sorted(values[name], key=_in_order)))
                 for name, label in FACETS.items() if values[name])  # fmt: skip


def _in_order(value: str) -> tuple[float, str]:
    return (float(value), "") if value.isdecimal() and len(value) < 10 else (1e10, value)


def setup_facets(setup: Setup) -> dict[str, str]:
    """What a setup says of how it was timed, by field, as texts."""
    found: dict[str, Scalar] = {"machine": setup.machine, "device": setup.device, **dict(setup.conditions)}
    return {name: spell(found[name]) for name in FACETS if found.get(name) is not None}


def own_setup(measured: Measurement) -> Setup:
    """The setup in which a measurement was made, wherever it is shown."""
    return setup_of(measured.record)
