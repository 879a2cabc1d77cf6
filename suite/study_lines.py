"""How a study's lines are told apart and where their points lie: looks, and an axis of levels with restarts beyond.

A restart is one more training at the last level, alpha 0, where all would lie on one spot. So alpha falls to the right,
and the restarts have places of their own beyond it, in which the lines stand side by side.
"""

from __future__ import annotations

import math
from dataclasses import replace

from suite import charts
from suite.charts import Axis
from suite.filled import FilledSeries
from suite.studies import ALPHA

#: So many colours differ enough for lines; the others of charts.COLOURS are each near one of them.
HUES = 6
DASHES = ("", "dashed", "dotted")
#: Marks count on beside the colours, and are of another number: a colour that comes again has another mark.
SHAPES = ("circle", "square", "triangle-up", "diamond", "hexagon", "triangle-down", "cross")
#: Levels are from 1 to 0: the place of one restart, how much of that all lines take side by side at most, and each.
SLOT, SPREAD, APART = 0.3, 0.62, 0.07
#: At most so many restarts have a label.
LABELLED = 12


def look(index: int) -> tuple[int, str, str]:
    """Colour, mark and dash of a figure's line."""
    return index % HUES, SHAPES[index % len(SHAPES)], DASHES[index // HUES % len(DASHES)]


def restarts(filled: FilledSeries) -> tuple[int, ...]:
    """Which restart each measured point is, 0 for none; all are none where the line is not over levels."""
    return filled.restarts if filled.series.x == ALPHA and filled.restarts else (0,) * len(filled.points)


def across(x: float, restart: int, index: int, lines: int) -> float:
    """Where a point lies on the axis of `levels`: a level at its value, a restart beyond zero, line beside line."""
    aside = min(SPREAD, APART * lines) * ((index + 0.5) / lines - 0.5)
    return -SLOT * (restart - 0.5 + aside) if restart else x


def levels(label: str, values: list[float], most: int) -> Axis:
    """Levels that fall to the right, then places for `most` restarts."""
    high = max(values)
    step = math.ceil(most / LABELLED)
    ticks = [(tick, f"{tick:g}") for tick in charts.nice_ticks(min(values), high)]
    ticks += [(-SLOT * (restart - 0.5), f"R{restart}") for restart in range(1, most + 1, step)]
    low, margin = min(-SLOT * most, *values), 0.05 * high
    return Axis(f"{label} falls, then restarts at {min(values):g}", low, high + margin, tuple(ticks), falling=True)


def told(most: int) -> str:
    """What a chart's note has to say of restarts."""
    return "" if not most else ". R1, R2 \u2026: restarts, in each of which the lines stand side by side"


def whole(axis: Axis) -> Axis:
    """The axis of what is counted: no tick stands between two numbers."""
    return replace(axis, ticks=tuple((value, text) for value, text in axis.ticks if value == round(value)))
