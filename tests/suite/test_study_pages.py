"""Study pages: the source's numbers as printed, ours beside them, and an honest word for what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from suite import comparison, plan, side_by_side, study_pages
from suite.records import Record
from suite.studies import ONE_IMAGE, Figure, Line, Number, Quantity, Series, Study, Table, Target, studies

TASK, METHOD = "vgg16-cifar10", "l1-three-stage"
TOP1 = Quantity(TASK, METHOD, "top1", {"channel_ratio": 0.5})
STUDY = Study(
    "one", "One", "a paper", ("because",),
    tables=(Table("Its table", ("pruned", "unanswered"), (
        Line("accuracy", "fraction", (Number(0.9, TOP1, "nearly 90 %", "a note"), Number(0.5)), "higher"),)),),
    figures=(Figure("Its figure", "share", "accuracy", (
        Series("curve", ((1.0, 0.92), (0.5, None)), points=((0.5, TOP1), (0.4, Quantity(TASK, "dense", "top1")))),)),),
    targets=(Target("high", TOP1, "fraction", at_least=0.91),),
)  # fmt: skip


@pytest.fixture
def page(make_record: Callable[..., Record]) -> Callable[..., study_pages.StudyPage]:
    """`page(field=value, ...)`: STUDY's page with one record of its quantity, or `seeds` of them; else with none."""

    def call(seeds: int = 1, **changes: Any) -> study_pages.StudyPage:
        hyperparameters = comparison.cell(TOP1).hyperparameters
        fields = {"task": TASK, "method": METHOD, "hyperparameters": hyperparameters, "profile": "full",
                  "metrics": {"top1": 0.92}, "freshness": plan.current_freshness(TASK, METHOD)}  # fmt: skip
        each = [{}] if seeds == 1 else [{"seed": seed} for seed in range(seeds)]
        records = [make_record(**(fields | changes | seed)) for seed in each] if changes or seeds > 1 else []
        (made,) = study_pages.study_pages([STUDY], records, {record.cell for record in records})
        return made

    return call


def test_ours_stands_beside_the_sources_own_words(page: Callable[..., study_pages.StudyPage]) -> None:
    ((title, columns, ((label, places),), _),) = page(seed=0).grids
    assert (title, columns, label) == ("Its table", ("pruned", "unanswered"), "accuracy")
    first, second = places
    assert (first.reported, first.ours, first.deviation, first.note) == (
        "nearly 90 %", "92.00\u202f%", "+2.00 points", "a note")  # fmt: skip
    assert first.cell and second.reported == "50\u202f%" and second.found is None and second.ours == ""


def test_what_was_lost_of_the_original_is_told_in_points(make_record: Callable[..., Record]) -> None:
    lost = Number(None, Quantity(TASK, METHOD, "top1", {"channel_ratio": 0.5}, form="less-dense"))
    asked = Study("lost", "Lost", "a paper", (), (Table("t", ("c",), (Line("accuracy", "fraction", (lost,)),)),),
                  targets=(Target("little", lost.by, "points", at_least=-0.01),) if lost.by else ())  # fmt: skip
    hyperparameters = comparison.cell(TOP1).hyperparameters
    records = [
        make_record(task=TASK, method=METHOD, hyperparameters=hyperparameters, profile="full", seed=seed,
                    metrics={"top1": top1, "dense_top1": 0.92}, freshness=plan.current_freshness(TASK, METHOD))
        for seed, top1 in enumerate((0.84, 0.82))
    ]  # fmt: skip
    (made,) = study_pages.study_pages([asked], records, set())
    place = made.grids[0][2][0][1][0]
    assert (place.ours, place.doubt) == ("\u22129.00\u00a0points", "\u00b1 1.41\u00a0points, two seeds")
    assert (made.aims[0].bound, made.aims[0].ours, made.aims[0].met) == (
        "at least \u22121.00\u00a0points", "\u22129.00\u00a0points", None)  # fmt: skip
    assert made.aims[0].undecided == "two seeds: no verdict, three are owed"
    told = "\n".join(side_by_side.lines(comparison.compare(asked, comparison.index(records))))
    assert "ours \u22129.00 points \u00b1 1.41 points" in told
    assert "at least \u22121.00 points: \u22129.00 points, open (two seeds: no verdict, three are owed)" in told


