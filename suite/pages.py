"""Page data -> what each page of the leaderboard says, and the shards that its scripts read. Pure: no file is read."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite import charts, floors, plan, prose, registry, rows, tables
from suite.charts import Chart, Looks
from suite.columns import Column, columns, facets, own_setup, setup_facets
from suite.errors import SuiteError
from suite.leaderboard import CONTROL, Board, Leaderboard
from suite.records import Record
from suite.registry import Method
from suite.rows import Row
from suite.setups import Setup
from suite.sources import spell
from suite.tables import Entry, Line, visible
from suite.winners import certain_speedup, front, gain, is_faster

#: Rows of a table in the HTML itself; scripts draw the others when they are asked for.
FIRST_ROWS = 50
#: What a profile other than `full` is called wherever its numbers are shown.
PROFILE_NOTES = {
    "smoke": "Smoke profile: seconds of training on a few images. It shows that everything runs, and nothing else.",
    "quick": "Quick profile: a shortened training. Accuracies are below what network and method can do.",
}
EMBEDDED_NOTE = "Embedded stand-in: small data that needs no download. It shows the pipeline, not the method's worth."
#: Which command would fill an empty chart.
_NEEDS = {"speedup": "bench", "macs": "run", "size_bytes_compressed": "run"}


def page_name(kind: str, name: str) -> str:
    """The file of a page; a name that is no plain file name gets a hash, so that no two pages share a file."""
    if re.fullmatch(r"[a-z0-9][a-z0-9+._-]{0,99}", name):
        return f"{kind}-{name}.html"
    plain = re.sub(r"[^a-z0-9+._-]+", "-", name.lower())[:60].strip("-.")
    return f"{kind}-{plain or 'unnamed'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.html"


@dataclass(frozen=True)
class Figure:
    """A place for a chart: the chart, or what to run where there is none yet (None: nothing would help)."""

    key: str
    title: str
    chart: Chart | None
    missing: str | None


@dataclass(frozen=True)
class Section:
    """A board as pages show it. `fronts` are the keys of the front's rows, setup by setup; `marks` the legend.

    `facets` are (field, label, values): how rows were timed, to filter by.
    """

    board: Board
    columns: tuple[Column, ...]
    facets: tuple[tuple[str, str, tuple[str, ...]], ...]
    lines: tuple[Line, ...]
    figures: tuple[Figure, ...]
    fronts: tuple[frozenset[str], ...]
    notes: tuple[str, ...]
    marks: Mapping[str, Mapping[str, Any]]

    @property
    def shard(self) -> str:
        return f"{page_name('board', self.board.task).removesuffix('.html')}-{self.board.slug}"

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """The badges that rows bear beside their state."""
        states = {row.state for row in self.board.rows}
        found = dict.fromkeys(badge for line in self.lines for badge in line.badges)
        return tuple(badge for badge in found if badge[0] not in states)

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.family for row in self.board.rows))

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.method for row in self.board.rows))


def section(board: Board, looks: Looks) -> Section:
    """A board with its table's texts and its charts."""
    first = board.setups[0] if board.setups else None
    wanted: list[tuple[str, str, Chart | None]] = [
        (axis, f"{board.headline.label} and {charts.PARETO[axis][0]}",
         charts.pareto(board, axis, looks, first if axis == "speedup" else None))
        for axis in charts.PARETO
    ]  # fmt: skip
    wanted.insert(1, ("sweep", charts.SWEEP, charts.sweep(board, looks)))
    figures = [Figure(key, title, chart, _missing(key, board)) for key, title, chart in wanted]
    logged = charts.steps(board, looks)
    if logged is not None:  # most methods log no steps: no empty place is kept for it
        figures.append(Figure("steps", logged.title, logged, None))
    notes = [_absent(board), PROFILE_NOTES.get(board.profile, ""), EMBEDDED_NOTE if board.embedded else ""]
    return Section(
        board=board,
        columns=columns(board),
        facets=facets(board),
        lines=tables.lines(board),
        figures=tuple(figures),
        fronts=tuple(frozenset(row.key for row in front(board, "speedup", setup)) for setup in board.setups),
        notes=tuple(filter(None, notes)),
        marks=marks([figure.chart for figure in figures], board, looks),
    )


def _absent(board: Board) -> str:
    """What a reader must know of a task that cannot be used here; empty for all others."""
    if board.task in registry.tasks():
        return ""
    why = registry.unavailable_tasks().get(board.task, "its file or package is not installed")
    return (f"This task cannot be used in the checkout that built the page: {why}. Its records stand as they came; "
            "what is better or worse, and whether they are of today's code, is not known here.")  # fmt: skip


def marks(drawn: Sequence[Chart | None], board: Board, looks: Looks) -> dict[str, Mapping[str, Any]]:
    """The markers of the methods that charts show, family by family."""
    names = dict.fromkeys(series.name for chart in drawn if chart is not None for series in chart.series)
    known = list(charts.FAMILIES)
    ordered = sorted(names, key=lambda name: known.index(each) if (each := rows.family(name)) in known else len(known))
    return {name: mark(name, board, looks) for name in ordered}


