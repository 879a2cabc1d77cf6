"""What the leaderboard makes of records: which count, what is owed, the verdicts, the boards."""

from __future__ import annotations

import math

import pytest

from suite import leaderboard, registry
from suite.rows import Row
from tests.boards import (  # noqa: F401  a fixture
    HOT,
    LARGE,
    STAND_IN,
    TASK,
    Bench,
    accuracy,
    assemble,
    board,
    keep,
    make_bench,
    measured,
    rank,
    row,
)

# ------------------------------------------------------------------------------------------------------- what counts


def test_the_newest_fresh_ok_record_counts_and_the_rest_is_history(bench: Bench) -> None:
    records = [
        bench(metrics=accuracy(0.80)),
        bench(metrics=accuracy(0.91)),
        bench(metrics=accuracy(0.70), freshness="of old"),
        bench(status="oom", reason="no room", metrics={}),
    ]
    found = assemble(*records)
    shown = next(each for each in found.boards[0].rows if each.method == "cuts" and each.state != "missing")
    assert (shown.state, shown.mean("top1")) == ("ok", 0.91)
    assert found.cells[records[0].cell] == tuple(reversed(records))


def test_a_stale_row_is_shown_unranked_with_the_command_that_refreshes_it(bench: Bench) -> None:
    found = row(bench(freshness="of old"), bench.speed(2.0, freshness="of old"))
    assert found.state == "stale" and found.mean("top1") == 0.9 and rank(found) is None
    command = f"python -m suite run --task {TASK} --method cuts --set keep=0.5 --seed 0 --profile full"
    assert command in found.owed


def test_a_failed_row_says_why_and_how_to_run_it_again(bench: Bench) -> None:
    found = row(bench(status="timeout", reason="took 3 hours", metrics={}))
    assert (found.state, found.reason) == ("failed", "timeout: took 3 hours")
    assert found.owed[0].startswith(f"python -m suite run --task {TASK} --method cuts")


def test_an_unsupported_point_owes_nothing(bench: Bench) -> None:
    records = [bench(status="unsupported", reason="one channel is left", metrics={}, seed=seed) for seed in range(3)]
    found = row(*records)
    assert (found.state, found.owed) == ("unsupported", ())


def test_a_method_that_the_checkout_lacks_is_stale_and_cannot_be_made_again(bench: Bench) -> None:
    found = row(bench(method="gone", hyperparameters={"a": 1}), method="gone")
    assert (found.state, found.owed) == ("stale", ())
    assert found.reason == "method gone is not in this checkout"


@pytest.mark.parametrize("text", ["$(reboot)", "x; reboot", "x\nreboot", "`reboot`"])
def test_no_command_is_made_of_a_text_that_a_shell_would_obey(bench: Bench, text: str) -> None:
    found = row(bench(freshness="of old", hyperparameters={"keep": 0.5, "note": text}))
    assert found.state == "stale" and found.owed == ()


def test_stale_seeds_do_not_enter_the_mean_and_are_owed(bench: Bench) -> None:
    found = row(bench(metrics=accuracy(0.9)), bench(metrics=accuracy(0.1), seed=1, freshness="of old"))
    assert found.metrics["top1"].mean == 0.9 and found.metrics["top1"].seeds == 1
    assert [each.state for each in found.cells] == ["ok", "stale", "missing"]
    assert any("--seed 1" in command for command in found.owed)


def test_cells_of_the_registry_that_nobody_ran_are_missing_with_their_command(bench: Bench) -> None:
    missing = [each for each in board(bench(profile="quick", seed=4)).rows if each.state == "missing"]
    (quarter,) = [each for each in missing if each.method == "cuts"]
    assert quarter.hyperparameters["keep"] == 0.25 and not quarter.metrics
    assert quarter.owed == (
        f"python -m suite run --task {TASK} --method cuts --set keep=0.25 --seed 4 --profile quick",
    )


def test_the_full_profile_owes_three_seeds(bench: Bench) -> None:
    assert [each.seed for each in row(bench()).cells] == [0, 1, 2]
    assert [each.seed for each in row(bench(profile="smoke")).cells] == [0]


def test_a_row_without_a_benchmark_owes_one(bench: Bench) -> None:
    assert [command for command in row(bench(profile="smoke")).owed if " bench " in command]
    assert not [command for command in row(bench(profile="smoke"), bench.speed(2, profile="smoke")).owed]


def test_a_contended_benchmark_is_measured_again_by_force(bench: Bench) -> None:
    found = row(bench(profile="smoke"), bench.speed(2, profile="smoke", notes={"contended": True}))
    assert rank(found) is None
    assert [command.endswith(" --force") for command in found.owed] == [True]


def test_a_busy_machine_later_takes_nothing_from_a_quiet_one_before(bench: Bench) -> None:
    quiet = bench.speed(2, created="2026-01-02T00:00:00Z")
    busy = bench.speed(3, created="2026-01-03T00:00:00Z", notes={"contended": True})
    (speed,) = row(bench(), quiet, busy).speeds.values()
    assert speed.record == quiet and speed.comparable
    (alone,) = row(bench(), busy).speeds.values()
    assert alone.record == busy and not alone.comparable


