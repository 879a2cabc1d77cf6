"""Published intervals that were made before processes' medians bounded them are as wide as today's."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from suite import intervals, stats
from suite.records import MOST_SAMPLES, Record, significant
from tests.benchmarks import generated


def of(processes: list[list[tuple[float, float]]], low: float, high: float, kind: str = "latency") -> Record:
    """A record of pairs with an interval that an earlier version gave it."""
    pairs = [pair for each in processes for pair in each]
    middle = stats.paired_speedup(processes).value
    metrics: dict[str, Any] = {"speedup": middle, "speedup_low": low, "speedup_high": high, "pairs": len(pairs)}
    if kind == "noise-floor":
        metrics["noise_floor"] = 0.01
    samples = [[significant(a), significant(b)] for a, b in stats.thin(pairs, MOST_SAMPLES)]
    record = next(each for each in generated.records(400) if each.kind == "latency" and each.status == "ok")
    notes = {"processes": len(processes)}
    return msgspec.structs.replace(record, kind=kind, metrics=metrics, samples=samples, notes=notes)


def scattered(pairs: int, between: float, seed: int = 0) -> list[list[tuple[float, float]]]:
    """Three processes, whose speed-ups scatter around 4, each so many pairs."""
    rng = np.random.default_rng(seed)
    logs = math.log(4) + rng.normal(0, between, (3, 1)) + rng.normal(0, 0.01, (3, pairs))
    return [[(math.exp(value), 1.0) for value in process] for process in logs]


@pytest.mark.parametrize("pairs", [8, 66, 100])
def test_interval_is_as_wide_as_it_would_be_made_today(pairs: int) -> None:
    processes = scattered(pairs, between=0.04)
    (found,) = intervals.widened([of(processes, 3.99, 4.01)])
    today = stats.paired_speedup(processes)
    thinned = 3e-3 if 3 * pairs > MOST_SAMPLES else 1e-4
    assert found.metrics["speedup_low"] == pytest.approx(today.low, rel=thinned)
    assert found.metrics["speedup_high"] == pytest.approx(today.high, rel=thinned)


def test_wider_one_stays_and_so_does_one_whose_processes_cannot_be_told_apart() -> None:
    processes = scattered(8, between=0.04)
    known = of(processes, 2.0, 8.0)
    unequal = msgspec.structs.replace(of(processes, 3.99, 4.01), metrics=known.metrics | {"pairs": 25})
    single = msgspec.structs.replace(of(processes, 3.99, 4.01), notes={"processes": 1})
    failed = msgspec.structs.replace(known, status="error", reason="x", metrics={}, samples=[])
    for record in (known, unequal, single, failed):
        assert intervals.widened([record])[0] is record


def test_noise_floor_grows_with_its_interval() -> None:
    (found,) = intervals.widened([of(scattered(8, between=0.04), 3.99, 4.01, kind="noise-floor")])
    ends = [float(found.metrics[f"speedup{end}"] or 0) for end in ("", "_low", "_high")]
    assert found.metrics["noise_floor"] == stats.noise_floor(stats.Interval(*ends)) > 0.01


def test_speed_up_over_eager_grows_with_the_one_beside_it() -> None:
    processes = scattered(8, between=0.04)
    middle = stats.paired_speedup(processes).value
    record = of(processes, middle / 1.01, middle * 1.01)
    ends = {"speedup_over_eager": 6.0, "speedup_over_eager_low": 6 / 1.02, "speedup_over_eager_high": 6 * 1.03}
    (found,) = intervals.widened([msgspec.structs.replace(record, metrics=record.metrics | ends)])
    grown = math.log(float(found.metrics["speedup_high"] or 0) / middle) / math.log(1.01)
    assert grown > 2
    assert found.metrics["speedup_over_eager_low"] == pytest.approx(6 / 1.02**grown)
    assert found.metrics["speedup_over_eager_high"] == pytest.approx(6 * 1.03**grown)


def test_record_that_says_so_is_left_as_it_is_however_few_of_its_pairs_are_kept() -> None:
    processes = scattered(1000, between=0.0)
    today = stats.paired_speedup(processes)
    record = of(processes, today.low, today.high)
    marked = msgspec.structs.replace(record, notes=record.notes | {intervals.BETWEEN: True})
    assert intervals.widened([marked])[0] is marked
    assert intervals.widened([record])[0] is not record, "thinned, its medians scatter more than they did"


def test_record_of_today_is_left_as_it_is() -> None:
    processes = scattered(8, between=0.04)
    today = stats.paired_speedup(processes)
    record = of(processes, today.low, today.high)
    assert intervals.widened([record])[0] is record
