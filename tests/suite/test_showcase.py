"""The gallery page: pairs that belong together, of rows that count, and no picture that is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from suite import leaderboard, plan, registry, showcase
from suite.records import Record

TASK = "autoencoder-roadscenes"
Make = Callable[..., Record]


def restored(make_record: Make, method: str = "structured", loss: float = 0.2, **changes: Any) -> Record:
    fields = {"task": TASK, "method": method, "freshness": plan.current_freshness(TASK, method),
              "hyperparameters": registry.method(method).complete({}), "gallery": [letter * 64 for letter in "abcd"],
              "metrics": {"loss": loss, "dense_loss": 0.19}}  # fmt: skip
    return make_record(**(fields | changes))


def test_dense_is_first_then_the_best(make_record: Make) -> None:
    records = [restored(make_record, "structured", 0.21), restored(make_record, "l1-three-stage", 0.18),
               restored(make_record, "dense", 0.19)]  # fmt: skip
    (wall,) = showcase.walls(leaderboard.assemble(records, {}), {letter * 64 for letter in "abcd"})
    assert [each.row.method for each in wall.shown] == ["dense", "l1-three-stage", "structured"]
    assert wall.shown[0].pairs == (("a" * 64, "c" * 64), ("b" * 64, "d" * 64)) and wall.more == 0


def test_a_picture_that_is_missing_takes_its_pair_along(make_record: Make) -> None:
    found = leaderboard.assemble([restored(make_record)], {})
    (wall,) = showcase.walls(found, {letter * 64 for letter in "abc"})
    assert wall.shown[0].pairs == (("a" * 64, "c" * 64),)
    assert showcase.walls(found, {"a" * 64, "d" * 64}) == ()


def test_what_does_not_count_hangs_nowhere(make_record: Make) -> None:
    found = leaderboard.assemble(
        [restored(make_record, freshness="of old"), restored(make_record, "dense", gallery=[])], {}
    )
    assert showcase.walls(found, {letter * 64 for letter in "abcd"}) == ()


def test_a_long_wall_says_how_many_are_elsewhere(make_record: Make) -> None:
    records = [restored(make_record, loss=0.2 + index / 1000, hyperparameters=registry.method("structured").complete(
        {"channel_ratio": round(0.1 + index / 100, 2)})) for index in range(showcase.MOST_ROWS + 3)]  # fmt: skip
    (wall,) = showcase.walls(leaderboard.assemble(records, {}), {letter * 64 for letter in "abcd"})
    assert len(wall.shown) == showcase.MOST_ROWS and wall.more == 3
