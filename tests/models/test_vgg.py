"""VGG16 is the network of the papers, and a narrow one is the same network with fewer channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.vgg import vgg16
from suite import complexity


def test_vgg16_has_the_papers_parameters_and_macs() -> None:
    model = vgg16()
    assert complexity.parameters(model) == 14_728_266
    assert complexity.macs(model, (3, 32, 32)) == 313_201_664
    assert round(complexity.macs(model, (3, 32, 32)) / 1e6, 1) == 313.2


def test_vgg16_is_thirteen_convolutions_with_bias_and_batchnorm_and_one_linear_layer() -> None:
    model = vgg16(width=0.25)
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) == 13
    assert all(each.bias is not None and each.kernel_size == (3, 3) for each in convolutions)
    assert [each.num_features for each in model.modules() if isinstance(each, nn.BatchNorm2d)] == [
        each.out_channels for each in convolutions]  # fmt: skip
    assert [each for each in model.modules() if isinstance(each, nn.Linear)] == [model.head]


def test_each_relu_is_a_module_of_its_own() -> None:
    called: list[int] = []
    model = vgg16(width=1 / 16).eval()
    for each in model.modules():
        if isinstance(each, nn.ReLU):
            each.register_forward_hook(lambda module, *_: called.append(id(module)))
    model(torch.zeros(1, 3, 32, 32))
    assert len(called) == len(set(called)) == 13


@pytest.mark.parametrize(("width", "widths"), [(0.25, {16, 32, 64, 128}), (1 / 16, {4, 8, 16, 32}), (0.001, {1})])
def test_width_scales_every_layer_and_leaves_at_least_one_channel(width: float, widths: set[int]) -> None:
    model = vgg16(width=width, classes=7)
    assert {each.out_channels for each in model.modules() if isinstance(each, nn.Conv2d)} == widths
    assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
