"""Methods, models and tasks: registered by decorator, found without a list to edit.

Methods and models are found by reading their files, not by running them: a name, its operating points and its
hyperparameters come from the source, so that listing, planning and the leaderboard never load torch. The file is
imported when its function is first called for.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from suite import discovery, sources, taskfiles
from suite.discovery import lookup as lookup
from suite.errors import RegistrationError, TaskError, UsageError
from suite.metrics import Metric
from suite.sources import Hyperparameter, spell
from suite.taskfiles import Part
from suite.taskfiles import register_task as register_task
from suite.tasks import Task

#: The family of the uncompressed network: no method starts from it, every method does.
BASELINE = "baseline"
#: The hyperparameter that every other method has.
BASE = "base"
LONGEST_BASE = 1000

MethodFunction = Callable[..., Any]


@dataclass(frozen=True)
class Method:
    """A registered method as its source describes it. `points` are its standard settings, the first the headline."""

    name: str
    family: str
    paper: str
    points: tuple[Mapping[str, Any], ...]
    hyperparameters: tuple[Hyperparameter, ...]
    description: str
    module: str
    path: str
    line: int

    @property
    def origin(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def settable(self) -> dict[str, Hyperparameter]:
        """What `--set` may name: the hyperparameters of the signature, and `base` but for the baseline."""
        known = {parameter.name: parameter for parameter in self.hyperparameters}
        if self.family != BASELINE:
            known.setdefault(BASE, Hyperparameter(BASE, "str", None, optional=True))
        return known

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every hyperparameter with its value: `given` (typed values or text) over the defaults.

        `base` is known to every method but the baseline, and stands in the result only where it is set or declared.
        Raises UsageError for a name that the method does not have, a value of the wrong type, or a base that is none.
        """
        return self._resolve(self._typed(given), method)

    def _resolve(self, typed: dict[str, Any], find: Callable[[str], Method]) -> dict[str, Any]:
        """The same with `base` in its one spelling; `find` gives the method of a name."""
        text = typed.get(BASE)
        return typed if text is None else typed | {BASE: Base.parse(str(text), find).text}

    def _typed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        known = self.settable
        for name in given:
            lookup(f"hyperparameter of {self.name}", name, known, listing=f"python -m suite list methods {self.name}")
        found = {name: p.parse(given[name], self.name) if name in given else p.default for name, p in known.items()}
        if found.get(BASE, "") is None and not any(parameter.name == BASE for parameter in self.hyperparameters):
            del found[BASE]
        return found


@dataclass(frozen=True)
class Base:
    """The compressed model that a method starts from instead of the dense one: `METHOD[:name=value,...]`."""

    method: Method
    hyperparameters: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str, find: Callable[[str], Method]) -> Base:
        """UsageError for a text of another form, an unknown method, or a setting that the method lacks.

        `find` gives the method of a name.
        """
        if len(text) > LONGEST_BASE:
            raise UsageError(f"base={text[:40]}...: longer than {LONGEST_BASE} characters")
        name, _, listed = text.partition(":")
        entry = find(name)
        if entry.family == BASELINE:
            raise UsageError(f"base={text}: every method starts from {name} anyway; leave base out")
        # the value of a base's own base, which has colons and commas too, stands in brackets
        parts = re.findall(r"(\w+)=(\[.*\]|.*?)(?:,(?=\w+=)|$)", listed)
        settings = {setting: value.removeprefix("[").removesuffix("]") for setting, value in parts}
        if ",".join(f"{setting}={value}" for setting, value in parts) != listed or len(settings) < len(parts):
            raise UsageError(f"base={text}: write it as METHOD:name=value,name=value, each name once")
        return cls(entry, entry._resolve(entry._typed(settings), find))

    @property
    def text(self) -> str:
        """The one spelling of this base: what its points set and what is not default, in order of the names."""
        entry = self.method
        defaults = {parameter.name: parameter.default for parameter in entry.hyperparameters}
        telling = {name for point in entry.points for name in point}
        shown = [
            f"{name}=[{value}]" if name == BASE else f"{name}={spell(value)}"
            for name, value in sorted(self.hyperparameters.items())
            if name in telling or value != defaults.get(name)
        ]
        return entry.name + (":" + ",".join(shown) if shown else "")


# ---------------------------------------------------------------------------------------------------------- decorators

_functions: dict[tuple[str, str], MethodFunction] = {}