def test_costs_of_several_machines_are_named_with_what_makes_them_doubtful(make_record: Callable[..., Record]) -> None:
    settings: list[Any] = [{"channel_ratio": 0.5}, {"channel_ratio": 0.25}]
    asked = [Quantity(TASK, METHOD, "speedup", each, "latency", conditions=ONE_IMAGE) for each in settings]
    line = Line("speed-up", "factor", (Number(3.0, asked[0]), Number(None, asked[1])))
    costs = Study("cost", "Cost", "a paper", (), (Table("t", ("half", "quarter"), (line,)),))
    cells = [comparison.cell(each).hyperparameters for each in asked]
    own = {"task": TASK, "method": METHOD, "kind": "latency", "profile": "quick", "conditions": dict(ONE_IMAGE),
           "freshness": plan.current_freshness(TASK, METHOD)}  # fmt: skip
    speed = {"speedup": 2.0, "speedup_low": 1.8, "speedup_high": 2.2, "converged": False}
    records = [make_record(**own, machine=machine, hyperparameters=each, metrics=speed)
               for machine, each in zip(("a", "b"), cells, strict=True)]  # fmt: skip
    (made,) = study_pages.study_pages([costs], records, set())
    half, quarter = made.grids[0][2][0][1]
    assert half.doubt == "1.80\u00d7 to 2.20\u00d7, not converged, a" and quarter.doubt.endswith(", b")
    assert made.options == " --profile quick --bench"
    told = "\n".join(side_by_side.lines(comparison.compare(costs, comparison.index(records))))
    assert "2.00\u00d7 [1.80, 2.20] (quick, not converged, a)  \u221233.3 %" in told
    (alone,) = study_pages.study_pages([costs], records[:1], set())
    assert alone.grids[0][2][0][1][0].doubt.endswith("not converged"), "of one machine: the page names it once"
    apart = replace(costs, tables=(Table("t", ("half", "quarter"), (replace(line, comparable=False),)),))
    assert "\u221233.3" not in "\n".join(side_by_side.lines(comparison.compare(apart, comparison.index(records))))


def test_levels_without_an_epoch_are_left_out_of_a_curve(make_record: Callable[..., Record]) -> None:
    logged = Series("ours", ((1.0, 0.92), (0.5, None), (0.0, 0.88)), logged=Quantity(TASK, METHOD, "val"), x="alpha")
    asked = Study("curve", "Curve", "a paper", (), figures=(Figure("f", "alpha", "val", (logged,), x_unit="number"),))
    points = [(1.0, 0, 0.9), (0.5, 0.0, 0.1), (0.3, 2.0, 0.8), (0.0, 4.0, 0.85)]
    curve = [{"step": step, "alpha": alpha, "epochs": epochs, "val": val}
             for step, (alpha, epochs, val) in enumerate(points)]  # fmt: skip
    hyperparameters = comparison.cell(Quantity(TASK, METHOD, "val")).hyperparameters
    record = make_record(task=TASK, method=METHOD, hyperparameters=hyperparameters, profile="quick", curve=curve,
                         freshness=plan.current_freshness(TASK, METHOD))  # fmt: skip
    ((drawing,),) = [made.drawings for made in study_pages.study_pages([asked], [record], set())]
    assert drawing.chart is not None and "1 level" in drawing.notes[-1]
    theirs, ours = drawing.chart.series
    assert [point.x for point in ours.points] == [1.0, 0.3, 0.0] and ours.joined
    assert not theirs.joined, "a line over a point without a number would invent one"
    assert ours.points[1].label.endswith("80.00\u202f% at 0.3")


