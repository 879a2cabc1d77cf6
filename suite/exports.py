"""The leaderboard as data for other programs: a flat line for each row and setup, in base units, as CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from suite.leaderboard import Board
from suite.rows import COSTS, QUALITY, Row
from suite.setups import Setup, setup_of
from suite.tables import setup_text, visible

#: The conditions of a record that have a column each.
CONDITIONS = ("batch_size", "threads", "backend", "precision", "cache", "timing")
#: Significant digits of a difference: the others are the arithmetic's, 0.0021999999999999797 for 0.0022.
DIGITS = 12


def metrics() -> tuple[str, ...]:
    """The metrics that every line has, in the order of the columns."""
    return (*(name for plain in (*QUALITY, *COSTS) for name in (plain, f"dense_{plain}")), "training_macs")


def lines(row: Row, board: Board) -> list[dict[str, Any]]:
    """A row as flat lines, one for each setup that it was measured in, the one that counts first; never none."""
    timed = [setup for setup in board.setups if setup in row.speeds]
    timed = timed or [each for each in board.setups if row.memory_at(each) or row.energy_at(each)]
    own = _of_row(row)
    return [_plain(own | _of_setup(row, board, setup) | _of_cells(row)) for setup in timed or (None,)]


def _of_row(row: Row) -> dict[str, Any]:
    """What does not depend on where the row was timed."""
    values: dict[str, Any] = {
        "task": row.task, "method": row.method, "family": row.family,
        "hyperparameters": json.dumps(dict(row.hyperparameters), sort_keys=True), "profile": row.profile,
        "data_sha256": row.data_sha256, "state": row.state, "reason": row.reason,
        "seeds": max((s.seeds for s in row.metrics.values()), default=0),
    }  # fmt: skip
    for name in metrics():
        found = row.metrics.get(name)
        values[name] = None if found is None else found.mean
        if name in QUALITY:
            values[f"{name}_deviation"] = None if found is None else found.deviation
    values["change"] = None if row.change is None else float(f"{row.change.mean:.{DIGITS}g}")
    return values


def _of_setup(row: Row, board: Board, setup: Setup | None) -> dict[str, Any]:
    """What was measured in one setup; all null where there is none.

    Machine, device and conditions are those that the compressed network ran under: of an INT8 one beside eager
    networks, `backend` is compile.
    """
    measured = row.speeds.get(setup) if setup is not None else None
    values: dict[str, Any] = {
        name: None if measured is None else measured.metric(name)
        for name in ("speedup", "speedup_low", "speedup_high", "dense_seconds", "compressed_seconds")
    }
    # Of a compiled INT8 network in an eager setup the above are against eager dense; this is against compiled dense.
    over_eager = measured is not None and measured.over_eager
    values["over_eager"] = None if measured is None else over_eager
    values["speedup_over_compiled"] = measured.record.metrics.get("speedup") if measured and over_eager else None
    for cost, names in (
        (row.memory_at(setup) if setup else None, ("peak_bytes", "dense_peak_bytes")),
        (row.energy_at(setup) if setup else None, ("joules", "dense_joules")),
    ):
        stale = cost is None or cost.state != row.state  # a row says its own state, and nobody its costs'
        values |= {name: None if cost is None or stale else cost.metric(name) for name in names}
    values["speed_rank"] = None if measured is None else measured.rank
    values["speed_rank_worst"] = None if measured is None else measured.worst
    values["noise_floor"] = None if setup is None else measured.floor if measured else board.floors.get(setup)
    values["contended"] = None if measured is None else measured.contended
    values["setup"] = None if setup is None else setup_text(setup)
    ran = setup_of(measured.record) if measured is not None else setup
    values |= {name: None if ran is None else ran[name] for name in CONDITIONS}
    return values | {"machine": ran and ran.machine, "device": ran and ran.device}


def _of_cells(row: Row) -> dict[str, Any]:
    return {"refresh": "; ".join(row.owed) or None, "cells": " ".join(each.cell for each in row.cells)}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Counts as whole numbers."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in values.items()
    }


def csv_text(found: Sequence[dict[str, Any]]) -> str:
    """RFC 4180 text. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    header = list(found[0]) if found else ["task"]
    return "\r\n".join([",".join(header), *(",".join(_field(each[name]) for name in header) for each in found), ""])


def _field(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    text = visible(value)
    if text[:1] in ("=", "+", "-", "@"):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"') else text
