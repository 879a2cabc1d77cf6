"""GoogLeNet on CIFAR-100 and its embedded stand-in on handwritten digits."""

from __future__ import annotations

from dataclasses import replace

from suite.registry import register_task
from suite.tasks import Recipe, Task

#: Epochs, batch size and peak learning rate are the report's (cifar100-googlenet-report, training details).
FULL = Recipe(
    epochs=200,
    batch_size=128,
    lr=0.1,
    weight_decay=5e-4,
    schedule="triangular",
    warmup=0.2,
    label_smoothing=0.1,
    augmentation=("crop4", "flip"),
)
DIGITS = Recipe(epochs=30, batch_size=64, lr=0.05, weight_decay=5e-4, augmentation=("crop2",))


@register_task("googlenet-cifar100")
def googlenet_cifar100() -> Task:
    """GoogLeNet with BatchNorm on CIFAR-100: inception blocks, whose branches are concatenated channel by channel.

    The network of cifar100-googlenet-report, which reaches 22.96 % top-1 error before compression. `full` trains 200
    epochs in batches of 128 with a peak learning rate of 0.1, as there, but with a triangular learning rate and label
    smoothing. `quick` is eight epochs, one to two hours on two cores: its accuracies are far below what the network
    can do, and are labelled as quick wherever they are shown.
    """
    return Task(
        title="GoogLeNet on CIFAR-100",
        model="googlenet",
        options={"classes": 100, "width": 1.0},
        data="cifar100",
        input_shape=(3, 32, 32),
        recipes={
            "full": FULL,
            "quick": replace(FULL, epochs=8, finetune_share=0.1),
            "smoke": replace(FULL, epochs=1, finetune_share=0.01, train_images=256, eval_images=256),
        },
        target={"top1": 0.775},
    )


@register_task("googlenet-digits")
def googlenet_digits() -> Task:
    """GoogLeNet at a quarter of its width on scikit-learn's handwritten digits: no download, minutes for everything.

    The 1,797 images of 8x8 grey levels are upsampled to 32x32x3. An embedded stand-in for `googlenet-cifar100`: it
    shows that a method can follow concatenations; its accuracies say nothing about CIFAR-100.
    """
    return Task(
        title="GoogLeNet (width 0.25) on digits",
        model="googlenet",
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