def test_what_is_missing_has_the_command_that_measures_it(page: Callable[..., study_pages.StudyPage]) -> None:
    made = page()
    place = made.grids[0][2][0][1][0]
    assert place.found is not None and place.found.state == "missing" and place.ours == "\u2013" and not place.deviation
    assert place.found.command.startswith(f"python -m suite run --task {TASK}") and place.found.command in made.owed
    assert set(made.states) == {"missing"} and made.profiles == () and made.aims[0].met is None


def test_a_shortened_training_or_one_seed_decides_no_target(page: Callable[..., study_pages.StudyPage]) -> None:
    assert page(profile="quick").aims[0].met is None and page(profile="quick").profiles == ("quick",)
    (aim,) = page(profile="full").aims
    assert (aim.met, aim.ours, aim.bound) == (None, "92.00\u202f%", "at least 91\u202f%")
    assert aim.undecided == "one seed: no verdict, three are owed"
    assert page(seeds=3).aims[0].met is True
    assert page(seeds=3, metrics={"top1": 0.90}).aims[0].met is False


def test_points_without_a_number_are_told_and_not_drawn(page: Callable[..., study_pages.StudyPage]) -> None:
    (drawing,) = page(seed=0).drawings
    assert drawing.chart is not None and [len(each.points) for each in drawing.chart.series] == [1, 1]
    assert [each.hollow for each in drawing.chart.series] == [True, False] and len(drawing.marks) == 2
    assert "1 of the source's points is printed without a number." in drawing.notes
    assert [(label, found.state) for label, found in drawing.missing] == [("curve", "missing")]


def test_a_study_of_what_this_checkout_lacks_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    line = Line("x", "number", (Number(1, Quantity(TASK, "no-such-method", "top1")),))
    asked = Study("gone", "Gone", "a paper", (), (Table("t", ("c",), (line,)),))
    assert study_pages.study_pages([asked], [], set()) == () and "gone" in caplog.text


@pytest.mark.parametrize(
    "value,unit,text",
    [(0.2296, "fraction", "22.96\u202f%"), (0.0416, "seconds", "41.6\u202fms"), (58.66e6, "bytes", "58.66\u202fMB"),
     (6.4e6, "count", "6.400\u202fM"), (2.522e14, "count", "252.2\u202fT"), (9, "count", "9"),
     (12, "bytes", "12\u202fB"), (3.217, "factor", "3.22\u00d7"), (-0.31, "number", "\u22120.3100"),
     (-0.0909, "points", "\u22129.09\u00a0points"),
     (0.002, "points", "+0.20\u00a0points"), (None, "bytes", "\u2013")],
)  # fmt: skip
def test_numbers_are_spelled_as_papers_do(value: float | None, unit: Any, text: str) -> None:
    assert study_pages.spelled(value, unit) == text


@pytest.mark.parametrize(
    "value,unit,text",
    [(0.027395, "seconds", "27.395\u202fms"), (0.531, "seconds", "531\u202fms"), (1.5, "seconds", "1.5\u202fs"),
     (0.275, "fraction", "27.5\u202f%"), (0.9042, "fraction", "90.42\u202f%"), (4.09e6, "count", "4.09\u202fM"),
     (58.66e6, "bytes", "58.66\u202fMB"), (2e9, "bytes", "2\u202fGB"), (1744764, "count", "1.74476\u202fM"),
     (0, "fraction", "0\u202f%"), (0.0531 / 0.531, "factor", "0.10\u00d7")],
)  # fmt: skip
def test_a_reported_number_keeps_its_digits(value: float, unit: Any, text: str) -> None:
    assert side_by_side.reported_text(Line("x", unit, ()), Number(value)) == text


def test_every_study_has_a_page() -> None:
    made = study_pages.study_pages(studies().values(), [], set())
    assert [each.study.name for each in made] == list(studies())
    assert all(each.study.why and each.total == sum(each.states.values()) > 0 for each in made)
