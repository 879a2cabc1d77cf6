"""How many channels each layer keeps so that a network meets a target: counted on the widths alone, before any cut."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch_pruning as tp
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from methods._channels import PRUNABLE, channel_widths
from suite import Unsupported, Workbench, kept_channels

#: Channels kept of each group by the group's name.
Widths = Mapping[str, int]


@dataclass(frozen=True)
class Part:
    """One layer's part in a group: it `writes` the group's channels, or else reads them.

    At `indices` of its own outputs or inputs lie the `channels` of the group.
    """

    name: str
    module: nn.Module
    writes: bool
    indices: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Channels that can only go together, from every layer that a concatenation or a skip couples.

    `name` is a layer that writes them, `channels` how many there are, `coupled` Torch-Pruning's own group.
    """

    name: str
    channels: int
    parts: tuple[Part, ...]
    coupled: Any


@dataclass(frozen=True)
class Layer:
    """What a layer costs: so much for each pair of an input and an output channel, so much for each output channel."""

    inputs: int
    outputs: int
    parameters_per_pair: int
    parameters_per_output: int
    macs_per_pair: int


@dataclass(frozen=True)
class Network:
    """A network read for pruning: its groups and its layers; all else costs the same at any width."""

    graph: Any
    groups: tuple[Group, ...]
    layers: Mapping[str, Layer]
    other_parameters: int = 0
    other_macs: int = 0

    def parameters(self, kept: Widths) -> int:
        """Parameters of the network with `kept` channels in each group."""
        return self.other_parameters + sum(
            layer.parameters_per_pair * inputs * outputs + layer.parameters_per_output * outputs
            for layer, inputs, outputs in self._sizes(kept)
        )

    def macs(self, kept: Widths) -> int:
        """MACs for one sample of the network with `kept` channels in each group."""
        return self.other_macs + sum(layer.macs_per_pair * i * o for layer, i, o in self._sizes(kept))

    def _sizes(self, kept: Widths) -> list[tuple[Layer, int, int]]:
        inputs = {name: layer.inputs for name, layer in self.layers.items()}
        outputs = {name: layer.outputs for name, layer in self.layers.items()}
        for group in self.groups:
            for part in group.parts:
                if part.name in self.layers:
                    gone = (group.channels - kept[group.name]) * len(part.indices) // group.channels
                    (outputs if part.writes else inputs)[part.name] -= gone
        return [(layer, inputs[name], outputs[name]) for name, layer in self.layers.items()]


def read_network(model: nn.Module, bench: Workbench) -> Network:
    """Follow the channels through the network, and take each layer's cost; Unsupported for grouped convolutions.

    Groups with the head among their writers are left out: the task fixes its outputs. The model ends in eval mode.
    """
    if any(isinstance(each, nn.Conv2d | nn.ConvTranspose2d) and each.groups > 1 for each in model.modules()):
        raise Unsupported("grouped convolutions: channels of a group cannot be removed one by one")
    graph = tp.DependencyGraph().build_dependency(model.eval(), example_inputs=bench.example_input)
    names = {module: name for name, module in model.named_modules()}
    groups = []
    for coupled in graph.get_all_groups(ignored_layers=[model.head], root_module_types=list(PRUNABLE)):
        parts = tuple(
            Part(
                names[item.dep.target.module],
                item.dep.target.module,
                graph.is_out_channel_pruning_fn(item.dep.handler),
                tuple(item.idxs),
                tuple(item.root_idxs),
            )
            for item in coupled
            if item.dep.target.module in names  # the rest are the graph's own nodes, such as sums
        )
        groups.append(Group(parts[0].name, len(parts[0].indices), parts, coupled))
    layers = Network(graph, tuple(groups), _layers(model, bench.example_input))
    kept = full_width(layers)
    return replace(
        layers,
        other_parameters=sum(each.numel() for each in model.parameters()) - layers.parameters(kept),
        other_macs=bench.macs(model) - layers.macs(kept),
    )


