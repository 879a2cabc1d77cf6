"""Results folders and fresh records of a task and a method that there are, for what reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import plan
from suite.records import Record, encode

Make = Callable[..., Record]
Write = Callable[..., Path]


@pytest.fixture
def write(results_dir: Path, make_record: Make) -> Write:
    """`write(record, ...)`: a results folder with these records and a described machine."""

    def call(*records: Record) -> Path:
        for record in records:
            path = results_dir / record.machine / f"{record.run}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as file:
                file.write(encode(record))
        (results_dir / "machines").mkdir(parents=True, exist_ok=True)
        (results_dir / "machines" / "box.json").write_text('{"cpu": "A CPU", "memory_bytes": 8589934592}')
        return results_dir

    return call


@pytest.fixture
def one(make_record: Make) -> Make:
    """`one(field=value, ...)`: a fresh accuracy record of l1-three-stage on vgg16-cifar10, but for what is given."""

    def call(**changes: Any) -> Record:
        task, method = changes.get("task", "vgg16-cifar10"), changes.get("method", "l1-three-stage")
        fields = {
            "task": task,
            "method": method,
            "hyperparameters": {"channel_ratio": 0.5},
            "profile": "full",
            "machine": "box",
            "freshness": plan.current_freshness(task, method) or "none",
            "created": "2026-01-01T00:00:00.000000Z",
            "data_sha256": "d" * 64,
            "metrics": {"top1": 0.9, "dense_top1": 0.94, "parameters": 250, "dense_parameters": 1000, "macs": 100,
                        "nonzero_parameters": 250, "dense_macs": 400, "size_bytes": 1000, "size_bytes_compressed": 900,
                        "dense_size_bytes": 4000, "dense_size_bytes_compressed": 3700},
            "curve": [{"step": 0, "parameters": 1000, "val": 0.94}, {"step": 1, "parameters": 250, "val": 0.91}],
        }  # fmt: skip
        return make_record(**(fields | changes))

    return call
