"""Which rows rank where: whole intervals, noise floors, contended rows."""

from __future__ import annotations

from typing import Any

from suite import leaderboard
from suite.records import Record
from suite.setups import setup_of
from tests.boards import HOT, LARGE, STAND_IN, TASK, Bench, board, keep, make_bench, measured, rank, row  # noqa: F401


def speeds(bench: Bench, *values: float, **changes: Any) -> list[Record]:
    settings = [keep(round(0.1 + 0.1 * index, 1)) for index in range(len(values))]
    records = [bench(hyperparameters=setting) for setting in settings]
    return records + [bench.speed(v, hyperparameters=s, **changes) for v, s in zip(values, settings, strict=True)]


def ranks(*records: Record) -> list[int | None]:
    rows = [each for each in measured(board(*records).rows) if each.speeds]
    return [rank(each) for each in sorted(rows, key=lambda each: str(each.hyperparameters["keep"]))]


def test_rows_rank_by_their_whole_intervals(bench: Bench) -> None:
    assert ranks(*speeds(bench, 2.0, 3.0, 2.01, 1.0)) == [2, 1, 2, 4]


def test_a_lead_within_the_noise_floor_shares_the_rank(bench: Bench) -> None:
    records = speeds(bench, 2.0, 2.05)
    assert ranks(*records) == [2, 1]
    assert ranks(*records, bench.noise(0.05)) == [1, 1]


def test_the_noise_floor_is_that_of_the_same_machine_and_conditions(bench: Bench) -> None:
    records = speeds(bench, 2.0, 2.05)
    assert ranks(*records, bench.noise(0.05, machine="another")) == [2, 1]
    assert ranks(*records, bench.noise(0.05, conditions=LARGE)) == [2, 1]


def test_the_noise_floor_is_that_of_the_same_task_and_profile(bench: Bench) -> None:
    records = speeds(bench, 2.0, 2.05)
    assert ranks(*records, bench.noise(0.05, profile="smoke")) == [2, 1]


def test_a_noise_floor_of_a_busy_machine_gives_way_to_an_older_quiet_one(bench: Bench) -> None:
    records = speeds(bench, 2.0, 2.05)
    assert ranks(*records, bench.noise(0.0), bench.noise(0.05, notes={"contended": True})) == [2, 1]
    assert ranks(*records, bench.noise(0.05, notes={"contended": True})) == [1, 1]


def test_a_row_is_judged_by_the_floor_of_its_own_run_else_by_the_largest_of_a_quiet_machine(bench: Bench) -> None:
    records = speeds(bench, 2.0, 2.05)
    quiet, loud = bench.noise(0.0, run="of another"), bench.noise(0.05, run="of a third")
    assert ranks(*records, loud, quiet) == ranks(*records, quiet, loud) == [1, 1], "the luckiest does not count"
    assert ranks(*records, bench.noise(0.0), quiet, loud) == [2, 1], "measured beside the rows"
    later = speeds(bench, 2.0, 2.05, run="of another")
    noisy = bench.speed(2.0, hyperparameters=keep(0.1))
    assert ranks(*later, quiet, bench.noise(0.05)) == [2, 1]
    assert ranks(*later, noisy, quiet, bench.noise(0.05)) == [1, 1], "of two rows the larger floor counts"


def test_a_quantized_network_is_judged_by_a_floor_of_its_own(bench: Bench) -> None:
    int8 = HOT | {"backend": "compile", "precision": "int8"}
    floors = [bench.noise(0.01), bench.noise(0.2, conditions=int8)]
    own = bench.speed(2.0, conditions=int8)
    assert leaderboard.floors(floors).of(own) == 0.2
    assert leaderboard.floors(floors[:1]).of(own) is None
    host = setup_of(floors[0]).changed(backend="compile")
    assert leaderboard.floors([bench.noise(0.01, conditions=HOT | {"backend": "compile"})]).of(own, [host]) == 0.01


def test_contended_rows_stand_outside_the_ranking(bench: Bench) -> None:
    slow, fast = keep(0.1), keep(0.2)
    records = [bench(hyperparameters=slow), bench(hyperparameters=fast), bench.speed(2.0, hyperparameters=slow)]
    assert ranks(*records, bench.speed(3.0, hyperparameters=fast, notes={"contended": True})) == [1, None]


def test_an_uncontended_measurement_stands_before_a_newer_contended_one_of_another_seed(bench: Bench) -> None:
    records = [bench(), bench(seed=1), bench.speed(2.0, seed=1), bench.speed(3.0, notes={"contended": True})]
    (measurement,) = row(*records).speeds.values()
    assert measurement.metric("speedup") == 2.0
