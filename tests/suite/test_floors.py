"""Which noise floor bears on which row, as a machine's page tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from suite import floors
from suite.records import Record

ALONE, SHARED, BUSY = "its run", "its run, and runs without one", "none: the machine was busy"


@pytest.fixture
def noise(make_record: Callable[..., Record]) -> Callable[..., Record]:
    """`noise(floor, field=value, ...)`: an A/A run of `tiny` on one machine."""

    def call(floor: float, **changes: Any) -> Record:
        fields = {"kind": "noise-floor", "conditions": {"threads": 1}, "metrics": {"noise_floor": floor}}
        return make_record(**(fields | changes))

    return call


def test_the_largest_of_a_quiet_machine_bears_on_runs_that_have_none(noise: Callable[..., Record]) -> None:
    given = [
        noise(0.03, run="a"),
        noise(0.05, run="b"),
        noise(0.01, run="c"),
        noise(0.4, run="d", notes={"contended": True}),
        noise(0.02, run="e", conditions={"threads": 2}),
    ]
    told = [(record.run, bears_on) for record, bears_on in floors.told(given)]
    assert told == [("e", SHARED), ("d", BUSY), ("c", ALONE), ("b", SHARED), ("a", ALONE)]


def test_a_busy_machines_floor_counts_for_want_of_another(
    noise: Callable[..., Record], make_record: Callable[..., Record]
) -> None:
    given = [noise(floor, run=run, notes={"contended": True}) for floor, run in ((0.4, "a"), (0.2, "b"))]
    row = make_record(kind="latency", conditions={"threads": 1}, metrics={"speedup": 2.0}, run="b")
    assert [bears_on for _, bears_on in floors.told(given)] == [BUSY, SHARED]
    assert floors.floors(given).of(row) == 0.4 and floors.floors([]).of(row) is None
