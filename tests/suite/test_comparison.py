"""A study's tables are filled from records: what counts, what it says of the rest, how far apart the numbers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from suite import comparison, plan, side_by_side, study_plan
from suite.filled import FilledNumber, FilledTable
from suite.history import Trained
from suite.records import Record
from suite.studies import (
    EPOCH,
    ONE_IMAGE,
    Figure,
    Finding,
    Line,
    Number,
    Quantity,
    Series,
    Study,
    Table,
    Target,
    studies,
)

HALF = Quantity("tiny", "zeroes", "top1", {"share": 0.5})
SPEED = Quantity("tiny", "zeroes", "speedup", {"share": 0.5}, "latency", conditions=ONE_IMAGE)
LOGGED = Quantity("tiny", "zeroes", "val", {"share": 0.5}, point={"alpha": 0.4})


@pytest.fixture
def fresh(tiny_task: Any, make_record: Callable[..., Record]) -> Callable[..., Record]:
    """`fresh(field=value, ...)`: a record of the checkout's own `zeroes` on `tiny`."""

    def call(**changes: Any) -> Record:
        return make_record(**({"freshness": plan.current_freshness("tiny", "zeroes"), "profile": "full"} | changes))

    return call


def study(*quantities: Quantity, **others: Any) -> Study:
    line = Line("accuracy", "fraction", tuple(Number(0.5, each) for each in quantities), "higher")
    table = Table("A table", tuple(str(index) for index in range(len(quantities))), (line,))
    return Study("s", "S", "nowhere", ("no reason",), (table,), **others)


def filled(asked: Study, *records: Record) -> FilledNumber:
    return comparison.compare(asked, comparison.index(records)).tables[0].lines[0][1][0]


def test_accuracy_is_the_mean_over_the_seeds_of_the_most_serious_profile(fresh: Callable[..., Record]) -> None:
    records = [fresh(seed=seed, metrics={"top1": top1, "parameters": 9}) for seed, top1 in enumerate((0.5, 0.7, 0.9))]
    place = filled(study(HALF), fresh(profile="quick", metrics={"top1": 0.1, "parameters": 9}), *records)
    assert place.found is not None and place.found.value == pytest.approx(0.7) and place.found.seeds == 3
    assert place.found.profile == "full" and place.found.deviation == pytest.approx(0.2)
    assert place.difference == pytest.approx(0.2) and place.relative == pytest.approx(0.4)
    assert place.found.cells == tuple(record.cell for record in records)


def test_times_of_different_minutes_say_how_far_dense_itself_moved(fresh: Callable[..., Record]) -> None:
    def timed(share: float, dense: float) -> Record:
        return fresh(kind="latency", hyperparameters={"share": share, "finetune": False}, conditions=dict(ONE_IMAGE),
                     metrics={"compressed_seconds": 0.5 * dense, "dense_seconds": dense})  # fmt: skip

    asked = study(*(replace(SPEED, metric="compressed_seconds", setting={"share": each}) for each in (0.5, 0.75)))
    steady, drifting = (
        comparison.compare(asked, comparison.index([timed(0.5, 0.01), timed(0.75, other)])).tables[0].notes
        for other in (0.0108, 0.019)
    )
    assert steady == ()
    assert len(drifting) == 1 and "dense network beside these took 10.0\u202fms to 19.0\u202fms." in drifting[0]


