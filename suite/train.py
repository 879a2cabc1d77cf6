"""A recipe applied to a network: one loop for dense training and for every method's fine-tuning, resumable."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import mse_loss

from suite import complexity, machine, onednn
from suite.adversarial import ADAM_SHARE, Match
from suite.cuda import full_float32
from suite.data import Dataset, Split, batches
from suite.errors import ArtifactError, SuiteError, Unsupported, said
from suite.evaluate import Loss, Objective, evaluate
from suite.progress import Progress
from suite.records import write_atomically
from suite.tasks import Recipe

#: Batch of normalised inputs, a seeded CPU generator -> the inputs that the network is trained on.
Transform = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
#: With the schedule `plateau`, the learning rate falls tenfold after so many epochs without a better validation score.
PLATEAU_EPOCHS = 5
PLATEAU_FACTOR = 0.1
#: A training's state whose keeping took longer than the first (seconds) is kept again after so many times as long.
QUICK_KEEPING, KEEPING_SHARE = 0.1, 19


@dataclass(frozen=True)
class Variation:
    """What one fine-tuning does otherwise than the recipe.

    `loss(outputs, targets)` replaces the task's own; with a `teacher` the targets are its outputs on the same inputs.
    `transform` changes each batch of normalised inputs. `patience`: stop after so many epochs without a better
    validation score. `keep_best`: end with the weights of the best epoch. `autocast` False: float32 throughout.
    """

    loss: Loss | None = None
    teacher: nn.Module | None = None
    transform: Transform | None = None
    patience: int | None = None
    keep_best: bool = False
    autocast: bool = True


@dataclass
class Training:
    """What a training did: one curve point an epoch, seconds of wall time, MACs.

    MACs are those of the forward passes and twice as many for backward, and those of a teacher's forward passes.
    """

    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    training_macs: int = 0


def has_fast_bf16(device: str) -> bool:
    """Does this hardware multiply bfloat16 faster than float32?"""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return machine.bf16_is_fast()


def autocast(device: str) -> AbstractContextManager[Any]:
    """bf16 where the hardware is faster with it, float32 elsewhere."""
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=has_fast_bf16(device))


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate after a share `progress` (0..1) of all steps."""
    if recipe.schedule in ("constant", "plateau"):
        return recipe.lr
    if progress < recipe.warmup:
        return recipe.lr * progress / recipe.warmup
    left = (1 - progress) / (1 - recipe.warmup)
    return recipe.lr * (left if recipe.schedule == "triangular" else (1 - math.cos(math.pi * left)) / 2)


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    objective: Objective,
    *,
    seed: int,
    progress: Progress,
    label: str,
    variation: Variation = Variation(),
    checkpoint: Path | None = None,
) -> Training:
    """Train a network in place on the data set's training split: SGD with Nesterov momentum, `recipe` for the rest.

    With `checkpoint`, the state is kept there after each epoch, or after as many as make a slow keeping a twentieth of
    the time, and a later call goes on from it to the same weights as an uninterrupted one: shuffling and augmentation
    of an epoch depend on `seed` and the epoch alone (on CUDA the same but for rounding, which cuDNN does not repeat).
    SuiteError where the loss is not finite.

    Where the objective has a match, the opponent learns beside the network, in place as well, by Adam at a fixed share
    of the learning rates; Unsupported for a variation's loss, teacher or transform.
    """
    onednn.avoid_fault()
    match = objective.match
    if match is not None and any((variation.loss, variation.teacher, variation.transform)):
        raise Unsupported(
            "the networks of this task learn from each other: no other loss, teacher or noise is possible"
        )
    learning = model if match is None else match.together(model, dataset.train.targets.device.type)
    if match is not None:
        match.has_learned_beside(None)
    learning.train().to(memory_format=torch.channels_last)
    optimizer = _sgd(model, recipe) if match is None else match.optimizer(learning, recipe)
    done = _resume(checkpoint, learning, optimizer, progress)
    assert checkpoint is None or not variation.keep_best, "the best weights of an interrupted training are not kept"
    best: dict[str, torch.Tensor] = {}
    kept = keeping = 0.0  # when the state was last kept, and the seconds that it took
    steps = max(1, len(dataset.train) // recipe.batch_size)
    shape: tuple[int, ...] = tuple(dataset.train.images.shape[1:])
    macs = 3 * complexity.macs(model, shape) if match is None else match.macs(model)
    macs += 0 if variation.teacher is None else complexity.macs(variation.teacher, shape)  # forward alone
    with progress.bar(label, recipe.epochs * steps, done=len(done.curve) * steps) as advance:
        for epoch in range(len(done.curve), recipe.epochs):
            started = time.perf_counter()
            lr_scale = plateau_scale(_gains(done, objective)) if recipe.schedule == "plateau" else 1.0
            # outside of autocast nothing is rounded to TF32 either, backward passes included
            with contextlib.nullcontext() if variation.autocast else full_float32():
                seen, total = _epoch(
                    model,
                    dataset,
                    recipe,
                    variation,
                    match or variation.loss or (mse_loss if variation.teacher else objective.loss(recipe)),
                    optimizer,
                    lr_scale=lr_scale,
                    seed=seed,
                    epoch=epoch,
                    advance=advance,
                )
            if not math.isfinite(total):
                raise SuiteError(f"{label}: the loss is {total} in epoch {epoch + 1}; lower its lr ({recipe.lr})")
            score = evaluate(model, dataset, dataset.val, objective)[objective.headline]
            done.seconds += time.perf_counter() - started
            done.training_macs += macs * seen
            done.curve.append({"step": epoch + 1, "train_loss": round(total, 5), "val": round(score, 5)})
            advance(0, note=f"val {score:.4f}")
            waits = keeping > QUICK_KEEPING and time.perf_counter() - kept < KEEPING_SHARE * keeping
            if checkpoint is not None and not waits:
                before = time.perf_counter()
                _keep(checkpoint, learning, optimizer, done)
                kept = time.perf_counter()
                keeping = kept - before
            waited = epochs_since_best(_gains(done, objective))
            if variation.keep_best and waited == 0:
                best = {name: tensor.detach().clone() for name, tensor in learning.state_dict().items()}
            if variation.patience is not None and waited >= variation.patience:
                progress.say(f"{label}: no better validation score for {waited} epochs, stopped after {epoch + 1}")
                break
    if best:
        learning.load_state_dict(best)
    learning.eval()
    if match is not None:
        match.has_learned_beside(model)
    return done


def _sgd(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        [each for each in model.parameters() if each.requires_grad],
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )


def _gains(done: Training, objective: Objective) -> list[float]:
    """The validation score after each epoch, turned such that higher is better."""
    return [point["val"] if objective.higher_is_better else -point["val"] for point in done.curve]


def epochs_since_best(gains: Sequence[float]) -> int:
    """How many epochs ago the best score (higher is better) was first reached; 0 where it was the last."""
    return len(gains) - 1 - max(range(len(gains)), key=lambda epoch: (gains[epoch], -epoch)) if gains else 0


def plateau_scale(gains: Sequence[float]) -> float:
    """What the schedule `plateau` multiplies the learning rate by after these scores (higher is better)."""
    scale, best, waited = 1.0, -math.inf, 0
    for gain in gains:
        best, waited = (gain, 0) if gain > best else (best, waited + 1)
        if waited == PLATEAU_EPOCHS:
            scale, waited = scale * PLATEAU_FACTOR, 0
    return scale


def _epoch(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    variation: Variation,
    criterion: Loss | Match,
    optimizer: torch.optim.Optimizer,
    *,
    lr_scale: float,
    seed: int,
    epoch: int,
    advance: Callable[..., None],
) -> tuple[int, float]:
    """One pass over the training data: images seen, mean loss."""
    drawn = torch.Generator().manual_seed(seed * 100_003 + epoch)
    device = dataset.train.targets.device.type
    steps = max(1, len(dataset.train) // recipe.batch_size)
    total = torch.zeros((), device=device)
    seen = 0
    model.train()
    split = dataset.train
    if isinstance(criterion, Match):
        assert split.frames is not None, "the view of an adversarial task keeps the pictures"
        split = Split(split.frames, split.targets)
        lr_scale *= ADAM_SHARE
        if criterion.has_opponent:
            criterion.opponent.train()

    def precision() -> AbstractContextManager[Any]:
        return autocast(device) if variation.autocast else contextlib.nullcontext()

    shuffled = batches(dataset, split, recipe.batch_size, shuffle=drawn, augmentation=recipe.augmentation)
    for step, (inputs, targets) in enumerate(shuffled):
        for group in optimizer.param_groups:
            group["lr"] = lr_scale * learning_rate(recipe, (epoch * steps + step + 0.5) / (recipe.epochs * steps))
        if variation.transform is not None:
            inputs = variation.transform(inputs, drawn)
        if isinstance(criterion, Match):
            value = criterion.step(model, inputs, drawn, optimizer, precision)
        else:
            with precision():
                if variation.teacher is not None:
                    with torch.no_grad():
                        targets = variation.teacher(inputs).float()
                outputs = model(inputs)
            value = criterion(outputs.float(), targets)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
        total += value.detach()  # read once an epoch: reading it here would make the GPU wait each step
        seen += len(inputs)
        advance()
    return seen, float(total) / steps


def _keep(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, done: Training) -> None:
    buffer = io.BytesIO()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "curve": done.curve,
        "seconds": done.seconds,
        "training_macs": done.training_macs,
    }
    torch.save(state, buffer)
    buffer.seek(0, io.SEEK_END)
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())  # a changed weight would be trained on unseen
    write_atomically(path, buffer.getbuffer())


def _resume(path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> Training:
    """The state of an interrupted training, loaded into model and optimizer; a fresh start where there is none."""
    if path is None or not path.exists():
        return Training()
    fresh = copy.deepcopy(model.state_dict())
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            raise ArtifactError("hash mismatch")
        state = torch.load(io.BytesIO(content[:-32]), map_location="cpu", weights_only=True)
        done = Training(state["curve"], state["seconds"], state["training_macs"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # torch.load has no error of its own for a damaged file
        progress.say(f"{path.name} is damaged {said(error)}: this training starts again")
        path.unlink(missing_ok=True)  # another run of the same cell may have ended meanwhile
        model.load_state_dict(fresh)  # what did fit may have been loaded
        return Training()
    progress.say(f"going on from epoch {len(done.curve)}")
    return done
