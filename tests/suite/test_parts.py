"""The data, network and objective of a task file are tried before anything is recorded; each fault is one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from suite import data, datafiles, invocation, registry, run
from suite.errors import DataError, SuiteError, TaskError

Install = Callable[..., Path]


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def prepare(install: Install, own_task: str, tmp_path: Path) -> Callable[..., run.Prepared]:
    """`prepare(old, new)`: what a run prepares of the good task file with one text replaced."""

    def call(old: str = "", new: str = "", *, x: np.ndarray | None = None) -> run.Prepared:
        assert old in own_task
        install(tasks={"theirs": own_task.replace(old, new, 1) if old else own_task})
        np.savez(tmp_path / "theirs.npz", x=images(30, 4, 4, 2) if x is None else x)
        data.load.cache_clear()
        return run.prepare("theirs", "smoke", invocation.Places(tmp_path, tmp_path, tmp_path), "cpu")

    return call


def test_task_of_two_channels_is_split_and_normalised_like_ours(prepare: Callable[..., run.Prepared]) -> None:
    ready = prepare()
    assert ready.dataset.mean.shape == (1, 2, 1, 1) and ready.dataset.train.images.shape[1:] == (2, 4, 4)
    assert (len(ready.dataset.train), len(ready.dataset.val), len(ready.dataset.test)) == (24, 6, 6)
    assert ready.dataset.train.targets.dtype == torch.int64 and len(ready.dataset.sha256) == 64
    assert (ready.objective.headline, ready.objective.higher_is_better) == ("regret", False)
    found = ready.objective.sums(torch.eye(3), torch.tensor([0, 1, 1]))
    assert {name: int(value) for name, value in found.items()} == {"regret": 1, "top1": 2}


def test_loss_without_one_of_its_own_is_that_of_classification(prepare: Callable[..., run.Prepared]) -> None:
    ready = prepare()
    outputs, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    loss = ready.objective.loss(ready.recipe)(outputs, targets)
    assert torch.equal(loss, torch.nn.functional.cross_entropy(outputs, targets))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("    net.head = net.last\n", "", r"has no `head`: give its last layer that name"),
        ("    return net\n", "    return 3\n", r"model 'their-net' is a int: return a torch\.nn\.Module"),
        ("nn.Conv2d(2,", "nn.Conv2d(3,", r"model 'their-net' with options .* fails on \(2, 2, 4, 4\): RuntimeError"),
        ("return self.last(", "return self.last()(", r"fails on .*TypeError"),
        ("    return Arrays(", "    return None\n    return Arrays(", r"data 'their-data' is a NoneType: return suite"),
        ("np.arange(30) % 3", "np.arange(30) % 4", r"y_train holds the label 3; their-data has 0 to 2"),
        ("np.arange(30) % 3", "np.arange(29) % 3", r"x_train has 30 images, y_train 29 labels"),
        ("np.arange(30) % 3", "np.ones(30)", r"y_train must be \(N,\) whole numbers, not \(30,\) float64"),
        ("np.arange(30) % 3", "[0, 1, 2] * 10", r"y_train is a list: give a numpy array"),
        ("np.zeros((6, 4, 4, 2), np.uint8)", "np.zeros((6, 4, 4, 2))", r"x_test must be .* float64: scale"),
        ("np.zeros((6, 4, 4, 2)", "np.zeros((6, 5, 4, 2)", r"x_train are \(4, 4, 2\), of x_test \(5, 4, 2\)"),
        ('["x"]', '["y"]', r"theirs\.py:\d+: data 'their-data' cannot be read: KeyError"),
        ('"top1": right}', '"hits": right}', r"gives regret, hits: return a dict with what it declares, regret"),
        ('"regret": len(targets) - right', '"regret": right.expand(2)', r"gives \(2,\) as regret: return the"),
        ('"top1"))\n', '"top1"), loss=lambda outputs, targets: outputs)\n', r"return one finite number"),
        ("outputs.argmax(1)", "outputs.argmax(7)", r"objective 'their-objective' fails on outputs \(2, 3\)"),
    ],
)  # fmt: skip
def test_fault_is_one_line_that_names_the_file_and_the_remedy(
    prepare: Callable[..., run.Prepared], old: str, new: str, reason: str
) -> None:
    with pytest.raises((TaskError, DataError)) as caught:
        prepare(old, new)
    assert re.search(reason, str(caught.value)) and "\n" not in str(caught.value)


def test_missing_file_is_named_with_its_authors_remedy(install: Install, own_task: str, tmp_path: Path) -> None:
    install(tasks={"theirs": own_task})
    assert not datafiles.is_there("their-data", tmp_path) and "their-data" in datafiles.names()
    places = invocation.Places(tmp_path, tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"theirs\.npz missing; ask them for theirs\.npz"):
        run.prepare("theirs", "smoke", places, "cpu")
    with pytest.raises(DataError, match="ask them"):
        datafiles.download("their-data", tmp_path)
    (tmp_path / "theirs.npz").touch()
    assert datafiles.is_there("their-data", tmp_path)


def test_network_of_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"unknown model 'their-net'.*in a package that is not installed here"):
        registry.build_model("their-net", {})
