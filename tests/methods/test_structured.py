"""Structured pruning meets its target to the channel, and each importance ranks as its paper says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from methods._importance import score_channels
from methods._pruning_targets import Group, Network, full_width, read_network
from methods.structured import structured
from suite import Unsupported, Workbench, complexity, kept_channels, registry
from suite.data import Dataset, Split
from suite.evaluate import OBJECTIVES
from suite.progress import Progress
from suite.tasks import Recipe, Task

IMPORTANCES = ("l1", "l2", "fpgm", "taylor", "bn-scale", "lamp", "hessian")
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("vgg16", {"width": 0.0625}),
    "skips": ("resnet18", {"width": 0.125}),
    "concatenations": ("googlenet", {"width": 0.125}),
    "transposed": ("autoencoder", {"width": 0.125, "bottleneck": 16}),
    "transposed and concatenated": ("autoencoder", {"width": 0.125, "bottleneck": 16, "skip": True}),
}


def workbench(objective: str = "classification", *, images: int = 8, classes: int = 10) -> Workbench:
    """A workbench on noise, in batches of four: what these tests ask does not depend on the images."""
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8, generator=drawn)
    noise = Split(pixels, torch.arange(images) % classes)
    classes = classes if objective == "classification" else 0
    mean, deviation = torch.full((1, 3, 1, 1), 128.0), torch.full((1, 3, 1, 1), 64.0)
    dataset = Dataset("noise", noise, noise, noise, mean, deviation, classes, "noise", "0")
    recipe = Recipe(epochs=1, batch_size=4, finetune_share=0.1)
    task = Task(title="Noise", model="-", options={}, data="noise", input_shape=(3, 32, 32), recipes={})
    return Workbench(task, recipe, dataset, OBJECTIVES[objective], seed=0, device="cpu",
                     progress=Progress(silent=True))  # fmt: skip


def build(network: str) -> tuple[nn.Module, Workbench]:
    """A network of `NETWORKS` with BatchNorm away from its initial ones and zeros, and a workbench for it."""
    name, options = NETWORKS[network]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = registry.build_model(name, options).eval()
        for each in model.modules():
            if isinstance(each, nn.BatchNorm2d):
                nn.init.uniform_(each.weight, 0.5, 1.5)
                nn.init.normal_(each.bias, std=0.1)
                each.running_mean.normal_(std=0.1)
    return model, workbench("reconstruction" if name == "autoencoder" else "classification")


class Chain(nn.Module):
    """Two convolutions with BatchNorm and ReLU; the first has six channels, the second four."""

    def __init__(self, *, normalised: bool = True) -> None:
        super().__init__()
        norms = [nn.BatchNorm2d(6), nn.BatchNorm2d(4)] if normalised else [nn.Identity(), nn.Identity()]
        self.first, self.norm1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), norms[0], nn.ReLU()
        self.second, self.norm2, self.relu2 = nn.Conv2d(6, 4, 3, padding=1), norms[1], nn.ReLU()
        self.head = nn.Linear(4, 10)

    def forward(self, images: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        features = self.relu1(self.norm1(self.first(images)))
        if gate is not None:
            features = features * gate.view(1, -1, 1, 1)
        return self.head(self.relu2(self.norm2(self.second(features))).mean(dim=(2, 3)))


@pytest.fixture
def chain() -> Chain:
    """A `Chain` with weights drawn from seed 0, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Chain().eval()
        for norm in (model.norm1, model.norm2):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
        return model


def prune(model: nn.Module, bench: Workbench, **given: Any) -> nn.Module:
    """Prune a copy without fine-tuning."""
    return structured(copy.deepcopy(model), bench, **{"epochs": 0, "final_epochs": 0, "samples": 8} | given)


def score(model: nn.Module, bench: Workbench, importance: Any, group: str) -> torch.Tensor:
    return score_channels(read_network(model, bench), model, bench, importance, samples=8)[group]


def widths(model: nn.Module) -> dict[str, int]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return {name: each.out_channels for name, each in model.named_modules() if isinstance(each, kinds)}


