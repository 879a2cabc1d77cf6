"""The control of structured pruning: the same pipeline with channels chosen by lot."""

import torch
from torch import nn

from methods._channels import three_stage
from suite import Workbench, register_method


@register_method(
    "random-structured",
    family="control",
    paper="Mittal et al. 2018, arXiv:1801.10447",
    points=[{"channel_ratio": 22 / 64}, {"channel_ratio": 0.7}, {"channel_ratio": 0.5}, {"channel_ratio": 0.59}],
)
def random_structured(
    model: nn.Module,
    bench: Workbench,
    *,
    channel_ratio: float = 0.34375,
    steps: int = 6,
    epochs: int = 10,
    final_epochs: int = 40,
    lr: float = 0.05,
) -> nn.Module:
    """Remove channels at random, in the steps and with the fine-tuning of `l1-three-stage`.

    A control, not a proposal: what a clever choice of channels is worth is the difference to this row. Mittal et al.
    found that it can be close to nothing once the network is fine-tuned long enough. Architecture, epochs, learning
    rates and training MACs are those of `l1-three-stage` at the same `channel_ratio`; only the ranking differs, drawn
    from the cell's seed.

    - `channel_ratio`: share of output channels kept at the end, 0 to 1.
    - `steps`, `epochs`, `final_epochs`, `lr`: as in `l1-three-stage`.
    """

    def drawn(group: list[tuple[object, list[int]]]) -> torch.Tensor:
        return torch.rand(len(group[0][1]), generator=bench.rng)

    return three_stage(
        model,
        bench,
        drawn,
        channel_ratio=channel_ratio,
        steps=steps,
        epochs=epochs,
        final_epochs=final_epochs,
        lr=lr,
        max_drop=1.0,
        stop=False,
    )
