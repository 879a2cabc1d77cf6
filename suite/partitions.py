"""What a module became in an exported graph, on versions of torch whose own search finds nothing there.

PT2E looks for layers by `get_source_partitions`. Of a graph that was exported without tracing Python's bytecode, nodes
know their module by `nn_module_stack` alone, which torch 2.11 does not read: nothing would be quantized.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.utils import source_matcher_utils

NAME = "get_source_partitions"

Search = Callable[..., Any]


def mend() -> None:
    """Let torch and torchao, imported already or later, find modules by `nn_module_stack` too where they do not."""
    found: Search = getattr(source_matcher_utils, NAME)
    if finds_modules(found):
        return
    mended = by_module_stack(found)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("torch", "torchao") and vars(module).get(NAME) is found:
            setattr(module, NAME, mended)


def finds_modules(search: Search) -> bool:
    """Does a search find a module of which a node knows only by its `nn_module_stack`?"""
    graph = fx.Graph()
    node = graph.call_function(torch.relu, (graph.placeholder("x"),))
    node.meta["nn_module_stack"] = {"L": ("layer", f"{nn.ReLU.__module__}.{nn.ReLU.__qualname__}")}
    graph.output(node)
    return bool(search(graph, [nn.ReLU]))


def by_module_stack(search: Search) -> Search:
    """The same search, for which nodes without another origin come from the innermost module of their stack."""

    @functools.wraps(search)
    def mended(graph: fx.Graph, wanted_sources: Sequence[Any], filter_fn: Any = None) -> Any:
        with _told(graph, wanted_sources):
            return search(graph, wanted_sources, filter_fn)

    return mended


@contextmanager
def _told(graph: fx.Graph, wanted: Sequence[Any]) -> Iterator[None]:
    """Inside, such nodes say their origin where a search looks for it."""
    types = {f"{each.__module__}.{each.__qualname__}": each for each in wanted if isinstance(each, type)}
    told = []
    for node in graph.nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        known = node.meta.get("source_fn_stack") is not None or _function(node) in wanted
        if node.op != "call_function" or known or not stack:
            continue
        path, kind = stack[-1]
        source = types.get(kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}")
        if source is not None:
            node.meta["source_fn_stack"] = [(path, source)]
            told.append(node)
    try:
        yield
    finally:
        for node in told:
            del node.meta["source_fn_stack"]


def _function(node: fx.Node) -> str | None:
    """The name of the function that a node is said to come from."""
    function = node.meta.get("torch_fn")
    return None if function is None else str(function[1]).partition(".")[2]
