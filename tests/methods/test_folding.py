"""The merge is exact: one layer gives what three gave, whatever their kind and geometry."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from methods._folding import fold, relative_error

SIZE = 7


def one_by_one(channels: int, out: int, *, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 1, bias=bias)


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Conv2d | nn.ConvTranspose2d:
    """A convolution or transposed convolution with any geometry that fits a 7x7 image."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, out = (groups * draw(st.integers(1, 3)) for _ in range(2))
    pair = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))  # noqa: E731
    kernel, stride, dilation = pair(1, 3), pair(1, 3), pair(1, 2)
    padding = pair(0, 2)
    common: dict[str, Any] = {"dilation": dilation, "groups": groups, "bias": draw(st.booleans())}
    if draw(st.booleans()):
        mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
        return nn.Conv2d(channels, out, kernel, stride, padding, padding_mode=mode, **common)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    return nn.ConvTranspose2d(channels, out, kernel, stride, padding, extra, **common)


@settings(max_examples=150)
@given(layer=convolutions(), data=st.data(), seed=st.integers(0, 1000))
def test_convolution_folds_with_both_its_neighbours(
    layer: nn.Conv2d | nn.ConvTranspose2d, data: st.DataObject, seed: int
) -> None:
    """ConvB, the layer with whatever padding, stride, dilation and groups, ConvA: one layer without groups."""
    torch.manual_seed(seed)
    nn.init.normal_(layer.weight)
    before, after = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    expand = one_by_one(before, layer.in_channels, bias=False) if data.draw(st.booleans()) else None
    reduce = one_by_one(layer.out_channels, after, bias=data.draw(st.booleans())) if data.draw(st.booleans()) else None
    folded = fold(layer, expand=expand, reduce=reduce)
    images = torch.randn(2, before if expand else layer.in_channels, SIZE, SIZE)
    with torch.no_grad():
        wanted = nn.Sequential(*(each for each in (expand, layer, reduce) if each is not None))(images)
        found = folded(images)
    assert type(folded) is type(layer) and folded.groups == 1
    assert found.shape == wanted.shape
    assert relative_error(wanted, found) <= 1e-5
    assert (folded.bias is None) == (layer.bias is None and (reduce is None or reduce.bias is None))


@settings(max_examples=50)
@given(
    channels=st.integers(1, 5),
    narrow=st.integers(1, 4),
    out=st.integers(1, 5),
    bias=st.booleans(),
    reduce_to=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_linear_layer_folds_with_both_its_neighbours(
    channels: int, narrow: int, out: int, bias: bool, reduce_to: int, seed: int
) -> None:
    torch.manual_seed(seed)
    expand, layer = nn.Linear(narrow, channels, bias=False), nn.Linear(channels, out, bias=bias)
    reduce = nn.Linear(out, reduce_to, bias=bias) if reduce_to else None
    values = torch.randn(6, narrow)
    with torch.no_grad():
        wanted = layer(expand(values)) if reduce is None else reduce(layer(expand(values)))
        assert relative_error(wanted, fold(layer, expand=expand, reduce=reduce)(values)) <= 1e-5


@settings(max_examples=50)
@given(
    pool=st.sampled_from([nn.Identity(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(3)]),
    size=st.integers(4, 6),
    channels=st.integers(1, 4),
    narrow=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_convb_before_a_flatten_folds_into_the_linear_layer_after_it(
    pool: nn.Module, size: int, channels: int, narrow: int, seed: int
) -> None:
    """Several positions of one channel lie side by side behind the flatten; ConvB acts on each."""
    torch.manual_seed(seed)
    images = pool(torch.randn(3, narrow, size, size))
    expand = one_by_one(narrow, channels, bias=False)
    layer = nn.Linear(channels * images[0, 0].numel(), 4)
    folded = fold(layer, expand=expand)
    assert isinstance(folded, nn.Linear) and folded.in_features == narrow * images[0, 0].numel()
    with torch.no_grad():
        assert relative_error(layer(expand(images).flatten(1)), folded(images.flatten(1))) <= 1e-5


def test_fold_is_computed_in_float64() -> None:
    """A sum that float32 would round to nothing: 1e8 + 1 - 1e8."""
    layer = nn.Conv2d(3, 1, 1, bias=False)
    expand = one_by_one(1, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1e8, 1.0, -1e8]).view(1, 3, 1, 1))
        expand.weight.fill_(1.0)
    assert fold(layer, expand=expand).weight.item() == 1.0


def test_bias_before_zero_padding_is_refused() -> None:
    """The trap: at the border ConvB's bias would be seen before the fold, and not after it."""
    with pytest.raises(AssertionError, match="zero padding"):
        fold(nn.Conv2d(3, 3, 3, padding=1), expand=one_by_one(2, 3, bias=True))


def test_original_layer_is_left_alone() -> None:
    layer = nn.Conv2d(4, 4, 3)
    before = layer.weight.clone()
    folded = fold(layer, expand=one_by_one(2, 4, bias=False), reduce=one_by_one(4, 1, bias=True))
    with torch.no_grad():
        folded.weight.zero_()
    assert torch.equal(layer.weight, before)


def test_relative_error_is_that_of_the_largest_output() -> None:
    assert relative_error(torch.tensor([2.0, -4.0]), torch.tensor([2.0, -3.0])) == 0.25
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0
