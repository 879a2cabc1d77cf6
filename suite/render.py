"""Page data + site/ -> HTML, CSV and JSON, made beside the old site, which changes only when all is there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from suite import (
    advice,
    badges,
    cells,
    charts,
    croissant,
    exports,
    files,
    intervals,
    leaderboard,
    listing,
    method_curves,
    overview,
    pages,
    pictures,
    prose,
    registry,
    rows,
    showcase,
    study_pages,
    tables,
    uncollected,
)
from suite.errors import RecordError, remedy
from suite.leaderboard import Leaderboard
from suite.machine import read_description
from suite.records import Problem, Record, read_results, record_files
from suite.setups import STATES, setup_of
from suite.sources import spell
from suite.studies import SOURCES, studies
from suite.tables import visible

log = logging.getLogger(__name__)

#: Files of `site/` that pages load as they are.
ASSETS = ("style.css", "theme.js", "table.js", "plots.js", "parts.js", "cell.js", "compare.js", "advice.js",
          "gallery.js", "mark.svg")  # fmt: skip
#: plotly.js with scatter, bar and pie charts alone, a quarter of the bundle in plotly's Python package; pages load it
#: once a chart comes into view.
PLOTLY = Path("vendor") / "plotly-basic.min.js"
#: Names the files of a built site, so that the next build knows which of them to delete.
MANIFEST = "site.json"
Warn = Callable[[str], None]


def site_folder() -> Path:
    """Templates and assets: beside `suite/` in a checkout, inside it in an installed wheel."""
    checkout, installed = Path(__file__).parent.parent / "site", Path(__file__).parent / "_site"
    return checkout if (checkout / "templates").is_dir() else installed


def build(results: Path, out: Path, *, warn: Warn = log.warning) -> Path:
    """Write the leaderboard of a results folder into `out`; returns the path of its index.html.

    Lines that are no records are skipped and told to `warn`. RecordError where there is no results folder or `out`
    cannot be written, holds records, or has files of the same names that no build put there; what was there before is
    then untouched. Other files in `out` are left alone.
    """
    if not results.is_dir():
        raise RecordError(f"no such results folder: {results} (python -m suite run makes one)")
    if any(record_files(out)):
        raise RecordError(f"{out} holds records: a site is a folder of its own, name another with --out")
    with uncollected.off():  # millions of objects and no cycles
        return _build(results, out, warn)


def _build(results: Path, out: Path, warn: Warn) -> Path:
    records, problems = _readable(results)
    for problem in problems:
        warn(str(problem))
    found = leaderboard.assemble(records, read_machines(results / "machines", warn))
    was_there = out.is_dir()
    try:
        out.mkdir(parents=True, exist_ok=True)
        beside = files.part_of(out / "site")
        for remains in (beside, *files.abandoned(out / "site")):
            shutil.rmtree(remains, ignore_errors=True)
        try:
            _write_site(found, records, len(problems), beside, results, warn)
            _move(beside, out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            if not was_there:
                with contextlib.suppress(OSError):
                    out.rmdir()  # only if nothing came of it: a folder with anything in it stays
    except OSError as error:
        raise RecordError(f"cannot write the site to {out}: {error.strerror}; {remedy(error)}") from error
    return out / "index.html"


def _readable(results: Path) -> tuple[list[Record], list[Problem]]:
    records, problems = read_results(results)
    fine = []
    for record in intervals.widened(records):
        fault = leaderboard.absurd(record)
        if fault is None:
            fine.append(record)
        else:
            problems.append(Problem(results / record.machine / f"{record.run}.jsonl", 0, fault))
    return fine, problems


def read_machines(folder: Path, warn: Warn) -> dict[str, Mapping[str, Any]]:
    """The machine descriptions of a results folder by name; what is none is told to `warn`."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() and not folder.is_symlink() else ():
        try:
            found[path.stem] = read_description(path)
        except RecordError as error:
            warn(f"{path}: {error}")
    return found


