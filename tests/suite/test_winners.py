"""What stands out on a board: the front, the winners."""

from __future__ import annotations

from typing import Any

from suite import charts
from suite.winners import front, nearest, winners
from tests.boards import Bench, accuracy, board, keep, make_bench  # noqa: F401  a fixture


def test_the_front_leaves_out_what_another_row_beats_in_both(bench: Bench) -> None:
    records = [
        bench(hyperparameters=keep(k), metrics=accuracy(top1, macs=macs))
        for k, top1, macs in ((0.1, 0.92, 200), (0.2, 0.91, 250), (0.3, 0.80, 100))
    ]
    found = board(*records)
    assert [each.hyperparameters["keep"] for each in front(found, "macs")] == [0.1, 0.3]


def test_a_lead_within_the_noise_floor_beats_nobody(bench: Bench) -> None:
    def kept(floor: float) -> list[Any]:
        accurate, worse = keep(0.1), keep(0.2)
        found = board(
            bench(hyperparameters=accurate, metrics=accuracy(0.92)),
            bench(hyperparameters=worse, metrics=accuracy(0.90)),
            bench.speed(2.04, hyperparameters=accurate),
            bench.speed(2.0, hyperparameters=worse),
            bench.noise(floor),
        )
        return [each.hyperparameters["keep"] for each in front(found, "speedup", found.setups[0])]

    assert kept(0.0) == [0.1]
    assert kept(0.02) == [0.2, 0.1], "which of them is faster is not known"


def test_dense_is_beaten_only_by_what_is_certainly_faster_and_no_worse(bench: Bench) -> None:
    def kept(low_end: float, top1: float) -> list[str]:
        found = board(
            bench(method="dense", metrics=accuracy(0.94)),
            bench(metrics=accuracy(top1)),
            bench.speed(1.2, 1.2 - low_end),
            bench.noise(0.02),
        )
        return [each.method for each in front(found, "speedup", found.setups[0])]

    assert kept(1.01, 0.95) == ["dense", "cuts"], "it may be no faster than dense"
    assert kept(1.1, 0.95) == kept(1.1, 0.94) == ["cuts"]
    assert kept(1.1, 0.93) == ["dense", "cuts"]


def test_rows_that_are_equal_in_one_respect_are_told_apart_by_the_other(bench: Bench) -> None:
    def kept(*points: tuple[float, int]) -> list[Any]:
        rows = [bench(hyperparameters=keep(index), metrics=accuracy(top1, macs=macs))
                for index, (top1, macs) in enumerate(points)]  # fmt: skip
        return [each.hyperparameters["keep"] for each in front(board(*rows), "macs")]

    assert kept((0.92, 200), (0.91, 200)) == kept((0.92, 200), (0.92, 250)) == [0]
    assert kept((0.92, 200), (0.92, 200)) == [0, 1], "neither beats its equal"


def test_winners_are_about_as_good_as_dense(bench: Bench) -> None:
    good, bad = keep(0.1), keep(0.2)
    found = board(
        bench(hyperparameters=good, metrics=accuracy(0.935, macs=200)),
        bench(hyperparameters=bad, metrics=accuracy(0.5, macs=10)),
        bench.speed(1.8, hyperparameters=good),
        bench.speed(9.0, hyperparameters=bad),
    )
    fastest, _, fewest = winners(found)
    assert (fastest.value, fewest.value) == (1.8, 2.0)
    assert fastest.row is not None and fastest.row.hyperparameters["keep"] == 0.1


def test_rows_of_other_seeds_are_compared_with_dense_at_their_own(bench: Bench) -> None:
    """Seed 0 is an unlucky one: a row that has it alone ends two points below dense's mean and loses nothing."""
    dense = [bench(seed=seed, method="dense", metrics=accuracy(top1, dense=top1, macs=400))
             for seed, top1 in enumerate((0.90, 0.93, 0.93))]  # fmt: skip
    one, worse = keep(0.1), keep(0.2)
    found = board(
        *dense,
        bench(hyperparameters=one, metrics=accuracy(0.90, dense=0.90, macs=200)),
        *[bench(seed=seed, hyperparameters=worse, metrics=accuracy(0.91, dense=0.93, macs=200)) for seed in (1, 2)],
        bench.speed(2.0, hyperparameters=one),
    )
    fastest, _, fewest = winners(found)
    assert fastest.row is not None and fewest.row is not None
    assert fastest.row.hyperparameters == fewest.row.hyperparameters == one
    assert [each.hyperparameters for each in front(found, "macs")] == [one]
    close = nearest(found)
    assert close is not None and close.hyperparameters == one


