"""Compiled networks are compiled, INT8 ones call INT8 kernels, and what is neither is never timed."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from suite import artifacts, backends, bench, graphs, machine, registry
from suite.backends import Kernels
from suite.bench import Row, Subject
from suite.errors import SuiteError, Unsupported

ROOT = Path(__file__).parents[2]
Folders = Callable[[str, str], Path]
#: A network for each backend: four convolutions, which are compiled in a third of the time of VGG16's fourteen layers;
#: ONNX Runtime has no INT8 kernel for what follows them there.
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "compile": ("dcgan", {"part": "discriminator", "width": 0.25}),
    "onnxruntime": ("vgg16", {"classes": 10, "width": 0.125}),
}
LAYERS = {"compile": 4, "onnxruntime": 14}
SHAPE = (3, 32, 32)
IMAGES = artifacts.random_input(2, SHAPE).contiguous(memory_format=torch.channels_last)


def network(backend: str = "onnxruntime") -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return registry.build_model(*NETWORKS[backend]).eval()


def stored(model: nn.Module, folder: Path, backend: str) -> Path:
    name, options = NETWORKS[backend]
    artifacts.save(model, folder, artifacts.describe(model, name=name, options=options, input_shape=SHAPE), {})
    return folder


def quantized(backend: str) -> graphs.GraphNetwork:
    """The backend's network in INT8, its ranges taken from random images."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    model = network(backend)
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(model, (IMAGES,), dynamic_shapes=({0: batch},)).module()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    with torch.no_grad():
        prepared(artifacts.random_input(32, SHAPE))
    return graphs.portable(convert_pt2e(prepared), model, SHAPE)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """`folders(backend, precision)`: where the backend's network is stored."""
    root = tmp_path_factory.mktemp("models")

    @functools.cache
    def folder(backend: str, precision: str) -> Path:
        model = quantized(backend) if precision == "int8" else network(backend)
        return stored(model, root / backend / precision, backend)

    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is compiled for one row is there for the next."""
    return tmp_path_factory.mktemp("scratch")


def require_compiler() -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        cpp_builder.get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("no C++ compiler here")


def measured(folders: Folders, row: Row, scratch: Path, kind: str = "latency") -> bench.Measurement:
    subject = Subject("x", compressed=folders(row.backend, row.precision), dense=folders(row.backend, "fp32"))
    return bench.measure(subject, row, profile="smoke", device="cpu", kind=kind, scratch=scratch)


@pytest.mark.timed
@pytest.mark.parametrize("backend", ["compile", "onnxruntime"])
def test_row_of_a_backend_is_measured_against_the_dense_network_in_it(
    backend: str, folders: Folders, scratch: Path
) -> None:
    require_compiler()
    found = measured(folders, Row(1, 1, backend), scratch)
    assert (found.status, found.reason) == ("ok", None)
    assert found.conditions["backend"] == backend and found.conditions["precision"] == "fp32"
    assert 0.4 < float(found.metrics["speedup"] or 0) < 2.5, "one network against itself"
    assert 0.4 < found.notes["value_blind_speedup"] < 2.5
    seconds = [float(found.metrics[name] or 0) for name in ("dense_eager_seconds", "compressed_seconds")]
    assert found.metrics["speedup_over_eager"] == pytest.approx(seconds[0] / seconds[1], rel=0.6)
    assert "int8_kernels" not in found.notes
    assert any(scratch.iterdir()), "compiled or exported files wait for the next row"


@pytest.mark.parametrize("backend", ["compile", "onnxruntime"])
def test_int8_row_names_the_kernels_it_called(backend: str, folders: Folders, scratch: Path) -> None:
    require_compiler()
    found = measured(folders, Row(64, 1, backend, "int8"), scratch)  # its kernels serve the next test too
    assert (found.status, found.reason) == ("ok", None)
    called, _, layers, _ = found.notes["int8_kernels"].split()
    assert int(layers) == LAYERS[backend] and int(called) >= LAYERS[backend] - 1
    assert "value_blind_speedup" not in found.notes and float(found.metrics["speedup_over_eager"] or 0) > 0


def test_int8_memory_is_measured_compiled(folders: Folders, scratch: Path) -> None:
    require_compiler()
    found = measured(folders, Row(64, 1, "compile", "int8"), scratch, kind="memory")
    if found.status == "unsupported":
        pytest.skip(str(found.reason))
    assert found.status == "ok" and found.notes["int8_kernels"] == "4 of 4 layers"
    assert int(found.metrics["peak_bytes"] or 0) > 64 * 3 * 32 * 32 * 4


def test_row_of_another_precision_than_the_network_is_refused(folders: Folders, scratch: Path) -> None:
    subject = Subject("x", compressed=folders("onnxruntime", "int8"), dense=folders("onnxruntime", "fp32"))
    found = bench.measure(subject, Row(1, 1), profile="smoke", device="cpu")
    assert found.status == "error" and "computes in int8" in str(found.reason)
    subject = Subject("x", compressed=folders("onnxruntime", "fp32"), dense=folders("onnxruntime", "fp32"))
    for kind in ("latency", "memory"):
        row = Row(1, 1, "onnxruntime", "int8")
        found = bench.measure(subject, row, profile="smoke", device="cpu", kind=kind, scratch=scratch)
        assert found.status == "error" and "computes in fp32" in str(found.reason)


# --------------------------------------------------------------------------------------------------- compile_network


class Broken(nn.Module):
    """A network that no compiler takes as one graph."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return images * 2


