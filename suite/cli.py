"""`python -m suite ...`: arguments -> the calls of the other modules, and all printing to standard output."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import records, registry, streams
from suite.errors import DataError, SuiteError, UsageError, remedy
from suite.options import (
    RESULTS,
    Parser,
    add_cell_options,
    believed,
    cells_of,
    data_root,
    path,
    positive,
    require_folder,
    require_study,
    say_unusable,
    session_of,
)
from suite.plan import Cell
from suite.progress import Progress

if TYPE_CHECKING:
    from suite.execute import Outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 failed, 2 usage. What a user can mend is one line."""
    streams.open_closed()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # where it is not UTF-8, "?" stands for what it lacks
    options = None
    try:
        options = _parser().parse_args(arguments)
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except SuiteError as error:
        print(f"prunemark: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"prunemark: interrupted; {_what_is_left(options)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer has nowhere to go
        where = f"{error.filename}: " if error.filename else ""
        print(f"prunemark: {where}{error.strerror or error}; {remedy(error)}", file=sys.stderr)
        return 1


def _what_is_left(options: argparse.Namespace | None) -> str:
    """What a command that was interrupted leaves behind."""
    asked = {} if options is None else vars(options)
    if asked.get("command") in (_list, _plan, _check, _doctor) or asked.get("table"):
        return "it changes nothing"
    if asked.get("command") not in (_run, _bench, _study, _merge):
        return f"{'what was trained' if asked.get('keep') else 'nothing'} is kept, the same command begins anew"
    if asked.get("force"):
        return "what was finished is kept; with --force the command begins anew, without it what is fresh is left alone"
    return "what was finished is kept, the same command goes on from there"


def _parser() -> Parser:
    parser = Parser(prog="python -m suite", description="Prunemark: train, compress, measure, show.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, call: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=call, parser=added)
        return added

    listing = command("list", _list, "tasks, methods or studies that are registered; what runs on what (matrix)")
    listing.add_argument("what", choices=("tasks", "methods", "studies", "matrix"))
    listing.add_argument("--results", type=path, default=RESULTS, help="of matrix: where it was measured")
    listing.add_argument("name", nargs="?", help="show this one whole")
    listing.add_argument("--json", action="store_true")
    add_cell_options(command("run", _run, "train, compress and evaluate cells"), "run")
    measured = command(
        "bench", _bench, "measure latency, memory and energy of cells (compressing first what is missing)"
    )
    add_cell_options(measured, "bench")
    study = command("study", _study, "run every cell of a paper's table or figure (--task, --method: some of them)")
    study.add_argument("name")
    add_cell_options(study, "study")
    study.add_argument("--bench", action="store_true", help="also measure the costs that its tables ask for")
    study.add_argument("--table", action="store_true", help="run nothing: print the paper's numbers beside ours")
    planned = command("plan", _plan, "which cells there are, which are owed, what they will cost")
    add_cell_options(planned, "plan")
    planned.add_argument("--missing", action="store_true", help="only what has no fresh record")
    planned.add_argument("--study", action="append", default=[], metavar="NAME", help="only what a study takes, or all")
    check = command("check", _check, "validate records; exit 1 and name each bad one")
    where = check.add_mutually_exclusive_group()
    where.add_argument("folder", nargs="?", type=path, metavar="RESULTS", help="default: results")
    where.add_argument("--results", type=path, help="the same")
    check.add_argument("--list", action="store_true", help="name the checks")
    check.add_argument("--strict", action="store_true", help="exit 1 for warnings too")
    merge = command("merge", _merge, "add the records of other results folders")
    merge.add_argument("sources", nargs="+", type=path, metavar="SRC")
    merge.add_argument("--into", type=path, required=True)
    site = command("site", _site, "build the leaderboard's pages")
    site.add_argument("--results", type=path, default=RESULTS, help="folder of the records (default: results)")
    site.add_argument("--out", type=path, default=Path("site/public"), help="of the pages (default: site/public)")
    handed = command("export", _export, "hand over one cell's compressed model as a file")
    add_cell_options(handed, "export")
    handed.add_argument("--format", required=True, help="safetensors, onnx or pt2")
    handed.add_argument("--out", type=path, required=True, metavar="FILE")
    verified = command("verify", _verify, "measure a published record again: do the two agree within both intervals?")
    verified.add_argument("record", help="CELL, CELL/KIND, CELL/KIND/name=value,... as its page shows, or FILE:LINE")
    verified.add_argument("--keep", action="store_true", help="write what is measured to the results; trains again")
    verified.add_argument("--results", type=path, default=RESULTS)
    verified.add_argument("--artifacts", type=path, help="folder of the models")
    verified.add_argument("--json", action="store_true")
    conform = command("conform", _conform, "the conformance test of a method")
    conform.add_argument("method", help="a registered name, or the path of a Python file")
    conform.add_argument("--task", action="append", help="only on this task (default: every embedded one)")
    conform.add_argument("--points", choices=("all", "first"), default="first", help="tried (default: the headline)")
    conform.add_argument("--timeout", type=positive, metavar="SECONDS", help="of each task (default: 600)")
    doctor = command("doctor", _doctor, "what this machine can run: devices, data found, versions")
    download = command("download", _download, "fetch a data set through torchvision")
    download.add_argument("name")
    for taking in (verified, doctor, download):
        taking.add_argument("--data", type=path, help="folder of the data sets")
    return parser


# ------------------------------------------------------------------------------------------------------------ commands


def _run(options: argparse.Namespace) -> int:
    cells = cells_of(options)  # before torch is loaded: a misspelt name is answered at once
    from suite import execute

    return _report(execute.compress(cells, session_of(options), options.executor), cells, options)


def _bench(options: argparse.Namespace) -> int:
    cells = cells_of(options)
    from suite import conditions, execute

    session = session_of(options)

    def rows(cores: int) -> Sequence[Any]:
        return conditions.standard_rows(options.device, options.rows, cores=cores)

    return _report(execute.benchmark(cells, rows, session, options.executor), cells, options)


def _study(options: argparse.Namespace) -> int:
    from suite.studies import studies

    require_study(options)
    from suite import comparison, intervals, side_by_side, study_plan

    study = registry.lookup("study", options.name, studies(), listing="python -m suite list studies")
    if options.table:
        if options.task or options.method:
            raise UsageError("--table prints the whole study: leave out --task and --method")
        require_folder(options.results, there=options.results != RESULTS)
        done = comparison.compare(study, comparison.index(intervals.widened(believed(options.results))))
        print(json.dumps(side_by_side.entry(done)) if options.json else "\n".join(side_by_side.lines(done)))
        return 0
    cells = study_plan.cells(study, seeds=options.seed or [0], profile=options.profile)
    cells = study_plan.only(cells, tasks=options.task, methods=options.method)
    from suite import execute

    session = session_of(options)
    outcomes = [execute.compress(cells, session, options.executor)]
    if options.bench:
        rows = study_plan.cost_rows(study, options.device, profile=options.profile, among=cells)
        outcomes += [execute.benchmark(costly, asked, session, options.executor) for asked, costly in rows.items()]
    return _report(itertools.chain.from_iterable(outcomes), cells, options)


def _report(outcomes: Any, cells: Sequence[Cell], options: argparse.Namespace) -> int:
    """Print each record as it comes, named by what tells it from the others; 1 if one of them failed."""
    from suite import listing

    failed = measured = skipped = unsupported = 0
    outcome: Outcome
    for outcome in outcomes:
        record = outcome.record
        fine = record.status in ("ok", "unsupported")
        skipped += outcome.skipped
        measured += fine and not outcome.skipped
        unsupported += record.status == "unsupported" and not outcome.skipped
        if not fine:
            failed += 1
            named = " ".join([f"{record.task}/{record.method}", *listing.settings(record, cells)])
            print(f"prunemark: {named}: {listing.failure(record)}", file=sys.stderr)
        if options.json:
            sys.stdout.write(records.encode(record).decode())
        else:
            print(listing.line(record, cells) + (" (measured before)" if outcome.skipped else ""))
        sys.stdout.flush()
    if not options.json:
        refused = f" ({unsupported} of them unsupported)" if unsupported else ""
        print(f"{measured} measured{refused}, {skipped} fresh before, {failed} failed; records in {options.results}")
    return 1 if failed else 0


def _plan(options: argparse.Namespace) -> int:
    from suite import conditions, forecast, modelfiles

    rows = conditions.standard_rows(options.device, options.rows)
    require_folder(options.results)
    wanted = _studies_named(options)
    if wanted:
        asked, costly = wanted
    else:
        asked = cells_of(argparse.Namespace(**{**vars(options), "task": options.task or list(registry.tasks())}))
        costly = {rows: asked}
    owed = forecast.forecast(
        asked,
        costly,
        believed(options.results),
        options.artifacts or modelfiles.default_root(),
        options.device,
        kinds=options.kind or (),
        missing=options.missing,
    )
    print(json.dumps(owed.entry()) if options.json else "\n".join(owed.text()))
    return 0


def _studies_named(options: argparse.Namespace) -> tuple[Sequence[Cell], Mapping[Any, Sequence[Cell]]] | None:
    """The cells of the studies that are asked for, and those of them with benchmark rows, by their rows."""
    if not options.study:
        return None
    from suite import study_plan
    from suite.studies import studies

    require_study(options)
    known = studies()
    names = list(known) if "all" in options.study else options.study
    chosen = [registry.lookup("study", name, known, listing="python -m suite list studies") for name in names]
    return study_plan.together(
        chosen,
        seeds=options.seed or [0],
        profile=options.profile,
        device=options.device,
        tasks=options.task,
        methods=options.method,
    )


def _verify(options: argparse.Namespace) -> int:
    from suite import locating, machine

    data = data_root(options)
    require_folder(options.results, there=options.results != RESULTS)
    found = believed(options.results)
    record = locating.locate(options.record, found, machine.identity().slug)
    from suite import execute, invocation, modelfiles, verify

    root = options.artifacts or modelfiles.default_root()
    places = invocation.Places(data, root, options.results)
    session = execute.Session(places, record.device, invocation.provenance(), Progress())
    verdict = verify.verify(record, found, session, keep=options.keep)
    for fact in verdict.facts:
        session.progress.say(fact)
    print(json.dumps(verdict.entry()) if options.json else verdict.line)
    return 0 if verdict.agree else 1


def _list(options: argparse.Namespace) -> int:
    from suite import listing

    if options.what == "matrix":
        if options.name is not None:
            raise UsageError(f"list matrix shows every method and task: leave out {options.name!r}")
        require_folder(options.results, there=options.results != RESULTS)
        found = listing.matrix(believed(options.results))
        print(json.dumps(listing.matrix_entries(found)) if options.json else "\n".join(listing.matrix_text(found)))
        return 0
    entries = listing.entries(options.what, options.name)
    if options.json:
        print(json.dumps(entries))
    else:
        print("\n".join(listing.text(entries, whole=options.name is not None)))
    return 0


def _check(options: argparse.Namespace) -> int:
    from suite import checks

    if options.list:
        print("\n".join(checks.listed()))
        return 0
    results = options.folder or options.results or RESULTS
    require_folder(results, there=True, option="")
    report = checks.check(results)
    warnings = say_unusable() + len(report.warnings)
    if not (report.valid or report.errors or report.warnings):
        raise UsageError(f"no records in {results}: name the folder that has one for each machine")
    for kind, problems in (("", report.errors), ("warning: ", report.warnings)):
        for problem in problems:
            print(f"prunemark: {kind}[{problem.check}] {problem}", file=sys.stderr)
    warned = f", {warnings} warnings" if warnings else ""
    print(f"{report.valid} valid records, {len(report.errors)} bad{warned}")
    return 1 if report.errors or (options.strict and warnings) else 0


def _merge(options: argparse.Namespace) -> int:
    from suite import machine, merging, pictures

    for folder in options.sources:
        require_folder(folder, option="")
    require_folder(options.into, option=" (--into)")
    new, known, problems = merging.merge(options.sources, options.into)
    problems += [problem for source in options.sources for problem in machine.damaged(source)]
    bad = 0
    for problem in problems:
        left_out = problem.check != pictures.CHECK
        bad += left_out
        print(f"prunemark: {'left out: ' if left_out else ''}{problem}", file=sys.stderr)
    print(f"{new} records added to {options.into}, {known} were there already, {bad} bad ones left out")
    return 1 if problems else 0


def _site(options: argparse.Namespace) -> int:
    from suite import render

    require_folder(options.results, there=True)
    say_unusable()
    print(render.build(options.results, options.out, warn=lambda text: Progress().say(f"prunemark: {text}")))
    return 0


def _export(options: argparse.Namespace) -> int:
    cells = cells_of(options)
    from suite import handover, modelfiles

    root = options.artifacts or modelfiles.default_root()
    handover.stored(cells, options.out, options.format, root=root, force=options.force)  # before torch is loaded
    from suite import export

    done = export.export(cells, options.out, options.format, root=root, force=options.force)
    Progress(silent=options.json).say("\n".join(done.lines))
    print(json.dumps(done.facts) if options.json else done.snippet)
    return 0


def _conform(options: argparse.Namespace) -> int:
    from suite import conform

    method, faults = conform.find(options.method), 0
    try:
        for case in conform.check(method, options.task or (), points=options.points, timeout=options.timeout):
            faults += case.fault is not None
            print(f"{'pass' if case.fault is None else 'FAIL'}  {case}", flush=True)
    except KeyboardInterrupt:
        raise SuiteError("interrupted; conform keeps nothing, and --task NAME asks one task alone") from None
    if faults:
        raise SuiteError(f"{method.name} fails {faults} of the conformance cases above; it would not be listed")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from suite import data, datafiles, machine

    root = data_root(options)
    facts = [*machine.doctor(), ("data root", str(root))]
    damaged = 0
    for name in datafiles.names():
        if not datafiles.is_there(name, root):
            facts.append((f"data {name}", f"missing: {datafiles.how_to_get(name)}"))
            continue
        try:
            answer = "" if name in datafiles.EMBEDDED else f": {data.describe(name, root)}"
            facts.append((f"data {name}", f"found{answer}"))
        except SuiteError as error:
            damaged += 1
            facts.append((f"data {name}", f"unusable: {error}"))
    width = max(len(name) for name, _ in facts)
    for name, answer in facts:
        print(f"{name:{width}}  {answer}")
    if damaged:
        raise DataError(f"{damaged} of the data sets that are there cannot be used: the list above says why")
    return 0


def _download(options: argparse.Namespace) -> int:
    from suite import datafiles

    registry.lookup("data set", options.name, dict.fromkeys(datafiles.names()), listing="python -m suite doctor")
    print(datafiles.download(options.name, options.data or datafiles.default_root()))
    return 0
