"""What is registered, as plain entries for a table or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from suite import plan, registry
from suite.errors import RegistrationError

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
