"""Data sets: the same pixels whatever file they come from, one fixed split, damage told in a line."""

from __future__ import annotations

import hashlib
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suite import data, datafiles
from suite.errors import DataError
from suite.tasks import Recipe

Arrays = dict[str, np.ndarray]


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def arrays(*, classes: int = 10, train: int = 200, test: int = 50) -> Arrays:
    return {
        "x_train": pixels(train, 0), "y_train": (np.arange(train) % classes).astype(np.uint8),
        "x_test": pixels(test, 1), "y_test": (np.arange(test) % classes).astype(np.uint8),
    }  # fmt: skip


def write_torchvision(root: Path, name: str, found: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that torchvision unpacks, with its own checksums replaced by those of these files."""
    cls: Any = datafiles.torchvision_class(name)
    folder = root / cls.base_folder
    folder.mkdir(parents=True)
    key = "labels" if name == "cifar10" else "fine_labels"
    lists: dict[str, list[list[str]]] = {}
    for attribute, part in (("train_list", "train"), ("test_list", "test")):
        names = [each[0] for each in getattr(cls, attribute)]
        lists[attribute] = []
        for file, images, labels in zip(names, np.array_split(found[f"x_{part}"], len(names)),
                                        np.array_split(found[f"y_{part}"], len(names)), strict=True):  # fmt: skip
            flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
            content = pickle.dumps({"data": flat, key: [int(label) for label in labels]})
            (folder / file).write_bytes(content)
            lists[attribute].append([file, hashlib.md5(content).hexdigest()])
    meta = pickle.dumps({cls.meta["key"]: [str(number) for number in range(100)]})
    (folder / cls.meta["filename"]).write_bytes(meta)
    monkeypatch.setattr(cls, "meta", cls.meta | {"md5": hashlib.md5(meta).hexdigest()})
    for attribute, value in lists.items():
        monkeypatch.setattr(cls, attribute, value)


# ------------------------------------------------------------------------------------------------------------- sources


def test_npz_is_read_as_it_is(tmp_path: Path) -> None:
    found = arrays()
    np.savez(tmp_path / "cifar10.npz", **found)
    dataset = data.load("cifar10", tmp_path, "cpu")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (160, 40, 50)
    assert np.array_equal(dataset.test.images.permute(0, 2, 3, 1).numpy(), found["x_test"])
    assert dataset.test.targets.tolist() == found["y_test"].tolist()
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.images.is_contiguous(memory_format=torch.channels_last)
    assert dataset.classes == 10


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_npz_and_torchvision_give_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, classes: int
) -> None:
    found = arrays(classes=classes, train=1000)
    (tmp_path / "npz").mkdir()
    np.savez_compressed(tmp_path / "npz" / f"{name}.npz", **found)
    write_torchvision(tmp_path / "torchvision", name, found, monkeypatch)
    assert datafiles.is_there(name, tmp_path / "npz") and datafiles.is_there(name, tmp_path / "torchvision")
    one, two = (data.load(name, tmp_path / each, "cpu") for each in ("npz", "torchvision"))
    assert one.sha256 == two.sha256
    assert one.source != two.source
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(one, part).images, getattr(two, part).images)
        assert torch.equal(getattr(one, part).targets, getattr(two, part).targets)
    found["x_test"][7, 3, 2, 1] ^= 1
    (tmp_path / "other").mkdir()
    np.savez(tmp_path / "other" / f"{name}.npz", **found)
    assert data.load(name, tmp_path / "other", "cpu").sha256 != one.sha256, "one pixel makes other data"


def test_torchvision_folder_that_is_damaged_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_torchvision(tmp_path, "cifar10", arrays(), monkeypatch)
    damaged = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"cifar10 in .* is damaged.*python -m suite download cifar10") as caught:
        data.load("cifar10", tmp_path, "cpu")
    assert "\n" not in str(caught.value)


def test_source_names_the_file_but_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "Jane Doe's data"
    folder.mkdir()
    np.savez(folder / "cifar10.npz", **arrays())
    assert data.load("cifar10", folder, "cpu").source == "cifar10.npz (npz)"


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_set_names_both_ways_to_get_it(tmp_path: Path, name: str) -> None:
    assert not datafiles.is_there(name, tmp_path)
    with pytest.raises(DataError) as caught:
        data.load(name, tmp_path, "cpu")
    message = str(caught.value)
    assert f"python -m suite download {name} --data {tmp_path}" in message
    assert f"{name}.npz" in message and "x_train, y_train, x_test, y_test" in message
    assert "\n" not in message


def _changed(**changes: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        found = arrays() | changes
        np.savez(path, **{name: array for name, array in found.items() if array is not None})

    return write


def _cut(path: Path) -> None:
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:5000])


def _single_array(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, arrays()["x_train"])


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing key": (_changed(y_test=None), "lacks an array: .*y_test"),
    "cut off": (_cut, "is damaged"),
    "empty file": (lambda path: path.write_bytes(b""), "is damaged"),
    "text": (lambda path: path.write_text("hello"), "is damaged"),
    "one array instead of four": (_single_array, "x_train, y_train, x_test, y_test"),
    "a folder": (lambda path: path.mkdir(), "is damaged"),
    "objects": (_changed(y_test=np.array([{}] * 50, dtype=object)), "is damaged"),
    "no channels": (_changed(x_train=pixels(200, 0)[..., 0]), r"x_train must be \(N, H, W, 3\) uint8"),
    "channels first": (_changed(x_train=pixels(200, 0).transpose(0, 3, 1, 2)), r"x_train must be \(N, H, W, 3\) uint8"),
    "floats": (_changed(x_test=pixels(50, 0) / 255), "x_test must be .* uint8"),
    "fewer labels": (_changed(y_train=np.zeros(199, np.uint8)), "200 images, y_train 199 labels"),
    "label columns": (_changed(y_train=np.zeros((200, 1), np.uint8)), r"y_train must be \(N,\) whole numbers"),
    "one label": (_changed(y_train=np.uint8(0)), r"y_train must be \(N,\) whole numbers"),
    "label text": (_changed(y_test=np.array(["cat"] * 50)), r"y_test must be \(N,\) whole numbers"),
    "label fractions": (_changed(y_test=np.full(50, 0.5)), r"y_test must be \(N,\) whole numbers"),
    "no images": (_changed(x_test=pixels(0, 0), y_test=np.zeros(0, np.uint8)), "x_test has 0 images"),
    "label too large": (_changed(y_train=np.full(200, 10)), "the label 10; cifar10 has 0 to 9"),
    "label negative": (_changed(y_test=np.full(50, -1)), "the label -1; cifar10 has 0 to 9"),
    "too few to validate": (
        _changed(x_train=pixels(4, 0), y_train=np.zeros(4, np.uint8)), "4 training images are too few"),
    "test images of another size": (
        lambda path: np.savez(path, **{**arrays(), "x_test": np.zeros((50, 28, 28, 3), np.uint8)}),
        r"x_train are \(32, 32, 3\), of x_test \(28, 28, 3\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_npz_is_one_line_that_names_the_file(tmp_path: Path, kind: str) -> None:
    write, reason = DAMAGE[kind]
    write(tmp_path / "cifar10.npz")
    with pytest.raises(DataError, match=reason) as caught:
        data.load("cifar10", tmp_path, "cpu")
    assert str(tmp_path / "cifar10.npz") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_bytes_are_data_errors_or_harmless(tmp_path: Path) -> None:
    small = {name: array[:30] for name, array in arrays().items()}
    np.savez_compressed(tmp_path / "whole.npz", **small)
    whole = (tmp_path / "whole.npz").read_bytes()
    drawn, refused = random.Random(0), 0
    for number in range(150):
        damaged = bytearray(whole)
        # the heads of the members and the directory at the end matter most
        at = drawn.choice(
            [drawn.randrange(len(damaged)), drawn.randrange(200), len(damaged) - 1 - drawn.randrange(300)]
        )
        damaged[at] ^= 1 << drawn.randrange(8)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "cifar10.npz").write_bytes(damaged)
        try:
            data.load("cifar10", folder, "cpu")
        except DataError:
            refused += 1
    assert refused > 75


def test_download_that_fails_is_a_data_error_with_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datafiles.torchvision_class("cifar10"), "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(DataError, match=r"cifar10 could not be fetched.*put cifar10.npz into"):
        datafiles.download("cifar10", tmp_path)
    for name in datafiles.EMBEDDED:
        assert "nothing to fetch" in datafiles.download(name, tmp_path)


def test_data_root_is_the_variable_else_a_cache_folder() -> None:
    assert datafiles.default_root({"PRUNEMARK_DATA": "/d"}) == Path("/d")
    assert datafiles.default_root({"XDG_CACHE_HOME": "/c"}) == Path("/c/prunemark/data")
    assert datafiles.default_root({}) == Path.home() / ".cache/prunemark/data"


# -------------------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(("classes", "share"), [(10, 250), (100, 25)])
def test_validation_is_2500_stratified_images_of_a_cifar_sized_set(classes: int, share: int) -> None:
    labels = np.random.default_rng(1).permutation(np.arange(50_000) % classes)
    mask = data.stratified(labels, 2_500)
    assert mask.sum() == 2_500
    assert set(np.bincount(labels[mask])) == {share}


def test_split_is_the_same_whatever_was_seeded() -> None:
    labels = np.arange(1000) % 10
    np.random.seed(1)
    torch.manual_seed(1)
    one = data.stratified(labels, 100)
    np.random.seed(2)
    torch.manual_seed(2)
    assert np.array_equal(one, data.stratified(labels, 100))


def test_split_takes_each_training_image_once(tmp_path: Path) -> None:
    found = arrays()
    np.savez(tmp_path / "cifar10.npz", **found)
    dataset = data.load("cifar10", tmp_path, "cpu")
    both = torch.cat([dataset.train.images, dataset.val.images]).permute(0, 2, 3, 1).contiguous().numpy()
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in found["x_train"])
    assert torch.bincount(dataset.val.targets).tolist() == [4] * 10


def test_digits_need_no_file() -> None:
    nowhere = Path("/nowhere")
    assert datafiles.is_there("digits", nowhere)
    dataset = data.load("digits", nowhere, "cpu")
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 1797
    assert abs(len(dataset.test) - 359) <= 5 and abs(len(dataset.val) - 180) <= 5
    assert dataset.train.images.shape[1:] == (3, 32, 32)
    assert int(dataset.train.images.max()) > 200 and int(dataset.train.images.min()) == 0


def test_normalised_training_images_have_zero_mean_and_unit_variance(tmp_path: Path) -> None:
    np.savez(tmp_path / "cifar10.npz", **arrays())
    dataset = data.load("cifar10", tmp_path, "cpu")
    inputs = dataset.normalise(dataset.train.images)
    assert inputs.dtype == torch.float32 and inputs.is_contiguous(memory_format=torch.channels_last)
    assert inputs.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (inputs.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-4


def test_smoke_caps_the_data_and_leaves_the_rest_alone() -> None:
    whole = data.load("digits", Path("/nowhere"), "cpu")
    capped = whole.capped(Recipe(epochs=1, train_images=32, eval_images=16))
    assert (len(capped.train), len(capped.val), len(capped.test)) == (32, 16, 16)
    assert capped.sha256 == whole.sha256 and torch.equal(capped.mean, whole.mean)
    assert len(whole.capped(Recipe(epochs=1)).train) == len(whole.train)


# ------------------------------------------------------------------------------------------------------------- batches


@pytest.fixture
def numbered() -> data.Dataset:
    """70 images, each of one grey level, which is its label."""
    levels = torch.arange(70)
    images = levels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    split = data.Split(images, levels)
    one = torch.ones(1, 3, 1, 1)
    return data.Dataset("n", split, split, split, torch.zeros(1, 3, 1, 1), one, 70, "here", "0")


def test_batches_in_order_cover_the_split(numbered: data.Dataset) -> None:
    found = list(data.batches(numbered, numbered.train, 32))
    assert [len(targets) for _, targets in found] == [32, 32, 6]
    assert torch.cat([targets for _, targets in found]).tolist() == list(range(70))


def test_shuffled_batches_keep_targets_with_images_and_drop_the_ragged_end(numbered: data.Dataset) -> None:
    drawn = torch.Generator().manual_seed(0)
    found = list(data.batches(numbered, numbered.train, 32, shuffle=drawn, augmentation=("flip", "crop2")))
    assert [len(targets) for _, targets in found] == [32, 32]
    targets = torch.cat([targets for _, targets in found])
    assert len(set(targets.tolist())) == 64 and targets.tolist() != sorted(targets.tolist())
    for inputs, labels in found:
        assert torch.equal(inputs[:, 0, 0, 0], labels.float())


def test_split_smaller_than_a_batch_is_one_batch(numbered: data.Dataset) -> None:
    few = replace(numbered, train=numbered.train.first(5))
    (only,) = data.batches(few, few.train, 32, shuffle=torch.Generator())
    assert len(only[1]) == 5


def test_shuffles_depend_on_the_generator_alone(numbered: data.Dataset) -> None:
    def order(seed: int, noise: int) -> list[int]:
        torch.manual_seed(noise)
        shuffle = torch.Generator().manual_seed(seed)
        return torch.cat(
            [targets for _, targets in data.batches(numbered, numbered.train, 7, shuffle=shuffle)]
        ).tolist()

    assert order(1, 1) == order(1, 2)
    assert order(1, 1) != order(2, 1)
