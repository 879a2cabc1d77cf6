"""ResNet18 is the network of the literature and, with its stem pool, the report's; methods can cut and store it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torch_pruning as tp
from torch import nn

from methods._channels import channel_widths, remove_channels
from models.resnet import Block, resnet18
from suite import artifacts, complexity, kept_channels

IMAGES = (3, 32, 32)
SMALL = {"classes": 10, "width": 0.125, "stem_pool": False}


def small(*, seed: int = 0, stem_pool: bool = False) -> nn.Module:
    """An eighth of the width, in eval mode, with BatchNorm statistics that are no longer zeros and ones."""
    torch.manual_seed(seed)
    model = resnet18(width=0.125, stem_pool=stem_pool)
    model(torch.randn(16, *IMAGES))
    return model.eval()


def relus_called(model: nn.Module) -> list[int]:
    """The ReLU modules in the order in which a forward pass calls them."""
    called: list[int] = []
    for each in model.modules():
        if isinstance(each, nn.ReLU):
            each.register_forward_hook(lambda module, *_: called.append(id(module)))
    with torch.no_grad():
        model.eval()(torch.zeros(1, *IMAGES))
    return called


@pytest.mark.parametrize(("stem_pool", "macs"), [(False, 555_422_720), (True, 140_186_624)])
def test_resnet18_has_the_reported_parameters_and_macs(stem_pool: bool, macs: int) -> None:
    model = resnet18(stem_pool=stem_pool)
    assert complexity.parameters(model) == 11_173_962
    assert complexity.macs(model, IMAGES) == macs


def test_convolutions_have_batchnorm_and_no_bias_and_the_last_layer_is_the_head() -> None:
    model = resnet18(width=0.125)
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) == 1 + 16 + 3, "stem, two in each of eight blocks, a shortcut where the width changes"
    assert all(each.bias is None for each in convolutions)
    norms = [each.num_features for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    assert norms == [each.out_channels for each in convolutions]
    assert [each for each in model.modules() if isinstance(each, nn.Linear)] == [model.head]
    assert list(model.modules())[-1] is model.head


def test_shortcut_is_the_input_itself_unless_the_shape_changes() -> None:
    blocks = [each for each in resnet18(width=0.125).modules() if isinstance(each, Block)]
    projected = [isinstance(each.shortcut, nn.Sequential) for each in blocks]
    assert projected == [False, False, True, False, True, False, True, False]
    assert [each.shortcut[0].kernel_size for each in blocks if isinstance(each.shortcut, nn.Sequential)] == [(1, 1)] * 3


def test_each_relu_is_called_once() -> None:
    called = relus_called(small())
    assert len(called) == len(set(called)) == 17


@pytest.mark.parametrize(
    ("width", "widths"), [(0.25, [16, 32, 64, 128]), (1 / 16, [4, 8, 16, 32]), (0.001, [1, 1, 1, 1])]
)
def test_width_scales_every_stage_and_leaves_at_least_one_channel(width: float, widths: list[int]) -> None:
    model = resnet18(width=width, classes=7).eval()
    blocks = [each for each in model.modules() if isinstance(each, Block)]
    assert [each.residual[0].out_channels for each in blocks[::2]] == widths
    assert model(torch.zeros(2, *IMAGES)).shape == (2, 7)


@pytest.mark.parametrize(("stem_pool", "sides"), [(False, [32, 32, 16, 8, 4]), (True, [16, 16, 8, 4, 2])])
def test_stages_see_halved_images(stem_pool: bool, sides: list[int]) -> None:
    model = small(stem_pool=stem_pool)
    seen: list[int] = []
    model.stem.register_forward_hook(lambda _, __, output: seen.append(output.shape[-1]))
    for block in model.blocks[1::2]:
        block.register_forward_hook(lambda _, __, output: seen.append(output.shape[-1]))
    model(torch.zeros(1, *IMAGES))
    assert seen == sides


# -------------------------------------------------------------------------------------------------------------- cutting


def cut(model: nn.Module, channel_ratio: float) -> None:
    remove_channels(
        model,
        torch.zeros(1, *IMAGES),
        widths=channel_widths(model),
        channel_ratio=channel_ratio,
        importance=tp.importance.MagnitudeImportance(p=1, group_reduction="first", normalizer=None),
    )


@pytest.mark.parametrize("channel_ratio", [0.8, 0.5, 22 / 64, 0.01])
def test_cut_network_keeps_the_same_share_of_each_layer(channel_ratio: float) -> None:
    model = small()
    before = channel_widths(model)
    cut(model, channel_ratio)
    after = channel_widths(model)
    assert after.pop("head") == before.pop("head") == 10
    assert after == {name: kept_channels(width, channel_ratio) for name, width in before.items()}
    assert model(torch.zeros(2, *IMAGES)).shape == (2, 10)


def test_channels_that_are_zero_can_be_cut_without_changing_the_outputs() -> None:
    model = small()
    for convolution, norm in pairs(model):
        kept = kept_channels(convolution.out_channels, 0.5)
        with torch.no_grad():  # the same channels in every layer, so those that a residual sum ties are zero together
            convolution.weight[kept:] = 0
            norm.weight[kept:] = 0
            norm.bias[kept:] = 0
            norm.running_mean[kept:] = 0
    images = torch.randn(4, *IMAGES)
    before = model(images)
    cut(model, 0.5)
    assert torch.allclose(model(images), before, atol=1e-6)
    assert before.std() > 1e-3, "outputs that are all alike would prove nothing"


def pairs(model: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    return [
        (one, two)
        for one, two in itertools.pairwise(model.modules())
        if isinstance(one, nn.Conv2d) and isinstance(two, nn.BatchNorm2d)
    ]


def test_cut_network_is_stored_and_loaded_bit_equal(tmp_path: Path) -> None:
    model = small()
    cut(model, 22 / 64)
    described = artifacts.describe(model, name="resnet18", options=SMALL, input_shape=IMAGES)
    artifacts.save(model, tmp_path, described, {})
    loaded = artifacts.load(tmp_path)
    assert complexity.parameters(loaded) == complexity.parameters(model) < 701_466
    images = torch.randn(4, *IMAGES)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
