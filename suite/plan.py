"""Tasks x methods x points x seeds -> cells; which of them are measured, stale or missing. No torch."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite import registry, sources
from suite.errors import UsageError
from suite.records import PROTOCOL, Record, canonical, cell_key, sha256_of
from suite.registry import Method
from suite.tasks import PROFILES, Task

DENSE = "dense"


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
    def arguments(self) -> str:
        """The command-line options that name this cell."""
        defaults = registry.method(self.method).complete({})
        words = ["--task", self.task, "--method", self.method]
        changed = [name for name, value in self.hyperparameters.items() if value != defaults.get(name)]
        # without any --set the command line means every standard point
        for name in changed or list(self.hyperparameters)[:1]:
            words += ["--set", f"{name}={spell(self.hyperparameters[name])}"]
        return " ".join([*words, "--seed", str(self.seed), "--profile", self.profile])


def spell(value: Any) -> str:
    """A hyperparameter's value as `--set` takes it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


@functools.cache
def _freshness(method: str, model: str, task: str) -> str:
    return sha256_of([PROTOCOL, *(sources.meaning(Path(path)) for path in (method, model, task))])


def freshness(task: Task, method: Method) -> str:
    """Hash of what the method's, model's and task's files do, and the protocol version (DESIGN section 8)."""
    return _freshness(method.path, str(registry.model_path(task.model)), task.path)


def points(method: Method, which: str = "all") -> list[dict[str, Any]]:
    """The method's standard settings, every default filled in, without repeats; `first`: the headline alone."""
    given = method.points[:1] if which == "first" else method.points
    complete = [method.complete(point) for point in given] or [method.complete({})]
    return list({canonical(point): point for point in complete}.values())


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
    or a hyperparameter that a method lacks.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    found: dict[str, Cell] = {}
    for task in tasks:
        for method in methods:
            chosen = [method.complete(settings)] if settings else points(method, which)
            for hyperparameters in chosen:
                for seed in seeds:
                    cell = Cell(task.name, method.name, hyperparameters, seed, profile)
                    found.setdefault(cell.key, cell)
    return tuple(sorted(found.values(), key=lambda cell: cell.method != DENSE))


def is_fresh(record: Record) -> bool:
    """Was the record made by the method, model, task and protocol of this checkout?"""
    return current_freshness(record.task, record.method) == record.freshness


@functools.cache
def current_freshness(task: str, method: str) -> str | None:
    """The freshness hash of today, or None where this checkout has no such task or method."""
    tasks, methods = registry.tasks(), registry.catalogue().methods
    if task not in tasks or method not in methods:
        return None
    return freshness(tasks[task], methods[method])


def standing(records: Iterable[Record]) -> dict[tuple[str, str, str], Record]:
    """The newest fresh `ok` accuracy record by (cell, kind, device): what need not be run again."""
    found: dict[tuple[str, str, str], Record] = {}
    for record in records:
        if record.status == "ok" and is_fresh(record):
            found[record.cell, record.kind, record.device] = record
    return found
