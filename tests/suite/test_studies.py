"""Each study names cells that exist, and tables whose lines fit their columns."""

from __future__ import annotations

import math
import re
import string
from pathlib import Path

import pytest

from suite import comparison, records, registry
from suite.plan import Cell
from suite.studies import SOURCES, Number, Study, studies

NAMES = sorted(studies())


def numbers(study: Study) -> list[Number]:
    return [number for table in study.tables for line in table.lines for number in line.numbers]


def test_every_file_is_a_study() -> None:
    files = list((Path(__file__).parents[2] / "suite" / "studies").glob("[!_]*.py"))
    assert len(studies()) == len(files) > 0
    assert all(name == study.name for name, study in studies().items())


@pytest.mark.parametrize("name", NAMES)
def test_cells_of_a_study_exist_and_differ(name: str) -> None:
    study = studies()[name]
    cells = [
        Cell(registry.task(task).name, method, registry.method(method).complete(setting), 0, "full")
        for task, method, setting in study.cells
    ]
    assert cells and len({cell.key for cell in cells}) == len(cells)
    assert study.title and study.source and study.why


@pytest.mark.parametrize("name", NAMES)
def test_every_source_of_a_study_has_an_author(name: str) -> None:
    study = studies()[name]
    short = re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*-(?:paper|report(?:-\d)?)\b", study.source)
    assert study.citations == tuple(text for each, text in SOURCES.items() if each in short)
    assert short and len(set(short)) == len(study.citations), "a source that SOURCES does not have"


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_a_study_are_rectangular_and_their_numbers_in_base_units(name: str) -> None:
    study = studies()[name]
    assert study.tables or study.figures
    for table in study.tables:
        assert table.lines and all(len(line.numbers) == len(table.columns) for line in table.lines), table.title
        for line in table.lines:
            printed = [number.reported for number in line.numbers if number.reported is not None]
            assert all(math.isfinite(value) for value in printed)
            if line.unit == "fraction":
                assert all(0 <= value <= 1 for value in printed), line.label
    assert any(number.reported is not None for number in numbers(study)) or study.figures


@pytest.mark.parametrize("name", NAMES)
def test_what_answers_a_number_is_one_measurement(name: str) -> None:
    for each in studies()[name].quantities:
        assert (each.kind == "accuracy") == (each.conditions is None), each
        assert each.point is None or each.kind == "accuracy", each
        assert each.form != "mean" or each.kind == "latency", each
        assert each.device == "cpu" or (each.conditions or {}).get("timing") is not None, each


@pytest.mark.parametrize("name", NAMES)
def test_a_finding_names_numbers_that_the_study_measures(name: str) -> None:
    study = studies()[name]
    asked = {repr((each.task, each.method, sorted(each.setting.items()), each.kind)) for each in study.quantities}
    asked |= {repr((task, "dense", [], "accuracy")) for task, *_ in study.cells}  # which every study trains
    for finding in study.findings:
        assert {field for _, field, _, _ in string.Formatter().parse(finding.text) if field} == set(finding.by)
        for _, each in finding.by.values():
            assert repr((each.task, each.method, sorted(each.setting.items()), each.kind)) in asked, each


def test_what_is_published_is_what_the_findings_were_written_over() -> None:
    known = comparison.index(records.read_results(Path(__file__).parents[2] / "results")[0])
    silent = [
        each.finding.text
        for study in studies().values()
        for each in comparison.compare(study, known).findings
        if not each.holds
    ]
    assert silent == [], "written over other results: read them again"
