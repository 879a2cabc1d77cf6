"""Generator and discriminator on the digits: they learn, go on where they stopped, and count as what they are."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx, nn

from suite import (
    adversarial,
    artifacts,
    complexity,
    data,
    datafiles,
    invocation,
    modelfiles,
    plan,
    registry,
    run,
    taskfiles,
)
from suite.adversarial import METRIC, OPPONENT
from suite.data import Dataset
from suite.errors import Unsupported
from suite.evaluate import OBJECTIVES, evaluate
from suite.invocation import Places
from suite.progress import Progress
from suite.run import Prepared
from suite.train import train
from suite.workbench import Workbench

QUIET = Progress(silent=True)
SHAPES = {"both": (3172, 1, 1), "generator": (100, 1, 1), "discriminator": (3, 32, 32)}


def ready(part: str = "both", *, images: int | None = 64, **recipe: Any) -> Prepared:
    """A DCGAN of an eighth of its width on digits, with the part of it that is compressed."""
    digits = registry.task("dcgan-digits")
    task = replace(digits, options={**digits.options, "part": part}, input_shape=SHAPES[part])
    plain = data.load("digits", datafiles.default_root(), "cpu")
    asked = replace(digits.recipes["smoke"], train_images=images, eval_images=64, **recipe)
    objective = OBJECTIVES["generation"].of(task)
    assert objective.match is not None
    return Prepared(task, asked, objective.match.view(plain.capped(asked)), objective)


def network(found: Prepared) -> nn.Module:
    run.seed_everything(0)
    model: nn.Module = registry.build_model("dcgan", found.task.options)
    return model


def teach(model: nn.Module, found: Prepared, **more: Any) -> Any:
    return train(model, found.dataset, found.recipe, found.objective, seed=0, progress=QUIET, label="t", **more)


def score(model: nn.Module, found: Prepared) -> float:
    return evaluate(model, found.dataset, found.dataset.test, found.objective)[METRIC]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            "generator",
            "an input is a latent vector of 100 numbers, drawn from 0 to 255 as pixels are written; outputs are",
        ),
        ("discriminator", "an input is a picture; outputs are logits"),
        ("both", "with the 3,072 pixels of a picture behind it; outputs are pictures from -1 to 1 with the logit"),
    ],
)
def test_what_goes_in_and_comes_out_is_told(part: str, said: str) -> None:
    assert said in adversarial.in_and_out(ready(part).task)


def test_training_brings_generated_digits_nearer_to_real_ones() -> None:
    found = ready(images=None, epochs=12)  # 51 after the first epoch, 31 untrained, 6 at the end
    model = network(found)
    before = score(model, found)
    teach(model, found)
    assert score(model, found) < 0.5 * before


@pytest.mark.parametrize("part", SHAPES)
def test_resumed_training_equals_an_uninterrupted_one(part: str, tmp_path: Path) -> None:
    def whole(checkpoint: Path | None, epochs: int) -> dict[str, torch.Tensor]:
        found = ready(part, epochs=epochs)
        model = network(found)
        teach(model, found, checkpoint=checkpoint)
        match = found.objective.match
        assert match is not None
        return match.together(model, "cpu").state_dict()

    wanted = whole(None, 2)
    whole(tmp_path / "state", 1)  # with a constant learning rate an epoch does not depend on how many there are
    resumed = whole(tmp_path / "state", 2)
    assert wanted.keys() == resumed.keys()
    assert all(torch.equal(wanted[name], resumed[name]) for name in wanted)


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_opponent_learns_too_and_is_no_part_of_the_network(part: str) -> None:
    found = ready(part)
    model, match = network(found), found.objective.match
    assert match is not None
    before = copy.deepcopy(match.opponent.state_dict())
    done = teach(model, found)
    assert any(not torch.equal(before[name], value) for name, value in match.opponent.state_dict().items())
    both = complexity.parameters(registry.build_model("dcgan", found.task.options | {"part": "both"}))
    assert complexity.parameters(model) + complexity.parameters(match.opponent) == both
    halves = (model, match.opponent) if part == "generator" else (match.opponent, model)
    made, judged = complexity.macs(halves[0], (100, 1, 1)), complexity.macs(halves[1], (3, 32, 32))
    assert done.training_macs == 64 * (3 * made + 7 * judged)


def test_step_is_the_same_through_a_network_whose_halves_cannot_be_told_apart() -> None:
    """A method may hand over a traced or quantized network; BatchNorm sees other latent vectors there, in eval none."""
    found = ready()
    match = found.objective.match
    assert match is not None
    plain = network(found).eval()
    opaque = fx.symbolic_trace(copy.deepcopy(plain)).eval()
    pictures = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    gradients = []
    for model in (plain, opaque):
        sgd = torch.optim.SGD(model.parameters(), lr=0.0)
        match.step(model, pictures, torch.Generator().manual_seed(0), sgd, torch.enable_grad)
        gradients.append({name: each.grad for name, each in model.named_parameters()})
    for name, wanted in gradients[0].items():
        assert wanted is not None and torch.allclose(gradients[1][name], wanted, atol=1e-6), name
    assert match._halves(opaque) is None and match._halves(plain) is not None


@pytest.mark.parametrize("part", SHAPES)
def test_workbench_finetunes_with_every_option_or_refuses_it_in_one_line(part: str) -> None:
    found = ready(part)
    model = network(found)
    bench = Workbench(found.task, found.recipe, found.dataset, found.objective, seed=0, device="cpu", progress=QUIET)
    bench.finetune(model, epochs=3, lr=0.05, schedule="plateau", weight_decay=1e-4, patience=2, keep_best=True,
                   autocast=False)  # fmt: skip
    assert bench.training_macs > 0 and bench.evaluate(model) < 0
    for refused in ({"loss": nn.functional.mse_loss}, {"teacher": model}, {"transform": lambda inputs, _: inputs}):
        with pytest.raises(Unsupported, match="learn from each other"):
            bench.finetune(model, epochs=1, **refused)  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="no loss of a batch"):
        bench.loss(torch.zeros(1), torch.zeros(1))


def test_finetuning_changes_the_workbenchs_opponent_and_no_other() -> None:
    found = ready("discriminator")
    match = found.objective.match
    assert match is not None
    before = copy.deepcopy(match.opponent.state_dict())
    model = network(found)
    bench = Workbench(found.task, found.recipe, found.dataset, found.objective, seed=0, device="cpu", progress=QUIET)
    first = bench.evaluate(model)
    bench.finetune(model, epochs=1)
    assert bench.evaluate(model) != first, "a discriminator is judged by what its opponent has learned"
    assert all(torch.equal(before[name], value) for name, value in match.opponent.state_dict().items())


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_network_that_was_put_aside_is_judged_beside_the_opponent_it_had(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ready(part)
    scores, states = [], []

    def keeps_the_first(model: nn.Module, bench: Workbench) -> nn.Module:
        for _ in range(3):
            bench.finetune(model, epochs=1, lr=0.05)
            scores.append(bench.evaluate(model))
            states.append(copy.deepcopy(model.state_dict()))
        model.load_state_dict(states[0])
        return model

    monkeypatch.setattr(registry, "load", lambda method: keeps_the_first)
    cell = plan.Cell(found.task.name, "dense", {}, 0, "smoke")
    model, bench = run.compress(registry.method("dense"), cell, network(found), found, "cpu", QUIET)
    assert len(set(scores)) == 3 and bench.evaluate(model) == scores[0]


def test_discriminator_that_was_changed_since_has_taught_nothing() -> None:
    found = ready("discriminator")
    model = network(found)
    bench = Workbench(found.task, found.recipe, found.dataset, found.objective, seed=0, device="cpu", progress=QUIET)
    bench.finetune(model, epochs=2, lr=0.05)
    taught, state = bench.evaluate(model), copy.deepcopy(model.state_dict())
    drawn = torch.get_rng_state()
    with torch.no_grad():
        model.head.weight.mul_(0.5)  # type: ignore[operator, union-attr]
    changed = bench.evaluate(model)
    assert changed != taught and bench.evaluate(model) == changed, "an untrained generator, always the same one"
    assert torch.equal(drawn, torch.get_rng_state()), "what is trained next does not depend on who was asked"
    bench.finetune(model, epochs=1, lr=0.05)
    assert bench.evaluate(model) not in (taught, changed)
    model.load_state_dict(state)
    assert bench.evaluate(model) == changed, "its opponent has learned from another since"


def test_discriminator_that_is_not_trained_has_no_score_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda method: lambda model, bench: model)
    for part in ("discriminator", "generator"):
        found = ready(part)
        given = (registry.method("dense"), plan.Cell(found.task.name, "dense", {}, 0, "smoke"), network(found), found)
        if part == "generator":
            assert isinstance(run.compress(*given, "cpu", QUIET)[0], nn.Module)
        else:
            with pytest.raises(Unsupported, match="judged by the generator that learns from it: train it"):
                run.compress(*given, "cpu", QUIET)


def test_test_split_is_out_of_a_workbenchs_reach() -> None:
    found = ready()
    bench = Workbench(found.task, found.recipe, found.dataset, found.objective, seed=0, device="cpu", progress=QUIET)
    held: Dataset = bench._dataset
    assert held.test is held.val and found.dataset.test.frames is not None
    assert not torch.equal(found.dataset.test.images[:8], held.val.images[:8])


def test_cell_keeps_the_opponent_beside_its_model_and_starts_from_the_dense_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Any
) -> None:
    digits = registry.task("dcgan-digits")
    smoke = replace(digits.recipes["smoke"], train_images=32, eval_images=16)
    task = replace(digits, name="dcgan-digits+generator", options={**digits.options, "part": "generator"},
                   input_shape=SHAPES["generator"], recipes={"smoke": smoke}, parent="dcgan-digits")  # fmt: skip
    monkeypatch.setitem(taskfiles.found().tasks, task.name, task)  # type: ignore[arg-type]
    places = Places(tmp_path, tmp_path / "artifacts", tmp_path / "results")
    settings = registry.method("l1-three-stage").complete({"channel_ratio": 0.5, "steps": 1})
    cell = plan.Cell(task.name, "l1-three-stage", settings, 0, "smoke")
    record = run.run_cell(cell, places, "cpu", origin, QUIET)
    assert record.status == "ok", record.reason
    metrics: dict[str, Any] = dict(record.metrics)
    assert metrics["macs"] < 0.4 * metrics["dense_macs"] and metrics[METRIC] > 0
    folder = invocation.artifact_folder(places.artifacts, cell, str(record.data_sha256))
    dense = invocation.artifact_folder(places.artifacts, cell.dense, str(record.data_sha256))
    stored: list[nn.Module] = [artifacts.load(each / OPPONENT) for each in (dense, folder)]
    assert [complexity.parameters(each) for each in stored] == [11_241, 11_241]
    assert not torch.equal(*(next(each.parameters()) for each in stored))  # type: ignore[arg-type]
    (dense / OPPONENT / modelfiles.WEIGHTS).unlink()
    again = run.run_cell(cell, places, "cpu", origin, QUIET)
    assert again.status == "ok" and again.checkpoint_sha256 == record.checkpoint_sha256, "trained again, to the same"
    assert dict(again.metrics) == metrics


def test_generator_has_no_layer_to_quantize_and_says_so() -> None:
    found = ready("generator")
    cell = plan.Cell(found.task.name, "quantize-static", registry.method("quantize-static").complete({}), 0, "smoke")
    with pytest.raises(Unsupported, match="no layer of this network has an INT8 kernel"):
        run.compress(registry.method("quantize-static"), cell, network(found).eval(), found, "cpu", QUIET)
