"""The uncompressed model itself."""

from torch import nn

from suite import Workbench, register_method


@register_method("dense", family="baseline", points=[{}])
def dense(model: nn.Module, bench: Workbench) -> nn.Module:
    """The task's network, trained by its recipe and left alone: the row that every other row is measured against.

    All methods of one task and seed start from this very checkpoint, named by the hash of its weights.
    """
    return model
