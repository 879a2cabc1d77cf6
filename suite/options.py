"""The options that cells have in common, and the cells and session that they ask for."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from suite import plan, registry
from suite.errors import DataError, UsageError
from suite.plan import Cell
from suite.progress import Progress
from suite.records import KINDS, Record, read_results
from suite.registry import Method
from suite.tasks import PROFILES

if TYPE_CHECKING:
    from suite.execute import Session

#: Where records lie unless `--results` says otherwise.
RESULTS = Path("results")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are ours: one line, with the nearest option."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The options; UsageError, with the help of the command that was asked for, where there is no such option."""
        found, odd = self.parse_known_args(args, namespace)
        if odd:
            asked: Parser = getattr(found, "parser", self)
            offered = [
                name for each in asked._actions if each.help != argparse.SUPPRESS for name in each.option_strings
            ]
            near = difflib.get_close_matches(odd[0].partition("=")[0], offered, n=1)
            asked.error(f"unrecognized arguments: {' '.join(odd)}{f'; did you mean {near[0]}?' if near else ''}")
        return found


#: By command, the options that change nothing there, or that a study fixes and refuses: all are taken, as everywhere.
UNOFFERED: Mapping[str, tuple[str, ...]] = {
    "run": ("--rows", "--kind"),
    "study": ("--set", "--points", "--rows"),
    "plan": ("--data", "--executor", "--workers", "--timeout", "--force"),
    "export": ("--rows", "--kind", "--results", "--device", "--executor", "--workers", "--timeout"),
}
FORCED = {"export": "overwrite a file that is there"}
PRINTED = dict.fromkeys(("plan", "export"), "one object on standard output")


def add_cell_options(parser: argparse.ArgumentParser, command: str) -> None:
    """The options of cells, as the help of a command offers them."""

    def add(name: str, *, help: str, **changes: Any) -> None:
        unoffered = name in UNOFFERED.get(command, ())
        parser.add_argument(name, help=argparse.SUPPRESS if unoffered else help, **changes)

    tasks, methods = "every task whose data is there", "every method"
    if command == "study":
        tasks = methods = "all of the study"
    add("--task", action="append", default=[], metavar="T", help=f"repeatable; default: {tasks}")
    add("--method", action="append", default=[], metavar="M", help=f"repeatable; default: {methods}")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter; replaces the standard points",
    )
    add("--points", choices=("all", "first"), default="all", help="all standard points of each method, or its headline")
    add("--seed", action="append", default=[], type=_seed, metavar="N", help="repeatable; default 0")
    profiles = "smoke (seconds), quick (minutes to a few hours on a CPU), full (the default: the recipe that counts)"
    add("--profile", default="full", help=profiles)
    add("--device", default="cpu", help="cpu or cuda")
    add("--data", type=path, help="folder of the data sets (default: PRUNEMARK_DATA, else a cache folder)")
    add("--results", type=path, default=RESULTS, help="folder of the records (default: results)")
    add("--artifacts", type=path, help="folder of the models (default: PRUNEMARK_ARTIFACTS, else artifacts/)")
    add("--executor", default="local", help="local, or dask:ADDRESS of a scheduler: its workers do the work")
    add("--workers", type=positive, default=1, metavar="N", help="processes that compress side by side")
    add("--timeout", type=positive, metavar="SECONDS", help="of each process: a cell, a row (default: by profile)")
    add("--rows", choices=("standard", "all"), default="standard", help="benchmark conditions")
    add("--kind", action="append", choices=KINDS, help="of benchmarks, repeatable; default: all that can be measured")
    add("--force", action="store_true", help=FORCED.get(command, "measure again what is fresh"))
    add("--json", action="store_true", help=PRINTED.get(command, "records on standard output, one a line"))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number") from None


