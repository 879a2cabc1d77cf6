"""What is registered and what was measured, as entries for JSON and as lines for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from suite import plan, registry
from suite.errors import RegistrationError
from suite.records import Record
from suite.sources import spell

Entry = dict[str, Any]


def _tasks() -> list[Entry]:
    return [
        {
            "name": task.name,
            "title": task.title,
            "model": task.model,
            "data": task.data,
            "embedded": task.embedded,
            "epochs": {profile: recipe.epochs for profile, recipe in task.recipes.items()},
            "description": task.description,
        }
        for task in registry.tasks().values()
    ]


def _methods() -> list[Entry]:
    """Every method; each file is imported, to say which cannot be."""
    found = registry.catalogue()
    entries = []
    for method in found.methods.values():
        reason = None
        try:
            registry.load(method)
        except RegistrationError as error:
            reason = str(error)
        entries.append(
            {
                "name": method.name,
                "family": method.family,
                "available": reason is None,
                "reason": reason,
                "paper": method.paper,
                "points": plan.points(method),
                "hyperparameters": [asdict(each) for each in method.hyperparameters],
                "description": method.description,
            }
        )
    for module, reason in found.unavailable.items():
        entries.append({"name": module, "family": "", "available": False, "reason": reason, "description": ""})
    return entries


def _studies() -> list[Entry]:
    from suite.studies import studies

    return [
        {"name": each.name, "source": each.source, "cells": len(each.cells), "description": each.title}
        for each in studies().values()
    ]


ENTRIES: Mapping[str, Callable[[], list[Entry]]] = {"tasks": _tasks, "methods": _methods, "studies": _studies}


def text(entries: Sequence[Entry], *, whole: bool) -> Iterator[str]:
    """Lines for a person: one an entry, or everything about it."""
    width = max((len(entry["name"]) for entry in entries), default=0)
    for entry in entries:
        first = entry["description"].partition("\n")[0]
        if entry.get("reason"):
            first = f"unavailable: {entry['reason']}"
        yield f"{entry['name']:{width}}  {first}"
        if not whole:
            continue
        for name, value in entry.items():
            if name not in ("name", "description", "hyperparameters"):
                yield f"  {name}: {value}"
        for parameter in entry.get("hyperparameters", ()):
            kind = "|".join(parameter["choices"]) if parameter["choices"] else parameter["type"]
            yield f"  --set {parameter['name']}={parameter['default']}  ({kind})"
        yield ""
        yield entry["description"]


def line(record: Record) -> str:
    """One record as a person reads it."""
    told = ("channel_ratio", "sparsity", "epochs")
    settings = (f"{name}={spell(record.hyperparameters[name])}" for name in told if name in record.hyperparameters)
    what = " ".join([record.task, record.method, *settings])
    if record.status != "ok":
        return f"{what}: {record.status}: {record.reason}"
    m = {name: value for name, value in record.metrics.items() if value is not None}  # others' may lack some
    if record.kind == "accuracy":
        score = [f"{name} {m[name]:.4f} (dense {m['dense_' + name]:.4f})" for name in m if f"dense_{name}" in m][:1]
        size = [f"{m['parameters']:,} parameters", *(f"{m[name] / 1e6:.1f} M MACs" for name in ("macs",) if name in m)]
        return f"{what}: {', '.join([*score, *size])}"
    where = " ".join(f"{name}={value}" for name, value in (record.conditions or {}).items())
    if record.notes.get("contended"):
        where += "; contended: other processes were busy, so it is not ranked; --force measures again"
    if record.kind == "latency":
        low, high = (m.get(f"speedup_{end}", float("nan")) for end in ("low", "high"))
        return f"{what}: {m['speedup']:.3f}x [{low:.3f}, {high:.3f}] ({where})"
    if record.kind == "memory":
        own, dense = (m.get(name, float("nan")) / 2**20 for name in ("peak_bytes", "dense_peak_bytes"))
        return f"{what}: peak {own:.1f} MiB, dense {dense:.1f} MiB ({where})"
    return f"{record.task} noise floor {100 * m['noise_floor']:.2f} % ({where})"
