"""What every method must satisfy to be listed; authors run it on their own files, CI on the whole registry."""

from __future__ import annotations

import ast
import copy
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import suite
from suite import artifacts, complexity, data, datafiles, plan, registry, run, soundness, sources
from suite.errors import SuiteError, Unsupported, UsageError
from suite.invocation import Places
from suite.plan import Cell
from suite.progress import Progress
from suite.registry import Method
from suite.run import Prepared

PUBLIC = frozenset(f"suite.{name}" for name in (*suite.__all__, "*"))


@dataclass(frozen=True)
class Case:
    """One demand on a method on one task; `fault` is None where it is met."""

    name: str
    task: str
    fault: str | None


def find(method: str) -> Method:
    """A registered method by name, or the only one of a Python file by path; UsageError where there is none."""
    if not method.endswith(".py"):
        return registry.method(method)
    path = Path(method).resolve()
    if not path.is_file():
        raise UsageError(f"no such file: {method}")
    found = registry.read_methods(path, path.stem)
    if len(found) != 1:
        raise UsageError(f"{method} registers {len(found)} methods; conform takes a file with one, or a name")
    return found[0]


def check(method: Method, progress: Progress, *, tasks: list[str] | None = None) -> Iterator[Case]:
    """Every case, on the source first, then on each embedded task with the smoke profile. Stops at nothing."""
    for name, demand in SOURCE_CASES.items():
        yield Case(name, "-", demand(method))
    try:
        plan.points(method, "first")
        registry.load(method)
    except UsageError:
        return  # its points do not fit: said above
    except SuiteError as error:
        yield Case("imports", "-", str(error))
        return
    names = tasks or [name for name, task in registry.tasks().items() if task.embedded]
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            yield from _on_task(method, name, Path(scratch), progress)


def _has_story(method: Method) -> str | None:
    enough = len(method.description.split()) >= 8
    return None if enough else "its docstring must say what it does, in eight words or more: it is the method's page"


def _points_fit(method: Method) -> str | None:
    try:
        plan.points(method)
    except UsageError as error:
        return str(error)
    return None


def _keeps_to_the_interface(method: Method) -> str | None:
    """Only `from suite import ...`: the modules inside may change, and hold the test data."""
    for node in ast.walk(sources.parse(Path(method.path))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("suite.") and name not in PUBLIC:
                line = getattr(node, "lineno", 0)
                return f"line {line} imports {name}: a method takes what it needs from `suite` itself"
    return None


SOURCE_CASES: Mapping[str, Callable[[Method], str | None]] = {
    "has a docstring": _has_story,
    "its points fit its signature": _points_fit,
    "imports only the public interface": _keeps_to_the_interface,
}


def _on_task(method: Method, task: str, scratch: Path, progress: Progress) -> Iterator[Case]:
    places = Places(datafiles.default_root(), scratch / "artifacts", scratch / "results")
    hyperparameters = plan.points(method, "first")[0]
    cell = Cell(task, method.name, hyperparameters, 0, "smoke")
    ready = run.prepare(task, "smoke", places, "cpu")
    start = run.dense_model(Cell(task, plan.DENSE, {}, 0, "smoke"), ready, places, "cpu", progress)
    dense = artifacts.load(start.folder)
    ready = run.facing(ready, start.folder, "cpu")
    try:
        origin = _network(cell.base, dense, ready, progress)
        with _no_data_set_loaded() as touched:
            first, _ = run.compress(method, cell, copy.deepcopy(origin), ready, "cpu", progress)
        second, _ = run.compress(method, cell, copy.deepcopy(origin), ready, "cpu", progress)
    except Unsupported as error:
        yield Case(f"unsupported here: {error}", task, None)
        return
    except (Exception, SystemExit) as error:
        yield Case("runs", task, _told(error, method.path))
        return
    yield Case("runs", task, None)
    yield Case("returns a network", task, _is_network(first))
    if not isinstance(first, nn.Module) or not isinstance(second, nn.Module):
        return
    asked: list[tuple[str, Callable[[], str | None]]] = [
        ("keeps the output's shape", lambda: soundness.shape_fault(first, dense, ready)),
        ("is deterministic under a seed", lambda: _same(first, second)),
        ("saves and reloads to the same outputs", lambda: _reloads(first, ready, scratch / task)),
        ("loads no data set of its own", lambda: f"it loaded {touched[0]}" if touched else None),
    ]
    if method.family != registry.BASELINE:
        asked.append(("is smaller or sparser", lambda: _smaller(first, dense, ready)))
    for name, question in asked:
        try:
            fault = question()
        except Exception as error:  # what it returned may raise anything, and the other cases are asked for all that
            fault = _told(error, method.path)
        yield Case(name, task, fault)


def _told(error: BaseException, path: str) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{_place(error, path)}"


def _place(error: BaseException, path: str) -> str:
    """Where in its own file a method failed; empty where it was not in there."""
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == path]
    return f" ({Path(path).name}, line {lines[-1]})" if lines else ""


class _no_data_set_loaded:
    """While this is entered, every data set that is loaded through the suite is noted."""

    def __enter__(self) -> list[str]:
        self.touched: list[str] = []
        self.original = data.load

        def watched(name: str, root: Path, device: str) -> Any:
            self.touched.append(name)
            return self.original(name, root, device)

        data.load = watched  # type: ignore[assignment]
        return self.touched

    def __exit__(self, *_: object) -> None:
        data.load = self.original


def _network(cell: Cell | None, dense: nn.Module, ready: Prepared, progress: Progress) -> Any:
    """The network that a cell's method makes, its own base made first; without a cell, the dense one."""
    if cell is None:
        return dense
    origin = _network(cell.base, dense, ready, progress)
    return run.compress(registry.method(cell.method), cell, copy.deepcopy(origin), ready, "cpu", progress)[0]


def _is_network(model: Any) -> str | None:
    return None if isinstance(model, nn.Module) else f"it returned a {type(model).__name__}"


def _same(first: nn.Module, second: nn.Module) -> str | None:
    one, two = first.state_dict(), second.state_dict()
    if one.keys() != two.keys():
        return "two runs with one seed gave other layers"
    wrong = [name for name in one if one[name].shape != two[name].shape or not torch.equal(one[name], two[name])]
    return f"two runs with one seed differ in {wrong[0]}: draw random numbers from bench.rng" if wrong else None


def _reloads(model: nn.Module, ready: Prepared, folder: Path) -> str | None:
    task = ready.task
    try:
        architecture = artifacts.describe(model, name=task.model, options=task.options, input_shape=task.input_shape)
        artifacts.save(model, folder, architecture, {})
    except SuiteError as error:
        return str(error)
    return soundness.mask_fault(model) or soundness.reload_fault(model, folder, ready)


def _smaller(model: nn.Module, dense: nn.Module, ready: Prepared) -> str | None:
    own = complexity.complexity(model, ready.task.input_shape)
    other = complexity.complexity(dense, ready.task.input_shape)
    fewer = [name for name in ("parameters", "nonzero_parameters", "macs", "size_bytes") if own[name] < other[name]]
    return None if fewer else "it has as many parameters, non-zeros, MACs and bytes as the dense network"
