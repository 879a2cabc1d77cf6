"""Methods of the package `tiny` that tests install, well-behaved and not."""

#: Methods by what they do.
TINY_METHODS = {
    "zeroes": '''
import torch
from torch import nn
from suite import Workbench, register_method


@register_method("zeroes", family="unstructured pruning", points=[{"share": 0.5}, {"share": 0.25}])
def zeroes(model: nn.Module, bench: Workbench, *, share: float = 0.5, finetune: bool = False) -> nn.Module:
    """Set the smallest weights of the head to zero, the given share of them, and log the validation score."""
    with torch.no_grad():
        limit = model.head.weight.abs().flatten().sort().values[int(share * model.head.weight.numel())]
        model.head.weight[model.head.weight.abs() < limit] = 0
    if finetune:
        bench.finetune(model, epochs=1)
    bench.log(share=share, val=bench.evaluate(model))
    return model
''',
    "raises": '''
from suite import register_method


@register_method("raises", family="unstructured pruning")
def raises(model, bench):
    """Fail with an exception of its own, whose message has two lines."""
    raise ValueError("the ranks\\nare all equal")
''',
    "refuses": '''
from suite import Unsupported, register_method


@register_method("refuses", family="unstructured pruning")
def refuses(model, bench):
    """Say that it cannot work on this model."""
    raise Unsupported("grouped convolutions are beyond it")
''',
    "spoils": '''
import os
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import prune
from suite import register_method


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images)


@register_method("spoils", family="unstructured pruning")
def spoils(
    model,
    bench,
    *,
    how: Literal["mask", "width", "hook", "nan", "wrap", "long", "beyond", "fraction", "moves",
                 "half", "tuple", "raises", "trained"] = "mask",
):
    """Return a network that others cannot use, or log what no record can hold."""
    if how == "mask":
        prune.l1_unstructured(model.head, "weight", 0.5)
    elif how == "width":
        model.head = nn.Linear(model.head.in_features, 11)
    elif how == "hook":
        model.head.register_forward_hook(lambda module, inputs, outputs: outputs * 2)
    elif how == "nan":
        with torch.no_grad():
            model.head.weight.fill_(float("nan"))
    elif how == "wrap":
        return Wrapped(model)
    elif how == "long":
        for step in range(40_000):
            bench.log(step=step, val=0.5)
    elif how == "beyond":
        bench.report(size=1e305)
    elif how == "fraction":
        bench.report(ssim=7.0)
    elif how == "moves":
        os.chdir("/")
    elif how == "half":
        model.half()
    elif how == "tuple":
        model.register_forward_hook(lambda module, inputs, outputs: (outputs, outputs))
    elif how == "raises":
        model.head.in_features = model.head.weight.data = model.head.weight.data[:, 1:]
    elif how == "trained":
        model.head = nn.Linear(model.head.in_features, 7)
        bench.finetune(model, epochs=1)
    return model
''',
    "dies": '''
import os

from suite import register_method


@register_method("dies", family="unstructured pruning")
def dies(model, bench):
    """Take its process down, as the kernel does to one that uses too much memory."""
    os._exit(9)
''',
    "waits": '''
import os
import time
from pathlib import Path

from suite import register_method


@register_method("waits", family="unstructured pruning")
def waits(model, bench):
    """Wait for ever, unless told not to."""
    while Path(os.environ.get("PRUNEMARK_TEST_WAIT", "/nowhere")).exists():
        time.sleep(0.1)
    return model
''',
}
