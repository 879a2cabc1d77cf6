"""Results in a notebook: the frames and figures say what the records say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from suite import leaderboard_frame, notebook, pareto_figure, results_frame
from suite.errors import RecordError, UsageError

OURS = Path(__file__).parent.parent.parent / "results"
TASK = "vgg16-cifar10"


def test_frame_has_a_row_for_every_record_and_a_column_for_what_is_nested() -> None:
    found = results_frame(OURS)
    lines = sum(len(path.read_text().splitlines()) for path in OURS.glob("*/*.jsonl"))
    assert len(found) == lines
    dense = found[(found.method == "dense") & (found.task == TASK) & (found.kind == "accuracy")].iloc[-1]
    assert dense["metrics.parameters"] == 14_728_266
    assert dense["metrics.top1"] == dense["metrics.dense_top1"] > 0.8
    timed = found[(found.kind == "latency") & (found.status == "ok")]
    assert len(timed) > 100
    assert (timed["metrics.speedup_low"] <= timed["metrics.speedup"]).all()
    assert set(timed["conditions.cache"]) <= {"hot", "cold"}


def test_leaderboard_frame_is_the_csv_of_the_pages() -> None:
    found = leaderboard_frame(OURS)
    own = found[(found.task == TASK) & (found.state == "ok")]
    assert {"dense", "l1-three-stage", "quantize-static"} <= set(own.method)
    assert pd.api.types.is_numeric_dtype(own.speedup)
    assert own[own.method == "dense"].change.isna().all() or (own[own.method == "dense"].change == 0).all()


@pytest.mark.parametrize("axis", ["speedup", "macs", "size_bytes_compressed"])
def test_figure_shows_every_point_of_the_leaderboard(axis: str) -> None:
    found = leaderboard_frame(OURS)
    figure = pareto_figure(TASK, OURS, axis)
    shown = {(trace.name, round(y, 6)) for trace in figure.data if trace.mode == "markers" for y in trace.y}
    known = {(row.method, round(row.top1, 6)) for row in found[found.task == TASK].itertuples() if row.top1 > 0}
    assert shown and shown <= known
    assert any(name == "l1-three-stage" for name, _ in shown)
    if axis == "speedup":
        l1 = next(trace for trace in figure.data if trace.name == "l1-three-stage")
        speeds = found[(found.task == TASK) & (found.method == "l1-three-stage")].speedup
        assert set(l1.x) <= set(speeds) and all(width > 0 for width in l1.error_x.array)
    assert figure.to_json()


def test_what_is_not_there_is_named(results_dir: Path, tmp_path: Path) -> None:
    calls: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: results_frame(tmp_path / "none"), RecordError, "no such results folder"),
        (lambda: pareto_figure(TASK, OURS, "speedp"), UsageError, "did you mean 'speedup'"),
        (lambda: pareto_figure("nothing", OURS), RecordError, "nothing of task 'nothing'"),
    ]
    for call, kind, text in calls:
        with pytest.raises(kind, match=text):
            call()


def test_frame_of_an_empty_folder_is_empty(tmp_path: Path) -> None:
    assert results_frame(tmp_path).empty and notebook.leaderboard_frame(tmp_path).empty
    assert {"task", "method", "kind", "status", "curve"} <= set(results_frame(tmp_path).columns)
