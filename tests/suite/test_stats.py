"""Intervals, ranks and plans, against known truths."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite import stats

SECONDS = st.floats(1e-5, 1e2)
PAIRS = st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_interval_holds_the_median_of_all_ratios(processes: list[list[stats.Pair]]) -> None:
    found = stats.paired_speedup(processes)
    ratios = [dense / compressed for pairs in processes for dense, compressed in pairs]
    below = sum(ratio <= found.value * (1 + 1e-9) for ratio in ratios)
    above = sum(ratio >= found.value * (1 - 1e-9) for ratio in ratios)
    assert min(below, above) >= len(ratios) / 2
    assert 0 < found.low <= found.value <= found.high < math.inf


@settings(max_examples=20, deadline=None)
@given(st.lists(PAIRS, min_size=1, max_size=3))
def test_swapping_the_networks_gives_the_reciprocal_interval(processes: list[list[stats.Pair]]) -> None:
    found = stats.paired_speedup(processes)
    swapped = stats.paired_speedup([[(b, a) for a, b in pairs] for pairs in processes])
    assert swapped.low == pytest.approx(1 / found.high, rel=1e-6)
    assert swapped.high == pytest.approx(1 / found.low, rel=1e-6)


def _coverage(between: float, within: float, repeats: int = 150) -> float:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(repeats):
        logs = rng.normal(math.log(2.0), between, (3, 1)) + rng.normal(0, within, (3, 20))
        found = stats.paired_speedup([[(math.exp(value), 1.0) for value in process] for process in logs.tolist()])
        covered += found.low <= 2.0 <= found.high
    return covered / repeats


def test_interval_covers_the_truth_where_pairs_alone_are_noisy() -> None:
    assert _coverage(between=0.0, within=0.05) >= 0.9


def test_interval_covers_the_truth_where_processes_differ() -> None:
    # A bootstrap over three processes covers 0.79 here.
    assert _coverage(between=0.03, within=0.02) >= 0.9


def test_same_pairs_give_the_same_interval() -> None:
    draw = random.Random(3)
    pairs = [(2 + draw.random(), 1 + draw.random()) for _ in range(50)]
    assert stats.paired_speedup([pairs, pairs]) == stats.paired_speedup([pairs, pairs])
    assert stats.paired_speedup([pairs], seed=1).value == stats.paired_speedup([pairs], seed=2).value


def test_impossible_times_are_refused() -> None:
    for processes in ([], [[]], [[(0.0, 1.0)]], [[(1.0, math.nan)]]):
        with pytest.raises(ValueError, match=r"pairs|above 0"):
            stats.paired_speedup(processes)
    with pytest.raises(ValueError, match="no values"):
        stats.median([])


def test_noisier_pilots_need_more_pairs() -> None:
    def pilot(spread: float) -> list[stats.Pair]:
        rng = np.random.default_rng(0)
        return [(math.exp(value), 1.0) for value in rng.normal(0, spread, 20)]

    assert stats.pairs_needed(pilot(0.0)) == stats.FEWEST_PAIRS
    few, many = stats.pairs_needed(pilot(0.05)), stats.pairs_needed(pilot(0.2))
    assert stats.FEWEST_PAIRS < few < many
    assert many == pytest.approx((1.96 * 1.2533 * 0.2 / 0.01) ** 2, rel=0.6)  # 2413 for a pilot that estimates 0.2


def test_planned_pairs_reach_the_planned_half_width() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.03, 2000)
    needed = stats.pairs_needed([(math.exp(value), 1.0) for value in noise])
    reached = [
        stats.paired_speedup([[(math.exp(v), 1.0) for v in rng.normal(0, 0.03, needed)]]).half_width for _ in range(20)
    ]
    assert stats.median(reached) == pytest.approx(stats.HALF_WIDTH, rel=0.25)


def test_noise_floor_counts_bias_and_spread() -> None:
    assert stats.noise_floor(stats.Interval(1.0, 0.99, 1.02)) == pytest.approx(0.02)
    assert stats.noise_floor(stats.Interval(0.97, 0.96, 0.98)) == pytest.approx(1 / 0.96 - 1)
    assert stats.noise_floor(stats.Interval(1.0, 1.0, 1.0)) == 0


INTERVALS = st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 2)).map(lambda x: (x[0], x[0] + x[1])), max_size=30)


@given(INTERVALS, st.floats(0, 0.5))
def test_rank_is_one_more_than_the_rows_wholly_above(intervals: list[tuple[float, float]], noise: float) -> None:
    expected = [1 + sum(low / (1 + noise) > high for low, _ in intervals) for _, high in intervals]
    assert stats.ranks(intervals, noise) == expected


def test_rows_within_the_noise_floor_share_a_rank() -> None:
    assert stats.ranks([(2.00, 2.02), (1.95, 1.97), (1.0, 1.0)], noise=0.03) == [1, 1, 3]
    assert stats.ranks([(2.00, 2.02), (1.95, 1.97), (1.0, 1.0)], noise=0.0) == [1, 2, 3]


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 2), st.floats(0, 0.5)), max_size=30))
def test_of_two_rows_the_larger_floor_counts(rows: list[tuple[float, float, float]]) -> None:
    intervals = [(low, low + width) for low, width, _ in rows]
    noise = [floor for *_, floor in rows]
    expected = [
        1 + sum(low / (1 + max(floor, own)) > high for (low, _), floor in zip(intervals, noise, strict=True))
        for (_, high), own in zip(intervals, noise, strict=True)
    ]
    assert stats.ranks(intervals, noise) == expected


@given(st.integers(0, 500), st.integers(2, 200))
def test_thinning_keeps_order_and_both_ends(count: int, most: int) -> None:
    pairs = [(float(index), 1.0) for index in range(count)]
    kept = stats.thin(pairs, most)
    assert len(kept) == min(count, most) and kept == sorted(set(kept))
    if pairs:
        assert kept[0] == pairs[0] and kept[-1] == pairs[-1]


@pytest.mark.parametrize(("degrees", "factor"), [(1, 12.706), (2, 4.303), (10, 2.228), (11, 2.201), (30, 2.042)])
def test_student_t(degrees: int, factor: float) -> None:
    assert stats.student_t(degrees) == pytest.approx(factor, rel=1e-3)
