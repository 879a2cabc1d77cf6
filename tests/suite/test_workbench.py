"""What a method is given: validation data and never test data, scaled fine-tuning, seeded numbers, a plain curve."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from suite import complexity, history
from suite.errors import SuiteError, Unsupported
from suite.progress import Progress
from suite.workbench import Workbench, kept_channels


@pytest.fixture
def bench(tiny_ready: Any) -> Callable[..., Workbench]:
    """`bench(seed=..., recipe={...})`: a workbench of the tiny task."""

    def call(*, seed: int = 0, recipe: dict[str, Any] | None = None, **changes: Any) -> Workbench:
        asked = {"dataset": tiny_ready.dataset, "objective": tiny_ready.objective} | changes
        return Workbench(
            tiny_ready.task, replace(tiny_ready.recipe, **(recipe or {})), **asked, seed=seed, device="cpu",
            progress=Progress(silent=True),
        )  # fmt: skip

    return call


# ------------------------------------------------------------------------------------------------------- kept_channels


@pytest.mark.parametrize(
    ("channels", "ratio", "kept"),
    [(64, 22 / 64, 22), (64, 0.34375, 22), (512, 22 / 64, 176), (64, 0.3, 19), (10, 0.7, 7), (3, 1 / 3, 1),
     (8, 0.01, 1), (64, 1.0, 64), (1, 0.5, 1), (100, 0.29, 29), (256, 0.59, 151)],
)  # fmt: skip
def test_kept_channels_rounds_down_but_keeps_one(channels: int, ratio: float, kept: int) -> None:
    assert kept_channels(channels, ratio) == kept


@given(st.integers(1, 4096).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_ratio_of_whole_channels_keeps_exactly_those(pair: tuple[int, int]) -> None:
    channels, kept = pair
    assert kept_channels(channels, kept / channels) == kept


@given(st.integers(1, 4096), st.floats(0.001, 1))
def test_kept_channels_is_the_floor_of_the_exact_product(channels: int, ratio: float) -> None:
    exact = Fraction(ratio) * channels
    assert kept_channels(channels, ratio) in {max(1, math.floor(exact)), max(1, math.floor(exact + Fraction(2, 10**9)))}


# ---------------------------------------------------------------------------------------------------------------- data


def tensors(thing: Any, seen: set[int]) -> list[torch.Tensor]:
    """Every tensor that can be reached from an object by its attributes and containers."""
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, torch.Tensor):
        return [thing]
    if isinstance(thing, dict):
        inside = list(thing.values())
    elif isinstance(thing, list | tuple | set):
        inside = list(thing)
    else:
        inside = list(getattr(thing, "__dict__", {}).values())
    return [found for each in inside for found in tensors(each, seen)]


def test_test_split_cannot_be_reached(bench: Callable[..., Workbench], tiny_ready: Any) -> None:
    found = tensors(bench(), set())
    storages = {tensor.untyped_storage().data_ptr() for tensor in found}
    dataset = tiny_ready.dataset
    assert dataset.val.images.untyped_storage().data_ptr() in storages
    assert dataset.test.images.untyped_storage().data_ptr() not in storages
    assert dataset.test.targets.untyped_storage().data_ptr() not in storages


def test_score_is_of_the_validation_split(bench: Callable[..., Workbench], tiny_ready: Any) -> None:
    class Always(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.one_hot(torch.full((len(images),), 3), 10).float()

    share = (tiny_ready.dataset.val.targets == 3).float().mean()
    assert bench().evaluate(Always()) == pytest.approx(float(share))


def test_score_is_higher_for_the_better_model_whatever_the_metric(
    bench: Callable[..., Workbench], tiny_ready: Any
) -> None:
    upside_down = replace(tiny_ready.objective, higher_is_better=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    assert bench(objective=upside_down).evaluate(model) == -bench().evaluate(model)


def test_example_input_is_one_normalised_sample(bench: Callable[..., Workbench], tiny_ready: Any) -> None:
    example = bench().example_input
    assert example.shape == (1, 3, 32, 32) and example.dtype == torch.float32
    assert torch.equal(example, tiny_ready.dataset.normalise(tiny_ready.dataset.train.images[:1]))


def test_calibration_batches_are_the_first_of_the_training_split_as_they_are(
    bench: Callable[..., Workbench], tiny_ready: Any
) -> None:
    dataset = tiny_ready.dataset
    (inputs, targets), *others = bench().calibration_batches(1)
    assert not others
    assert torch.equal(inputs, dataset.normalise(dataset.train.images[:32]))
    assert torch.equal(targets, dataset.train.targets[:32])
    assert len(list(bench().calibration_batches(100))) == 2, "no more than there are"


def test_training_batches_are_shuffled_by_the_seed(bench: Callable[..., Workbench], tiny_ready: Any) -> None:
    def order(seed: int) -> list[int]:
        return torch.cat([targets for _, targets in bench(seed=seed).train_batches(16)]).tolist()

    assert order(0) == order(0) != order(1)
    assert sorted(order(0)) == sorted(tiny_ready.dataset.train.targets.tolist())
    assert [len(targets) for _, targets in bench().train_batches(16)] == [16] * 4


def test_random_numbers_depend_on_the_seed(bench: Callable[..., Workbench]) -> None:
    def drawn(seed: int) -> list[float]:
        return torch.rand(5, generator=bench(seed=seed).rng).tolist()

    assert drawn(0) == drawn(0) != drawn(1)


# --------------------------------------------------------------------------------------------------------- fine-tuning


@pytest.mark.parametrize(
    ("epochs", "share", "done"), [(10, 0.1, 1), (40, 0.1, 4), (2, 0.01, 1), (0.5, 1.0, 1), (3, 1.0, 3)]
)
def test_epochs_are_scaled_by_the_profile_but_one_is_left(
    bench: Callable[..., Workbench], tiny_model: nn.Module, epochs: float, share: float, done: int
) -> None:
    one = bench(recipe={"finetune_share": share})
    one.finetune(tiny_model, epochs=epochs)
    assert one.training_macs == done * 3 * complexity.macs(tiny_model, (3, 32, 32)) * 64


def test_zero_epochs_do_nothing(bench: Callable[..., Workbench], tiny_model: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    one = bench()
    one.finetune(tiny_model, epochs=0)
    assert one.training_macs == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.state_dict().items())


def test_each_fine_tuning_sees_another_shuffle(bench: Callable[..., Workbench], tiny_model: nn.Module) -> None:
    seen: list[list[int]] = []

    def watch(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(targets.tolist())
        return outputs.square().mean()

    one = bench()
    one.finetune(tiny_model, epochs=1, loss=watch)
    one.finetune(tiny_model, epochs=1, loss=watch)
    assert seen[:2] != seen[2:]
    again: list[list[int]] = []
    bench().finetune(tiny_model, epochs=1, loss=lambda o, t: (again.append(t.tolist()), o.square().mean())[1])
    assert again == seen[:2]


# --------------------------------------------------------------------------------------------------------------- curve


def test_logged_values_are_plain_and_numbered(bench: Callable[..., Workbench]) -> None:
    one = bench()
    one.log(
        alpha=torch.tensor(0.5), count=np.int64(3), val=np.float32(0.25), kept=np.bool_(True), word="a", nothing=None
    )
    one.log(alpha=0.25)
    one.log(step=10, alpha=0)
    plain = {"step": 1, "alpha": 0.5, "count": 3, "val": 0.25, "kept": True, "word": "a", "nothing": None}
    assert one.curve == [plain, {"step": 2, "alpha": 0.25}, {"step": 10, "alpha": 0}]
    assert json.loads(json.dumps(one.curve)) == one.curve


@pytest.mark.parametrize(
    "value",
    [float("nan"), math.inf, torch.tensor(math.nan), np.float64(math.inf), [1.0], {}, torch.zeros(2), np.zeros(2),
     object(), 1j],
)  # fmt: skip
def test_value_that_no_record_can_hold_is_refused_by_name(bench: Callable[..., Workbench], value: Any) -> None:
    with pytest.raises(SuiteError, match=r"bench\.log\(alpha=.*\): .*a finite number, true or false, text or None"):
        bench().log(alpha=value)


# ------------------------------------------------------------------------------------------------- recipe, cost, report


def test_train_repeats_the_dense_recipe_unscaled(bench: Callable[..., Workbench], tiny_model: nn.Module) -> None:
    one = bench(recipe={"epochs": 3, "finetune_share": 0.01})
    assert one.recipe.epochs == 3
    each = 3 * complexity.macs(tiny_model, (3, 32, 32)) * 64
    one.train(tiny_model)
    assert one.training_macs == 3 * each
    one.train(tiny_model, epochs=2)
    assert one.training_macs == 5 * each


def test_finetune_settings_reach_the_training(bench: Callable[..., Workbench], tiny_model: nn.Module) -> None:
    """A huge weight decay and no gradient: all that moves the weights is the decay."""
    before = float(tiny_model.head.weight.detach().norm())
    bench().finetune(
        tiny_model, epochs=1, lr=0.1, weight_decay=1.0, schedule="constant", loss=lambda outputs, _: outputs.sum() * 0
    )
    assert float(tiny_model.head.weight.detach().norm()) < 0.9 * before


def test_dense_macs_are_of_the_uncompressed_network(bench: Callable[..., Workbench], tiny_model: nn.Module) -> None:
    state = torch.get_rng_state()
    assert bench().dense_macs == bench().macs(tiny_model) == complexity.macs(tiny_model, (3, 32, 32))
    assert torch.equal(torch.get_rng_state(), state), "no random number is drawn"


def test_loss_is_the_tasks_own(bench: Callable[..., Workbench]) -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    smoothed = bench(recipe={"label_smoothing": 0.1}).loss(logits, labels)
    assert smoothed == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)))


def test_reported_metrics_are_numbers(bench: Callable[..., Workbench]) -> None:
    one = bench()
    one.report(merge_relative_error=torch.tensor(0.25), exact=True, unknown=None)
    assert one.metrics == {"merge_relative_error": 0.25, "exact": True, "unknown": None}
    for wrong in ("text", [1.0], math.nan):
        with pytest.raises(SuiteError, match=r"bench\.report\(wrong="):
            one.report(wrong=wrong)


@pytest.mark.parametrize(
    "wrong", [{"epochs": -1}, {"epochs": math.inf}, {"lr": -1.0}, {"lr": math.nan}, {"weight_decay": -1.0},
              {"patience": 0}]
)  # fmt: skip
def test_training_that_makes_no_sense_is_unsupported(
    bench: Callable[..., Workbench], tiny_model: nn.Module, wrong: dict[str, Any]
) -> None:
    with pytest.raises(Unsupported, match=f"{next(iter(wrong))} .* makes no training"):
        bench().finetune(tiny_model, **{"epochs": 1, **wrong})


@pytest.mark.parametrize("count", [0, -4])
def test_calibration_needs_a_batch(bench: Callable[..., Workbench], count: int) -> None:
    with pytest.raises(Unsupported, match="at least one is needed"):
        next(bench().calibration_batches(count))


# ----------------------------------------------------------------------------------------------------------- trainings


def test_every_training_is_kept_epoch_by_epoch(bench: Callable[..., Workbench]) -> None:
    one = bench(recipe={"finetune_share": 1.0})
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    one.finetune(model, epochs=2, lr=0.02, label="first " * 100)
    one.train(model, epochs=3, label="second")
    first, second = one.logged["trainings"]
    assert (first.lr, second.lr, second.label) == (0.02, one.recipe.lr, "second") and len(first.label) == 80
    assert [[epoch for epoch, _, _ in each.points] for each in (first, second)] == [[1, 2], [3, 4, 5]]
    assert second.points[-1][2] == pytest.approx(one.evaluate(model), abs=1e-4), "the score of what it left"
    assert all(loss > 0 for each in (first, second) for _, loss, _ in each.points)


@given(st.lists(st.integers(1, 400), max_size=300))
def test_long_histories_are_thinned_evenly(lengths: list[int]) -> None:
    done: list[history.Trained] = []
    for number, length in enumerate(lengths):
        curve = [{"train_loss": 1.0, "val": 0.5}] * length
        done.append(history.trained(str(number), 0.1, curve, done))
    found = history.kept(done)
    assert sum(len(each.points) for each in found) <= 2 * history.MOST_EPOCHS
    assert [each.label for each in found[:1] + found[-1:]] == ([] if not lengths else ["0", str(len(lengths) - 1)])
    by_label = {each.label: each.points for each in done}
    for each in found:
        whole = by_label[each.label]
        assert each.points[0] == whole[0] and each.points[-1] == whole[-1] and set(each.points) <= set(whole)
    if sum(lengths) <= history.MOST_EPOCHS and len(lengths) <= history.MOST_EPOCHS // 2:
        assert found == done


def test_what_is_trained_must_have_the_outputs_that_are_expected(bench: Callable[..., Workbench]) -> None:
    model, narrow = (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3072), nn.Linear(3072, width)) for width in (10, 4))
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    own = bench()
    own.expect_outputs_of(model)
    assert model.training and not model[1].training, "as they were"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    own.finetune(model, epochs=1)
    with pytest.raises(SuiteError, match=r"outputs are \(4,\) a sample, the task's are \(10,\): .*last layer \(2\)"):
        own.finetune(narrow, epochs=1)
    own.finetune(narrow, epochs=1, loss=lambda outputs, targets: outputs.square().mean())
    bench().finetune(model, epochs=1)
