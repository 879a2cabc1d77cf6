"""What is measured, and how: a compressed network beside its dense one, and in a child process both ready to run."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.records import sha256_of, significant, write_atomically

if TYPE_CHECKING:
    from torch import nn

    from suite.latency import Network, Networks


@dataclass(frozen=True)
class Subject:
    """What is measured: a compressed network against its dense one, by the folders where they are stored.

    Where a folder is None its architecture (DESIGN section 8) is rebuilt with random weights. The same network on both
    sides is allowed: an A/A comparison, as for the method `dense`.
    """

    key: str
    compressed: Path | None = None
    dense: Path | None = None
    architecture: Mapping[str, Any] | None = None
    dense_architecture: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Row:
    """The conditions of a measurement, named as in a record.

    `threads` are those of the CPU, of the host on CUDA. `timing` is a CUDA row's, `wall` or `device`, and `profiler` on
    either device.
    """

    batch_size: int
    threads: int
    backend: str = "eager"
    precision: str = "fp32"
    cache: str = "hot"
    timing: str | None = None

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        given = (f"batch {self.batch_size}", threads, self.backend, self.precision, self.cache, self.timing)
        return ", ".join(each for each in given if each is not None)

    @property
    def conditions(self) -> dict[str, Any]:
        """The record's `conditions`."""
        given = {"batch_size": self.batch_size, "threads": self.threads, "backend": self.backend,
                 "precision": self.precision, "cache": self.cache}  # fmt: skip
        return given if self.timing is None else {**given, "timing": self.timing}


@dataclass(frozen=True)
class Place:
    """Where a row is measured: the device, a folder for what is compiled, and the seconds that a child may take."""

    device: str
    folder: Path
    limit: float


@dataclass(frozen=True)
class Exported:
    """A row's networks as ONNX files, by role; how many of the compressed one's INT8 layers call an INT8 kernel."""

    files: Mapping[str, Path] = field(default_factory=dict)
    kernels: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Loaded:
    """A network with its (C, H, W); `weights` are `stored` or `random`."""

    model: nn.Module
    shape: tuple[int, int, int]
    weights: str


#: The role of the small network that the import-only child of a memory row runs.
WARM_UP = "warm-up"

# -------------------------------------------------------------------------------------------------------- in the child


def load(subject: Subject, row: Row, role: str) -> Loaded:
    """The subject's network in a role: `dense`, `compressed`, or `redrawn`, the compressed one with random weights.

    SuiteError where the compressed network does not compute in the row's precision.
    """
    from suite import artifacts, backends

    if role == "dense":
        return Loaded(*artifacts.network(subject.dense, subject.dense_architecture))
    model, shape, weights = artifacts.network(subject.compressed, subject.architecture)
    backends.check_precision(model, row.precision)
    return Loaded(artifacts.randomise(model, seed=0) if role == "redrawn" else model, shape, weights)


def roles(row: Row) -> tuple[str, ...]:
    """Which networks a row needs: the value-blind control at batch 1, and of float32 weights alone (INT8 is packed)."""
    blind = row.batch_size == 1 and row.precision == "fp32"
    return ("dense", "compressed", "redrawn") if blind else ("dense", "compressed")


def export(subject: Subject, row: Row, place: Place) -> Exported:
    """The row's networks as ONNX files in the place's folder, exported and checked unless they are there."""
    from suite import backends, memory

    files, kernels = {}, (0, 0)
    files[WARM_UP] = place.folder / "warm-up.onnx"
    if not files[WARM_UP].exists():
        backends.write_onnx(memory.warm_up_network(), (3, 16, 16), files[WARM_UP])
    for role in roles(row):
        content = sha256_of([sorted((name, str(each)) for name, each in vars(subject).items()), role])
        files[role] = place.folder / f"{content[:16]}-{role}.onnx"
        counted = files[role].with_suffix(".json")
        if not counted.exists():
            loaded = load(subject, row, role)
            found = backends.write_onnx(loaded.model, loaded.shape, files[role])
            write_atomically(counted, json.dumps([found.called, found.layers]).encode())
        if role == "compressed":
            called, layers = json.loads(counted.read_bytes())
            backends.Kernels(called, layers).check()
            kernels = called, layers
    return Exported(files, kernels)