def test_dense_networks_that_moved_are_named_where_a_table_has_several(fresh: Callable[..., Record]) -> None:
    def timed(task: str, share: float, dense: float) -> Record:
        return fresh(task=task, freshness=plan.current_freshness(task, "zeroes"), kind="latency",
                     hyperparameters={"share": share, "finetune": False}, conditions=dict(ONE_IMAGE),
                     metrics={"compressed_seconds": 0.5 * dense, "dense_seconds": dense})  # fmt: skip

    asked = [replace(SPEED, task=task, metric="compressed_seconds", setting={"share": share})
             for task in ("tiny", "tiny-slow") for share in (0.5, 0.75)]  # fmt: skip
    records = [timed("tiny", 0.5, 0.01), timed("tiny", 0.75, 0.01), timed("tiny-slow", 0.5, 0.03)]

    def note(last: float) -> str:
        known = comparison.index([*records, timed("tiny-slow", 0.75, last)])
        return "".join(comparison.compare(study(*asked), known).tables[0].notes)

    assert note(0.03) == "", "two networks are not one that moved"
    assert "beside these took 30.0\u202fms to 60.0\u202fms (tiny-slow). What" in note(0.06)


def test_what_was_never_measured_names_the_command_that_would(tiny_task: Any) -> None:
    found = comparison.compare(study(HALF, SPEED), comparison.index([])).found
    assert [each.state for each in found] == ["missing", "missing"] and {each.value for each in found} == {None}
    assert found[0].command == "python -m suite run --task tiny --method zeroes --set share=0.5 --seed 0 --profile full"
    assert found[1].command.startswith("python -m suite bench --task tiny") and "--rows" not in found[1].command
    profiled = Quantity(
        "tiny", "zeroes", "total_cpu_seconds", {}, "latency", "cuda", {**ONE_IMAGE, "timing": "profiler"}
    )
    assert study_plan.command(profiled).endswith("--device cuda --rows all")


def test_stale_and_failed_records_are_not_taken_for_results(fresh: Callable[..., Record]) -> None:
    stale = filled(study(HALF), fresh(freshness="0" * 64)).found
    assert (
        stale is not None and stale.state == "stale" and stale.value == 0.5 and "earlier version" in str(stale.reason)
    )
    failed = filled(study(HALF), fresh(status="oom", reason="out of memory", metrics={})).found
    assert failed is not None and (failed.state, failed.value, failed.reason) == ("failed", None, "out of memory")
    both = filled(study(HALF), fresh(), fresh(status="oom", reason="out of memory", metrics={})).found
    assert both is not None and both.state == "ok"


def test_cost_is_read_under_its_own_conditions_and_not_off_a_busy_machine(fresh: Callable[..., Record]) -> None:
    def timed(speedup: float, **changes: Any) -> Record:
        metrics = {"speedup": speedup, "speedup_low": speedup - 1, "speedup_high": speedup + 1}
        return fresh(**({"kind": "latency", "conditions": dict(ONE_IMAGE), "metrics": metrics} | changes))

    other = timed(9.0, conditions={**ONE_IMAGE, "threads": 2})
    busy, elsewhere = timed(8.0, notes={"contended": True}), timed(7.0, device="cuda")
    place = filled(study(SPEED), timed(3.0), timed(2.0), other, busy, elsewhere).found
    assert place is not None and (place.value, place.low, place.high) == (2.0, 1.0, 3.0)
    alone = filled(study(SPEED), busy).found
    assert alone is not None and alone.value == 8.0


def test_mean_of_a_time_is_of_its_samples_and_other_forms_of_its_dense_twin(fresh: Callable[..., Record]) -> None:
    record = fresh(kind="latency", conditions=dict(ONE_IMAGE), samples=[[4.0, 1.0], [8.0, 3.0]],
                   metrics={"speedup": 1.0, "compressed_seconds": 1.5})  # fmt: skip
    values = {
        name: comparison.read(Quantity("tiny", "zeroes", name, form="mean"), record)
        for name in ("compressed_seconds", "dense_seconds")
    }
    assert values == {"compressed_seconds": 2.0, "dense_seconds": 6.0}
    forms = {"complement": 0.5, "over-dense": 2 / 3, "less-dense": -0.25, "value": 0.5}
    for form, expected in forms.items():
        found = comparison.read(Quantity("tiny", "zeroes", "top1", form=form), fresh())  # type: ignore[arg-type]
        assert found == pytest.approx(expected), form


