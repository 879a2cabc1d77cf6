"""What is registered and what was measured, as entries for JSON and as lines for a person."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from suite import discovery, plan, registry
from suite.bounds import Range
from suite.errors import RegistrationError
from suite.plan import Cell
from suite.records import Record, canonical
from suite.sources import spell
from suite.tasks import PROFILES, Task

if TYPE_CHECKING:
    from suite.studies import Study

Entry = dict[str, Any]


def entries(what: str, name: str | None = None) -> list[Entry]:
    """Every task, method or study that is registered (`what`, in the plural), or the one called `name`.

    UsageError with the nearest name where there is none. The files of tasks and methods that are listed are imported,
    to say which cannot be; no others are.
    """
    kind, known, unavailable, entry = _REGISTERED[what]()
    names = {**dict.fromkeys(known), **unavailable}
    if name is not None:
        if what == "methods" and name not in known:
            name = discovery.file_of(name, unavailable) or name
        registry.lookup(kind, name, names, listing=f"python -m suite list {what}")
        names = {name: names[name]}
    absent = {"family": "", "description": ""} if what == "methods" else {"description": ""}
    return [
        entry(known[each]) if each in known else _standing_of(each, reason) | absent for each, reason in names.items()
    ]


def _standing_of(name: str, reason: str | None) -> Entry:
    """What every task and method is listed with; `reason` is why it cannot be used."""
    return {"name": name, "available": reason is None, "reason": reason}


def _loaded(load: Callable[[Any], Any], registered: Any) -> Entry:
    """The same of a task or a method whose file is imported now."""
    reason = None
    try:
        load(registered)
    except RegistrationError as error:
        reason = str(error)
    return _standing_of(registered.name, reason)


def _task(task: Task) -> Entry:
    return _loaded(registry.import_task, task) | {
        "title": task.title,
        "model": task.model,
        "data": task.data,
        "objective": task.objective,
        "embedded": task.embedded,
        "epochs": {profile: recipe.epochs for profile, recipe in task.recipes.items()},
        "description": task.description,
    }


def _method(method: registry.Method) -> Entry:
    return _loaded(registry.load, method) | {
        "family": method.family,
        "paper": method.paper,
        "points": plan.points(method),
        "points_set": [dict(point) for point in method.points],
        "hyperparameters": [asdict(each) for each in method.hyperparameters],
        "description": method.description,
    }


def _study(study: Study) -> Entry:
    return {"name": study.name, "source": study.source, "cells": len(study.cells), "description": study.title}


def _studies() -> Registered:
    from suite.studies import studies

    return "study", studies(), {}, _study


#: Of a kind: its name, what is registered, what cannot be used and why (both by name), and the entry of one.
Registered = tuple[str, Mapping[str, Any], Mapping[str, str], Callable[[Any], Entry]]
_REGISTERED: Mapping[str, Callable[[], Registered]] = {
    "tasks": lambda: ("task", registry.tasks(), registry.unavailable_tasks(), _task),
    "methods": lambda: ("method", registry.catalogue().methods, registry.catalogue().unavailable, _method),
    "studies": _studies,
}


#: Of an entry, what `text` puts in words of its own.
SAID_OTHERWISE = ("name", "description", "hyperparameters", "points", "points_set", "available", "reason")
#: How a base is written.
BASE_FORM = "METHOD[:name=value,...]"


def _kind(parameter: Mapping[str, Any]) -> str:
    """The values that `--set` takes, in words."""
    names = {"float": "number", "int": "whole number", "bool": "true or false", "str": "text"}
    kind = "|".join(parameter["choices"]) if parameter["choices"] else names[parameter["type"]]
    if parameter["bounds"] is not None:
        kind = f"{'numbers with commas between, each' if kind == 'text' else kind} {Range(**parameter['bounds'])}"
    return f"{kind}, or none" if parameter["optional"] else kind


def text(entries: Sequence[Entry], *, whole: bool) -> Iterator[str]:
    """Lines for a person: one an entry, or everything about it."""
    width = max((len(entry["name"]) for entry in entries), default=0)
    for entry in entries:
        first = "" if whole else entry["description"].partition("\n")[0]
        if entry.get("reason"):
            first = f"unavailable: {entry['reason']}"
        yield f"{entry['name']:{width}}  {first}".rstrip()
        if not whole:
            continue
        for name, value in entry.items():
            if name in SAID_OTHERWISE or value is None or value == "":
                continue
            yield f"  {name}: {', '.join(f'{k} {v}' for k, v in value.items()) if isinstance(value, dict) else value}"
        for index, point in enumerate(entry.get("points_set", ()) if entry.get("hyperparameters") else ()):
            told = " ".join(shlex.quote(f"{name}={spell(value)}") for name, value in point.items())
            yield f"  {'points:' if index == 0 else '       '} {told or 'the defaults'}"
        for parameter in entry.get("hyperparameters", ()):
            kind = BASE_FORM if parameter["name"] == registry.BASE else _kind(parameter)
            yield f"  --set {parameter['name']}={spell(parameter['default'])}  ({kind})"
        own = {parameter["name"] for parameter in entry.get("hyperparameters", ())}
        if registry.BASE not in own and entry.get("family", registry.BASELINE) not in ("", registry.BASELINE):
            yield f"  --set {registry.BASE}={BASE_FORM}  (any method's: start from that compressed network)"
        yield ""
        yield entry["description"]


# --------------------------------------------------------------------------------------------------- method x task


@dataclass(frozen=True)
class Standing:
    """What is known of one method on one task.

    `measured`: it has accuracy records that count, on `profiles` (the most serious first) and `machines`. `cannot`: it
    said so, `reason`. `failed`: every attempt ended in an error, `reason` the last. `untried`: nobody has measured it.
    A `measured` method may have a `reason` too: why some of its points are out of reach.
    """

    state: Literal["measured", "untried", "failed", "cannot"]
    profiles: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    reason: str | None = None

    def __str__(self) -> str:
        if self.state == "measured":
            return f"measured: {', '.join(self.profiles)}"
        if self.state == "untried":
            return "not measured yet"
        return f"{self.state}: {self.reason}" if self.reason else self.state


Matrix = Mapping[str, Mapping[str, Standing]]


def matrix(records: Iterable[Record]) -> Matrix:
    """Every registered method (outer) on every registered task (inner), from records oldest first that are fresh."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.kind == "accuracy" and plan.is_fresh(record):
            found.setdefault((record.method, record.task), []).append(record)
    tasks, methods = registry.tasks(), registry.catalogue().methods
    return {
        name: {task: _standing(found.get((name, task), ()), plan.points(method)) for task in tasks}
        for name, method in methods.items()
    }


