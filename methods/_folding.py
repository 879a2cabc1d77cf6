"""The exact merge: what stands linearly before or after a layer becomes part of its weights, in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

#: A layer whose channels can be reduced.
Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def fold(layer: Layer, *, expand: nn.Module | None = None, reduce: nn.Module | None = None) -> Layer:
    """One layer that does what `expand`, `layer` and `reduce` do one after the other; those two are 1x1 or linear.

    With weights E (N, M) of `expand` and R (P, O) of `reduce`, the layer's W (O, N, kernel) becomes
    R W E (P, M, kernel) and its bias R b + r. Stride, padding, dilation and output padding stay; a grouped layer
    becomes one without groups. Where `layer` is linear and takes several positions of each channel, flattened, E acts
    on the channels of each. Exact but for rounding, because `expand` has no bias: a bias would be missing where the
    layer pads with zeros.
    """
    assert getattr(expand, "bias", None) is None, "a bias before zero padding cannot be folded"
    weight = _as_matrices(layer, channels=None if expand is None else _matrix(expand).shape[0])
    bias = None if layer.bias is None else layer.bias.detach().double()
    if expand is not None:
        weight = torch.einsum("oi...,im->om...", weight, _matrix(expand))
    if reduce is not None:
        weight = torch.einsum("po,oi...->pi...", _matrix(reduce), weight)
        assert isinstance(reduce, LAYERS)
        added = None if reduce.bias is None else reduce.bias.detach().double()
        if bias is not None:
            bias = _matrix(reduce) @ bias
            added = bias if added is None else bias + added
        bias = added
    return _rebuilt(layer, weight, bias)


def relative_error(wanted: torch.Tensor, found: torch.Tensor) -> float:
    """max|wanted - found| / max|wanted|; zero where both are zero everywhere."""
    largest = wanted.abs().max().item()
    difference = (wanted - found).abs().max().item()
    return difference / largest if largest > 0 else difference


def _matrix(layer: nn.Module) -> torch.Tensor:
    """The weights of a 1x1 convolution or linear layer: (out, in)."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    return layer.weight.detach().double().flatten(1)


def _as_matrices(layer: Layer, *, channels: int | None) -> torch.Tensor:
    """Weights without groups, in float64: (out, in, kernel); of a linear layer (out, `channels`, positions)."""
    weight = layer.weight.detach().double()
    if isinstance(layer, nn.Linear):
        return weight.reshape(layer.out_features, channels or layer.in_features, -1)
    groups = layer.groups
    if isinstance(layer, nn.ConvTranspose2d):  # (in, out / groups, kernel)
        weight = torch.cat([block.transpose(0, 1) for block in weight.chunk(groups)])
    # (out, in / groups, kernel): each block of outputs sees a block of inputs of its own
    rows, columns = layer.out_channels // groups, layer.in_channels // groups
    whole = weight.new_zeros(layer.out_channels, layer.in_channels, *weight.shape[2:])
    for group in range(groups):
        to, of = slice(group * rows, (group + 1) * rows), slice(group * columns, (group + 1) * columns)
        whole[to, of] = weight[to]
    return whole


def _rebuilt(layer: Layer, weight: torch.Tensor, bias: torch.Tensor | None) -> Layer:
    """A layer of the same kind and geometry, without groups, with these weights (out, in, kernel or positions)."""
    out, channels = weight.shape[:2]
    made: Layer
    if isinstance(layer, nn.Linear):
        weight = weight.flatten(1)
        made = nn.Linear(weight.shape[1], out, bias=bias is not None)
    else:
        names = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        geometry: dict[str, Any] = {name: getattr(layer, name) for name in names}
        if isinstance(layer, nn.ConvTranspose2d):
            weight = weight.transpose(0, 1)
            geometry["output_padding"] = layer.output_padding
        made = type(layer)(channels, out, bias=bias is not None, **geometry)
    made = made.to(layer.weight.device, layer.weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
        if made.bias is not None and bias is not None:
            made.bias.copy_(bias)
    return made.train(layer.training)