def register_method(
    name: str, *, family: str, paper: str = "", points: Any = ()
) -> Callable[[MethodFunction], MethodFunction]:
    """Register a compression method: `function(model, bench, *, hyperparameters with types and defaults) -> model`.

    `family` groups it on the pages, `paper` cites it, `points` are its standard operating points (dicts of
    hyperparameters, the headline first). All four are read from the source: write them as literals, or as
    expressions of literals and of constants assigned earlier in the file.
    """

    def bind(function: MethodFunction) -> MethodFunction:
        # what another decorator has wrapped was still written in this file
        _functions[inspect.unwrap(function).__code__.co_filename, name] = function
        return function

    return bind


# ----------------------------------------------------------------------------------------------------------- discovery


@dataclass(frozen=True)
class Catalogue:
    """Every method found, by name, and the files that cannot be used, with the reason."""

    methods: Mapping[str, Method]
    unavailable: Mapping[str, str]
    twice: Mapping[str, list[str]]  # by name, what is said of those that another file has it before


@functools.cache
def catalogue() -> Catalogue:
    """Read every file of `methods/` and of the entry-point group `prunemark.methods`; nothing is imported."""
    found: list[Method] = []
    unavailable: dict[str, str] = {}
    for module, path in discovery.modules("methods", "prunemark.methods"):
        try:
            if path is None:
                raise RegistrationError(f"an installed package names {module} as its methods, but it is not there")
            registered = read_methods(path, module)
            for method in registered:
                _check_points(method)
        except RegistrationError as error:
            unavailable[module] = str(error)
            continue
        found += registered
    methods: dict[str, Method] = {}
    twice: dict[str, list[str]] = {}
    for method in sorted(found, key=lambda each: discovery.precedence(each.name, each.module)):
        if (kept := methods.setdefault(method.name, method)) is not method:
            both = f"{kept.origin} has it, {method.origin} is left out"
            unavailable[method.module] = f"method {method.name!r} is registered twice: {both}; rename one"
            twice.setdefault(method.name, []).append(unavailable[method.module])
    for method in list(methods.values()):
        if (fault := _base_fault(method, methods)) is not None:
            unavailable[method.module] = fault
            del methods[method.name]
    return Catalogue(methods, unavailable, twice)


def _base_fault(method: Method, methods: Mapping[str, Method]) -> str | None:
    """What is wrong with the bases that a method's points and default name."""

    def find(name: str) -> Method:
        return lookup("method", name, methods, listing="python -m suite list methods")

    try:
        for point in method.points or ({},):
            method._resolve(method._typed(point), find)
    except (UsageError, RecursionError) as error:
        return f"{method.origin}: a base does not fit: {error}"
    return None


def read_methods(path: Path, module: str) -> list[Method]:
    """The methods that a source file registers, without running it; RegistrationError names what is wrong with it."""
    return [
        Method(
            name=discovery.checked_name(call["name"], f"{path}:{function.lineno}"),
            family=call["family"],
            paper=call.get("paper", ""),
            points=_points(call, f"{path}:{function.lineno}"),
            hyperparameters=sources.schema(function, path),
            description=ast.get_docstring(function) or "",
            module=module,
            path=str(path),
            line=function.lineno,
        )
        for call, function in sources.decorated(path, "register_method", ("name", "family"))
    ]


def _points(call: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], ...]:
    points = call.get("points", ())
    if not isinstance(points, list | tuple) or not all(isinstance(point, dict) for point in points):
        raise RegistrationError(f"{where}: points must be a list of dicts, one for each standard setting")
    return tuple(points)


def _check_points(method: Method) -> None:
    for point in method.points:
        try:
            method._typed(point)
        except UsageError as error:
            raise RegistrationError(f"{method.origin}: a point does not fit the signature: {error}") from error


def base_of(text: str) -> Base:
    """The base that a `base` hyperparameter names; UsageError where there is none."""
    return Base.parse(text, method)


def method(name: str) -> Method:
    """The method called `name`; UsageError with the nearest name where there is none."""
    found = catalogue()
    module = None if name in found.methods else discovery.file_of(name, found.unavailable)
    if module is not None:
        raise UsageError(f"method {name!r} is unavailable: {found.unavailable[module]}")
    try:
        return lookup("method", name, found.methods, listing="python -m suite list methods")
    except UsageError as error:
        if not found.unavailable:
            raise
        files = ", ".join(f"{each.replace('.', '/')}.py" for each in found.unavailable)
        raise UsageError(f"{error}; it may be in a file that cannot be used: {files}") from None


def load(entry: Method) -> MethodFunction:
    """The function of a method; its file is imported now. RegistrationError says why it cannot be."""
    if (entry.path, entry.name) not in _functions:
        discovery.quiet_torchao()
        try:
            module = discovery.silently(importlib.import_module, entry.module)
        except ImportError:
            module = _import_file(entry)
        except (Exception, SystemExit) as error:  # it may be a script that once stood alone
            raise _unimportable(entry, error) from error
        if (entry.path, entry.name) not in _functions and getattr(module, "__file__", None) != entry.path:
            _import_file(entry)
    if (entry.path, entry.name) not in _functions:
        raise RegistrationError(f"{entry.path} did not register {entry.name!r} when it was imported")
    return _functions[entry.path, entry.name]