def test_a_loss_of_exactly_one_point_is_as_good_as_dense(bench: Bench) -> None:
    assert winners(board(bench(metrics=accuracy(0.94, dense=0.95, macs=200))))[2].value == 2.0


def test_a_speed_up_within_the_noise_floor_wins_nothing(bench: Bench) -> None:
    def fastest(floor: float) -> float | None:
        records = (bench(metrics=accuracy(0.935)), bench.speed(1.03), bench.noise(floor))
        return winners(board(*records))[0].value

    assert fastest(0.0) == 1.03
    assert fastest(0.05) is None


def test_the_fastest_is_it_at_the_lower_end_of_its_interval(bench: Bench) -> None:
    found = board(
        *(bench(hyperparameters=keep(k), metrics=accuracy(0.94)) for k in (0.1, 0.2)),
        bench.speed(2.0, 0.02, hyperparameters=keep(0.1)),
        bench.speed(2.2, 0.6, hyperparameters=keep(0.2)),
    )
    (fastest, *_) = winners(found)
    assert fastest.row is not None and fastest.row.hyperparameters["keep"] == 0.1 and fastest.value == 2.0


def test_a_winner_says_what_to_know_before_believing_it(bench: Bench) -> None:
    few = {"speedup": 1.8, "speedup_low": 1.5, "speedup_high": 2.1, "pairs": 6, "converged": True}
    own = bench(profile="quick", metrics=accuracy(0.96, dense=0.94))
    speed = bench("latency", profile="quick", metrics=few, notes={"weights": "random"})
    fastest, smallest, _ = winners(board(own, speed))
    brief = "far better than dense, which quick trains too briefly to be the measure"
    assert fastest.doubts == ("6 pairs", "not converged", "random weights", brief)
    assert smallest.doubts == (brief,)
    sure = winners(board(bench(metrics=accuracy(0.96, dense=0.94), profile="full"), bench.speed(1.8, profile="full")))
    assert sure[0].doubts == ()


def test_nobody_wins_where_nothing_is_close_to_dense(bench: Bench) -> None:
    assert all(each.row is None for each in winners(board(bench(metrics=accuracy(0.5)))))


def test_the_front_takes_a_lead_at_the_lower_end_of_its_interval(bench: Bench) -> None:
    accurate, slow = keep(0.1), keep(0.2)

    def kept(half: float) -> list[Any]:
        found = board(
            bench(hyperparameters=accurate, metrics=accuracy(0.92)),
            bench(hyperparameters=slow, metrics=accuracy(0.90)),
            bench.speed(3.0, half, hyperparameters=accurate),
            bench.speed(2.0, hyperparameters=slow),
        )
        return [each.hyperparameters["keep"] for each in front(found, "speedup", found.setups[0])]

    assert kept(0.9) == [0.1] and kept(1.1) == [0.2, 0.1]


def test_the_line_of_a_chart_joins_the_outermost_of_the_front(bench: Bench) -> None:
    found = board(
        bench(method="dense", metrics=accuracy(0.94)),
        bench(hyperparameters=keep(0.1), metrics=accuracy(0.92)),
        bench(hyperparameters=keep(0.2), metrics=accuracy(0.90)),
        bench.speed(2.0, 0.1, hyperparameters=keep(0.1)),
        bench.speed(1.95, 0.1, hyperparameters=keep(0.2)),
    )
    chart = charts.pareto(found, "speedup", {}, found.setups[0])
    assert len(front(found, "speedup", found.setups[0])) == 3
    assert chart is not None and chart.front == ((1.0, 0.94), (2.0, 0.92)), "a line that never turns back"


def test_the_nearest_row_is_the_one_that_loses_least_and_saves_something(bench: Bench) -> None:
    found = board(
        bench(hyperparameters=keep(0.1), metrics=accuracy(0.90, parameters=1000, macs=400)),
        bench(hyperparameters=keep(0.2), metrics=accuracy(0.85, macs=200)),
        bench(hyperparameters=keep(0.3), metrics=accuracy(0.80, macs=100)),
    )
    row = nearest(found)
    assert row is not None and row.hyperparameters["keep"] == 0.2
    assert nearest(board(bench(metrics=accuracy(0.9, parameters=1000, macs=400)))) is None
