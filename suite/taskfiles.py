"""Task files, ours and those of packages: the tasks they make, and the networks, data and objectives they register.

Names and declarations are read from the source; a task's function is called with that part of its file alone which it
needs (`excerpts`), so that a file which imports torch for its network is listed and planned without it.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite import discovery, excerpts, sources
from suite.errors import RegistrationError, SuiteError, TaskError
from suite.metrics import Metric
from suite.sources import Parameter
from suite.taskchecks import check
from suite.tasks import Task

GROUP = "prunemark.tasks"
#: What a task file may register beside its tasks: by which decorator, and which of its arguments are not read.
PARTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "model": ("register_model", ()),
    "data": ("register_data", ()),
    "objective": ("register_objective", ("loss",)),
}
#: Where ours are: a file's table of names, and what it holds.
TABLES = {"data": ("suite/data.py", "SOURCES"), "objective": ("suite/evaluate.py", "OBJECTIVES")}

TaskFunction = Callable[[], Task]


@dataclass(frozen=True)
class Part:
    """A network (`model`), data set (`data`) or objective that a file registers; `module` is what to import for it.

    `arguments` are the decorator's, but for what cannot be read; `takes` are the function's (None: not known).
    """

    kind: str
    name: str
    module: str
    path: Path
    line: int
    arguments: Mapping[str, Any]
    takes: Mapping[str, Parameter] | None = None

    @property
    def origin(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)

    @property
    def files(self) -> tuple[str, ...]:
        """What a data set needs under the data root."""
        given = self.arguments.get("files", ())
        return (given,) if isinstance(given, str) else tuple(map(str, given))

    @property
    def remedy(self) -> str:
        """How to get a data set that is missing, in its author's words."""
        return str(self.arguments.get("remedy") or f"its files are named in {self.origin}")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what an objective judges by, the one that decides first."""
        return tuple(each if isinstance(each, str) else each.name for each in self.arguments["metrics"])


@dataclass(frozen=True)
class Found:
    """Every task by name, every part by kind and name, the metrics that users declare, and what cannot be used.

    `unavailable` gives the reason by the name of the task, or of the module where its tasks are not known. `modules`
    are the task files outside our own, by path.
    """

    tasks: Mapping[str, Task]
    parts: Mapping[tuple[str, str], Part]
    metrics: Mapping[str, Metric]
    unavailable: Mapping[str, str]
    modules: Mapping[str, str]

    def outside(self, kind: str, name: str) -> Part | None:
        """The part of that name where a task file registers it; None for ours, and for an unknown one."""
        part = self.parts.get((kind, name))
        return part if part is not None and str(part.path) in self.modules else None


# ---------------------------------------------------------------------------------------------------------- decorators

_builders: dict[tuple[str, str], TaskFunction] = {}
_functions: dict[tuple[str, str, str], tuple[Callable[..., Any], Mapping[str, Any]]] = {}


def register_task(name: str) -> Callable[[TaskFunction], TaskFunction]:
    """Register a task: the function returns a `Task`; its docstring is the task's description."""

    def bind(build: TaskFunction) -> TaskFunction:
        _builders[inspect.unwrap(build).__code__.co_filename, name] = build
        return build

    return bind


def register_data(
    name: str, *, files: tuple[str, ...] = (), remedy: str = "", images: int | None = None
) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    """Register a data set: `function(root) -> Arrays` (labelled) or `Pictures` (not), read once a process.

    `files` are those that must lie under the data root (none: it is always there), `remedy` says how to get them,
    `images` about how many there are to train on, from which `plan` tells the cost. All are read from the source.
    """
    return _bind("data", name, {})


