"""A recipe applied to a network: one loop for dense training and for every method's fine-tuning, resumable."""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from suite import complexity, machine
from suite.data import Dataset, batches
from suite.errors import SuiteError
from suite.evaluate import Loss, Objective, evaluate
from suite.progress import Progress
from suite.records import write_atomically
from suite.tasks import Recipe


@dataclass
class Training:
    """What a training did: one curve point an epoch, seconds of wall time, MACs (forward, and twice that backward)."""

    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    training_macs: int = 0


def has_fast_bf16(device: str) -> bool:
    """Does this hardware multiply bfloat16 faster than float32?"""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return machine.bf16_is_fast()


def autocast(device: str) -> AbstractContextManager[Any]:
    """bf16 where the hardware has it, float32 elsewhere."""
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=has_fast_bf16(device))


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate after a share `progress` (0..1) of all steps."""
    if recipe.schedule == "constant":
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
    loss: Loss | None = None,
    checkpoint: Path | None = None,
) -> Training:
    """Train a network in place on the data set's training split: SGD with Nesterov momentum, `recipe` for the rest.

    With `checkpoint`, the state is kept there after each epoch and a later call goes on from it to the same weights as
    an uninterrupted one: shuffling and augmentation of an epoch depend on `seed` and the epoch alone. SuiteError where
    the loss is not finite.
    """
    model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        [each for each in model.parameters() if each.requires_grad],
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    criterion = loss or objective.loss(recipe)
    done = _resume(checkpoint, model, optimizer, progress)
    steps = max(1, len(dataset.train) // recipe.batch_size)
    macs = complexity.macs(model, tuple(dataset.train.images.shape[1:]))
    with progress.bar(label, recipe.epochs * steps) as advance:
        advance(len(done.curve) * steps)
        for epoch in range(len(done.curve), recipe.epochs):
            started = time.perf_counter()
            seen, total = _epoch(model, dataset, recipe, criterion, optimizer, seed=seed, epoch=epoch, advance=advance)
            if not math.isfinite(total):
                raise SuiteError(f"{label}: the loss is {total} in epoch {epoch + 1}; lower its lr ({recipe.lr})")
            score = evaluate(model, dataset, dataset.val, objective)[objective.headline]
            done.seconds += time.perf_counter() - started
            done.training_macs += 3 * macs * seen
            done.curve.append({"step": epoch + 1, "train_loss": round(total, 5), "val": round(score, 5)})
            advance(0, note=f"val {score:.4f}")
            if checkpoint is not None:
                _keep(checkpoint, model, optimizer, done)
    model.eval()
    return done


def _epoch(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    criterion: Loss,
    optimizer: torch.optim.Optimizer,
    *,
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
    shuffled = batches(dataset, dataset.train, recipe.batch_size, shuffle=drawn, augmentation=recipe.augmentation)
    for step, (inputs, targets) in enumerate(shuffled):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, (epoch * steps + step + 0.5) / (recipe.epochs * steps))
        with autocast(device):
            outputs = model(inputs)
        value = criterion(outputs.float(), targets)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        total += value.detach()  # read once an epoch: reading it here would make the GPU wait each step
        seen += len(targets)
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
    write_atomically(path, buffer.getbuffer())


def _resume(path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> Training:
    """The state of an interrupted training, loaded into model and optimizer; a fresh start where there is none."""
    if path is None or not path.exists():
        return Training()
    fresh = copy.deepcopy(model.state_dict())
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        done = Training(state["curve"], state["seconds"], state["training_macs"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # torch.load has no error of its own for a damaged file
        progress.say(f"{path.name} is damaged ({type(error).__name__}): this training starts again")
        path.unlink()
        model.load_state_dict(fresh)  # what did fit may have been loaded
        return Training()
    progress.say(f"going on from epoch {len(done.curve)}")
    return done
