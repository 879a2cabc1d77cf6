"""Tasks x methods x points x seeds -> cells; which of them are measured, stale or missing. No torch."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite import bounds, registry, sources
from suite.errors import UsageError
from suite.records import PROTOCOL, Record, canonical, cell_key, sha256_of
from suite.registry import Method
from suite.sources import spell
from suite.tasks import PROFILES, Task

DENSE = "dense"
#: What a fault of the suite spoiled until it was mended, as (kind, backend, when): such records are stale. Peaks were
#: as much the luck of the allocator as the network's (`suite.memory`), those of compiled ones had another run of the
#: compiler inside before.
SPOILED = (
    ("memory", "compile", "2026-11-30T19:15:00Z"),
    ("memory", "eager", "2026-11-30T19:15:00Z"),
    ("memory", "onnxruntime", "2026-11-30T19:15:00Z"),
)


@dataclass(frozen=True)
class Cell:
    """One (task, method, hyperparameters, seed, profile); `hyperparameters` has every default filled in."""

    task: str
    method: str
    hyperparameters: Mapping[str, Any]
    seed: int
    profile: str

    @functools.cached_property
    def key(self) -> str:
        return cell_key(
            task=self.task,
            method=self.method,
            hyperparameters=dict(self.hyperparameters),
            seed=self.seed,
            profile=self.profile,
        )

    @property
    def dense(self) -> Cell:
        """The uncompressed model that this cell starts from."""
        return Cell(self.task, DENSE, registry.method(DENSE).complete({}), self.seed, self.profile)

    @property
    def base(self) -> Cell | None:
        """The cell whose compressed model this one starts from; None: from the dense model."""
        text = self.hyperparameters.get(registry.BASE)
        if text is None:
            return None
        found = registry.base_of(text)
        return Cell(self.task, found.method.name, found.hyperparameters, self.seed, self.profile)

    @property
    def freshness(self) -> str | None:
        """The hash of today of what makes this cell; None where this checkout has no such task or method."""
        return current_freshness(self.task, self.method, self.hyperparameters.get(registry.BASE))

    @property
    def arguments(self) -> str:
        """The command-line options that name this cell, quoted as a shell wants them."""
        defaults = registry.method(self.method).complete({})
        words = ["--task", self.task, "--method", self.method]
        changed = [name for name, value in self.hyperparameters.items() if value != defaults.get(name)]
        # without any --set the command line means every standard point
        for name in changed or list(self.hyperparameters)[:1]:
            words += ["--set", f"{name}={spell(self.hyperparameters[name])}"]
        return shlex.join([*words, "--seed", str(self.seed), "--profile", self.profile])


@functools.cache
def _freshness(*files: str) -> str:
    return sha256_of([PROTOCOL, *(sources.meaning(Path(path)) for path in files)])


def freshness(task: Task, method: Method, base: str | None = None) -> str:
    """Hash of what the method's, model's and task's files do, and the protocol version (DESIGN section 8).

    A method that starts from a `base` depends on that method's file too; a task on the files of a data set or an
    objective that is registered elsewhere than in the suite.
    """
    own = _freshness(method.path, str(registry.model_path(task.model)), task.path, *registry.part_files(task))
    if base is None:
        return own
    found = registry.base_of(base)
    return sha256_of([own, freshness(task, found.method, found.hyperparameters.get(registry.BASE))])


def points(method: Method, which: str = "all") -> list[dict[str, Any]]:
    """The method's standard settings, every default filled in, without repeats; `first`: the headline alone."""
    given = method.points[:1] if which == "first" else method.points
    complete = [method.complete(point) for point in given] or [method.complete({})]
    return list({canonical(point): point for point in complete}.values())


def complete(method: Method, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`Method.complete`, but what it and its bases are given must make settings: UsageError where it does not."""
    found = method.complete(settings)
    entry, values = method, found
    while True:
        bounds.check_together(entry.name, entry.hyperparameters, values)
        text = values.get(registry.BASE)
        if text is None:
            return found
        base = registry.base_of(str(text))
        entry, values = base.method, dict(base.hyperparameters)


def cells(
    tasks: Sequence[Task],
    methods: Sequence[Method],
    *,
    settings: Mapping[str, str],
    seeds: Sequence[int],
    profile: str,
    which: str = "all",
) -> tuple[Cell, ...]:
    """Every cell asked for, the dense ones first: their checkpoints start all others.

    `settings` (`--set`) replaces the standard points by the one setting they name. UsageError for an unknown profile,
    a hyperparameter that a method lacks, or values that make no setting.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    found: dict[str, Cell] = {}
    for task in tasks:
        for method in methods:
            chosen = [complete(method, settings)] if settings else points(method, which)
            for hyperparameters in chosen:
                for seed in seeds:
                    cell = Cell(task.name, method.name, hyperparameters, seed, profile)
                    found.setdefault(cell.key, cell)
    return tuple(sorted(found.values(), key=lambda cell: cell.method != DENSE))


def is_fresh(record: Record) -> bool:
    """Was the record made by the method, model, task and protocol of this checkout, and by no fault mended since?"""
    backend = (record.conditions or {}).get("backend")
    if any((record.kind, backend) == (kind, spoiled) and record.created < mended for kind, spoiled, mended in SPOILED):
        return False
    base = record.hyperparameters.get(registry.BASE)
    today = current_freshness(record.task, record.method, None if base is None else str(base))
    return record.protocol == PROTOCOL and today == record.freshness


@functools.cache
def current_freshness(task: str, method: str, base: str | None = None) -> str | None:
    """The freshness hash of today, or None where this checkout has no such task, method or base."""
    tasks, methods = registry.tasks(), registry.catalogue().methods
    if task not in tasks or method not in methods:
        return None
    try:
        return freshness(tasks[task], methods[method], base)
    except UsageError:  # a base that is not in this checkout, or has lost a hyperparameter
        return None


def with_bases(cells: Iterable[Cell], needed: Callable[[Cell], bool] = lambda cell: True) -> tuple[Cell, ...]:
    """The cells with those that they start from, where `needed`, each before its dependants and none twice."""
    found: dict[str, Cell] = {}

    def add(cell: Cell) -> None:
        base = cell.base
        if base is not None and base.key not in found and needed(base):
            add(base)
        found.setdefault(cell.key, cell)

    for cell in cells:
        add(cell)
    return tuple(found.values())


def standing(records: Iterable[Record]) -> dict[tuple[str, str, str], Record]:
    """The newest fresh `ok` accuracy record by (cell, kind, device): what need not be run again."""
    found: dict[tuple[str, str, str], Record] = {}
    for record in records:
        if record.status == "ok" and is_fresh(record):
            found[record.cell, record.kind, record.device] = record
    return found
