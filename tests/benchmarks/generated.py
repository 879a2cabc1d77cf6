"""Valid records in any number, through the real Record type: what the benchmarks of the site are measured on.

They stand for no measurement and are written under temporary folders only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suite import plan, registry
from suite.records import Record, Scalar, cell_key, encode

MACHINES = ("box-a", "box-b")
#: Where each setting is timed: (machine, batch size, threads, backend).
SETUPS = (("box-a", 1, 1, "eager"), ("box-a", 128, 2, "eager"), ("box-b", 1, 1, "eager"), ("box-b", 1, 1, "compile"))
SEEDS = (0, 1, 2)
#: Three accuracies, four latencies, two memories: what one setting, a row of a table, brings.
RECORDS_A_ROW = len(SEEDS) + len(SETUPS) + len(MACHINES)
#: The methods, each with the hyperparameter that tells its settings apart.
SWEPT = {"global-unstructured": "sparsity", "structured": "channel_ratio", "l1-three-stage": "channel_ratio",
         "random-structured": "channel_ratio"}  # fmt: skip
TASKS = ("vgg16-cifar10", "resnet18-cifar10", "googlenet-cifar100")
PAIRS = 30


def records(count: int, *, tasks: tuple[str, ...] = TASKS) -> Iterator[Record]:
    """At least `count` records, all fresh and ok, spread evenly over tasks and methods; the same ones every time."""
    rows = -(-count // RECORDS_A_ROW)
    chance = random.Random(0)
    for index in range(rows):
        task, method = tasks[index % len(tasks)], list(SWEPT)[index // len(tasks) % len(SWEPT)]
        share = round(0.05 + 0.9 * (index + 1) / (rows + 1), 6)
        yield from _row(task, method, share, chance)


def _row(task: str, method: str, share: float, chance: random.Random) -> Iterator[Record]:
    hyperparameters = dict(registry.method(method).complete({SWEPT[method]: share}))
    left = 1 - share if SWEPT[method] == "sparsity" else share**2
    for seed in SEEDS:
        yield _record("accuracy", task, method, hyperparameters, seed, MACHINES[0], None, _quality(left, chance))
    for machine, batch_size, threads, backend in SETUPS:
        conditions = {"batch_size": batch_size, "threads": threads, "backend": backend, "precision": "fp32",
                      "cache": "hot"}  # fmt: skip
        speedup = (1 / (0.2 + 0.8 * left)) * chance.uniform(0.95, 1.05)
        yield _record("latency", task, method, hyperparameters, 0, machine, conditions, _speed(speedup), speedup)
    for machine in MACHINES:
        conditions = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32"}
        metrics = {"peak_bytes": int(2e8 * (0.5 + left)), "dense_peak_bytes": 300_000_000}
        yield _record("memory", task, method, hyperparameters, 0, machine, conditions, metrics)


def _quality(left: float, chance: random.Random) -> dict[str, Any]:
    return {
        "top1": 0.94 - 0.1 * (1 - left) ** 3 + chance.gauss(0, 0.001), "dense_top1": 0.94,
        "top5": 0.995, "dense_top5": 0.997,
        "parameters": int(14_728_266 * left), "dense_parameters": 14_728_266,
        "nonzero_parameters": int(14_728_266 * left), "dense_nonzero_parameters": 14_728_266,
        "macs": int(313_200_000 * left), "dense_macs": 313_200_000,
        "size_bytes": int(58_913_064 * left), "dense_size_bytes": 58_913_064,
        "size_bytes_compressed": int(54_000_000 * left), "dense_size_bytes_compressed": 54_000_000,
    }  # fmt: skip


def _speed(speedup: float) -> dict[str, Any]:
    return {"speedup": speedup, "speedup_low": 0.99 * speedup, "speedup_high": 1.01 * speedup, "dense_seconds": 0.01,
            "compressed_seconds": 0.01 / speedup, "pairs": PAIRS, "converged": True}  # fmt: skip


def _record(
    kind: Any, task: str, method: str, hyperparameters: dict[str, Scalar], seed: int, machine: str,
    conditions: dict[str, Scalar] | None, metrics: dict[str, Any], speedup: float | None = None,
) -> Record:  # fmt: skip
    curve = [{"step": step, "parameters": 14_728_266 - 1_000_000 * step, "val": 0.93} for step in range(6)]
    return Record(
        kind=kind, task=task, method=method, hyperparameters=hyperparameters, seed=seed, profile="full", device="cpu",
        cell=cell_key(task=task, method=method, hyperparameters=hyperparameters, seed=seed, profile="full"),
        freshness=plan.current_freshness(task, method) or "", status="ok", metrics=metrics, conditions=conditions,
        curve=curve if kind == "accuracy" else [],
        samples=[[0.01 + n / 1e5, round(0.01 / speedup, 7)] for n in range(PAIRS)] if speedup is not None else [],
        created=f"2026-11-30T20:00:0{seed}.000000Z", machine=machine, run=f"generated-{kind}",
        command=f"python -m suite run --task {task} --method {method} --seed {seed} --profile full",
        git_commit="0" * 40, git_dirty=False, versions={"python": "3.11", "torch": "2.15.0"},
        data_source="generated" if kind == "accuracy" else None, data_sha256="d" * 64 if kind == "accuracy" else None,
        recipe={"epochs": 100, "lr": 0.1, "batch_size": 128} if kind == "accuracy" else None,
    )  # fmt: skip


def write(folder: Path, count: int, *, tasks: tuple[str, ...] = TASKS) -> int:
    """Write a results folder of at least `count` generated records; how many they are."""
    by_file: dict[Path, list[bytes]] = {}
    for record in records(count, tasks=tasks):
        by_file.setdefault(folder / record.machine / f"{record.run}.jsonl", []).append(encode(record))
    for path, lines in by_file.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(lines))
    return sum(map(len, by_file.values()))
