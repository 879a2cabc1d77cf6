"""Quantization-aware training: it learns under rounding, and what is converted is what was trained."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torchao.quantization.pt2e import FusedMovingAvgObsFakeQuantize

from methods._pt2e import Scheme, Trainable, finish, fold_batchnorm, prepare
from methods.quantize_qat import quantize_qat
from suite import GraphNetwork, Workbench, registry
from suite.progress import Progress


@pytest.fixture
def bench(tiny_ready: Any) -> Workbench:
    """The workbench of the tiny task, seed 0."""
    return Workbench(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=0, device="cpu",
                     progress=Progress(silent=True))  # fmt: skip


@pytest.fixture
def trainable(tiny_model: nn.Module, bench: Workbench) -> Trainable:
    trainable = Trainable(prepare(tiny_model, bench, Scheme(training=True), "cpu"))
    bench.finetune(trainable, epochs=1, lr=0.01)
    return trainable


def ranges(trainable: Trainable) -> list[float]:
    """Scales of the activations, in the order of the network."""
    modules = [m for m in trainable.modules() if isinstance(m, FusedMovingAvgObsFakeQuantize) and not m.is_per_channel]
    return [float(each.scale) for each in modules]


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_weights_are_trained_and_int8(tiny_model: nn.Module, bench: Workbench) -> None:
    untrained = quantize_qat(copy.deepcopy(tiny_model), bench, epochs=1, frozen_epochs=0, lr=0.0)
    trained = quantize_qat(copy.deepcopy(tiny_model), bench, epochs=1, frozen_epochs=1, lr=0.05)
    assert isinstance(trained, GraphNetwork) and trained.quantized_share == 1
    state = untrained.state_dict()
    assert any(not torch.equal(tensor, state[name]) for name, tensor in trained.state_dict().items())
    assert bench.training_macs > 0
    assert [point["step"] for point in bench.curve] == [0, 1, 0, 1]


def test_what_is_converted_is_what_was_trained(trainable: Trainable, tiny_model: nn.Module, bench: Workbench) -> None:
    with torch.no_grad():
        before = trainable.eval()(images(8))
    network = finish(trainable.prepared, tiny_model, bench)
    with torch.no_grad():
        torch.testing.assert_close(network(images(8)), before, rtol=0, atol=0.02 * float(before.abs().max()))


def test_evaluation_teaches_no_ranges(trainable: Trainable, bench: Workbench) -> None:
    trainable.eval()
    before = ranges(trainable)
    with torch.no_grad():
        trainable(100 * images(4))
    assert ranges(trainable) == before
    trainable.train()
    with torch.no_grad():
        trainable(100 * images(4))
    assert ranges(trainable) != before


def test_frozen_ranges_stay_while_weights_learn(trainable: Trainable, bench: Workbench) -> None:
    trainable.freeze()
    before = ranges(trainable), [each.detach().clone() for each in trainable.parameters()]
    bench.finetune(trainable, epochs=1, lr=0.01)
    assert ranges(trainable) == before[0]
    assert any(not torch.equal(a, b) for a, b in zip(trainable.parameters(), before[1], strict=True))


def test_rounding_is_done_in_float32_under_autocast(trainable: Trainable) -> None:
    trainable.eval()
    with torch.no_grad():
        plain = trainable(images(2))
        with torch.autocast("cpu", torch.bfloat16):
            cast = trainable(images(2))
    assert cast.dtype == torch.float32 and torch.equal(cast, plain)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_folding_batchnorm_keeps_the_outputs(kind: type[nn.Module], bias: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5, eps=1e-2)
    model = nn.Sequential(kind(3, 5, 3, stride=2, bias=bias), norm, nn.ReLU()).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2)
        before = model(images(2))
        exported = torch.export.export(model, (images(2),)).module()
        fold_batchnorm(exported)
        assert not any(str(node.target) == "aten.batch_norm.default" for node in exported.graph.nodes)
        torch.testing.assert_close(exported(images(2)), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", ["resnet18", "autoencoder"])
def test_other_networks_can_be_trained(model: str, bench: Workbench) -> None:
    torch.manual_seed(0)
    dense = registry.build_model(model, {"width": 0.0625}).eval()
    trainable = Trainable(prepare(dense, bench, Scheme(training=True), "cpu")).train()
    trainable(images(4)).square().mean().backward()
    assert all(each.grad is not None for each in trainable.parameters())
