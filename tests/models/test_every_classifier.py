"""What methods and tasks take for granted of each classifier: it can be traced, exported, and built again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from suite import registry

IMAGES = (3, 32, 32)
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("vgg16", {"width": 1 / 16}),
    ("resnet18", {"classes": 10, "width": 0.125, "stem_pool": False}),
    ("resnet18", {"classes": 10, "width": 0.125, "stem_pool": True}),
    ("googlenet", {"classes": 10, "width": 0.25}),
]
every_network = pytest.mark.parametrize(("name", "options"), NETWORKS)


def built(name: str, options: dict[str, Any]) -> nn.Module:
    """In eval mode, with BatchNorm statistics that are no longer zeros and ones."""
    torch.manual_seed(0)
    model: nn.Module = registry.build_model(name, options)
    model(torch.randn(16, *IMAGES))
    return model.eval()


@every_network
def test_fx_trace_computes_the_same(name: str, options: dict[str, Any]) -> None:
    model = built(name, options)
    images = torch.randn(3, *IMAGES)
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(model)(images), model(images))


@every_network
def test_exported_program_takes_any_batch(name: str, options: dict[str, Any]) -> None:
    model = built(name, options)
    dynamic = {"images": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(model, (torch.randn(2, *IMAGES),), dynamic_shapes=dynamic).module()
    for batch in (1, 2, 5):
        images = torch.randn(batch, *IMAGES)
        with torch.no_grad():
            assert torch.allclose(exported(images), model(images), atol=1e-6)


@every_network
def test_registry_builds_the_same_network_from_the_same_seed(name: str, options: dict[str, Any]) -> None:
    twice = []
    for _ in range(2):
        torch.manual_seed(5)
        twice.append(registry.build_model(name, options))
    one, two = (model.state_dict() for model in twice)
    assert all(torch.equal(one[name], two[name]) for name in one)
