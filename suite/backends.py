"""Compilers and runtimes: torch.compile, and on the CPU ONNX Runtime, each with a proof that it does what it says.

A compiled network is one graph, compiled before the clock starts and never again: anything else is an error. An INT8
network counts as such where its layers call INT8 kernels: what a backend computes in float32 between a quantization and
a dequantization is a simulation, whose time says nothing. And what comes out is compared with the eager network's.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from suite import machine
from suite.cuda import HALVES
from suite.errors import SuiteError, Unsupported, said
from suite.records import write_atomically

Run = Callable[[torch.Tensor], object]

OPSET = 20
INPUT, OUTPUT = "images", "outputs"
#: Largest difference from the eager network, as a share of its largest output (float32), or of the outputs' norm (INT8:
#: a sum rounded the other way is one step of a scale; a wrong scale or a saturated sum is far more).
FLOAT_TOLERANCE = 1e-4
#: The same of networks that compute in half precision, whose every rounding is 5e-4 (fp16) or 4e-3 (bf16).
HALF_TOLERANCES = {torch.float16: 0.02, torch.bfloat16: 0.1}
INT8_TOLERANCE = 0.1
#: All but this share of an INT8 network's quantized layers must call an INT8 kernel, or all but one of several: ONNX
#: Runtime computes a last layer in float32 whose output nothing quantizes.
SIMULATED_SHARE = 0.1
#: The fusion of quantized layers into INT8 kernels; importing it registers it with torch.compile.
INT8_FUSION = "torchao.quantization.pt2e.quantizer.x86_inductor_quantizer"
_LOWERED = ("qconv_unary_lower_count", "qconv2d_binary_lower_count", "qlinear_unary_lower_count",
            "qlinear_binary_lower_count")  # fmt: skip
_SWITCHED_OFF = "torch.compile compiled nothing: unset TORCH_COMPILE_DISABLE and TORCHDYNAMO_DISABLE"
_INT8_OPERATORS = ("QLinearConv", "QGemm", "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
                   "DynamicQuantizeMatMul")  # fmt: skip


@dataclass(frozen=True)
class Kernels:
    """How many of a network's quantized layers call an INT8 kernel; (0, 0) for a float32 network."""

    called: int
    layers: int

    def check(self) -> Kernels:
        """Itself; Unsupported where most of the layers would be simulated."""
        if self.layers and (self.called == 0 or self.layers - self.called > max(1, SIMULATED_SHARE * self.layers)):
            raise Unsupported(
                f"{self.called} of {self.layers} INT8 layers reach an INT8 kernel: the time would be of a simulation"
            )
        return self


def int8_layers(model: nn.Module) -> int:
    """How many weights (not biases, scales or zero points) are stored as 8-bit integers: 0 for a float32 network."""
    return sum(each.dtype in (torch.int8, torch.uint8) and each.dim() > 1 for each in model.state_dict().values())


def check_precision(model: nn.Module, precision: str | None) -> None:
    """SuiteError where the stored network is not what a row of that precision measures (None: any).

    Half precisions are made of a float32 network, by `cuda.dtype_of`.
    """
    found = "int8" if int8_layers(model) else "fp32"
    wanted = "fp32" if precision in HALVES else precision
    if wanted not in (None, found):
        raise SuiteError(f"the network computes in {found}: measure it in rows of that precision")


def tolerance(dtype: torch.dtype) -> float:
    """By how much the outputs of a network that computes in `dtype` may differ, as a share of the largest."""
    return HALF_TOLERANCES.get(dtype, FLOAT_TOLERANCE)


def check_outputs(expected: torch.Tensor, found: torch.Tensor, *, int8: bool, where: str) -> float:
    """The relative difference of two outputs; SuiteError where it is no rounding (float32: 1e-4, INT8: 10 %).

    Unsupported where INT8 is wrong on a processor that is known to overflow: no other try would be right.
    """
    difference = found.float() - expected.float()
    if int8:
        relative, limit = float(difference.norm() / expected.norm()), INT8_TOLERANCE
    else:
        relative, limit = float(difference.abs().max() / expected.float().abs().max()), tolerance(expected.dtype)
    if not relative <= limit:  # NaN is no agreement
        fault = f"{where} computes something else: outputs differ by {relative:.2g}, {limit:g} is allowed"
        if int8 and relative > limit and machine.int8_overflows():
            raise Unsupported(f"{fault}; this processor has no VNNI: {machine.SEVEN_BITS}")
        raise SuiteError(fault)
    return relative


# -------------------------------------------------------------------------------------------------------- torch.compile