def _layers(model: nn.Module, example_input: torch.Tensor) -> dict[str, Layer]:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(example_input)
    flops = counter.get_flop_counts()
    found: dict[str, Layer] = {}
    for name, module in model.named_modules():
        if isinstance(module, PRUNABLE):
            inputs, outputs = (
                (module.in_features, module.out_features)
                if isinstance(module, nn.Linear)
                else (module.in_channels, module.out_channels)
            )
            macs = sum(flops.get(f"{type(model).__name__}.{name}", {}).values()) // 2
            pairs, biases = inputs * outputs, int(module.bias is not None)
            found[name] = Layer(inputs, outputs, module.weight.numel() // pairs, biases, macs // pairs)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            values = sum(each.numel() for each in module.parameters(recurse=False)) // module.num_features
            found[name] = Layer(1, module.num_features, 0, values, 0)
    return found


@dataclass(frozen=True)
class Limits:
    """What a user may ask for, one of the three; None is not asked for."""

    channel_ratio: float | None
    parameters: int | None
    macs_ratio: float | None


@dataclass(frozen=True)
class Target:
    """What a pruned network must not exceed: `amount` of `quantity`, a field of `Limits`.

    `dense` is the network as it came in and `widths` its layers' output channels; `uniform` keeps one share of every
    layer, else the weakest channels of all layers go, and each layer keeps at least `min_ratio` of its own.
    """

    quantity: str
    amount: float
    dense: Network
    widths: Widths
    uniform: bool
    min_ratio: float
    round_to: int

    def after(self, way: float) -> float:
        """The amount to be reached after a share `way` (0..1] of the pruning; equal shares remove equal amounts."""
        start = self.dense.parameters(full_width(self.dense)) if self.quantity == "parameters" else 1.0
        return self.amount if way == 1 else start - (start - self.amount) * way

    def rounded(self, group: Group, kept: int) -> int:
        """`kept` channels, rounded down to a multiple of `round_to`, but one multiple at least.

        A layer that has fewer channels than that stays as it is.
        """
        if self.widths[group.name] < self.round_to:
            return group.channels
        return min(group.channels, max(self.round_to, kept // self.round_to * self.round_to))


def set_target(
    model: nn.Module, bench: Workbench, limits: Limits, *, uniform: bool, min_ratio: float, round_to: int
) -> Target:
    """The target for this network; Unsupported where there is not one limit, or it makes no sense here."""
    given = {name: value for name, value in asdict(limits).items() if value is not None}
    if len(given) != 1:
        wrong = " and ".join(given) + " are more than one target" if given else "there is no target"
        raise Unsupported(f"{wrong}: give one of channel_ratio, parameters and macs_ratio")
    ((quantity, amount),) = given.items()
    if quantity != "parameters" and not 0 < amount <= 1:
        raise Unsupported(f"{quantity} {amount} is outside (0, 1]: it is the share kept")
    if not 0 <= min_ratio <= 1:
        raise Unsupported(
            f"min_ratio {min_ratio} is outside [0, 1]: it is the share of its channels that a layer keeps"
        )
    if round_to < 1:
        raise Unsupported(f"round_to {round_to}: the channels kept are a multiple of it, so it is at least 1")
    dense = read_network(model, bench)
    if quantity == "parameters" and not 1 <= amount <= dense.parameters(full_width(dense)):
        raise Unsupported(f"parameters {amount:,} is not within the network's {dense.parameters(full_width(dense)):,}")
    return Target(quantity, amount, dense, channel_widths(model), uniform, min_ratio, round_to)


def full_width(network: Network) -> dict[str, int]:
    """Every channel of every group."""
    return {group.name: group.channels for group in network.groups}


def choose_widths(
    target: Target, network: Network, amount: float, scores: Mapping[str, torch.Tensor]
) -> dict[str, int]:
    """Channels to keep in each group of `network`: as many as `amount` of the target's quantity allows.

    `network` is the dense one or what earlier steps left of it, `scores` one number a channel by group (larger is
    kept; compared between groups where the target is not uniform). Unsupported where even the narrowest network that
    the target's other settings allow exceeds the amount.
    """
    if target.uniform and target.quantity == "channel_ratio":
        return _at_ratio(target, network, amount)
    count: Callable[[Widths], int]
    if target.quantity == "channel_ratio":
        limit = kept_channels(sum(target.widths[group.name] for group in network.groups), amount)
        count = _total
    elif target.quantity == "parameters":
        limit, count = int(amount), network.parameters
    else:
        # MACs of the dense network, a whole number: the product is not to be spoilt by the last bit
        limit, count = int(amount * target.dense.macs(full_width(target.dense)) + 1e-6), network.macs
    choices = _uniform_choices(target, network) if target.uniform else _global_choices(target, network, scores)
    # the widest first, so the negated count rises
    found = bisect.bisect_left(range(choices.number), -limit, key=lambda index: -count(choices.widths(index)))
    if found == choices.number:
        least = count(choices.widths(choices.number - 1))
        unit = {"channel_ratio": "channels", "parameters": "parameters", "macs_ratio": "MACs"}[target.quantity]
        raise Unsupported(
            f"{target.quantity} {amount:g} allows {limit:,} {unit}, the narrowest network has {least:,}: "
            "raise it, or lower min_ratio or round_to"
        )
    return choices.widths(found)


def _total(kept: Widths) -> int:
    return sum(kept.values())


@dataclass(frozen=True)
class _Choices:
    """The networks to choose from by index, each at most as wide as the one before."""

    number: int
    widths: Callable[[int], dict[str, int]]


def _at_ratio(target: Target, network: Network, channel_ratio: float) -> dict[str, int]:
    return {
        group.name: target.rounded(group, kept_channels(target.widths[group.name], channel_ratio))
        for group in network.groups
    }


def _uniform_choices(target: Target, network: Network) -> _Choices:
    """Every ratio at which some layer's width changes: between two of them there is no other network."""
    sizes = {target.widths[group.name] for group in network.groups}
    ratios = sorted({kept / size for size in sizes for kept in range(1, size + 1)}, reverse=True)
    return _Choices(len(ratios), lambda index: _at_ratio(target, network, ratios[index]))


def _global_choices(target: Target, network: Network, scores: Mapping[str, torch.Tensor]) -> _Choices:
    """Channels fall one by one, the weakest of the whole network first; each group's strongest are spared."""
    fallen: list[tuple[float, str]] = []
    for group in network.groups:
        spared = min(group.channels, kept_channels(target.widths[group.name], target.min_ratio))
        weakest = scores[group.name].double().sort().values[: group.channels - spared]
        fallen += [(score, group.name) for score in weakest.tolist()]
    order = [name for _, name in sorted(fallen, key=lambda each: each[0])]

    def widths(index: int) -> dict[str, int]:
        kept = full_width(network)
        for name in order[:index]:
            kept[name] -= 1
        return {group.name: target.rounded(group, kept[group.name]) for group in network.groups}

    return _Choices(len(order) + 1, widths)


def cut(network: Network, kept: Widths, scores: Mapping[str, torch.Tensor]) -> None:
    """Remove all but the `kept` highest-scored channels of each group from the model that `network` was read from."""
    for group in network.groups:
        surplus = group.channels - kept[group.name]
        if surplus > 0:
            first = group.coupled[0].dep
            weakest = torch.argsort(scores[group.name], stable=True)[:surplus].sort().values
            network.graph.get_pruning_group(first.target.module, first.handler, weakest.tolist()).prune()