def kept_filters(model: nn.Module, pruned: nn.Module) -> list[int]:
    """Which filters of `first` are left."""
    left = pruned.first.bias.tolist()
    return [number for number, bias in enumerate(model.first.bias.tolist()) if bias in left]


def test_googlenet_at_four_fifths_of_the_channels_is_the_reports_network() -> None:
    """4.09 M parameters (cifar100-googlenet-report): every concatenation followed."""
    model = registry.build_model("googlenet", {"classes": 100, "width": 1.0})
    pruned = prune(model, workbench(images=2, classes=100), channel_ratio=0.8)
    assert complexity.parameters(pruned) == 4_089_778
    assert pruned.head.out_features == 100
    assert widths(pruned) == {name: kept_channels(width, 0.8) for name, width in widths(model).items()}


@pytest.mark.parametrize("network", NETWORKS)
def test_uniform_channel_ratio_keeps_its_share_in_every_layer_but_the_head(network: str) -> None:
    model, bench = build(network)
    pruned = prune(model, bench, channel_ratio=0.34375)
    wanted = {name: kept_channels(width, 0.34375) for name, width in widths(model).items()}
    assert widths(pruned) == wanted | ({"head": 3} if "head" in wanted else {})


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize(
    ("network", "quantity"), [*((each, "macs") for each in NETWORKS), ("plain", "parameters"), ("skips", "parameters")]
)
def test_target_is_reached_within_one_channel_step(network: str, quantity: str, scope: str) -> None:
    model, bench = build(network)
    count = bench.macs if quantity == "macs" else complexity.parameters
    limit = int(0.4 * count(model))
    asked = {"macs_ratio": 0.4} if quantity == "macs" else {"parameters": limit}
    pruned = prune(model, bench, scope=scope, **asked)
    assert 0 <= limit - count(pruned) < one_more(read_network(pruned, bench), quantity, scope)


def one_more(network: Network, quantity: str, scope: str) -> int:
    """What one channel more costs at most: in every layer at once where they keep one share, else in one group."""
    kept = full_width(network)
    count: Callable[..., int] = getattr(network, quantity)
    if scope == "uniform":
        return count({name: width + 1 for name, width in kept.items()}) - count(kept)
    return max(count(kept | {name: width + 1}) for name, width in kept.items()) - count(kept)


@pytest.mark.parametrize("network", NETWORKS)
def test_cost_that_is_counted_from_widths_is_that_of_the_network(network: str) -> None:
    model, bench = build(network)
    dense = read_network(model, bench)
    pruned = prune(model, bench, channel_ratio=0.3, scope="global")
    left = full_width(read_network(pruned, bench))
    assert left != full_width(dense)
    assert dense.parameters(left) == complexity.parameters(pruned)
    assert dense.macs(left) == bench.macs(pruned)


def test_global_keeps_the_share_of_all_channels_and_a_minimum_of_each_layer(tiny_model: nn.Module) -> None:
    weak = tiny_model.features[24]  # all of this layer is weaker than any other
    with torch.no_grad():
        for each in (weak, tiny_model.features[25]):
            each.weight.mul_(1e-3)
    before = widths(tiny_model)
    after = widths(prune(tiny_model, workbench(), channel_ratio=0.5, scope="global", importance="bn-scale"))
    assert sum(after.values()) == sum(before.values()) // 2
    assert after["features.24"] == kept_channels(before["features.24"], 0.1)
    raised = prune(tiny_model, workbench(), channel_ratio=0.5, scope="global", importance="bn-scale", min_ratio=0.4)
    assert all(width >= kept_channels(before[name], 0.4) for name, width in widths(raised).items())
    assert sum(widths(raised).values()) == sum(before.values()) // 2


@pytest.mark.parametrize("scope", ["uniform", "global"])
def test_channels_are_rounded_down_to_a_multiple(tiny_model: nn.Module, scope: str) -> None:
    pruned = prune(tiny_model, workbench(), channel_ratio=0.7, round_to=8, scope=scope)
    after = widths(pruned)
    assert after["features.0"] == 4, "narrower than a multiple: it stays"
    assert all(width % 8 == 0 for width in after.values() if width != 4)
    if scope == "uniform":
        assert sorted(set(after.values())) == [4, 8, 16], "of 4, 8, 16, 32: 22 of 32 become 16, 11 of 16 and 5 of 8, 8"


