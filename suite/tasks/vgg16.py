"""VGG16 on CIFAR-10 and its embedded stand-in on handwritten digits."""

from __future__ import annotations

from dataclasses import replace

from suite.registry import register_task
from suite.tasks import Recipe, Task

FULL = Recipe(
    epochs=100,
    batch_size=128,
    lr=0.1,
    weight_decay=5e-4,
    schedule="triangular",
    warmup=0.2,
    label_smoothing=0.1,
    augmentation=("crop4", "flip"),
)
DIGITS = Recipe(epochs=30, batch_size=64, lr=0.05, weight_decay=5e-4, augmentation=("crop2",))


@register_task("vgg16-cifar10")
def vgg16_cifar10() -> Task:
    """VGG16 with BatchNorm on CIFAR-10: the network that the papers prune (model-pruning-paper, section 4.1).

    `full` trains 100 epochs with a triangular learning rate. `quick` is twelve epochs, for a CPU without patience: its
    accuracies are below what the network can do, and are labelled as quick wherever they are shown.
    """
    return Task(
        title="VGG16 on CIFAR-10",
        model="vgg16",
        options={"classes": 10, "width": 1.0},
        data="cifar10",
        input_shape=(3, 32, 32),
        recipes={
            "full": FULL,
            "quick": replace(FULL, epochs=12, finetune_share=0.1),
            "smoke": replace(FULL, epochs=1, finetune_share=0.01, train_images=256, eval_images=256),
        },
        target={"top1": 0.935},
    )


@register_task("vgg16-digits")
def vgg16_digits() -> Task:
    """VGG16 at a quarter of its width on scikit-learn's handwritten digits: no download, the whole pipeline in minutes.

    The 1,797 images of 8x8 grey levels are upsampled to 32x32x3. An embedded stand-in for `vgg16-cifar10`: it shows
    that everything runs; its accuracies say nothing about CIFAR-10.
    """
    return Task(
        title="VGG16 (width 0.25) on digits",
        model="vgg16",
        options={"classes": 10, "width": 0.25},
        data="digits",
        input_shape=(3, 32, 32),
        recipes={
            "full": DIGITS,
            "quick": replace(DIGITS, epochs=8, finetune_share=0.1),
            "smoke": replace(DIGITS, epochs=1, finetune_share=0.01, train_images=256, eval_images=128),
        },
        embedded=True,
    )
