"""What can be reduced in a network: the layers that write the same channels, and the layers that read them.

A convolution's output channels go through BatchNorm, ReLU and pooling to the layers that read them. Each channel
keeps to itself on the way, so a narrower copy of that way can stand beside it. Where two ways meet, in a residual sum
or a concatenation, they belong together: a region is all layers and values that share their channels.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F

from methods._folding import LAYERS
from suite import Unsupported

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample)
POINTWISE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.SiLU, nn.GELU, nn.Mish, nn.Softplus, nn.Sigmoid,
             nn.Tanh, nn.Hardswish, nn.Hardtanh, nn.Dropout, nn.Dropout2d, nn.Identity)  # fmt: skip

#: What a call does to channels that each keep to themselves.
FUNCTIONS: dict[Any, str] = (
    dict.fromkeys((F.relu, torch.relu, F.relu6, F.leaky_relu, F.elu, F.silu, F.gelu, F.hardswish, torch.sigmoid,
                   torch.tanh), "pointwise")
    | dict.fromkeys((F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.interpolate), "pool")
    | dict.fromkeys((operator.add, operator.iadd, torch.add), "sum")
    | {torch.flatten: "flatten", torch.cat: "concatenation", torch.mean: "mean"}
)  # fmt: skip
METHODS: dict[Any, str] = dict.fromkeys(("relu", "relu_", "sigmoid", "tanh", "contiguous", "clone"), "pointwise") | {
    "add": "sum", "add_": "sum", "flatten": "flatten", "mean": "mean"}  # fmt: skip


@dataclass(frozen=True)
class Region:
    """Nodes of a traced network whose values share their channels, each kind in the order of execution.

    `sources` are the layers that write the channels, `carriers` what hands them on, `exits` the values (of sources or
    carriers) that layers read. `spread`: carriers behind a flatten that lays several positions of a channel side by
    side.
    """

    sources: tuple[fx.Node, ...]
    carriers: tuple[fx.Node, ...]
    exits: tuple[fx.Node, ...]
    spread: frozenset[fx.Node]


def trace(model: nn.Module, example_input: torch.Tensor) -> fx.GraphModule:
    """The network as a graph of calls that shares its modules, each node with the shape of its value.

    Unsupported where torch.fx cannot follow it, or where a dropout would be frozen in the state it was traced in.
    """
    try:
        traced = fx.symbolic_trace(model)
    except Exception as error:  # a forward pass may raise anything when it is fed a proxy
        reason = str(error).partition("\n")[0]
        raise Unsupported(f"torch.fx cannot follow the network's forward pass: {reason}") from error
    for node in traced.graph.nodes:
        if "training" in node.kwargs:
            raise Unsupported(
                f"{node.name} is a function with a training flag, which tracing would freeze: use a module"
            )
    with torch.no_grad():
        ShapeProp(traced.eval()).propagate(example_input)
    return traced


def shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's value; empty where it is not one tensor."""
    found = node.meta.get("tensor_meta")
    return tuple(getattr(found, "shape", ()))


def module_of(node: fx.Node) -> nn.Module | None:
    """The module that a node calls."""
    owner = node.graph.owning_module
    return owner.get_submodule(str(node.target)) if node.op == "call_module" and owner is not None else None


def is_layer(node: fx.Node) -> bool:
    """Does it call a convolution, transposed convolution or linear layer?"""
    return type(module_of(node)) in LAYERS


def find_regions(
    traced: fx.GraphModule, head: nn.Module, *, spare: str = "", blocks: str = "whole"
) -> tuple[tuple[Region, ...], dict[str, str]]:
    """The regions whose channels can be reduced, and the layers that must keep theirs, each with the reason.

    `spare` names layers that are left exactly as they are, outputs and inputs: kinds, paths or the beginning of
    paths, with commas between; Unsupported for a name that fits no layer. With `blocks` "inner", sums and
    concatenations end a way.
    """
    layers = [node for node in traced.graph.nodes if is_layer(node)]
    spared = _spared(layers, spare)
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    regions: list[Region] = []
    left: dict[str, str] = {}
    done: set[fx.Node] = set()
    for start in layers:
        if start in done:
            continue
        members: list[fx.Node] = []
        faults = list(_explore(start, members, spared=spared, calls=calls, head=head, inner=blocks == "inner"))
        sources = [node for node in traced.graph.nodes if node in set(members) and is_layer(node)]
        if faults:
            left[str(start.target)] = faults[0]
            continue
        done.update(sources)
        regions.append(_region(traced, set(members)))
    return tuple(regions), left