def test_steps_lead_to_the_same_widths_and_each_is_a_point_of_the_curve(tiny_model: nn.Module) -> None:
    bench = workbench()
    one = prune(tiny_model, bench, macs_ratio=0.3)
    bench.curve.clear()
    three = structured(copy.deepcopy(tiny_model), bench, macs_ratio=0.3, steps=3, epochs=1, final_epochs=1)
    assert widths(one) == widths(three)
    assert [point["step"] for point in bench.curve] == [0, 1, 2, 3]
    left = [float(point["macs_left"]) for point in bench.curve]
    assert left[0] == 1 and left == sorted(left, reverse=True)
    for found, wanted in zip(left[1:], [2.3 / 3, 1.6 / 3, 0.3], strict=True):
        assert wanted - 0.1 < found <= wanted + 1e-9
    assert bench.curve[-1]["macs"] == bench.macs(three)
    assert bench.curve[-1]["parameters"] == complexity.parameters(three)
    assert bench.training_macs > 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "there is no target: give one of"),
        ({"channel_ratio": 0.5, "macs_ratio": 0.5}, "channel_ratio and macs_ratio are more than one target"),
        ({"channel_ratio": 0.0}, "channel_ratio 0.0 is outside"),
        ({"channel_ratio": 1.5}, "channel_ratio 1.5 is outside"),
        ({"macs_ratio": -1.0}, "macs_ratio -1.0 is outside"),
        ({"parameters": 10**9}, "parameters 1,000,000,000 is not within the network's"),
        ({"parameters": 0}, "parameters 0 is not within"),
        ({"parameters": 5}, "parameters 5 allows 5 parameters, the narrowest network has"),
        ({"macs_ratio": 0.1, "scope": "global", "min_ratio": 0.9}, "macs_ratio 0.1 allows .* MACs, the narrowest"),
        ({"channel_ratio": 0.1, "scope": "global", "min_ratio": 0.9}, "channel_ratio 0.1 allows .* channels"),
        ({"channel_ratio": 0.5, "min_ratio": 2.0}, "min_ratio 2.0 is outside"),
        ({"channel_ratio": 0.5, "round_to": 0}, "round_to 0"),
        ({"channel_ratio": 0.5, "steps": 0}, "steps 0"),
        ({"channel_ratio": 0.5, "samples": 0}, "samples 0"),
    ],
)
def test_what_cannot_be_is_unsupported(tiny_model: nn.Module, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unsupported, match=reason) as caught:
        prune(tiny_model, workbench(), **given)
    assert "\n" not in str(caught.value)


def test_grouped_convolutions_are_unsupported(tiny_model: nn.Module) -> None:
    tiny_model.features[3] = nn.Conv2d(4, 4, 3, padding=1, groups=2)
    with pytest.raises(Unsupported, match="grouped convolutions"):
        prune(tiny_model, workbench(), channel_ratio=0.5)


