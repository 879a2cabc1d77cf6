"""Everything a method may touch of the suite: training, validation data, random numbers, its curve. Never test data."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from suite import complexity, history, onednn, registry
from suite.data import Dataset, batches
from suite.errors import SuiteError, Unsupported
from suite.evaluate import Loss, Objective, evaluate
from suite.progress import Progress
from suite.stats import thin
from suite.tasks import Recipe, Schedule, Task
from suite.train import Transform, Variation, has_fast_bf16, train


def kept_channels(channels: int, channel_ratio: float) -> int:
    """How many of `channels` a ratio keeps: max(1, floor(channel_ratio * channels + 1e-9)), everywhere the same."""
    return max(1, math.floor(channel_ratio * channels + 1e-9))


#: Points of a curve that a record keeps.
MOST_POINTS = 1000


class Workbench:
    """The one object that a method is given beside its model.

    `task` says what is compressed, `recipe` how its dense model was trained under this profile; `example_input` is one
    normalised sample (1, C, H, W) on `device`; `rng` is a seeded CPU generator.
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
        onednn.avoid_fault()  # a method may have gradients of its own
        self.task = task
        self.recipe = recipe
        self.seed = seed
        self.device = device
        self.progress = progress
        self.rng = torch.Generator().manual_seed(seed)
        self.curve: list[dict[str, float | int | bool | str | None]] = []
        self.trainings: list[history.Trained] = []
        self.metrics: dict[str, float | int | bool | None] = {}
        self.training_macs = 0
        self._autocast: list[bool] = []  # of each training
        self._outputs: torch.Size | None = None
        # an opponent learns beside the network: this one is the workbench's own
        self._objective = replace(objective, match=copy.deepcopy(objective.match))
        self._train, self._val = dataset.train, dataset.val
        # the test split is not even reachable from here
        self._dataset = replace(dataset, test=dataset.val)
        self.example_input = next(iter(batches(dataset, dataset.train.first(1), 1)))[0]

    def expect_outputs_of(self, model: nn.Module) -> None:
        """From now on what is trained must have outputs of this model's shape, or an own loss that takes others."""
        self._outputs = self._shape_of(model)

    def _shape_of(self, model: nn.Module) -> torch.Size | None:
        """The shape of a model's outputs for one sample; None where it is no tensor, or the model takes no sample."""
        modes = [(module, module.training) for module in model.modules()]  # a method may hold some in eval mode
        try:
            with torch.no_grad():
                found = model.eval()(self.example_input)
        except Exception:  # its training will say what is wrong
            return None
        finally:
            for module, training in modes:
                module.training = training
        return found.shape if isinstance(found, torch.Tensor) else None

    def finetune(
        self,
        model: nn.Module,
        *,
        epochs: float,
        lr: float = 0.01,
        schedule: Schedule | None = None,
        weight_decay: float | None = None,
        loss: Loss | None = None,
        teacher: nn.Module | None = None,
        transform: Transform | None = None,
        patience: int | None = None,
        keep_best: bool = False,
        autocast: bool = True,
        label: str = "fine-tune",
    ) -> None:
        """Train a model in place by the task's recipe, with `lr` as the peak of its schedule.

        `epochs` are those of the full profile; smoke and quick run their share of them, at least one. Zero epochs do
        nothing. `schedule` and `weight_decay` replace the recipe's. `loss(outputs, targets)` replaces the task's own;
        with a `teacher`, a network in eval mode, the targets are its outputs on the same inputs, and the loss their
        mean squared difference unless one is given. `transform(inputs, generator)` changes each normalised batch.
        `patience` stops after so many epochs without a better validation score, `keep_best` ends with the weights of
        the best epoch, `autocast` False trains in float32 throughout. Unsupported for negative epochs, rates and the
        like; SuiteError where the loss is not finite.
        """
        limits = {"weight_decay": weight_decay, "epochs": epochs, "lr": lr, "patience": patience}
        for name, value in limits.items():
            least = 1 if name == "patience" else 0
            if value is not None and not least <= value < math.inf:
                raise Unsupported(f"{name} {value} makes no training")
        if epochs == 0:
            return
        recipe = replace(
            self.recipe,
            epochs=max(1, round(epochs * self.recipe.finetune_share)),
            lr=lr,
            schedule=schedule or self.recipe.schedule,
            weight_decay=self.recipe.weight_decay if weight_decay is None else weight_decay,
        )
        self._run(model, recipe, Variation(loss, teacher, transform, patience, keep_best, autocast), label)

    def train(self, model: nn.Module, *, epochs: int | None = None, label: str = "train") -> None:
        """Train a model in place exactly as the dense one was, by the task's recipe under this profile.

        `epochs` replaces the recipe's number, and is taken as it is: no profile scales it.
        """
        if self._objective.match is not None:
            self._objective.match.forget()  # as the dense one, against an opponent that begins as it does
        self._run(model, self.recipe if epochs is None else replace(self.recipe, epochs=epochs), Variation(), label)

    def _run(self, model: nn.Module, recipe: Recipe, variation: Variation, label: str) -> None:
        found = self._shape_of(model) if self._outputs is not None and variation.loss is None else None
        if found is not None and found != self._outputs:
            last = [name for name, module in model.named_modules() if next(module.children(), None) is None][-1]
            raise SuiteError(
                f"outputs are {tuple(found[1:])} a sample, the task's are {tuple((self._outputs or found)[1:])}: leave "
                f"the last layer ({last}) as it is, for Torch-Pruning by ignored_layers=[model.{last}]"
            )
        # other shuffles than the dense training's, and than each other's
        seed = self.seed + 7919 * (1 + len(self.trainings))
        done = train(
            model,
            self._dataset,
            recipe,
            self._objective,
            seed=seed,
            progress=self.progress,
            label=label,
            variation=variation,
        )
        self.training_macs += done.training_macs
        self._autocast.append(variation.autocast)
        self.trainings.append(history.trained(label, recipe.lr, done.curve, self.trainings))

    @property
    def in_bf16(self) -> bool:
        """Does what was trained here compute in bfloat16: where the hardware is fast at it, unless asked not to?"""
        return has_fast_bf16(self.device) and (any(self._autocast) or not self._autocast)

    @property
    def objective(self) -> Objective:
        """What the task's networks are judged by, with the opponent of an adversarial task as it is now."""
        return self._objective

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The task's own training loss, a scalar."""
        return self._objective.loss(self.recipe)(outputs, targets)

    def macs(self, model: nn.Module) -> int:
        """Multiply-accumulates of a model's convolutions and linear layers for one sample."""
        return complexity.macs(model, self.task.input_shape)

    def evaluate(self, model: nn.Module) -> float:
        """The task's headline metric on the validation split; higher is better, whatever the metric."""
        value = evaluate(model, self._dataset, self._val, self._objective)[self._objective.headline]
        if self._objective.match is not None:
            self._objective.match.remember(model)
        return value if self._objective.higher_is_better else -value

    def train_batches(self, batch_size: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One pass over the training split, shuffled and augmented: `(inputs, targets)`, normalised, on the device."""
        recipe = self.recipe
        yield from batches(
            self._dataset,
            self._train,
            batch_size or recipe.batch_size,
            shuffle=self.rng,
            augmentation=recipe.augmentation,
        )

    def calibration_batches(self, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The first `count` batches of the training split, in its own order, not augmented; Unsupported below one."""
        if count < 1:
            raise Unsupported(f"{count} batches of training images: at least one is needed")
        split = self._train.first(count * self.recipe.batch_size)
        yield from batches(self._dataset, split, self.recipe.batch_size)

    def log(self, **values: Any) -> None:
        """Add a point to the record's curve; without `step` it is numbered. Tensors of one element become numbers.

        SuiteError for what no record can hold: a list, NaN, an infinity.
        """
        step = values.pop("step", len(self.curve) + 1)
        self.curve.append({name: _plain("log", name, value) for name, value in {"step": step, **values}.items()})
        shown = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.curve[-1].items())
        self.progress.say(f"  {shown}")

    @property
    def logged(self) -> dict[str, list[Any]]:
        """What a record keeps of the points that were logged, and of the trainings epoch by epoch."""
        return {"curve": thin(self.curve, MOST_POINTS), "trainings": history.kept(self.trainings)}

    @functools.cached_property
    def dense_macs(self) -> int:
        """MACs of the uncompressed network for one sample, also for a method that starts from a compressed one."""
        with torch.random.fork_rng(devices=[]):
            return self.macs(registry.build_model(self.task.model, self.task.options))

    def report(self, **metrics: Any) -> None:
        """Add figures of the method's own to the record's `metrics`; a suite metric of that name wins.

        SuiteError for what no record can hold: text, a list, NaN, an infinity.
        """
        for name, value in metrics.items():
            plain = _plain("report", name, value)
            if isinstance(plain, str):
                raise SuiteError(f"bench.report({name}={plain!r}): a metric is a number, true, false or None")
            self.metrics[name] = plain


def _plain(call: str, name: str, value: Any) -> float | int | bool | str | None:
    if math.prod(getattr(value, "shape", (0,))) == 1:  # of torch or numpy
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    shown = " ".join(str(value).split())[:60]
    raise SuiteError(f"bench.{call}({name}={shown}): a record holds a finite number, true or false, text or None")
