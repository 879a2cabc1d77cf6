"""What a plan is said to cost: each dense model once, by arithmetic that can be done by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import conditions, cost, execute, invocation, machine, modelfiles, plan, registry
from suite.bench import Row
from suite.errors import TaskError
from suite.plan import Cell
from suite.records import Record

VGG16_MACS = 313_201_664


def cell(method: str, *, seed: int = 0, profile: str = "full", **hyperparameters: object) -> Cell:
    return Cell("vgg16-cifar10", method, registry.method(method).complete(hyperparameters), seed, profile)


def test_dense_training_is_its_epochs_times_three_passes_over_the_images() -> None:
    assert cost.training_macs(cell("dense")) == 3 * VGG16_MACS * 47_500 * 100
    assert cost.training_macs(cell("dense", profile="smoke")) == 3 * VGG16_MACS * 256


def test_fine_tuning_counts_the_epochs_of_every_step() -> None:
    assert cost.method_epochs(cell("l1-three-stage").hyperparameters) == 5 * 10 + 40
    assert cost.method_epochs(cell("global-unstructured").hyperparameters) == 20
    assert cost.method_epochs(cell("dense").hyperparameters) == 0
    assert cost.training_macs(cell("global-unstructured", epochs=0)) == 0
    assert cost.training_macs(cell("global-unstructured", profile="quick")) == pytest.approx(
        3 * VGG16_MACS * 47_500 * 2
    )


def test_other_ways_of_saying_how_long() -> None:
    assert cost.method_epochs(cell("branch-alpha").hyperparameters) == 45 + 10 + 20 + 80
    assert cost.method_epochs(cell("branch-alpha", order="encoder-first").hyperparameters) == 2 * 155
    assert cost.method_epochs(cell("quantize-qat").hyperparameters) == 8 + 2
    assert cost.training_macs(cell("from-scratch")) == cost.training_macs(cell("dense"))


def test_each_dense_model_is_counted_once_and_not_if_it_is_there() -> None:
    cells = [cell("global-unstructured", epochs=0, sparsity=share) for share in (0.5, 0.9)]
    rate = cost.training_rate("cpu")
    dense = cells[0].dense
    assert cost.estimate_seconds(cells, "cpu") == pytest.approx(cost.training_macs(dense) / rate)
    assert cost.estimate_seconds(cells, "cpu", frozenset({dense.key})) == 0
    assert cost.estimate_seconds([*cells, cell("dense", seed=1)], "cpu") == pytest.approx(
        2 * cost.training_macs(dense) / rate
    )


def test_running_is_training_evaluating_and_a_process_each() -> None:
    cells = [cell("global-unstructured", epochs=0, sparsity=share) for share in (0.5, 0.9)]
    one_pass, have = VGG16_MACS / cost.training_rate("cpu"), frozenset({cells[0].dense.key})
    judged = (2_500 + 10_000) * one_pass + cost.SECONDS_PER_CELL
    assert cost.running_seconds(cells, "cpu", have) == pytest.approx(2 * judged)
    dense = cost.estimate_seconds(cells, "cpu") + 100 * 2_500 * one_pass + judged
    assert cost.running_seconds(cells, "cpu") == pytest.approx(2 * judged + dense)
    evaluated = cost.running_seconds([dense_cell := cells[0].dense], "cpu", have)
    assert evaluated == pytest.approx(judged), "a model that is there is evaluated all the same"
    assert dense_cell.key in have
    smoke = cost.running_seconds([cell("dense", profile="smoke")], "cpu")
    assert smoke == pytest.approx((3 * 256 + 3 * 256) * one_pass + cost.SECONDS_PER_CELL)


def test_cells_are_announced_without_torch_where_their_macs_are_known(tiny_task: Any, tmp_path: Path) -> None:
    cells = [
        Cell("tiny", "zeroes", registry.method("zeroes").complete({"share": share}), 0, "smoke") for share in (0, 1)
    ]
    assert cost.announcement(cells, "cpu", tmp_path, {}) == "2 cells to run: python -m suite plan says how long"
    assert cost.announcement(cells, "cpu", tmp_path, {"tiny": 7}) == "2 cells to run: at most 21 s"


def test_dense_model_of_earlier_code_is_not_there(tmp_path: Path) -> None:
    asked = cell("global-unstructured")
    today = invocation.artifact_folder(tmp_path, asked.dense, "d" * 64)
    stale = today.with_name(today.name.replace(str(asked.dense.freshness)[:8], "0" * 8))
    for folder, there in ((stale, frozenset()), (today, frozenset({asked.dense.key}))):
        folder.mkdir(parents=True)
        (folder / modelfiles.WEIGHTS).touch()
        modelfiles.write_description(folder, {"sha256": "0" * 64, "facts": {}})
        assert cost.trained([asked], tmp_path) == there


@pytest.mark.parametrize(("fast", "rate"), [(True, cost.MACS_PER_CORE), (False, cost.MACS_PER_FLOAT32_CORE)])
def test_cpu_without_bf16_trains_at_the_rate_of_float32(
    fast: bool, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "bf16_is_fast", lambda: fast)
    monkeypatch.setattr(machine, "usable_cores", lambda: 4)
    assert cost.training_rate("cpu") == 4 * rate
    assert cost.training_rate("cuda") == cost.MACS_PER_GPU


def test_benchmark_is_counted_job_by_job_as_it_will_be_measured() -> None:
    """INT8 rows are compiled ones, and there is a noise floor for each kind of row, and a memory row beside each."""
    rows = [Row(1, 1)]
    float_cell, int8_cell = cell("global-unstructured", profile="quick"), cell("quantize-static", profile="quick")
    for cells in ([float_cell], [int8_cell], [float_cell, int8_cell]):
        jobs = execute.jobs(cells, rows)
        floors = 1 + (int8_cell in cells)
        assert len(jobs) == floors + 2 * len(cells)
        by_hand = sum(conditions.estimate_seconds([job.row], "quick", kind=job.kind, macs=VGG16_MACS) for job in jobs)
        assert cost.benchmark_seconds(jobs, "cpu") == pytest.approx(by_hand)
    assert cost.benchmark_seconds(execute.jobs([int8_cell], rows), "cpu") > 3 * cost.benchmark_seconds(
        execute.jobs([float_cell], rows), "cpu"
    )


def test_training_images_that_planning_assumes_are_those_that_data_sets_have() -> None:
    from pathlib import Path

    from suite import data

    digits = data.load("digits", Path("/nowhere"), "cpu")
    assert len(digits.train) == cost.TRAINING_IMAGES["digits"]
    assert (len(digits.val), len(digits.test)) == cost.EVALUATION_IMAGES["digits"]
    assert cost.TRAINING_IMAGES["cifar10"] == 50_000 - 2_500


def test_whoever_waits_for_cells_loads_no_torch() -> None:
    code = """if True:
        import sys
        from suite import cost, execute, options, plan
        cell = plan.Cell("vgg16-digits", "global-unstructured", {"epochs": 40}, 0, "quick")
        assert cost.estimate_seconds([cell], "cpu", known={"vgg16-digits": 10**6}) > 0
        print("torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_macs_are_those_of_fresh_records(make_record: Callable[..., Record], tiny_task: Any) -> None:
    macs = {"top1": 0.5, "dense_macs": 7}
    fresh = {"freshness": plan.current_freshness("tiny", "zeroes"), "metrics": macs}
    assert cost.stated([make_record(**fresh)]) == {"tiny": 7}
    assert cost.stated([make_record(metrics=macs), make_record(**fresh | {"status": "error", "reason": "x"})]) == {}


def test_network_that_fails_is_one_line_that_names_its_task(install: Callable[..., Path], own_task: str) -> None:
    install(tasks={"theirs": own_task.replace("nn.Linear(width * 4, 3)", "nn.Linear(width * 5, 3)")})
    cost._counted_macs.cache_clear()  # another test's task may have had that name
    with pytest.raises(TaskError, match=r"^task theirs: its model 'their-net' fails on a sample of \(2, 4, 4\) \[Runt"):
        cost.dense_macs("theirs")
