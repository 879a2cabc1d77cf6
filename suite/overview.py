"""The overview: a card for each task with its winners, and how much of each method on each task is measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite import charts, pages, tables
from suite.charts import Chart, Looks
from suite.leaderboard import Board, Leaderboard, Tally, tally
from suite.rows import Row
from suite.winners import Winner, nearest, winners


@dataclass(frozen=True)
class Card:
    """A task on the overview: its main board, its winners, the chart that says most.

    `nearest` is the row that loses least, and what it loses, where nothing is about as good as dense.
    """

    board: Board
    winners: tuple[Winner, ...]
    nearest: tuple[Row, str] | None
    chart: Chart | None
    marks: Mapping[str, Mapping[str, Any]]


def cards(found: Leaderboard, looks: Looks) -> tuple[Card, ...]:
    """A card for each task: those with winners first, variants last, then those with most rows measured."""
    made = [card(found.main_board(task), looks) for task in found.tasks]
    return tuple(
        sorted(made, key=lambda each: (each.nearest is not None, "+" in each.board.task, -each.board.count("ok")))
    )


def card(board: Board, looks: Looks) -> Card:
    """A board's card."""
    setup = board.setups[0] if board.setups else None
    chart = charts.pareto(board, "speedup", looks, setup) if setup else charts.pareto(board, "macs", looks)
    best = winners(board)
    close = nearest(board) if all(winner.row is None for winner in best) else None
    told = None if close is None else (close, _lost(close, board))
    return Card(board, best, told, chart, pages.marks([chart], board, looks))


def _lost(row: Row, board: Board) -> str:
    """How far a row is from dense: `\u22122.85 points`, `+0.0109 (+17.5 %)`."""
    if row.change is None:
        return ""
    text = tables.difference_text(board.headline, row.change.mean)
    if board.headline.kind == "percent":
        return f"{text} points"
    share = tables.relative(row.change.mean, row.mean(f"dense_{board.headline.name}"))
    return f"{text} ({share})" if share else text


#: How much of one method on one task is measured, profile by profile.
Progress = Mapping[tuple[str, str], tuple[tuple[str, Tally], ...]]


def progress(found: Leaderboard) -> Progress:
    """By (method, task): the tallies of the task's boards."""
    return {
        (method, task): tuple(
            (board.profile, counted) for board in found.boards_of(task) if (counted := tally(board, method)).cells
        )
        for method in found.methods
        for task in found.tasks
    }
