"""Records of a task whose file is not here: shown as they came, judged by nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from suite import leaderboard, render
from suite.records import Record, encode

TASK = "speech-somewhere"


def rows_of(make_record: Callable[..., Record]) -> list[Record]:
    """Three seeds of a network whose word error rate, of which less is better, is worse than dense's."""
    return [
        make_record(
            task=TASK, method="structured", hyperparameters={"channel_ratio": 0.5}, seed=seed, profile="full",
            metrics={"wer": 0.12 + 0.001 * seed, "dense_wer": 0.1, "parameters": 10, "dense_parameters": 30, "top9": 1},
        )
        for seed in range(3)
    ]  # fmt: skip


def test_its_own_metric_leads_and_no_end_of_it_is_the_better_one(make_record: Callable[..., Record]) -> None:
    (board,) = leaderboard.assemble(rows_of(make_record), {}).boards
    (row,) = board.rows
    assert board.headline.name == "wer" and round(row.metrics["wer"].mean, 3) == 0.121
    assert row.state == "stale" and row.change is None and row.verdicts == ()


def test_its_page_shows_the_number_and_says_that_the_task_is_not_here(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    path = tmp_path / "results" / "box" / "run.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(map(encode, rows_of(make_record))))
    page = (render.build(tmp_path / "results", tmp_path / "site").parent / f"task-{TASK}.html").read_text()
    assert "cannot be used in the checkout that built the page" in page
    assert "0.121" in page and "Top-1" not in page
