"""One cell as its page shows it: command, settings, numbers, samples, provenance, history. Pure: no file is read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeGuard

from suite import locating, pages, plan, registry, setups, tables
from suite.leaderboard import Board, Leaderboard
from suite.pictures import pairs
from suite.records import ID, Record
from suite.rows import COSTS, QUALITY, Metric, Row
from suite.setups import COMPILED, NOT_CONVERGED, Measurement, Setup, setup_of
from suite.sources import spell
from suite.tables import NOTHING

#: With more cells than this, they are spread over 256 shards instead of 16.
FEW_CELLS = 400


def shards(found: Leaderboard, pictures: Set[str] = frozenset()) -> tuple[int, dict[str, dict[str, Any]]]:
    """How many characters of a cell's id name its shard, and each shard's cells by full key.

    `pictures` are the hashes of those that pages may show.
    """
    known: dict[str, tuple[Board, Row]] = {}
    for board in reversed(found.boards):  # the first board, the newest data set, is written last and stands
        for row in board.rows:
            known.update({each.cell: (board, row) for each in row.cells})
    digits = 1 if len(known) <= FEW_CELLS else 2
    parts: dict[str, dict[str, Any]] = {}
    for key, (board, row) in known.items():
        data = cell_data(key, board, row, found.cells.get(key, ()))
        best = shown_record(key, row, found.cells.get(key, ()))
        if best is not None:
            data |= {"base": _base(best, known), "gallery": pairs(best.gallery, pictures)}
        parts.setdefault(key[:digits], {})[key] = data
    return digits, parts


def cell_data(key: str, board: Board, row: Row, records: Sequence[Record]) -> dict[str, Any]:
    """What cell.js shows of one cell; `records` newest first, `row` is the row that the cell is part of."""
    own = next(each for each in row.cells if each.cell == key)
    best = shown_record(key, row, records)
    # an INT8 measurement stands in two setups, and is one record
    timings = list({id(m.record): m for setup in board.setups
                    if (m := row.speeds.get(setup)) is not None and m.record.cell == key}.values())  # fmt: skip
    timed = [each.record for each in timings]
    memory = [m.record for m in row.memory.values() if m.record.cell == key]
    energy = [m.record for m in row.energy.values() if m.record.cell == key]
    return {
        "task": board.title, "task_page": pages.page_name("task", row.task), "profile": row.profile,
        "method": row.method, "method_page": pages.page_name("method", row.method), "setting": row.setting,
        "seed": own.seed, "state": own.state, "reason": row.reason, "owed": list(row.owed),
        "siblings": [[each.seed, each.cell[:ID], each.state] for each in row.cells],
        "command": best.command if best is not None else None,
        "hyperparameters": [[name, spell(value) or "empty"] for name, value in row.hyperparameters.items()],
        "numbers": [] if best is None else list(_numbers(best)),
        "scaled": None if best is None else _scaled(best),
        "recipe": [] if best is None or best.recipe is None else [list(pair) for pair in pages.facts(best.recipe)],
        "curve": [] if best is None else best.curve,
        "logged": [] if best is None else _logged(best.curve),
        "trainings": [] if best is None else [[each.label, each.lr, each.points] for each in best.trainings],
        "timings": [_timing(each) for each in timings],
        "memory": [_peak(record, "peak_bytes", tables.size) for record in memory],
        "energy": [_peak(record, "joules", tables.joules) for record in energy],
        "data_sha256": row.data_sha256,
        "over_seeds": list(_over_seeds(row, board)),
        "metrics": {} if best is None else _metrics(best),
        "costs": [cost for setup in board.setups if (cost := _cost_in(setup, key, row, board)) is not None],
        "provenance": [] if best is None else [[name, text] for name, text in _provenance(best) if text],
        "history": [_event(record, best, (*timed, *memory, *energy))
                    for record in records if record.kind != "noise-floor"],
    }  # fmt: skip


def _scaled(record: Record) -> str | None:
    """What a short profile makes of a method's epochs; None where it trains all of them, or has none to train."""
    share = (record.recipe or {}).get("finetune_share")
    asked = any("epochs" in name and value for name, value in record.hyperparameters.items())
    if not asked or not _is_number(share) or share == 1:
        return None
    return f"Epochs, here and in the curves, are those of the full profile: {record.profile} trains {share:g} of them."


def shown_record(key: str, row: Row, records: Sequence[Record]) -> Record | None:
    """The accuracy record that a cell's page is about: the one that counts, else the newest."""
    accuracy = (record for record in records if record.kind == "accuracy")
    return next((r for r in row.records if r.cell == key), None) or next(accuracy, None)


def _base(best: Record, known: Mapping[str, tuple[Board, Row]]) -> dict[str, Any] | None:
    """The cell whose compressed model this one started from: its id, null where no page shows it, and its name."""
    if best.base_cell is None:
        return None
    text = best.hyperparameters.get(registry.BASE)
    if best.base_cell not in known:
        return {"cell": None, "text": spell(text) if text is not None else best.base_cell[:ID]}
    row = known[best.base_cell][1]
    return {"cell": best.base_cell[:ID], "text": f"{row.method} {row.setting}".strip()}


