"""The control keeps an architecture and nothing else, and trains it by the dense recipe within its budget."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from methods.from_scratch import from_scratch
from methods.global_unstructured import global_unstructured
from methods.l1_three_stage import l1_three_stage
from suite import Workbench
from suite.progress import Progress


@pytest.fixture
def bench(tiny_ready: Any) -> Callable[..., Workbench]:
    def call(seed: int = 0) -> Workbench:
        return Workbench(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=seed,
                         device="cpu", progress=Progress(silent=True))  # fmt: skip

    return call


@pytest.fixture
def pruned(tiny_model: nn.Module, bench: Callable[..., Workbench]) -> nn.Module:
    return l1_three_stage(copy.deepcopy(tiny_model), bench(), channel_ratio=0.5, steps=1, epochs=0, final_epochs=0)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def test_architecture_is_the_bases_and_weights_are_not(pruned: nn.Module, bench: Callable[..., Workbench]) -> None:
    torch.manual_seed(0)
    one = from_scratch(copy.deepcopy(pruned), bench())
    assert shapes(one) == shapes(pruned)
    correlation = torch.corrcoef(torch.stack([one.features[3].weight.flatten(), pruned.features[3].weight.flatten()]))
    assert abs(float(correlation[0, 1].detach())) < 0.5
    assert float(one.features[1].running_mean.abs().max()) > 0, "BatchNorm has seen the data anew"


def test_what_comes_out_does_not_depend_on_the_bases_weights(
    pruned: nn.Module, bench: Callable[..., Workbench]
) -> None:
    other = copy.deepcopy(pruned)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(3).add_(1)
    found = []
    for origin in (pruned, other):
        torch.manual_seed(5)
        found.append(from_scratch(copy.deepcopy(origin), bench()).state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_budgets_are_epochs_and_training_macs(
    tiny_model: nn.Module, pruned: nn.Module, bench: Callable[..., Workbench]
) -> None:
    one = bench()
    ratio = one.dense_macs / one.macs(pruned)
    assert ratio > 2
    from_scratch(copy.deepcopy(pruned), one, budget="E")
    assert one.curve[-1]["epochs"] == one.recipe.epochs
    assert one.training_macs == 3 * one.macs(pruned) * 64 * one.recipe.epochs
    twice = bench()
    from_scratch(copy.deepcopy(pruned), twice, budget="B")
    assert twice.curve[-1]["epochs"] == 2 * one.recipe.epochs, "at most twice the recipe's"
    same = bench()
    from_scratch(copy.deepcopy(tiny_model), same, budget="B")
    assert same.curve[-1]["epochs"] == one.recipe.epochs, "a network as costly as the dense one gets no more"


def test_zeros_of_a_sparse_base_stay(tiny_model: nn.Module, bench: Callable[..., Workbench]) -> None:
    sparse = global_unstructured(copy.deepcopy(tiny_model), bench(), sparsity=0.75, epochs=0)
    one = from_scratch(copy.deepcopy(sparse), bench())
    for name in ("features.0", "features.10", "head"):
        before, after = sparse.get_submodule(name).weight, one.get_submodule(name).weight
        assert torch.equal(before == 0, after == 0)
    assert shapes(one) == shapes(tiny_model), "no masks are left behind"