def _standing(records: Sequence[Record], points: Sequence[Mapping[str, Any]]) -> Standing:
    """What the records of one method and task say; a setting that somebody chose and was refused is no fact of both."""
    records = [r for r in records if r.status != "unsupported" or r.hyperparameters in points]
    done = [record for record in records if record.status == "ok"]
    refused = next((r.reason for r in reversed(records) if r.status == "unsupported"), None)
    if done:
        profiles = tuple(name for name in reversed(PROFILES) if any(record.profile == name for record in done))
        return Standing("measured", profiles, tuple(sorted({record.machine for record in done})), refused)
    if any(record.status == "unsupported" for record in records):
        return Standing("cannot", reason=refused)
    failed = next((r for r in reversed(records)), None)
    return Standing("failed", reason=f"{failed.status}: {failed.reason}") if failed is not None else Standing("untried")


def matrix_text(found: Matrix) -> Iterator[str]:
    """The matrix as lines for a person: the reasons need more room than a table has."""
    for method, tasks in found.items():
        yield method
        width = max(map(len, tasks), default=0)
        for task, standing in tasks.items():
            yield f"  {task:{width}}  {standing}"


def matrix_entries(found: Matrix) -> list[Entry]:
    """The matrix as entries for JSON, one for each method and task."""
    return [{"method": m, "task": t, **asdict(each)} for m, tasks in found.items() for t, each in tasks.items()]


def settings(record: Record, among: Sequence[Cell] = ()) -> list[str]:
    """What tells a record from others, as `name=value`: of its hyperparameters those that are not the default, those
    in which the cells `among` which it is differ, and the first, which carries the point; of several seeds, its own.
    """
    methods = registry.catalogue().methods
    schema = methods[record.method].hyperparameters if record.method in methods else ()
    defaults = {parameter.name: parameter.default for parameter in schema}
    beside = [cell.hyperparameters for cell in among if cell.method == record.method]
    told = []
    for name, value in record.hyperparameters.items():
        usual = name in defaults and canonical(defaults[name]) == canonical(value)
        differ = any(canonical(other.get(name)) != canonical(value) for other in beside)
        lead = name == next(iter(defaults), None) and value is not None
        if not usual or differ or lead:
            told.append(f"{name}={spell(value)}")
    if record.seed or any(cell.seed != record.seed for cell in among):
        told.append(f"seed={record.seed}")
    return told


def line(record: Record, among: Sequence[Cell] = ()) -> str:
    """One record as a person reads it; `among` are the cells of the same call."""
    what = " ".join([record.task, record.method, *settings(record, among)])
    if record.status != "ok":
        return f"{what}: {failure(record)}"
    m = {name: value for name, value in record.metrics.items() if value is not None}  # others' may lack some
    if record.kind == "accuracy":
        score = [f"{name} {m[name]:.4f} (dense {m['dense_' + name]:.4f})" for name in m if f"dense_{name}" in m][:1]
        size = [f"{m['parameters']:,} parameters", *(_macs(m[name]) for name in ("macs",) if name in m)]
        return f"{what}: {', '.join([*score, *size])}"
    where = _where(record)
    if record.notes.get("contended"):
        where += "; contended: other processes were busy, so it is not ranked; --force measures again"
    if record.kind == "latency":
        low, high = (m.get(f"speedup_{end}", float("nan")) for end in ("low", "high"))
        eager = f", {m['speedup_over_eager']:.3f}x over eager dense" if "speedup_over_eager" in m else ""
        return f"{what}: {m['speedup']:.3f}x [{low:.3f}, {high:.3f}]{eager} ({where})"
    if record.kind == "memory":
        own, dense = (m.get(name, float("nan")) / 2**20 for name in ("peak_bytes", "dense_peak_bytes"))
        return f"{what}: peak {own:.1f} MiB, dense {dense:.1f} MiB ({where})"
    if record.kind == "energy":
        dense = m.get("dense_joules", float("nan"))
        return f"{what}: {m['joules']:.3g} J an image, dense {dense:.3g} J ({where})"
    return f"{record.task} noise floor {100 * m['noise_floor']:.2f} % ({where})"


def _macs(count: float) -> str:
    return f"{count / 1e6:.1f} M MACs" if count >= 1e5 else f"{count:,} MACs"


def failure(record: Record) -> str:
    """What became of a record that is not ok, and of which of its cell's rows, where it is one."""
    what = f"{record.status}: {record.reason}"
    return what if record.kind == "accuracy" else f"{record.kind}: {what} ({_where(record)})"


def _where(record: Record) -> str:
    return " ".join(f"{name}={value}" for name, value in (record.conditions or {}).items())
