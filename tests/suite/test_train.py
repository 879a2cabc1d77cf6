"""Training: resumable to the last bit, seeded, honest about its cost, clear when it fails."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from suite import complexity
from suite import train as train_module
from suite.errors import SuiteError
from suite.progress import Progress
from suite.tasks import Recipe
from suite.train import Training, Variation, epochs_since_best, learning_rate, plateau_scale, train

QUIET = Progress(silent=True)
OF_VARIATION = {each.name for each in fields(Variation)}


class Interrupted(Progress):
    """Ctrl-C after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(silent=True)
        self.left = steps

    @contextmanager
    def bar(self, label: str, total: int, **_: Any) -> Iterator[Callable[..., None]]:
        def advance(count: int = 1, note: str = "") -> None:
            self.left -= count
            if self.left <= 0:
                raise KeyboardInterrupt

        yield advance


@pytest.fixture
def fit(tiny_ready: Any) -> Callable[..., Training]:
    """`fit(model, ...)`: three epochs of two steps on the tiny task, seed 0, in place."""

    def call(model: nn.Module, **changes: Any) -> Training:
        recipe = replace(tiny_ready.recipe, **{"epochs": 3, **changes.pop("recipe", {})})
        asked: dict[str, Any] = {"seed": 0, "progress": QUIET, "label": "train tiny"} | changes
        asked["variation"] = Variation(**{name: asked.pop(name) for name in list(asked) if name in OF_VARIATION})
        return train(model, tiny_ready.dataset, recipe, tiny_ready.objective, **asked)

    return call


def same(one: nn.Module, two: nn.Module) -> bool:
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# ------------------------------------------------------------------------------------------------------------ resuming


@pytest.mark.parametrize("steps", [1, 3, 4, 6])
def test_interrupted_training_ends_bit_equal_to_an_uninterrupted_one(
    fit: Callable[..., Training], tiny_model: nn.Module, tmp_path: Path, steps: int
) -> None:
    whole, parts, state = copy.deepcopy(tiny_model), copy.deepcopy(tiny_model), tmp_path / "state.pt"
    expected = fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(parts, checkpoint=state, progress=Interrupted(steps))
    assert state.exists() == (steps > 2), "the state is kept after each epoch of two steps"
    resumed = copy.deepcopy(tiny_model)
    if state.exists():
        with torch.no_grad():
            resumed.head.weight.zero_()  # whatever it held, the state replaces it
    done = fit(resumed, checkpoint=state)
    assert same(resumed, whole)
    assert done.curve == expected.curve and done.training_macs == expected.training_macs
    assert not resumed.training


def test_a_slow_keeping_of_the_state_is_a_small_share_of_the_training(
    fit: Callable[..., Training], tiny_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.train.QUICK_KEEPING", 0.0)
    monkeypatch.setattr("suite.train.KEEPING_SHARE", 1e6)
    keep, kept = train_module._keep, []
    monkeypatch.setattr("suite.train._keep", lambda *given: (kept.append(len(given[-1].curve)), keep(*given)))
    done = fit(tiny_model, checkpoint=tmp_path / "state.pt")
    assert len(done.curve) == 3 and kept == [1]


def test_resuming_says_where_it_goes_on(
    fit: Callable[..., Training], tiny_model: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(copy.deepcopy(tiny_model), checkpoint=tmp_path / "state.pt", progress=Interrupted(5))
    fit(tiny_model, checkpoint=tmp_path / "state.pt", progress=Progress())
    assert "going on from epoch 2\n" in capsys.readouterr().err


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def _forget_curve(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    del state["curve"]
    _write(state, path)


def _other_network(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    del state["model"]["head.bias"]
    _write(state, path)


def _write(state: Any, path: Path) -> None:
    """With the hash that belongs to it, as whoever means harm would."""
    torch.save(state, path)
    path.write_bytes(path.read_bytes() + hashlib.sha256(path.read_bytes()).digest())


def _change_a_weight(path: Path) -> None:
    """A state that is whole and fits, and is not that of the training."""
    state = torch.load(path, weights_only=True)
    state["model"]["head.bias"] += 1
    torch.save(state, path)


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "damage",
    [_truncate, _change_a_weight, _forget_curve, _other_network, lambda path: path.write_bytes(b""),
     lambda path: path.write_text("text"),
     lambda path: _write(Payload(path.with_name("ran")), path)],
    ids=["truncated", "changed weight", "lacks its curve", "other network", "empty", "text", "pickle"],
)  # fmt: skip
def test_damaged_state_starts_again_with_a_line_on_stderr(
    fit: Callable[..., Training], tiny_model: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], Any],
) -> None:  # fmt: skip
    whole, state = copy.deepcopy(tiny_model), tmp_path / "state.pt"
    expected = fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(copy.deepcopy(tiny_model), checkpoint=state, progress=Interrupted(5))
    damage(state)
    again = copy.deepcopy(tiny_model)
    done = fit(again, checkpoint=state, progress=Progress())
    assert same(again, whole)
    assert done.curve == expected.curve
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if "state.pt is damaged" in line and "starts again" in line]) == 1
    assert not (tmp_path / "ran").exists(), "nothing in the file was run"


