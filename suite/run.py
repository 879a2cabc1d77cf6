"""One cell from plan to record: train the dense model, compress, evaluate, keep the artifact; then the next cell."""

from __future__ import annotations

import contextlib
import copy
import random
import shutil
import sys
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from suite import (
    artifacts,
    complexity,
    data,
    files,
    gallery,
    layers,
    modelfiles,
    parts,
    pictures,
    plan,
    registry,
    soundness,
)
from suite.adversarial import OPPONENT
from suite.child import is_out_of_memory
from suite.data import Dataset
from suite.errors import ArtifactError, DataError, RecordError, SuiteError, TaskError, Unsupported
from suite.evaluate import Objective, evaluate
from suite.graphs import GraphNetwork
from suite.invocation import Places, Provenance, artifact_folder, blank, command_of, one_line
from suite.plan import Cell
from suite.progress import Progress
from suite.records import Record
from suite.registry import Method
from suite.tasks import Recipe, Task
from suite.train import has_fast_bf16, train
from suite.workbench import Workbench

TRAINING_STATE = "training.pt"


@dataclass(frozen=True)
class Dense:
    """A trained dense model: where it lies, the hash of its weights, and how it was trained."""

    folder: Path
    sha256: str
    curve: list[dict[str, Any]]
    training_macs: int
    training_seconds: float


@dataclass(frozen=True)
class Prepared:
    """A task's data on a device, its recipe for a profile, and what decides."""

    task: Task
    recipe: Recipe
    dataset: Dataset
    objective: Objective


def prepare(task_name: str, profile: str, places: Places, device: str) -> Prepared:
    """Load what a task needs; DataError where its data set is missing or damaged, TaskError where its file is wrong."""
    task = registry.task(task_name)
    recipe = task.recipes[profile]
    dataset = data.load(task.data, places.data, device).capped(recipe)
    objective = parts.objective(task.objective).of(task)
    if objective.match is not None:
        dataset = objective.match.view(dataset)
    found = tuple(dataset.train.images.shape[1:])
    if found != task.input_shape:
        raise DataError(f"{dataset.source} holds images of {found}, {task.name} takes {task.input_shape}")
    parts.try_out(task, dataset, device)
    return Prepared(task, recipe, dataset, objective)


def facing(ready: Prepared, folder: Path, device: str) -> Prepared:
    """The same with the opponent that lies beside the model in `folder`, where the task has one."""
    match = copy.deepcopy(ready.objective.match)
    if match is None or not match.has_opponent:
        return ready
    match.opponent = artifacts.load(folder / OPPONENT, device=device)
    return replace(ready, objective=replace(ready.objective, match=match))


def _keep_opponent(objective: Objective, task: Task, folder: Path) -> None:
    """Store an adversarial task's opponent beside the model that it belongs to, before the model itself."""
    match = objective.match
    if match is not None and match.has_opponent:
        options, shape = match.opponent_task
        described = artifacts.describe(match.opponent, name=task.model, options=options, input_shape=shape)
        artifacts.save(match.opponent, folder / OPPONENT, described, {})


def origin_of(ready: Prepared) -> dict[str, Any]:
    """What a record says of the data and the recipe."""
    return {
        "data_source": ready.dataset.source,
        "data_sha256": ready.dataset.sha256,
        "recipe": asdict(ready.recipe),
    }


