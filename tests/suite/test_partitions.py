"""Modules are found in an exported graph on every torch that we take: without that nothing would be quantized."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.utils import source_matcher_utils

from suite import partitions


def old(graph: fx.Graph, wanted: Sequence[Any], filter_fn: Any = None) -> dict[Any, list[str]]:
    """A search as torch 2.11's: by `source_fn_stack`, else by the function's name."""
    found: dict[Any, list[str]] = {}
    for node in graph.nodes:
        stack, function = node.meta.get("source_fn_stack"), node.meta.get("torch_fn")
        source = stack[-1][1] if stack else function[1].split(".")[1] if function else None
        if source in wanted:
            found.setdefault(source, []).append(node.name)
    return found


@pytest.fixture
def exported() -> fx.GraphModule:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    graph: fx.GraphModule = torch.export.export(network, (torch.ones(1, 3, 8, 8),)).module()  # type: ignore[assignment]
    return graph


def test_search_that_knows_no_modules_finds_them_and_leaves_no_trace(exported: fx.GraphModule) -> None:
    assert not partitions.finds_modules(old) and not old(exported.graph, [nn.Conv2d])
    before = [dict(node.meta) for node in exported.graph.nodes]
    mended = partitions.by_module_stack(old)
    assert partitions.finds_modules(mended)
    assert mended(exported.graph, [nn.Conv2d, nn.Linear]) == {nn.Conv2d: ["conv2d", "conv2d_1"]}
    assert mended(exported.graph, [nn.Conv2d, "conv2d"]) == {"conv2d": ["conv2d", "conv2d_1"]}, (
        "its function comes first"
    )
    assert [dict(node.meta) for node in exported.graph.nodes] == before


def test_search_of_this_torch_finds_what_pt2e_asks_for(exported: fx.GraphModule) -> None:
    search = getattr(source_matcher_utils, partitions.NAME)
    assert partitions.finds_modules(search)
    (found,) = search(exported.graph, [nn.Conv2d, nn.functional.conv2d]).values()
    assert sorted(node.name for each in found for node in each.output_nodes) == ["conv2d", "conv2d_1"]


def test_whoever_imported_the_search_before_gets_the_mended_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = ModuleType("torchao.asks"), ModuleType("stranger.asks")
    for module in (ours, theirs):
        setattr(module, partitions.NAME, old)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(source_matcher_utils, partitions.NAME, old)
    partitions.mend()
    assert getattr(source_matcher_utils, partitions.NAME) is getattr(ours, partitions.NAME) is not old
    assert getattr(theirs, partitions.NAME) is old, "other packages' modules are theirs"
