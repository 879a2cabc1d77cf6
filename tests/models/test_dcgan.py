"""The DCGAN: its sizes by hand, and that nothing but the spared layers keeps its channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from models.dcgan import Pair, dcgan
from suite import complexity, registry

SHAPES = {"generator": (100, 1, 1), "discriminator": (3, 32, 32), "both": (3172, 1, 1)}
# Weights of the generator's four layers, 4x4 kernels: 16 (100 256 + 256 128 + 128 64 + 64 3) = 1,068,032; BatchNorm
# 2 (256 + 128 + 64) = 896; the head's bias 3. A transposed convolution multiplies at each pixel that it reads:
# 16 (1 100 256 + 16 256 128 + 64 128 64 + 256 64 3).
GENERATOR = (1_068_032 + 896 + 3, 409_600 + 8_388_608 + 8_388_608 + 786_432)
# The discriminator's: 16 (3 64 + 64 128 + 128 256 + 256 1) = 662,528; BatchNorm 2 (128 + 256) = 768; biases 64 + 1.
# A convolution multiplies at each pixel that it writes: 16 (256 3 64 + 64 64 128 + 16 128 256 + 1 256 1).
DISCRIMINATOR = (662_528 + 768 + 65, 786_432 + 8_388_608 + 8_388_608 + 4_096)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("generator", GENERATOR),
        ("discriminator", DISCRIMINATOR),
        ("both", (GENERATOR[0] + DISCRIMINATOR[0], GENERATOR[1] + DISCRIMINATOR[1])),
    ],
)
def test_parameters_and_macs_are_those_of_the_part_alone(part: Any, expected: tuple[int, int]) -> None:
    model = dcgan(part=part)
    assert (complexity.parameters(model), complexity.macs(model, SHAPES[part])) == expected
    task = registry.task("dcgan-cifar10" if part == "both" else f"dcgan-cifar10+{part}")
    assert task.input_shape == SHAPES[part] and task.options["part"] == part


def test_pair_runs_both_halves_and_neither_sees_the_other() -> None:
    torch.manual_seed(0)
    model = dcgan(width=0.0625, latent=8).eval()
    assert isinstance(model, Pair)
    latents, pictures = torch.randn(3, 8, 1, 1), torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        outputs = model(torch.cat([latents, pictures.flatten(1)[:, :, None, None]], dim=1))
        assert torch.allclose(outputs[:, :3], model.generator(latents), atol=1e-6)
        logits = model.discriminator(pictures)
        assert torch.allclose(outputs[:, 3:], logits.expand(-1, -1, 32, 32), atol=1e-6)
    assert outputs.shape == (3, 4, 32, 32) and bool((outputs[:, :3].abs() <= 1).all())


def test_head_of_a_pair_is_the_last_layer_of_each_half_and_no_other() -> None:
    model = dcgan(width=0.0625)
    spared = [name for name, each in model.named_modules() if each in [model.head]]
    assert spared == ["generator.head", "discriminator.head"]
    assert all(isinstance(each, nn.Conv2d | nn.ConvTranspose2d) for each in model.head)  # type: ignore[union-attr]
