"""L1 three-stage pruning removes the weakest filters for good, down to the paper's very network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from methods.l1_three_stage import l1_three_stage
from suite import Unsupported, Workbench, artifacts, complexity, kept_channels, registry
from suite.data import Dataset, Split
from suite.evaluate import OBJECTIVES
from suite.progress import Progress
from suite.tasks import Recipe


@pytest.fixture
def bench(tiny_ready: Any) -> Workbench:
    """The workbench of the tiny task, seed 0."""
    return Workbench(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=0, device="cpu",
                     progress=Progress(silent=True))  # fmt: skip


class Scripted(Workbench):
    """A workbench whose validation scores are known: what matters is what the method does with them."""

    scores: list[float]

    def evaluate(self, model: nn.Module) -> float:
        return self.scores.pop(0)

    def finetune(self, model: nn.Module, **_: Any) -> None:
        pass


@pytest.fixture
def scripted(tiny_ready: Any) -> Callable[[list[float]], Scripted]:
    """`scripted([dense, pruned, tuned, pruned, tuned, ...])`: a workbench that gives these scores."""

    def call(scores: list[float]) -> Scripted:
        found = Scripted(tiny_ready.task, tiny_ready.recipe, tiny_ready.dataset, tiny_ready.objective, seed=0,
                         device="cpu", progress=Progress(silent=True))  # fmt: skip
        found.scores = list(scores)
        return found

    return call


def widths(model: nn.Module) -> list[int]:
    return [each.out_channels for each in model.modules() if isinstance(each, nn.Conv2d)]


def test_vgg16_at_22_of_64_channels_is_the_papers_network() -> None:
    """Full width, on one batch of noise: 1,744,764 parameters and 37.4 M MACs (DESIGN section 3)."""
    torch.manual_seed(0)
    model = registry.build_model("vgg16", {})
    noise = Split(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), torch.arange(4))
    zero, one = torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 64.0)
    dataset = Dataset("noise", noise, noise, noise, zero, one, 10, "noise", "0")
    bench = Workbench(registry.task("vgg16-cifar10"), Recipe(epochs=1), dataset, OBJECTIVES["classification"], seed=0,
                      device="cpu", progress=Progress(silent=True))  # fmt: skip
    pruned = l1_three_stage(model, bench, channel_ratio=22 / 64, steps=1, epochs=0, final_epochs=0)
    assert complexity.parameters(pruned) == 1_744_764
    outputs = [22, 22, 44, 44, 88, 88, 88, 176, 176, 176, 176, 176, 176]
    sides = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]
    by_hand = sum(9 * i * o * s * s for i, o, s in zip([3, *outputs], outputs, sides, strict=False)) + 176 * 10
    assert complexity.macs(pruned, (3, 32, 32)) == by_hand
    assert round(by_hand / 1e6, 1) == 37.4
    assert widths(pruned) == outputs
    assert pruned.head.in_features == 176 and pruned.head.out_features == 10
    assert bench.curve[-1]["parameters"] == 1_744_764
    assert bench.curve[-1]["parameters_left"] == pytest.approx(1_744_764 / 14_728_266)
    shapes = [tuple(each.weight.shape) for each in pruned.modules() if isinstance(each, nn.Conv2d)]
    assert shapes[:3] == [(22, 3, 3, 3), (22, 22, 3, 3), (44, 22, 3, 3)], "physically smaller, inputs too"


def test_filters_of_smallest_l1_norm_go_and_the_others_keep_their_weights(
    tiny_model: nn.Module, bench: Workbench
) -> None:
    before = copy.deepcopy(tiny_model)
    pruned = l1_three_stage(tiny_model, bench, channel_ratio=0.5, steps=1, epochs=0, final_epochs=0)
    inputs = torch.arange(3)
    convolutions = [(name, each) for name, each in before.named_modules() if isinstance(each, nn.Conv2d)]
    for name, old in convolutions:
        norms = old.weight.abs().sum(dim=(1, 2, 3))
        kept = norms.argsort(descending=True)[: kept_channels(old.out_channels, 0.5)].sort().values
        new = pruned.get_submodule(name)
        assert torch.equal(new.weight, old.weight[kept][:, inputs])
        assert torch.equal(new.bias, old.bias[kept])
        norm = f"features.{int(name.split('.')[1]) + 1}"
        assert torch.equal(pruned.get_submodule(norm).running_mean, before.get_submodule(norm).running_mean[kept])
        assert torch.equal(pruned.get_submodule(norm).weight, before.get_submodule(norm).weight[kept])
        inputs = kept
    assert torch.equal(pruned.head.weight, before.head.weight[:, inputs])


def test_last_step_decides_the_architecture_whatever_the_steps(tiny_model: nn.Module, bench: Workbench) -> None:
    one = l1_three_stage(copy.deepcopy(tiny_model), bench, channel_ratio=0.34375, steps=1, epochs=0, final_epochs=0)
    many = l1_three_stage(tiny_model, bench, channel_ratio=0.34375, steps=6, epochs=0, final_epochs=0)
    assert widths(one) == widths(many) == [kept_channels(n, 0.34375) for n in widths_of_tiny()]


def widths_of_tiny() -> list[int]:
    return [4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32]


def test_each_step_is_a_point_of_the_curve(tiny_model: nn.Module, bench: Workbench) -> None:
    original = complexity.parameters(tiny_model)
    pruned = l1_three_stage(tiny_model, bench, channel_ratio=0.5, steps=3, epochs=1, final_epochs=1)
    assert [point["step"] for point in bench.curve] == [0, 1, 2, 3]
    assert [point["channel_ratio"] for point in bench.curve] == pytest.approx([1, 5 / 6, 2 / 3, 0.5])
    left = [point["parameters"] for point in bench.curve]
    assert left == sorted(left, reverse=True) and left[0] == original and left[-1] == complexity.parameters(pruned)
    assert all({"val", "val_pruned", "within_max_drop"} <= set(point) for point in bench.curve[1:])
    assert bench.training_macs > 0
    # what three steps of fine-tuning cost: each on the network it had then, none on the dense one
    assert (
        bench.training_macs
        < 3 * 3 * complexity.macs(registry.build_model("vgg16", {"width": 0.0625}), (3, 32, 32)) * 64
    )


def test_last_step_within_max_drop_is_marked_and_the_whole_ratio_returned(
    tiny_model: nn.Module, scripted: Callable[[list[float]], Scripted]
) -> None:
    bench = scripted([0.90, 0.5, 0.89, 0.5, 0.80, 0.5, 0.87, 0.5, 0.70])
    pruned = l1_three_stage(tiny_model, bench, channel_ratio=0.25, steps=4)
    assert [point["within_max_drop"] for point in bench.curve] == [True, True, False, True, False]
    assert [point["step"] for point in bench.curve if "last_within" in point] == [3]
    assert widths(pruned) == [kept_channels(n, 0.25) for n in widths_of_tiny()], "it goes on to channel_ratio"


def test_stop_returns_the_network_before_the_first_step_beyond_max_drop(
    tiny_model: nn.Module, scripted: Callable[[list[float]], Scripted]
) -> None:
    bench = scripted([0.90, 0.5, 0.89, 0.5, 0.80, 0.5, 0.87, 0.5, 0.70])
    pruned = l1_three_stage(tiny_model, bench, channel_ratio=0.25, steps=4, stop=True)
    assert [point["step"] for point in bench.curve] == [0, 1, 2], "no step after the drop"
    assert [point["step"] for point in bench.curve if "last_within" in point] == [1]
    assert widths(pruned) == [kept_channels(n, 1 - 0.75 / 4) for n in widths_of_tiny()]


def test_stop_at_the_very_first_step_returns_the_dense_network(
    tiny_model: nn.Module, scripted: Callable[[list[float]], Scripted]
) -> None:
    bench = scripted([0.90, 0.1, 0.2])
    pruned = l1_three_stage(tiny_model, bench, channel_ratio=0.25, steps=4, stop=True)
    assert widths(pruned) == widths_of_tiny()
    assert bench.curve[0]["last_within"] is True


def test_exactly_max_drop_is_within(tiny_model: nn.Module, scripted: Callable[[list[float]], Scripted]) -> None:
    bench = scripted([0.75, 0.5, 0.5])
    l1_three_stage(tiny_model, bench, channel_ratio=0.5, steps=1, max_drop=0.25)
    assert bench.curve[1]["within_max_drop"] is True


def test_pruned_network_trains_saves_and_reloads(tiny_model: nn.Module, bench: Workbench, tmp_path: Any) -> None:
    pruned = l1_three_stage(tiny_model, bench, channel_ratio=0.5, steps=2)
    described = artifacts.describe(pruned, name="vgg16", options={"width": 0.0625}, input_shape=(3, 32, 32))
    artifacts.save(pruned, tmp_path, described, {})
    layout = torch.channels_last  # that of training: in another, other kernels round otherwise
    images = torch.randn(3, 3, 32, 32).contiguous(memory_format=layout)
    with torch.inference_mode():
        assert torch.equal(artifacts.load(tmp_path).to(memory_format=layout)(images), pruned.eval()(images))


@pytest.mark.parametrize(
    "wrong", [{"channel_ratio": 0.0}, {"channel_ratio": 1.5}, {"channel_ratio": -1.0}, {"steps": 0}]
)
def test_setting_out_of_range_is_unsupported(tiny_model: nn.Module, bench: Workbench, wrong: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        l1_three_stage(tiny_model, bench, **wrong)


def test_ratio_of_one_keeps_every_channel(tiny_model: nn.Module, bench: Workbench) -> None:
    before = tiny_model.state_dict()
    kept = l1_three_stage(copy.deepcopy(tiny_model), bench, channel_ratio=1.0, steps=2, epochs=0, final_epochs=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in kept.state_dict().items())


def test_ratio_near_zero_leaves_a_channel_everywhere(tiny_model: nn.Module, bench: Workbench) -> None:
    pruned = l1_three_stage(tiny_model, bench, channel_ratio=0.001, steps=1, epochs=0, final_epochs=0)
    assert set(widths(pruned)) == {1}


def test_grouped_convolutions_are_unsupported(bench: Workbench, tiny_model: nn.Module) -> None:
    tiny_model.features[3] = nn.Conv2d(4, 4, 3, padding=1, groups=2)
    with pytest.raises(Unsupported, match="grouped convolutions"):
        l1_three_stage(tiny_model, bench)


def test_fine_tuning_gets_the_epochs_and_learning_rate_that_were_asked_for(
    tiny_model: nn.Module, tiny_ready: Any
) -> None:
    asked: list[dict[str, Any]] = []

    class Noting(Workbench):
        def finetune(self, model: nn.Module, **given: Any) -> None:
            asked.append(given)

    bench = Noting(tiny_ready.task, replace(tiny_ready.recipe), tiny_ready.dataset, tiny_ready.objective, seed=0,
                   device="cpu", progress=Progress(silent=True))  # fmt: skip
    l1_three_stage(tiny_model, bench, steps=3, epochs=7, final_epochs=11, lr=0.03)
    assert [(each["epochs"], each["lr"]) for each in asked] == [(7, 0.03), (7, 0.03), (11, 0.03)]