def test_point_of_a_logged_curve_is_found_whatever_the_last_bit_says(fresh: Callable[..., Record]) -> None:
    curve = [{"alpha": 1.0, "val": 0.8}, {"alpha": 1 - 0.1 * 6, "val": 0.6}, {"alpha": 0.0, "val": 0.4, "restart": 1}]
    assert comparison.read(LOGGED, fresh(curve=curve)) == 0.6
    place = filled(study(LOGGED), fresh()).found
    assert place is not None and place.state == "missing" and place.command.endswith("--force")
    figure = Figure("F", "alpha", "val", (Series("ours", logged=LOGGED, x="alpha"),))
    done = comparison.compare(study(HALF, figures=(figure,)), comparison.index([fresh(curve=curve)]))
    assert done.figures[0].series[0].points == ((1.0, 0.8), (1 - 0.1 * 6, 0.6), (0.0, 0.4))


def test_a_level_that_got_no_epoch_is_no_answer(fresh: Callable[..., Record]) -> None:
    asked = study(LOGGED)
    curve = [{"alpha": 1.0, "epochs": 0, "val": 0.9}, {"alpha": 0.4, "epochs": 0, "val": 0.1}]
    untrained = filled(asked, fresh(curve=curve, profile="quick")).found
    assert (untrained.value, untrained.state) == (None, "missing")
    assert untrained.reason == "the quick profile spends no epoch there" and untrained.command.endswith(
        "--profile full"
    )
    assert filled(asked, fresh(curve=[*curve, {"alpha": 0.4, "epochs": 2, "val": 0.7}])).found.value == 0.7
    start = study(replace(LOGGED, point={"alpha": 1.0}))
    assert filled(start, fresh(curve=curve)).found.value == 0.9, "the original is where the curve begins"


def test_a_curve_over_epochs_goes_through_all_trainings(fresh: Callable[..., Record]) -> None:
    trainings = [Trained("alpha 0.9", 0.01, [(1, 2.0, 0.5), (2, 1.5, 0.6)]), Trained("alpha 0", 0.1, [(3, 1.0, 0.7)])]
    series = Series("ours", logged=replace(LOGGED, point=None), x=EPOCH)
    asked = study(HALF, figures=(Figure("F", "epochs", "val", (series,)),))
    (drawn,) = comparison.compare(asked, comparison.index([fresh(trainings=trainings)])).figures[0].series
    assert drawn.points == ((1.0, 0.5), (2.0, 0.6), (3.0, 0.7)) and not drawn.untrained
    (drawn,) = comparison.compare(asked, comparison.index([fresh()])).figures[0].series
    assert not drawn.points and drawn.found[0].state == "missing" and drawn.found[0].command.endswith("--force")


def test_target_is_judged_on_three_seeds_of_the_full_profile(fresh: Callable[..., Record]) -> None:
    target = Target("half right", HALF, "fraction", at_least=0.5)
    other = Target("no worse than itself", HALF, "fraction", at_least=0.0, than=HALF)

    def met(*top1: float, **changes: Any) -> list[bool | None]:
        records = [fresh(seed=seed, metrics={"top1": each, "parameters": 9}, **changes)
                   for seed, each in enumerate(top1)]  # fmt: skip
        asked = study(HALF, targets=(target, other))
        return [each.met for each in comparison.compare(asked, comparison.index(records)).targets]

    assert met() == [None, None] and met(0.5, 0.6, 0.7, profile="quick") == [None, None]
    assert met(0.5) == met(0.5, 0.9) == met(0.1) == [None, None], "three seeds are owed"
    assert met(0.57, 0.6, 0.63) == [True, True] and met(0.41, 0.4, 0.4) == [False, True]
    assert met(0.5, 0.6, 0.7) == met(0.49, 0.4, 0.4) == [None, True], "the bound lies in the mean's 95 % interval"


