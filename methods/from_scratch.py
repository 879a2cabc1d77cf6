"""The control of all pruning: the compressed architecture with new weights, trained as the dense model was."""

from typing import Literal

from torch import nn
from torch.nn.utils import prune

from suite import Workbench, register_method

PRUNABLE = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
#: Below this share of zero weights a network is taken as a dense one.
SPARSE = 0.01


@register_method(
    "from-scratch",
    family="control",
    paper="Liu et al. 2019, Rethinking the Value of Network Pruning, arXiv:1810.05270",
    points=[
        {"base": "l1-three-stage:channel_ratio=0.34375", "budget": "E"},
        {"base": "l1-three-stage:channel_ratio=0.34375", "budget": "B"},
    ],
)
def from_scratch(
    model: nn.Module,
    bench: Workbench,
    *,
    base: str = "l1-three-stage:channel_ratio=0.34375",
    budget: Literal["E", "B"] = "E",
) -> nn.Module:
    """Forget the weights of a compressed network, keep its architecture, and train it by the dense model's own recipe.

    A control, not a proposal. Liu et al. found that networks pruned to a predefined architecture rarely beat the same
    architecture trained from random weights, so what a pruning method is worth beyond the architecture it hands over is
    the difference to this row. The paper on branch pruning claims the same of its own method (model-pruning-paper,
    section 1: "the obtained number of parameters is more meaningful than the preserved original weights").

    Where we differ: Liu et al. double the epochs of CIFAR's budget B at most as we do, but count a training's cost in
    FLOPs per epoch, we in MACs of the layers that have weights: the same ratio. Of a sparse network the zeros stay
    zeros (as in their unstructured experiments), at the places where the base left them; everything else is drawn anew
    from the cell's seed, as when the dense network was built.

    - `base`: the compressed cell whose architecture is taken, `METHOD[:name=value,...]`; task, seed and profile are
      this cell's.
    - `budget`: `E`, the dense recipe's epochs; `B`, its training MACs: as many more epochs as this network is cheaper,
      at most twice the recipe's.
    """
    masks = {name: (module.weight != 0) for name, module in model.named_modules() if isinstance(module, PRUNABLE)}
    zeros = sum(int((~mask).sum()) for mask in masks.values())
    sparse = zeros > SPARSE * sum(mask.numel() for mask in masks.values())
    for module in model.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    if sparse:
        for name, mask in masks.items():
            prune.custom_from_mask(model.get_submodule(name), "weight", mask)
    epochs = bench.recipe.epochs
    if budget == "B":
        epochs = round(epochs * min(2.0, bench.dense_macs / bench.macs(model)))
    bench.train(model, epochs=epochs)
    if sparse:
        for name in masks:
            prune.remove(model.get_submodule(name), "weight")
    bench.log(epochs=epochs, val=bench.evaluate(model))
    return model