@pytest.mark.parametrize(
    ("network", "importance"),
    [(network, each) for network in ("skips", "transposed and concatenated") for each in IMPORTANCES]
    + [(network, each) for network in ("plain", "concatenations", "transposed") for each in ("l1", "taylor")],
)
def test_network_without_its_dead_channels_computes_the_same(network: str, importance: str) -> None:
    """Half of every group's channels, drawn by lot, are zero in all layers that write or read them: those go."""
    model, bench = build(network)
    drawn = torch.Generator().manual_seed(1)
    for group in read_network(model, bench).groups:
        dead = torch.randperm(group.channels, generator=drawn)[kept_channels(group.channels, 0.5) :]
        silence(group, set(dead.tolist()))
    inputs = torch.randn(2, 3, 32, 32, generator=drawn)
    pruned = prune(model, bench, channel_ratio=0.5, importance=importance)
    with torch.inference_mode():
        wanted, found = model(inputs), pruned.eval()(inputs)
    assert wanted.std() > 1e-3, "the network that is left does compute something"
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def silence(group: Group, dead: set[int]) -> None:
    for part in group.parts:
        where = [index for index, channel in zip(part.indices, part.channels, strict=True) if channel in dead]
        if isinstance(part.module, nn.BatchNorm2d):
            part.module.weight[where] = part.module.bias[where] = 0
        elif isinstance(part.module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = part.module.weight
            weight = weight.transpose(0, 1) if isinstance(part.module, nn.ConvTranspose2d) else weight
            if part.writes:
                weight[where] = 0
                if part.module.bias is not None:
                    part.module.bias[where] = 0
            else:
                weight[:, where] = 0


@pytest.mark.parametrize(("importance", "power"), [("l1", 1), ("l2", 2)])
def test_norms_are_the_mean_over_the_coupled_layers(chain: Chain, importance: str, power: int) -> None:
    terms = (
        chain.first.weight.flatten(1).abs().pow(power).sum(1),
        chain.norm1.weight.abs().pow(power),
        chain.second.weight.transpose(0, 1).flatten(1).abs().pow(power).sum(1),
    )
    wanted = sum(terms) / 3
    torch.testing.assert_close(
        score(chain, workbench(), importance, "first").float(), (wanted / wanted.mean()).detach()
    )


def test_l1_and_l2_disagree_on_a_single_large_weight(chain: Chain) -> None:
    with torch.no_grad():
        for each in (chain.first.weight, chain.norm1.weight, chain.second.weight):
            each.fill_(0.3)
        chain.first.weight[2] = 0
        chain.first.weight[2, 0, 0, 0] = 3.0  # sum 3 against 8.1, sum of squares 9 against 2.43
    assert kept_filters(chain, prune(chain, workbench(), channel_ratio=0.9, importance="l1")) == [0, 1, 3, 4, 5]
    assert 2 in kept_filters(chain, prune(chain, workbench(), channel_ratio=0.9, importance="l2"))


def test_fpgm_removes_what_is_near_the_others_and_tells_a_filter_from_its_negative(chain: Chain) -> None:
    """Four filters around a fifth; the sixth, of smallest norm, then the negative of the fifth, is far from all."""
    with torch.no_grad():
        chain.first.weight.zero_()
        chain.first.weight[:, 0, 0, 0] = torch.tensor([11.0, 12.0, 11.0, 10.0, 11.0, -1.0])
        chain.first.weight[:, 0, 0, 1] = torch.tensor([1.0, 0.0, -1.0, 0.0, 0.0, 0.0])
    rows = chain.first.weight.detach().flatten(1).double()
    wanted = torch.stack([(rows - row).norm(dim=1).sum() for row in rows])
    found = score(chain, workbench(), "fpgm", "first")
    torch.testing.assert_close(found, wanted / wanted.mean())
    assert found.argmin() == 4 and found.argmax() == 5, "the smallest filter is the one that nothing replaces"
    with torch.no_grad():
        chain.first.weight[5, 0, 0, 0] = -11.0
    assert score(chain, workbench(), "fpgm", "first").argmax() == 5


def test_taylor_is_the_squared_gradient_of_a_gate_averaged_over_batches(chain: Chain) -> None:
    """The gate of Molchanov et al., put into the network and differentiated; batches of four as they come."""
    bench = workbench()
    wanted = torch.zeros(6)
    batches = list(bench.calibration_batches(2))
    for inputs, targets in batches:
        gate = torch.ones(6, requires_grad=True)
        (slope,) = torch.autograd.grad(cross_entropy(chain(inputs, gate), targets), gate)
        wanted += slope.square() / len(batches)
    found = score(chain, bench, "taylor", "first")
    torch.testing.assert_close(found.float(), wanted, rtol=1e-4, atol=1e-9)
    assert all(parameter.grad is None for parameter in chain.parameters())


def test_taylor_removes_what_the_loss_does_not_depend_on_however_large(chain: Chain) -> None:
    with torch.no_grad():
        chain.first.weight[3] *= 100
        chain.norm1.weight[3], chain.norm1.bias[3] = 50.0, -1e6  # ReLU never lets it through
    assert kept_filters(chain, prune(chain, workbench(), channel_ratio=0.9, importance="taylor")) == [0, 1, 2, 4, 5]
    assert 3 in kept_filters(chain, prune(chain, workbench(), channel_ratio=0.9, importance="l1"))


def test_hessian_is_the_mean_squared_gradient_of_every_single_image(chain: Chain) -> None:
    bench = workbench()
    weights = (chain.first.weight, chain.norm1.weight, chain.second.weight)
    images = [
        (inputs[each : each + 1], targets[each : each + 1])
        for inputs, targets in bench.calibration_batches(2)
        for each in range(len(inputs))
    ]
    fisher = [torch.zeros_like(weight) for weight in weights]
    for inputs, targets in images:
        for total, slope in zip(
            fisher, torch.autograd.grad(cross_entropy(chain(inputs), targets), weights), strict=True
        ):
            total += slope.square() / len(images)
    first, norm, second = (weight.detach().square() * h for weight, h in zip(weights, fisher, strict=True))
    wanted = (first.flatten(1).sum(1) + norm + second.transpose(0, 1).flatten(1).sum(1)) / 3
    found = score(chain, bench, "hessian", "first")
    assert len(images) == 8
    torch.testing.assert_close(found.float(), wanted, rtol=1e-4, atol=1e-9)


def test_bn_scale_ranks_by_the_size_of_gamma(chain: Chain) -> None:
    with torch.no_grad():
        chain.norm1.weight.copy_(torch.tensor([0.5, -2.0, 0.1, 1.0, -0.2, 0.3]))
    pruned = prune(chain, workbench(), channel_ratio=0.5, importance="bn-scale")
    assert kept_filters(chain, pruned) == [0, 1, 3]
    assert pruned.norm1.weight.tolist() == pytest.approx([0.5, -2.0, 1.0])


def test_bn_scale_of_a_network_without_batchnorm_is_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"no BatchNorm follows (first|second)"):
        prune(Chain(normalised=False).eval(), workbench(), channel_ratio=0.5, importance="bn-scale")