def _seed(text: str) -> int:
    value = _whole(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {2**31 - 1}")
    return value


def positive(text: str) -> int:
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def path(text: str) -> Path:
    """An option's path; an empty one is an unset variable of a shell, and Path would take it for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text is no path")
    return Path(text)


def _settings(options: argparse.Namespace) -> dict[str, str]:
    settings: dict[str, str] = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text}: write it as name=value")
        if name in settings:
            raise UsageError(f"--set {name} is given twice, as {settings[name]} and as {value}: leave one out")
        settings[name] = value
    return settings


def say_unusable(*, methods: bool = True, tasks: bool = True, named: Sequence[str] = ()) -> int:
    """How many files of methods, of tasks, cannot be used, each named on standard error: what follows is without them.

    Of a method that is `named`, a line where another file has its name, too.
    """
    found = registry.catalogue()
    reasons = [each for name in named for each in found.twice.get(name, ())]
    reasons += found.unavailable.values() if methods else []
    reasons += registry.unavailable_tasks().values() if tasks else []
    told = dict.fromkeys(reasons)
    for reason in told:
        Progress().say(f"prunemark: left out: {reason}")
    return len(told)


def require_profile(profile: str) -> None:
    if profile not in PROFILES:
        near = difflib.get_close_matches(profile, PROFILES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(PROFILES)}."
        raise UsageError(f"unknown profile {profile!r}: {hint}")


def require_study(options: argparse.Namespace) -> None:
    """UsageError for a profile that there is not, and where a study's cells or rows are to be others than its own."""
    require_profile(options.profile)
    say_unusable()
    if options.set or options.points != "all":
        raise UsageError("a study fixes its cells' settings: leave out --set and --points")
    if options.rows != "standard":
        raise UsageError("a study fixes its benchmark rows: leave out --rows")


def cells_of(options: argparse.Namespace) -> tuple[Cell, ...]:
    require_profile(options.profile)
    say_unusable(methods=not options.method, tasks=not options.task, named=options.method or ())
    names = options.task or [name for name in registry.tasks() if _data_is_there(name, options)]
    if not names:
        raise DataError("no task's data is there: name one with --task to see how to get it")
    settings = _settings(options)
    methods = [registry.method(name) for name in options.method] or _methods_that_take(settings)
    return plan.cells(
        [registry.task(name) for name in names],
        methods,
        settings=settings,
        seeds=options.seed or [0],
        profile=options.profile,
        which=options.points,
    )


def _methods_that_take(settings: Mapping[str, str]) -> list[Method]:
    """Every method, but those for which `settings` make no setting, which are named on standard error.

    UsageError where that leaves none: a name that no method has, or the first method's complaint.
    """
    everyone = registry.catalogue().methods.values()
    if not settings:
        return list(everyone)
    names = {name: name for method in everyone for name in method.settable}
    for name in settings:
        registry.lookup("hyperparameter", name, names, listing="python -m suite list methods NAME")
    able, lacking, complaints = [], [], []
    for method in everyone:
        if not set(settings) <= set(method.settable):
            lacking.append(method.name)
            continue
        try:
            plan.complete(method, settings)
        except UsageError as error:
            complaints.append(str(error))
        else:
            able.append(method)
    given = " ".join(f"{name}={value}" for name, value in settings.items())
    if not able:
        raise UsageError(complaints[0] if complaints else f"no method has all of {', '.join(settings)} (--set)")
    if lacking or complaints:
        said = [f"{', '.join(lacking)}, without {' or '.join(settings)}"] if lacking else []
        Progress().say(f"prunemark: --set {given} leaves out: {'; '.join([*said, *complaints])}")
    return able


def _data_is_there(task: str, options: argparse.Namespace) -> bool:
    from suite import datafiles

    return datafiles.is_there(registry.task(task).data, options.data or datafiles.default_root())


def require_folder(results: Path, *, there: bool = False, option: str = " (--results)") -> None:
    """UsageError where `option` names no folder of results, or that of one machine; one not yet there holds nothing, or
    must be `there`.
    """
    _no_file(results, option)
    if results.is_dir() and any(results.glob("*.jsonl")):
        raise UsageError(f"{results} is the folder of one machine: name the one above, {results.parent}{option}")
    if there and not results.exists():
        raise UsageError(f"no such folder: {results}{option}")


def _no_file(folder: Path, option: str) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder{option}")


def believed(results: Path) -> list[Record]:
    """The valid records of a results folder, oldest first; a line on standard error for each bad one."""
    found, problems = read_results(results)
    Progress().pass_over(problems)
    return found


def data_root(options: argparse.Namespace) -> Path:
    """Where data sets lie; UsageError where `--data` names no folder."""
    from suite import datafiles

    if options.data is not None:
        _no_file(options.data, " (--data)")
        if not options.data.exists():
            raise UsageError(f"no such folder: {options.data} (--data)")
    return options.data or datafiles.default_root()


def session_of(options: argparse.Namespace) -> Session:
    from suite import execute, invocation, machine, modelfiles

    if not execute.executor_called(options.executor).address or options.device not in machine.DEVICES:
        machine.require_device(options.device)  # where workers measure, it is theirs that counts
    data = data_root(options)
    require_folder(options.results)
    artifacts = options.artifacts or modelfiles.default_root()
    _no_file(artifacts, " (--artifacts)")
    places = invocation.Places(data, artifacts, options.results)
    return execute.Session(
        places,
        options.device,
        invocation.provenance(),
        Progress(),
        force=options.force,
        kinds=tuple(options.kind or ()),
        workers=options.workers,
        timeout=options.timeout,
    )
