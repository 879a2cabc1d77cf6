"""Gradients that oneDNN gets wrong on x86 processors are right, in any layout of images and weights."""

from __future__ import annotations

import copy
import platform

import pytest
import torch
from torch import nn

from suite import onednn

GEOMETRIES = [
    (3, 1, 2, True),
    (7, 1, 2, True),
    (15, 1, 2, True),
    (16, 1, 2, False),
    (3, 1, 1, False),
    (3, 3, 2, False),
]  # channels, kernel, stride, faulty?


@pytest.fixture
def _avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that may be affected, whatever this one is; once in a process, as in a run."""
    if onednn.avoid_fault() is None:
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        onednn.avoid_fault.cache_clear()
        assert onednn.avoid_fault() is not None


def backward(layer: nn.Conv2d, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Gradients of the images, the weight and the bias."""
    images = images.detach().requires_grad_()
    return torch.autograd.grad(layer(images).square().sum(), (images, *layer.parameters()))


@pytest.mark.usefixtures("_avoided")
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("channels", "kernel", "stride"), [each[:3] for each in GEOMETRIES])
def test_gradients_are_those_of_float64(channels: int, kernel: int, stride: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, 11, kernel, stride=stride, padding=kernel // 2)
    images = torch.randn(8, channels, 32, 32)
    wanted = backward(copy.deepcopy(layer).double(), images.double())
    found = backward(layer.to(memory_format=layout), images.contiguous(memory_format=layout))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))
    assert found[0].is_contiguous(memory_format=layout), "what is compiled counts on torch's own layout"


@pytest.mark.usefixtures("_avoided")
@pytest.mark.parametrize(("channels", "kernel", "stride", "faulty"), GEOMETRIES)
def test_what_is_faulty_and_nothing_else_is_computed_in_another_layout(
    channels: int, kernel: int, stride: int, faulty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []
    cloned = torch.Tensor.clone
    monkeypatch.setattr(
        torch.Tensor, "clone", lambda each, **how: copies.append(how) or cloned(each, **how)
    )  # of the gradient, the images and the weight
    layer = nn.Conv2d(channels, 4, kernel, stride=stride).to(memory_format=torch.channels_last)
    images = torch.randn(2, channels, 8, 8).contiguous(memory_format=torch.channels_last)
    backward(layer, images)
    assert copies == [{"memory_format": torch.contiguous_format}] * (3 if faulty else 0)
    layer.requires_grad_(False)
    layer(images.requires_grad_()).sum().backward()
    assert len(copies) == (3 if faulty else 0), "the gradient of the images alone is right"


def test_other_processors_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert onednn.avoid_fault.__wrapped__() is None