def seed_everything(seed: int) -> None:
    """Seed every source of random numbers that torch, numpy or a method may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def dense_model(cell: Cell, ready: Prepared, places: Places, device: str, progress: Progress) -> Dense:
    """The dense model that `cell` starts from: the stored one, or trained now (going on where it was interrupted)."""
    task, dataset = ready.task, ready.dataset
    folder = artifact_folder(places.artifacts, cell.dense, dataset.sha256)
    try:
        stored = modelfiles.facts(folder)
        if stored is not None:
            if modelfiles.sha256_file(folder / modelfiles.WEIGHTS) != stored["sha256"]:
                raise ArtifactError("its weights are not what their hash says")
            facing(ready, folder, device)  # a dense model without its opponent is none
            return Dense(folder, stored["sha256"], **stored["facts"]["training"])
    except (ArtifactError, KeyError, TypeError, OSError) as error:
        progress.say(f"dense model of {cell.task}, seed {cell.seed}, in {folder.name}: {error}; it is trained again")
    seed_everything(cell.seed)
    model = registry.build_model(task.model, task.options).to(device)
    if ready.objective.match is not None:
        ready.objective.match.forget()
    state = folder / TRAINING_STATE
    done = train(
        model,
        dataset,
        ready.recipe,
        ready.objective,
        seed=cell.seed,
        progress=progress,
        label=f"train {task.name} seed {cell.seed}",
        checkpoint=state,
    )
    architecture = artifacts.describe(model, name=task.model, options=task.options, input_shape=task.input_shape)
    training: dict[str, Any] = {
        "curve": done.curve,
        "training_macs": done.training_macs,
        "training_seconds": round(done.seconds, 1),
    }
    _keep_opponent(ready.objective, task, folder)
    digest = artifacts.save(
        model, folder, architecture, {"training": training, "data_sha256": dataset.sha256, **_normalisation(dataset)}
    )
    for done_with in (state, *files.abandoned(state)):
        done_with.unlink(missing_ok=True)
    return Dense(folder, digest, **training)


def run_cell(
    cell: Cell, places: Places, device: str, origin: Provenance, progress: Progress, ready: Prepared | None = None
) -> Record:
    """Train the dense model if need be, compress, evaluate on the test split, keep the artifact: an accuracy record.

    `ready` is what `prepare` made of the cell's task and profile in the same places, where the caller needed it too.
    A cell with a `base` starts from that cell's stored model, which must have been run before.
    A method that fails, refuses or runs out of memory gives a record with that status and the reason. What is wrong
    with the machine, the data or the task's own file (RecordError, DataError, TaskError) is raised: it is no fault of
    the cell.
    """
    places = places.absolute()  # a method may change the directory
    ready = ready or prepare(cell.task, cell.profile, places, device)
    common = blank(cell, device, origin, kind="accuracy", command=command_of(cell, device))
    common |= origin_of(ready)
    try:
        start = dense_model(cell, ready, places, device, progress)
        common["checkpoint_sha256"] = start.sha256
        common["base_cell"] = cell.base.key if cell.base is not None else None
        record = Record(**common, status="ok", **_compress(cell, ready, start, places, device, progress))
        fault = soundness.record_fault(record)
        if fault is not None:
            raise SuiteError(f"what {cell.method} logged or reported makes no record: {fault}")
        return record
    except (RecordError, DataError, TaskError):
        raise
    except Unsupported as error:
        return Record(**common, status="unsupported", reason=one_line(error))
    except (Exception, SystemExit) as error:  # a method may be a script that once stood alone
        if is_out_of_memory(error):
            return Record(**common, status="oom", reason=one_line(error))
        if not isinstance(error, SuiteError):
            traceback.print_exc()  # the author of a method needs it; the record gets the last line
        return Record(**common, status="error", reason=one_line(error))


def _compress(
    cell: Cell, ready: Prepared, start: Dense, places: Places, device: str, progress: Progress
) -> dict[str, Any]:
    """Metrics, curves and architecture of one cell; its model is saved."""
    task, dataset = ready.task, ready.dataset
    dense = artifacts.load(start.folder, device=device)
    ready = facing(ready, start.folder, device)
    dense_metrics = _dense_metrics(dense, start, ready)
    if cell.method == plan.DENSE:
        metrics, training_macs, model, seconds = dense_metrics, start.training_macs, dense, start.training_seconds
        logged: dict[str, Any] = {"curve": start.curve}
        in_bf16 = has_fast_bf16(device)
    else:
        origin = _origin(cell, dense, places, dataset.sha256, device)
        if cell.base is not None:
            ready = facing(ready, artifact_folder(places.artifacts, cell.base, dataset.sha256), device)
        started = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for records
            model, bench = compress(registry.method(cell.method), cell, origin, ready, device, progress)
        if not isinstance(model, nn.Module):
            raise SuiteError(f"{cell.method} returned a {type(model).__name__}, not the compressed network")
        seconds = time.perf_counter() - started
        fault = soundness.mask_fault(model) or soundness.shape_fault(model, dense, ready)
        if fault is not None:
            raise SuiteError(f"{cell.method} returned a network that cannot be used: {fault}")
        ready = replace(ready, objective=bench.objective)
        metrics = bench.metrics | _metrics(model, ready)
        logged, training_macs, in_bf16 = bench.logged, bench.training_macs, bench.in_bf16
    architecture = artifacts.describe(model, name=task.model, options=task.options, input_shape=task.input_shape)
    if cell.method != plan.DENSE:
        folder = artifact_folder(places.artifacts, cell, dataset.sha256)
        _keep_opponent(ready.objective, task, folder)
        artifacts.save(model, folder, architecture, {"data_sha256": dataset.sha256, **_normalisation(dataset)})
        fault = soundness.reload_fault(model, folder, ready)
        if fault is not None:
            shutil.rmtree(folder, ignore_errors=True)
            raise SuiteError(f"{cell.method} returned a network that cannot be used: {fault}")
    return {
        "metrics": metrics
        | {f"dense_{name}": value for name, value in dense_metrics.items()}
        | {"training_macs": training_macs},
        **logged,
        "notes": {
            "compress_seconds": round(seconds, 1),
            "threads": torch.get_num_threads(),
            "training_precision": "bf16" if in_bf16 else "fp32",
        },
        "architecture": msgspec.to_builtins(architecture),
        "gallery": _gallery(model, ready, places),
    }


def _normalisation(dataset: Dataset) -> dict[str, Any]:
    """How a model's inputs are made of pixels from 0 to 255: (pixel - mean) / std, channel by channel."""
    mean, std = (each.flatten().tolist() for each in (dataset.mean, dataset.std))
    return {"normalisation": {"mean": mean, "std": std}}


