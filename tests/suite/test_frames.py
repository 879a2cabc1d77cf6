"""Pictures without labels: crops of frames, targets that are the inputs, damage told in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from suite import data, datafiles
from suite.errors import DataError
from suite.tasks import Recipe


def write_frames(root: Path, *, train: int = 6, val: int = 2, test: int = 3, height: int = 16, width: int = 27) -> None:
    """A folder of frames as CARLA's, written last name first; each pixel is random, its column's number in red."""
    drawn = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val), ("test", test)):
        (root / "carla" / part).mkdir(parents=True)
        for number in reversed(range(count)):
            frame = drawn.integers(0, 256, (height, width, 3), dtype=np.uint8)
            frame[..., 0] = np.arange(width)
            frame[..., 1] = number
            Image.fromarray(frame).save(root / "carla" / part / f"Town01_{number:03}.png")


def test_frames_are_read_by_name_and_shown_in_their_middle(tmp_path: Path) -> None:
    write_frames(tmp_path)
    assert datafiles.is_there("carla", tmp_path)
    dataset = data.load("carla", tmp_path, "cpu")
    assert [len(part) for part in (dataset.train, dataset.val, dataset.test)] == [6, 2, 3]
    assert dataset.source == "CARLA frames, 11 PNG files of 27x16 pixels" and dataset.classes == 0
    for part in (dataset.train, dataset.val, dataset.test):
        assert part.images.shape[1:] == (3, 16, 16)
        assert part.images[:, 1, 0, 0].tolist() == list(range(len(part)))
        assert part.images[0, 0, 0].tolist() == list(range(5, 21)), "of 27 columns the middle 16"


def test_targets_of_frames_are_the_inputs_from_0_to_1(tmp_path: Path) -> None:
    write_frames(tmp_path)
    dataset = data.load("carla", tmp_path, "cpu")
    (inputs, targets), *rest = data.batches(dataset, dataset.train, 4)
    assert torch.equal(inputs, targets) and len(rest) == 1
    assert torch.equal(inputs, dataset.train.images[:4].float() / 255)
    assert inputs.shape == (4, 3, 16, 16) and inputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(dataset.normalise(dataset.train.images[:1]), inputs[:1])


def test_training_crops_come_from_the_whole_width_and_are_all_else_a_frame(tmp_path: Path) -> None:
    write_frames(tmp_path, train=96)
    dataset = data.load("carla", tmp_path, "cpu")
    drawn = torch.Generator().manual_seed(0)
    seen: set[int] = set()
    for inputs, targets in data.batches(dataset, dataset.train, 32, shuffle=drawn, augmentation=("window",)):
        assert torch.equal(inputs, targets) and inputs.shape[1:] == (3, 16, 16)
        levels = (inputs * 255).round().to(torch.uint8)
        for image in levels:
            left, number = int(image[0, 0, 0]), int(image[1, 0, 0])
            assert dataset.train.frames is not None
            assert torch.equal(image, dataset.train.frames[number, :, :, left : left + 16])
            seen.add(left)
    assert seen == set(range(12)), "every one of the twelve windows occurs"


def test_frames_without_the_window_are_their_middles_in_training_too(tmp_path: Path) -> None:
    write_frames(tmp_path)
    dataset = data.load("carla", tmp_path, "cpu")
    ((inputs, _),) = data.batches(dataset, dataset.train, 6, shuffle=torch.Generator())
    assert (inputs[:, 0, 0, 0] * 255).round().tolist() == [5] * 6


def test_smoke_caps_frames_with_their_images(tmp_path: Path) -> None:
    write_frames(tmp_path)
    capped = data.load("carla", tmp_path, "cpu").capped(Recipe(epochs=1, train_images=4, eval_images=1))
    assert capped.train.frames is not None
    assert (len(capped.train.images), len(capped.train.frames), len(capped.test)) == (4, 4, 1)


def test_one_pixel_of_a_frame_makes_other_data(tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        write_frames(tmp_path / name)
    path = tmp_path / "other" / "carla" / "val" / "Town01_001.png"
    frame = np.array(Image.open(path))
    frame[3, 0, 2] ^= 1
    Image.fromarray(frame).save(path)
    one, two, other = (data.load("carla", tmp_path / name, "cpu").sha256 for name in ("one", "two", "other"))
    assert one == two != other and len(one) == 64


def test_missing_frames_name_the_folders_their_size_and_the_way_without(tmp_path: Path) -> None:
    assert not datafiles.is_there("carla", tmp_path)
    for call in (lambda: data.load("carla", tmp_path, "cpu"), lambda: datafiles.download("carla", tmp_path)):
        with pytest.raises(DataError) as caught:
            call()
        message = str(caught.value)
        assert message.startswith("carla ") and str(tmp_path) in message and "\n" not in message
        assert all(word in message for word in ("carla/train", "carla/val", "carla/test", "216x128", "roadscenes"))


def test_a_part_without_frames_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path, val=0)
    assert not datafiles.is_there("carla", tmp_path)
    with pytest.raises(DataError, match=r"carla is not in .*carla/val"):
        data.load("carla", tmp_path, "cpu")


def _as_text(path: Path) -> None:
    path.write_text("no picture")


def _short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _turned(path: Path) -> None:
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)


@pytest.mark.parametrize("damage", [_as_text, _short, _emptied, _turned])
def test_a_bad_frame_is_one_line_that_names_it(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write_frames(tmp_path)
    path = tmp_path / "carla" / "test" / "Town01_001.png"
    damage(path)
    with pytest.raises(DataError) as caught:
        data.load("carla", tmp_path, "cpu")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
