"""Structured pruning: whole channels go, chosen by one of seven measures, until a target is met."""

from __future__ import annotations

from typing import Literal

from torch import nn

from methods._importance import score_channels
from methods._pruning_targets import Limits, Network, choose_widths, cut, full_width, read_network, set_target
from suite import Unsupported, Workbench, register_method


@register_method(
    "structured",
    family="structured pruning",
    paper="Fang et al. 2023, arXiv:2301.12900 (Torch-Pruning)",
    points=[
        {"macs_ratio": 0.25},
        {"macs_ratio": 0.5},
        {"macs_ratio": 0.125},
        {"channel_ratio": 22 / 64},
        {"macs_ratio": 0.25, "importance": "l2"},
        {"macs_ratio": 0.25, "importance": "fpgm"},
        {"macs_ratio": 0.25, "importance": "taylor"},
        {"macs_ratio": 0.25, "importance": "bn-scale"},
        {"macs_ratio": 0.25, "importance": "hessian"},
        {"macs_ratio": 0.25, "importance": "lamp", "scope": "global"},
        {"macs_ratio": 0.25, "scope": "global"},
    ],
)
def structured(
    model: nn.Module,
    bench: Workbench,
    *,
    importance: Literal["l1", "l2", "fpgm", "taylor", "bn-scale", "lamp", "hessian"] = "l1",
    channel_ratio: float | None = None,
    parameters: int | None = None,
    macs_ratio: float | None = None,
    scope: Literal["uniform", "global"] = "uniform",
    min_ratio: float = 0.1,
    round_to: int = 1,
    samples: int = 256,
    steps: int = 1,
    epochs: int = 10,
    final_epochs: int = 40,
    lr: float = 0.05,
) -> nn.Module:
    """Remove whole channels, those of least importance, until a target is met; then fine-tune (Fang et al. 2023).

    Torch-Pruning's dependency graph follows each channel through BatchNorm, concatenations and skips. Channels that
    only make sense together form a group: of a ResNet stage, one channel of every layer that writes to the skip, with
    its BatchNorm values and the weights of every layer that reads it. A group's channels are ranked as one and cut out
    together, so what comes out is a smaller dense network. The head keeps its outputs.

    What a channel is worth (`importance`), where w are weights, g gradients of the task's loss:

    - `l1`, `l2`: the sum of |w| or of w^2 over each coupled layer, then the mean over the layers (Li et al. 2017,
      arXiv:1608.08710, for filters alone: that is `l1-three-stage`).
    - `fpgm`: the sum over j of ||F - F_j||, the distances of its filter F to the layer's other filters. What is near
      the geometric median can be replaced by the rest (He et al. 2019, arXiv:1811.00250).
    - `taylor`: the mean over mini-batches of (sum of g w)^2 over the weights that read the channel: the first-order
      change of the loss without it, squared. Behind a ReLU it is the paper's gate after BatchNorm (Molchanov et al.
      2019, arXiv:1906.10771).
    - `bn-scale`: |gamma| of its BatchNorm (Liu et al. 2017, arXiv:1708.06519). The paper trains with a penalty on
      gamma first; ours are those of the dense training. Layers without BatchNorm are refused.
    - `lamp`: s / (sum of all s_j >= s in the group), s as in `l2` (Lee et al. 2021, arXiv:2010.07611, for single
      weights). It makes layers comparable; with `scope` `uniform` it removes the same channels as `l2`.
    - `hessian`: the sum of h w^2 over each coupled layer, then the mean over the layers; h, the diagonal of the
      Hessian, is the mean over single images of g^2 (optimal brain damage, LeCun et al. 1989).

    Where we differ from Torch-Pruning 1.6.1: widths follow `kept_channels`; `fpgm` measures distances between weights,
    not their squares, of filters alone; `taylor` squares and averages by mini-batch, as its paper does; and `hessian`
    averages over all images, where the library's accumulation keeps the last one. All groups are ranked before the
    first is cut.

    Give exactly one target:

    - `channel_ratio`: share of output channels kept, 0 to 1: of every layer, or of all together.
    - `parameters`: how many may be left; `macs_ratio`: share of the MACs that may be left. The widest network that
      does not exceed it, so a step of channels may be missing to it; the curve holds what was reached.

    And:

    - `scope`: `uniform` keeps one share of the channels in each layer. `global` removes the weakest of the whole
      network: `l1`, `l2` and `fpgm` are divided by their mean over the group first; the others compare as they are.
    - `min_ratio`: share of its channels that each layer keeps at least with `global`.
    - `round_to`: channels are rounded down to a multiple of it, one multiple at least; layers narrower than that stay.
    - `samples`: training images that `taylor` (in batches of 32) and `hessian` (one by one) take gradients on.
    - `steps`: prune and fine-tune so often, removing equal parts of the target's quantity each time; ranked anew.
    - `epochs`, `final_epochs`: fine-tuning after each step but the last, and after the last, in epochs of the full
      profile.
    - `lr`: peak learning rate of each fine-tuning.
    """
    target = set_target(
        model,
        bench,
        Limits(channel_ratio=channel_ratio, parameters=parameters, macs_ratio=macs_ratio),
        uniform=scope == "uniform",
        min_ratio=min_ratio,
        round_to=round_to,
    )
    if steps < 1 or samples < 1:
        raise Unsupported(f"steps {steps}, samples {samples}: at least one of each is needed")
    _log(bench, model, target.dense, step=0)
    for step in range(1, steps + 1):
        network = target.dense if step == 1 else read_network(model, bench)
        scores = score_channels(network, model, bench, importance, samples=samples)
        cut(network, choose_widths(target, network, target.after(step / steps), scores), scores)
        pruned = bench.evaluate(model)
        last = step == steps
        bench.finetune(model, epochs=final_epochs if last else epochs, lr=lr, label=f"step {step}/{steps}")
        _log(bench, model, target.dense, step=step, val_pruned=pruned)
    return model


def _log(bench: Workbench, model: nn.Module, dense: Network, **known: float) -> None:
    parameters, macs = sum(each.numel() for each in model.parameters()), bench.macs(model)
    bench.log(
        **known,
        parameters=parameters,
        parameters_left=parameters / dense.parameters(full_width(dense)),
        macs=macs,
        macs_left=macs / dense.macs(full_width(dense)),
        val=bench.evaluate(model),
    )