def _gallery(model: nn.Module, ready: Prepared, places: Places) -> list[str]:
    """The pictures that a reconstruction cell shows: the hashes of eight originals, then of what became of them."""
    if ready.task.objective != "reconstruction":
        return []
    return gallery.write(model, ready.dataset, places.results / pictures.FOLDER)


def compress(
    method: Method, cell: Cell, origin: nn.Module, ready: Prepared, device: str, progress: Progress
) -> tuple[Any, Workbench]:
    """What the method makes of `origin`, its own copy of a trained network, and the workbench that it used."""
    declared = {parameter.name for parameter in method.hyperparameters}
    seed_everything(cell.seed)
    bench = Workbench(
        ready.task, ready.recipe, ready.dataset, ready.objective, seed=cell.seed, device=device, progress=progress
    )
    bench.expect_outputs_of(origin)
    if bench.objective.match is not None:
        bench.objective.match.has_learned_beside(origin)
    # `base` is every method's, and the suite's business: only a method that declares it is told
    settings = {name: value for name, value in cell.hyperparameters.items() if name in declared}
    aliases = layers.aliases(origin)
    model = registry.load(method)(origin, bench, **settings)
    if isinstance(model, nn.Module):
        layers.rejoin(model, aliases)
    if isinstance(model, GraphNetwork) and model.quantized_share == 0:
        raise Unsupported("no layer of this network has an INT8 kernel: nothing of it can be quantized")
    match = bench.objective.match
    if match is not None and isinstance(model, nn.Module):
        if match.part == "discriminator" and not bench.training_macs:
            raise Unsupported(
                "a discriminator is judged by the generator that learns from it: train it (epochs above 0)"
            )
        match.recall(model)
    return model, bench


def _origin(cell: Cell, dense: nn.Module, places: Places, data_sha256: str, device: str) -> nn.Module:
    """The network that a cell starts from, a copy of its own: the dense one, or its base's compressed one."""
    if cell.base is None:
        return copy.deepcopy(dense)
    named = f"its base {cell.hyperparameters[registry.BASE]}"
    folder = artifact_folder(places.artifacts, cell.base, data_sha256)
    if modelfiles.facts(folder) is None:
        if any(folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*")):  # of another version of the data
            raise ArtifactError(f"{named} was made from other data: python -m suite run {cell.base.arguments} --force")
        raise Unsupported(f"{named} has no model: its own record says why")
    origin = artifacts.load(folder, device=device)
    if isinstance(origin, GraphNetwork):
        raise Unsupported(f"{named} computes in INT8: prune first and quantize last")
    return origin


def _dense_metrics(dense: nn.Module, start: Dense, ready: Prepared) -> dict[str, Any]:
    """The dense model's metrics: read off its test data once, then kept beside its weights for every other cell."""
    known = (modelfiles.facts(start.folder) or {})["facts"].get("metrics")
    if known is None:
        known = _metrics(dense, ready)
        modelfiles.add_facts(start.folder, {"metrics": known})
    return dict(known)


def _metrics(model: nn.Module, ready: Prepared) -> dict[str, Any]:
    model.eval()
    judged = evaluate(model, ready.dataset, ready.dataset.test, ready.objective)
    return judged | complexity.complexity(model, ready.task.input_shape)
