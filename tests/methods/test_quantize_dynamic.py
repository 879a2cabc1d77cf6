"""Dynamic quantization changes the linear layers and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from methods.quantize_dynamic import quantize_dynamic
from suite import GraphNetwork, Unsupported, Workbench
from suite.progress import Progress


@pytest.fixture
def bench(tiny_ready: Any) -> Workbench:
    """The workbench of the tiny task, seed 0."""
    return Workbench(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=0, device="cpu",
                     progress=Progress(silent=True))  # fmt: skip


def test_only_the_head_becomes_int8_and_outputs_stay_near(tiny_model: nn.Module, bench: Workbench) -> None:
    with torch.no_grad():
        tiny_model.head.weight.mul_(10)  # far from what an observer that saw nothing would assume
    network = quantize_dynamic(copy.deepcopy(tiny_model), bench)
    assert isinstance(network, GraphNetwork)
    (rounded,) = [each for each in network.parameters() if each.dtype == torch.int8]
    assert rounded.shape == tiny_model.head.weight.shape and int(rounded.abs().max()) >= 127
    weights = sum(each.weight.numel() for each in tiny_model.modules() if isinstance(each, nn.Conv2d | nn.Linear))
    assert network.quantized_share == rounded.numel() / weights == bench.curve[-1]["quantized_share"]
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before, after = tiny_model(images), network(images)
    torch.testing.assert_close(after, before, rtol=0, atol=0.02 * float(before.abs().max()))
    assert not torch.equal(after, before)


def test_network_without_a_linear_layer_is_unsupported(bench: Workbench) -> None:
    with pytest.raises(Unsupported, match="has none"):
        quantize_dynamic(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), bench)
