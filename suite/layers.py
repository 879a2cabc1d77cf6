"""The layers that a method may resize, as plain data: what each is rebuilt from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from suite.errors import ArtifactError, said

#: A network's layers by path: the kind of each, and the attributes from which it is rebuilt.
Layers = dict[str, tuple[str, dict[str, bool | int | float | list[int] | str | None]]]

#: Layer kinds that a method may resize, with the attributes from which each is rebuilt.
SHAPES: Mapping[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
    nn.ConvTranspose2d: (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "output_padding",
        "groups",
        "bias",
        "dilation",
    ),
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.BatchNorm2d: ("num_features", "eps", "momentum", "affine", "track_running_stats"),
}
_BY_NAME: dict[str, type[nn.Module]] = {kind.__name__: kind for kind in SHAPES}
#: No network that we would rebuild is wider; a hostile description cannot ask for terabytes.
MOST_CHANNELS = 65_536


def read_layers(model: nn.Module) -> Layers:
    """The shape of each layer that has one."""
    layers: Layers = {}
    for path, module in model.named_modules():
        attributes = SHAPES.get(type(module))
        if attributes is not None:
            layers[path] = (type(module).__name__, {each: _plain(module, each) for each in attributes})
    return layers


def _plain(module: nn.Module, attribute: str) -> Any:
    value = getattr(module, attribute)
    if attribute == "bias":
        return value is not None
    return list(value) if isinstance(value, tuple) else value


def resize(model: nn.Module, path: str, kind: str, attributes: Mapping[str, Any]) -> None:
    """Give one layer of a network the described shape, in place; ArtifactError where it does not fit."""
    cls = _BY_NAME.get(kind)
    try:
        layer = model.get_submodule(path)
    except AttributeError:
        raise ArtifactError(f"{path!r} is no layer of {type(model).__name__}: the model has changed") from None
    if cls is None or type(layer) is not cls or set(attributes) != set(SHAPES[cls]):
        raise ArtifactError(f"layer {path!r} is a {type(layer).__name__}, the description says {kind!r}")
    if all(_plain(layer, name) == value for name, value in attributes.items()):
        return
    if not all(_is_possible(name, value) for name, value in attributes.items()):
        raise ArtifactError(f"layer {path!r} has an impossible size")
    arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in attributes.items()}
    try:
        resized = cls(**arguments)
    except (TypeError, ValueError, RuntimeError, OverflowError, IndexError) as error:
        raise ArtifactError(f"layer {path!r} cannot be built with these shapes {said(error)}") from error
    for each in next(names for names in _names(model) if path in names):
        model.set_submodule(each, resized)


def aliases(model: nn.Module) -> dict[tuple[str, ...], nn.Module]:
    """The layers that have several names, such as `head` and `fc`, with a copy of each; for `rejoin`."""
    return {names: copy.deepcopy(model.get_submodule(names[0])) for names in _names(model) if len(names) > 1}


def rejoin(model: nn.Module, before: Mapping[tuple[str, ...], nn.Module]) -> None:
    """Where a method has put another layer under one name of a layer that had several, put it under all, in place.

    `before` are the `aliases` of the network that the method was given. Of two that differ from it, that of another
    shape was put there: the values of the other may have been trained before.
    """
    for names, layer in before.items():
        try:
            found = {id(each): each for each in map(model.get_submodule, names)}.values()
        except AttributeError:
            continue  # a graph, or a network of the method's own
        changed = [each for each in found if not _is_equal(each, layer)]
        put = changed if len(changed) == 1 else [each for each in changed if _shapes(each) != _shapes(layer)]
        if len(put) == 1:
            for name in names:
                model.set_submodule(name, put[0])


def _names(model: nn.Module) -> list[tuple[str, ...]]:
    """All names of each layer."""
    found: dict[int, list[str]] = {}
    for name, each in model.named_modules(remove_duplicate=False):
        found.setdefault(id(each), []).append(name)
    return [tuple(names) for names in found.values() if names[0]]


def _is_equal(one: nn.Module, two: nn.Module) -> bool:
    first, second = one.state_dict(), two.state_dict()
    return _shapes(one) == _shapes(two) and all(torch.equal(first[name], second[name]) for name in first)


def _shapes(layer: nn.Module) -> dict[str, torch.Size]:
    return {name: each.shape for name, each in layer.state_dict().items()}


def _is_possible(name: str, value: Any) -> bool:
    """Is it a size that a layer may have? A stride of 0, or a padding beyond all images, fails only when it is run."""
    least = 1 if name in ("kernel_size", "stride", "dilation", "groups") else 0
    sizes = value if isinstance(value, list) else [value]
    return all(least <= each <= MOST_CHANNELS for each in sizes if isinstance(each, int))
