"""The registered tasks: what each trains, what a profile may change, and that the stand-ins really train."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from subprocess import CompletedProcess
from typing import Any

import pytest

from suite import machine, registry
from suite.tasks import PROFILES

#: What a profile may change of a recipe: its length, and for smoke, which sees a few images, the steps too.
PROFILE_FIELDS = {"quick": {"epochs", "finetune_share"}}
PROFILE_FIELDS["smoke"] = PROFILE_FIELDS["quick"] | {"train_images", "eval_images", "batch_size", "lr"}


def ours() -> list[str]:
    return [name for name in registry.tasks() if not name.startswith("tiny")]


def changed(one: Any, two: Any) -> set[str]:
    return {name for name in vars(one) if getattr(one, name) != getattr(two, name)}


@pytest.mark.parametrize("name", ours())
def test_profiles_change_the_length_of_a_recipe(name: str) -> None:
    recipes = registry.task(name).recipes
    assert set(recipes) == set(PROFILES)
    for profile in ("quick", "smoke"):
        assert changed(recipes[profile], recipes["full"]) <= PROFILE_FIELDS[profile]
        assert recipes[profile].epochs < recipes["full"].epochs
        assert recipes[profile].finetune_share < recipes["full"].finetune_share == 1
    for profile in ("quick", "full"):
        assert recipes[profile].train_images is None and recipes[profile].eval_images is None


@pytest.mark.parametrize("name", ours())
def test_variant_keeps_all_of_its_parent_but_model_options_and_recipe(name: str) -> None:
    task = registry.task(name)
    assert (task.parent is None) == ("+" not in name)
    if task.parent is not None:
        assert name.startswith(task.parent + "+")
        may_differ = {"name", "title", "description", "options", "recipes", "parent", "target", "path"}
        if "part" in task.options:  # one half of the parent's network, with that half's inputs
            may_differ |= {"input_shape"}
        assert changed(task, registry.task(task.parent)) - may_differ == set()


@pytest.mark.parametrize("name", ours())
def test_task_has_a_story_for_its_page(name: str) -> None:
    assert len(registry.task(name).description.split()) > 20


@pytest.mark.parametrize(
    ("name", "target"),
    [("vgg16-cifar10", 0.935), ("resnet18-cifar10", 0.95), ("googlenet-cifar100", 0.775)],
)
def test_dense_targets_are_those_of_the_design(name: str, target: float) -> None:
    assert registry.task(name).target == {"top1": target}


def test_reports_two_trainings_differ_in_their_learning_rate_alone() -> None:
    slow, fast = (registry.task(f"resnet18-cifar10+report-lr{lr}") for lr in ("0.001", "0.01"))
    assert changed(slow, fast) == {"name", "title", "description", "recipes", "target"}
    for profile in PROFILES:
        assert slow.recipes[profile].lr == 0.001
        assert replace(slow.recipes[profile], lr=0.01) == fast.recipes[profile]
    assert fast.recipes["full"].epochs == 80
    assert fast.options["stem_pool"] is True


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("resnet18-cifar10", 555_422_720),
        ("resnet18-cifar10+report-lr0.001", 140_186_624),
        ("resnet18-cifar10+report-lr0.01", 140_186_624),
        ("googlenet-cifar100", 531_976_192),
        ("resnet18-digits", 35_046_656),
        ("googlenet-digits", 33_576_448),
    ],
)
def test_task_compresses_the_network_it_says(name: str, macs: int) -> None:
    from suite import complexity

    task = registry.task(name)
    assert complexity.macs(registry.build_model(task.model, task.options), task.input_shape) == macs


def test_stand_ins_train_in_seconds_from_the_command_line(run_cli: Callable[..., CompletedProcess[str]]) -> None:
    names = ["resnet18-digits", "googlenet-digits"]
    asked = [word for name in names for word in ("--task", name)]
    done = run_cli("run", *asked, "--method", "dense", "--profile", "smoke", "--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["task"], each["status"], each["profile"]) for each in records] == [(n, "ok", "smoke") for n in names]
    for each in records:
        assert each["metrics"]["top1"] == each["metrics"]["dense_top1"] >= 0
        assert each["curve"][0]["train_loss"] < 3
        assert each["notes"]["compress_seconds"] < 60
        assert each["notes"]["training_precision"] == ("bf16" if machine.bf16_is_fast() else "fp32")


@pytest.mark.parametrize("name", ["resnet18-digits", "googlenet-digits"])
def test_stand_in_can_learn_a_batch_by_heart(name: str) -> None:
    from suite import data, datafiles, run
    from suite.evaluate import OBJECTIVES
    from suite.progress import Progress
    from suite.train import train

    task = registry.task(name)
    recipe = replace(task.recipes["smoke"], epochs=20, train_images=64, eval_images=8, augmentation=())
    dataset = data.load("digits", datafiles.default_root(), "cpu").capped(recipe)
    run.seed_everything(0)
    model = registry.build_model(task.model, task.options)
    done = train(model, dataset, recipe, OBJECTIVES[task.objective], seed=0, progress=Progress(silent=True), label=name)
    assert done.curve[0]["train_loss"] > 2.2, "ln 10 is a guess"
    assert done.curve[-1]["train_loss"] < 0.5
