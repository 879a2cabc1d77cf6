"""Drawn road scenes: the same bytes everywhere, each scene another one, and all of them pictures worth restoring."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from suite import cost, data, datafiles, frames, scenes
from suite.evaluate import OBJECTIVES, evaluate

#: Of the first eight scenes; another value is another data set, whose results share no rank with older ones.
FIRST_EIGHT = "c84d144bd186284bcfddc5568767dc145e849d1dcc619d04cd82dfe87297a1e6"


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return scenes.draw(64)


def test_scenes_have_the_bytes_that_they_always_had(drawn: np.ndarray) -> None:
    assert drawn.shape == (64, 128, 128, 3) and drawn.dtype == np.uint8
    assert hashlib.sha256(drawn[:8].tobytes()).hexdigest() == FIRST_EIGHT


def test_a_scene_depends_on_its_number_alone(drawn: np.ndarray) -> None:
    np.random.seed(3)
    assert np.array_equal(scenes.draw(3, first=5), drawn[5:8])


def test_scenes_differ_from_each_other(drawn: np.ndarray) -> None:
    flat = drawn.reshape(len(drawn), -1).astype(np.float32)
    for number in range(len(flat)):
        others = np.abs(np.delete(flat, number, axis=0) - flat[number]).mean(axis=1)
        assert others.min() > 8, "on average eight grey levels from the scene most like it"


def test_scenes_are_of_day_and_night_and_use_the_whole_range(drawn: np.ndarray) -> None:
    means = drawn.mean(axis=(1, 2, 3))
    assert means.min() < 50 and means.max() > 130
    assert sum(int(scene.max()) - int(scene.min()) > 120 for scene in drawn) > 55


def test_a_blurred_scene_looks_worse_and_a_coarser_one_worse_still(drawn: np.ndarray) -> None:
    class Blur(torch.nn.Module):
        def __init__(self, factor: int) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            small = torch.nn.functional.avg_pool2d(images, self.factor)
            return torch.nn.functional.interpolate(small, scale_factor=self.factor, mode="bilinear")

    found = data._unlabelled("scenes", frames.Pictures(drawn, drawn, drawn, "here"), "cpu")
    judged = [evaluate(Blur(factor), found, found.test, OBJECTIVES["reconstruction"]) for factor in (2, 4, 8)]
    losses, likeness = [each["loss"] for each in judged], [each["ssim"] for each in judged]
    assert losses[0] + 0.01 < losses[1] < losses[2] - 0.01
    assert likeness[0] > likeness[1] > likeness[2]


def test_roadscenes_are_there_without_a_file_in_three_parts_that_share_none() -> None:
    nowhere = Path("/nowhere")
    assert datafiles.is_there("roadscenes", nowhere)
    dataset = data.load("roadscenes", nowhere, "cpu")
    assert {part: len(getattr(dataset, part)) for part in frames.PARTS} == frames.SCENES
    assert len(dataset.train) == cost.TRAINING_IMAGES["roadscenes"]
    assert dataset.train.images.shape[1:] == (3, 128, 128) and dataset.train.frames is None
    seen = [image.numpy().tobytes() for part in frames.PARTS for image in getattr(dataset, part).images]
    assert len(set(seen)) == len(seen)
