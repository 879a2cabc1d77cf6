"""Studies: the cells of one published table or figure, as data. One file beside this one for each."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Study:
    """A published table or figure: its source, the cells that reproduce it as (task, method, hyperparameters).

    `reported` are the source's own numbers by what they are called there, in base units and fractions.
    """

    name: str
    title: str
    source: str
    cells: tuple[tuple[str, str, Mapping[str, Any]], ...]
    reported: Mapping[str, float]


@functools.cache
def studies() -> dict[str, Study]:
    """Every study by name: the `STUDY` of each file of this folder."""
    found = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(__path__)):
        study = importlib.import_module(f"{__name__}.{module}").STUDY
        found[study.name] = study
    return found
