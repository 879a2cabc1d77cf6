"""Peak memory of inference, from the outside: the high-water mark of a fresh process, or of CUDA's allocator.

On the CPU the number is what a process needs *because of this model*: its weights, the activations of a forward pass
at the row's batch size, the input, the convolution library's scratch space and packed weights, and what the allocator
keeps beside them. Not inside: Python, torch and its libraries, which a second child shows that does everything but the
model. `VmHWM` is reset through /proc/self/clear_refs once the model is loaded, so that reading and checking a file does
not count. Never `ru_maxrss`: a child inherits its parent's, and it cannot be reset.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite import child
from suite.errors import Unsupported

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
#: The allocator reaches its height in the first pass; the second shows what it failed to give back.
PASSES = 2
#: Two children that do the same differ by up to this (measured): no model is told apart from nothing below it.
RESOLUTION_BYTES = 512 * 1024


@dataclass(frozen=True)
class Ask:
    """A model to be run in a fresh process: the folder where it is stored, or an architecture (random weights)."""

    folder: Path | None
    architecture: Mapping[str, Any] | None
    batch_size: int
    threads: int
    device: str


@dataclass(frozen=True)
class Peak:
    """`peak_bytes` above an import-only child (CPU) or of live tensors (CUDA). `reserved_bytes`: CUDA's allocator."""

    peak_bytes: int
    weights: str
    reserved_bytes: int | None = None


def measure(ask: Ask, *, seconds: float) -> Peak:
    """Peak memory of a model's forward passes, in children of at most `seconds` each.

    ChildFailed says why there is none: out of memory, out of time, `unsupported` where /proc cannot tell.
    """
    if ask.device == "cuda":
        return child.run(_cuda_peak, ask, seconds=seconds)
    empty = child.run(_import_only, ask.threads, seconds=seconds)
    loaded = child.run(_cpu_peak, ask, seconds=seconds)
    if loaded.peak_bytes - empty < RESOLUTION_BYTES:
        raise child.ChildFailed("unsupported", f"needs under {RESOLUTION_BYTES // 1024} KiB, too little to be measured")
    return Peak(loaded.peak_bytes - empty, loaded.weights)


def high_water(work: Callable[..., object], *arguments: object) -> int:
    """This process's resident memory at its highest while `work(*arguments)` runs, in bytes.

    Unsupported where the system offers no way to reset the mark (not Linux, or a container that hides it).
    """
    with contextlib.suppress(AttributeError, OSError):  # glibc alone has it: memory freed before is given back first
        ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR_REFS.write_text("5")
    except OSError as error:
        raise Unsupported(f"peak memory cannot be reset here: {CLEAR_REFS}: {error.strerror}") from error
    work(*arguments)
    found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise Unsupported(f"peak memory cannot be read here: {STATUS} has no VmHWM")
    return int(found.group(1)) * 1024


def _warm_up(threads: int) -> None:
    """Bring in what any network brings in: the thread pool, and the libraries' code for each kind of layer."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    layers = (nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 1),
              nn.ConvTranspose2d(16, 16, 2, stride=2), nn.Flatten(), nn.Linear(4096, 16))  # fmt: skip
    model = nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        model(torch.randn(2, 3, 16, 16).contiguous(memory_format=torch.channels_last))


def _import_only(threads: int) -> int:
    """The mark of a child that imports and warms up everything that `_cpu_peak` does, and loads no model."""
    _warm_up(threads)
    return high_water(os.getpid)


def _cpu_peak(ask: Ask) -> Peak:
    _warm_up(ask.threads)
    run, weights = _forward_passes(ask)
    return Peak(high_water(run), weights)


def _cuda_peak(ask: Ask) -> Peak:
    import torch

    run, weights = _forward_passes(ask)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return Peak(torch.cuda.max_memory_allocated(), weights, torch.cuda.max_memory_reserved())


def _forward_passes(ask: Ask) -> tuple[Callable[[], None], str]:
    import torch

    from suite.artifacts import network, random_input

    model, shape, weights = network(ask.folder, ask.architecture)
    model = model.to(ask.device).to(memory_format=torch.channels_last)

    def run() -> None:
        inputs = random_input(ask.batch_size, shape).to(ask.device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            for _ in range(PASSES):
                model(inputs)

    return run, weights
