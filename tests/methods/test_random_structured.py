"""The control prunes to the same shapes as L1, at the same cost, but by lot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from methods.l1_three_stage import l1_three_stage
from methods.random_structured import random_structured
from suite import Workbench
from suite.progress import Progress


@pytest.fixture
def bench(tiny_ready: Any) -> Callable[..., Workbench]:
    """`bench(seed)`: a workbench of the tiny task."""

    def call(seed: int = 0) -> Workbench:
        return Workbench(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=seed,
                         device="cpu", progress=Progress(silent=True))  # fmt: skip

    return call


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def kept(model: nn.Module, pruned: nn.Module) -> set[int]:
    """Which filters of the first convolution are left."""
    left = pruned.features[0].weight
    return {number for number, each in enumerate(model.features[0].weight) for one in left if torch.equal(one, each)}


def prune(method: Callable[..., nn.Module], model: nn.Module, bench: Workbench, **given: Any) -> nn.Module:
    return method(
        copy.deepcopy(model), bench, **{"channel_ratio": 0.5, "steps": 2, "epochs": 0, "final_epochs": 0} | given
    )


def test_shapes_are_those_of_l1_and_channels_are_not(tiny_model: nn.Module, bench: Callable[..., Workbench]) -> None:
    by_norm = prune(l1_three_stage, tiny_model, bench())
    by_lot = [prune(random_structured, tiny_model, bench(seed)) for seed in range(3)]
    assert all(shapes(each) == shapes(by_norm) for each in by_lot)
    assert any(kept(tiny_model, each) != kept(tiny_model, by_norm) for each in by_lot)
    assert all(len(kept(tiny_model, each)) == 2 for each in by_lot), "whole filters of the dense network"


def test_channels_depend_on_the_seed_alone(tiny_model: nn.Module, bench: Callable[..., Workbench]) -> None:
    torch.manual_seed(1)
    one = prune(random_structured, tiny_model, bench(3)).state_dict()
    torch.manual_seed(2)
    two = prune(random_structured, tiny_model, bench(3)).state_dict()
    other = prune(random_structured, tiny_model, bench(4)).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_costs_the_same_as_that_of_l1(tiny_model: nn.Module, bench: Callable[..., Workbench]) -> None:
    one, two = bench(), bench()
    prune(l1_three_stage, tiny_model, one, epochs=1, final_epochs=1)
    prune(random_structured, tiny_model, two, epochs=1, final_epochs=1)
    assert one.training_macs == two.training_macs > 0


def test_defaults_and_points_are_those_of_l1() -> None:
    from suite import plan, registry

    control, method = registry.method("random-structured"), registry.method("l1-three-stage")
    shared = {name: value for name, value in method.complete({}).items() if name not in ("max_drop", "stop")}
    assert control.complete({}) == shared
    assert [point["channel_ratio"] for point in plan.points(control)] == [
        point["channel_ratio"] for point in plan.points(method)]  # fmt: skip
    assert control.family == "control"
