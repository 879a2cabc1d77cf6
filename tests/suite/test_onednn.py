"""Gradients that oneDNN gets wrong on processors without AVX-512 are right, in any layout of images and weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from suite import onednn


@pytest.fixture
def _avoided(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a processor that is affected, whatever this one is."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    library = onednn.avoid_fault.__wrapped__()
    assert library is not None
    yield
    library._destroy()


@pytest.mark.usefixtures("_avoided")
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("channels", "kernel", "stride"), [(3, 1, 2), (7, 1, 2), (8, 1, 2), (3, 1, 1), (3, 3, 2)])
def test_gradients_are_those_of_float64(channels: int, kernel: int, stride: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, 11, kernel, stride=stride, padding=kernel // 2)
    exact = copy.deepcopy(layer).double()
    images = torch.randn(8, channels, 32, 32)
    found, wanted = images.clone().requires_grad_(), images.double().requires_grad_()
    layer.to(memory_format=layout)(found.contiguous(memory_format=layout)).square().sum().backward()
    exact(wanted).square().sum().backward()
    for ours, theirs in ((found, wanted), (layer.weight, exact.weight), (layer.bias, exact.bias)):
        assert ours.grad is not None and theirs.grad is not None
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=0, atol=1e-4 * scale)


@pytest.mark.usefixtures("_avoided")
@pytest.mark.parametrize(("channels", "stride", "avoided"), [(7, 2, True), (8, 2, False), (7, 1, False)])
def test_only_what_is_faulty_leaves_its_layout(channels: int, stride: int, avoided: bool) -> None:
    images = torch.randn(2, channels, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    layer = nn.Conv2d(channels, 4, 1, stride=stride).to(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(layer(images).square().sum(), images)
    assert gradient.is_contiguous() is avoided


@pytest.mark.parametrize("instructions", ["AVX512", "SVE256"])
def test_other_processors_are_left_alone(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    assert onednn.avoid_fault.__wrapped__() is None