def _logged(curve: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What a method had to say of its result, as (label, text).

    That is a curve's only point, which makes no curve; of a longer one, the shares that its last point alone has.
    """
    point = {name: value for name, value in (curve[-1] if curve else {}).items()
             if len(curve) == 1 or (name in SHARES and not any(name in other for other in curve[:-1]))}  # fmt: skip
    labels = {"val": "score on validation data", "epochs": "epochs trained", "quantized_share": "weights in INT8"}
    found = []
    for name, value in point.items():
        if name != "step":
            text = f"{tables.percent(value)} %" if name in SHARES and _is_number(value) else spell(value)
            found.append([labels.get(name, name.replace("_", " ")), text])
    return found


#: What methods log as shares of one.
SHARES = ("quantized_share", "share", "sparsity")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(record: Record) -> Iterator[list[str]]:
    """(label, own, dense, difference) of every metric that pages know."""
    metrics = record.metrics
    for name, metric in QUALITY.items():
        own, dense = metrics.get(name), metrics.get(f"dense_{name}")
        if own is not None:
            difference = NOTHING if dense is None else tables.difference_text(metric, own - dense)
            if metric.kind == "number" and dense is not None and (share := tables.relative(own - dense, dense)):
                difference += f" ({share})"
            label = f"{metric.label}, {unit}" if (unit := tables.UNITS.get(metric.kind)) else metric.label
            yield [label, tables.metric_text(metric, own), tables.metric_text(metric, dense), difference]
    for name, metric in COSTS.items():
        own, dense = metrics.get(name), metrics.get(f"dense_{name}")
        if own is not None:
            left = NOTHING if not dense else f"{tables.percent(own / dense, 1)} % left"
            yield [metric.label, _cost(metric, own), _cost(metric, dense), left]
    if (work := metrics.get("training_macs")) is not None:
        yield ["Training MACs", tables.count(work), NOTHING, NOTHING]
    known = {*QUALITY, *COSTS, "training_macs"}
    for name, value in metrics.items():
        if value is not None and name.removeprefix("dense_") not in known:
            own_text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else tables.number(value)
            yield [name.replace("_", " ").capitalize(), own_text, NOTHING, NOTHING]


def _cost(metric: Metric, value: float | None) -> str:
    return tables.size(value) if metric.kind == "bytes" else tables.count(value)


def _timing(measured: Measurement) -> dict[str, Any]:
    record = measured.record
    metrics, setup, floor = record.metrics, setup_of(record), measured.floor or None
    low, high = metrics.get("speedup_low"), metrics.get("speedup_high")
    against = "compiled dense" if setup["backend"] == COMPILED else "dense"
    interval = NOTHING if low is None or high is None else f"{low:.3f} to {high:.3f}"
    pairs = metrics.get("pairs")
    return {
        "setup": tables.setup_text(setup), "machine_page": pages.page_name("machine", record.machine),
        "floor": floor,
        "speedup": metrics.get("speedup"), "low": low, "high": high,
        "facts": [
            *([["why not measured", record.reason or record.status]] if record.status != "ok" else []),
            ["speed-up" if against == "dense" else f"speed-up over {against}", tables.times(metrics.get("speedup"))],
            ["95 % interval", interval],
            *_over_eager(metrics),
            [against, tables.duration(metrics.get("dense_seconds"))],
            ["compressed", tables.duration(metrics.get("compressed_seconds"))],
            ["pairs", NOTHING if pairs is None else f"{pairs:.0f}"],
            ["converged", NOTHING if metrics.get("converged") is None else
             "no" if NOT_CONVERGED in setups.caveats(record) else "yes"],
            ["noise floor", "not measured" if floor is None else f"{tables.percent(floor, 1)} %"],
            ["contended", "yes: not ranked" if record.notes.get("contended") else "no"],
            *_again(record),
            *([name.replace("_", " "), spell(each)] for name, each in record.notes.items() if name != "contended"),
            *([name, text] for name, text in _origin(record) if text),
        ],
        "samples": record.samples, "created": record.created, "command": record.command,
    }  # fmt: skip


def _again(record: Record) -> list[list[str]]:
    """The command that measures a record again and says whether the two agree; none for a name that a shell obeys."""
    reference = locating.refer(record)
    plain = shlex.quote(reference) == reference and record.status == "ok"
    return [["measure it again", f"python -m suite verify {reference}"]] if plain else []


def _over_eager(metrics: Mapping[str, Any]) -> list[list[str]]:
    """What a network that was not run eager gains over the dense one that was: (label, text)."""
    if metrics.get("speedup_over_eager") is None:
        return []
    low, high = metrics.get("speedup_over_eager_low"), metrics.get("speedup_over_eager_high")
    return [
        ["speed-up over eager dense", tables.times(metrics["speedup_over_eager"])],
        ["95 % interval of that", NOTHING if low is None or high is None else f"{low:.3f} to {high:.3f}"],
        ["eager dense", tables.duration(metrics.get("dense_eager_seconds"))],
    ]


def _peak(record: Record, name: str, spelled: Callable[[float | None], str]) -> list[str]:
    """(conditions, own, dense) of a memory or energy record; of one that failed, why."""
    own = spelled(record.metrics.get(name)) if record.status == "ok" else record.reason or record.status
    stale = "" if record.status != "ok" or plan.is_fresh(record) else " (stale)"
    return [tables.setup_text(setup_of(record)), own + stale, spelled(record.metrics.get(f"dense_{name}"))]


def _over_seeds(row: Row, board: Board) -> Iterator[str]:
    """What the cell's row says of all its seeds: the headline metric, and its difference from dense."""
    found = row.metrics.get(board.headline.name)
    if found is not None:
        unit = tables.UNITS.get(board.headline.kind, "")
        deviation = "" if found.deviation is None else f" ± {tables.metric_text(board.headline, found.deviation)}"
        yield f"{board.headline.label} {tables.metric_text(board.headline, found.mean)}{deviation} {unit}".strip()
        yield f"{found.seeds} seed{'' if found.seeds == 1 else 's'}"
    if row.verdicts:
        yield f"vs dense: {tables.verdict_text(row.verdicts[0])}"


def _metrics(record: Record) -> dict[str, list[Any]]:
    """The numbers that two cells are compared by: label, kind, own value, whether higher is better."""
    known = {**QUALITY, **COSTS}
    return {name: [metric.label, metric.kind, record.metrics[name], metric.higher_is_better]
            for name, metric in known.items() if record.metrics.get(name) is not None}  # fmt: skip


def _cost_in(setup: Setup, key: str, row: Row, board: Board) -> dict[str, Any] | None:
    """What was measured of one cell in one setup of its board, in base units; None: nothing."""
    speed, memory, energy = row.speeds.get(setup), row.memory_at(setup), row.energy_at(setup)
    speed, memory, energy = (m if m is not None and m.record.cell == key else None for m in (speed, memory, energy))
    if speed is None and memory is None and energy is None:
        return None
    interval = speed.interval if speed is not None else None
    return {
        "setup": tables.setup_text(setup), "floor": board.floors.get(setup, 0.0) if speed is None else speed.floor,
        "speedup": speed.metric("speedup") if speed is not None else None,
        "low": interval[0] if interval else None, "high": interval[1] if interval else None,
        "compressed_seconds": speed.metric("compressed_seconds") if speed is not None else None,
        "peak_bytes": memory.metric("peak_bytes") if memory is not None else None,
        "joules": energy.metric("joules") if energy is not None else None,
        "comparable": speed is not None and speed.comparable,
        "words": [] if speed is None else [*(["compiled"] if speed.over_eager else []), *tables.caveats(speed)],
    }  # fmt: skip


def _origin(record: Record) -> list[tuple[str, str]]:
    """Which run wrote the record, into which file, when, and with which code."""
    commit = record.git_commit or ""
    return [
        ("measured", record.created.replace("T", " ")[:19]),
        ("run", record.run),
        ("its file", f"results/{record.machine}/{record.run}.jsonl"),
        ("commit", f"{commit}{', with uncommitted changes' if record.git_dirty else ''}" if commit else ""),
    ]


def _provenance(record: Record) -> list[tuple[str, str]]:
    return [
        *_origin(record),
        ("machine", record.machine),
        ("device", record.device),
        ("took to make", tables.duration(took) if _is_number(took := record.notes.get("compress_seconds")) else ""),
        ("data", record.data_source or ""),
        ("data SHA-256", record.data_sha256 or ""),
        ("dense checkpoint SHA-256", record.checkpoint_sha256 or ""),
        ("base cell", record.base_cell or ""),
        ("cell", record.cell),
        ("freshness", record.freshness),
        ("protocol", str(record.protocol)),
        *((name, text) for name, text in _again(record)),
        *((name, version) for name, version in sorted(record.versions.items())),
        *((f"note: {name}", spell(value)) for name, value in record.notes.items() if name != "compress_seconds"),
    ]


def _event(record: Record, best: Record | None, costs: Sequence[Record]) -> list[str]:
    """One line of a cell's history: when, in which run, what, where, result, and what it counts for today."""
    conditions = "" if record.conditions is None else f", {tables.setup_text(setup_of(record), machine=False)}"
    return [
        record.created.replace("T", " ")[:16],
        record.run,
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
    if metrics.get("joules") is not None:
        return f"{tables.joules(metrics['joules'])} an image, dense {tables.joules(metrics.get('dense_joules'))}"
    return tables.size(metrics["peak_bytes"]) if metrics.get("peak_bytes") is not None else NOTHING
