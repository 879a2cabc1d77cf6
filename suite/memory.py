"""Peak memory of inference, from the outside: the high-water mark of a fresh process, or of CUDA's allocator.

On the CPU the number is what a process needs *because of this model*: its weights, the activations of a forward pass at
the row's batch size, the input, the convolution library's scratch space and packed weights. Not inside: Python, torch
and its libraries, which a second child shows that does everything but the model. `VmHWM` is reset through
/proc/self/clear_refs once the model is loaded, so that reading and checking a file does not count. Never `ru_maxrss`: a
child inherits its parent's, and it cannot be reset.

What is freed is given back at once (`map_large_blocks`). Left to itself glibc's allocator keeps freed blocks in its
heap, more or less of them by where they came to lie, and that is one and the same for all children of a server: VGG16
at 22/64 of its channels took 36, 54, 60 and 76 MiB at batch 128 in runs whose own three processes agreed to 0.1 %, and
takes 34.0 to 34.2 so.

A compiled network is compiled before the mark is reset, and the second child compiles a small one: what the compiler
leaves behind in the process counts as the model's only where a larger model leaves more. The weights are there twice,
as parameters and packed for the kernels, since that is how such a process runs. ONNX Runtime's child has no parameters.

On CUDA the number is the height of torch's allocator, `max_memory_allocated`, over the forward passes: weights,
activations, the input, and the scratch space of cuDNN's convolutions. As on the CPU a small network has run before, and
what it left is taken off (`warm_up_bytes` in the notes): cuBLAS's workspace, of one size for all networks. Not inside:
the CUDA context and the kernels' code, some hundred MB, which NVML counts beside all else as `process_bytes`.
`reserved_bytes` is what the allocator took from the driver at most, its blocks' loose ends and the workspace included.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import child, nvml
from suite.errors import Unsupported

if TYPE_CHECKING:
    import torch
    from torch import nn

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
#: The allocator reaches its height in the first pass; the second shows what it failed to give back.
PASSES = 2
#: Two children that do the same differ by up to this (measured): no model is told apart from nothing below it.
RESOLUTION_BYTES = 512 * 1024
#: Blocks from this size on, all activations among them, are mapped each on its own; glibc's name of that setting.
MAPPED_BYTES = 64 * 1024
M_MMAP_THRESHOLD = -3


@dataclass(frozen=True)
class Ask:
    """A model to be run in a fresh process: the folder where it is stored, or an architecture (random weights)."""

    folder: Path | None
    architecture: Mapping[str, Any] | None
    batch_size: int
    threads: int
    device: str
    backend: str = "eager"
    #: What the network must compute in; None: whatever it does.
    precision: str | None = None
    #: The run's own folder of compiled code; the network, and the warm-up's, as ONNX files.
    cache: Path | None = None
    onnx: Path | None = None
    onnx_warm_up: Path | None = None


@dataclass(frozen=True)
class Peak:
    """`peak_bytes` above what a small network leaves, `reserved_bytes` of CUDA's allocator.

    `warm_up_bytes` is what that small network left on CUDA; `process_bytes` what NVML counts, None where it does not.
    `kernels` are the INT8 layers of a compiled network that call an INT8 kernel, and all of them.
    """

    peak_bytes: int
    weights: str
    reserved_bytes: int | None = None
    kernels: tuple[int, int] = (0, 0)
    warm_up_bytes: int | None = None
    process_bytes: int | None = None


def measure(ask: Ask, *, seconds: float, empty: int | None = None) -> Peak:
    """Peak memory of a model's forward passes, in children of at most `seconds` each.

    `empty` is what `without_model` found for the same conditions, asked for here unless given. ChildFailed says why
    there is no peak: out of memory, out of time, `unsupported` where /proc cannot tell.
    """
    if ask.device == "cuda":
        return child.run(_cuda_peak, ask, seconds=seconds)
    if empty is None:
        empty = without_model(ask, seconds=seconds)
    loaded = child.run(_cpu_peak, ask, seconds=seconds)
    if loaded.peak_bytes - empty < RESOLUTION_BYTES:
        raise child.ChildFailed("unsupported", f"needs under {RESOLUTION_BYTES // 1024} KiB, too little to be measured")
    return replace(loaded, peak_bytes=loaded.peak_bytes - empty)


def middle(peaks: Sequence[Peak]) -> Peak:
    """The median of an odd number of peaks."""
    return sorted(peaks, key=lambda peak: peak.peak_bytes)[len(peaks) // 2]


def without_model(ask: Ask, *, seconds: float) -> int:
    """The high-water mark of a child that does all that `measure`'s does but for the model, in bytes; 0 on CUDA."""
    return 0 if ask.device == "cuda" else child.run(_import_only, ask, seconds=seconds)