@contextlib.contextmanager
def ready(subject: Subject, row: Row, place: Place, exported: Exported) -> Iterator[tuple[Networks, dict[str, Any]]]:
    """The row's networks, loaded, compiled where the row says so and ready to be timed; and what a record notes of it.

    A network of another backend than eager has the eager dense one beside it. What is compiled stays so inside. On CUDA
    both networks compute in the row's precision, and have its clock.
    """
    import torch

    from suite import artifacts, backends, cuda, latency

    loaded = {role: load(subject, row, role) for role in roles(row)}
    dense, compressed = loaded["dense"], loaded["compressed"]
    notes = weights_notes(compressed.weights, dense.weights)
    notes["dense_subnormals"] = latency.count_subnormals(dense.model)
    notes["subnormals"] = latency.count_subnormals(compressed.model)
    dtype = cuda.dtype_of(row.precision)
    inputs = artifacts.random_input(row.batch_size, dense.shape).to(dtype)
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if row.precision in cuda.HALVES:
            for each in loaded.values():
                each.model.to(dtype)
        networks = {role: latency.eager(each.model, inputs, place.device) for role, each in loaded.items()}
        beside = networks["dense"] if row.backend != "eager" and not backends.int8_layers(dense.model) else None
        if row.backend == "compile":
            stack.enter_context(backends.compiling(place.folder))
            started = time.perf_counter()
            for role, each in loaded.items():
                compiled, kernels = backends.compile_network(each.model, networks[role].inputs)
                networks[role] = replace(networks[role], model=compiled)
                if role == "compressed":
                    notes |= kernel_notes((kernels.called, kernels.layers))
            notes["compile_seconds"] = significant(time.perf_counter() - started, 3)
        elif row.backend == "onnxruntime":
            notes |= kernel_notes(exported.kernels)
            for role, network in networks.items():
                running = backends.session(exported.files[role], row.threads, shared=True)
                networks[role] = replace(network, model=backends.runner(running), inputs=inputs)
        watch = None
        if row.timing is not None:
            networks = _on_cuda(networks if beside is None else {**networks, "eager": beside}, row, notes)
            beside = networks.get("eager")
            watch, reason = stack.enter_context(cuda.watching(cuda.uuid()))
            if watch is None:
                notes["nvml"] = reason
        yield latency.Networks(networks["dense"], networks["compressed"], networks.get("redrawn"), beside, watch), notes


def _on_cuda(networks: Mapping[str, Network], row: Row, notes: dict[str, Any]) -> dict[str, Network]:
    """The networks with the row's clock, by their roles: all as graphs, or none, and `notes` get why of those at fault.

    A graph beside a network that is launched call by call would be faster for that alone.
    """
    from suite import cuda

    timed = functools.partial(cuda.timed, timing=str(row.timing), cold=row.cache == "cold")
    found: dict[str, tuple[Network, str | None]] = {}
    missing: dict[str, str] = {}
    for role, network in networks.items():
        network, why = found[role] = timed(network, capture=not missing)  # after a failure none is timed by a graph
        if why is not None:
            missing[role] = why
    notes |= {"graph" if role == "compressed" else f"{role}_graph": why for role, why in missing.items()}
    if missing:
        found = {role: timed(network, capture=False) for role, network in networks.items()}
    return {role: network for role, (network, _) in found.items()}


def weights_notes(compressed: str, dense: str) -> dict[str, Any]:
    """Which of the networks have random weights, as a record notes it."""
    given = {"weights": compressed, "dense_weights": dense}
    return {name: weights for name, weights in given.items() if weights == "random"}


def kernel_notes(kernels: tuple[int, int]) -> dict[str, Any]:
    """How many of the quantized layers call an INT8 kernel, as a record notes it; nothing of a float32 network."""
    called, layers = kernels
    return {"int8_kernels": f"{called} of {layers} layers"} if layers else {}