def test_what_is_owed_is_measured_again_where_it_was(bench: Bench) -> None:
    stale = row(bench(metrics=accuracy(0.9), device="cuda", freshness="of old", profile="smoke"))
    assert [command.endswith(" --device cuda") for command in stale.owed if " run " in command] == [True]
    busy = bench.speed(2, profile="smoke", notes={"contended": True}, device="cuda")
    (again,) = row(bench(profile="smoke"), busy).owed
    assert " bench " in again and again.endswith(" --device cuda --force")
    elsewhere = row(bench(metrics=accuracy(0.9), device="cpu; rm x", freshness="of old", profile="smoke"))
    assert elsewhere.owed and not any("rm" in command for command in elsewhere.owed)


# ---------------------------------------------------------------------------------------------------- seeds, verdicts


def test_seeds_are_added_up_to_mean_and_sample_deviation(bench: Bench) -> None:
    found = row(*(bench(seed=seed, metrics=accuracy(top1)) for seed, top1 in enumerate((0.90, 0.91, 0.92))))
    assert found.metrics["top1"].mean == pytest.approx(0.91)
    assert found.metrics["top1"].deviation == pytest.approx(0.01)
    assert found.change is not None and found.change.mean == pytest.approx(-0.03)


def test_one_or_two_seeds_give_no_verdict(bench: Bench) -> None:
    for seeds in (1, 2):
        (judged,) = row(*(bench(seed=seed) for seed in range(seeds))).verdicts
        assert (judged.outcome, judged.low, judged.seeds) == ("no verdict", None, seeds)


def test_the_verdict_is_a_t_interval_of_differences_paired_by_seed(bench: Bench) -> None:
    tops, denses = (0.90, 0.91, 0.92), (0.93, 0.95, 0.94)
    records = [bench(seed=seed, metrics=accuracy(*pair)) for seed, pair in enumerate(zip(tops, denses, strict=True))]
    (judged,) = row(*records).verdicts
    half = 4.3027 * 0.01 / math.sqrt(3)  # t of two degrees of freedom; the differences are -0.03, -0.04 and -0.02
    assert (judged.low, judged.high) == (pytest.approx(-0.03 - half), pytest.approx(-0.03 + half))
    assert judged.outcome == "worse"


def test_lower_is_better_for_a_loss(bench: Bench) -> None:
    metrics = {"loss": 0.5, "dense_loss": 1.0, "parameters": 250, "dense_parameters": 1000}
    records = [bench(seed=seed, method="gone", hyperparameters={}, metrics=metrics) for seed in range(3)]
    found = board(*records)
    assert (found.headline.name, found.headline.higher_is_better) == ("loss", False)
    (judged,) = row(*records, method="gone").verdicts
    assert judged.outcome == "better" and judged.difference == pytest.approx(0.5)


def test_a_row_is_judged_against_the_control_of_its_very_size(bench: Bench) -> None:
    def both(parameters: int) -> Row:
        own = [bench(seed=s, metrics=accuracy(0.92 + 0.001 * s)) for s in range(3)]
        other = [bench(seed=s, method="lot", metrics=accuracy(0.90, parameters=parameters)) for s in range(3)]
        return row(*own, *other)

    assert [each.rival for each in both(250).verdicts] == ["dense", "lot"]
    assert both(250).verdicts[1].outcome == "better"
    assert [each.rival for each in both(251).verdicts] == ["dense"]


def test_the_hardest_control_comes_first_and_is_told_from_its_like(bench: Bench) -> None:
    own = [bench(seed=s, metrics=accuracy(0.92)) for s in range(3)]
    for keep_, top1 in ((0.25, 0.90), (0.5, 0.93)):
        own += [bench(seed=s, method="lot", hyperparameters={"keep": keep_}, metrics=accuracy(top1)) for s in range(3)]
    assert [(each.rival, each.outcome) for each in row(*own).verdicts[1:]] == [
        ("lot, keep 0.5", "worse"), ("lot, keep 0.25", "better")]  # fmt: skip


def test_a_control_with_a_verdict_comes_before_one_that_looks_harder_on_fewer_seeds(bench: Bench) -> None:
    own = [bench(seed=s, metrics=accuracy(0.92)) for s in range(3)]
    for keep_, top1, seeds in ((0.25, 0.99, 1), (0.3, 0.95, 2), (0.5, 0.91, 3)):
        own += [bench(seed=s, method="lot", hyperparameters={"keep": keep_}, metrics=accuracy(top1))
                for s in range(seeds)]  # fmt: skip
    assert [(each.rival, each.outcome) for each in row(*own).verdicts[1:]] == [
        ("lot, keep 0.5", "better"), ("lot, keep 0.25", "no verdict"), ("lot, keep 0.3", "no verdict")]  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- boards


