"""What a call would have to do: the cells and benchmark rows that it owes, and how long they will take."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import conditions, cost, execute, invocation, machine, plan
from suite.plan import Cell
from suite.progress import duration
from suite.records import Record

if TYPE_CHECKING:
    from suite.bench import Row


@dataclass(frozen=True)
class Line:
    """A cell of a plan. `state`: `fresh`; `again` (its record stands, but others need its model, which is not stored
    here); `stale`; `owed`; or what its fresh record says went wrong. `base`: it is there for others to start from.
    """

    state: str
    cell: str
    arguments: str
    seconds: int
    base: bool

    def __str__(self) -> str:
        why = "  (others start from it)" if self.base else ""
        if self.state == "again" and not self.base:
            why = "  (others start from its model, which is not stored here)"
        return f"{self.state:11} {duration(self.seconds):>10}  {self.arguments}{why}"


@dataclass(frozen=True)
class Forecast:
    """The cells, how many of how many are owed, and the benchmark rows that this machine owes. Seconds are of all."""

    lines: tuple[Line, ...]
    owed: int
    cells: int
    seconds: float
    rows: int
    rows_seconds: float
    device: str

    def text(self) -> Iterator[str]:
        """Lines for a person."""
        yield from map(str, self.lines)
        bases = sum(line.base and line.state != "fresh" for line in self.lines)
        more = f", {bases} of them for others to start from" if bases else ""
        where = "this CPU" if self.device == "cpu" else "a GPU like an H100, by a round guess"
        yield f"{self.owed} of {self.cells} cells owed{more}: at most {duration(self.seconds)} on {where}"
        yield f"{self.rows} benchmark rows owed on this machine: about {duration(self.rows_seconds)}"

    def entry(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "cells": [asdict(line) for line in self.lines],
            "owed": self.owed,
            "seconds": round(self.seconds),
            "rows_owed": self.rows,
            "rows_seconds": round(self.rows_seconds),
            "device": self.device,
        }


def forecast(
    asked: Sequence[Cell],
    costly: Mapping[Sequence[Row], Sequence[Cell]],
    found: Sequence[Record],
    root: Path,
    device: str,
    *,
    kinds: Collection[str] = (),
    missing: bool = False,
) -> Forecast:
    """What is owed of the cells `asked`, and of the rows of those that are `costly`, by rows.

    `found` are the records that there are, `root` is the folder of the models; `kinds` of what benchmarks measure
    (none: all). With `missing` only what is owed is listed.
    """
    standing = plan.standing(found)
    tried = [record for record in found if record.kind == "accuracy"]
    known = {record.cell for record in tried}
    ended = {record.cell: record.status for record in tried if record.status != "ok" and plan.is_fresh(record)}
    lacking = [cell for cell in asked if (cell.key, "accuracy", device) not in standing]
    # as a run does it: the bases whose models are not stored come first, each once
    owed = plan.with_bases(lacking, lambda base: invocation.newest_model(base, root) is None)
    keys, named = {cell.key for cell in owed}, {cell.key for cell in asked}
    cells = plan.with_bases(asked, lambda base: base.key in keys)
    trained, macs = cost.trained(cells, root), cost.stated(standing.values())
    lines = []
    for cell in owed if missing else cells:
        stands = (cell.key, "accuracy", device) in standing  # and only its model is not stored here
        other = ended.get(cell.key) or ("stale" if cell.key in known else "owed")
        state = "fresh" if cell.key not in keys else "again" if stands else other
        alone = trained | {cell.dense.key} - {cell.key}  # the dense model is counted once, in the total
        seconds = 0.0 if state == "fresh" else cost.running_seconds([cell], device, alone, macs)
        lines.append(Line(state, cell.key, cell.arguments, round(seconds), cell.key not in named))
    timed = [job for rows, them in costly.items()
             for job in execute.jobs(them, rows, root, conditions.kinds(device, kinds))]  # fmt: skip
    timed = list({(job.cell.key, job.row, job.kind): job for job in timed}.values())
    jobs, _ = execute.owed(timed, found, machine.identity().slug, device)
    return Forecast(
        tuple(lines),
        len(owed),
        len(cells),
        cost.running_seconds(owed, device, trained, macs),
        len(jobs),
        cost.benchmark_seconds(jobs, device, macs),
        device,
    )
