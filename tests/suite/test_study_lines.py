"""Lines of a study's charts: no two look alike, restarts stand apart, nothing is drawn over what was left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from suite import charts, comparison, plan, study_lines, study_pages
from suite.records import Record, Scalar
from suite.studies import ALPHA, EPOCH, Figure, Quantity, Series, Study, studies

TASK, METHOD = "vgg16-cifar10", "l1-three-stage"
CURVE: list[dict[str, Scalar]] = [
    {"alpha": 1.0, "epochs": 0, "val": -0.1},
    {"alpha": 0.9, "epochs": 0.0, "val": -0.9},
    {"alpha": 0.5, "epochs": 2.0, "val": -0.2},
    {"alpha": 0.1, "epochs": 2.0, "val": -0.3},
    {"alpha": 0.0, "epochs": 0, "val": -0.9},
    {"alpha": 0.0, "epochs": 4.0, "val": -0.25, "restart": 1},
    {"alpha": 0.0, "epochs": 8.0, "val": -0.15, "restart": 2},
]


@pytest.fixture
def drawn(make_record: Callable[..., Record]) -> Callable[..., charts.Chart]:
    """`drawn(form=..., x=..., lines=..., field=value...)`: the chart of CURVE, over alpha unless told otherwise."""

    def call(form: Any = "value", x: str = ALPHA, lines: int = 1, theirs: Any = None, **changes: Any) -> charts.Chart:
        asked = Quantity(TASK, METHOD, "val", form=form)
        series = tuple(Series(f"line {index}", logged=asked, x=x) for index in range(lines))
        series += (theirs,) if theirs else ()
        figure = Figure("f", "alpha", "val", series, x_unit="number", y_unit="number", **changes)
        curve = [{"step": step, **point} for step, point in enumerate(CURVE)]
        record = make_record(task=TASK, method=METHOD, hyperparameters=comparison.cell(asked).hyperparameters,
                             profile="quick", curve=curve, freshness=plan.current_freshness(TASK, METHOD))  # fmt: skip
        (page,) = study_pages.study_pages([Study("s", "S", "a paper", (), figures=(figure,))], [record], set())
        chart = page.drawings[0].chart
        assert chart is not None
        return chart

    return call


def test_no_two_lines_of_any_study_look_alike() -> None:
    most = max(len(figure.series) for study in studies().values() for figure in study.figures)
    found = [study_lines.look(index) for index in range(max(most, 12))]
    assert len({(colour, dash) for colour, _, dash in found}) == len(found)
    assert all(colour < charts.COLOURS for colour, _, _ in found)
    assert len({(colour, shape) for colour, shape, _ in found}) == len(found), "a mark tells what a dash does"


def test_lines_have_dashes_where_the_colours_run_out(drawn: Callable[..., charts.Chart]) -> None:
    chart = drawn(lines=8)
    assert [each.dash for each in chart.series] == [""] * 6 + ["dashed"] * 2


def test_a_line_is_broken_where_levels_were_left_out(drawn: Callable[..., charts.Chart]) -> None:
    (line,) = drawn().series
    assert [index for index, _ in enumerate(line.points) if index in line.breaks] == [1, 3]
    path = charts.joined_path(drawn(), line)
    assert [step[0] for step in path.split() if step[0].isalpha()] == ["M", "M", "L", "M", "L"]


def test_restarts_have_places_of_their_own_after_the_last_level(drawn: Callable[..., charts.Chart]) -> None:
    chart = drawn(lines=3)
    places = [[charts.paper_x(chart, point.x) for point in line.points] for line in chart.series]
    assert all(one == sorted(set(one)) for one in places), "time runs to the right, and no point lies on another"
    assert len({place[-1] for place in places}) == 3, "the lines stand side by side"
    assert chart.series[0].points[-1].label == "line 0 (quick): \u22120.1500 at restart 2"
    assert [text for _, text in chart.x.ticks][-2:] == ["R1", "R2"] and "R1, R2" in chart.note
    ticks = [charts.paper_x(chart, value) for value, _ in chart.x.ticks[-2:]]
    assert max(places[0][3], places[2][3]) < sum(ticks) / 2 < min(places[0][4], places[2][4])


def test_the_sources_own_restarts_stand_there_too_and_no_line_leads_to_them(drawn: Callable[..., charts.Chart]) -> None:
    theirs = Series("theirs", reported=((1.0, 0.92), (0.1, 0.92)), resumed=((1, 0.86), (3, 0.885)), x=ALPHA)
    chart = drawn(theirs=theirs)
    ours, line = chart.series
    assert [(round(point.x, 9) > 0, point.y) for point in line.points] == [
        (True, 0.92), (True, 0.92), (False, 0.86), (False, 0.885),
    ]  # fmt: skip
    assert line.joined and line.breaks == (2, 3)
    assert [text for _, text in chart.x.ticks][-3:] == ["R1", "R2", "R3"], "one more than ours has"
    assert line.points[2].x != next(point.x for point in ours.points if point.x < 0), "side by side"


def test_steps_are_drawn_as_they_come(drawn: Callable[..., charts.Chart]) -> None:
    chart = drawn(x="step")
    assert [point.x for point in chart.series[0].points] == [0, 2, 3, 5, 6] and "R1" not in chart.note
    assert chart.note == "Our numbers alone", "no hollow mark is spoken of where there is none"
    assert not chart.x.falling


def test_a_loss_is_positive_and_falls_upwards(drawn: Callable[..., charts.Chart]) -> None:
    chart = drawn("negated", falling=True)
    assert [point.y for point in chart.series[0].points] == [0.1, 0.2, 0.3, 0.25, 0.15]
    assert charts.paper_y(chart, 0.1) < charts.paper_y(chart, 0.3)
    named = [figure for study in studies().values() for figure in study.figures if "loss" in figure.y_label]
    assert named and all(figure.falling for figure in named)
    forms = {series.logged.form for figure in named for series in figure.series if series.logged is not None}
    assert forms == {"negated"}


def test_what_is_counted_has_whole_ticks() -> None:
    axis = charts.plain_axis(EPOCH, 1, [1.0, 15.0])
    assert 2.5 in [value for value, _ in axis.ticks]
    assert [value for value, _ in study_lines.whole(axis).ticks] == [5, 10, 15]