def test_profiles_and_data_sets_are_boards_of_their_own(bench: Bench) -> None:
    records = [bench(), bench(profile="smoke"), bench(data_sha256="e" * 64), bench(task=STAND_IN)]
    boards = assemble(*records).boards
    assert [(b.task, b.profile, (b.data_sha256 or "")[0]) for b in boards] == [
        (TASK, "full", "e"), (TASK, "full", "d"), (TASK, "smoke", "d"), (STAND_IN, "full", "d"),
    ]  # fmt: skip
    assert [b.embedded for b in boards] == [False, False, False, True]
    assert len({b.slug + b.task for b in boards}) == 4


def test_a_run_that_failed_before_it_read_its_data_belongs_to_the_data_in_use(bench: Bench) -> None:
    failed = {"status": "error", "reason": "no disk", "metrics": {}, "data_sha256": None}
    old, new = bench(hyperparameters=keep(0.1)), bench(hyperparameters=keep(0.1), data_sha256="e" * 64)
    others = [bench(hyperparameters=keep(0.2), **failed), bench(hyperparameters=keep(0.1), seed=1, **failed)]
    found = assemble(old, new, *others).boards
    assert [(b.data_sha256 or "")[0] for b in found] == ["e", "d"]
    states = {each.hyperparameters["keep"]: each.state for each in found[0].rows if each.method == "cuts"}
    assert states == {0.1: "ok", 0.2: "failed", 0.5: "missing", 0.25: "missing"}, "the missing rows stay with it"
    assert [each.state for each in found[1].rows] == ["ok"]
    again = bench(hyperparameters=keep(0.1), data_sha256="e" * 64, seed=2)
    assert len(assemble(old, new, *others, again).boards) == 2
    assert [b.data_sha256 for b in assemble(*others).boards] == [None], "where no record names any"


def test_a_number_that_names_no_data_is_not_put_beside_those_that_do(bench: Bench) -> None:
    found = assemble(bench(), bench(hyperparameters=keep(0.1), data_sha256=None)).boards
    by_data = {b.data_sha256: b for b in found}
    assert set(by_data) == {"d" * 64, None}
    assert by_data["d" * 64].count("missing") and not by_data[None].count("missing")


def test_the_headline_setup_comes_first(bench: Bench) -> None:
    others = [bench.speed(2, conditions=each) for each in (LARGE, {**HOT, "cache": "cold"})]
    assert [setup.headline for setup in board(bench(), *others, bench.speed(2)).setups] == [True, False, False]


def test_the_tally_counts_every_planned_cell(bench: Bench) -> None:
    found = leaderboard.tally(board(bench(), bench(seed=1, freshness="of old")), "cuts")
    # Two points, three seeds each: one measured, one stale, four nobody ran.
    assert dict(found.by_state) == {"ok": 1, "stale": 1, "missing": 4}


def test_a_metric_that_no_machine_could_have_measured_is_told_apart(bench: Bench) -> None:
    assert leaderboard.absurd(bench()) is None
    assert leaderboard.absurd(bench(metrics={"parameters": 1e308})) is not None
    assert leaderboard.absurd(bench(metrics={"parameters": 1e-300})) is not None


def test_a_cost_that_names_no_data_belongs_to_the_rows_of_its_cell_on_all_data(bench: Bench) -> None:
    boards = assemble(bench(), bench(data_sha256="e" * 64), bench.speed(2)).boards
    assert [sum(bool(each.speeds) for each in b.rows) for b in boards] == [1, 1]


def test_methods_are_listed_from_the_registry_and_from_records(bench: Bench) -> None:
    methods = assemble(bench(method="gone", hyperparameters={})).methods
    assert set(methods) == {*registry.catalogue().methods, "gone"}


def test_many_seeds_of_one_method_are_owed_by_the_others_up_to_a_number(bench: Bench) -> None:
    """A stranger's thousand seeds would make a missing cell of each for every setting of every method."""
    few = [bench(seed=seed, method="lot") for seed in (0, 1, 7)]
    found = board(*few, *[bench(seed=seed) for seed in range(100, 400)])
    (other,) = [row for row in found.rows if row.method == "lot" and row.hyperparameters == {"keep": 0.5}]
    seeds = {cell.seed for cell in other.cells}
    assert {0, 1, 2, 7} <= seeds and len(seeds) <= leaderboard.MOST_SEEDS + 4
    (many,) = [row for row in found.rows if row.method == "cuts" and row.hyperparameters["keep"] == 0.5]
    assert len(many.records) == 300, "what was measured is shown, whatever its seed"


def test_a_speed_up_without_both_ends_of_its_interval_has_no_rank(bench: Bench) -> None:
    whole = bench.speed(2)
    (found,) = row(bench(), whole).speeds.values()
    assert found.interval == (1.99, 2.01)
    for lacking in ("speedup_low", "speedup_high"):
        half = bench.speed(2)
        half.metrics = {name: value for name, value in half.metrics.items() if name != lacking}
        shown = row(bench(), half)
        (found,) = shown.speeds.values()
        assert found.interval is None and found.metric("speedup") == 2 and rank(shown) is None
