"""Global unstructured pruning: the smallest weights of the whole network become zero."""

from torch import nn
from torch.nn.utils import prune

from suite import Unsupported, Workbench, register_method

PRUNABLE = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@register_method(
    "global-unstructured",
    family="unstructured pruning",
    paper="Han et al. 2015, arXiv:1506.02626; torch.nn.utils.prune.global_unstructured",
    points=[{"sparsity": 0.9}, {"sparsity": 0.5}, {"sparsity": 0.75}, {"sparsity": 0.95}]
    + [{"sparsity": round(0.05 * step, 2), "epochs": 0} for step in range(17)],
)
def global_unstructured(
    model: nn.Module, bench: Workbench, *, sparsity: float = 0.9, epochs: int = 20, lr: float = 0.02
) -> nn.Module:
    """Set the given share of all weights to zero, those of smallest magnitude in the whole network; then fine-tune.

    The ranking is global, so layers lose different shares: the wide late layers most. Biases and BatchNorm are spared.
    With `epochs` 0 nothing is retrained: the term-project report sweeps ResNet18 that way from 0 to 80 % in steps of
    five (resnet18-global-pruning-report, Table 1). While fine-tuning, the mask is applied in each forward pass, so
    zeros stay zeros.

    What to expect: the tensors keep their shapes, so a dense kernel does the same work as before. The file shrinks only
    when it is compressed, and the measured speed-up is about 1, as the report found (Table 2).

    - `sparsity`: share of the weights of convolutions and linear layers that become zero, 0 to below 1.
    - `epochs`: fine-tuning, in epochs of the full profile; 0 for none.
    - `lr`: peak learning rate of the fine-tuning.
    """
    if not 0 <= sparsity < 1:
        raise Unsupported(f"sparsity {sparsity} is outside [0, 1): it is the share of weights removed")
    layers = [(module, "weight") for module in model.modules() if isinstance(module, PRUNABLE)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=sparsity)
    bench.log(step=0, sparsity=sparsity, val=bench.evaluate(model))
    if epochs > 0:
        bench.finetune(model, epochs=epochs, lr=lr)
        bench.log(step=1, sparsity=sparsity, val=bench.evaluate(model))
    for module, name in layers:
        prune.remove(module, name)
    return model
