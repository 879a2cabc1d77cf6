"""Every alpha schedule is its formula, from one to zero; epochs are shared to the last one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods._schedules import SMALLEST, alphas, share_epochs
from suite import Unsupported

SCHEDULES = ("step", "exponential", "multiplicative", "time-based", "cosine", "jump")


@pytest.mark.parametrize(
    ("schedule", "options", "levels"),
    [
        ("step", {"size": 0.1}, [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0]),
        ("step", {"size": 0.25}, [1, 0.75, 0.5, 0.25, 0]),
        ("step", {"size": 0.5}, [1, 0.5, 0]),
        ("step", {"size": 1.0}, [1, 0]),
        ("step", {"size": 0.3}, [1, 0.7, 0.4, 0.1, 0]),  # not below zero
        ("exponential", {"rate": 0.5}, [*(math.exp(-0.5 * k) for k in range(6)), 0]),  # exp(-2.5) = 0.082, then 0.0498
        ("exponential", {"rate": 0.05}, [*(math.exp(-0.05 * k) for k in range(60)), 0]),  # exp(-2.95) = 0.052
        ("multiplicative", {}, [1, 0.5, 0.25, 0.125, 0.0625, 0]),
        ("time-based", {}, [*(1 / (1 + 0.5 * k) for k in range(39)), 0]),  # 1 / 20 is not below 0.05
        ("cosine", {"levels": 10}, [*((1 + math.cos(math.pi * k / 10)) / 2 for k in range(9)), 0]),  # k = 9: 0.024
        ("cosine", {"levels": 4}, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("cosine", {"levels": 1}, [1, 0]),
        ("jump", {}, [1, 0.1, 0.1 * math.exp(-0.5), 0]),  # 0.061, then 0.037
    ],
)
def test_schedule_is_its_formula(schedule: str, options: dict[str, Any], levels: list[float]) -> None:
    assert alphas(schedule, **options) == pytest.approx(levels, abs=1e-12)


def test_weekly_report_5_changes_its_rate_at_0_4_and_goes_on_to_0_018() -> None:
    found = alphas("weekly-report-5")
    assert found[:19] == pytest.approx([math.exp(-0.05 * k) for k in range(19)])
    assert found[18] == pytest.approx(0.4, abs=0.01)
    assert [b / a for a, b in pairwise(found[19:-1])] == pytest.approx([math.exp(-0.5)] * 6)
    assert found[-2] == pytest.approx(0.018, abs=5e-4) and found[-1] == 0
    assert any(alpha == pytest.approx(0.05, abs=5e-4) for alpha in found), "the level its last training started from"


@given(
    schedule=st.sampled_from(SCHEDULES),
    size=st.floats(0.01, 1),
    rate=st.floats(0.01, 5),
    levels=st.integers(1, 200),
)
def test_every_schedule_falls_from_one_to_zero_and_skips_what_is_below_0_05(
    schedule: str, size: float, rate: float, levels: int
) -> None:
    found = alphas(schedule, size=size, rate=rate, levels=levels)
    assert found[0] == 1 and found[-1] == 0
    assert all(a > b for a, b in pairwise(found))
    assert all(alpha >= SMALLEST - 1e-9 for alpha in found[:-1])


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        ("step", {"size": 0.0}),
        ("step", {"size": 1.5}),
        ("exponential", {"rate": 0.0}),
        ("exponential", {"rate": -1.0}),
        ("exponential", {"rate": 1e-6}),
        ("cosine", {"levels": 0}),
    ],
)
def test_schedule_that_never_ends_is_unsupported(schedule: str, options: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        alphas(schedule, **options)


@given(total=st.integers(0, 500), levels=st.integers(1, 100))
def test_epochs_are_shared_equally_to_the_last_one(total: int, levels: int) -> None:
    shares = share_epochs(total, levels)
    assert len(shares) == levels and sum(shares) == total
    assert max(shares) - min(shares) <= 1
