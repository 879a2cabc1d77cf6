"""The overview's cards, and how much of what is measured."""

from __future__ import annotations

from suite import advice, charts, leaderboard, method_curves, overview, pages
from tests.boards import TASK, Bench, accuracy, keep, make_bench  # noqa: F401  a fixture

LOOKS = charts.looks({"cuts": "structured pruning"})
OTHER = "vgg16-cifar10+width0.25"


def test_tasks_with_a_winner_come_first(bench: Bench) -> None:
    far, close = bench(metrics=accuracy(0.5)), bench(task=OTHER, metrics=accuracy(0.935))
    found = overview.cards(leaderboard.assemble([far, close], {}), LOOKS)
    assert [card.board.task for card in found] == [OTHER, TASK]
    assert found[0].nearest is None and any(winner.row is not None for winner in found[0].winners)


def test_where_nothing_wins_the_nearest_is_told_with_what_it_loses(bench: Bench) -> None:
    (card,) = overview.cards(leaderboard.assemble([bench(metrics=accuracy(0.5))], {}), LOOKS)
    assert card.nearest is not None and card.nearest[1] == "\u221244.00 points"


def test_one_failed_full_run_takes_no_tasks_card_badges_or_advice(bench: Bench) -> None:
    quick = [bench(profile="quick", metrics=accuracy(0.935)), bench.speed(1.8, profile="quick")]
    failed = bench(status="oom", reason="no room", metrics={})
    found = leaderboard.assemble([*quick, failed], {})
    assert [board.profile for board in found.boards_of(TASK)] == ["full", "quick"]
    (card,) = overview.cards(found, LOOKS)
    assert card.board.profile == "quick" and card.winners[0].value == 1.8
    assert [board.profile for board in advice.boards(found)] == ["quick"]
    assert set(method_curves.badge_files("cuts", found)) == {TASK}
    (alone,) = overview.cards(leaderboard.assemble([failed], {}), LOOKS)
    assert alone.board.profile == "full", "where nothing counts, the most serious one"


def test_progress_counts_what_is_measured_of_each_method(bench: Bench) -> None:
    found = leaderboard.assemble([bench(hyperparameters=keep(0.1)), bench(profile="quick")], {})
    told = dict(overview.progress(found)["cuts", TASK])
    assert set(told) == {"full", "quick"} and {tally.by_state["ok"] for tally in told.values()} == {1}


def test_a_methods_page_shows_measured_rows_and_counts_the_others(bench: Bench) -> None:
    records = [bench(hyperparameters=keep(0.1)), bench(method="lot", task=OTHER), bench(method="lot")]
    found = leaderboard.assemble(records, {})
    made = pages.method_page("cuts", found, [pages.section(board, LOOKS) for board in found.boards])
    ((part, lines, missing),) = made["boards"]
    assert part.board.task == TASK and [line.row.state for line in lines] == ["ok"]
    assert missing == sum(row.method == "cuts" and row.state == "missing" for row in part.board.rows) > 0
    assert [board.task for board in made["unmeasured"]] == [OTHER]
