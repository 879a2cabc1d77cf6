"""What a network costs on paper, against sums done by hand."""

from __future__ import annotations

import zlib

import pytest
import torch
from torch import nn

from suite import artifacts, complexity, graphs


class Small(nn.Module):
    """A grouped and a strided convolution, a transposed one, BatchNorm, a pool and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1, stride=2)  # (3, 16, 16) -> (8, 8, 8)
        self.norm = nn.BatchNorm2d(8)
        self.two = nn.Conv2d(8, 8, (1, 3), groups=4, padding=(0, 1), bias=False)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)  # (8, 8, 8) -> (4, 16, 16)
        self.head = nn.Linear(4 * 4 * 4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.up(self.two(self.norm(self.one(images)).relu()))
        return self.head(nn.functional.max_pool2d(features, 4).flatten(1))


MACS = 8 * 8 * 8 * 3 * 9 + 8 * 8 * 8 * 2 * 3 + 8 * 8 * 8 * 4 * 4 + 64 * 5
PARAMETERS = (8 * 27 + 8) + 16 + 8 * 2 * 3 + (8 * 4 * 4 + 4) + (64 * 5 + 5)


def test_macs_are_those_of_convolutions_and_linear_layers_for_one_sample() -> None:
    assert complexity.macs(Small(), (3, 16, 16)) == MACS


def test_parameters_are_learned_values_without_buffers() -> None:
    assert complexity.parameters(Small()) == PARAMETERS


def test_nonzero_parameters_leave_out_exact_zeros_alone() -> None:
    model = Small()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1e-30)
        model.head.weight[:2] = 0
        model.two.weight[0] = -0.0
    assert complexity.nonzero_parameters(model) == PARAMETERS - 2 * 64 - 6


@pytest.mark.parametrize("training", [True, False])
def test_counting_macs_leaves_the_network_as_it_was(training: bool) -> None:
    model = Small().train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    complexity.macs(model, (3, 16, 16))
    assert model.training is training and model.norm.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_sizes_are_those_of_the_saved_weights_plain_and_compressed() -> None:
    model = Small()
    found = complexity.complexity(model, (3, 16, 16))
    content = artifacts.weights_bytes(model)
    assert found == {
        "parameters": PARAMETERS, "nonzero_parameters": complexity.nonzero_parameters(model), "macs": MACS,
        "size_bytes": len(content), "size_bytes_compressed": len(zlib.compress(content, 6)),
    }  # fmt: skip
    assert found["size_bytes"] > 4 * PARAMETERS


def test_zeros_shrink_the_compressed_size_alone() -> None:
    dense, sparse = Small(), Small()
    with torch.no_grad():
        sparse.head.weight.zero_()
    one, two = (complexity.complexity(model, (3, 16, 16)) for model in (dense, sparse))
    assert two["size_bytes"] == one["size_bytes"]
    assert two["size_bytes_compressed"] < one["size_bytes_compressed"]
    assert two["parameters"] == one["parameters"] and two["macs"] == one["macs"]


@pytest.fixture
def quantized() -> graphs.GraphNetwork:
    """A convolution of 2 x 3 integers, two of them zero, with a bias, whose input is rounded to 8 bits."""
    dtype = {"dtype": "uint8"}
    plain = {
        "nodes": [
            ["quantized_decomposed.quantize_per_tensor.default", [{"node": 0}, 0.1, 128, 0, 255, dtype]],
            ["quantized_decomposed.dequantize_per_tensor.default", [{"node": 1}, 0.1, 128, 0, 255, dtype]],
            [
                "quantized_decomposed.dequantize_per_channel.default",
                [{"tensor": "t0"}, {"tensor": "t1"}, {"tensor": "t2"}, 0, -128, 127, {"dtype": "int8"}],
            ],
            ["aten.conv2d.default", [{"node": 2}, {"node": 3}, {"tensor": "t3"}]],
        ],
        "output": 4,
        "parameters": ["t0", "t3"],
    }
    weight = torch.tensor([[1, 0, -3], [5, 0, 127]], dtype=torch.int8)[:, :, None, None]
    held = {"t0": weight, "t1": torch.rand(2), "t2": torch.zeros(2, dtype=torch.int64), "t3": torch.tensor([1.0, 2.0])}
    return graphs.rebuild(plain, held, {}, (3, 16, 16))


def test_int8_values_count_as_what_they_stand_for(quantized: graphs.GraphNetwork) -> None:
    found = complexity.complexity(quantized, (3, 16, 16))
    assert found["parameters"] == 6 + 2, "scales and zero points are no parameters"
    assert found["nonzero_parameters"] == 4 + 2
    assert found["macs"] == 16 * 16 * 6
