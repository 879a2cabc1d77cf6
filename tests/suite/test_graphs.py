"""Networks as graphs of known operators: the same outputs after a round trip, and nothing hostile is ever built."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from suite import artifacts, graphs
from suite.errors import ArtifactError, Unsupported
from suite.graphs import GraphNetwork

SHAPE = (3, 8, 8)


class Small(nn.Module):
    """A residual sum, a concatenation, a transposed convolution, pools and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.two = nn.Conv2d(4, 4, 1, bias=False)
        self.up = nn.ConvTranspose2d(8, 2, 2, stride=2)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(2 * 4 * 4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.relu(self.norm(self.one(images)))
        both = torch.cat([features, self.two(features) + features], dim=1)
        pooled = nn.functional.avg_pool2d(torch.sigmoid(self.up(both)), 2)
        return self.head(self.drop(nn.functional.adaptive_avg_pool2d(pooled, 4)).flatten(1))


def export(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> torch.fx.GraphModule:
    free = ({0: torch.export.Dim.DYNAMIC},)
    return torch.export.export(model, (torch.zeros(2, *shape),), dynamic_shapes=free).module()


def images(count: int) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def network(small: nn.Module) -> GraphNetwork:
    return graphs.portable(export(small), small, SHAPE)


def tensors(network: GraphNetwork) -> dict[str, torch.Tensor]:
    return {name.removeprefix(graphs.PREFIX): tensor for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_graph_computes_what_the_network_did_at_any_batch_size(
    small: nn.Module, network: GraphNetwork, batch: int
) -> None:
    with torch.inference_mode():
        assert torch.equal(network(images(batch)), small(images(batch)))


def test_described_graph_survives_json_to_the_same_outputs(network: GraphNetwork) -> None:
    plain = json.loads(json.dumps(graphs.describe(network), allow_nan=False))
    again = graphs.rebuild(plain, tensors(network), network.layers, SHAPE)
    assert again.layers == network.layers and graphs.describe(again) == graphs.describe(network)
    with torch.inference_mode():
        assert torch.equal(again(images(3)), network(images(3)))


def test_graph_behaves_as_a_module(network: GraphNetwork) -> None:
    own = copy.deepcopy(network)
    assert own.train().training and not own.eval().training
    own.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(own(images(2)), network(images(2)))


def test_weights_are_parameters_and_running_statistics_are_not(small: nn.Module, network: GraphNetwork) -> None:
    assert sum(each.numel() for each in network.parameters()) == sum(each.numel() for each in small.parameters())
    assert not any(each.requires_grad for each in network.parameters())
    assert network.quantized_share == 0


def test_stored_graph_gives_the_same_bits_in_another_process(network: GraphNetwork, tmp_path: Path) -> None:
    described = artifacts.describe(network, name="vgg16", options={}, input_shape=SHAPE)
    artifacts.save(network, tmp_path, described, {})
    with torch.inference_mode():
        torch.save((images(3), network(images(3))), tmp_path / "pair.pt")
    code = (
        "import sys, torch; from pathlib import Path; from suite import artifacts\n"
        "folder = Path(sys.argv[1]); inputs, outputs = torch.load(folder / 'pair.pt')\n"
        "with torch.inference_mode(): print(torch.equal(artifacts.load(folder)(inputs), outputs))\n"
        "print('torchao' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"], "the same bits, without the library that quantized"


# ------------------------------------------------------------------------------------------------------------- refused


class Shuffled(nn.Module):
    """Uses an operator that is not portable."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.pixel_shuffle(images.repeat(1, 4, 1, 1), 2)


class TwoOutputs(nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.relu(), images.sigmoid()


@pytest.mark.parametrize(
    ("model", "reason"),
    [(Shuffled(), r"aten\.\w+\.default, which is not"), (TwoOutputs(), "several outputs")],
)
def test_what_is_not_portable_is_unsupported_by_name(model: nn.Module, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        graphs.portable(export(model), model, SHAPE)


def test_value_changed_in_place_is_unsupported_where_it_is_read_elsewhere() -> None:
    exported = export(nn.Sequential(nn.Sigmoid(), nn.ReLU(inplace=True), nn.ReLU()))
    sigmoid, changed = [node for node in exported.graph.nodes if node.op == "call_function"][:2]
    next(iter(changed.users)).update_arg(0, sigmoid)  # of one memory: it would read what relu_ left there
    with pytest.raises(Unsupported, match="in place"):
        graphs.portable(exported, nn.Sequential(), SHAPE)


def node(operator: str, *arguments: Any) -> Callable[[dict[str, Any]], Any]:
    """The last call becomes this one."""
    return lambda plain: plain["nodes"].__setitem__(-1, [operator, list(arguments)])


def argument(operator: str, at: int, value: Any) -> Callable[[dict[str, Any]], Any]:
    """One argument of the first call of an operator becomes `value`; those left out before it get their default."""

    def change(plain: dict[str, Any]) -> None:
        arguments = next(given for name, given in plain["nodes"] if name == operator)
        defaults = [each.default_value for each in graphs.OPERATORS[operator]._schema.arguments]
        arguments += defaults[len(arguments) : at + 1]
        arguments[at] = value

    return change


CODE = "__import__('pathlib').Path('ran').touch()"
HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown operator": node("aten.foo.default", {"node": 0}),
    "operator that reads files": node("aten.from_file.default", "/etc/passwd"),
    "operator in place": node("aten.relu_.default", {"node": 0}),
    "python function": node("builtins.eval", CODE),
    "code for an operator": node(CODE, {"node": 0}),
    "operator of another type": lambda plain: plain["nodes"].__setitem__(-1, [7, []]),
    "code for a tensor": argument("aten.conv2d.default", 0, CODE),
    "code for a tensor's name": argument("aten.conv2d.default", 1, {"tensor": CODE}),
    "code for a number": argument("aten.conv2d.default", 3, [CODE, 1]),
    "code for a type": node("quantized_decomposed.quantize_per_tensor.default", {"node": 1}, 1.0, 0, 0, 255,
                            {"dtype": CODE}),
    "attribute of a tensor": argument("aten.conv2d.default", 1, {"tensor": "t0.__class__"}),
    "no such tensor": argument("aten.conv2d.default", 1, {"tensor": "t99"}),
    "two keys": argument("aten.conv2d.default", 0, {"node": 0, "tensor": "t0"}),
    "list for a number": argument("aten.cat.default", 1, [1]),
    "number for a list": argument("aten.conv2d.default", 3, 1),
    "float for an integer": argument("aten.cat.default", 1, 1.5),
    "truth for an integer": argument("aten.cat.default", 1, True),
    "null for a tensor": argument("aten.conv2d.default", 0, None),
    "itself": lambda plain: plain["nodes"][0][1].__setitem__(0, {"node": 1}),
    "cycle": lambda plain: plain["nodes"][0][1].__setitem__(0, {"node": len(plain["nodes"])}),
    "before the input": lambda plain: plain["nodes"][0][1].__setitem__(0, {"node": -1}),
    "output out of range": lambda plain: plain.update(output=10**6),
    "no output": lambda plain: plain.pop("output"),
    "too few arguments": node("aten.linear.default", {"node": 1}),
    "too many arguments": node("aten.relu.default", {"node": 1}, 1),
    "BatchNorm that trains": argument("aten.batch_norm.default", 5, True),
    "part of a tensor": node("getitem", {"node": 1}, 3),
    "part by name": node("getitem", {"node": 1}, "__class__"),
    "huge padding": argument("aten.conv2d.default", 4, [2**30, 2**30]),
    "large padding": argument("aten.conv2d.default", 4, [10_000, 10_000]),
    "number beyond 64 bits": argument("aten.conv2d.default", 4, [10**30, 1]),
    "no stride": argument("aten.conv2d.default", 3, [0, 0]),
    "long list": argument("aten.conv2d.default", 3, [1] * 10_000),
    "huge pool": argument("aten.adaptive_avg_pool2d.default", 1, [2**20, 2**20]),
    "wrong shapes": argument("aten.linear.default", 0, {"node": 0}),
    "fixed batch": node("aten.view.default", {"node": 0}, [1, -1]),
    "no graph": lambda plain: plain.clear(),
    "nodes of another type": lambda plain: plain.update(nodes="conv"),
    "deep": lambda plain: plain["nodes"][0][1].__setitem__(3, [[[[[[1]]]]]]),
    "endless": lambda plain: plain.update(nodes=[["aten.relu.default", [{"node": 0}]]] * 20_000),
    "unknown parameter": lambda plain: plain["parameters"].append("t99"),
    "unknown field": lambda plain: plain.update(code=CODE),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graph_is_refused_in_a_line(
    network: GraphNetwork, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = json.loads(json.dumps(graphs.describe(network)))
    HOSTILE[name](plain)
    with pytest.raises(ArtifactError) as caught:
        graphs.rebuild(plain, tensors(network), network.layers, SHAPE)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_tensors_that_the_graph_does_not_use_are_refused(network: GraphNetwork) -> None:
    with pytest.raises(ArtifactError, match="'t77' is not used"):
        graphs.rebuild(network.graph, tensors(network) | {"t77": torch.zeros(3)}, network.layers, SHAPE)


def test_missing_tensor_is_refused(network: GraphNetwork) -> None:
    held = tensors(network)
    held.pop("t0")
    with pytest.raises(ArtifactError, match="a tensor that is not there"):
        graphs.rebuild(network.graph, held, network.layers, SHAPE)


def test_int8_weights_are_symmetric_or_refused() -> None:
    """A weight is counted as zero where its stored integer is."""
    dequantize = "quantized_decomposed.dequantize_per_channel.default"
    plain = {
        "nodes": [
            [dequantize, [{"tensor": "t0"}, {"tensor": "t1"}, {"tensor": "t2"}, 0, -128, 127, {"dtype": "int8"}]],
            ["aten.conv2d.default", [{"node": 0}, {"node": 1}]],
        ],
        "output": 2,
        "parameters": ["t0"],
    }
    weight = torch.tensor([[[[3]], [[0]], [[-2]]]], dtype=torch.int8)
    held = {"t0": weight, "t1": torch.tensor([0.5]), "t2": torch.zeros(1, dtype=torch.int64)}
    found = graphs.rebuild(plain, held, {}, SHAPE)
    assert found.quantized_share == 1
    torch.testing.assert_close(found(images(2))[:, 0], images(2)[:, 0] * 1.5 - images(2)[:, 2])
    with pytest.raises(ArtifactError, match="zero point is not 0"):
        graphs.rebuild(plain, held | {"t2": torch.ones(1, dtype=torch.int64)}, {}, SHAPE)
