"""The conformance test of a method: its source first, then each task in a process of its own, side by side.

`suite.conformance` has the cases of a task. A crash there or an endless loop is a case that failed, and no other's end.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import suite
from suite import child, isolate, machine, plan, registry, sources
from suite.child import Child, ChildFailed
from suite.errors import SuiteError, UsageError
from suite.registry import Method

PUBLIC = frozenset(f"suite.{name}" for name in (*suite.__all__, "*"))
#: Seconds that the cases of one task may take unless `--timeout` says otherwise; those of our slowest method take 20.
LIMIT = 600


@dataclass(frozen=True)
class Case:
    """One demand on a method on one task (`-`: on its source); `fault` is None where it is met."""

    name: str
    task: str
    fault: str | None

    def __str__(self) -> str:
        return f"{self.task:16} {self.name}{'' if self.fault is None else f': {self.fault}'}"


def find(method: str) -> Method:
    """A registered method by name, or the only one of a Python file by path; UsageError where there is none, or where
    another file has its name.
    """
    if not method.endswith(".py"):
        if method not in registry.catalogue().methods and Path(method).exists():
            raise UsageError(f"{method} is no Python file: conform takes one with a method, or a registered name")
        return registry.method(method)
    path = Path(method).resolve()
    if not path.is_file():
        raise UsageError(f"no such file: {method}")
    found = registry.read_methods(path, path.stem)
    if len(found) != 1:
        raise UsageError(f"{method} registers {len(found)} methods; conform takes a file with one, or a name")
    other = registry.catalogue().methods.get(found[0].name)
    if other is not None and Path(other.path).resolve() != path:
        raise UsageError(f"{method} registers {found[0].name!r}, which is the name of {other.origin}: choose another")
    return found[0]


# ------------------------------------------------------------------------------------------------------- on the source


def on_source(method: Method) -> Iterator[Case]:
    """The cases that need nothing but the method's file."""
    for name, demand in SOURCE_CASES.items():
        yield Case(name, "-", demand(method))


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


# --------------------------------------------------------------------------------------------------- in other processes


@dataclass(frozen=True)
class _Asked:
    """A task, the process at work on it, and what that has said so far."""

    task: str
    child: Child[SuiteError | None]
    said: list[Case]


def check(
    method: Method, tasks: Sequence[str] = (), *, points: str = "first", timeout: float | None = None, workers: int = 0
) -> Iterator[Case]:
    """Every case: of the source, then of each task (default: the embedded ones), in their order.

    It is tried at its `first` standard point, or at `all`.

    A task's process that crashes or takes longer than `timeout` seconds (None: `LIMIT`) is a case that failed; so many
    `workers` run side by side (0: one a core). Raises what is wrong with a task or its data. No process is left.
    """
    names = list(tasks or (name for name, task in registry.tasks().items() if task.embedded))
    needed = isolate.imports({method.family, *(registry.task(name).data for name in names)}, "cpu")
    yield from on_source(method)
    if _points_fit(method) is not None:
        return
    child.start_server(needed)
    workers = min(len(names), workers or machine.usable_cores())
    threads = max(1, machine.usable_cores() // workers)
    waiting, asked, of_the_file = list(names), list[_Asked](), set[Case]()
    try:
        while waiting or asked:
            while waiting and sum(not each.child.is_over for each in asked) < workers:
                asked.append(_ask(method, waiting.pop(0), points, timeout or LIMIT, threads))
            if asked[0].child.is_over:
                for case in _outcome(asked.pop(0)):
                    if case not in of_the_file:  # what is wrong with it, each process says
                        yield case
                    if case.task == "-":
                        of_the_file.add(case)
            else:
                child.wait(each.child for each in asked if not each.child.is_over)
    finally:
        for each in asked:
            each.child.kill()


def _ask(method: Method, task: str, points: str, timeout: float, threads: int) -> _Asked:
    said: list[Case] = []
    return _Asked(task, Child(_answer, (method, task, points, threads), seconds=timeout, told=said.append), said)


def _outcome(ended: _Asked) -> list[Case]:
    """The cases of a task whose process is over, its own end among them where it was an early one."""
    try:
        error = ended.child.result()
    except ChildFailed as failed:
        return [*ended.said, Case("ends by itself", ended.task, str(failed))]
    finally:
        ended.child.kill()
    if error is not None:
        raise error
    return ended.said


def _answer(tell: Callable[[Case], None], method: Method, task: str, points: str, threads: int) -> SuiteError | None:
    import torch

    from suite import conformance

    torch.set_num_threads(threads)
    try:
        for case in conformance.on_task(method, task, points):
            tell(case)
    except SuiteError as error:  # of the task or its data, and no fault of the method
        return error
    return None
