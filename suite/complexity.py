"""What a network costs on paper: parameters, non-zeros, MACs, bytes."""

from __future__ import annotations

import zlib

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from suite.artifacts import weights_bytes

_COUNTED = ("convolution", "addmm", "mm", "bmm", "baddbmm", "linear")


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one sample: torch's flop counter, halved."""
    device = next(model.parameters()).device
    training = model.training
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval()(torch.zeros(1, *input_shape, device=device))
    model.train(training)
    by_operator = counter.get_flop_counts().get("Global", {})  # none where no operator that counts was called
    return sum(count for operator, count in by_operator.items() if _plain(operator) in _COUNTED) // 2


def _plain(operator: object) -> str:
    return str(operator).rpartition(".")[2].lstrip("_")


def parameters(model: nn.Module) -> int:
    """Learned values, whatever their type (buffers such as BatchNorm's running statistics do not count)."""
    return sum(each.numel() for each in model.parameters())


def nonzero_parameters(model: nn.Module) -> int:
    """Learned values that are not exactly zero."""
    return sum(int(torch.count_nonzero(each)) for each in model.parameters())


def complexity(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Every figure of this file by the name of its record field; sizes are of the saved weights, plain and zlib 6."""
    content = weights_bytes(model)
    return {
        "parameters": parameters(model),
        "nonzero_parameters": nonzero_parameters(model),
        "macs": macs(model, input_shape),
        "size_bytes": len(content),
        "size_bytes_compressed": len(zlib.compress(content, 6)),
    }
