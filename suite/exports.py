"""The leaderboard as data for other programs: one flat line a row, in base units, as CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from suite.leaderboard import Board
from suite.rows import COSTS, QUALITY, Row
from suite.tables import setup_text, visible


def metrics() -> tuple[str, ...]:
    """The metrics that every line has, in the order of the columns."""
    return (*(name for plain in (*QUALITY, *COSTS) for name in (plain, f"dense_{plain}")), "training_macs")


def flat(row: Row, board: Board) -> dict[str, Any]:
    """A row as one flat line of the CSV and JSON files: base units, null for what was not measured."""
    setup = board.setups[0] if board.setups else None
    measured = row.speeds.get(setup) if setup is not None else None
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
    values["change"] = None if row.change is None else row.change.mean
    for name in ("speedup", "speedup_low", "speedup_high", "dense_seconds", "compressed_seconds"):
        values[name] = None if measured is None else measured.metric(name)
    # Of a compiled INT8 network in an eager setup the above are against eager dense; this is against compiled dense.
    over_eager = measured is not None and measured.over_eager
    values["over_eager"] = None if measured is None else over_eager
    values["speedup_over_compiled"] = measured.record.metrics.get("speedup") if measured and over_eager else None
    memory = row.memory_at(setup) if setup is not None else None
    for name in ("peak_bytes", "dense_peak_bytes"):
        values[name] = None if memory is None else memory.metric(name)
    values["speed_rank"] = None if measured is None else measured.rank
    values["contended"] = None if measured is None else measured.contended
    values["setup"] = None if measured is None or setup is None else setup_text(setup)
    values["refresh"] = "; ".join(row.owed) or None
    values["cells"] = " ".join(each.cell for each in row.cells)
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in values.items()
    }


def csv_text(lines: Sequence[dict[str, Any]]) -> str:
    """RFC 4180 text. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    header = list(lines[0]) if lines else ["task"]
    return "\r\n".join([",".join(header), *(",".join(_field(each[name]) for name in header) for each in lines), ""])


def _field(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    text = visible(value)
    if text[:1] in ("=", "+", "-", "@"):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"') else text