def test_lamp_divides_by_what_is_not_weaker(chain: Chain) -> None:
    bench = workbench()
    squares = score(chain, bench, "l2", "first")
    wanted = torch.stack([each / squares[squares >= each].sum() for each in squares])
    torch.testing.assert_close(score(chain, bench, "lamp", "first"), wanted, rtol=1e-5, atol=0)


def test_lamp_is_l2_within_a_layer_and_not_between_layers(tiny_model: nn.Module) -> None:
    def pruned(importance: str, scope: str) -> nn.Module:
        return prune(tiny_model, workbench(), channel_ratio=0.5, importance=importance, scope=scope)

    one, two = pruned("l2", "uniform").state_dict(), pruned("lamp", "uniform").state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert widths(pruned("l2", "global")) != widths(pruned("lamp", "global"))


def test_channels_of_a_skip_are_ranked_by_all_layers_that_write_to_it() -> None:
    """One writer's channel is strong, the other's is not: with the first layer alone it would go."""
    model, bench = build("skips")
    network = read_network(model, bench)
    group = max(network.groups, key=lambda each: sum(part.writes for part in each.parts))
    writers = [part.module for part in group.parts if part.writes and isinstance(part.module, nn.Conv2d)]
    assert len(writers) > 1
    with torch.no_grad():
        for writer in writers:
            writer.weight.fill_(0.1)
        writers[0].weight[0] = 0.01
        writers[1].weight[0] = 10.0
    assert score(model, bench, "l1", group.name).argmax() == 0


def test_points_halve_quarter_and_eighth_the_macs_and_try_every_importance() -> None:
    points = [registry.method("structured").complete(point) for point in registry.method("structured").points]
    plain = [point for point in points if point["importance"] == "l1" and point["scope"] == "uniform"]
    assert {point["macs_ratio"] for point in plain} == {0.5, 0.25, 0.125, None}
    assert [point["channel_ratio"] for point in plain if point["macs_ratio"] is None] == [22 / 64]
    assert {point["importance"] for point in points if point["macs_ratio"] == 0.25} == set(IMPORTANCES)
