"""Studies as pages show them: the source's number, ours, how far apart they are, what is missing. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from suite import charts, comparison, prose, study_lines, tables
from suite.charts import Chart, Point
from suite.errors import SuiteError
from suite.filled import Comparison, FilledFigure, FilledNumber, FilledSeries, FilledTarget, Found
from suite.records import ID, Record
from suite.setups import STATES, State
from suite.side_by_side import decimal, difference_text, findings, reported_text, undecided
from suite.studies import Line, Study, Unit
from suite.tasks import PROFILES

log = logging.getLogger(__name__)
#: Of a source's own points.
REPORTED = "reported"


@dataclass(frozen=True)
class Place:
    """One number of a table in words: the source's, ours, the deviation; `found` None where nothing answers it."""

    reported: str
    ours: str
    doubt: str
    deviation: str
    note: str
    found: Found | None
    cell: str | None


@dataclass(frozen=True)
class Drawing:
    """A figure: its curves, or None where neither the source nor we have a point; and what is missing from it."""

    title: str
    chart: Chart | None
    marks: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]
    missing: tuple[tuple[str, Found], ...]


@dataclass(frozen=True)
class Aim:
    """A target in words; `met` is None until the full profile has said over three seeds, `undecided` then says why."""

    label: str
    bound: str
    ours: str
    met: bool | None
    undecided: str
    found: Found
    cell: str | None


@dataclass(frozen=True)
class StudyPage:
    """A study as its page shows it; `grids` are (title, columns, (label, places), notes)."""

    study: Study
    findings: tuple[tuple[str, str], ...]
    grids: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, tuple[Place, ...]], ...], tuple[str, ...]], ...]
    drawings: tuple[Drawing, ...]
    aims: tuple[Aim, ...]
    states: Mapping[State, int]
    profiles: tuple[str, ...]
    machines: tuple[str, ...]
    owed: tuple[str, ...]

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def options(self) -> str:
        """What the command `study` must be told to make the page's own numbers."""
        profile = f" --profile {self.profiles[0]}" if self.profiles and self.profiles[0] != PROFILES[-1] else ""
        costs = any(each.kind != "accuracy" for each in self.study.quantities)
        return profile + (" --bench" if costs else "")


def study_pages(studies: Iterable[Study], records: Iterable[Record], cells: Set[str]) -> tuple[StudyPage, ...]:
    """Every study that this checkout can compare; `cells` are the keys of those that have a page."""
    known, made = comparison.index(records), []
    for study in studies:
        try:
            made.append(study_page(comparison.compare(study, known), cells))
        except SuiteError as error:  # it asks for a method or setting that this checkout lacks
            log.warning("the study %s is left out: %s", study.name, error)
    return tuple(made)


def study_page(filled: Comparison, cells: Set[str]) -> StudyPage:
    """A study's page from its comparison."""
    grids = tuple(
        (each.table.title, each.table.columns,
         tuple((line.label, tuple(_place(place, line, cells, mixed=each.mixes_machines) for place in places))
               for line, places in each.lines),
         each.notes)
        for each in filled.tables
    )  # fmt: skip
    states = [found.state for found in filled.found]
    measured = [found for found in filled.found if found.value is not None or found.state == "ok"]
    profiles = {found.profile for found in measured}
    return StudyPage(
        study=filled.study,
        findings=findings(filled),
        grids=grids,
        drawings=tuple(_drawing(figure) for figure in filled.figures),
        aims=tuple(_aim(target, cells) for target in filled.targets),
        states={state: states.count(state) for state in STATES if state in states},
        profiles=tuple(name for name in reversed(PROFILES) if name in profiles),
        machines=tuple(sorted({found.machine for found in measured if found.machine})),
        owed=filled.owed,
    )


# --------------------------------------------------------------------------------------------------------------- words


def spelled(value: float | None, unit: Unit, digits: int = 4, *, padded: bool = True) -> str:
    """A value in the units that papers use: percent, ms, decimal MB, M; a difference of percents in points.

    Not `padded`: without the zeros at the end that a measured value has.
    """
    if value is None:
        return tables.NOTHING
    if unit == "points":
        return f"{tables.signed(value)}\u00a0points"
    if unit == "seconds":
        return tables.duration(value) if value >= 0 else tables.minus(f"{value:.3g}\u202fs")
    if unit == "factor":
        return tables.times(value)
    if unit == "number":
        return tables.number(value, digits) if padded else tables.minus(f"{value:.{digits}g}")
    return decimal(value, unit, digits, padded=padded)


def _measured(value: float | None, unit: Unit) -> str:
    """Ours: percents of one table with as many decimals each, so that 76.50 stands below 76.57."""
    return f"{tables.percent(value)}\u202f%" if unit == "fraction" and value is not None else spelled(value, unit)


def _place(place: FilledNumber, line: Line, cells: Set[str], *, mixed: bool) -> Place:
    number, found = place.number, place.found
    unit = line.unit_of(number)
    return Place(
        reported=reported_text(line, number) if number.printed or number.reported is not None else "",
        ours="" if found is None else _measured(found.value, unit),
        doubt="" if found is None else _doubt(found, unit, names_machine=mixed and place.is_cost),
        deviation=difference_text(line, place),
        note=number.note,
        found=found,
        cell=_cell(found, cells),
    )


