"""The DCGAN of the paper's outlook on CIFAR-10, its halves each by itself, and the embedded stand-in on digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from suite.registry import register_task
from suite.tasks import Recipe, Task

#: Adam at 0.002 of `lr`, `momentum` its first beta: Radford et al.'s 0.0002 and 0.5, batches of 128, no decay.
FULL = Recipe(
    epochs=60,
    batch_size=128,
    lr=0.1,
    momentum=0.5,
    weight_decay=0.0,
    schedule="constant",
    augmentation=("flip",),
)
DIGITS = replace(FULL, epochs=80, batch_size=32, lr=0.5, augmentation=("crop2",))
CIFAR: Mapping[str, Recipe] = {
    "full": FULL,
    "quick": replace(FULL, epochs=8, finetune_share=0.1),
    "smoke": replace(FULL, epochs=1, batch_size=32, finetune_share=0.005, train_images=128, eval_images=128),
}
#: A latent vector of 100 numbers; with the 3,072 pixels of a picture behind it where both halves are compressed.
SHAPES: Mapping[str, tuple[int, int, int]] = {
    "both": (3172, 1, 1),
    "generator": (100, 1, 1),
    "discriminator": (3, 32, 32),
}


def _task(title: str, *, data: str, part: str, width: float, recipes: Mapping[str, Recipe], **more: Any) -> Task:
    return Task(
        title=title,
        model="dcgan",
        options={"width": width, "latent": 100, "part": part},
        data=data,
        input_shape=SHAPES[part],
        recipes=recipes,
        objective="generation",
        **more,
    )


def _cifar(title: str, part: str, *, parent: str | None = None) -> Task:
    return _task(title, data="cifar10", part=part, width=1.0, recipes=CIFAR, parent=parent)


@register_task("dcgan-cifar10")
def dcgan_cifar10() -> Task:
    """The DCGAN of the paper's outlook (model-pruning-paper, section 5.2), generator and discriminator pruned at once.

    The outlook asks "whether pruning the generator and discriminator separately or simultaneously makes a significant
    difference"; the variants `+generator` and `+discriminator` are the separate ones, and all three are judged by the
    same figure. That is `frechet_small`, lower is better: the Fréchet distance between 64 features of the generated
    images and of as many real ones, 10,000 of the test split (2,500 of validation), under a small classifier that we
    trained on CIFAR-10. It is no FID, which takes an Inception network, and compares with nothing outside these pages.
    The latent vectors are fixed, the same for every network.

    Parameters, MACs, bytes and time are those of generator and discriminator together, each run once.

    A GAN goes on getting better, above all at `quick`, so whatever is trained on after pruning may seem better than the
    dense network. What pruning costs shows beside `global-unstructured` with `sparsity` 0 and as many epochs: the dense
    network trained on.

    `full` trains 60 epochs with Adam at Radford et al.'s learning rate, both networks at once rather than in turns.
    `quick` is eight, about ten minutes on two cores.
    """
    return _cifar("DCGAN on CIFAR-10, generator and discriminator", "both")


@register_task("dcgan-cifar10+generator")
def dcgan_cifar10_generator() -> Task:
    """The DCGAN of `dcgan-cifar10` of which the generator alone is compressed: the half that makes the images.

    Parameters, MACs, bytes and time are the generator's. Its opponent, a discriminator of full width, is kept beside
    the model: a compressed generator is fine-tuned against the one that the dense generator has grown up with.
    """
    return _cifar("DCGAN on CIFAR-10, generator alone", "generator", parent="dcgan-cifar10")


@register_task("dcgan-cifar10+discriminator")
def dcgan_cifar10_discriminator() -> Task:
    """The DCGAN of `dcgan-cifar10` of which the discriminator alone is compressed: the half that teaches the other.

    Parameters, MACs, bytes and time are the discriminator's. It makes no images: `frechet_small` is that of its
    opponent, a generator of full width that trains on against the compressed discriminator. So pruning without
    fine-tuning changes nothing here, and a row says what a smaller teacher costs its pupil. The opponent is the one
    at the end of the last training, also where a method goes back to weights of an earlier one.
    """
    return _cifar("DCGAN on CIFAR-10, discriminator alone", "discriminator", parent="dcgan-cifar10")


@register_task("dcgan-digits")
def dcgan_digits() -> Task:
    """The DCGAN at an eighth of its width on scikit-learn's handwritten digits, both halves at once: no download.

    An embedded stand-in for `dcgan-cifar10`: it shows that everything runs. Its `frechet_small` is measured with the
    same classifier, which has seen CIFAR-10 alone, on 359 test images, and says nothing about CIFAR-10's.
    """
    recipes = {
        "full": DIGITS,
        "quick": replace(DIGITS, epochs=20, finetune_share=0.1),
        "smoke": replace(DIGITS, epochs=1, finetune_share=0.01, train_images=128, eval_images=64),
    }
    title = "DCGAN (width 0.125) on digits, generator and discriminator"
    return _task(title, data="digits", part="both", width=0.125, recipes=recipes, embedded=True)
