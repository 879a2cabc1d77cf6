"""GoogLeNet at a quarter of its width on CIFAR-100: a variant that a CPU trains in well under an hour."""

from __future__ import annotations

from dataclasses import replace

from suite.registry import register_task
from suite.tasks import Task
from suite.tasks.googlenet import googlenet_cifar100


@register_task("googlenet-cifar100+width0.25")
def googlenet_cifar100_quarter() -> Task:
    """GoogLeNet with a quarter of the channels in each layer, trained by the recipe of `googlenet-cifar100`.

    A fifteenth of the parameters, and `quick` in under an hour on one core: the rows of cifar100-googlenet-report's
    table where there is no GPU. A narrow network has less to lose, so its figures are not those of the parent.
    """
    return replace(
        googlenet_cifar100(),
        title="GoogLeNet (width 0.25) on CIFAR-100",
        options={"classes": 100, "width": 0.25},
        parent="googlenet-cifar100",
        target={},
    )
