"""The cases of the conformance test that a task asks of a method; `suite.conform` runs them, each task by itself."""

from __future__ import annotations

import copy
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from suite import artifacts, complexity, conform, data, datafiles, plan, registry, run, soundness
from suite.conform import Case
from suite.errors import SuiteError, Unsupported, UsageError
from suite.invocation import Places
from suite.plan import Cell
from suite.progress import Progress
from suite.registry import Method
from suite.run import Prepared
from suite.sources import spell


def check(method: Method, task: str) -> Iterator[Case]:
    """Every case in this very process, which a crash ends: of the source, then of one task."""
    yield from conform.on_source(method)
    yield from on_task(method, task)


def on_task(method: Method, task: str, which: str = "first") -> Iterator[Case]:
    """The cases of one task, at smoke, at the first point or `all`; what a further one sets is in its cases' names.

    Raises what is wrong with the task or its data; else it stops at nothing.
    """
    try:
        points = plan.points(method, which)
        registry.load(method)
    except UsageError:
        return  # its points do not fit: a case of the source
    except SuiteError as error:
        yield Case("imports", "-", str(error))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for number, point in enumerate(points):
            told = f" ({_set(method, point)})" if number else ""
            shrinks = number == 0 and method.family != registry.BASELINE  # one of a sweep's points may set nothing
            for case in _on_task(Cell(task, method.name, point, 0, "smoke"), method, Path(scratch), shrinks):
                yield replace(case, name=case.name + told)


def _set(method: Method, point: Mapping[str, Any]) -> str:
    """What tells one of a method's points from another."""
    telling = {name for each in method.points for name in each}
    return " ".join(f"{name}={spell(value)}" for name, value in point.items() if name in telling)


def _on_task(cell: Cell, method: Method, scratch: Path, shrinks: bool) -> Iterator[Case]:
    places, progress = (
        Places(datafiles.default_root(), scratch / "artifacts", scratch / "results"),
        Progress(silent=True),
    )
    task = cell.task
    ready = run.prepare(task, "smoke", places, "cpu")
    start = run.dense_model(cell.dense, ready, places, "cpu", progress)
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
    if shrinks:
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