# ------------------------------------------------------------------------------------------------------------- training


def test_training_depends_on_the_seed_and_not_on_other_random_numbers(
    fit: Callable[..., Training], tiny_model: nn.Module
) -> None:
    one, two, other = (copy.deepcopy(tiny_model) for _ in range(3))
    torch.manual_seed(1)
    fit(one)
    torch.manual_seed(2)
    fit(two)
    fit(other, seed=1)
    assert same(one, two)
    assert not same(one, other)
    assert not same(one, tiny_model)


def test_each_epoch_has_a_shuffle_of_its_own(fit: Callable[..., Training], tiny_model: nn.Module) -> None:
    seen: list[tuple[int, ...]] = []

    def watch(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(targets.tolist()))
        return outputs.square().mean()

    fit(tiny_model, loss=watch)
    epochs = [seen[start] + seen[start + 1] for start in (0, 2, 4)]
    assert len(set(epochs)) == 3
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 1, "every image once"


def test_curve_and_macs_state_what_was_done(fit: Callable[..., Training], tiny_model: nn.Module) -> None:
    done = fit(tiny_model)
    assert [point["step"] for point in done.curve] == [1, 2, 3]
    assert all(0 <= point["val"] <= 1 and point["train_loss"] > 0 for point in done.curve)
    assert done.training_macs == 3 * complexity.macs(tiny_model, (3, 32, 32)) * 64 * 3
    assert done.seconds > 0


def test_frozen_parameters_stay(fit: Callable[..., Training], tiny_model: nn.Module) -> None:
    tiny_model.head.requires_grad_(False)
    before = tiny_model.head.weight.clone()
    fit(tiny_model)
    assert torch.equal(tiny_model.head.weight, before)