def _missing(key: str, board: Board) -> str | None:
    if board.task not in registry.tasks():
        return None
    verb = _NEEDS.get(key, "run")
    again = " --force" if verb == "bench" and board.contended else ""  # what a busy machine measured is fresh
    return f"python -m suite {verb} --task {board.task} --profile {board.profile}{again}"


# -------------------------------------------------------------------------------------------------------------- shards


def board_shard(part: Section, looks: Looks) -> dict[str, Any]:
    """What table.js and plots.js read of a board: texts made here, so that a page and its script agree."""
    speedups = [charts.pareto(part.board, "speedup", looks, setup) for setup in part.board.setups]
    return {
        "columns": [
            {
                "key": c.key,
                "label": c.label,
                "unit": c.unit,
                "title": c.title,
                "better": c.better,
                "shown": c.shown,
                "fields": c.fields,
            }
            for c in part.columns
        ],
        "headline": part.board.headline.label,
        "order": f"{'-' if part.board.headline.higher_is_better else ''}{part.board.headline.name}",
        "setups": [tables.setup_text(setup) for setup in part.board.setups],
        "facets": [setup_facets(setup) for setup in part.board.setups],
        "marks": {name: mark(name, part.board, looks) for name in part.methods},
        "rows": [_row_data(line, part) for line in part.lines],
        "charts": {f.key: chart_data(f.chart) for f in part.figures if f.key != "speedup"},
        "speedups": [chart_data(chart) for chart in speedups],
    }


def mark(method: str, board: Board, looks: Looks) -> dict[str, Any]:
    """A method's marker: `colour` is a CSS class."""
    colour, shape = looks.get(method, (0, "circle"))
    hollow = any(CONTROL in row.family for row in board.rows if row.method == method)
    return {"colour": "dense" if colour is None else f"c{colour}", "path": charts.marker(shape), "hollow": hollow,
            "family": rows.family(method)}  # fmt: skip


def _row_data(line: Line, part: Section) -> dict[str, Any]:
    row, fields = line.row, {column.key: column.fields for column in part.columns}
    return {
        "task": row.task, "profile": row.profile, "method": row.method, "page": page_name("method", row.method),
        "family": row.family, "setting": row.setting, "hyperparameters": dict(row.hyperparameters),
        "cell": row.id, "state": row.state, "badges": [list(badge) for badge in line.badges],
        "reason": row.reason, "owed": list(row.owed), "data_sha256": row.data_sha256,
        "front": [row.key in keys for keys in part.fronts],
        "timed": [_timed_as(row, setup) for setup in part.board.setups],
        "fixed": {key: _entry_data(entry, fields.get(key, ())) for key, entry in line.fixed.items()},
        "by_setup": [{key: _entry_data(entry, fields.get(key, ())) for key, entry in each.items()}
                     for each in line.by_setup],
    }  # fmt: skip


def _timed_as(row: Row, setup: Setup) -> dict[str, str] | int:
    """0: not timed in this setup; 1: as the setup says; else what differs, as of an INT8 network beside eager ones."""
    measured = row.speeds.get(setup)
    if measured is None:
        return 0
    said = setup_facets(setup)
    return {name: value for name, value in setup_facets(own_setup(measured)).items() if said.get(name) != value} or 1


def _entry_data(entry: Entry, fields: Sequence[str]) -> list[Any]:
    """[text, sub, value, what a download has under each of `fields`], and the mark if there is one."""
    data = [_rounded(entry.data.get(name)) for name in fields]
    return [entry.text, entry.sub, _rounded(entry.value), data, *([entry.mark] if entry.mark else [])]


def _rounded(value: Any) -> Any:
    """A float at ten significant digits: what is beyond them is not worth its bytes."""
    return float(f"{value:.10g}") if isinstance(value, float) else value


def chart_data(chart: Chart | None) -> dict[str, Any] | None:
    """A chart for plotly."""
    if chart is None:
        return None
    return {
        "title": chart.title, "note": chart.note,
        "x": _axis_data(chart.x), "y": _axis_data(chart.y),
        "series": [
            {"name": s.name, "colour": s.colour, "shape": s.shape, "hollow": s.hollow, "joined": s.joined,
             "points": [[p.x, p.y, p.low, p.high, p.deviation, p.label, p.cell] for p in s.points]}
            for s in chart.series
        ],
        "front": [list(point) for point in chart.front], "reference": chart.reference,
    }  # fmt: skip


def _axis_data(axis: charts.Axis) -> dict[str, Any]:
    return {"label": axis.label, "low": axis.low, "high": axis.high, "log": axis.log, "falling": axis.falling,
            "ticks": [list(tick) for tick in axis.ticks]}  # fmt: skip


def script_json(value: Any) -> str:
    """JSON that is inert inside a script: no `<`, nothing unseen, no bare line separators, no NaN."""
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=dict)
    except ValueError:  # an infinity in somebody's curve: rare, and looking for it in every value takes most of a build
        text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    text = _ESCAPE.sub(lambda match: _written_out(match.group()), text)  # whatever acts unseen, JSON has escaped
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


