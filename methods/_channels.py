"""Shared by the structured methods: cutting channels out of a network, step by step, with fine-tuning between."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from suite import Unsupported, Workbench, kept_channels

PRUNABLE = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)

#: A dependency group of Torch-Pruning -> one score a channel; the lowest are removed first.
Importance = Callable[[Any], torch.Tensor]


def channel_widths(model: nn.Module) -> dict[str, int]:
    """Output channels of each convolution and linear layer by name."""
    return {
        name: module.out_features if isinstance(module, nn.Linear) else module.out_channels
        for name, module in model.named_modules()
        if isinstance(module, PRUNABLE)
    }


def remove_channels(
    model: nn.Module,
    example_input: torch.Tensor,
    *,
    widths: dict[str, int],
    channel_ratio: float,
    importance: Importance,
) -> None:
    """Cut every layer but the head down to max(1, floor(channel_ratio * its width in `widths`)) output channels.

    Physically, and with all that depends on it: Torch-Pruning's dependency graph follows the channels through
    BatchNorm, concatenations and residual sums. Works in place.
    """
    if any(isinstance(each, nn.Conv2d) and each.groups > 1 for each in model.modules()):
        raise Unsupported("grouped convolutions: channels of a group cannot be removed one by one")
    training = model.training
    graph = tp.DependencyGraph().build_dependency(model.eval(), example_inputs=example_input)
    names = {module: name for name, module in model.named_modules()}
    # all groups first: cutting one while walking the graph would lose the others
    groups = list(graph.get_all_groups(ignored_layers=[model.head], root_module_types=list(PRUNABLE)))
    for group in groups:
        layer, cut = group[0].dep.target.module, group[0].dep.handler
        score = importance(group)
        surplus = len(score) - kept_channels(widths[names[layer]], channel_ratio)
        if surplus > 0:
            weakest = torch.argsort(score, stable=True)[:surplus].sort().values
            graph.get_pruning_group(layer, cut, weakest.tolist()).prune()
    model.zero_grad(set_to_none=True)
    model.train(training)


def three_stage(
    model: nn.Module,
    bench: Workbench,
    importance: Importance,
    *,
    channel_ratio: float,
    steps: int,
    epochs: int,
    final_epochs: int,
    lr: float,
    max_drop: float,
    stop: bool,
) -> nn.Module:
    """Prune and fine-tune in `steps` equal steps of the share removed; each step is a point of the curve."""
    if not 0 < channel_ratio <= 1:
        raise Unsupported(f"channel_ratio {channel_ratio} is outside (0, 1]: it is the share of channels kept")
    if steps < 1:
        raise Unsupported(f"steps {steps}: at least one is needed")
    widths = channel_widths(model)
    original = sum(each.numel() for each in model.parameters())
    dense = bench.evaluate(model)
    bench.log(step=0, channel_ratio=1.0, parameters=original, parameters_left=1.0, val=dense, within_max_drop=True)
    accepted = copy.deepcopy(model)
    for step in range(1, steps + 1):
        ratio = channel_ratio if step == steps else 1 - (1 - channel_ratio) * step / steps
        remove_channels(model, bench.example_input, widths=widths, channel_ratio=ratio, importance=importance)
        pruned = bench.evaluate(model)
        bench.finetune(model, epochs=final_epochs if step == steps else epochs, lr=lr, label=f"step {step}/{steps}")
        score = bench.evaluate(model)
        parameters = sum(each.numel() for each in model.parameters())
        within = score >= dense - max_drop
        bench.log(
            step=step,
            channel_ratio=ratio,
            parameters=parameters,
            parameters_left=parameters / original,
            val_pruned=pruned,
            val=score,
            within_max_drop=within,
        )
        if within:
            accepted = copy.deepcopy(model)
        elif stop:
            break
    last = max(range(len(bench.curve)), key=lambda point: (bool(bench.curve[point]["within_max_drop"]), point))
    bench.curve[last]["last_within"] = True
    return accepted if stop else model
