"""branch-alpha trains at every alpha, leaves alone what it should, and hands over the network that it trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from methods import branch_alpha as module
from methods._branches import BranchedNetwork
from methods._schedules import alphas
from methods.branch_alpha import branch_alpha
from suite import SuiteError, Unsupported, Workbench, artifacts, complexity, kept_channels, registry
from suite.data import Dataset, Split
from suite.evaluate import Objective
from suite.progress import Progress
from suite.tasks import Recipe

MakeBench = Callable[..., Workbench]
FEW: dict[str, Any] = {"schedule": "step", "size": 0.5, "restarts": "0.01", "restart_epochs": "1"}


@pytest.fixture
def make_bench(tiny_ready: Any) -> MakeBench:
    """`make_bench(kind, field=value)`: a workbench of the tiny task, its recipe changed."""

    def call(kind: type[Workbench] = Workbench, **changes: Any) -> Workbench:
        return kind(tiny_ready.task, replace(tiny_ready.recipe, **changes), tiny_ready.dataset, tiny_ready.objective,
                    seed=0, device="cpu", progress=Progress(silent=True))  # fmt: skip

    return call


class Noting(Workbench):
    """A workbench that trains nothing, and keeps what each training was asked for and what it found."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked: list[dict[str, Any]] = []

    def finetune(self, model: nn.Module, **given: Any) -> None:
        learns = any(each.requires_grad for name, each in model.named_parameters() if "branches." not in name)
        merged = not isinstance(model, BranchedNetwork)
        self.asked.append(given | {"original_learns": learns, "merged": merged})


class Scripted(Noting):
    """A workbench whose validation scores are known, and whose trainings set the head's bias to their number."""

    scores: list[float]

    def evaluate(self, model: nn.Module) -> float:
        return self.scores.pop(0)

    def finetune(self, model: nn.Module, **given: Any) -> None:
        super().finetune(model, **given)
        with torch.no_grad():
            getattr(model, "network", model).head.bias.fill_(float(len(self.asked)))


# ----------------------------------------------------------------------------------------------------------- the result


def test_network_is_the_predefined_one_and_the_record_says_how_exact_the_merge_was(
    tiny_model: nn.Module, make_bench: MakeBench, tmp_path: Any
) -> None:
    bench = make_bench()
    pruned = branch_alpha(copy.deepcopy(tiny_model), bench, channel_ratio=0.34375, **FEW)
    widths = [each.out_channels for each in tiny_model.modules() if isinstance(each, nn.Conv2d)]
    found = [each.out_channels for each in pruned.modules() if isinstance(each, nn.Conv2d)]
    assert found == [kept_channels(each, 0.34375) for each in widths]
    assert type(pruned) is type(tiny_model)
    assert 0 <= bench.metrics["merge_relative_error"] <= 1e-4
    at_zero = [point["val"] for point in bench.curve if point["alpha"] == 0]
    assert bench.evaluate(pruned) == max(at_zero), "the score before the merge and after it"
    assert bench.training_macs > 0
    described = artifacts.describe(pruned, name="vgg16", options={"width": 0.0625}, input_shape=(3, 32, 32))
    artifacts.save(pruned, tmp_path, described, {})
    layout = torch.channels_last  # that of training: in another, other kernels round otherwise
    images = torch.randn(3, 3, 32, 32).contiguous(memory_format=layout)
    with torch.inference_mode():
        assert torch.equal(artifacts.load(tmp_path).to(memory_format=layout)(images), pruned.eval()(images))