#: An escape of JSON: a pair of surrogates, which is one character, or a single one.
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(?:u....|.)")


@functools.lru_cache(1024)
def _written_out(escape: str) -> str:
    if escape in (r"\\", r"\"") or len(escape) == 12:
        return escape
    return json.dumps(visible(json.loads(f'"{escape}"')))[1:-1]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --------------------------------------------------------------------------------------------------------------- pages


def commands(method: Method, task: str) -> tuple[str, ...]:
    """How to run a method's headline point, and how to measure it."""
    hyperparameters = plan.points(method, "first")[0]
    arguments = plan.Cell(task, method.name, hyperparameters, 0, "quick").arguments
    return (f"python -m suite run {arguments}", f"python -m suite bench {arguments}")


def method_page(name: str, found: Leaderboard, sections: Sequence[Section]) -> dict[str, Any]:
    """What a method's page says: its own words, its schema, its rows on every board."""
    known = registry.catalogue().methods.get(name)
    own = [(part, [line for line in part.lines if line.row.method == name]) for part in sections]
    shown = [
        (part, [line for line in lines if line.row.state != "missing"], len(lines)) for part, lines in own if lines
    ]
    shown.sort(key=lambda each: (each[0].board.embedded, -len(each[1])))
    stand_ins = [task for task, entry in registry.tasks().items() if entry.embedded]
    try:
        ways = commands(known, stand_ins[0]) if known and stand_ins else ()
    except SuiteError:  # its points do not fit its own signature
        ways = ()
    return {
        "name": name,
        "method": known,
        "file": known.module.replace(".", "/") + ".py" if known else None,
        "story": prose.blocks(known.description) if known else (),
        "paper_url": _paper_url(known.paper) if known else None,
        "points": [_point(known, point) for point in known.points] if known else [],
        "commands": ways,
        "boards": [(part, lines, planned - len(lines)) for part, lines, planned in shown if lines],
        "unmeasured": [part.board for part, lines, _ in shown if not lines],
    }


def _point(method: Method, point: Mapping[str, Any]) -> str:
    unset = "every default" if method.hyperparameters else "no settings"
    return ", ".join(f"{name} {spell(value)}" for name, value in point.items()) or unset


def _paper_url(paper: str) -> str | None:
    found = re.search(r"arXiv:(\d{4}\.\d{4,5})", paper)
    return f"https://arxiv.org/abs/{found.group(1)}" if found else None


@dataclass(frozen=True)
class Timed:
    """What was measured in one setup of one board, and how many of its rows may be compared.

    `fastest` is None where no row is certainly faster than dense.
    `over_eager`: the fastest is an INT8 network, compiled, and its speed-up is over the eager dense one.
    """

    board: Board
    setup: Setup
    rows: int
    contended: int
    compared: int
    fastest: float | None
    interval: tuple[float, float] | None
    over_eager: bool


def _timed(board: Board, setup: Setup) -> Timed:
    measured = [row.speeds[setup] for row in board.rows if setup in row.speeds]
    speeds = [(speed, row) for row in board.rows if setup in row.speeds and row.method != plan.DENSE
              if (speed := gain(row, "speedup", setup)) is not None]  # fmt: skip
    certain = [(speed, row) for speed, row in speeds if is_faster(row, setup)]
    fastest, row = max(certain, key=lambda pair: certain_speedup(pair[1], setup) or 0.0, default=(None, None))
    interval, over_eager = (None, False) if row is None else (row.speeds[setup].interval, row.speeds[setup].over_eager)
    contended = sum(each.contended for each in measured)
    return Timed(board, setup, len(measured), contended, len(speeds), fastest, interval, over_eager)


def machine_page(name: str, found: Leaderboard, records: Sequence[Record]) -> dict[str, Any]:
    """What a machine's page says: hardware, versions, noise floor, what was measured there."""
    versions: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for package, version in record.versions.items():
            versions[package].add(version)
    timed = [_timed(board, setup) for board in found.boards for setup in board.setups if setup.machine == name]
    return {
        "name": name,
        "hardware": [(label, text) for label, text in facts(found.machines.get(name, {})) if label != "slug"],
        "versions": [(package, ", ".join(sorted(each))) for package, each in sorted(versions.items())],
        "noise": floors.told([record for record in found.noise if record.machine == name]),
        "timed": timed,
        "records": len(records),
    }


def facts(value: Mapping[str, Any], prefix: str = "", most: int = 200) -> list[tuple[str, str]]:
    """Any JSON object as (label, text) lines, nested names joined; bytes in binary units."""
    found: list[tuple[str, str]] = []
    for name, each in value.items():
        label = f"{prefix}{str(name).removesuffix('_bytes').replace('_', ' ')}"
        if isinstance(each, Mapping) and len(prefix) < 60:
            found += facts(each, f"{label} / ", most)
        elif isinstance(each, list | tuple):
            found.append((label, ", ".join(map(str, each)) or "none"))
        elif str(name).endswith("_bytes") and isinstance(each, int | float):
            found.append((label, tables.size(each)))
        else:
            found.append((label, tables.NOTHING if each is None else spell(each)))
    return found[:most]
