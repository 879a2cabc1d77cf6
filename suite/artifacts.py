"""Models on disk: safetensors and JSON, from which our own code rebuilds the module. Nothing in the files is run."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import safetensors.torch
import torch
from torch import nn

from suite import graphs, modelfiles, registry
from suite.errors import ArtifactError, UsageError, said
from suite.graphs import GraphNetwork
from suite.layers import Layers, read_layers, resize
from suite.records import write_atomically

#: What torch, safetensors and our own code raise where weights and description do not belong together.
MISFITS = (RuntimeError, AttributeError, LookupError, TypeError, ValueError, OverflowError, safetensors.SafetensorError)


class Architecture(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A network as text: the registered model, its options, and the shape of each layer that has one.

    Of an `int8` network the layers are those of the float network that was quantized: what it computes stands in its
    graph, which is stored with its weights and nowhere else.
    """

    model: str
    options: dict[str, bool | int | float | str | None]
    input_shape: tuple[int, int, int]
    layers: Layers
    precision: Literal["fp32", "int8"] = "fp32"


def describe(
    model: nn.Module, *, name: str, options: Mapping[str, Any], input_shape: tuple[int, int, int]
) -> Architecture:
    """The architecture of a network that was built as the registered model `name` and perhaps resized since."""
    if isinstance(model, GraphNetwork):
        return Architecture(name, dict(options), input_shape, model.layers, precision="int8")
    return Architecture(name, dict(options), input_shape, read_layers(model))


def rebuild(architecture: Architecture | Mapping[str, Any], *, seed: int | None = None) -> nn.Module:
    """The network of a description, in eval mode, on the CPU; its weights are random (drawn from `seed` if given).

    Only models of this installation's registry are built, and only layer shapes are taken from the description.
    ArtifactError where it does not fit.
    """
    architecture = _read(architecture)
    if architecture.precision != "fp32":
        raise ArtifactError("the layers of an int8 network do not say how it was quantized: it is made again instead")
    with torch.device("meta"):  # shapes without memory
        size = sum(each.numel() for each in _build(architecture).parameters())
    if size > modelfiles.MOST_PARAMETERS:
        raise ArtifactError(
            f"a network of {size:,} parameters: {modelfiles.MOST_PARAMETERS:,} are the most that is rebuilt"
        )
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return _build(architecture).eval()


def _read(architecture: Architecture | Mapping[str, Any]) -> Architecture:
    if isinstance(architecture, Architecture):
        return architecture
    try:
        return msgspec.convert(architecture, Architecture)
    except msgspec.ValidationError as error:
        raise ArtifactError(
            f"the description of its layers is none that was written here: make it again {said(error)}"
        ) from error


def _build(architecture: Architecture) -> nn.Module:
    try:
        model: nn.Module = registry.build_model(architecture.model, architecture.options)
    except UsageError as error:
        raise ArtifactError(str(error)) from error
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ArtifactError(
            f"{architecture.model} cannot be built as described: make it again {said(error)}"
        ) from error
    for path, (kind, attributes) in architecture.layers.items():
        resize(model, path, kind, attributes)
    return model


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """A network's parameters and buffers: contiguous, in the order of the state dict; what has two names once."""
    state = model.state_dict()
    return {name: state[name].detach().contiguous() for name, first in _first_names(state).items() if name == first}


def weights_bytes(model: nn.Module) -> bytes:
    """The saved form of `tensors_of` a network."""
    return safetensors.torch.save({name: tensor.cpu() for name, tensor in tensors_of(model).items()})


