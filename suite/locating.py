"""A record by the name that a page or a person gives it: `CELL`, `CELL/KIND`, `CELL/KIND/name=value,...`, `FILE:LINE`.

No torch: pages use it too, to print the command that verifies what they show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from suite.errors import RecordError, UsageError
from suite.records import ID, Record, decode
from suite.setups import setup_of
from suite.sources import spell

FEWEST = 6
HOW = "write CELL, CELL/KIND or CELL/KIND/name=value,... as the cell's page shows it, or FILE:LINE"
_REFERENCE = re.compile(r"(?P<cell>[0-9a-f]+)(?:/(?P<kind>[a-z-]+))?(?:/(?P<conditions>.+))?")


def refer(record: Record) -> str:
    """The shortest name of a record that leaves no doubt which row is meant."""
    conditions = ",".join(f"{name}={spell(value)}" for name, value in sorted((record.conditions or {}).items()))
    return "/".join(part for part in (record.cell[:ID], record.kind if conditions else "", conditions) if part)


def locate(reference: str, found: Sequence[Record], machine: str) -> Record:
    """The record that is meant, of `found`, oldest first: this `machine`'s before others', and the newest.

    UsageError where there is none, or several under conditions that the reference leaves open.
    """
    file, colon, line = reference.rpartition(":")
    if colon and line.isdigit():
        return _line(Path(file), int(line))
    parts = _REFERENCE.fullmatch(reference)
    if parts is None or len(parts["cell"]) < FEWEST:
        raise UsageError(f"no record is called {reference[:80]!r}: {HOW}")
    kind = parts["kind"] or "accuracy"
    own = [record for record in found if record.cell.startswith(parts["cell"])]
    if len({record.cell for record in own}) > 1:
        raise UsageError(f"several cells start with {parts['cell']}: give more of its {ID} characters")
    own = [record for record in own if record.kind == kind and _fits(record, parts["conditions"])]
    if not own:
        raise UsageError(f"no {kind} record called {reference[:200]!r} in these results: {HOW}")
    counting = [record for record in own if record.status == "ok"] or own
    counting = [record for record in counting if record.machine == machine] or counting
    return _one(reference, counting)


def _one(reference: str, found: Sequence[Record]) -> Record:
    """The newest; of several conditions the headline's, if it is among them."""
    headline = [record for record in found if record.conditions is None or setup_of(record).headline]
    if not headline and len({refer(record) for record in found}) > 1:
        names = ", ".join(sorted({refer(record) for record in found}))
        raise UsageError(f"{reference} is measured under several conditions: choose one of {names}")
    return (headline or found)[-1]


def _fits(record: Record, conditions: str | None) -> bool:
    if conditions is None:
        return True
    wanted = dict(part.partition("=")[::2] for part in conditions.split(","))
    known = {name: spell(value) for name, value in (record.conditions or {}).items()}
    return all(known.get(name) == value for name, value in wanted.items())


def _line(path: Path, number: int) -> Record:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; {HOW}") from error
    if not 1 <= number <= len(lines) or not lines[number - 1].strip():
        raise UsageError(f"{path} has no line {number}")
    try:
        return decode(lines[number - 1])
    except RecordError as error:
        raise RecordError(f"{path}:{number}: {error}") from error
