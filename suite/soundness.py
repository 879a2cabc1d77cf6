"""Is what a method returned a network that others can use? Asked before its record is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import prune

from suite import artifacts
from suite.errors import ArtifactError, RecordError, said
from suite.records import Record, decode, encode

if TYPE_CHECKING:
    from suite.run import Prepared

#: Samples of the validation split that it is asked for.
SAMPLES = 8
#: On CUDA two passes may choose other kernels: the difference that is no fault, as a share of the largest output.
ON_CUDA = 1e-2


def outputs(model: nn.Module, ready: Prepared) -> torch.Tensor:
    """What a network makes of a few validation samples, in eval mode."""
    inputs = ready.dataset.normalise(ready.dataset.val.images[:SAMPLES])
    # one channel's layout is ambiguous, and a convolution then sums in the order of its weights' layout
    model.eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        found: torch.Tensor = model(inputs)
    return found


def shape_fault(model: nn.Module, dense: nn.Module, ready: Prepared) -> str | None:
    """What is wrong with its outputs: none at all, another shape than the task's, or NaN; None where nothing is."""
    other = next((each for each in model.named_parameters() if each[1].is_floating_point()
                  and each[1].dtype != torch.float32), None)  # fmt: skip
    if other is not None:
        return (
            f"{other[0]} is {str(other[1].dtype).removeprefix('torch.')}: return the network in float32, model.float()"
        )
    wanted = outputs(dense, ready).shape
    try:
        found: object = outputs(model, ready)
    except Exception as error:  # whatever its forward pass raises
        return f"it does not take the task's inputs {said(error)}"
    if not isinstance(found, torch.Tensor):
        return f"outputs are a {type(found).__name__}, the task's are one tensor of {tuple(wanted)}"
    if found.shape != wanted:
        return f"outputs are {tuple(found.shape)}, the task's are {tuple(wanted)}"
    return None if bool(found.isfinite().all()) else "outputs are not finite"


def mask_fault(model: nn.Module) -> str | None:
    """The first weight that torch.nn.utils.prune still computes from another one and a mask; None where none is."""
    for name, module in model.named_modules():
        hooks = module._forward_pre_hooks.values()
        masked = next((each for each in hooks if isinstance(each, prune.BasePruningMethod)), None)
        if masked is not None:
            tensor = masked._tensor_name
            return f"{name}.{tensor} is still masked: call torch.nn.utils.prune.remove(module, {tensor!r}) at the end"
    return None


def reload_fault(model: nn.Module, folder: Path, ready: Prepared) -> str | None:
    """What is wrong with the model that was saved in `folder`: it cannot be loaded, or computes something else."""
    before = outputs(model, ready)
    try:
        again = artifacts.load(folder, device=before.device.type)
    except ArtifactError as error:
        return f"it cannot be loaded again: what a method returns must be made of plain layers of torch {said(error)}"
    after = outputs(again, ready)
    room = ON_CUDA * float(before.abs().max()) if before.device.type == "cuda" else 0.0
    if before.shape == after.shape and torch.allclose(before, after, rtol=0, atol=room, equal_nan=True):
        return None
    return "the reloaded network's outputs differ: a hook, or what no weight holds, is lost when a network is stored"


def record_fault(record: Record) -> str | None:
    """Why nobody could read a record again: a number beyond all bounds, a line too long; None where anybody can."""
    try:
        decode(encode(record).removesuffix(b"\n"))
    except RecordError as error:
        return str(error)
    return None
