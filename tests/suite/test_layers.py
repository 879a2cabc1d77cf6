"""Layers with several names, such as a `head` beside torchvision's `fc`: stored once, replaced under all."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from suite import artifacts, layers
from suite.modelfiles import WEIGHTS


class Net(nn.Module):
    """Its last layer is called `fc`, and `head` where we ask for it."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.first, self.fc = nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 2, 1)
        self.head = self.fc

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.fc(self.first(images))
        return outputs


def test_it_is_stored_once_and_comes_back_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts.registry, "build_model", lambda name, options: Net())
    model = Net(3)
    artifacts.save(model, tmp_path, artifacts.describe(model, name="net", options={}, input_shape=(3, 8, 8)), {})
    assert {*safetensors.torch.load_file(tmp_path / WEIGHTS)} == {"first.weight", "first.bias", "fc.weight", "fc.bias"}
    loaded = artifacts.load(tmp_path)
    assert loaded.head is loaded.fc and loaded.head.in_channels == 3
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(loaded(images), model(images))


@pytest.mark.parametrize("name", ["fc", "head"])
@pytest.mark.parametrize("trained", [False, True])
def test_what_a_method_put_under_one_name_stands_under_all(name: str, trained: bool) -> None:
    model = Net()
    before = layers.aliases(model)
    assert list(before) == [("fc", "head")]
    with torch.no_grad():
        model.fc.weight.add_(float(trained))
    new = nn.Conv2d(3, 2, 1)
    setattr(model, name, new)
    layers.rejoin(model, before)
    assert model.fc is new and model.head is new


def test_a_layer_changed_in_place_and_a_copied_network_stay_as_they_are() -> None:
    model = Net()
    before = layers.aliases(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.fc.weight.add_(1)
    changed = other.fc
    layers.rejoin(other, before)
    assert other.fc is changed and other.head is changed
    layers.rejoin(nn.Sequential(nn.ReLU()), before)  # a network of the method's own has no such names
