"""Cells: which there are, what names them, which of them need not be run again."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from suite import cli, plan, registry
from suite.errors import UsageError
from suite.options import cells_of
from suite.plan import Cell
from suite.records import Record

Make = Callable[..., Record]
METHODS = sorted(registry.catalogue().methods)


def cells(*methods: str, **changes: Any) -> tuple[Cell, ...]:
    asked: dict[str, Any] = {"settings": {}, "seeds": [0], "profile": "smoke"} | changes
    return plan.cells([registry.task("vgg16-digits")], [registry.method(name) for name in methods], **asked)


def test_dense_cells_come_first() -> None:
    found = cells("l1-three-stage", "dense", "global-unstructured", seeds=[0, 1])
    assert [cell.method for cell in found[:3]] == ["dense", "dense", "l1-three-stage"]
    assert len({cell.key for cell in found}) == len(found)


def test_every_default_is_filled_in() -> None:
    for cell in cells(*METHODS):
        known = {parameter.name for parameter in registry.method(cell.method).hyperparameters}
        assert set(cell.hyperparameters) == known


def test_settings_replace_the_standard_points() -> None:
    (cell,) = cells("global-unstructured", settings={"sparsity": "0.8"})
    assert cell.hyperparameters == {"sparsity": 0.8, "epochs": 20, "lr": 0.02}


def test_settings_that_a_method_lacks_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown hyperparameter of dense 'sparsity': it has none"):
        cells("global-unstructured", "dense", settings={"sparsity": "0.8"})


def test_unknown_profile_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown profile 'fast'"):
        cells("dense", profile="fast")


def test_first_point_is_the_headline_alone() -> None:
    assert [cell.hyperparameters["channel_ratio"] for cell in cells("l1-three-stage", which="first")] == [22 / 64]


@pytest.mark.parametrize("name", METHODS)
def test_points_are_distinct_and_fit_the_signature(name: str) -> None:
    found = plan.points(registry.method(name))
    assert found
    assert all(found.count(point) == 1 for point in found)


def test_structured_methods_have_the_papers_operating_points() -> None:
    for name in ("l1-three-stage", "random-structured"):
        assert {point["channel_ratio"] for point in plan.points(registry.method(name))} >= {22 / 64, 0.7, 0.5, 0.59}


def test_unstructured_points_sweep_to_80_percent_in_steps_of_five_without_fine_tuning() -> None:
    points = plan.points(registry.method("global-unstructured"))
    sweep = [point["sparsity"] for point in points if point["epochs"] == 0]
    assert sweep == pytest.approx([0.05 * step for step in range(17)])
    assert {point["sparsity"] for point in points if point["epochs"]} == {0.5, 0.75, 0.9, 0.95}


def test_key_depends_on_every_part_of_a_cell_and_not_on_the_order_of_hyperparameters() -> None:
    one = Cell("t", "m", {"a": 1, "b": 2.0}, 0, "full")
    assert Cell("t", "m", {"b": 2.0, "a": 1}, 0, "full").key == one.key
    others = [
        Cell("u", "m", {"a": 1, "b": 2.0}, 0, "full"), Cell("t", "n", {"a": 1, "b": 2.0}, 0, "full"),
        Cell("t", "m", {"a": 1, "b": 3.0}, 0, "full"), Cell("t", "m", {"a": 1, "b": 2.0}, 1, "full"),
        Cell("t", "m", {"a": 1, "b": 2.0}, 0, "quick"),
    ]  # fmt: skip
    assert len({each.key for each in [one, *others]}) == 6


@pytest.mark.parametrize("name", METHODS)
def test_arguments_name_the_very_cell_on_the_command_line(name: str) -> None:
    for cell in cells(name, seeds=[3], profile="quick"):
        options = cli._parser().parse_args(["run", *shlex.split(cell.arguments)])
        assert [each.key for each in cells_of(options)] == [cell.key]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("quantize-dynamic", {"base": "structured:base=[global-unstructured:sparsity=0.5],macs_ratio=0.25"}),
        ("branch-alpha", {"restarts": "0.001, 0.01, 0.1", "spare": "it's; a $(test) `of` *"}),
    ],
)
def test_copied_arguments_name_the_same_cell_in_a_shell(name: str, settings: dict[str, str]) -> None:
    (cell,) = cells(name, settings=settings)
    said = subprocess.run(["sh", "-c", f'printf "%s\\0" {cell.arguments}'], capture_output=True, text=True, check=True)
    options = cli._parser().parse_args(["run", *said.stdout.rstrip("\0").split("\0")])
    assert [each.key for each in cells_of(options)] == [cell.key]


def test_a_cell_starts_from_the_dense_cell_of_its_task_seed_and_profile() -> None:
    for cell in cells("l1-three-stage", "dense", seeds=[4], profile="quick"):
        assert cell.dense == Cell("vgg16-digits", "dense", {}, 4, "quick")


# ----------------------------------------------------------------------------------------------------------- freshness


@pytest.fixture
def fresh(tiny_task: Any, make_record: Make) -> Make:
    """`make_record` whose records are of this checkout."""

    def call(**changes: Any) -> Record:
        freshness = plan.current_freshness("tiny", changes.get("method", "zeroes"))
        return make_record(**{"freshness": freshness} | changes)

    return call


def test_newest_fresh_ok_record_stands(fresh: Make) -> None:
    old, new = fresh(created="2025-01-01T00:00:00Z"), fresh(created="2025-01-02T00:00:00Z")
    assert plan.standing([old, new]) == {(old.cell, "accuracy", "cpu"): new}


def test_stale_and_failed_records_do_not_stand(fresh: Make, make_record: Make) -> None:
    assert plan.standing([make_record()]) == {}, "made by other code"
    assert plan.standing([fresh(status="error", reason="no")]) == {}
    assert plan.standing([fresh(status="unsupported", reason="no")]) == {}
    assert plan.standing([fresh(task="gone", freshness="0" * 64), fresh(method="gone", freshness="0" * 64)]) == {}


def test_what_a_mended_fault_spoiled_is_stale_and_what_came_after_is_not(fresh: Make) -> None:
    assert {backend for kind, backend, _ in plan.SPOILED if kind == "memory"} == {"compile", "eager", "onnxruntime"}
    for kind, backend, mended in plan.SPOILED:
        before, after = f"2026-11-28{mended[10:]}", f"2026-12-01{mended[10:]}"
        conditions = {"batch_size": 1, "threads": 1, "backend": backend, "precision": "int8", "cache": "hot"}
        spoiled = {"kind": kind, "conditions": conditions, "metrics": {"peak_bytes": 1}}
        assert not plan.is_fresh(fresh(**spoiled, created=before)) and plan.is_fresh(fresh(**spoiled, created=after))
        timed = {"kind": "latency", "conditions": conditions, "metrics": {"speedup": 1}}
        assert plan.is_fresh(fresh(**timed, created=before)) and plan.is_fresh(fresh(created=before))


def test_a_failure_does_not_unseat_an_earlier_success(fresh: Make) -> None:
    good = fresh(created="2025-01-01T00:00:00Z")
    bad = fresh(created="2025-01-02T00:00:00Z", status="error", reason="no")
    assert list(plan.standing([good, bad]).values()) == [good]


def test_devices_and_kinds_stand_beside_each_other(fresh: Make) -> None:
    latency = {"kind": "latency", "conditions": {}, "metrics": {"speedup": 2.0}}
    found = [fresh(), fresh(device="cuda"), fresh(**latency)]
    assert list(plan.standing(found).values()) == found
