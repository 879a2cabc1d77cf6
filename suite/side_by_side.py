"""A study's comparison as text for a person, and as entries for JSON: paper beside measured."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from suite import prose, tables
from suite.filled import Comparison, FilledFinding, FilledNumber, FilledTable, FilledTarget, Found
from suite.studies import Line, Number, Unit

WIDTH = 110


def number_text(unit: Unit, value: float | None) -> str:
    """A number of a table in the unit that reads best, with the unit; a dash where there is none."""
    if value is None:
        return tables.NOTHING
    if unit == "fraction":
        return f"{tables.percent(value)} %"
    if unit == "points":
        return f"{tables.signed(value)} points"
    if unit in ("bytes", "count"):
        return decimal(value, unit, 4)
    written = {"seconds": tables.duration, "factor": tables.times, "number": tables.number}
    return written[unit](value)


#: Units that sources write in, the largest first: all powers of ten (GB, not GiB).
_WRITTEN: Mapping[Unit, tuple[tuple[str, float], ...]] = {
    "fraction": (("%", 1e-2),),
    "seconds": (("s", 1.0), ("ms", 1e-3), ("\u00b5s", 1e-6)),
    "bytes": (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)),
    "count": (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)),
}


def reported_text(line: Line, number: Number) -> str:
    """The source's number in its own text where it has one, else with all its digits, in decimal units; or a dash."""
    value, unit = number.reported, line.unit_of(number)
    if number.printed or value is None or unit not in _WRITTEN:
        return number.printed or number_text(unit, value)
    return decimal(value, unit, 6, padded=False)


def decimal(value: float, unit: Unit, digits: int, *, padded: bool = True) -> str:
    """So many significant digits of a fraction, seconds, bytes or a count, in the unit that sources would write.

    `padded`: zeros at the end stand, but for those of a whole number below a thousand.
    """
    name, size = next((each for each in _WRITTEN[unit] if abs(value) >= each[1]), _WRITTEN[unit][-1])
    alternate = "#" if padded and (size != 1 or unit == "seconds") else ""
    return tables.minus(f"{value / size:{alternate}.{digits}g}".rstrip(".")) + (f"\u202f{name}" if name else "")


def difference_text(line: Line, place: FilledNumber) -> str:
    """How far ours lies from the source's: points of a fraction, percent of anything else; empty without both."""
    if place.difference is None or not line.comparable:
        return ""
    if line.unit == "fraction":
        return f"{tables.signed(place.difference)} points"
    return tables.relative(place.difference, place.number.reported)


def measured_text(unit: Unit, found: Found | None, *, names_machine: bool = False) -> str:
    """Ours, with what it should be read with: spread or interval, profile unless full, state unless ok, caveats."""
    if found is None:
        return tables.NOTHING
    if found.value is None:
        return found.state
    text = number_text(unit, found.value)
    if found.deviation is not None:
        text += f" ± {number_text(unit, found.deviation).lstrip('+')}"
    text += _interval(found)
    remarks = [word for word, said in ((found.profile or "", "full"), (found.state, "ok")) if word not in ("", said)]
    remarks += [*found.caveats, *([found.machine] if names_machine and found.machine else [])]
    return text + (f" ({', '.join(remarks)})" if remarks else "")


def findings(done: Comparison) -> tuple[tuple[str, str], ...]:
    """What the findings say, with their numbers, and over what profile and seeds; none whose results are not there."""
    return tuple((_said(each), _grounds(each)) for each in done.findings if each.holds)


def _said(filled: FilledFinding) -> str:
    asked, found = filled.finding.by, filled.found
    return filled.finding.text.format_map({name: _told(asked[name][0], found[name]) for name in asked})


def _told(unit: Unit, found: Found) -> str:
    """A number of a sentence: a speed-up with its interval."""
    return number_text(unit, found.value) + _interval(found)


def _interval(found: Found) -> str:
    return "" if found.low is None or found.high is None else f" [{found.low:.2f}, {found.high:.2f}]"


def _grounds(filled: FilledFinding) -> str:
    seeds = [prose.seeds_said(filled.seeds)] if filled.seeds else []
    return ", ".join([f"{filled.finding.profile} profile", *seeds, *filled.machines, *filled.caveats])


