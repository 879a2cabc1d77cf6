"""Global unstructured pruning zeroes exactly the smallest weights, and they stay zero."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from methods.global_unstructured import global_unstructured
from suite import Unsupported, Workbench, complexity, registry
from suite.progress import Progress


@pytest.fixture
def bench(tiny_ready: Any) -> Workbench:
    """The workbench of the tiny task, seed 0."""
    return Workbench(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=0, device="cpu",
                     progress=Progress(silent=True))  # fmt: skip


@pytest.fixture
def quarter() -> nn.Module:
    """VGG16 at a quarter of its width: 922,000 weights, so that 1e-4 of them are many."""
    torch.manual_seed(0)
    model: nn.Module = registry.build_model("vgg16", {"width": 0.25})
    return model


def weights(model: nn.Module) -> torch.Tensor:
    layers = [each.weight for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    return torch.cat([each.detach().flatten() for each in layers])


def zeros(model: nn.Module) -> float:
    return float((weights(model) == 0).double().mean())


@pytest.mark.parametrize("sparsity", [0.05, 0.5, 0.9, 0.95, 0.999])
def test_sparsity_is_what_was_asked_for(quarter: nn.Module, bench: Workbench, sparsity: float) -> None:
    pruned = global_unstructured(quarter, bench, sparsity=sparsity, epochs=0)
    assert zeros(pruned) == pytest.approx(sparsity, abs=1e-4)


def test_zeros_stay_zero_through_fine_tuning_and_the_rest_learns(quarter: nn.Module, bench: Workbench) -> None:
    only_pruned = global_unstructured(copy.deepcopy(quarter), bench, sparsity=0.9, epochs=0)
    tuned = global_unstructured(quarter, bench, sparsity=0.9, epochs=1)
    was_zero = weights(only_pruned) == 0
    assert bool((weights(tuned)[was_zero] == 0).all())
    assert zeros(tuned) == pytest.approx(0.9, abs=1e-4)
    assert not torch.equal(weights(tuned)[~was_zero], weights(only_pruned)[~was_zero])
    assert bench.training_macs > 0


def test_smallest_weights_of_the_whole_network_go(tiny_model: nn.Module, bench: Workbench) -> None:
    before = weights(tiny_model)
    after = weights(global_unstructured(tiny_model, bench, sparsity=0.6, epochs=0))
    assert before[after == 0].abs().max() <= before[after != 0].abs().min()
    assert torch.equal(after[after != 0], before[after != 0]), "what is left is not touched"


def test_biases_and_batchnorm_are_spared(tiny_model: nn.Module, bench: Workbench) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    prunable = {
        f"{name}.weight" for name, each in tiny_model.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)
    }
    after = global_unstructured(tiny_model, bench, sparsity=0.9, epochs=0).state_dict()
    assert after.keys() == before.keys(), "masks are folded into the weights"
    assert all(torch.equal(after[name], before[name]) for name in before.keys() - prunable)


def test_shapes_and_macs_stay_and_nonzeros_fall(tiny_model: nn.Module, bench: Workbench) -> None:
    before = complexity.complexity(tiny_model, (3, 32, 32))
    after = complexity.complexity(global_unstructured(tiny_model, bench, sparsity=0.9, epochs=0), (3, 32, 32))
    assert after["parameters"] == before["parameters"] and after["macs"] == before["macs"]
    count = len(weights(tiny_model))
    assert before["nonzero_parameters"] - after["nonzero_parameters"] == pytest.approx(0.9 * count, abs=1)
    assert after["size_bytes_compressed"] < before["size_bytes_compressed"] / 2


def test_sparsity_zero_without_fine_tuning_is_the_dense_network(tiny_model: nn.Module, bench: Workbench) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    after = global_unstructured(tiny_model, bench, sparsity=0.0, epochs=0).state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_curve_tells_the_score_before_and_after_fine_tuning(tiny_model: nn.Module, bench: Workbench) -> None:
    global_unstructured(tiny_model, bench, sparsity=0.5, epochs=1)
    assert [point["step"] for point in bench.curve] == [0, 1]
    assert all(point["sparsity"] == 0.5 and 0 <= point["val"] <= 1 for point in bench.curve)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 2.0])
def test_share_out_of_range_is_unsupported(tiny_model: nn.Module, bench: Workbench, sparsity: float) -> None:
    with pytest.raises(Unsupported, match="outside"):
        global_unstructured(tiny_model, bench, sparsity=sparsity)
