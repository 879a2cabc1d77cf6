"""One cell as its page shows it: command, settings, numbers, samples, provenance, history. Pure: no file is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from suite import pages, plan, tables
from suite.leaderboard import Board, Leaderboard
from suite.records import Record
from suite.rows import COSTS, QUALITY, Metric, Row, setup_of
from suite.sources import spell
from suite.tables import NOTHING

#: Characters of a cell's key by which a page finds it; DESIGN's `cell.html#<id>`.
ID = 16
#: With more cells than this, they are spread over 256 shards instead of 16.
FEW_CELLS = 400


def shards(found: Leaderboard) -> tuple[int, dict[str, dict[str, Any]]]:
    """How many characters of a cell's id name its shard, and each shard's cells by full key."""
    known: dict[str, tuple[Board, Row]] = {}
    for board in reversed(found.boards):  # the first board, the newest data set, is written last and stands
        for row in board.rows:
            known.update({each.cell: (board, row) for each in row.cells})
    digits = 1 if len(known) <= FEW_CELLS else 2
    parts: dict[str, dict[str, Any]] = {}
    for key, (board, row) in known.items():
        parts.setdefault(key[:digits], {})[key] = cell_data(key, board, row, found.cells.get(key, ()))
    return digits, parts


def cell_data(key: str, board: Board, row: Row, records: Sequence[Record]) -> dict[str, Any]:
    """What cell.js shows of one cell; `records` newest first, `row` is the row that the cell is part of."""
    own = next(each for each in row.cells if each.cell == key)
    accuracy = [record for record in records if record.kind == "accuracy"]
    best = next((r for r in row.records if r.cell == key), None) or next(iter(accuracy), None)
    timed = [m.record for setup in board.setups if (m := row.speeds.get(setup)) is not None and m.record.cell == key]
    memory = [m.record for m in row.memory.values() if m.record.cell == key]
    return {
        "task": board.title, "task_page": pages.page_name("task", row.task), "profile": row.profile,
        "method": row.method, "method_page": pages.page_name("method", row.method), "setting": row.setting,
        "seed": own.seed, "state": own.state, "reason": row.reason, "owed": list(row.owed),
        "siblings": [[each.seed, each.cell[:ID], each.state] for each in row.cells],
        "command": best.command if best is not None else None,
        "hyperparameters": [[name, spell(value)] for name, value in row.hyperparameters.items()],
        "numbers": [] if best is None else list(_numbers(best)),
        "recipe": [] if best is None or best.recipe is None else [list(pair) for pair in pages.facts(best.recipe)],
        "curve": [] if best is None else best.curve,
        "timings": [_timing(record, board) for record in timed],
        "memory": [_memory(record) for record in memory],
        "provenance": [] if best is None else [[name, text] for name, text in _provenance(best) if text],
        "history": [_event(record, best, (*timed, *memory)) for record in records if record.kind != "noise-floor"],
    }  # fmt: skip


def _numbers(record: Record) -> Iterator[list[str]]:
    """(label, own, dense, difference) of every metric that pages know."""
    metrics = record.metrics
    for name, metric in QUALITY.items():
        own, dense = metrics.get(name), metrics.get(f"dense_{name}")
        if own is not None:
            difference = NOTHING if dense is None else tables.difference_text(metric, own - dense)
            label = f"{metric.label}, {unit}" if (unit := tables.UNITS.get(metric.kind)) else metric.label
            yield [label, tables.metric_text(metric, own), tables.metric_text(metric, dense), difference]
    for name, metric in COSTS.items():
        own, dense = metrics.get(name), metrics.get(f"dense_{name}")
        if own is not None:
            left = NOTHING if not dense else f"{tables.percent(own / dense, 1)} % left"
            yield [metric.label, _cost(metric, own), _cost(metric, dense), left]
    if (work := metrics.get("training_macs")) is not None:
        yield ["Training MACs", tables.count(work), NOTHING, NOTHING]


def _cost(metric: Metric, value: float | None) -> str:
    return tables.size(value) if metric.kind == "bytes" else tables.count(value)


def _timing(record: Record, board: Board) -> dict[str, Any]:
    metrics, setup = record.metrics, setup_of(record)
    low, high = metrics.get("speedup_low"), metrics.get("speedup_high")
    floor = board.floors.get(setup)
    interval = NOTHING if low is None or high is None else f"{low:.3f} to {high:.3f}"
    pairs = metrics.get("pairs")
    return {
        "setup": tables.setup_text(setup),
        "speedup": metrics.get("speedup"), "low": low, "high": high,
        "facts": [
            ["speed-up", tables.times(metrics.get("speedup"))],
            ["95 % interval", interval],
            ["dense", tables.duration(metrics.get("dense_seconds"))],
            ["compressed", tables.duration(metrics.get("compressed_seconds"))],
            ["pairs", NOTHING if pairs is None else f"{pairs:.0f}"],
            ["converged", {True: "yes", False: "no"}.get(bool(metrics["converged"]), "")
             if metrics.get("converged") is not None else NOTHING],
            ["noise floor", "not measured" if floor is None else f"{tables.percent(floor, 1)} %"],
            ["contended", "yes: not ranked" if record.notes.get("contended") else "no"],
            *([name.replace("_", " "), spell(each)] for name, each in record.notes.items() if name != "contended"),
        ],
        "samples": record.samples, "created": record.created, "command": record.command,
    }  # fmt: skip


def _memory(record: Record) -> list[str]:
    peak, dense = record.metrics.get("peak_bytes"), record.metrics.get("dense_peak_bytes")
    return [tables.setup_text(setup_of(record)), tables.size(peak), tables.size(dense)]


def _provenance(record: Record) -> list[tuple[str, str]]:
    commit = record.git_commit or ""
    return [
        ("measured", record.created.replace("T", " ")[:19]),
        ("machine", record.machine),
        ("device", record.device),
        ("run", record.run),
        ("commit", f"{commit}{', with uncommitted changes' if record.git_dirty else ''}" if commit else ""),
        ("data", record.data_source or ""),
        ("data SHA-256", record.data_sha256 or ""),
        ("dense checkpoint SHA-256", record.checkpoint_sha256 or ""),
        ("base cell", record.base_cell or ""),
        ("cell", record.cell),
        ("freshness", record.freshness),
        ("protocol", str(record.protocol)),
        *((name, version) for name, version in sorted(record.versions.items())),
        *((f"note: {name}", spell(value)) for name, value in record.notes.items()),
    ]


def _event(record: Record, best: Record | None, costs: Sequence[Record]) -> list[str]:
    """One line of a cell's history: when, what, where, result, and what it counts for today."""
    conditions = "" if record.conditions is None else f", {tables.setup_text(setup_of(record), machine=False)}"
    return [
        record.created.replace("T", " ")[:16],
        f"{record.kind}{conditions}",
        record.machine,
        _headline(record.metrics) if record.status == "ok" else record.reason or "",
        _standing(record, record is best or any(record is each for each in costs)),
    ]


def _standing(record: Record, counts: bool) -> str:
    if record.status != "ok":
        return record.status
    if not plan.is_fresh(record):
        return "stale"
    return "shown" if counts else "history"


def _headline(metrics: Mapping[str, Any]) -> str:
    for name, metric in QUALITY.items():
        if metrics.get(name) is not None:
            text = tables.metric_text(metric, metrics[name])
            return f"{metric.label} {text} {tables.UNITS.get(metric.kind, '')}".strip()
    if metrics.get("speedup") is not None:
        return tables.times(metrics["speedup"])
    return tables.size(metrics["peak_bytes"]) if metrics.get("peak_bytes") is not None else NOTHING
