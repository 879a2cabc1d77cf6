"""Charts: which way is better, what is off the paper, and marks that people who see few colours can tell apart."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import charts, columns, leaderboard, plan, registry, rows, tables
from suite.leaderboard import Board
from suite.records import Record
from suite.winners import winners

TASK = "autoencoder-roadscenes"
STYLE = Path(__file__).parents[2] / "site" / "style.css"
Make = Callable[..., Record]


@pytest.fixture
def lossy(make_record: Make) -> Callable[..., Board]:
    """`lossy(0.2, 0.4)`: a board of networks with these losses, each with half the MACs of the one before."""

    def call(*losses: float) -> Board:
        method = "structured"
        found = []
        for index, loss in enumerate(losses):
            metrics = {"loss": loss, "dense_loss": 0.2, "l1": loss / 2, "psnr": 20.0, "ssim": 0.8, "ms_ssim": 0.9,
                       "parameters": 10, "dense_parameters": 20, "macs": 100 / 2**index, "dense_macs": 200}  # fmt: skip
            hyperparameters = registry.method(method).complete({"channel_ratio": round(0.5 - 0.01 * index, 2)})
            found.append(make_record(task=TASK, method=method, hyperparameters=hyperparameters, metrics=metrics,
                                     freshness=plan.current_freshness(TASK, method)))  # fmt: skip
        (board,) = leaderboard.assemble(found, {}).boards
        return board

    return call


def drawn(board: Board) -> charts.Chart:
    chart = charts.pareto(board, "macs", charts.looks({"structured": "structured pruning"}))
    assert chart is not None
    return chart


def test_up_is_better_for_a_loss_too(lossy: Callable[..., Board]) -> None:
    chart = drawn(lossy(0.2, 0.3))
    assert charts.paper_y(chart, 0.2) < charts.paper_y(chart, 0.3)  # pixels count downwards
    assert chart.y.falling and "lower is better" in chart.y.label
    assert [tick for _, tick in chart.y.ticks] == sorted(tick for _, tick in chart.y.ticks)


def test_the_front_of_a_loss_keeps_the_lower_one(lossy: Callable[..., Board]) -> None:
    assert [y for _, y in drawn(lossy(0.2, 0.3)).front] == [0.2, 0.3]
    assert [y for _, y in drawn(lossy(0.3, 0.2)).front] == [0.2]


def test_a_mark_opens_the_first_cell_that_counts_as_its_row_does(one: Make) -> None:
    standard = plan.points(registry.method("l1-three-stage"))[:2]
    records = [one(seed=1, hyperparameters=hyperparameters) for hyperparameters in standard]
    (board,) = leaderboard.assemble(records, {}).boards
    rows_ = [row for row in board.rows if row.state == "ok"]
    assert [row.cells[0].state for row in rows_] == ["missing", "missing"], "seed 0 is owed"
    cells = {record.cell[:16] for record in records}
    assert {row.cell[:16] for row in rows_} == cells
    for chart in (charts.pareto(board, "macs", {}), charts.sweep(board, {}), charts.steps(board, {})):
        assert chart is not None
        assert {point.cell for series in chart.series for point in series.points} <= cells


@pytest.fixture
def accurate(make_record: Make) -> Callable[..., Board]:
    """`accurate(({"channel_ratio": 0.5}, 0.9), ...)`: a board of `structured` with these accuracies; dense has 0.2."""

    def call(*measured: tuple[dict[str, Any], float]) -> Board:
        task, found = "vgg16-digits", []
        for index, (setting, top1) in enumerate((*measured, ({}, 0.2))):
            name = "structured" if setting else plan.DENSE
            metrics = {"top1": top1, "dense_top1": 0.2, "parameters": 10, "nonzero_parameters": 10 - index,
                       "dense_parameters": 20, "macs": 100, "dense_macs": 200}  # fmt: skip
            given = registry.method(name).complete(setting) if setting else {}
            found.append(make_record(task=task, method=name, hyperparameters=given, metrics=metrics,
                                     freshness=plan.current_freshness(task, name)))  # fmt: skip
        (board,) = leaderboard.assemble(found, {}).boards
        return board

    return call


def test_dense_is_on_the_chart_however_far_it_is_behind(accurate: Callable[..., Board]) -> None:
    chart = drawn(accurate(({"channel_ratio": 0.5}, 0.9), ({"channel_ratio": 0.4}, 0.1)))
    assert {point.y for series in chart.series for point in series.points} == {0.9, 0.2}
    assert chart.y.low < 0.2 and "1 worse row off the chart" in chart.note


def test_rows_that_no_line_joins_are_said_to_be_left_out_of_the_sweep(accurate: Callable[..., Board]) -> None:
    joined = [({"channel_ratio": ratio}, 0.9) for ratio in (0.5, 0.4, 0.3)]
    alone = ({"channel_ratio": 0.3, "importance": "taylor"}, 0.8)
    notes = [charts.sweep(accurate(*rows), {}).note for rows in (joined, [*joined, alone])]  # type: ignore[union-attr]
    assert "left out" not in notes[0] and notes[1].endswith(". 1 row without such a neighbour left out")


def test_a_loss_beyond_all_others_is_said_to_be_off_the_chart(lossy: Callable[..., Board]) -> None:
    chart = drawn(lossy(0.2, 0.3, 9.0))
    assert chart.y.high < 1 and "1 worse row off the chart" in chart.note


def test_a_loss_is_compared_in_its_own_unit_and_in_percent(lossy: Callable[..., Board]) -> None:
    board = lossy(0.209, 0.19)
    entries = {line.row.mean("loss"): line.entry("change") for line in tables.lines(board) if line.row.change}
    assert entries[0.209].text == "+0.009" and "+4.5 %" in entries[0.209].sub
    assert entries[0.19].text == "\u22120.01" and "\u22125.0 %" in entries[0.19].sub
    keys = [column.key for column in columns.columns(board)]
    assert keys[1:9] == ["loss", "speedup", "promised", "change", "l1", "psnr", "ssim", "ms_ssim"]
    words = " ".join(f"{column.label} {column.unit} {column.title}" for column in columns.columns(board))
    assert "points" not in words and "top" not in words.lower().replace("stop", "")


def test_as_good_as_dense_is_within_five_percent_of_its_loss(lossy: Callable[..., Board]) -> None:
    assert winners(lossy(0.2099))[2].row is not None
    assert winners(lossy(0.2101))[2].row is None


def test_a_family_has_a_shape_and_its_methods_have_colours() -> None:
    families = {name: rows.family(name) for name in registry.catalogue().methods}
    looks = charts.looks(families)
    assert looks["dense"] == (None, "star")
    assert {charts.FAMILIES[families[name]] for name in looks} == {shape for _, shape in looks.values()}
    for one, other in itertools.combinations(looks, 2):
        assert looks[one] != looks[other], (one, other)
        assert (families[one] == families[other]) == (looks[one][1] == looks[other][1])


# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0; they act on linear light.
BLINDNESS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


def linear(colour: str) -> list[float]:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def lab(light: list[float]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear sRGB under D65."""
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    ratios = [sum(a * b for a, b in zip(line, light, strict=True)) / w for line, w in zip(to_xyz, white, strict=True)]
    f = [max(r, 0.0) ** (1 / 3) if r > 0.008856 else 7.787 * r + 16 / 116 for r in ratios]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def palettes() -> dict[str, dict[str, str]]:
    """The colours of the light and the dark theme by name."""
    blocks = re.findall(r":root[^{]*\{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block)) for block in blocks]
    return {"light": found[0], "dark": found[1], "dark by choice": found[2]}


def test_both_ways_to_the_dark_have_the_same_colours() -> None:
    assert palettes()["dark"] == palettes()["dark by choice"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_marks_of_one_shape_are_told_apart_without_red_and_green(theme: str, blindness: str) -> None:
    looks = charts.looks({name: rows.family(name) for name in registry.catalogue().methods})
    colours = palettes()[theme]

    def seen(colour: int) -> tuple[float, float, float]:
        light = linear(colours[f"c{colour}"])
        return lab([sum(a * b for a, b in zip(line, light, strict=True)) for line in BLINDNESS[blindness]])

    for (one, (a, shape)), (other, (b, same)) in itertools.combinations(looks.items(), 2):
        if shape == same and a is not None and b is not None:
            distance = sum((x - y) ** 2 for x, y in zip(seen(a), seen(b), strict=True)) ** 0.5
            assert distance > 20, (one, other, distance)  # a difference of 2.3 is just noticeable


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_stand_out_from_the_surface(theme: str) -> None:
    colours = palettes()[theme]

    def luminance(name: str) -> float:
        red, green, blue = linear(colours[name])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for index in range(charts.COLOURS):
        low, high = sorted((luminance(f"c{index}"), luminance("surface")))
        assert (high + 0.05) / (low + 0.05) >= 3, index  # WCAG 1.4.11


def test_a_loss_on_validation_data_is_drawn_as_one_and_told_from_that_on_the_test_split(make_record: Make) -> None:
    curve: list[dict[str, Any]] = [{"step": step, "parameters": 20 - step, "val": -0.3 - step / 100} for step in (0, 1)]
    metrics = {"loss": 0.3, "dense_loss": 0.2, "parameters": 10, "dense_parameters": 20}
    record = make_record(
        task=TASK,
        method="structured",
        hyperparameters=registry.method("structured").complete({}),
        freshness=plan.current_freshness(TASK, "structured"),
        metrics=metrics,
        curve=curve,
    )
    (board,) = leaderboard.assemble([record], {}).boards
    chart = charts.steps(board, charts.looks({"structured": "structured pruning"}))
    assert (
        chart is not None and chart.y.label.startswith("Loss on validation data (lower is better") and chart.y.falling
    )
    assert [point.y for each in chart.series for point in each.points] == [0.3, 0.31], "the score logged is minus it"
