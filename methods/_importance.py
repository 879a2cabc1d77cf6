"""What a channel is worth: seven measures, each one number for every channel of a group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import nn

from methods._channels import PRUNABLE
from methods._pruning_targets import Group, Network, Part
from suite import Unsupported, Workbench

Importance = Literal["l1", "l2", "fpgm", "taylor", "bn-scale", "lamp", "hessian"]

#: Torch-Pruning's own measures, where they compute what their papers say; unnormalised.
MEASURES: Mapping[str, Any] = {
    "l1": tp.importance.GroupMagnitudeImportance(p=1, normalizer=None),
    "l2": tp.importance.GroupMagnitudeImportance(p=2, normalizer=None),
    "bn-scale": tp.importance.BNScaleImportance(normalizer=None),
    "lamp": tp.importance.LAMPImportance(),
    # reads `weight.grad`, taken for the diagonal of the Hessian
    "hessian": tp.importance.GroupHessianImportance(normalizer=None),
}
#: Weights of two layers differ in scale, so these are divided by their mean over a group before groups are compared.
RELATIVE = ("l1", "l2", "fpgm")
MINI_BATCH = 32  # images a gradient of `taylor` is taken over


def score_channels(
    network: Network, model: nn.Module, bench: Workbench, importance: Importance, *, samples: int
) -> dict[str, torch.Tensor]:
    """A score for each channel by group, larger for what matters more, and comparable between groups.

    `samples` training images are used by `taylor` and `hessian`. The model is in eval mode, and left without gradients.
    Unsupported where a group lacks what the measure needs.
    """
    if importance == "taylor":
        scores = _taylor(network, model, bench, samples)
    else:
        if importance == "hessian":
            _fill_gradients_with_fisher(model, bench, samples)
        scores = {group.name: _measure(group, importance).double().cpu() for group in network.groups}
    model.zero_grad(set_to_none=True)
    if importance in RELATIVE:
        # a layer whose weights are all equal to zero has no mean to divide by
        scores = {name: score / score.mean().clamp_min(1e-30) for name, score in scores.items()}
    return scores


def _measure(group: Group, importance: str) -> torch.Tensor:
    if importance == "fpgm":
        return _distances(group)
    found: torch.Tensor | None = MEASURES[importance](group.coupled)
    if found is None:
        raise Unsupported(f"{importance}: no BatchNorm follows {group.name}; choose another importance")
    return found


def _rows(part: Part, values: torch.Tensor) -> torch.Tensor:
    """Of a tensor shaped like the part's weights, one row for each output channel, or each input channel it reads."""
    transposed = isinstance(part.module, nn.ConvTranspose2d)
    return values.transpose(0, int(transposed == part.writes)).flatten(1)[list(part.indices)]


def _sum_by_channel(group: Group, found: Iterable[tuple[Part, torch.Tensor]]) -> torch.Tensor:
    total = torch.zeros(group.channels, dtype=torch.float64)
    for part, values in found:
        total.index_add_(0, torch.tensor(part.channels), values.double().cpu())
    return total


def _distances(group: Group) -> torch.Tensor:
    """Sum over the layers that write a channel of the Euclidean distances of its filter to the layer's other filters.

    Torch-Pruning's measure of that name takes distances between squared weights, for which a filter and its negative
    are the same, and adds those between the next layers' inputs.
    """
    found = []
    for part in group.parts:
        if part.writes and isinstance(part.module, PRUNABLE):
            # float64: distances come from a matrix product, which in float32 loses the small ones of large filters
            rows = _rows(part, part.module.weight.detach()).double()
            found.append((part, torch.cdist(rows, rows, compute_mode="use_mm_for_euclid_dist").sum(dim=1)))
    return _sum_by_channel(group, found)


def _taylor(network: Network, model: nn.Module, bench: Workbench, samples: int) -> dict[str, torch.Tensor]:
    totals = {group.name: torch.zeros(group.channels, dtype=torch.float64) for group in network.groups}
    batches = 0
    for _ in _gradients(model, bench, samples, MINI_BATCH):
        batches += 1
        for group in network.groups:
            totals[group.name] += _contributions(group).square()
    return {name: total / batches for name, total in totals.items()}


def _contributions(group: Group) -> torch.Tensor:
    """What zeroing each channel changes the loss by, to first order: gradient times value, over all that read it."""
    found = []
    for part in group.parts:
        if not part.writes and isinstance(part.module, PRUNABLE) and part.module.weight.grad is not None:
            product = part.module.weight.detach() * part.module.weight.grad
            found.append((part, _rows(part, product).sum(dim=1)))
    return _sum_by_channel(group, found)


def _fill_gradients_with_fisher(model: nn.Module, bench: Workbench, samples: int) -> None:
    """Put the mean over single images of the squared gradient where the gradient was.

    Torch-Pruning's `accumulate_grad` looks parameters up by name in a table keyed by parameter, and so forgets all
    images but the last.
    """
    squares = {parameter: torch.zeros_like(parameter) for parameter in model.parameters()}
    images = 0
    for _ in _gradients(model, bench, samples, 1):
        images += 1
        for parameter, square in squares.items():
            if parameter.grad is not None:
                square.addcmul_(parameter.grad, parameter.grad)
    for parameter, square in squares.items():
        parameter.grad = square / images


def _gradients(model: nn.Module, bench: Workbench, samples: int, batch_size: int) -> Iterator[None]:
    """The task's loss differentiated on `samples` training images, `batch_size` at a time: its gradients in `.grad`.

    In eval mode: with the batch's own statistics the images would not be independent of each other.
    """
    left = samples
    for inputs, targets in bench.calibration_batches(samples):  # a batch holds at least one
        for images, wanted in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            if left <= 0:
                return
            model.zero_grad(set_to_none=True)
            bench.loss(model(images[:left]), wanted[:left]).backward()
            left -= len(images)
            yield
