"""One cell from plan to record: what is written, what is kept, and what becomes of a method that fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suite import artifacts, complexity, evaluate, invocation, modelfiles, plan, records, run
from suite.errors import DataError, RecordError
from suite.invocation import Places
from suite.plan import Cell
from suite.progress import Progress
from suite.records import Record

QUIET = Progress(silent=True)
METRICS = ("top1", "top5", "parameters", "nonzero_parameters", "macs", "size_bytes", "size_bytes_compressed")


@pytest.fixture
def measure(places: Places, origin: invocation.Provenance, tiny_cell: Callable[..., Cell]) -> Callable[..., Record]:
    """`measure(method, hyperparameter=value, ...)`: the record of a smoke cell of `tiny`."""

    def call(method: str, *, seed: int = 0, at: Places = places, **hyperparameters: Any) -> Record:
        return run.run_cell(tiny_cell(method, seed=seed, **hyperparameters), at, "cpu", origin, QUIET)

    return call


def folder_of(record: Record, places: Places) -> Path:
    cell = Cell(record.task, record.method, record.hyperparameters, record.seed, record.profile)
    return invocation.artifact_folder(places.artifacts, cell, str(record.data_sha256))


# ----------------------------------------------------------------------------------------- networks of no use to others


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("mask", "head.weight is still masked: call torch.nn.utils.prune.remove(module, 'weight') at the end"),
        ("width", "outputs are (8, 11), the task's are (8, 10)"),
        ("hook", "the reloaded network's outputs differ"),
        ("nan", "outputs are not finite"),
        ("half", ".weight is float16: return the network in float32, model.float()"),
        ("tuple", "outputs are a tuple, the task's are one tensor of (8, 10)"),
        ("raises", "it does not take the task's inputs [RuntimeError: "),
        ("trained", "outputs are (7,) a sample, the task's are (10,): leave the last layer (head) as it is"),
        ("wrap", "it cannot be loaded again: what a method returns must be made of plain layers"),
        ("beyond", "what spoils logged or reported makes no record: metric size is not finite"),
        ("fraction", "what spoils logged or reported makes no record: metric ssim = 7.0 lies outside [0, 1]"),
    ],
)
def test_what_others_could_not_use_or_read_is_recorded_as_an_error(
    measure: Callable[..., Record], places: Places, how: str, reason: str
) -> None:
    record = measure("spoils", how=how)
    assert record.status == "error" and reason in str(record.reason), record.reason
    line = records.encode(record)
    assert records.encode(records.decode(line.rstrip())) == line and not record.metrics
    if how in ("hook", "wrap"):
        assert not folder_of(record, places).exists(), "or it would be taken for the cell's model"


def test_a_long_curve_is_thinned(measure: Callable[..., Record]) -> None:
    record = measure("spoils", how="long")
    assert record.status == "ok" and len(record.curve) == 1000
    assert (record.curve[0]["step"], record.curve[-1]["step"]) == (0, 39_999)


def test_a_method_that_changes_the_directory_loses_no_model(
    measure: Callable[..., Record], places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places.results.parent)
    relative = replace(places, artifacts=places.artifacts.relative_to(places.results.parent))
    record = measure("spoils", how="moves", at=relative)
    assert record.status == "ok" and modelfiles.is_readable(folder_of(record, places))


def test_a_damaged_description_is_a_model_that_is_not_there(measure: Callable[..., Record], places: Places) -> None:
    record = measure("zeroes", share=0.25, seed=5)
    folder = folder_of(record, places)
    cell = Cell(record.task, record.method, record.hyperparameters, record.seed, record.profile)
    assert invocation.newest_model(cell, places.artifacts) == folder
    (folder / modelfiles.DESCRIPTION).write_text("garbage")
    assert invocation.newest_model(cell, places.artifacts) is None


# ------------------------------------------------------------------------------------------------------------ a record


def test_record_holds_what_design_asks_for(measure: Callable[..., Record], places: Places) -> None:
    record = measure("zeroes", finetune=True)
    assert record.status == "ok" and record.reason is None
    assert set(record.metrics) == {*METRICS, *(f"dense_{name}" for name in METRICS), "training_macs"}
    assert record.hyperparameters == {"share": 0.5, "finetune": True}
    assert record.metrics["training_macs"] == 3 * record.metrics["dense_macs"] * 64
    assert [set(point) for point in record.curve] == [{"step", "share", "val"}]
    assert record.data_source == "scikit-learn digits, upsampled" and len(str(record.data_sha256)) == 64
    assert record.recipe is not None and record.recipe["epochs"] == 1 and record.recipe["train_images"] == 64
    assert record.freshness == plan.current_freshness("tiny", "zeroes")
    assert record.versions["torch"] == torch.__version__.partition("+")[0] or "torch" in record.versions
    assert (
        record.command == "python -m suite run --task tiny --method zeroes --set finetune=true --seed 0 --profile smoke"
    )
    line = records.encode(record)
    assert records.encode(records.decode(line)) == line
    assert str(places.data.parent).encode() not in line and str(Path.home()).encode() + b"/" not in line


def test_stored_model_is_the_one_that_was_measured(
    measure: Callable[..., Record], places: Places, tiny_ready: Any
) -> None:
    record = measure("zeroes", share=0.25)
    model = artifacts.load(folder_of(record, places))
    test = tiny_ready.dataset.test
    assert evaluate.evaluate(model, tiny_ready.dataset, test, tiny_ready.objective)["top1"] == record.metrics["top1"]
    assert complexity.complexity(model, (3, 32, 32)) == {name: record.metrics[name] for name in METRICS[2:]}
    rebuilt = artifacts.rebuild(json.loads(records.encode(record))["architecture"])
    assert complexity.parameters(rebuilt) == record.metrics["parameters"]


def test_record_has_what_the_method_trained_epoch_by_epoch(measure: Callable[..., Record]) -> None:
    (only,) = measure("zeroes", share=0.3, finetune=True).trainings
    assert (only.label, only.lr) == ("fine-tune", 0.01) and [point[0] for point in only.points] == [1]
    assert measure("zeroes", share=0.3).trainings == []


def test_dense_record_has_its_training_as_curve_and_is_its_own_dense(measure: Callable[..., Record]) -> None:
    record = measure("dense")
    assert [set(point) for point in record.curve] == [{"step", "train_loss", "val"}]
    assert all(record.metrics[name] == record.metrics[f"dense_{name}"] for name in METRICS)
    assert record.metrics["training_macs"] == 3 * record.metrics["macs"] * 64


def test_methods_of_one_seed_start_from_one_checkpoint_that_is_trained_once(
    measure: Callable[..., Record], places: Places
) -> None:
    dense = measure("dense")
    weights = folder_of(dense, places) / modelfiles.WEIGHTS
    written = weights.stat().st_mtime_ns
    others = [measure("zeroes"), measure("zeroes", share=0.25)]
    assert {record.checkpoint_sha256 for record in [dense, *others]} == {modelfiles.sha256_file(weights)}
    assert weights.stat().st_mtime_ns == written
    assert {record.metrics["dense_top1"] for record in others} == {dense.metrics["top1"]}
    assert not (weights.parent / run.TRAINING_STATE).exists(), "the state of the training is cleared away"


def test_same_cell_measured_twice_gives_the_same_numbers(measure: Callable[..., Record], tmp_path: Path) -> None:
    one = measure("zeroes", finetune=True)
    two = measure("zeroes", finetune=True, at=Places(tmp_path, tmp_path / "artifacts", tmp_path))
    assert two.metrics == one.metrics and two.curve == one.curve and two.checkpoint_sha256 == one.checkpoint_sha256


def test_seeds_give_other_models(measure: Callable[..., Record]) -> None:
    assert measure("dense").checkpoint_sha256 != measure("dense", seed=1).checkpoint_sha256


# ------------------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("raises", "error", "ValueError: the ranks are all equal"),
        ("refuses", "unsupported", "grouped convolutions are beyond it"),
    ],
)
def test_failing_method_is_a_record_with_a_reason_of_one_line(
    measure: Callable[..., Record], places: Places, method: str, status: str, reason: str
) -> None:
    record = measure(method)
    assert (record.status, record.reason) == (status, reason)
    assert record.metrics == {} and record.checkpoint_sha256
    assert records.decode(records.encode(record)).reason == record.reason
    assert modelfiles.facts(folder_of(record, places)) is None


FAILING = '''
import torch
from suite import SuiteError, Unsupported, register_method


@register_method("fails", family="unstructured pruning")
def fails(model, bench):
    """Fail in one way or another: this line is long enough."""
    {body}
'''


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("return None", "error", "fails returned a NoneType, not the compressed network"),
        ("return model.state_dict()", "error", "returned a OrderedDict"),
        ("raise MemoryError", "oom", "MemoryError: no message"),
        ("raise torch.OutOfMemoryError('CUDA out of memory')", "oom", "OutOfMemoryError: CUDA out of memory"),
        ("raise Unsupported('two\\nlines')", "unsupported", "two lines"),
        ("raise SuiteError('nothing to prune')", "error", "nothing to prune"),
        ("bench.log(val=float('nan'))", "error", "bench.log(val=nan)"),
        ("bench.finetune(model, epochs=1, lr=1e30)", "error", "the loss is nan in epoch 1"),
        ("model.head = torch.nn.Linear(7, 10); return model", "error", "mat1 and mat2 shapes cannot be multiplied"),
        ("raise KeyError", "error", "KeyError: no message"),
        ("raise SystemExit(0)", "error", "SystemExit: 0"),
        ("open('/home/jane/secret/weights.bin')", "error", "No such file or directory: 'weights.bin'"),
        ("raise ValueError('3/4 of a/b/c, 1/2/3')", "error", "ValueError: 3/4 of a/b/c, 1/2/3"),
        ("import not_installed_anywhere", "error", "ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("assert False, 'x' * 5000", "error", "AssertionError: xxx"),
    ],
)
def test_every_way_to_fail_has_its_status_and_reason(
    install: Callable[..., Path], measure: Callable[..., Record], body: str, status: str, reason: str
) -> None:
    install(methods={"fails": FAILING.replace("{body}", body)})
    record = measure("fails")
    assert record.status == status
    assert reason in str(record.reason)
    assert "\n" not in str(record.reason) and len(str(record.reason)) < 400
    assert records.decode(records.encode(record)).reason == record.reason


def test_method_that_cannot_be_imported_is_an_error_record(
    install: Callable[..., Path], measure: Callable[..., Record]
) -> None:
    install(methods={"fails": "import not_installed_anywhere\n" + FAILING.replace("{body}", "return model")})
    record = measure("fails")
    assert record.status == "error"
    assert str(record.reason).startswith("fails.py cannot be imported: ModuleNotFoundError"), "no folder is told"


def test_what_a_method_prints_goes_to_standard_error(
    install: Callable[..., Path], measure: Callable[..., Record], capsys: pytest.CaptureFixture[str]
) -> None:
    install(methods={"fails": FAILING.replace("{body}", "print('pruning'); return model")})
    assert measure("fails").status == "ok"
    printed = capsys.readouterr()
    assert printed.out == "" and "pruning" in printed.err


def test_method_gets_a_copy_of_its_own(install: Callable[..., Path], measure: Callable[..., Record]) -> None:
    before = measure("zeroes")
    ruin = "\n    ".join(
        ["with torch.no_grad():", "    [each.zero_() for each in model.parameters()]", "raise SuiteError('no')"]
    )
    install(methods={"fails": FAILING.replace("{body}", ruin)})
    assert measure("fails").status == "error"
    assert measure("zeroes").metrics == before.metrics


def test_missing_data_is_no_fault_of_the_cell(places: Places, origin: invocation.Provenance) -> None:
    with pytest.raises(DataError, match="cifar10 is not in"):
        run.run_cell(Cell("vgg16-cifar10", "dense", {}, 0, "smoke"), places, "cpu", origin, QUIET)


def test_images_of_another_size_than_the_task_takes_are_a_data_error(tmp_path: Path) -> None:
    labels = (np.arange(100) % 10).astype(np.uint8)
    small = np.zeros((100, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "cifar10.npz", x_train=small, y_train=labels, x_test=small, y_test=labels)
    with pytest.raises(DataError, match=r"cifar10\.npz .*\(3, 16, 16\), .*vgg16-cifar10 takes \(3, 32, 32\)"):
        run.prepare("vgg16-cifar10", "smoke", Places(tmp_path, tmp_path, tmp_path), "cpu")


def test_artifacts_that_cannot_be_written_are_a_record_error(measure: Callable[..., Record], tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file")
    with pytest.raises(RecordError, match="cannot write"):
        measure("dense", at=Places(tmp_path, tmp_path / "artifacts", tmp_path))


# --------------------------------------------------------------------------------------------------------- dense model


@pytest.mark.parametrize("damage", ["weights", "description", "no weights", "no facts"])
def test_damaged_dense_model_is_trained_again_to_the_same_weights(
    measure: Callable[..., Record], tiny_cell: Callable[..., Cell], tiny_ready: Any, places: Places,
    capsys: pytest.CaptureFixture[str], damage: str,
) -> None:  # fmt: skip
    before = measure("dense")
    folder = folder_of(before, places)
    weights, description = folder / modelfiles.WEIGHTS, folder / modelfiles.DESCRIPTION
    if damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-8])
    elif damage == "description":
        description.write_bytes(b"{")
    elif damage == "no weights":
        weights.unlink()
    else:
        description.write_text(json.dumps(json.loads(description.read_text()) | {"facts": {}}))
    found = run.dense_model(tiny_cell("zeroes"), tiny_ready, places, "cpu", Progress())
    assert found.sha256 == before.checkpoint_sha256
    assert len([line for line in capsys.readouterr().err.splitlines() if "it is trained again" in line]) == 1


def test_interrupted_dense_training_goes_on_and_ends_the_same(
    tiny_cell: Callable[..., Cell], tiny_ready: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state after the first of two epochs is kept, as by a process that was killed then."""
    ready = replace(tiny_ready, recipe=replace(tiny_ready.recipe, epochs=2))
    whole = run.dense_model(tiny_cell("dense"), ready, Places(tmp_path, tmp_path / "a", tmp_path), "cpu", QUIET)

    class Killed(Progress):
        def bar(self, label: str, total: int, **_: Any) -> Any:
            return _stop_after(3)

    places = Places(tmp_path, tmp_path / "b", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run.dense_model(tiny_cell("dense"), ready, places, "cpu", Killed(silent=True))
    resumed = run.dense_model(tiny_cell("dense"), ready, places, "cpu", Progress())
    assert "going on from epoch 1" in capsys.readouterr().err
    assert resumed.sha256 == whole.sha256 and resumed.curve == whole.curve


class _stop_after:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def __enter__(self) -> Callable[..., None]:
        return self.advance

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, count: int = 1, note: str = "") -> None:
        self.left -= count
        if self.left <= 0:
            raise KeyboardInterrupt


def test_changed_code_or_data_means_another_folder(
    tiny_cell: Callable[..., Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = tiny_cell("zeroes")
    one = invocation.artifact_folder(tmp_path, cell, "a" * 64)
    assert invocation.artifact_folder(tmp_path, cell, "b" * 64) != one
    assert invocation.artifact_folder(tmp_path, tiny_cell("zeroes", seed=1), "a" * 64) != one
    monkeypatch.setattr(plan, "current_freshness", lambda task, method, base=None: "f" * 64)
    assert invocation.artifact_folder(tmp_path, cell, "a" * 64) != one


def test_seeding_covers_every_source_of_random_numbers() -> None:
    import random

    def drawn() -> tuple[float, ...]:
        run.seed_everything(2**31 - 1)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert drawn() == drawn()


def test_runs_have_names_of_their_own(origin: invocation.Provenance) -> None:
    assert invocation.provenance().run != origin.run
    assert invocation.provenance().machine == origin.machine
