"""What cells will take before they are run: MACs by arithmetic, seconds by what this kind of machine was seen to do."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from suite import conditions, invocation, machine, plan, registry
from suite.errors import SuiteError, TaskError, said
from suite.plan import Cell
from suite.progress import duration
from suite.records import Record
from suite.tasks import Recipe

if TYPE_CHECKING:
    from suite.execute import Job

#: Training MACs a second: VGG16 in bf16, 165 images a second on two cores (Zen 4); the autoencoder in float32, where
#: the CPU has no bf16, three images a second on one core (Ice Lake). A CUDA device is a round guess.
MACS_PER_CORE = 75e9
MACS_PER_FLOAT32_CORE = 37e9
MACS_PER_GPU = 30e12
NOTHING: Mapping[str, int] = MappingProxyType({})
#: Training images, where the data set need not be there to plan.
TRAINING_IMAGES = {"cifar10": 47_500, "cifar100": 47_500, "digits": 1_259, "carla": 721, "roadscenes": 720}
#: Of the same: validation images, which are looked at after each epoch, and test images, which are once.
EVALUATION_IMAGES = {"cifar10": (2_500, 10_000), "cifar100": (2_500, 10_000), "digits": (179, 359),
                     "carla": (58, 249), "roadscenes": (80, 160)}  # fmt: skip
#: What a cell takes beside its network's passes: a process, libraries, files; at smoke there is little else.
SECONDS_PER_CELL = 7.0


def dense_macs(task: str, known: Mapping[str, int] = NOTHING) -> int:
    """MACs of a task's dense network for one sample; torch is loaded where it is not among the `known`."""
    return known.get(task) or _counted_macs(task)


@functools.cache
def _counted_macs(task: str) -> int:
    import torch

    from suite import complexity

    entry = registry.task(task)
    try:
        with torch.random.fork_rng(devices=[]):
            return complexity.macs(registry.build_model(entry.model, entry.options), entry.input_shape)
    except SuiteError:
        raise
    except Exception as error:  # its file may be anybody's
        where = f"task {task}: its model {entry.model!r} fails on a sample of {entry.input_shape}"
        raise TaskError(f"{where} {said(error)}: mend its file") from error


def stated(found: Iterable[Record]) -> dict[str, int]:
    """MACs of dense networks, by task, as fresh records have them: what is known there need not be counted by torch."""
    ok = (record for record in found if record.kind == "accuracy" and record.status == "ok")
    return {
        record.task: int(macs)
        for record in ok
        if (macs := record.metrics.get("dense_macs")) is not None and plan.is_fresh(record)
    }


def is_stated(cells: Iterable[Cell], known: Mapping[str, int]) -> bool:
    """Can the MACs of these cells be told from the `known` alone, without torch?"""
    return all(cell.task in known and registry.task(cell.task).objective != "generation" for cell in cells)


def step_macs(task: str, known: Mapping[str, int] = NOTHING) -> int:
    """MACs of one training step of a task's dense network for one image, an opponent's among them.

    `known` are dense networks' by task; of others, and where there is an opponent, torch is loaded.
    """
    if registry.task(task).objective != "generation":
        return 3 * dense_macs(task, known)
    return _both_macs(task)


@functools.cache
def _both_macs(task: str) -> int:
    entry = registry.task(task)
    import torch

    from suite.adversarial import Match

    with torch.random.fork_rng(devices=[]):
        return Match(entry).macs(registry.build_model(entry.model, entry.options))


def method_epochs(hyperparameters: Mapping[str, Any]) -> float:
    """Epochs of fine-tuning that a setting asks for, by the names methods give them (the most: networks shrink)."""
    steps = float(hyperparameters.get("steps") or 1)
    restarts = str(hyperparameters.get("restart_epochs") or "")
    if hyperparameters.get("total_epochs") is not None:  # over all levels, unless `epochs` says how many each gets
        given = hyperparameters.get("epochs")
        epochs = float(hyperparameters["total_epochs"] if given is None else given * hyperparameters.get("levels", 1))
    else:
        epochs = float(hyperparameters.get("epochs") or 0) * max(1.0, steps - 1)
    epochs += sum(float(each) for each in restarts.split(",") if each.strip().replace(".", "", 1).isdigit())
    epochs += sum(float(hyperparameters.get(name) or 0) for name in ("final_epochs", "frozen_epochs"))
    return epochs * (2.0 if str(hyperparameters.get("order", "")).endswith("-first") else 1.0)


