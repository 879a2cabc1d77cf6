"""Noise floors: by how much a network timed against itself seems to differ from itself, and which row it bears on.

A row is judged by the floor of its own run, whose state of the machine it shares. Where that run measured none, or only
while the machine was busy, the largest that a quiet machine ever showed there counts: the luckiest of several A/A runs
would call noise a difference. Pure: no torch, no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from suite.records import Record
from suite.setups import Setup, hosts, setup_of

#: Where a floor was measured and for what: task, profile, setup.
Place = tuple[str, str, Setup]


@dataclass(frozen=True)
class Floors:
    """The noise floors of records: `standing` by task, profile and setup; `own` by run too, of quiet machines alone."""

    standing: Mapping[Place, Record]
    own: Mapping[tuple[str, Place], Record]

    def at(self, place: Place) -> float | None:
        """The standing floor of a place as a fraction; None where none was measured."""
        found = self.standing.get(place)
        return None if found is None else _share(found)

    def of(self, record: Record, known: Iterable[Setup] = ()) -> float | None:
        """The floor that a latency record is judged by, as a fraction; None where none was measured.

        That of a quantized network is its own; where there is none, that of its host among the `known` setups.
        """
        setup = setup_of(record)
        for each in (setup, *hosts(setup, known)):
            place = (record.task, record.profile, each)
            found = self.own.get((record.run, place)) or self.standing.get(place)
            if found is not None:
                return _share(found)
        return None


def floors(records: Iterable[Record]) -> Floors:
    """Those of records of any kind, oldest first."""
    noise = [record for record in records if record.kind == "noise-floor" and record.status == "ok"]
    smallest_first = sorted(noise, key=lambda each: (not each.notes.get("contended"), _share(each)))
    quiet = [record for record in smallest_first if not record.notes.get("contended")]
    return Floors(
        {_place(record): record for record in smallest_first},
        {(record.run, _place(record)): record for record in quiet},
    )


def told(records: Sequence[Record]) -> list[tuple[Record, str]]:
    """Noise floors, given oldest first and told newest first, each with the runs on whose rows it bears."""
    found = floors(records)
    standing = {id(record) for record in found.standing.values()}
    return [(record, _bears_on(record, id(record) in standing)) for record in reversed(records)]


def _bears_on(record: Record, standing: bool) -> str:
    if standing:
        return "its run, and runs without one"
    return "none: the machine was busy" if record.notes.get("contended") else "its run"


def _place(record: Record) -> Place:
    return (record.task, record.profile, setup_of(record))


def _share(record: Record) -> float:
    return max(0.0, float(record.metrics.get("noise_floor") or 0))