@contextlib.contextmanager
def compiling(cache: Path) -> Iterator[None]:
    """Inside, `compile_network` works with files in `cache` alone; what is compiled there is never compiled again.

    A network that would be, because its input or the mode changed, raises.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)  # read whenever something is compiled
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # read at import: no pool of processes beside the clock
    try:
        with torch.compiler.set_stance("fail_on_recompile"):
            yield
    finally:
        del os.environ["TORCHINDUCTOR_CACHE_DIR"], os.environ["TORCHINDUCTOR_COMPILE_THREADS"]


def compile_network(model: nn.Module, inputs: torch.Tensor, *, check: bool = True) -> tuple[Run, Kernels]:
    """The network compiled for inputs of exactly this shape, its weights frozen into the code; inside `compiling`.

    Call it in the mode (inference) in which the network runs later. Unsupported where there is no C++ compiler (on
    CUDA: no Triton), or an INT8 network would be simulated; SuiteError where it does not become one graph, or computes
    something else.
    """
    layers = int8_layers(model)
    if layers:
        importlib.import_module(INT8_FUSION)
    from torch._dynamo import exc
    from torch._dynamo.utils import counters
    from torch._inductor import config

    require_compiler(inputs.device.type)
    counters.clear()
    compiled: Run = torch.compile(model, fullgraph=True, dynamic=False)
    try:
        with (
            torch.compiler.set_stance("default"),
            # Graphs are not cached: frozen weights could not be, and a graph from a cache would not be counted.
            config.patch(freezing=True, compile_threads=1, fx_graph_cache=False),
        ):
            outputs = compiled(inputs)
    except exc.Unsupported as error:
        raise SuiteError(
            f"torch.compile does not take this network as one graph: measure it eager {said(error)}"
        ) from error
    except RuntimeError as error:
        if "found no compiled frames" not in str(error):
            raise
        raise SuiteError(_SWITCHED_OFF) from error
    if counters["stats"]["unique_graphs"] != 1:
        raise SuiteError(_SWITCHED_OFF)
    called = sum(int(counters["inductor"][name]) for name in _LOWERED) if layers else 0
    if check:
        few = slice(0, 8)
        check_outputs(model(inputs[few]), outputs[few], int8=layers > 0, where="torch.compile")  # type: ignore[index]
    gc.collect()  # graphs and source text of the compilation
    return compiled, Kernels(called, layers).check()


def require_compiler(device: str) -> None:
    """Unsupported, with the remedy, where torch.compile has nothing to make code with."""
    if device == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise Unsupported(
                "torch.compile needs Triton on CUDA, and a GPU of compute capability 7.0 or above: pip install triton"
            )
        scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")  # Debian's, as Triton has it
        header = Path(sysconfig.get_paths(scheme)["include"], "Python.h")
        if not header.exists() or not any(map(shutil.which, (os.environ.get("CC") or "gcc", "clang"))):
            raise Unsupported(
                "torch.compile's Triton compiles what calls its kernels: install gcc and Python's headers (python3-dev)"
            )
        return
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        cpp_builder.get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise Unsupported(
            "torch.compile needs a C++ compiler and there is none: install g++ or clang++, or name one in CXX"
        ) from error


def _root(error: BaseException) -> BaseException:
    """The error that the exporter's own, which name a step and a report, came from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


# --------------------------------------------------------------------------------------------------------- ONNX Runtime


def require_onnx() -> None:
    """Unsupported, with the remedy, where one of the packages is missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise Unsupported(
                f"{error.name or name} is not installed: pip install onnx onnxscript onnxruntime"
            ) from error


def onnx_bytes(model: nn.Module, shape: tuple[int, int, int], told: Mapping[str, str] | None = None) -> bytes:
    """The network as one ONNX file, weights inside, any batch size, opset 20; `images` in, `outputs` out.

    `shape` is (C, H, W), `told` goes into the file's metadata. Unsupported where the exporter cannot translate it.
    """
    require_onnx()
    example = torch.zeros(2, *shape)
    batch = torch.export.Dim("batch", min=1)
    fresh = model.cpu().eval().to(memory_format=torch.contiguous_format)
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        try:
            program = torch.onnx.export(
                fresh,
                (example,),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise Unsupported(
                f"torch.onnx cannot follow this network: take safetensors, or measure it eager {said(_root(error))}"
            ) from error
        assert program is not None
        program.model.metadata_props.update(told or {})
        file = Path(folder) / "model.onnx"
        program.save(file, external_data=False)
        return file.read_bytes()


def session(model: Path | bytes, threads: int, *, shared: bool = False, optimized: Path | None = None) -> Any:
    """An ONNX Runtime session on the CPU; subnormals are flushed as torch's are, the defaults else (spinning, too).

    `shared`: all sessions of the process use one pool of threads. With a pool each, the threads of one network still
    spin, waiting for work, while the other network is timed (5.4 ms became 8.2, measured on two cores). `optimized` is
    where the graph that really runs is written.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if shared:
        _share_threads(threads)
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@functools.cache
def _share_threads(threads: int) -> None:
    import onnxruntime

    onnxruntime.set_global_thread_pool_sizes(threads, 1)


def runner(running: Any) -> Run:
    """A pass of a session on a contiguous tensor (N, C, H, W), as a call.

    `session.run` and its output binding take the same time (within 1 %, measured): this is the plain call.
    """

    def run(images: torch.Tensor) -> object:
        return running.run(None, {INPUT: images.numpy()})

    return run


def checked_session(content: bytes, model: nn.Module, shape: tuple[int, int, int], batch_size: int) -> tuple[
    Kernels, float]:  # fmt: skip
    """Run the ONNX file beside the eager network on random images: its kernels, and the relative difference.

    SuiteError where the outputs differ, for this batch size or for one image.
    """
    import onnx

    layers = int8_layers(model)
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        running = session(content, torch.get_num_threads(), optimized=optimized)
        operators = Counter(node.op_type for node in onnx.load(optimized).graph.node)
    generator = torch.Generator().manual_seed(1)
    difference = 0.0
    for size in {1, batch_size}:
        images = torch.randn(size, *shape, generator=generator)
        with torch.inference_mode():
            expected = model(images)
        (found,) = running.run(None, {INPUT: images.numpy()})
        relative = check_outputs(expected, torch.from_numpy(found), int8=layers > 0, where="ONNX Runtime")
        difference = max(difference, relative)
    return Kernels(sum(operators[name] for name in _INT8_OPERATORS) if layers else 0, layers), difference


def write_onnx(model: nn.Module, shape: tuple[int, int, int], path: Path, batch_size: int = 4) -> Kernels:
    """Export a network for the benchmark, its outputs checked; its kernels are for the caller to `check`."""
    content = onnx_bytes(model, shape)
    kernels, _ = checked_session(content, model, shape, batch_size)
    write_atomically(path, content)
    return kernels
