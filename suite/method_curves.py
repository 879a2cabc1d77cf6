"""A method's own curves, board by board: its sweep, and the steps that it logged on the way. Pure."""

from __future__ import annotations

from dataclasses import replace

from suite import badges, charts
from suite.charts import Chart, Looks
from suite.leaderboard import Board, Leaderboard


def curves(method: str, found: Leaderboard, looks: Looks) -> dict[tuple[str, str], tuple[Chart, ...]]:
    """The method's charts by board (task, slug); boards where it has none are left out."""
    made = {(board.task, board.slug): _of_board(method, board, looks) for board in found.boards}
    return {key: drawn for key, drawn in made.items() if drawn}


def _of_board(method: str, board: Board, looks: Looks) -> tuple[Chart, ...]:
    own = replace(board, rows=tuple(row for row in board.rows if row.method == method))
    return tuple(chart for chart in (charts.sweep(own, looks), charts.steps(own, looks)) if chart is not None)


def badge_files(method: str, found: Leaderboard) -> dict[str, str]:
    """The method's badges: task -> file name; tasks for which none is written are left out."""
    return {task: badges.file_name(method, task) for task in found.tasks
            if badges.badge(found.main_board(task), method) is not None}  # fmt: skip
