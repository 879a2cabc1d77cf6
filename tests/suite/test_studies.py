"""Each study names cells that exist."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from suite import registry
from suite.plan import Cell
from suite.studies import studies


def test_every_file_is_a_study() -> None:
    files = [path for path in (Path(__file__).parents[2] / "suite" / "studies").glob("*.py") if path.stem != "__init__"]
    assert len(studies()) == len(files) > 0
    assert all(name == study.name for name, study in studies().items())


@pytest.mark.parametrize("name", sorted(studies()))
def test_cells_of_a_study_exist_and_differ(name: str) -> None:
    study = studies()[name]
    cells = [
        Cell(registry.task(task).name, method, registry.method(method).complete(setting), 0, "full")
        for task, method, setting in study.cells
    ]
    assert cells and len({cell.key for cell in cells}) == len(cells)
    assert study.title and study.source
    assert all(math.isfinite(value) for value in study.reported.values())