def _import_file(entry: Method) -> ModuleType:
    spec = importlib.util.spec_from_file_location(entry.module, entry.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(entry.module, module)
    try:
        discovery.silently(spec.loader.exec_module, module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(entry.module, None)
        raise _unimportable(entry, error) from error
    return module


def _unimportable(entry: Method, error: BaseException) -> RegistrationError:
    return RegistrationError(f"{entry.path} cannot be imported: {type(error).__name__}: {error}")


def forget() -> None:
    """Look again at the next question: a package has been installed, or a file changed."""
    catalogue.cache_clear()
    taskfiles.forget()


# --------------------------------------------------------------------------------------------------- tasks and parts


def tasks() -> dict[str, Task]:
    """Every task that can be used by name, in order of registration; `unavailable_tasks` has the others."""
    return dict(taskfiles.found().tasks)


def unavailable_tasks() -> dict[str, str]:
    """Why a task, or a module of tasks, cannot be used; by name."""
    return dict(taskfiles.found().unavailable)


def task(name: str) -> Task:
    """The task called `name`; UsageError with the nearest name where there is none, or the reason if it has a fault."""
    unavailable = taskfiles.found().unavailable
    if name in unavailable and name not in tasks():
        raise UsageError(f"task {name!r} is unavailable: {unavailable[name]}")
    return lookup("task", name, tasks(), listing="python -m suite list tasks")


def import_task(entry: Task) -> None:
    """Import the whole file of a task that is not ours; RegistrationError says why it cannot be."""
    module = taskfiles.found().modules.get(entry.path)
    if module is not None:
        taskfiles.import_whole(module, Path(entry.path))


def outside(kind: str, name: str) -> Part | None:
    """The `model`, `data` or `objective` of that name, where a task file registers it; None for ours."""
    return taskfiles.found().outside(kind, name)


def metrics() -> Mapping[str, Metric]:
    """The metrics that task files declare, by name."""
    return taskfiles.found().metrics


def metric(name: str) -> Metric:
    """The quality metric of that name, ours or a task file's."""
    from suite.rows import OURS

    return OURS[name] if name in OURS else metrics()[name]


def decider(objective: str) -> str:
    """The metric that decides by an objective of a task file; empty for ours."""
    part = outside("objective", objective)
    return part.metrics[0] if part is not None else ""


def part_files(entry: Task) -> tuple[str, ...]:
    """The files of a task's data and objective, as far as task files register them: its cells depend on them too."""
    parts = [outside(kind, name) for kind, name in (("data", entry.data), ("objective", entry.objective))]
    return tuple(dict.fromkeys(str(part.path) for part in parts if part is not None and str(part.path) != entry.path))


def model_path(name: str) -> Path:
    """The file that registers the model `name`, found by reading."""
    return _model(name).path


def _model(name: str) -> Part:
    known = {each: part for (kind, each), part in taskfiles.found().parts.items() if kind == "model"}
    return lookup("model", name, known, listing="it lies in models/, or in a package that is not installed here")


def build_model(name: str, options: Mapping[str, Any]) -> Any:
    """A freshly initialised network: its file is imported now, torch with it.

    TaskError where a file that is not ours cannot be imported or builds no network with a `head`.
    """
    part = _model(name)
    models = importlib.import_module("models")
    if outside("model", name) is None:
        importlib.import_module(part.module)
        return models.MODELS[name](**options)
    import_model(name)
    model = models.MODELS[name](**options)
    nn = importlib.import_module("torch.nn")
    if not isinstance(model, nn.Module):
        raise TaskError(f"{part.origin}: model {name!r} is a {type(model).__name__}: return a torch.nn.Module")
    if not isinstance(getattr(model, "head", None), nn.Module):
        raise TaskError(f"{part.origin}: model {name!r} has no `head`: give its last layer that name, so that methods "
                        "know which outputs the task fixes")  # fmt: skip
    return model


def import_model(name: str) -> None:
    """Import the file of a model, and its package, where it is not ours; TaskError where that fails."""
    part = outside("model", name)
    if part is None:
        return
    try:
        taskfiles.import_whole(part.module, part.path)
    except RegistrationError as error:
        raise TaskError(str(error)) from error
    if name not in importlib.import_module("models").MODELS:
        raise TaskError(f"{part.path} did not register model {name!r} when it was imported")