def map_large_blocks() -> None:
    """Have this process give back large blocks of memory as they are freed, where its C library is glibc."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)


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


def warm_up_network() -> nn.Module:
    """A small network with one of each kind of layer; (N, 3, 16, 16) in."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 1),
              nn.ConvTranspose2d(16, 16, 2, stride=2), nn.Flatten(), nn.Linear(4096, 16))  # fmt: skip
    return nn.Sequential(*layers).eval()


def _warm_up(ask: Ask) -> None:
    """Bring in what any network brings in: the thread pool, and the libraries' code for each kind of layer."""
    import torch

    from suite import modelfiles

    torch.set_num_threads(ask.threads)
    modelfiles.import_model(ask.folder, ask.architecture)  # and what a model's own package imports with it
    dtype = _dtype(ask)
    inputs = torch.randn(2, 3, 16, 16).to(ask.device, dtype).contiguous(memory_format=torch.channels_last)
    model = warm_up_network().to(ask.device, dtype).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        model(inputs)
        if ask.backend == "compile":
            _compiled(model, inputs, ask)
        elif ask.backend == "onnxruntime":
            _session(ask.onnx_warm_up, ask)(inputs.contiguous())


def _compiled(model: nn.Module, inputs: torch.Tensor, ask: Ask) -> tuple[Callable[[torch.Tensor], object], Any]:
    import torch

    from suite import backends

    assert ask.cache is not None
    with backends.compiling(ask.cache):
        call, kernels = backends.compile_network(
            model, inputs.contiguous(memory_format=torch.channels_last), check=False
        )
    return call, (kernels.called, kernels.layers)


def _session(file: Path | None, ask: Ask) -> Callable[[torch.Tensor], object]:
    from suite import backends

    assert file is not None
    return backends.runner(backends.session(file, ask.threads))


def _import_only(ask: Ask) -> int:
    """The mark of a child that imports and warms up everything that `_cpu_peak` does, and loads no model."""
    map_large_blocks()
    _warm_up(ask)
    return high_water(os.getpid)


def _cpu_peak(ask: Ask) -> Peak:
    map_large_blocks()
    _warm_up(ask)
    found = _forward_passes(ask)
    return Peak(high_water(found.run), found.weights, kernels=found.kernels)


def _dtype(ask: Ask) -> torch.dtype:
    from suite import cuda

    return cuda.dtype_of(ask.precision or "fp32")


def _cuda_peak(ask: Ask) -> Peak:
    import torch

    from suite import cuda

    with cuda.full_float32():  # the kernels that are timed, whose scratch space differs from others'
        _warm_up(ask)
        torch.cuda.synchronize()
        gc.collect()
        before = torch.cuda.memory_allocated()
        found = _forward_passes(ask)
        allocated, reserved = cuda_high_water(found.run)
    process = None
    with contextlib.suppress(Unsupported), nvml.gpu(cuda.uuid()) as gpu:
        process = gpu.process_bytes(os.getpid())
    return Peak(allocated - before, found.weights, reserved, found.kernels, before, process)


def cuda_high_water(work: Callable[..., object], *arguments: object) -> tuple[int, int]:
    """What torch's CUDA allocator has handed out, and has reserved, at most while `work(*arguments)` runs, in bytes."""
    import torch

    torch.cuda.synchronize()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work(*arguments)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()


@dataclass(frozen=True)
class _Passes:
    run: Callable[[], None]
    weights: str
    kernels: tuple[int, int] = (0, 0)


def _forward_passes(ask: Ask) -> _Passes:
    import torch

    from suite import backends
    from suite.artifacts import network, random_input

    model, shape, weights = network(ask.folder, ask.architecture)
    backends.check_precision(model, ask.precision)
    dtype = _dtype(ask)
    model = (model if dtype is torch.float32 else model.to(dtype)).to(ask.device).to(memory_format=torch.channels_last)
    call: Callable[[torch.Tensor], object] = model
    kernels = (0, 0)
    with torch.inference_mode():
        if ask.backend == "compile":
            call, kernels = _compiled(model, random_input(ask.batch_size, shape).to(ask.device, dtype), ask)
    if ask.backend == "onnxruntime":
        call = _session(ask.onnx, ask)
        del model
    layout = torch.contiguous_format if ask.backend == "onnxruntime" else torch.channels_last

    def run() -> None:
        # inputs made outside inference mode are another kind: the compiler would start again, inside the measurement.
        # Its guard is for compiled networks alone: it imports the compiler, 180 MB.
        guard = torch.compiler.set_stance("fail_on_recompile") if ask.backend == "compile" else contextlib.nullcontext()
        with torch.inference_mode(), guard:
            inputs = random_input(ask.batch_size, shape).to(ask.device, dtype).contiguous(memory_format=layout)
            for _ in range(PASSES):
                call(inputs)

    return _Passes(run, weights, kernels)