def test_a_loss_of_ones_own_replaces_the_tasks(fit: Callable[..., Training], tiny_model: nn.Module) -> None:
    def seven(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        assert outputs.dtype == torch.float32 and outputs.shape == (32, 10) and targets.shape == (32,)
        return outputs.sum() * 0 + 7

    assert [point["train_loss"] for point in fit(tiny_model, loss=seven).curve] == [7.0] * 3


@pytest.mark.parametrize("wrong", [{"recipe": {"lr": 1e30}}, {"loss": lambda outputs, _: outputs.sum() * float("nan")}])
def test_loss_that_is_not_finite_is_a_clear_error(
    fit: Callable[..., Training], tiny_model: nn.Module, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(SuiteError, match=r"train tiny: the loss is (nan|inf) in epoch \d; lower its lr"):
        fit(tiny_model, checkpoint=tmp_path / "state.pt", **wrong)


def test_learning_rate_climbs_to_its_peak_and_falls_to_zero() -> None:
    triangular = Recipe(epochs=1, lr=0.4, schedule="triangular", warmup=0.2)
    assert [learning_rate(triangular, at) for at in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.2, 0.4, 0.2, 0])
    cosine = replace(triangular, schedule="cosine")
    assert [learning_rate(cosine, at) for at in (0.1, 0.2, 0.6, 1)] == pytest.approx([0.2, 0.4, 0.2, 0])
    assert learning_rate(cosine, 0.4) == pytest.approx(0.4 * (1 + 2**-0.5) / 2)
    constant = replace(triangular, schedule="constant")
    assert [learning_rate(constant, at) for at in (0, 0.5, 1)] == [0.4] * 3
    assert learning_rate(replace(triangular, warmup=0), 0) == pytest.approx(0.4)


def test_plateau_divides_the_rate_after_five_epochs_without_progress() -> None:
    assert plateau_scale([]) == 1
    assert plateau_scale([0.1, 0.2, 0.2, 0.1, 0.2, 0.2]) == 1
    assert plateau_scale([0.1, 0.2, 0.2, 0.1, 0.2, 0.2, 0.2]) == pytest.approx(0.1)
    assert plateau_scale([0.2] * 11) == pytest.approx(0.01)
    assert plateau_scale([-3.0, -2.0, -1.0, -0.5, -0.4, -0.3, -0.2]) == 1, "a falling loss is progress"


def test_plateau_schedule_lowers_the_steps_of_a_real_training(fit: Callable[..., Training]) -> None:
    """A network whose answer never changes does not improve: from the seventh epoch on it moves a tenth as far."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()[0] = -1
    at: list[float] = []

    def first_bias(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        at.append(float(model[1].bias[0]))
        return outputs.mean(dim=0)[0]

    steady = {"schedule": "plateau", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.01, "epochs": 8}
    fit(model, loss=first_bias, recipe=steady)
    moved = [before - after for before, after in itertools.pairwise(at)]
    assert moved[:12] == pytest.approx([0.01] * 12, rel=1e-3)
    assert moved[12:] == pytest.approx([0.001] * 3, rel=1e-3)


def test_epochs_since_best() -> None:
    assert [epochs_since_best(gains) for gains in ([], [1.0], [1, 2], [2, 1, 0], [1, 3, 3, 3])] == [0, 0, 0, 2, 2]


def test_patience_stops_early_and_keeps_the_best_weights(fit: Callable[..., Training], tiny_model: nn.Module) -> None:
    """A loss that ruins the network: the first epoch is the best, or as good as any later one."""

    def ruin(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -torch.nn.functional.cross_entropy(outputs, targets).clamp(max=20)

    stopped, best, last = (copy.deepcopy(tiny_model) for _ in range(3))
    assert len(fit(stopped, loss=ruin, patience=2, recipe={"epochs": 12}).curve) < 12
    curve = fit(best, loss=ruin, keep_best=True, recipe={"epochs": 4}).curve
    fit(last, loss=ruin, recipe={"epochs": 4})
    assert not same(best, last) or curve[-1]["val"] == max(point["val"] for point in curve)
    assert not best.training


def test_teacher_gives_the_targets(fit: Callable[..., Training], tiny_model: nn.Module) -> None:
    teacher = copy.deepcopy(tiny_model).eval()
    seen: list[torch.Tensor] = []

    def watch(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(targets)
        return torch.nn.functional.mse_loss(outputs, targets)

    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    fit(tiny_model, teacher=teacher, loss=watch)
    assert all(each.shape == (32, 10) and each.dtype == torch.float32 and not each.requires_grad for each in seen)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    done = fit(tiny_model, teacher=teacher, recipe={"epochs": 6})
    assert done.training_macs == 4 * complexity.macs(tiny_model, (3, 32, 32)) * 64 * 6, "the teacher's passes too"
    losses = [point["train_loss"] for point in done.curve]
    assert losses[-1] < losses[0], "without a loss of its own: mean squared difference to the teacher"


def test_transform_changes_what_the_network_sees_and_is_seeded(
    fit: Callable[..., Training], tiny_model: nn.Module
) -> None:
    def noisy(inputs: torch.Tensor, drawn: torch.Generator) -> torch.Tensor:
        return inputs + torch.randn(inputs.shape, generator=drawn)

    one, two, plain = (copy.deepcopy(tiny_model) for _ in range(3))
    fit(one, transform=noisy)
    fit(two, transform=noisy)
    fit(plain)
    assert same(one, two)
    assert not same(one, plain)


def test_without_autocast_outputs_are_computed_in_float32(
    fit: Callable[..., Training], tiny_model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.train.has_fast_bf16", lambda device: True)
    seen: list[torch.dtype] = []
    tiny_model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    fit(tiny_model)
    assert torch.bfloat16 in seen
    seen.clear()
    fit(tiny_model, autocast=False)
    assert set(seen) == {torch.float32}
