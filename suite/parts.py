"""The data and objectives that task files register, as the suite uses them; and whether a task's parts fit together."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite import data, registry, taskfiles
from suite.data import Arrays, Dataset
from suite.errors import DataError, SuiteError, TaskError
from suite.evaluate import OBJECTIVES, Objective
from suite.frames import Pictures
from suite.metrics import Metric
from suite.taskfiles import Part
from suite.tasks import Recipe, Task

#: Samples of the trial batch: BatchNorm wants more than one.
TRIAL = 2

# ---------------------------------------------------------------------------------------------------------------- data


def read_data(part: Part, root: Path) -> Arrays | Pictures:
    """What a task file's data function delivers, in the types that the suite works with.

    DataError where a file is missing or the arrays are none that it can work with.
    """
    missing = [name for name in part.files if not (root / name).exists()]
    if missing:
        raise DataError(f"{part.name} is not in {root}: {', '.join(missing)} missing; {part.remedy}")
    read, _ = taskfiles.function(part)
    try:
        found = read(root)
    except SuiteError:
        raise
    except Exception as error:
        raise DataError(f"{_at(part, error)}: data {part.name!r} cannot be read: {_said(error)}") from error
    if isinstance(found, Pictures):
        _check_pictures(part, found)
        return found
    if not isinstance(found, Arrays):
        raise DataError(
            f"{part.origin}: data {part.name!r} is a {type(found).__name__}: return suite.Arrays (with labels) or "
            "suite.Pictures (without)"
        )
    return _checked_arrays(part, found)


def _checked_arrays(part: Part, found: Arrays) -> Arrays:
    where = f"{part.origin}: data {part.name!r}"
    for name in ("x_train", "y_train", "x_test", "y_test"):
        if not isinstance(getattr(found, name), np.ndarray):
            raise DataError(f"{where}: {name} is a {type(getattr(found, name)).__name__}: give a numpy array")
    for name in ("x_train", "x_test"):
        images = getattr(found, name)
        if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
            raise DataError(
                f"{where}: {name} must be (N, H, W, C) uint8, 0 to 255, not {images.shape} {images.dtype}: scale and "
                "round what has other units"
            )
    if found.x_train.shape[1:] != found.x_test.shape[1:]:
        raise DataError(
            f"{where}: samples of x_train are {found.x_train.shape[1:]}, of x_test {found.x_test.shape[1:]}"
        )
    for name in ("y_train", "y_test"):
        labels = getattr(found, name)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(f"{where}: {name} must be (N,) whole numbers, not {labels.shape} {labels.dtype}")
    for name in ("classes", "validation"):
        if not isinstance(getattr(found, name), int) or getattr(found, name) < 1:
            raise DataError(f"{where}: {name} must be a whole number from 1 on, not {getattr(found, name)!r}")
    if not isinstance(found.source, str):
        raise DataError(f"{where}: source must say in words where the data come from, not {found.source!r}")
    labels = {name: getattr(found, name).astype(np.int64) for name in ("y_train", "y_test")}
    images = {name: np.ascontiguousarray(getattr(found, name)) for name in ("x_train", "x_test")}
    return replace(found, **images, **labels)


def _check_pictures(part: Part, found: Pictures) -> None:
    sizes = set()
    for name in ("train", "val", "test"):
        images = getattr(found, name)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
            shown = f"{images.shape} {images.dtype}" if isinstance(images, np.ndarray) else type(images).__name__
            raise DataError(f"{part.origin}: data {part.name!r}: {name} must be (N, H, W, 3) uint8, not {shown}")
        sizes.add(images.shape[1:])
    (height, width, channels), *others = sizes
    if others or channels != 3 or width < height:
        raise DataError(f"{part.origin}: data {part.name!r}: pictures must have one size, (H, W, 3) with W at least H, "
                        f"not {' and '.join(map(str, sorted(sizes)))}")  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- objective


def objective(name: str) -> Objective:
    """The objective of that name: one of ours, or a task file's; TaskError where that file cannot be imported."""
    part = registry.outside("objective", name)
    if part is None:
        return OBJECTIVES[name]
    sums, extra = taskfiles.function(part)
    own = {metric.name: metric for metric in taskfiles.declared(part)}
    names = part.metrics
    loss = extra["loss"]

    def checked(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        found = sums(outputs, targets)
        fault = _sums_fault(found, names, own, len(outputs))
        if fault is not None:
            raise TaskError(f"{part.origin}: objective {name!r} {fault}")
        return {each: torch.as_tensor(found[each]) for each in names}

    def losses(recipe: Recipe) -> Any:
        return OBJECTIVES["classification"].loss(recipe) if loss is None else loss

    head = registry.metric(names[0])
    batch_size = part.arguments.get("batch_size", 250)
    return Objective(head.name, head.higher_is_better, losses, checked, batch_size=batch_size)


def _sums_fault(found: Any, names: tuple[str, ...], own: Mapping[str, Metric], count: int) -> str | None:
    if not isinstance(found, Mapping) or set(found) != set(names):
        got = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        return f"gives {got}: return a dict with what it declares, {', '.join(names)}"
    for name in names:
        value = torch.as_tensor(found[name])
        if value.numel() != 1:
            return f"gives {tuple(value.shape)} as {name}: return the sum over the batch's samples, one number"
        if name in own and own[name].kind == "percent" and not 0 <= float(value) <= count:
            return (
                f"gives {float(value):g} as {name} of {count} samples: a percent metric's sum lies between 0 and those"
            )
    return None


# --------------------------------------------------------------------------------------------------------------- trial


def try_out(task: Task, dataset: Dataset, device: str) -> None:
    """Do the parts of a task fit each other? Asked once a process, and only of what is not our own.

    A batch of two goes through network, loss and metrics; TaskError says what is wrong, in one line.
    """
    if any(registry.outside(kind, name) for kind, name in _parts(task)):
        _tried(task.name, task.path, device, _Held(dataset))


def _parts(task: Task) -> tuple[tuple[str, str], ...]:
    return (("model", task.model), ("data", task.data), ("objective", task.objective))


class _Held:
    """A data set that a cache does not compare: of one task there is one."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.dataset.sha256 == self.dataset.sha256

    def __hash__(self) -> int:
        return hash(self.dataset.sha256)


@functools.lru_cache(maxsize=8)
def _tried(name: str, path: str, device: str, held: _Held) -> None:
    task, dataset = registry.task(name), held.dataset
    judged = objective(task.objective)
    where = f"{path}: task {name!r}"
    inputs, targets = next(iter(data.batches(dataset, dataset.val, TRIAL)))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            model = registry.build_model(task.model, task.options).to(device).eval()
            outputs = model(inputs)
        except TaskError:
            raise
        except Exception as error:
            raise TaskError(f"{where}: model {task.model!r} with options {dict(task.options)} fails on "
                            f"{tuple(inputs.shape)}: {_said(error)}") from error  # fmt: skip
        if not isinstance(outputs, torch.Tensor) or outputs.shape[:1] != inputs.shape[:1]:
            shown = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
            raise TaskError(f"{where}: model {task.model!r} gives {shown} for {tuple(inputs.shape)}: return one tensor "
                            "whose first dimension is the batch")  # fmt: skip
        try:
            loss = judged.loss(task.recipes["full"])(outputs.float(), targets)
            judged.sums(outputs.float(), targets)
        except TaskError:
            raise
        except Exception as error:
            shapes = f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
            raise TaskError(f"{where}: objective {task.objective!r} fails on {shapes}: {_said(error)}") from error
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not bool(torch.isfinite(loss)):
        shown = f"of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) and loss.numel() != 1 else str(loss)
        raise TaskError(f"{where}: the loss of objective {task.objective!r} is {shown}: return one finite number, a "
                        "tensor, the mean over the batch")  # fmt: skip


def _said(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _at(part: Part, error: Exception) -> str:
    """Where in its author's file an exception arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(part.path)]
    return f"{part.path}:{lines[-1]}" if lines else part.origin