def test_compiled_network_is_not_compiled_again_and_leaves_no_process(scratch: Path) -> None:
    require_compiler()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)).eval()
    with torch.inference_mode(), backends.compiling(scratch):
        compiled, kernels = backends.compile_network(model, IMAGES)
        assert torch.allclose(compiled(IMAGES), model(IMAGES), atol=1e-5)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match=r"(?i)recompil"):
            compiled(IMAGES[:1])
    assert kernels == Kernels(0, 0)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_network_that_is_no_single_graph_is_an_error(tmp_path: Path) -> None:
    require_compiler()
    with torch.inference_mode(), backends.compiling(tmp_path), pytest.raises(SuiteError, match="as one graph"):
        backends.compile_network(Broken(), IMAGES)


def test_compiler_that_is_switched_off_is_an_error(tmp_path: Path) -> None:
    require_compiler()
    with (
        torch.inference_mode(),
        backends.compiling(tmp_path),
        torch._dynamo.config.patch(disable=True),
        pytest.raises(SuiteError, match="compiled nothing"),
    ):
        backends.compile_network(nn.Flatten(), IMAGES)


def test_compiler_that_the_environment_switches_off_is_an_error(tmp_path: Path) -> None:
    require_compiler()
    code = (
        "import pathlib, torch\n"
        "from suite import backends\n"
        "with backends.compiling(pathlib.Path('cache')):\n"
        "    try: backends.compile_network(torch.nn.Flatten(), torch.zeros(1, 2))\n"
        "    except backends.SuiteError as error: print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TORCH_COMPILE_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "compiled nothing: unset TORCH_COMPILE_DISABLE" in done.stdout


def test_machine_without_a_compiler_is_unsupported(tmp_path: Path) -> None:
    code = (
        "import pathlib, torch\n"
        "from suite import backends\n"
        "with backends.compiling(pathlib.Path('cache')):\n"
        "    try: backends.compile_network(torch.nn.Flatten(), torch.zeros(1, 2))\n"
        "    except backends.Unsupported as error: print(error)\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": str(tmp_path), "CXX": str(tmp_path / "no-compiler")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "needs a C++ compiler and there is none: install g++" in done.stdout


# ------------------------------------------------------------------------------------------------------------- proofs


def test_simulation_is_unsupported() -> None:
    for called, layers in ((0, 14), (12, 21), (0, 1)):
        with pytest.raises(Unsupported, match=f"{called} of {layers} INT8 layers .* simulation"):
            Kernels(called, layers).check()
    for called, layers in ((13, 14), (61, 67), (1, 2), (1, 1), (0, 0)):
        assert Kernels(called, layers).check() == Kernels(called, layers)


def test_int8_layers_are_weights_not_scales() -> None:
    assert backends.int8_layers(quantized("compile")) == 4 and backends.int8_layers(network("compile")) == 0


def test_other_outputs_are_an_error() -> None:
    expected = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    assert backends.check_outputs(expected, expected + 1e-4, int8=False, where="it") == pytest.approx(2.5e-5, rel=0.1)
    for found, int8 in ((expected + 1e-3, False), (expected * 1.2, True), (expected * float("nan"), True)):
        with pytest.raises(SuiteError, match="computes something else"):
            backends.check_outputs(expected, found, int8=int8, where="it")


def test_int8_that_overflows_on_this_processor_is_unsupported_and_says_what_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    for flags, kind in ((("avx2",), Unsupported), (("avx2", "avx_vnni"), SuiteError), (("asimd",), SuiteError)):
        monkeypatch.setattr(machine, "cpu_flags", lambda found=flags: frozenset(found))
        with pytest.raises(SuiteError, match="computes something else") as caught:
            backends.check_outputs(expected, expected * 1.2, int8=True, where="it")
        assert type(caught.value) is kind and ("--set reduce_range=true" in str(caught.value)) is (kind is Unsupported)
        with pytest.raises(SuiteError) as broken:
            backends.check_outputs(expected, expected * float("nan"), int8=True, where="it")
        assert type(broken.value) is SuiteError, "not a number is no overflow"


def test_onnx_file_of_another_network_is_refused() -> None:
    content = backends.onnx_bytes(network(), SHAPE)
    other: Any = artifacts.randomise(network(), seed=1)
    with pytest.raises(SuiteError, match="ONNX Runtime computes something else"):
        backends.checked_session(content, other, SHAPE, 4)
    assert backends.checked_session(content, network(), SHAPE, 4)[1] < 1e-5