def _first_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Every name of a state dict, and the first under which the same tensor stands there."""
    seen: dict[Hashable, str] = {}
    return {
        name: seen.setdefault((each.data_ptr(), each.shape, each.stride(), each.dtype), name) if each.numel() else name
        for name, each in state.items()
    }


def save(model: nn.Module, folder: Path, architecture: Architecture, facts: Mapping[str, Any]) -> str:
    """Write a network and what is known of it into `folder`; returns the SHA-256 of its weights file.

    The description is written last and names the hash of the weights, so a half-written folder is never loaded.
    """
    content = weights_bytes(model)
    digest = hashlib.sha256(content).hexdigest()
    write_atomically(folder / modelfiles.WEIGHTS, content)
    graph = {"graph": graphs.describe(model)} if isinstance(model, GraphNetwork) else {}
    described = {"sha256": digest, "architecture": msgspec.to_builtins(architecture), **graph}
    described |= {"description_sha256": modelfiles.description_sha256(described), "facts": dict(facts)}
    modelfiles.write_description(folder, described)
    return digest


def load(folder: Path, *, device: str = "cpu") -> nn.Module:
    """The network stored in `folder`, bit-equal to the saved one, in eval mode on `device`; its hash is checked.

    ArtifactError names a missing, damaged or altered file.
    """
    description = modelfiles.facts(folder)
    if description is None:
        raise ArtifactError(f"no model in {folder}")
    weights = folder / modelfiles.WEIGHTS
    content = modelfiles.content(weights, modelfiles.LONGEST_WEIGHTS)
    if hashlib.sha256(content).hexdigest() != description.get("sha256"):
        raise ArtifactError(
            f"{weights} is not what {modelfiles.DESCRIPTION} says (hash mismatch): `python -m suite run` of its cell, "
            "with --force, makes it again"
        )
    try:
        model = restore(description, safetensors.torch.load(content))
    except ArtifactError as error:
        raise ArtifactError(f"{folder / modelfiles.DESCRIPTION}: {error}") from error
    except MISFITS as error:
        raise ArtifactError(
            f"{weights} does not fit its description: delete its folder to make it again {said(error)}"
        ) from error
    return model.to(device=device)


def restore(description: Mapping[str, Any], tensors: dict[str, torch.Tensor]) -> nn.Module:
    """The network of a stored description with these weights; ArtifactError, or one of MISFITS, where it is none."""
    stated = description.get("description_sha256")  # models stored before there was one have none
    if stated is not None and stated != modelfiles.description_sha256(description):
        raise ArtifactError("the description has been changed or damaged (hash mismatch); make it again")
    architecture = _read(description.get("architecture", {}))
    if architecture.precision == "int8":
        tensors = {name.removeprefix(graphs.PREFIX): tensor for name, tensor in tensors.items()}
        return graphs.rebuild(description.get("graph", {}), tensors, architecture.layers, architecture.input_shape)
    model = rebuild(architecture)
    aliases = {name: tensors[first] for name, first in _first_names(model.state_dict()).items() if first in tensors}
    model.load_state_dict(aliases | tensors)
    return model


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Redraw every parameter of a network in place (the value-blind control): same shapes and types, dense values.

    Normal ones; where they are int8, all 256 equally likely.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dtype == torch.int8:
                parameter.copy_(torch.randint(-128, 128, parameter.shape, generator=generator))
                continue
            fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 1
            drawn = torch.randn(parameter.shape, generator=generator) * fan_in**-0.5
            parameter.copy_(drawn.to(parameter))
    return model


def network(folder: Path | None, architecture: Mapping[str, Any] | None) -> tuple[nn.Module, tuple[int, int, int], str]:
    """The stored network, or one rebuilt with random weights; its (C, H, W); `stored` or `random`."""
    if folder is not None:
        model = load(folder)
        known = (modelfiles.facts(folder) or {})["architecture"]
    elif architecture is not None:
        model, known = rebuild(architecture, seed=0), architecture
    else:
        raise ArtifactError(
            "neither a stored network nor its architecture: run `python -m suite run` for this cell first"
        )
    channels, height, width = known["input_shape"]
    return model, (channels, height, width), "stored" if folder is not None else "random"


def random_input(batch_size: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Standard normal images (N, C, H, W), the same ones every time."""
    return torch.randn(batch_size, *shape, generator=torch.Generator().manual_seed(0))
