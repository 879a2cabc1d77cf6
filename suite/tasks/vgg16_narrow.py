"""VGG16 at a quarter of its width on CIFAR-10: a variant small enough for sweeps of many trainings."""

from __future__ import annotations

from dataclasses import replace

from suite.registry import register_task
from suite.tasks import Task
from suite.tasks.vgg16 import vgg16_cifar10


@register_task("vgg16-cifar10+width0.25")
def vgg16_cifar10_quarter() -> Task:
    """VGG16 with a quarter of the channels in each layer, trained by the recipe of `vgg16-cifar10`.

    A sixteenth of the weights and MACs: what compares many trainings, such as the alpha schedules of the paper
    (model-pruning-paper, Figs. 8-10), runs here. A narrow network has less to lose, so its figures are not those of
    the parent.
    """
    return replace(
        vgg16_cifar10(),
        title="VGG16 (width 0.25) on CIFAR-10",
        options={"classes": 10, "width": 0.25},
        parent="vgg16-cifar10",
        target={},
    )