def training_macs(cell: Cell, known: Mapping[str, int] = NOTHING) -> float:
    """About how many MACs a cell trains with, its dense model not counted (dense cells: that alone)."""
    return float(step_macs(cell.task, known)) * _images(cell)[0] * _epochs(cell)


def evaluation_macs(cell: Cell, known: Mapping[str, int] = NOTHING, *, trained: bool = False) -> float:
    """About how many MACs it takes to judge a cell's network: on validation data after each epoch and once more, and on
    the test split; of one that is `trained` already, that without the epochs.
    """
    _, validation, test = _images(cell)
    return float(dense_macs(cell.task, known)) * (validation * (1 + (0 if trained else _epochs(cell))) + test)


def _epochs(cell: Cell) -> float:
    """Of the dense network for a dense cell, of fine-tuning for another."""
    recipe = registry.task(cell.task).recipes[cell.profile]
    if cell.method == plan.DENSE or "budget" in cell.hyperparameters:  # the dense recipe's; B: at most its MACs
        return float(recipe.epochs)
    return method_epochs(cell.hyperparameters) * recipe.finetune_share


def _images(cell: Cell) -> tuple[int, int, int]:
    """How many images a cell trains with, and how many validation and test images it is judged by."""
    task = registry.task(cell.task)
    recipe: Recipe = task.recipes[cell.profile]
    part = registry.outside("data", task.data)
    stated = part.arguments.get("images") if part is not None else None
    training = stated or TRAINING_IMAGES.get(task.data, 50_000)
    validation, test = EVALUATION_IMAGES.get(task.data, (training // 10, training // 5))
    few = recipe.eval_images
    return recipe.train_images or training, min(validation, few or validation), min(test, few or test)


def trained(cells: Iterable[Cell], artifacts: Path) -> frozenset[str]:
    """The keys of the dense models, of those that these cells start from, which are trained already by today's code."""
    dense = {cell.dense.key: cell.dense for cell in cells}
    return frozenset(key for key, each in dense.items() if invocation.newest_model(each, artifacts) is not None)


def estimate_seconds(
    cells: Iterable[Cell], device: str, have: frozenset[str] = frozenset(), known: Mapping[str, int] = NOTHING
) -> float:
    """Seconds that training takes for these cells and the dense models they start from, those in `have` left out.

    `known` are MACs of dense networks by task; torch counts what is not there.
    """
    wanted = {each.key: each for cell in cells for each in (cell, cell.dense)}
    return sum(training_macs(cell, known) for key, cell in wanted.items() if key not in have) / training_rate(device)


def running_seconds(
    cells: Iterable[Cell], device: str, have: frozenset[str] = frozenset(), known: Mapping[str, int] = NOTHING
) -> float:
    """The same with what cells take beside training: a process each, and the evaluation of their networks.

    A cell in `have` is not trained, but evaluated all the same.
    """
    cells = list(cells)
    implied = {cell.dense.key: cell.dense for cell in cells if cell.dense.key not in have}
    todo = implied | {cell.key: cell for cell in cells}
    judging = sum(evaluation_macs(cell, known, trained=key in have) for key, cell in todo.items())
    return estimate_seconds(cells, device, have, known) + judging / training_rate(device) + SECONDS_PER_CELL * len(todo)


def at_most(cells: Sequence[Cell], device: str, artifacts: Path, known: Mapping[str, int] = NOTHING) -> str:
    """The same in words, dense models counted that are not trained yet."""
    return f"at most {duration(running_seconds(cells, device, trained(cells, artifacts), known))}"


def announcement(cells: Sequence[Cell], device: str, artifacts: Path, known: Mapping[str, int]) -> str:
    """How many cells are to be run, and how long that takes at most where their MACs are `known`: without torch."""
    limit = (
        at_most(cells, device, artifacts, known) if is_stated(cells, known) else "python -m suite plan says how long"
    )
    return f"{len(cells)} cells to run: {limit}"


def training_rate(device: str) -> float:
    """Training MACs a second on this machine."""
    if device == "cuda":
        return MACS_PER_GPU
    return (MACS_PER_CORE if machine.bf16_is_fast() else MACS_PER_FLOAT32_CORE) * machine.usable_cores()


def benchmark_seconds(jobs: Iterable[Job], device: str, known: Mapping[str, int] = NOTHING) -> float:
    """Seconds that measuring takes, each row as it will be measured; `known` as for `estimate_seconds`."""
    return sum(
        conditions.estimate_seconds(
            [job.row], job.cell.profile, kind=job.kind, macs=dense_macs(job.cell.task, known) if device == "cpu" else 0
        )
        for job in jobs
    )
