"""Results for a notebook: records and leaderboard as pandas frames, charts as plotly figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from plotly import graph_objects

from suite import charts, exports, intervals, leaderboard, records, registry, render, rows
from suite.charts import Axis, Chart
from suite.errors import RecordError

#: Fields of a record that have columns of their own, `metrics.top1` and so on.
NESTED = ("metrics", "conditions", "hyperparameters", "notes")
#: Colours of the figures, told apart by colour-blind people too (Okabe and Ito's, black last).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#000000")


def results_frame(folder: str | Path = "results") -> pd.DataFrame:
    """Every valid record of a results folder as a row, oldest first, in base units.

    What is nested in a record has columns such as `metrics.top1`, `conditions.batch_size` and
    `hyperparameters.channel_ratio`; curves, samples and provenance stay as they are and have their columns even where
    there is no record. Lines that are no records are left out: `python -m suite check` names them. RecordError where
    there is no such folder.
    """
    found, _ = records.read_results(_existing(folder))
    lines = [dict(_flat(msgspec.to_builtins(record))) for record in found]
    plain = [name for name in records.Record.__struct_fields__ if name not in NESTED]
    return pd.DataFrame(lines, columns=None if lines else plain)


def _flat(record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if name in NESTED:
            yield from ((f"{name}.{key}", inner) for key, inner in (value or {}).items())
        else:
            yield name, value


def leaderboard_frame(folder: str | Path = "results") -> pd.DataFrame:
    """The lines of the leaderboard's `leaderboard.csv`: each setting, over its seeds, in each setup it was timed in."""
    boards = _assembled(folder).boards
    return pd.DataFrame([line for board in boards for row in board.rows for line in exports.lines(row, board)])


def pareto_figure(task: str, folder: str | Path = "results", axis: str = "speedup") -> graph_objects.Figure:
    """The leaderboard's chart of one task as a plotly figure: what is lost against what is gained.

    `axis` is `speedup` (in the task's first setup), `macs` or `size_bytes_compressed`. Of several profiles the most
    thorough is drawn. UsageError for an unknown axis, RecordError where nothing of the task was measured.
    """
    registry.lookup("axis", axis, {each: each for each in charts.PARETO}, listing="speed-up, MACs or file size")
    found = _assembled(folder)
    looks = charts.looks({name: rows.family(name) for name in found.methods})
    for board in found.boards_of(task):
        setup = board.setups[0] if board.setups else None
        chart = charts.pareto(board, axis, looks, setup) if setup is not None or axis != "speedup" else None
        if chart is not None:
            return chart_figure(chart)
    raise RecordError(f"nothing of task {task!r} to draw over {axis} in {folder} (python -m suite list matrix)")


def _assembled(folder: str | Path) -> leaderboard.Leaderboard:
    found, _ = records.read_results(_existing(folder))
    return leaderboard.assemble(
        intervals.widened(found), render.read_machines(Path(folder) / "machines", warn=lambda text: None)
    )


def _existing(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise RecordError(f"no such results folder: {folder}")
    return Path(folder)


def chart_figure(chart: Chart) -> graph_objects.Figure:
    """A chart of the pages as a plotly figure: points with their intervals, the front, the dense network's line."""
    figure = graph_objects.Figure(
        layout={
            "title": {"text": chart.title, "subtitle": {"text": chart.note}},
            "xaxis": _axis(chart.x),
            "yaxis": _axis(chart.y),
            "template": "plotly_white",
            "hovermode": "closest",
        }
    )
    if chart.front:
        across, up = zip(*chart.front, strict=True)
        figure.add_scatter(x=across, y=up, mode="lines", line_shape="vh", name="nothing beats these", hoverinfo="skip")
    for series in chart.series:
        points = series.points
        colour = COLOURS[-1] if series.colour is None else COLOURS[series.colour % (len(COLOURS) - 1)]
        figure.add_scatter(
            x=[point.x for point in points],
            y=[point.y for point in points],
            name=series.name,
            mode="lines+markers" if series.joined else "markers",
            marker={"symbol": f"{series.shape}-open" if series.hollow else series.shape, "size": 11, "color": colour},
            text=[point.label for point in points],
            hoverinfo="text",
            customdata=[point.cell for point in points],
            error_x={
                "type": "data",
                "array": [0 if point.high is None else point.high - point.x for point in points],
                "arrayminus": [0 if point.low is None else point.x - point.low for point in points],
                "color": colour,
            },
            error_y={"type": "data", "array": [point.deviation or 0 for point in points], "color": colour},
        )
    if chart.reference is not None:
        figure.add_hline(y=chart.reference, line_dash="dash", annotation_text="dense")
    return figure


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "title": {"text": axis.label},
        "type": "log" if axis.log else "linear",
        "tickvals": [value for value, _ in axis.ticks],
        "ticktext": [text for _, text in axis.ticks],
        **({"autorange": "reversed"} if axis.falling else {}),
    }