def register_objective(
    name: str, *, metrics: tuple[Metric | str, ...], loss: Callable[..., Any] | None = None, batch_size: int = 250
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an objective: `function(outputs, targets)` gives each of `metrics`, summed over a batch's samples.

    The first metric decides; a text names one of ours (`top1`). `loss(outputs, targets)` is the mean loss of a batch
    that training minimises (default: that of classification). `metrics` and `batch_size`, that of evaluation, are read
    from the source.
    """
    return _bind("objective", name, {"loss": loss})


def _bind(kind: str, name: str, extra: Mapping[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def bind(function: Callable[..., Any]) -> Callable[..., Any]:
        _functions[kind, inspect.unwrap(function).__code__.co_filename, name] = function, extra
        return function

    return bind


# ----------------------------------------------------------------------------------------------------------- discovery


@functools.cache
def found() -> Found:
    """All that is registered today; a file with a mistake costs its own tasks alone."""
    parts: dict[tuple[str, str], Part] = {(part.kind, part.name): part for part in _our_parts()}
    metrics: dict[str, Metric] = {}
    unavailable: dict[str, str] = {}
    modules: dict[str, str] = {}
    tasks: dict[str, Task] = {}
    for module, path in discovery.modules("suite.tasks", GROUP):
        try:
            if path is None:
                raise RegistrationError(f"an installed package names {module} as its tasks, but it is not there")
            own = [part for each in sources.family(path) for part in _read_parts(each, module)]
            if own or path.parent != discovery.ROOT / "suite" / "tasks":
                modules |= {str(each): module for each in sources.family(path)}
            for part in own:
                _add_part(part, parts, metrics)
            built = _builders_of(module, path)
        except RegistrationError as error:
            unavailable |= dict.fromkeys(_names(path) or [module], str(error))
            continue
        for name, build in built.items():
            try:
                tasks[name] = _built(name, build, tasks)
            except SuiteError as error:
                unavailable.setdefault(f"{name} (of {module})" if name in tasks else name, str(error))
    misfits = {name: fault for name, task in tasks.items() if (fault := _misfit(task, parts)) is not None}
    usable = {name: task for name, task in tasks.items() if name not in misfits}
    orphans = {name: fault for name, task in usable.items() if (fault := _wrong_parent(task, usable)) is not None}
    unavailable |= misfits | orphans
    tasks = {name: task for name, task in usable.items() if name not in orphans}
    return Found(tasks, parts, metrics, unavailable, modules)


def forget() -> None:
    """Look again at the next question: a package has been installed, or a file changed."""
    for cached in (found, sources.parse, sources.meaning):
        cached.cache_clear()


def _our_parts() -> Iterator[Part]:
    for path in discovery.package_files("models"):
        yield from _read_parts(path, f"models.{path.stem}")
    for kind, (file, table) in TABLES.items():
        path = discovery.ROOT / file
        for name in _keys(path, table):
            yield Part(kind, name, "", path, 0, {})


def _read_parts(path: Path, module: str) -> Iterator[Part]:
    """What a file registers beside tasks, without running it; RegistrationError names what is wrong with it."""
    for kind, (decorator, unread) in PARTS.items():
        known = {"Metric": Metric}
        for call, node in sources.registered(path, decorator, ("name",), known=known, unread=unread):
            yield Part(kind, call["name"], module, path, node.lineno, call, sources.parameters(node))


def _keys(path: Path, table: str) -> list[str]:
    """The texts that are keys of a file's top-level dictionary."""
    for node in sources.parse(path).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(each, ast.Name) and each.id == table for each in targets):
            return [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]
    raise AssertionError(f"{path} has no {table}")


def _add_part(part: Part, parts: dict[tuple[str, str], Part], metrics: dict[str, Metric]) -> None:
    known = parts.get((part.kind, part.name))
    if known is not None and (known.path, known.line) != (part.path, part.line):
        raise RegistrationError(
            f"{part.kind} {part.name!r} is registered twice: in {known.origin} and in {part.origin}; rename one"
        )
    for metric in declared(part):
        other = metrics.setdefault(metric.name, metric)
        if other != metric:
            raise RegistrationError(f"{part.origin}: metric {metric.name!r} is declared as {metric} and elsewhere as "
                                    f"{other}; rename one")  # fmt: skip
    parts[part.kind, part.name] = part


def declared(part: Part) -> list[Metric]:
    """The metrics of its own that an objective declares; RegistrationError where one cannot be."""
    from suite.rows import COSTS, OURS  # which ask the registry for the rest

    if part.kind != "objective":
        return []
    given = part.arguments.get("metrics")
    if not isinstance(given, tuple | list) or not given:
        raise RegistrationError(f"{part.origin}: register_objective needs metrics=, a tuple of Metric(...) or of names "
                                f"of ours ({', '.join(OURS)}), the one that decides first")  # fmt: skip
    for each in given:
        if isinstance(each, str) and each not in OURS:
            raise RegistrationError(f"{part.origin}: {each!r} is no metric of ours ({', '.join(OURS)}): "
                                    "declare it with Metric(name, label, kind, higher_is_better)")  # fmt: skip
        if isinstance(each, str):
            continue
        if not isinstance(each, Metric) or not isinstance(each.name, str) or each.kind not in KINDS:
            raise RegistrationError(f"{part.origin}: {each!r} is no metric: write Metric(name, label, kind, "
                                    f"higher_is_better), kind one of {', '.join(KINDS)}")  # fmt: skip
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", each.name) or each.name.startswith("dense_"):
            raise RegistrationError(f"{part.origin}: {each.name!r} cannot name a metric: small letters, digits and _, "
                                    "and not dense_")  # fmt: skip
        if each.name in {*OURS, *COSTS, "training_macs", "merge_relative_error"}:
            raise RegistrationError(f"{part.origin}: the metric {each.name!r} is ours: rename yours, or name ours as "
                                    "the text")  # fmt: skip
    return [each for each in given if isinstance(each, Metric)]


