"""Records of two made-up methods, and the leaderboard's boards and rows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from suite import leaderboard, plan
from suite.leaderboard import Board, Leaderboard
from suite.records import Record
from suite.rows import Row

METHODS = {
    "cuts": '''
from suite import register_method


@register_method("cuts", family="structured pruning", points=[{"keep": 0.5}, {"keep": 0.25}])
def cuts(model, bench, *, keep: float = 0.5, note: str = "none"):
    """Keep a share of the channels."""
''',
    "lot": '''
from suite import register_method


@register_method("lot", family="control", points=[{"keep": 0.5}])
def lot(model, bench, *, keep: float = 0.5):
    """Keep channels drawn by lot."""
''',
}
TASK, STAND_IN = "vgg16-cifar10", "vgg16-digits"
HOT = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
LARGE = {**HOT, "batch_size": 128, "threads": 8}
Make = Callable[..., Record]


class Bench:
    """Makes records of the methods `cuts` and `lot`, each a second after the last, fresh unless told otherwise."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.clock = 0

    def __call__(self, kind: str = "accuracy", method: str = "cuts", task: str = TASK, **changes: Any) -> Record:
        self.clock += 1
        defaults = {"cuts": {"keep": 0.5, "note": "none"}, "lot": {"keep": 0.5}, "dense": {}}
        fields = {
            "kind": kind,
            "task": task,
            "method": method,
            "hyperparameters": defaults.get(method, {}),
            "profile": "full",
            "freshness": plan.current_freshness(task, method) or "none",
            "machine": "box",
            "data_sha256": "d" * 64,
            "created": f"2026-01-01T00:{self.clock // 60:02d}:{self.clock % 60:02d}.000000Z",
        }
        if kind == "accuracy":
            fields["metrics"] = accuracy(0.9)
        else:
            fields |= {"conditions": HOT, "data_sha256": None}
        return self.make(**(fields | changes))

    def speed(self, value: float, half: float = 0.01, **changes: Any) -> Record:
        ends = {"speedup": value, "speedup_low": value - half, "speedup_high": value + half}
        metrics = ends | {"dense_seconds": 0.02, "compressed_seconds": 0.02 / value, "pairs": 60, "converged": True}
        return self("latency", metrics=metrics, **changes)

    def noise(self, floor: float, **changes: Any) -> Record:
        return self("noise-floor", method="dense", metrics={"noise_floor": floor, "speedup": 1.0}, **changes)


def accuracy(top1: float, dense: float = 0.94, parameters: int = 250, macs: int = 100) -> dict[str, Any]:
    return {
        "top1": top1,
        "dense_top1": dense,
        "parameters": parameters,
        "nonzero_parameters": parameters,
        "dense_parameters": 1000,
        "macs": macs,
        "dense_macs": 400,
        "size_bytes_compressed": 4 * parameters,
        "dense_size_bytes_compressed": 4000,
    }


@pytest.fixture(name="bench")
def make_bench(install: Callable[..., Path], make_record: Make) -> Bench:
    install(methods=METHODS)
    return Bench(make_record)


def keep(share: float) -> dict[str, Any]:
    return {"keep": share, "note": "none"}


def assemble(*records: Record) -> Leaderboard:
    return leaderboard.assemble(records, {})


def board(*records: Record) -> Board:
    (found,) = assemble(*records).boards
    return found


def measured(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.state != "missing"]


def row(*records: Record, method: str = "cuts") -> Row:
    (found,) = [each for each in measured(board(*records).rows) if each.method == method]
    return found


def rank(found: Row) -> int | None:
    return next(iter(found.speeds.values())).rank