def test_target_of_a_cost_is_met_where_its_whole_interval_is_and_on_a_quiet_machine(
    fresh: Callable[..., Record],
) -> None:
    target = Target("twice as fast", SPEED, "factor", at_least=2.0)

    def met(low: float, **notes: Any) -> bool | None:
        metrics = {"speedup": 2.5, "speedup_low": low, "speedup_high": 3.0}
        record = fresh(kind="latency", conditions=dict(ONE_IMAGE), metrics=metrics, notes=notes)
        return comparison.compare(study(SPEED, targets=(target,)), comparison.index([record])).targets[0].met

    assert (met(2.1), met(1.9), met(2.1, contended=True)) == (True, None, None)


def test_target_beside_another_row_is_judged_by_differences_paired_by_seed(fresh: Callable[..., Record]) -> None:
    whole = replace(HALF, setting={"share": 0.25})
    least, most = (Target(end, HALF, "points", than=whole, **{end: 0.0}) for end in ("at_least", "at_most"))

    def judged(target: Target, own: Sequence[float], rival: Sequence[float]) -> tuple[float | None, bool | None, str]:
        records = [
            fresh(
                seed=seed,
                hyperparameters=study_plan.cell(each).hyperparameters,
                metrics={"top1": top1, "parameters": 9},
            )
            for each, values in ((HALF, own), (whole, rival))
            for seed, top1 in enumerate(values)
        ]
        asked = study(HALF, targets=(target,))
        (made,) = comparison.compare(asked, comparison.index(records)).targets
        value = None if made.value is None else round(made.value, 4)
        return value, made.met, "" if made.met is not None else side_by_side.undecided(made)

    rival = (0.5, 0.7, 0.9)  # far apart: only pairs tell that each is beaten by a point
    assert judged(least, (0.51, 0.712, 0.91), rival) == (0.0107, True, "")
    assert judged(most, (0.51, 0.712, 0.91), rival) == (0.0107, False, "")
    value, met, why = judged(least, (0.51, 0.70, 0.95), rival)
    assert (value, met) == (0.02, None) and why.startswith("its 95 % interval is \u2212")
    assert judged(least, (0.51, 0.9), rival) == (0.105, None, "two seeds: no verdict, three are owed")
    assert judged(least, (0.6,), rival) == (0.1, None, "one seed: no verdict, three are owed"), "not 0.6 less 0.7"
    assert judged(least, (), rival) == (None, None, "the full profile has not been run")


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_study_is_filled_from_nothing(name: str) -> None:
    done = comparison.compare(studies()[name], comparison.index([]))
    assert done.found and {each.state for each in done.found} == {"missing"}
    assert done.owed and all(command.startswith("python -m suite ") for command in done.owed)


def test_a_finding_is_said_of_results_of_the_profile_that_it_was_written_over(fresh: Callable[..., Record]) -> None:
    said = Finding("Half leaves {half}.", {"half": ("fraction", HALF)}, profile="full")
    asked = study(HALF, findings=(said,))

    def said_of(*records: Record) -> tuple[tuple[str, str], ...]:
        return side_by_side.findings(comparison.compare(asked, comparison.index(records)))

    measured = [fresh(seed=seed, metrics={"top1": 0.7 + seed / 10, "parameters": 9}) for seed in range(2)]
    assert said_of(measured[0]) == (("Half leaves 70.00 %.", "full profile, one seed"),)
    assert said_of(*measured) == (("Half leaves 75.00 %.", "full profile, two seeds"),)
    assert said_of(fresh(profile="quick")) == said_of(fresh(freshness="0" * 64)) == said_of() == ()


