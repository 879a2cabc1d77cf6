"""What a task is: a model, a data set, a recipe for each profile. One file beside this one for each family of tasks.

Nothing here imports torch, so that listing, planning and the leaderboard stay instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

PROFILES = ("smoke", "quick", "full")
Schedule = Literal["triangular", "cosine", "constant", "plateau"]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained under one profile.

    `lr` is the peak; `triangular` climbs to it linearly over the first `warmup` share of the steps and falls linearly
    to zero; `cosine` climbs the same way and falls along a half cosine; `plateau` starts at the peak and falls tenfold
    whenever validation stops improving. `finetune_share` scales the epochs that a method asks for (at least one is
    left). `train_images` and `eval_images` cap the data, for smoke runs alone.
    """

    epochs: int
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "triangular"
    warmup: float = 0.2
    label_smoothing: float = 0.0
    augmentation: tuple[str, ...] = ()
    finetune_share: float = 1.0
    train_images: int | None = None
    eval_images: int | None = None


@dataclass(frozen=True)
class Task:
    """A trained model to be compressed.

    `options` go to the model's builder; `input_shape` is (C, H, W) of one sample; `target` is what the dense model
    should reach on the test split with the full recipe. `register_task` fills in `name`, `description` (the
    docstring) and `path`.
    """

    model: str
    options: Mapping[str, Any]
    data: str
    input_shape: tuple[int, int, int]
    recipes: Mapping[str, Recipe]
    title: str
    objective: str = "classification"
    embedded: bool = False
    parent: str | None = None
    target: Mapping[str, float] = field(default_factory=dict)
    name: str = ""
    description: str = ""
    path: str = ""
