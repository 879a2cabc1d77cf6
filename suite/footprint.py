"""The layers of a recorded network as numbers of weights, by arithmetic on text: torch is not needed.

The text may come from strangers: whatever is no description of layers gives None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite.records import canonical

#: Attributes that leave a layer's output positions as they are: with others alike, MACs go as the weights.
WIDTHS = ("in_channels", "out_channels", "in_features", "out_features", "groups", "bias")


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer: the number of its weights, without bias, and what else it is, as text."""

    path: str
    weights: int
    shape: str


@dataclass(frozen=True)
class Footprint:
    """A network by its layers; `origin` is the registered model, its options and input shape."""

    origin: str
    precision: str
    layers: tuple[Layer, ...]
    parameters: int


def read(architecture: Mapping[str, Any] | None) -> Footprint | None:
    """The footprint of a record's `architecture`; None where there is none, or it holds a layer that is not known."""
    if architecture is None:
        return None
    try:
        origin = canonical([architecture[name] for name in ("model", "options", "input_shape")])
        layers, parameters = [], 0
        for path, (kind, attributes) in architecture["layers"].items():
            weights, others = _counts(kind, attributes)
            parameters += weights + others
            if weights:
                shape = canonical([kind, {k: v for k, v in attributes.items() if k not in WIDTHS}])
                layers.append(Layer(path, weights, shape))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ZeroDivisionError):
        return None
    return Footprint(origin, str(architecture.get("precision", "fp32")), tuple(layers), parameters)


def _counts(kind: str, attributes: Mapping[str, Any]) -> tuple[int, int]:
    """Weights that multiply inputs, and other learned values (biases, BatchNorm's scale and shift)."""
    if kind in ("Conv2d", "ConvTranspose2d"):
        inputs, outputs, groups = (_whole(attributes[name]) for name in ("in_channels", "out_channels", "groups"))
        kernel = math.prod(map(_whole, attributes["kernel_size"]))
        return inputs * outputs * kernel // groups, outputs * bool(attributes["bias"])
    if kind == "Linear":
        inputs, outputs = (_whole(attributes[name]) for name in ("in_features", "out_features"))
        return inputs * outputs, outputs * bool(attributes["bias"])
    if kind == "BatchNorm2d":
        return 0, 2 * _whole(attributes["num_features"]) * bool(attributes["affine"])
    raise ValueError(kind)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(value)
    return value


def shares(own: Footprint, dense: Footprint) -> list[float] | None:
    """What is left of each dense layer's weights, and so of its MACs; 0 of a layer that is gone.

    None where the network has layers that the dense one lacks, or of another kernel, stride or kind: then weights do
    not say what became of the MACs.
    """
    before = {layer.path: layer for layer in dense.layers}
    now = {layer.path: layer for layer in own.layers}
    if any(path not in before or before[path].shape != layer.shape for path, layer in now.items()):
        return None
    return [now[path].weights / layer.weights if path in now else 0.0 for path, layer in before.items()]
