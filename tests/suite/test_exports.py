"""The leaderboard as data: everything that was measured is in it, under the names of records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from suite import exports, leaderboard, plan
from suite.records import Record

TASK, METHOD = "vgg16-digits", "structured"
CPU = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
CUDA = {**CPU, "timing": "device"}
Make = Callable[..., Record]


def exported(make_record: Make, *costs: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of one row, whose accuracy is measured and whose `costs` are the fields of its other records."""
    own = {"task": TASK, "method": METHOD, "freshness": plan.current_freshness(TASK, METHOD), "machine": "box"}
    metrics = {"top1": 0.911, "dense_top1": 0.9088, "parameters": 10}
    records = [make_record(**own, metrics=metrics), *(make_record(**(own | each)) for each in costs)]
    (board,) = leaderboard.assemble(records, {}).boards
    (row,) = (row for row in board.rows if row.state == "ok")
    return exports.lines(row, board)


def timed(conditions: dict[str, Any], speedup: float, **more: Any) -> dict[str, Any]:
    metrics = {"speedup": speedup, "speedup_low": speedup - 0.1, "speedup_high": speedup + 0.1}
    return {"kind": "latency", "conditions": conditions, "metrics": metrics} | more


def test_each_machine_and_setup_has_a_line_of_its_own(make_record: Make) -> None:
    batches, gpu = timed({**CPU, "batch_size": 128}, 3.0), timed(CUDA, 1.5, machine="gpu-box", device="cuda")
    found = exported(make_record, timed(CPU, 2.0), batches, gpu)
    names = ("machine", "device", "batch_size", "timing", "speedup", "speed_rank")
    assert sorted(tuple(str(line[name]) for name in names) for line in found) == [
        ("box", "cpu", "1", "None", "2", "1"), ("box", "cpu", "128", "None", "3", "1"),
        ("gpu-box", "cuda", "1", "device", "1.5", "1"),
    ]  # fmt: skip
    assert found[0]["batch_size"] == 1 and found[0]["device"] == "cpu", "the setup that counts comes first"
    assert len({line["cells"] for line in found}) == 1 and all(line["top1"] == 0.911 for line in found)


def test_energy_and_memory_are_exported(make_record: Make) -> None:
    energy = {"kind": "energy", "conditions": CPU, "metrics": {"joules": 0.25, "dense_joules": 0.5}}
    memory = {"kind": "memory", "conditions": CPU, "metrics": {"peak_bytes": 2048, "dense_peak_bytes": 4096}}
    (line,) = exported(make_record, timed(CPU, 2.0), energy, memory)
    assert (line["joules"], line["dense_joules"]) == (0.25, 0.5)
    assert (line["peak_bytes"], line["dense_peak_bytes"]) == (2048, 4096)


def test_what_was_not_timed_has_one_line_without_a_setup(make_record: Make) -> None:
    (line,) = exported(make_record)
    assert line["top1"] == 0.911
    assert not {name for name in ("machine", "device", "setup", "speedup", "joules", *exports.CONDITIONS) if line[name]}


def test_a_difference_has_no_digits_of_arithmetic_alone(make_record: Make) -> None:
    (line,) = exported(make_record)
    assert 0.911 - 0.9088 != 0.0022 and line["change"] == 0.0022