def test_the_most_trusted_of_the_machines_newest_costs_counts(fresh: Callable[..., Record]) -> None:
    def cost(machine: str, speedup: float, width: float, converged: bool = True, **notes: Any) -> Record:
        metrics = {"speedup": speedup, "speedup_low": speedup - width, "speedup_high": speedup + width}
        return fresh(kind="latency", machine=machine, conditions=dict(ONE_IMAGE), notes=notes,
                     metrics=metrics | {"converged": converged})  # fmt: skip

    def chosen(*records: Record) -> float | None:
        found = filled(study(SPEED), *records).found
        return found.value if found is not None else None

    narrow, wide = cost("a", 3, 0.1), cost("b", 4, 1.0)
    assert (chosen(narrow, wide), chosen(wide, narrow)) == (4, 3), "the newest: the narrowest is the luckiest"
    assert chosen(cost("a", 2, 0.1), cost("a", 3, 1.0)) == 3, "of one machine the newest"
    assert chosen(cost("a", 5, 0.01, weights="random"), wide) == 4
    assert chosen(cost("a", 5, 0.01, converged=False), cost("b", 4, 0.04)) == 4
    assert chosen(cost("a", 5, 0.01, contended=True), cost("b", 4, 1.0, weights="random")) == 4
    said = Finding("{speed} as fast.", {"speed": ("factor", SPEED)}, profile="full")
    for width, notes, text in (
        (0.05, {}, ("5.00\u00d7 [4.95, 5.05] as fast.", "full profile, a")),
        (0.1, {}, ("5.00\u00d7 [4.90, 5.10] as fast.", "full profile, a, not converged")),
        (0.05, {"contended": True}, None),
    ):
        done = comparison.compare(study(SPEED, findings=(said,)), comparison.index([cost("a", 5, width, **notes)]))
        assert side_by_side.findings(done) == ((text,) if text else ())


def test_numbers_beside_one_another_are_of_the_same_seeds(fresh: Callable[..., Record]) -> None:
    quarter = Quantity("tiny", "zeroes", "top1", {"share": 0.25})

    def trained(asked: Quantity, seed: int, top1: float, **changes: Any) -> Record:
        own = {"seed": seed, "metrics": {"top1": top1}, "hyperparameters": dict(comparison.cell(asked).hyperparameters)}
        return fresh(**(own | changes))

    def table(*records: Record) -> FilledTable:
        return comparison.compare(study(HALF, quarter), comparison.index(records)).tables[0]

    def means(*records: Record) -> list[tuple[float | None, int]]:
        return [(each.found.value, each.found.seeds) for each in table(*records).lines[0][1] if each.found]

    halves = [trained(HALF, seed, top1) for seed, top1 in enumerate((0.5, 0.75, 0.25))]
    assert means(*halves) == [(0.5, 3), (None, 0)], "what is missing takes no seed away"
    assert means(*halves, trained(quarter, 1, 0.5)) == [(0.75, 1), (0.5, 1)]
    (said,) = table(*halves, trained(quarter, 1, 0.5)).notes
    assert said == "Over seed 1 alone, which all numbers of this table have."
    assert table(*halves).notes == () == table(*halves, trained(quarter, 7, 0.5)).notes
    assert means(*halves, trained(quarter, 7, 0.5)) == [(0.5, 3), (0.5, 1)], "no seed in common: each its own"
    assert means(*halves, trained(quarter, 1, 0.5, profile="quick")) == [(0.5, 3), (0.5, 1)]
    assert means(*halves, trained(quarter, 1, 0.5, freshness="0" * 64)) == [(0.5, 3), (0.5, 1)]


def test_the_memory_of_a_compiled_network_names_its_own_base(fresh: Callable[..., Record]) -> None:
    def caveats(backend: str) -> tuple[str, ...]:
        conditions = {"batch_size": 1, "threads": 1, "backend": backend}
        asked = Quantity("tiny", "zeroes", "peak_bytes", {"share": 0.5}, kind="memory", conditions=conditions)
        found = filled(study(asked), fresh(kind="memory", conditions=conditions,
                                           metrics={"peak_bytes": 120e6, "dense_peak_bytes": 118e6})).found  # fmt: skip
        assert found is not None and found.value == 120e6
        return found.caveats

    assert caveats("compile") == ("compiled dense 118.0\u202fMB",) and caveats("eager") == ()