def undecided(filled: FilledTarget) -> str:
    """Why a target is neither met nor missed."""
    if not filled.is_full:
        quiet = "" if filled.target.by.kind == "accuracy" else " on a quiet machine"
        return f"the full profile has not been run{quiet}"
    if not filled.seeds or filled.ends is None:
        return "no seed has both: three are owed"
    if filled.seeds < filled.fewest:
        return f"{prose.seeds_said(filled.seeds)}: no verdict, three are owed"
    low, high = (number_text(filled.target.unit, end) for end in filled.ends)
    return f"its 95 % interval is {low} to {high}"


def lines(done: Comparison) -> Iterator[str]:
    """The whole study as lines for a person."""
    study = done.study
    yield f"{study.title}  ({study.source})"
    for text, grounds in findings(done):
        yield from textwrap.wrap(f"we see: {text} ({grounds})", WIDTH, subsequent_indent="  ")
    for table in done.tables:
        yield ""
        yield from _table(table)
    for figure in done.figures:
        yield ""
        yield figure.figure.title
        for series in figure.series:
            state = next((each.state for each in series.found if each.state != "ok"), "ok")
            count = f"{len(series.points)} points measured" if series.points else state
            yield f"  {series.series.label}: {count}"
    for target in done.targets:
        bound = target.target.at_least if target.target.at_least is not None else target.target.at_most
        word = "at least" if target.target.at_least is not None else "at most"
        verdict = {True: "met", False: "missed", None: f"open ({undecided(target)})"}[target.met]
        value = number_text(target.target.unit, target.value)
        yield f"target: {target.target.label} {word} {number_text(target.target.unit, bound)}: {value}, {verdict}"
    for title, texts in (("why they differ", study.why), ("the source contradicts itself", study.inconsistencies)):
        for text in texts:
            yield from textwrap.wrap(f"{title}: {text}", WIDTH, subsequent_indent="  ")
    if done.owed:
        yield ""
        yield f"{len(done.owed)} measurements owed, such as {done.owed[0]}"


def _table(filled: FilledTable) -> Iterator[str]:
    yield filled.table.title
    width = max(map(len, filled.table.columns), default=0)
    mixed = filled.mixes_machines
    for line, numbers in filled.lines:
        yield f"  {line.label}"
        for column, place in zip(filled.table.columns, numbers, strict=True):
            if place.number.reported is None and not place.number.printed and place.found is None:
                continue
            paper = reported_text(line, place.number)
            difference = difference_text(line, place)
            ours = measured_text(line.unit_of(place.number), place.found, names_machine=mixed and place.is_cost)
            yield f"    {column:{width}}  paper {paper:>14}  ours {ours}  {difference}".rstrip()
    for note in filled.notes:
        yield from textwrap.wrap(f"note: {note}", WIDTH, initial_indent="  ", subsequent_indent="  ")


def entry(done: Comparison) -> dict[str, Any]:
    """The comparison for JSON, in base units."""
    study = done.study
    return {
        "name": study.name,
        "title": study.title,
        "source": study.source,
        "findings": [{"text": text, "grounds": grounds} for text, grounds in findings(done)],
        "why": list(study.why),
        "inconsistencies": list(study.inconsistencies),
        "tables": [
            {
                "title": each.table.title,
                "columns": list(each.table.columns),
                "notes": list(each.notes),
                "lines": [_line(line, numbers) for line, numbers in each.lines],
            }
            for each in done.tables
        ],
        "figures": [
            {
                "title": each.figure.title,
                "series": [
                    {
                        "label": series.series.label,
                        "reported": [list(point) for point in series.series.reported],
                        "resumed": [list(point) for point in series.series.resumed],
                        "measured": [list(point) for point in series.points],
                        "found": [asdict(found) for found in series.found],
                    }
                    for series in each.series
                ],
            }
            for each in done.figures
        ],
        "targets": [
            {"label": each.target.label, "at_least": each.target.at_least, "at_most": each.target.at_most,
             "value": each.value, "seeds": each.seeds, "met": each.met}
            for each in done.targets
        ],
        "owed": list(done.owed),
    }  # fmt: skip


def _line(line: Line, numbers: tuple[FilledNumber, ...]) -> dict[str, Any]:
    return {
        "label": line.label,
        "unit": line.unit,
        "numbers": [
            {
                "reported": place.number.reported,
                "printed": place.number.printed,
                "difference": place.difference if line.comparable else None,
                "relative": place.relative if line.comparable else None,
                **({"state": "nothing to measure"} if place.found is None else asdict(place.found)),
            }
            for place in numbers
        ],
    }
