"""Augmentation: known changes, drawn from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from suite.augmentation import AUGMENTATIONS
from suite.taskchecks import AUGMENTATION_NAMES


def test_names_that_a_recipe_may_give_are_those_that_there_are() -> None:
    assert set(AUGMENTATION_NAMES) == set(AUGMENTATIONS)


@pytest.fixture
def images() -> torch.Tensor:
    drawn = np.random.default_rng(3).integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"window"}))
def test_augmentation_keeps_shape_and_type_and_depends_on_the_generator(images: torch.Tensor, name: str) -> None:
    before = images.clone()
    one, two, other = (AUGMENTATIONS[name](images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert one.shape == images.shape and one.dtype == torch.uint8
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(images, before)


def test_flip_mirrors_about_half_of_the_images_left_to_right(images: torch.Tensor) -> None:
    flipped = AUGMENTATIONS["flip"](images, torch.Generator().manual_seed(0))
    mirrored = np.flip(images.numpy(), axis=3)
    same = [bool((flipped[i] == images[i]).all()) for i in range(120)]
    assert all(same[i] or np.array_equal(flipped[i].numpy(), mirrored[i]) for i in range(120))
    assert 40 <= sum(same) <= 80


@pytest.mark.parametrize(("name", "margin"), [("crop4", 4), ("crop2", 2)])
def test_crop_shifts_within_its_margin_and_reflects_the_edge(images: torch.Tensor, name: str, margin: int) -> None:
    cropped = AUGMENTATIONS[name](images, torch.Generator().manual_seed(0)).numpy()
    wide = np.pad(images.numpy(), ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")
    offsets = set()
    for number in range(120):
        fits = [
            (top, left)
            for top in range(2 * margin + 1)
            for left in range(2 * margin + 1)
            if np.array_equal(cropped[number], wide[number, :, top : top + 32, left : left + 32])
        ]
        assert len(fits) == 1, "it is the image at exactly one offset"
        offsets.add(fits[0])
    assert {top for top, _ in offsets} == set(range(2 * margin + 1)), "every shift occurs"
    assert len(offsets) > 15


def test_window_leaves_square_images_as_they_are(images: torch.Tensor) -> None:
    assert torch.equal(AUGMENTATIONS["window"](images, torch.Generator()), images)