def _doubt(found: Found, unit: Unit, *, names_machine: bool) -> str:
    """The interval, or the deviation over seeds; why it is to be read with care, and where it was measured."""
    if found.value is None:
        return ""
    words = []
    if found.low is not None and found.high is not None:
        words = [f"{spelled(found.low, unit)} to {spelled(found.high, unit)}"]
    elif found.deviation is not None:
        words = [f"± {spelled(found.deviation, unit, 2).lstrip('+')}", prose.seeds_said(found.seeds)]
    return ", ".join([*words, *found.caveats, *([found.machine] if names_machine and found.machine else [])])


def _cell(found: Found | None, cells: Set[str]) -> str | None:
    return next((key[:ID] for key in found.cells if key in cells), None) if found is not None else None


def _aim(filled: FilledTarget, cells: Set[str]) -> Aim:
    target = filled.target
    ends = ((target.at_least, "at least"), (target.at_most, "at most"))
    bound = ", ".join(f"{word} {spelled(end, target.unit, padded=False)}" for end, word in ends if end is not None)
    return Aim(target.label, bound, _measured(filled.value, target.unit), filled.met,
               undecided(filled) if filled.met is None else "", filled.found, _cell(filled.found, cells))  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- curves


def _drawing(filled: FilledFigure) -> Drawing:
    series = list(_curves(filled))
    figure = filled.figure
    missing = tuple((each.series.label, found) for each in filled.series for found in each.found
                    if found.state != "ok")  # fmt: skip
    unprinted = sum(y is None for each in figure.series for _, y in each.reported)
    notes = figure.notes
    if unprinted:
        notes += (f"{unprinted} of the source's points {'is' if unprinted == 1 else 'are'} printed without a number.",)
    untrained = sum(each.untrained for each in filled.series)
    if untrained:
        levels = "1 level" if untrained == 1 else f"{untrained} levels"
        notes += (f"{levels} without an epoch of training left out, where lines are broken: the profile has too few "
                  "for all.",)  # fmt: skip
    points = [point for each in series for point in each.points]
    chart = None
    if points:
        most = max((restart for each in filled.series for restart in (
            *study_lines.restarts(each), *(restart for restart, _ in each.series.resumed))), default=0)  # fmt: skip
        chart = Chart(
            key="study",
            title=figure.title,
            note=_whose(series) + study_lines.told(most),
            x=_across(filled, [point.x for point in points], most),
            y=replace(charts.plain_axis(*_labelled(figure.y_label, figure.y_unit), [point.y for point in points]),
                      falling=figure.falling),
            series=tuple(series),
        )  # fmt: skip
    return Drawing(figure.title, chart, _marks(series), notes, missing)


def _across(filled: FilledFigure, values: Sequence[float], most: int) -> charts.Axis:
    figure = filled.figure
    if most:
        own = [x for each in filled.series for x, _ in (*each.points, *each.series.reported)]
        return study_lines.levels(figure.x_label, own, most)
    axis = charts.plain_axis(*_labelled(figure.x_label, figure.x_unit), values)
    return study_lines.whole(axis) if figure.x_unit == "count" else axis


def _labelled(label: str, unit: Unit) -> tuple[str, float]:
    """An axis' label with its unit, and what values are multiplied by for it."""
    return (f"{label}, %", 100) if unit == "fraction" else (f"{label}, s" if unit == "seconds" else label, 1)


def _whose(series: Sequence[charts.Series]) -> str:
    """Whose numbers a chart's marks are."""
    hollow = {each.hollow for each in series}
    if hollow == {True, False}:
        return "Hollow marks: the source's own numbers. Filled: ours"
    return "The source's own numbers; none of ours yet" if True in hollow else "Our numbers alone"


def _curves(filled: FilledFigure) -> Iterator[charts.Series]:
    figure = filled.figure

    def point(name: str, x: float, y: float, restart: int = 0) -> Point:
        where = f"restart {restart}" if restart else spelled(x, figure.x_unit, padded=False)
        at = study_lines.across(x, restart, index, len(filled.series))
        return Point(at, y, f"{name}: {spelled(y, figure.y_unit)} at {where}", "")

    for index, each in enumerate(filled.series):
        colour, shape, dash = study_lines.look(index)
        told, name = f"{each.series.label} ({REPORTED})", _ours(each)
        said = [point(told, x, y) for x, y in each.series.reported if y is not None]
        whole = len(said) == len(each.series.reported)  # a line over a point without a number would invent one
        resumed = [point(told, 0.0, y, restart) for restart, y in each.series.resumed]
        if said or resumed:
            breaks = tuple(range(len(said), len(said) + len(resumed)))
            yield charts.Series(told, colour, shape, True, (*said, *resumed), whole and len(said) > 1, dash, breaks)
        ours = [point(name, x, y, restart)
                for (x, y), restart in zip(each.points, study_lines.restarts(each), strict=True)]  # fmt: skip
        if ours:
            yield charts.Series(name, colour, shape, False, tuple(ours), len(ours) > 1, dash, each.breaks)


def _ours(filled: FilledSeries) -> str:
    profiles = sorted({found.profile for found in filled.found if found.profile and found.state in ("ok", "stale")})
    stale = any(found.state == "stale" for found in filled.found)
    words = [name for name in profiles if name != "full"] + (["stale"] if stale else [])
    return filled.series.label + (f" ({', '.join(words)})" if words else "")


def _marks(series: Sequence[charts.Series]) -> dict[str, Mapping[str, Any]]:
    return {
        each.name: {
            "colour": f"c{each.colour}",
            "path": charts.marker(each.shape),
            "hollow": each.hollow,
            "family": "",
            "joined": each.joined,
            "dash": each.dash,
        }
        for each in series
    }
