"""L1 three-stage pruning: train, prune the filters of smallest L1 norm, fine-tune; again and again."""

import torch_pruning as tp
from torch import nn

from methods._channels import three_stage
from suite import Workbench, register_method


@register_method(
    "l1-three-stage",
    family="structured pruning",
    paper="Li et al. 2017, arXiv:1608.08710",
    points=[{"channel_ratio": 22 / 64}, {"channel_ratio": 0.7}, {"channel_ratio": 0.5}, {"channel_ratio": 0.59}],
)
def l1_three_stage(
    model: nn.Module,
    bench: Workbench,
    *,
    channel_ratio: float = 0.34375,
    steps: int = 6,
    epochs: int = 10,
    final_epochs: int = 40,
    lr: float = 0.05,
    max_drop: float = 0.04,
    stop: bool = False,
) -> nn.Module:
    """Remove each layer's filters of smallest L1 norm in steps, and fine-tune after each (Li et al. 2017, section 3).

    The standard pipeline that the paper on branch pruning measures itself against (model-pruning-paper, Fig. 4a):
    train, rank the filters by the sum of their absolute weights, cut the weakest, fine-tune, repeat. The channels are
    physically removed, with the BatchNorm values and the next layer's input weights that belong to them, so the
    network that comes out is a smaller dense one.

    Each step is a point of the curve: channels and parameters left, validation accuracy before and after fine-tuning.
    The last step whose accuracy is within `max_drop` of the dense model is marked there.

    Where we differ: Li et al. choose each layer's share from a sensitivity scan and prune once; here every layer keeps
    the same share, reached in equal steps (of Fig. 4a's neither size nor number is said). The paper does not give its
    learning rate; ours restarts from `lr` at each step and falls to zero, because a network that lost seven eighths of
    its weights is nearly a new one.

    - `channel_ratio`: share of output channels kept at the end, 0 to 1. 22/64 is the paper's target: 65.625 % of the
      channels removed, 11.8 % of VGG16's parameters left; 0.59 leaves its "35 % of the size"; 0.7 halves the MACs and
      0.5 quarters them.
    - `steps`: pruning steps; the share removed grows by the same amount in each.
    - `epochs`, `final_epochs`: fine-tuning after each step but the last, and after the last, in epochs of the full
      profile.
    - `lr`: peak learning rate of each fine-tuning.
    - `max_drop`: the tolerated loss of validation accuracy, as a fraction (0.04 is four points).
    - `stop`: end at the first step beyond `max_drop` and return the network before it.
    """
    # the first layer of a group is the convolution itself: the paper's norm is of its filters alone
    norm = tp.importance.MagnitudeImportance(p=1, group_reduction="first", normalizer=None)
    return three_stage(
        model,
        bench,
        norm,
        channel_ratio=channel_ratio,
        steps=steps,
        epochs=epochs,
        final_epochs=final_epochs,
        lr=lr,
        max_drop=max_drop,
        stop=stop,
    )
