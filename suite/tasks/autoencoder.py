"""The RGB autoencoder on CARLA frames, two variants of it, and its embedded stand-in on drawn road scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from suite.registry import register_task
from suite.tasks import Recipe, Task

#: Sixteen images a batch: 721 frames are few, and 45 steps an epoch learn more from them than 22. A peak of 0.1 beat
#: 0.4 by 1.2 dB after a hundred steps on road scenes (width 0.25), and Adam at 0.01 by 3.8 dB.
FULL = Recipe(
    epochs=200,
    batch_size=16,
    lr=0.1,
    weight_decay=5e-4,
    schedule="triangular",
    warmup=0.1,
    augmentation=("window", "flip"),
)
SCENES = replace(FULL, epochs=60, augmentation=("flip",))
CARLA: Mapping[str, Recipe] = {
    "full": FULL,
    "quick": replace(FULL, epochs=12, finetune_share=0.06),
    "smoke": replace(FULL, epochs=1, batch_size=4, lr=0.05, finetune_share=0.005, train_images=32, eval_images=16),
}


def _carla(title: str, *, parent: str | None = None, **options: Any) -> Task:
    return Task(
        title=title,
        model="autoencoder",
        options={"width": 1.0, "bottleneck": 128, "skip": False} | options,
        data="carla",
        input_shape=(3, 128, 128),
        recipes=CARLA,
        objective="reconstruction",
        parent=parent,
    )


@register_task("autoencoder-carla")
def autoencoder_carla() -> Task:
    """The paper's RGB autoencoder (model-pruning-paper, section 4.2, Table 2) on frames of the CARLA simulator.

    It reduces 128x128x3 to 16x16x128 and restores it. The loss is 0.15 (1 - SSIM) + 0.85 L1, lower is better: the paper
    names "a weighted average of L1 and SSIM" and no weights, so its 1.40 is on another scale than ours. Our frames are
    not the paper's: 721 of Town01 to Town03 to train on, 58 of Town04 to validate, 249 of Town05 to test; random
    crops of them in training, mirrored at random, the middles otherwise.

    `full` trains 200 epochs with a triangular learning rate. `quick` is twelve, about eleven minutes on two cores.
    """
    return _carla("RGB autoencoder on CARLA")


@register_task("autoencoder-carla+bottleneck256")
def autoencoder_carla_bottleneck256() -> Task:
    """The autoencoder that came first (Weekly report 6, section 1): its code is 16x16x256, larger than the image.

    65,536 numbers stand for 49,152, so it need not compress anything; the report's next network has half of them.
    """
    return _carla(
        "RGB autoencoder with 256 bottleneck channels on CARLA",
        bottleneck=256,
        parent="autoencoder-carla",
    )


@register_task("autoencoder-carla+skip")
def autoencoder_carla_skip() -> Task:
    """The autoencoder with skip connections, which the paper's outlook asks for (model-pruning-paper, section 5.2).

    What each encoder level holds before its pool is concatenated to the decoder level of that size, as in U-Net.
    Details bypass the bottleneck, so its losses are far lower and say nothing about the plain autoencoder's.
    """
    return _carla("RGB autoencoder with skip connections on CARLA", skip=True, parent="autoencoder-carla")


@register_task("autoencoder-roadscenes")
def autoencoder_roadscenes() -> Task:
    """The RGB autoencoder at a quarter of its width on road scenes that the suite draws: no download.

    720 scenes to train on, 80 to validate, 160 to test, of 128x128 pixels, the same ones everywhere. An embedded
    stand-in for `autoencoder-carla`: it shows that everything runs; its losses say nothing about CARLA's.
    """
    return Task(
        title="RGB autoencoder (width 0.25) on road scenes",
        model="autoencoder",
        options={"width": 0.25, "bottleneck": 128, "skip": False},
        data="roadscenes",
        input_shape=(3, 128, 128),
        recipes={
            "full": SCENES,
            "quick": replace(SCENES, epochs=16, finetune_share=0.1),
            # small batches: BatchNorm's running averages need more than a few steps before an evaluation means anything
            "smoke": replace(
                SCENES, epochs=1, batch_size=4, lr=0.05, finetune_share=0.01, train_images=64, eval_images=32
            ),
        },
        objective="reconstruction",
        embedded=True,
    )
