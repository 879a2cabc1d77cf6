"""Static quantization: a quarter of the size, nearly the same outputs, and INT8 kernels once it is compiled."""

from __future__ import annotations

import copy
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

from methods._pt2e import Scheme, prepare
from methods.quantize_static import quantize_static
from suite import GraphNetwork, Unsupported, Workbench, artifacts, complexity, graphs, portable, registry
from suite.progress import Progress

SHAPE = (3, 32, 32)


@pytest.fixture
def bench(tiny_ready: Any) -> Workbench:
    """The workbench of the tiny task, seed 0."""
    return Workbench(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=0, device="cpu",
                     progress=Progress(silent=True))  # fmt: skip


@pytest.fixture(scope="module")
def trained(tiny_ready: Any) -> nn.Module:
    """VGG16 at a quarter of its width after a few epochs on 64 digits: its BatchNorm has seen data."""
    torch.manual_seed(0)
    model: nn.Module = registry.build_model("vgg16", {"width": 0.25})
    bench = Workbench(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=0,
                      device="cpu", progress=Progress(silent=True))  # fmt: skip
    bench.finetune(model, epochs=500, lr=0.05)
    return model


@pytest.fixture(scope="module")
def digits(tiny_ready: Any) -> torch.Tensor:
    """All 64 validation images."""
    return tiny_ready.dataset.normalise(tiny_ready.dataset.val.images)


def outputs(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(images)


def test_outputs_stay_near_those_of_the_float_network(
    trained: nn.Module, bench: Workbench, digits: torch.Tensor
) -> None:
    before = outputs(trained, digits)
    after = outputs(quantize_static(copy.deepcopy(trained), bench, batches=2), digits)
    assert float((after - before).norm() / before.norm()) < 0.1
    assert float((after.argmax(1) == before.argmax(1)).double().mean()) >= 0.95
    assert not torch.equal(after, before)


def test_file_is_a_quarter_and_macs_stay(trained: nn.Module, bench: Workbench) -> None:
    before = complexity.complexity(trained, SHAPE)
    network = quantize_static(copy.deepcopy(trained), bench, batches=1)
    after = complexity.complexity(network, SHAPE)
    assert 0.25 < after["size_bytes"] / before["size_bytes"] < 0.26
    assert after["macs"] == before["macs"]
    norms = sum(2 * each.num_features for each in trained.modules() if isinstance(each, nn.BatchNorm2d))
    assert after["parameters"] == before["parameters"] - norms, "BatchNorm is folded, the rest is counted as before"
    assert isinstance(network, GraphNetwork) and network.quantized_share == 1
    assert bench.curve[-1]["quantized_share"] == 1


def test_one_scale_for_a_weight_is_the_same_in_all_its_channels(trained: nn.Module, bench: Workbench) -> None:
    def scales(network: nn.Module) -> list[torch.Tensor]:
        plain, held = graphs.describe(network), network.state_dict()
        of_weights = [given for name, given in plain["nodes"] if name.endswith("dequantize_per_channel.default")]
        return [held[graphs.PREFIX + given[1]["tensor"]] for given in of_weights]

    one = scales(quantize_static(copy.deepcopy(trained), bench, batches=1, per_channel=False))
    many = scales(quantize_static(copy.deepcopy(trained), bench, batches=1))
    assert all(bool((each == each[0]).all()) for each in one)
    assert all(torch.allclose(each.max(), wide[0]) for each, wide in zip(many, one, strict=True))
    assert any(not bool((each == each[0]).all()) for each in many)


@pytest.mark.parametrize(("reduce_range", "largest"), [(False, 255), (True, 127)])
def test_reduced_range_is_of_seven_bits(
    tiny_model: nn.Module, bench: Workbench, reduce_range: bool, largest: int
) -> None:
    network = quantize_static(tiny_model, bench, batches=1, reduce_range=reduce_range)
    given = [each for name, each in graphs.describe(network)["nodes"] if name.endswith("quantize_per_tensor.default")]
    assert given and all(each[3:5] == [0, largest] for each in given)


@pytest.mark.parametrize(("model", "share"), [("resnet18", 1.0), ("googlenet", 1.0), ("autoencoder", 0.9)])
def test_other_networks_are_quantized_but_for_transposed_convolutions(
    model: str, share: float, bench: Workbench
) -> None:
    """Residual sums, concatenations and decoders; random weights are enough for that, and nothing judges them."""
    torch.manual_seed(0)
    dense = registry.build_model(model, {"width": 0.0625}).eval()
    prepared = prepare(dense, bench, Scheme(), "cpu")
    with torch.no_grad():
        prepared(bench.example_input)
    network = portable(convert_pt2e(prepared), dense, SHAPE)
    assert network.quantized_share == pytest.approx(share, abs=0.05)
    assert complexity.macs(network, SHAPE) == complexity.macs(dense, SHAPE)


class Twice(nn.Module):
    """Calls one ReLU module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()
        self.head = nn.Linear(4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.relu(self.two(self.relu(self.one(images)))).mean((2, 3)))


class Branching(nn.Module):
    """Takes another path for other data, which no graph can."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :10] if images.sum() > 0 else images.flatten(1)[:, 10:20]


def test_network_that_depends_on_its_data_is_unsupported(bench: Workbench) -> None:
    with pytest.raises(Unsupported, match=r"torch\.export cannot follow"):
        quantize_static(Branching(), bench)


def test_module_called_twice_is_quantized_or_unsupported_with_the_remedy(bench: Workbench) -> None:
    try:
        network = quantize_static(Twice().eval(), bench, batches=1)
    except Unsupported as error:
        assert "give each call its own" in str(error)
    else:
        assert network.quantized_share == 1


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="INT8 kernels are for x86 processors")
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="compiling needs a C++ compiler")
def test_compiled_network_runs_int8_kernels_and_agrees(
    trained: nn.Module, bench: Workbench, digits: torch.Tensor, tmp_path: Path
) -> None:
    """7 bits: on processors without VNNI the kernels overflow with 8."""
    network = quantize_static(copy.deepcopy(trained), bench, batches=2, reduce_range=True)
    architecture = artifacts.describe(network, name="vgg16", options={"width": 0.25}, input_shape=SHAPE)
    artifacts.save(network, tmp_path, architecture, {})
    loaded = artifacts.load(tmp_path)
    eager = outputs(loaded, digits)
    with torch._inductor.config.patch(freezing=True), torch.inference_mode():
        compiled = torch.compile(loaded)
        found = compiled(digits)
        with torch.profiler.profile() as profile:
            compiled(digits)
    calls = {each.key: each.count for each in profile.key_averages()}
    assert calls.get("onednn::qconv_pointwise") == 13 and calls.get("onednn::qlinear_pointwise") == 1
    assert not any("convolution" in name for name in calls), "none of them runs in float32"
    assert float((found.argmax(1) == eager.argmax(1)).double().mean()) >= 0.99
    torch.testing.assert_close(found, eager, rtol=0, atol=0.05 * float(eager.abs().max()))
