"""Everything a method may touch of the suite: training, validation data, random numbers, its curve. Never test data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from suite.data import Dataset, batches
from suite.errors import SuiteError
from suite.evaluate import Loss, Objective, evaluate
from suite.progress import Progress
from suite.tasks import Recipe, Task
from suite.train import train


def kept_channels(channels: int, channel_ratio: float) -> int:
    """How many of `channels` a ratio keeps: max(1, floor(channel_ratio * channels + 1e-9)), everywhere the same."""
    return max(1, math.floor(channel_ratio * channels + 1e-9))


class Workbench:
    """The one object that a method is given beside its model.

    `task` says what is compressed; `example_input` is one normalised sample (1, C, H, W) on `device`; `rng` is a
    seeded CPU generator; `dense_score` is the validation score of the model as it came in.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        dataset: Dataset,
        objective: Objective,
        *,
        seed: int,
        device: str,
        progress: Progress,
    ) -> None:
        self.task = task
        self.seed = seed
        self.device = device
        self.progress = progress
        self.rng = torch.Generator().manual_seed(seed)
        self.curve: list[dict[str, float | int | bool | str | None]] = []
        self.training_macs = 0
        self._recipe = recipe
        self._objective = objective
        self._train, self._val = dataset.train, dataset.val
        # the test split is not even reachable from here
        self._dataset = replace(dataset, test=dataset.val)
        self._finetunings = 0
        self.example_input = dataset.normalise(dataset.train.images[:1])

    def finetune(
        self, model: nn.Module, *, epochs: float, lr: float = 0.01, loss: Loss | None = None, label: str = "fine-tune"
    ) -> None:
        """Train a model in place by the task's recipe, with `lr` as the peak of its schedule.

        `epochs` are those of the full profile; smoke and quick run their share of them, at least one. Zero epochs do
        nothing. `loss(outputs, targets)` replaces the task's own. SuiteError where the loss is not finite.
        """
        if epochs <= 0:
            return
        scaled = max(1, round(epochs * self._recipe.finetune_share))
        recipe = replace(self._recipe, epochs=scaled, lr=lr)
        self._finetunings += 1
        seed = self.seed + 7919 * self._finetunings  # other shuffles than the dense training's, and than each other's
        done = train(
            model, self._dataset, recipe, self._objective, seed=seed, progress=self.progress, label=label, loss=loss
        )
        self.training_macs += done.training_macs

    def evaluate(self, model: nn.Module) -> float:
        """The task's headline metric on the validation split; higher is better, whatever the metric."""
        value = evaluate(model, self._dataset, self._val, self._objective)[self._objective.headline]
        return value if self._objective.higher_is_better else -value

    def train_batches(self, batch_size: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One pass over the training split, shuffled and augmented: `(inputs, targets)`, normalised, on the device."""
        recipe = self._recipe
        yield from batches(
            self._dataset,
            self._train,
            batch_size or recipe.batch_size,
            shuffle=self.rng,
            augmentation=recipe.augmentation,
        )

    def calibration_batches(self, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The first `count` batches of the training split, in its own order, not augmented."""
        split = self._train.first(count * self._recipe.batch_size)
        yield from batches(self._dataset, split, self._recipe.batch_size)

    def log(self, **values: Any) -> None:
        """Add a point to the record's curve; without `step` it is numbered. Tensors of one element become numbers.

        SuiteError for what no record can hold: a list, NaN, an infinity.
        """
        step = values.pop("step", len(self.curve) + 1)
        self.curve.append({name: _plain(name, value) for name, value in {"step": step, **values}.items()})
        shown = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.curve[-1].items())
        self.progress.say(f"  {shown}")


def _plain(name: str, value: Any) -> float | int | bool | str | None:
    if math.prod(getattr(value, "shape", (0,))) == 1:  # of torch or numpy
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    shown = " ".join(str(value).split())[:60]
    raise SuiteError(f"bench.log({name}={shown}): a curve holds a finite number, true or false, text or None")