# --------------------------------------------------------------------------------------------------------------- pages


def environment(looks: charts.Looks) -> jinja2.Environment:
    """Templates that escape everything, write out what is unseen, and fail on a name that does not exist."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(site_folder() / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else visible(value),
    )
    plain = (tables.percent, tables.times, tables.day, tables.metric_text, tables.setup_text, prose.unparted,
             charts.marker, advice.lost_text, advice.needs, advice.unmeasured)  # fmt: skip
    templates.filters.update({function.__name__: function for function in plain})
    templates.filters["conditions"] = lambda record: tables.setup_text(setup_of(record), machine=False)
    templates.filters["seeds_said"] = prose.seeds_said
    templates.filters["opening"] = prose.opening
    templates.filters["first_sentence"] = prose.first_sentence
    templates.globals.update(
        page=lambda kind, name: quote(pages.page_name(kind, name)),
        fragment=lambda **fields: "&".join(f"{name}={quote(str(value), safe='')}" for name, value in fields.items()),
        mark=lambda method, board: pages.mark(method, board, looks),
        paper_x=charts.paper_x,
        paper_y=charts.paper_y,
        front_path=charts.front_path,
        joined_path=charts.joined_path,
        paper=charts,
        states=STATES,
        first_rows=pages.FIRST_ROWS,
        profile_notes=pages.PROFILE_NOTES,
        quality=rows.QUALITY,
        plan_spell=spell,
    )
    return templates


def _write_site(found: Leaderboard, records: list[Record], problems: int, to: Path, results: Path, warn: Warn) -> None:
    looks = charts.looks({name: rows.family(name) for name in found.methods})
    sections = [pages.section(board, looks) for board in found.boards]
    templates = environment(looks)
    shown = _copy_pictures(found, results / pictures.FOLDER, to / pictures.FOLDER, warn)
    digits, shards = cells.shards(found, shown)
    common: dict[str, Any] = {"found": found, "problems": problems, "catalogue": registry.catalogue(),
              "titles": {board.task: board.title for board in found.boards}, "digits": digits,
              "known": registry.tasks()}  # fmt: skip

    def page(file: str, template: str, /, **context: Any) -> None:
        _write(to / file, templates.get_template(template).render(common | context))

    _write_exports(found, to)
    described = _write_description(found, to)
    compared = study_pages.study_pages(studies().values(), records, found.cells.keys())
    for each in compared:
        page(pages.page_name("study", each.study.name), "study.html", page_of=each)
    page("index.html", "overview.html", empty=not found.boards,
         progress=overview.progress(found), matrix=listing.matrix(records),
         cards=overview.cards(found, looks),
         question=advice.question(found, looks), described=described, compared=compared,
         measured=_measured(records))  # fmt: skip
    page("gallery.html", "gallery.html", walls=showcase.walls(found, shown))
    page("measuring.html", "measuring.html", sources=SOURCES)
    page("cell.html", "cell.html")
    page("compare.html", "compare.html")
    known = registry.tasks()
    for task in found.tasks:
        own = [part for part in sections if part.board.task == task]
        page(pages.page_name("task", task), "task.html", name=task, sections=own,
             story=prose.blocks(known[task].description if task in known else ""))  # fmt: skip
    for method in found.methods:
        page(
            pages.page_name("method", method),
            "method.html",
            **pages.method_page(method, found, sections),
            curves=method_curves.curves(method, found, looks),
            badge_files=method_curves.badge_files(method, found),
        )
    by_machine: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_machine[record.machine].append(record)
    for machine in found.machines:
        page(
            pages.page_name("machine", machine),
            "machine.html",
            **pages.machine_page(machine, found, by_machine[machine]),
        )
    for part in sections:
        _write_shard(to, part.shard, pages.board_shard(part, looks))
    _write_shard(to, "advice", advice.shard(found, looks))
    for name, content in shards.items():
        _write_shard(to, f"cells-{name}", content)
    _write_badges(found, to)
    _copy_assets(to)


def _measured(records: Iterable[Record]) -> int:
    """How many networks were trained in earnest and evaluated."""
    return len({r.cell for r in records if (r.kind, r.status) == ("accuracy", "ok") and r.profile != "smoke"})


def _write_shard(to: Path, name: str, content: Any) -> None:
    """Data as a script: a page opened from a file may load scripts, but not fetch JSON."""
    _write(to / "data" / f"{name}.js", f"prunemark.add({pages.script_json(name)},{pages.script_json(content)});\n")


def _write_exports(found: Leaderboard, to: Path) -> None:
    lines = [line for board in found.boards for row in board.rows for line in exports.lines(row, board)]
    _write(to / "leaderboard.csv", exports.csv_text(lines))
    rows_ = ",\n".join(map(pages.script_json, lines))
    _write(to / "leaderboard.json", f'{{"schema":1,"license":"CC-BY-4.0","rows":[\n{rows_}\n]}}\n')


def _write_description(found: Leaderboard, to: Path) -> Markup:
    """Describe the leaderboard.csv that was written; returns the JSON-LD, inert inside a script."""
    table = (to / "leaderboard.csv").read_bytes().decode()
    columns = table.partition("\r\n")[0].split(",")
    newest = max((board.newest for board in found.boards), default="")
    description = croissant.description(table, columns, created=newest)
    _write(to / "croissant.json", json.dumps(description, indent=1) + "\n")
    return Markup(pages.script_json(description))


def _write_badges(found: Leaderboard, to: Path) -> None:
    for task in found.tasks:
        for method in found.methods:
            drawn = badges.badge(found.main_board(task), method)
            if drawn is not None:
                _write(to / "badges" / badges.file_name(method, task), badges.svg(drawn))


def _copy_pictures(found: Leaderboard, source: Path, into: Path, warn: Warn) -> frozenset[str]:
    """Copy the pictures that shown records name; the hashes of those that were there, small, and what they claim."""
    named = {digest for board in found.boards for row in board.rows for r in row.records for digest in r.gallery}
    lost = pictures.copy(named, source, into)
    if lost:
        warn(f"{source} lacks {len(lost)} of {len(named)} pictures: python -m suite check names their records")
    return frozenset(named - lost)


def _copy_assets(to: Path) -> None:
    for name in ASSETS:
        shutil.copyfile(site_folder() / name, to / name)
    shutil.copyfile(site_folder() / PLOTLY, to / "plotly.min.js")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


# -------------------------------------------------------------------------------------------------------------- moving


def _move(beside: Path, out: Path) -> None:
    """Rename every file into place, index.html last, then delete what only the build before had."""
    names = sorted(path.relative_to(beside).as_posix() for path in beside.rglob("*") if path.is_file())
    is_first = not os.path.lexists(out / MANIFEST)
    if is_first and (strange := next((each for each in names if os.path.lexists(out / each)), None)):
        raise RecordError(f"{out / strange} was put there by no build: name a folder of its own with --out")
    stale = set(_manifest(out)) - set(names)
    _write(beside / MANIFEST, json.dumps({"files": names}, indent=0) + "\n")
    pages = [each for each in names if each != "index.html"]
    # a first build that is cut off must be known as one; a later one must not forget what the one before had
    for name in (*([MANIFEST, *pages] if is_first else [*pages, MANIFEST]), "index.html"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(beside / name, out / name)
    for name in stale:
        (out / name).unlink(missing_ok=True)


def _manifest(out: Path) -> Iterator[str]:
    """The files that the build before wrote; a name that would lead out of the folder is not believed."""
    try:
        names = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in names if isinstance(names, list) else ():
        path = Path(str(name))
        if not path.is_absolute() and ".." not in path.parts and len(path.parts) <= 2:
            yield path.as_posix()