KINDS = ("percent", "number", "decibel")

# --------------------------------------------------------------------------------------------------------- the tasks


def _builders_of(module: str, path: Path) -> dict[str, TaskFunction]:
    """The task functions of a file and of what it imports from its own package, in the order of the file."""
    files = {str(each) for each in sources.family(path)}
    names = _registered(path)
    part = excerpts.excerpt(path, "register_task") if not any(map(_names, sources.family(path)[1:])) else None
    if part is not None and _run(part, module, path):
        return {name: _builders[str(path), name] for name in names}
    import_whole(module, path)
    return {name: build for (file, name), build in _builders.items() if file in files}


def _registered(path: Path) -> list[str]:
    """The names of the tasks that a file registers; RegistrationError says what is wrong with it."""
    return [call["name"] for call, _ in sources.decorated(path, "register_task", ("name",))]


def _names(path: Path | None) -> list[str]:
    """The names of the tasks that a file registers, as far as its source tells."""
    if path is None:
        return []
    try:
        return _registered(path)
    except RegistrationError:
        return []


def _run(part: ast.Module, module: str, path: Path) -> bool:
    """Run an excerpt; False where it fails, for then the whole file is to say why."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    namespace = {"__name__": module, "__file__": str(path), "__package__": package}
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for records
            exec(compile(part, str(path), "exec"), namespace)
    except (Exception, SystemExit):
        return False
    return True


def import_whole(module: str, path: Path) -> None:
    """Import a task file; RegistrationError says why it cannot be."""
    try:
        discovery.silently(importlib.import_module, module)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        raise RegistrationError(
            f"{path} cannot be imported: {type(error).__name__}: {reason}; mend it, or uninstall its package"
        ) from error


def _built(name: str, build: TaskFunction, known: Mapping[str, Task]) -> Task:
    """The task that a function makes, checked; RegistrationError in one line that names its file."""
    code = inspect.unwrap(build).__code__
    where = f"{code.co_filename}:{code.co_firstlineno}: task {name!r}"
    if name in known and known[name].path != code.co_filename:
        raise RegistrationError(
            f"task {name!r} is registered twice: in {known[name].path} and in {code.co_filename}; rename one"
        )
    try:
        task = build()
    except Exception as error:
        raise RegistrationError(f"{where}: its function fails: {type(error).__name__}: {error}") from error
    if not isinstance(task, Task):
        raise RegistrationError(f"{where}: its function returns a {type(task).__name__}: return a Task")
    fault = check(name, task)
    if fault is not None:
        raise RegistrationError(f"{where}: {fault}")
    return replace(task, name=name, description=inspect.getdoc(build) or "", path=code.co_filename)


def _misfit(task: Task, parts: Mapping[tuple[str, str], Part]) -> str | None:
    """What a task asks for and nobody registers, with the nearest name; or options that its network does not take."""
    for kind, name in (("model", task.model), ("data", task.data), ("objective", task.objective)):
        known = {each: each for of, each in parts if of == kind}
        try:
            discovery.lookup(kind, name, known, listing=f"or register it: @register_{kind}({name!r})")
        except SuiteError as error:
            return f"{task.path}: task {task.name!r}: {error}"
    return _wrong_options(task, parts["model", task.model])


def _wrong_options(task: Task, model: Part) -> str | None:
    """What is wrong with a task's options, as far as the source of its network's function tells."""
    takes, where = model.takes, f"{task.path}: task {task.name!r}: model {task.model!r}"
    if takes is None:
        return None
    for name, value in task.options.items():
        if name not in takes:
            return f"{where} takes no option {name!r}; it takes {', '.join(takes) or 'none'}"
        if not takes[name].holds(value):
            return f"{where}: its option {name} is {takes[name].annotation}, not {value!r}"
    lacking = [name for name, each in takes.items() if each.required and name not in task.options]
    return f"{where} needs the options {', '.join(lacking)}" if lacking else None


def _wrong_parent(task: Task, tasks: Mapping[str, Task]) -> str | None:
    if task.parent is None or (task.parent in tasks and tasks[task.parent].parent is None):
        return None
    wrong = "is a variant itself" if task.parent in tasks else "is no task that can be used"
    return (f"{task.path}: task {task.name!r}: parent={task.parent!r} {wrong}: name the task that this is a variant "
            "of, or leave it out")  # fmt: skip


def function(part: Part) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """The function of a part, and what its decorator was given that cannot be read; its file is imported now.

    TaskError says why it cannot be.
    """
    key = (part.kind, str(part.path), part.name)
    if key not in _functions:
        try:
            import_whole(part.module, part.path)
        except RegistrationError as error:
            raise TaskError(str(error)) from error
    if key not in _functions:
        raise TaskError(f"{part.path} did not register {part.kind} {part.name!r} when it was imported")
    return _functions[key]