def _spared(layers: list[fx.Node], spare: str) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for name in filter(None, map(str.strip, spare.split(","))):
        fitting = {
            node
            for node in layers
            if name in (type(module_of(node)).__name__, node.target) or str(node.target).startswith(f"{name}.")
        }
        if not fitting:
            raise Unsupported(f"spare={name}: the network has no layer of that kind or path")
        found |= fitting
    return found


def _explore(
    start: fx.Node,
    members: list[fx.Node],
    *,
    spared: set[fx.Node],
    calls: Counter[fx.node.Target],
    head: nn.Module,
    inner: bool,
) -> Iterator[str]:
    """Walk from a layer along its channels, up and down; add to `members`, and yield what stands in the way."""
    todo = [start]
    while todo:
        node = todo.pop()
        if node in members:
            continue
        if is_layer(node):
            if module_of(node) is head:
                yield "the task fixes the number of outputs"
                return
            if node in spared:
                yield f"{node.target} is spared"
                return
            if calls[node.target] > 1:
                yield f"{node.target} is called more than once"
                return
            if len(shape(node)) != (2 if isinstance(module_of(node), nn.Linear) else 4):
                yield f"{node.target} has outputs of shape {shape(node)}"
                return
        else:
            kind = carries(node)
            if kind is None or (inner and kind in ("sum", "concatenation")):
                yield f"its channels go through {node.name}"
                return
            todo += node.all_input_nodes
        members.append(node)
        for user in node.users:
            if not is_layer(user):
                todo.append(user)
            elif user in spared or calls[user.target] > 1:
                yield f"{user.target}, which reads its channels, is " + ("spared" if user in spared else "shared")
            elif getattr(module_of(user), "groups", 1) > 1:
                yield f"{user.target}, which reads its channels, has groups that would be mixed"


def _region(traced: fx.GraphModule, members: set[fx.Node]) -> Region:
    ordered = [node for node in traced.graph.nodes if node in members]
    spread: set[fx.Node] = set()
    for node in ordered:
        behind = any(each in spread for each in node.all_input_nodes)
        if behind or (carries(node) == "flatten" and shape(node)[1] != shape(node.all_input_nodes[0])[1]):
            spread.add(node)
    return Region(
        sources=tuple(node for node in ordered if is_layer(node)),
        carriers=tuple(node for node in ordered if not is_layer(node)),
        exits=tuple(node for node in ordered if any(is_layer(user) for user in node.users)),
        spread=frozenset(spread),
    )


def carries(node: fx.Node) -> str | None:
    """How a node hands on channels that keep to themselves; None where it does not, or not as far as we know."""
    module = module_of(node)
    if isinstance(module, NORMS):
        kind: str | None = "norm"
    elif isinstance(module, POOLS):
        kind = "pool"
    elif isinstance(module, POINTWISE):
        kind = "pointwise"
    elif isinstance(module, nn.Flatten):
        kind = "flatten"
    else:
        kind = (METHODS if node.op == "call_method" else FUNCTIONS).get(node.target) if module is None else None
    inputs = [shape(each) for each in node.all_input_nodes]
    if kind is None or not inputs or not all(inputs) or not shape(node):
        return None
    fits = {
        "pointwise": len(inputs) == 1,
        "norm": len(inputs) == 1 and inputs[0][1] == getattr(module, "num_features", None),
        "pool": len(inputs) == 1 and len(inputs[0]) == 4 and shape(node)[:2] == inputs[0][:2],
        # a mean over height and width
        "mean": len(inputs[0]) == 4 and shape(node) in (inputs[0][:2], (*inputs[0][:2], 1, 1)),
        "flatten": len(shape(node)) == 2 and shape(node)[0] == inputs[0][0],
        "sum": all(each == shape(node) for each in inputs),
        "concatenation": len(shape(node)) in (2, 4) and shape(node)[1] == sum(each[1] for each in inputs),
    }[kind]
    behind_flatten = kind not in ("pointwise", "flatten") and any(map(_is_spread, node.all_input_nodes))
    return kind if fits and not behind_flatten else None


def _is_spread(node: fx.Node) -> bool:
    """Does a flatten lie before it, with only pointwise calls between, that lays positions side by side?"""
    while len(node.all_input_nodes) == 1 and len(shape(node)) == 2 and not is_layer(node):
        before = node.all_input_nodes[0]
        if len(shape(before)) == 4:
            return shape(node)[1] != shape(before)[1]
        node = before
    return False


def works_in_place(node: fx.Node) -> bool:
    """Does it overwrite its input?"""
    flagged = bool(getattr(module_of(node), "inplace", False) or node.kwargs.get("inplace", False))
    return flagged or node.target is operator.iadd or (node.op == "call_method" and str(node.target).endswith("_"))
