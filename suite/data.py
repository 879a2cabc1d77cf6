"""Data sets as uint8 tensors on the device: sources, checksums, splits, batches."""

from __future__ import annotations

import functools
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from suite import datafiles, frames, registry
from suite.augmentation import AUGMENTATIONS
from suite.errors import DataError, said
from suite.frames import Images, Pictures
from suite.tasks import Recipe

VALIDATION_SEED = 20_210_324  # one split for all seeds; the date on the paper


@dataclass(frozen=True)
class Split:
    """`images` (N, C, H, W) uint8 in channels_last order, `targets` (N,) int64, both on one device.

    `frames` (N, C, H, W') are the wider pictures of which `images` are the middles, where there are any: the
    augmentation `window` cuts its samples from them. In an adversarial task they are the pictures to be imitated, and
    `images` what its network takes.
    """

    images: torch.Tensor
    targets: torch.Tensor
    frames: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def first(self, count: int | None) -> Split:
        if count is None:
            return self
        wider = None if self.frames is None else self.frames[:count]
        return Split(self.images[:count], self.targets[:count], wider)


@dataclass(frozen=True)
class Dataset:
    """A data set on a device. `mean` and `std` (1, C, 1, 1) are of the training images, on the 0..255 scale.

    `sha256` is over the pixels and labels as published (train, then test), whatever file they came from.
    Where `classes` is 0 there are no labels: the targets of a batch are its inputs, pixels from 0 to 1 (`mean` 0, `std`
    255), a split's `targets` number its images, and `sha256` is over the pixels of train, val and test.
    """

    name: str
    train: Split
    val: Split
    test: Split
    mean: torch.Tensor
    std: torch.Tensor
    classes: int
    source: str
    sha256: str

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (N, C, H, W) -> float32, less `mean` and divided by `std`, channels_last."""
        scaled = (images.float() - self.mean) / self.std
        return scaled.contiguous(memory_format=torch.channels_last)

    def capped(self, recipe: Recipe) -> Dataset:
        """The data set with no more images than a smoke recipe allows."""
        return replace(
            self,
            train=self.train.first(recipe.train_images),
            val=self.val.first(recipe.eval_images),
            test=self.test.first(recipe.eval_images),
        )


@dataclass(frozen=True)
class Arrays:
    """What a source delivers: images (N, H, W, C) uint8 and labels (N,), 0 to `classes` - 1, in the published order.

    About `validation` of the training images, at most a fifth, are held out, the same share of each class. `source`
    says in words where the data come from.
    """

    x_train: Images
    y_train: npt.NDArray[np.int64]
    x_test: Images
    y_test: npt.NDArray[np.int64]
    classes: int
    validation: int
    source: str


def describe(name: str, root: Path) -> str:
    """What a data set that is there has in it, in words; DataError where it cannot be read."""
    found = load(name, root, "cpu")
    parts = (("training", found.train), ("validation", found.val), ("test", found.test))
    counted = [f"{len(split):,} {what}" for what, split in parts]
    return f"{', '.join(counted[:-1])} and {counted[-1]} images"


@functools.lru_cache(maxsize=2)
def load(name: str, root: Path, device: str) -> Dataset:
    """The data set `name` on `device`; DataError says which file is missing or damaged, and both ways to get it."""
    part = registry.outside("data", name)
    if part is not None:
        from suite import parts  # which needs the types of this module

        found = parts.read_data(part, root)
    else:
        found = SOURCES[name](name, root)
    if isinstance(found, Pictures):
        return _unlabelled(name, found, device)
    _check(name, found, channels=3 if part is None else found.x_train.shape[3])
    return _split(name, found, device)


def _check(name: str, arrays: Arrays, *, channels: int) -> None:
    for part in ("train", "test"):
        images, labels = getattr(arrays, f"x_{part}"), getattr(arrays, f"y_{part}")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels:
            raise DataError(f"{arrays.source}: x_{part} must be (N, H, W, 3) uint8, not {images.shape} {images.dtype}")
        if images.shape[1:] != arrays.x_train.shape[1:]:
            raise DataError(
                f"{arrays.source}: images of x_train are {arrays.x_train.shape[1:]}, of x_{part} {images.shape[1:]}"
            )
        if len(images) != len(labels) or len(images) == 0:
            raise DataError(f"{arrays.source}: x_{part} has {len(images)} images, y_{part} {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= arrays.classes:
            wrong = int(labels.max() if labels.max() >= arrays.classes else labels.min())
            raise DataError(f"{arrays.source}: y_{part} holds the label {wrong}; {name} has 0 to {arrays.classes - 1}")


def _split(name: str, arrays: Arrays, device: str) -> Dataset:
    digest = hashlib.sha256()
    for array in (arrays.x_train, arrays.y_train, arrays.x_test, arrays.y_test):
        digest.update(np.ascontiguousarray(array).data)
    held_out = stratified(arrays.y_train, min(arrays.validation, len(arrays.y_train) // 5))
    if not held_out.any():
        raise DataError(f"{arrays.source}: {len(arrays.y_train)} training images are too few to hold some out")
    channels = arrays.x_train.shape[3]
    pixels = arrays.x_train[~held_out].reshape(-1, channels)
    mean = torch.tensor([pixels[:, c].mean(dtype=np.float64) for c in range(channels)], dtype=torch.float32)
    std = torch.tensor([pixels[:, c].std(dtype=np.float64) for c in range(channels)], dtype=torch.float32)

    def split(images: Images, labels: npt.NDArray[np.int64]) -> Split:
        # (N, H, W, C) seen as (N, C, H, W) is channels_last already: no copy
        return Split(torch.from_numpy(images).to(device).permute(0, 3, 1, 2), torch.from_numpy(labels).to(device))

    return Dataset(
        name=name,
        train=split(arrays.x_train[~held_out], arrays.y_train[~held_out]),
        val=split(arrays.x_train[held_out], arrays.y_train[held_out]),
        test=split(np.ascontiguousarray(arrays.x_test), arrays.y_test),
        mean=mean.view(1, -1, 1, 1).to(device),
        std=std.clamp_min(1.0).view(1, -1, 1, 1).to(device),
        classes=arrays.classes,
        source=_without_folder(arrays.source),
        sha256=digest.hexdigest(),
    )


def _unlabelled(name: str, found: Pictures, device: str) -> Dataset:
    digest = hashlib.sha256()
    for pictures in (found.train, found.val, found.test):
        digest.update(np.ascontiguousarray(pictures).data)

    def split(pictures: Images) -> Split:
        whole = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
        height, width = whole.shape[2:]
        left = (width - height) // 2
        middles = whole[..., left : left + height]  # a view
        return Split(middles, torch.arange(len(whole), device=device), whole if width > height else None)

    return Dataset(
        name=name,
        train=split(found.train),
        val=split(found.val),
        test=split(found.test),
        mean=torch.zeros(1, 3, 1, 1, device=device),
        std=torch.full((1, 3, 1, 1), 255.0, device=device),
        classes=0,
        source=found.source,
        sha256=digest.hexdigest(),
    )


def _without_folder(source: str) -> str:
    return re.sub(r".*[/\\]", "", source, flags=re.DOTALL)


def stratified(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.bool_]:
    """A mask of about `count` samples, the same share of each class, the same for every seed."""
    drawn = np.random.default_rng(VALIDATION_SEED)
    mask = np.zeros(len(labels), dtype=bool)
    share = count / len(labels)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mask[drawn.permutation(members)[: round(len(members) * share)]] = True
    return mask


# ------------------------------------------------------------------------------------------------------------- sources


def _cifar(name: str, root: Path) -> Arrays:
    classes = {"cifar10": 10, "cifar100": 100}[name]
    archive = root / f"{name}.npz"
    folder = root / datafiles.FOLDERS[name][0]
    if archive.exists():
        parts = _read_npz(archive)
        source = f"{archive} (npz)"
    elif folder.exists():
        parts = _read_torchvision(name, root)
        source = f"{folder} (torchvision, MD5 checked)"
    else:
        raise DataError(
            f"{name} is not in {root}: get it with 'python -m suite download {name} --data {root}', "
            f"or put {name}.npz there (keys x_train, y_train, x_test, y_test; uint8, images (N, 32, 32, 3))"
        )
    x_train, y_train, x_test, y_test = parts
    for part, labels in (("train", y_train), ("test", y_test)):
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(f"{source}: y_{part} must be (N,) whole numbers, not {labels.shape} {labels.dtype}")
    return Arrays(x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64), classes, 2_500, source)


def _read_npz(path: Path) -> list[npt.NDArray[np.uint8]]:
    try:
        archive = np.load(path)
        if isinstance(archive, np.ndarray):
            raise KeyError("it is a single one")
        with archive:
            return [np.asarray(archive[key]) for key in ("x_train", "y_train", "x_test", "y_test")]
    except KeyError as error:
        raise DataError(f"{path} lacks an array: {error.args[0]}; it needs x_train, y_train, x_test, y_test") from error
    except Exception as error:  # numpy, zipfile and zlib each have their own for a damaged file
        reason = said(error)
        if "pickle" in str(error):  # numpy advises to load it all the same
            reason = "[Python objects, which are never loaded]" if zipfile.is_zipfile(path) else "[no zip archive]"
        raise DataError(f"{path} is damaged: delete it and fetch it again {reason}") from error


def _read_torchvision(name: str, root: Path) -> list[npt.NDArray[np.uint8]]:
    parts: list[npt.NDArray[np.uint8]] = []
    for train in (True, False):
        try:
            found = datafiles.torchvision_class(name)(root, train=train, download=False)
        except Exception as error:  # torchvision raises RuntimeError, pickle errors and more for damaged files
            raise DataError(
                f"{name} in {root} is damaged: delete it and fetch it again with "
                f"'python -m suite download {name} --data {root}' {said(error)}"
            ) from error
        parts += [found.data, np.asarray(found.targets)]
    return parts


def _digits(name: str, root: Path) -> Arrays:
    """scikit-learn's 1,797 handwritten digits, 8x8 in 17 grey levels, upsampled to 32x32x3; every fifth one is test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)  # (N, 1, 8, 8)
    large = interpolate(small, size=(32, 32), mode="bilinear", align_corners=False).round().clamp(0, 255)
    images = large.to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).contiguous().numpy()
    labels = digits.target.astype(np.int64)
    test = stratified(labels, len(labels) // 5)
    return Arrays(images[~test], labels[~test], images[test], labels[test], 10, 180, "scikit-learn digits, upsampled")


#: How each data set is read: name, data root -> arrays.
SOURCES: dict[str, Callable[[str, Path], Arrays | Pictures]] = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "digits": _digits,
    "carla": frames.carla,
    "roadscenes": frames.roadscenes,
}


# ------------------------------------------------------------------------------------------------------------- batches


def batches(
    dataset: Dataset,
    split: Split,
    batch_size: int,
    *,
    shuffle: torch.Generator | None = None,
    augmentation: tuple[str, ...] = (),
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Normalised `(inputs, targets)` of a split. With `shuffle` in a random order, without the ragged last batch.

    Where the data set has no labels, targets are the inputs, the same tensor.
    """
    device = split.targets.device
    order = torch.arange(len(split)) if shuffle is None else torch.randperm(len(split), generator=shuffle)
    cut = shuffle is not None and "window" in augmentation
    whole = split.frames if cut and split.frames is not None else split.images
    stop = len(split) if shuffle is None else max(1, len(split) // batch_size) * batch_size
    for start in range(0, stop, batch_size):
        chosen = order[start : start + batch_size].to(device, non_blocking=True)  # no wait for what the GPU still does
        images = whole[chosen]
        if shuffle is not None:
            for name in augmentation:
                images = AUGMENTATIONS[name](images, shuffle)
        inputs = dataset.normalise(images)
        yield inputs, split.targets[chosen] if dataset.classes else inputs
