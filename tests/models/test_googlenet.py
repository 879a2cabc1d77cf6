"""GoogLeNet is the network of the report, before and after its channels are cut; methods can cut and store it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torch_pruning as tp
from torch import nn

from methods._channels import channel_widths, remove_channels
from models.googlenet import Inception, googlenet
from suite import artifacts, complexity, kept_channels

IMAGES = (3, 32, 32)
STAND_IN = {"classes": 10, "width": 0.25}


def stand_in(*, seed: int = 0) -> nn.Module:
    """A quarter of the width, in eval mode, with BatchNorm statistics that are no longer zeros and ones."""
    torch.manual_seed(seed)
    model = googlenet(width=0.25, classes=10)
    model(torch.randn(16, *IMAGES))
    return model.eval()


def cut(model: nn.Module, channel_ratio: float) -> None:
    """As `l1-three-stage` cuts, in one step and without fine-tuning."""
    remove_channels(
        model,
        torch.zeros(1, *IMAGES),
        widths=channel_widths(model),
        channel_ratio=channel_ratio,
        importance=tp.importance.MagnitudeImportance(p=1, group_reduction="first", normalizer=None),
    )


def test_googlenet_has_the_reports_parameters_and_macs_before_and_after_cutting() -> None:
    """6.4 M and 4.09 M parameters (cifar100-googlenet-report, results), to the last one (DESIGN section 5)."""
    model = googlenet()
    assert complexity.parameters(model) == 6_402_884
    assert complexity.macs(model, IMAGES) == 531_976_192
    cut(model, 0.8)
    assert complexity.parameters(model) == 4_089_778
    assert complexity.macs(model, IMAGES) == 337_561_176
    assert model.head.out_features == 100


def test_convolutions_have_bias_and_batchnorm_and_the_last_layer_is_the_head() -> None:
    model = stand_in()
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) == 3 + 9 * 7
    assert all(each.bias is not None for each in convolutions)
    assert {each.kernel_size for each in convolutions} == {(1, 1), (3, 3)}, "a 5x5 is two 3x3"
    norms = [each.num_features for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    assert norms == [each.out_channels for each in convolutions]
    assert [each for each in model.modules() if isinstance(each, nn.Linear)] == [model.head]
    assert list(model.modules())[-1] is model.head


def test_inception_blocks_have_the_papers_widths_and_resolutions() -> None:
    model = googlenet().eval()
    seen: list[tuple[int, int]] = []
    for each in model.modules():
        if isinstance(each, Inception):
            each.register_forward_hook(lambda _, __, output: seen.append((output.shape[1], output.shape[-1])))
    with torch.no_grad():
        assert model.stem(torch.zeros(1, *IMAGES)).shape == (1, 192, 16, 16)
        model(torch.zeros(1, *IMAGES))
    assert seen == [(256, 16), (480, 16), (512, 8), (512, 8), (512, 8), (528, 8), (832, 8), (832, 4), (1024, 4)]


def test_each_relu_is_called_once() -> None:
    model = stand_in()
    called: list[int] = []
    for each in model.modules():
        if isinstance(each, nn.ReLU):
            each.register_forward_hook(lambda module, *_: called.append(id(module)))
    model(torch.zeros(1, *IMAGES))
    assert len(called) == len(set(called)) == 3 + 9 * 7


@pytest.mark.parametrize(("width", "stem"), [(0.25, [16, 16, 48]), (1 / 16, [4, 4, 12]), (0.001, [1, 1, 1])])
def test_width_scales_every_layer_and_leaves_at_least_one_channel(width: float, stem: list[int]) -> None:
    model = googlenet(width=width, classes=7).eval()
    assert [each.out_channels for each in model.stem if isinstance(each, nn.Conv2d)] == stem
    full = channel_widths(googlenet())
    assert {name: out for name, out in channel_widths(model).items() if name != "head"} == {
        name: max(1, int(out * width)) for name, out in full.items() if name != "head"}  # fmt: skip
    assert model(torch.zeros(2, *IMAGES)).shape == (2, 7)


# -------------------------------------------------------------------------------------------------------------- cutting


@pytest.mark.parametrize("channel_ratio", [0.8, 0.5, 22 / 64, 0.01])
def test_narrow_network_is_cut_to_the_same_share_of_each_layer(channel_ratio: float) -> None:
    model = stand_in()
    before = channel_widths(model)
    cut(model, channel_ratio)
    after = channel_widths(model)
    assert after.pop("head") == before.pop("head") == 10
    assert after == {name: kept_channels(width, channel_ratio) for name, width in before.items()}
    assert model(torch.zeros(2, *IMAGES)).shape == (2, 10)


def test_channels_that_are_zero_can_be_cut_without_changing_the_outputs() -> None:
    model = stand_in()
    drawn = torch.Generator().manual_seed(1)
    for convolution, norm in itertools.pairwise(model.modules()):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            width = convolution.out_channels
            # channels of its own in each layer: one that is cut at the wrong place of a concatenation is noticed
            gone = torch.randperm(width, generator=drawn)[: width - kept_channels(width, 0.5)]
            with torch.no_grad():
                for values in (convolution.weight, convolution.bias, norm.weight, norm.bias, norm.running_mean):
                    values[gone] = 0
    images = torch.randn(4, *IMAGES)
    before = model(images)
    cut(model, 0.5)
    assert torch.allclose(model(images), before, atol=1e-6)
    assert before.std() > 1e-3, "outputs that are all alike would prove nothing"


def test_cut_network_is_stored_and_loaded_bit_equal(tmp_path: Path) -> None:
    model = stand_in()
    cut(model, 22 / 64)
    described = artifacts.describe(model, name="googlenet", options=STAND_IN, input_shape=IMAGES)
    artifacts.save(model, tmp_path, described, {})
    loaded = artifacts.load(tmp_path)
    assert complexity.parameters(loaded) == complexity.parameters(model) == 46_600
    images = torch.randn(4, *IMAGES)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