def test_curve_has_a_point_at_every_alpha(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    bench = make_bench()
    dense = bench.evaluate(tiny_model)
    branch_alpha(tiny_model, bench, schedule="multiplicative", restarts="0.01,0.1", restart_epochs="1,1")
    assert [point["step"] for point in bench.curve] == list(range(len(bench.curve)))
    wanted = alphas("multiplicative")
    found = list(dict.fromkeys(point["alpha"] for point in bench.curve))
    assert found == list(wanted)
    assert bench.curve[0]["val"] == dense
    assert all(0 <= point["val"] <= 1 for point in bench.curve)
    assert [(point["restart"], point["lr"]) for point in bench.curve if "restart" in point] == [(1, 0.01), (2, 0.1)]


def test_one_seed_gives_one_network(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    options = {**FEW, "noise": 0.1, "update_original": "late"}
    first, second = (branch_alpha(copy.deepcopy(tiny_model), make_bench(), **options).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_option_at_once_works(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    bench = make_bench()
    pruned = branch_alpha(
        tiny_model,
        bench,
        channel_ratio=0.5,
        schedule="jump",
        epochs=1,
        lr_schedule="plateau",
        restarts="0.01",
        restart_epochs="1",
        update_original="late",
        regress_logits=True,
        noise=0.2,
        weight_decay=1e-4,
        early_stop=1,
        blocks="inner",
        spare="features.0",
    )
    assert pruned.features[0].out_channels == 4 and pruned.features[3].out_channels == 2
    assert bench.metrics["merge_relative_error"] <= 1e-4


def test_merge_that_is_not_exact_fails_the_cell(
    tiny_model: nn.Module, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = BranchedNetwork.merged

    def damaged(self: BranchedNetwork, model: nn.Module) -> nn.Module:
        merged = original(self, model)
        with torch.no_grad():
            merged.head.bias.add_(1.0)
        return merged

    monkeypatch.setattr(BranchedNetwork, "merged", damaged)
    with pytest.raises(SuiteError, match="outputs differ by"):
        branch_alpha(tiny_model, make_bench(), **FEW)


# --------------------------------------------------------------------------------------------------------- the training


def test_training_gets_what_was_asked_for(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    bench = make_bench(Noting)
    branch_alpha(
        tiny_model, bench, schedule="step", size=0.25, epochs=35, lr=0.001, lr_schedule="plateau", weight_decay=1e-4,
        early_stop=5, restarts="0.001,0.01,0.1", restart_epochs="30,20,24",
    )  # fmt: skip
    assert [(each["epochs"], each["lr"]) for each in bench.asked] == [
        (35, 0.001), (35, 0.001), (35, 0.001), (30, 0.001), (20, 0.01), (24, 0.1)
    ]  # fmt: skip
    for each in bench.asked:
        assert (each["schedule"], each["weight_decay"], each["patience"]) == ("plateau", 1e-4, 5)
        assert each["teacher"] is None and each["transform"] is None


def test_early_stopping_is_off_unless_asked_for(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    bench = make_bench(Noting)
    branch_alpha(tiny_model, bench)
    assert {each["patience"] for each in bench.asked} == {None}


@pytest.mark.parametrize("finetune_share", [1.0, 0.1, 0.01])
def test_every_schedule_gets_the_same_total_of_epochs(
    tiny_model: nn.Module, make_bench: MakeBench, finetune_share: float
) -> None:
    """Counted as the workbench counts: rounded to whole epochs of the profile, at least one where any is asked for."""
    spent = {}
    every: list[tuple[Any, dict[str, float]]] = [("step", {}), ("step", {"size": 0.5}), ("exponential", {}),
        ("exponential", {"rate": 0.5}), ("multiplicative", {}), ("time-based", {}), ("cosine", {}), ("jump", {}),
        ("weekly-report-5", {})]  # fmt: skip
    for schedule, options in every:
        bench = make_bench(Noting, finetune_share=finetune_share)
        branch_alpha(copy.deepcopy(tiny_model), bench, schedule=schedule, total_epochs=90, restarts="",
                     restart_epochs="", **options)  # fmt: skip
        epochs = [each["epochs"] for each in bench.asked if each["epochs"] > 0]
        spent[schedule, *options.values()] = sum(max(1, round(each * finetune_share)) for each in epochs)
        alphas_seen = [point["alpha"] for point in bench.curve]
        assert alphas_seen == list(alphas(schedule, **options)), "levels without an epoch are evaluated too"
    assert set(spent.values()) == {max(1, round(90 * finetune_share))}


def test_quick_profile_costs_fifteen_epochs(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    bench = make_bench(Noting, finetune_share=0.1)
    branch_alpha(tiny_model, bench)
    assert sum(round(each["epochs"] * 0.1) for each in bench.asked) == 4 + 1 + 2 + 8


@pytest.mark.parametrize(
    ("options", "merged"),
    [({}, True), ({"merge": "after-restarts"}, False), ({"update_original": "never"}, False)],
)
def test_restarts_train_the_merged_network_unless_told_otherwise(
    tiny_model: nn.Module, make_bench: MakeBench, options: dict[str, Any], merged: bool
) -> None:
    """It is the cheaper one, and computes the same; but only beside its branches can the original stay as it was."""
    bench = make_bench(Noting)
    pruned = branch_alpha(
        tiny_model, bench, schedule="step", size=0.5, restarts="0.1,0.1", restart_epochs="1,1", **options
    )
    assert [each["merged"] for each in bench.asked] == [False, merged, merged]
    assert bench.evaluate(pruned) == bench.curve[-1]["val"]


@pytest.mark.parametrize(
    ("update_original", "learns"),
    [("always", [True] * 10), ("late", [False] * 8 + [True] * 2), ("never", [False] * 10)],
)
def test_original_learns_when_it_should(
    tiny_model: nn.Module, make_bench: MakeBench, update_original: Any, learns: list[bool]
) -> None:
    """Nine levels above zero by steps of a tenth, then one at zero; late is from 0.1 on."""
    bench = make_bench(Noting)
    branch_alpha(tiny_model, bench, update_original=update_original, restarts="0.1", restart_epochs="1")
    assert [each["original_learns"] for each in bench.asked] == learns


def test_original_that_never_learns_is_the_same_after_training(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    """Weights and BatchNorm statistics, after real training at 0.5 and at zero."""
    before = copy.deepcopy(tiny_model.state_dict())
    pruned = branch_alpha(tiny_model, make_bench(), **FEW, update_original="never")
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.state_dict().items())
    norm = pruned.features[1]
    assert not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean)), "the branch did learn"
    assert all(each.requires_grad for each in pruned.parameters())


def test_original_learns_by_default(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    before = copy.deepcopy(tiny_model.state_dict())
    branch_alpha(tiny_model, make_bench(), **FEW)
    assert not torch.equal(tiny_model.features[0].weight, before["features.0.weight"])


def test_best_restart_is_returned(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    """The second of three has the best validation score: its weights come back, whatever the third did."""
    bench = make_bench(Scripted)
    assert isinstance(bench, Scripted)
    bench.scores = [0.9, 0.8, 0.2, 0.5, 0.7, 0.3]  # dense, alpha 0.5, zero untrained, and the restarts
    pruned = branch_alpha(
        tiny_model, bench, schedule="step", size=0.5, restarts="0.001,0.01,0.1", restart_epochs="1,1,1"
    )
    assert pruned.head.bias.unique().item() == 3.0, "trainings: one at 0.5, then the restarts"


def test_logits_regression_has_the_dense_network_as_its_teacher(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        logits = tiny_model.eval()(images)
        bench = make_bench(Noting)
        branch_alpha(tiny_model, bench, **FEW, regress_logits=True)
        for each in bench.asked:
            assert torch.equal(each["teacher"](images), logits)


def test_noise_falls_on_its_share_of_the_images(tiny_model: nn.Module, make_bench: MakeBench) -> None:
    bench = make_bench(Noting)
    branch_alpha(tiny_model, bench, **FEW, noise=0.3, noise_share=0.25)
    images = torch.randn(2000, 3, 8, 8).to(memory_format=torch.channels_last)
    noisy = bench.asked[0]["transform"](images, torch.Generator().manual_seed(0))
    changed = (noisy != images).flatten(1).any(dim=1)
    assert changed.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (noisy - images)[changed].std().item() == pytest.approx(0.3, rel=0.02)
    again = bench.asked[0]["transform"](images, torch.Generator().manual_seed(0))
    assert torch.equal(noisy, again) and noisy.is_contiguous(memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------------------------ the autoencoder


@pytest.fixture
def pictures() -> Workbench:
    """A workbench whose task is to restore 16x16 images, on eight of them."""
    drawn = torch.Generator().manual_seed(0)
    split = Split(torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=drawn), torch.arange(8))
    zero, one = torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 255.0)

    def loss(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return mse_loss(outputs, torch.full_like(outputs, 0.5))

    objective = Objective(
        "loss", False, lambda _: loss, lambda outputs, _: {"loss": (outputs - 0.5).square().mean((1, 2, 3)).sum()}
    )
    return Workbench(registry.task("vgg16-digits"), Recipe(epochs=1, batch_size=4, finetune_share=0.01),
                     Dataset("noise", split, split, split, zero, one, 1, "noise", "0"), objective, seed=0, device="cpu",
                     progress=Progress(silent=True))  # fmt: skip


@pytest.mark.parametrize(
    ("order", "parts"),
    [
        ("simultaneous", [None]),
        ("encoder-first", ["encoder", "decoder"]),
        ("decoder-first", ["decoder", "encoder"]),
    ],
)
def test_every_order_ends_with_one_architecture(pictures: Workbench, order: Any, parts: list[str | None]) -> None:
    torch.manual_seed(0)
    model = registry.build_model("autoencoder", {"width": 0.0625})
    dense = complexity.parameters(model)
    pruned = branch_alpha(model, pictures, channel_ratio=0.5, order=order, **FEW)
    widths = {name: each.out_channels for name, each in pruned.named_modules() if hasattr(each, "out_channels")}
    assert set(widths.values()) == {2, 4, 3} and widths["encoder.level2.conv6"] == 4 and widths["head"] == 3
    assert complexity.parameters(pruned) < 0.35 * dense
    trained = [point for point in pictures.curve if point["alpha"] < 1]
    assert list(dict.fromkeys(point.get("part") for point in trained)) == parts
    for part in parts:
        assert [point["alpha"] for point in trained if point.get("part") == part] == [0.5, 0, 0]
    assert pictures.metrics["merge_relative_error"] <= 1e-4


def test_first_part_is_merged_before_the_second_one_starts(
    pictures: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the decoder falls to zero the encoder is narrow already; the bottleneck is the encoder's."""
    seen: list[dict[str, int]] = []

    class Watching(BranchedNetwork):
        def __init__(self, model: nn.Module, *args: Any, **options: Any) -> None:
            seen.append(
                {name: each.out_channels for name, each in model.named_modules() if hasattr(each, "out_channels")}
            )
            super().__init__(model, *args, **options)

    monkeypatch.setattr(module, "BranchedNetwork", Watching)
    torch.manual_seed(0)
    branch_alpha(registry.build_model("autoencoder", {"width": 0.0625}), pictures, channel_ratio=0.5,
                 order="encoder-first", **FEW)  # fmt: skip
    assert [each["encoder.level2.conv6"] for each in seen] == [8, 4]
    assert [each["decoder.up0.trans0"] for each in seen] == [8, 8]


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"channel_ratio": 0.0}, "share of channels kept"),
        ({"channel_ratio": 1.5}, "share of channels kept"),
        ({"size": 0.0}, "size"),
        ({"schedule": "exponential", "rate": -1.0}, "rate"),
        ({"schedule": "cosine", "levels": 0}, "levels"),
        ({"restarts": "0.1"}, "one for each"),
        ({"restarts": "fast,faster,fastest"}, "restarts=fast"),
        ({"restarts": "0.1,0.1,-1"}, "must be positive"),
        ({"restart_epochs": "1,1,-1"}, "must not be negative"),
        ({"total_epochs": -1}, "must not be negative"),
        ({"epochs": -1}, "must not be negative"),
        ({"lr": 0.0}, "must be positive"),
        ({"noise": -0.1}, "noise"),
        ({"noise_share": 2.0}, "noise_share"),
        ({"order": "encoder-first"}, "no encoder and decoder"),
        ({"spare": "features.99"}, "no layer of that kind or path"),
        ({"spare": "Conv2d"}, "no layer can be given a branch"),
    ],
)
def test_setting_that_makes_no_sense_is_unsupported(
    tiny_model: nn.Module, make_bench: MakeBench, wrong: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unsupported, match=reason):
        branch_alpha(tiny_model, make_bench(), **wrong)
