"""The gallery: eight test images and their reconstructions, small files found by hash, the same ones every time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from suite import data, gallery, invocation, pictures, plan, registry, run
from suite.data import Dataset
from suite.errors import RecordError
from suite.progress import Progress
from suite.records import Record, decode, encode
from suite.tasks import Recipe, Task

TASK = '''
"""An autoencoder of a second."""
from suite import Recipe, Task, register_task

SMOKE = Recipe(epochs=1, batch_size=4, lr=0.01, augmentation=("window", "flip"), train_images=8, eval_images=10)


@register_task("tiny-autoencoder")
def tiny_autoencoder() -> Task:
    """The autoencoder at a sixteenth of its width on frames of 32 pixels."""
    return Task(title="Tiny", model="autoencoder", options={"width": 0.0625}, data="carla", input_shape=(3, 32, 32),
                recipes={profile: SMOKE for profile in ("smoke", "quick", "full")}, objective="reconstruction")
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve frames of 54x32 pixels to train on, four to validate, twelve to test, each of another colour."""
    drawn = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4), ("test", 12)):
        (tmp_path / "data" / "carla" / part).mkdir(parents=True)
        for number in range(count):
            frame = np.full((32, 54, 3), 20 * number, np.uint8)
            frame[8:24] = drawn.integers(0, 256, 3)
            Image.fromarray(frame).save(tmp_path / "data" / "carla" / part / f"{number:02}.png")
    return tmp_path


@pytest.fixture
def dataset(root: Path) -> Dataset:
    return data.load("carla", root / "data", "cpu")


def opened(folder: Path, digest: str) -> np.ndarray:
    content = (folder / f"{digest}.webp").read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert len(content) <= pictures.MOST_BYTES
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "WEBP"
        return np.asarray(picture.convert("RGB")).astype(int)


class Negative(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 1 - images


def test_originals_come_first_then_reconstructions_in_the_same_order(dataset: Dataset, tmp_path: Path) -> None:
    hashes = gallery.write(Negative(), dataset, tmp_path / "gallery")
    assert len(hashes) == 16
    shown = gallery.chosen(dataset).images.permute(0, 2, 3, 1).numpy().astype(int)
    for number in range(8):
        original, restored = (opened(tmp_path / "gallery", hashes[each]) for each in (number, 8 + number))
        assert original.shape == (32, 32, 3)
        assert np.abs(original - shown[number]).mean() < 6
        assert np.abs(restored - (255 - shown[number])).mean() < 6


def test_the_eight_are_spread_over_the_test_split(dataset: Dataset) -> None:
    assert gallery.chosen(dataset).targets.tolist() == [0, 1, 3, 4, 6, 7, 9, 11]
    few = replace(dataset, test=dataset.test.first(3))
    assert gallery.chosen(few).targets.tolist() == [0, 1, 2]
    assert gallery.chosen(replace(dataset, test=dataset.test.first(1))).targets.tolist() == [0]


def test_same_network_writes_the_same_files_and_originals_once(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    first = gallery.write(Negative(), dataset, folder)
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert gallery.write(Negative(), dataset, folder) == first
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    second = gallery.write(nn.Identity(), dataset, folder)
    assert second[:8] == first[:8] and not set(second[8:]) & set(first[8:])
    assert second[8:] == second[:8], "a perfect reconstruction is the original's file"


def test_notice_with_the_licence_lies_beside_the_pictures(dataset: Dataset, tmp_path: Path) -> None:
    gallery.write(Negative(), dataset, tmp_path)
    notice = (tmp_path / "NOTICE").read_text()
    assert (
        "MIT License" in notice and "Copyright (c) 2019 Daniel" in notice and "Permission is hereby granted" in notice
    )


def test_pictures_of_other_data_are_not_published(dataset: Dataset, tmp_path: Path) -> None:
    assert gallery.write(Negative(), replace(dataset, name="dashcam"), tmp_path / "gallery") == []
    assert not (tmp_path / "gallery").exists()


def test_picture_of_pure_noise_still_fits(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    content = gallery._webp(Image.fromarray(noise))
    assert 5_000 < len(content) <= pictures.MOST_BYTES


def test_outputs_beyond_the_range_are_clamped(dataset: Dataset, tmp_path: Path) -> None:
    class Far(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * 0 + torch.tensor([9.0, -9.0, 0.5]).view(1, 3, 1, 1)

    last = gallery.write(Far(), dataset, tmp_path)[-1]
    assert opened(tmp_path, last).mean(axis=(0, 1)) == pytest.approx([255, 0, 128], abs=8)


def test_record_of_a_reconstruction_cell_names_its_pictures(
    root: Path, install: Callable[..., Path], origin: invocation.Provenance
) -> None:
    install(tasks={"tiny_autoencoder": TASK})
    places = invocation.Places(root / "data", root / "artifacts", root / "results")
    for method in ("dense", "global-unstructured"):
        cell = plan.Cell("tiny-autoencoder", method, registry.method(method).complete({}), 0, "smoke")
        record = run.run_cell(cell, places, "cpu", origin, Progress(silent=True))
        assert record.status == "ok", record.reason
        assert set(record.metrics) >= {"loss", "l1", "psnr", "ssim", "dense_loss", "dense_psnr"}
        assert len(record.gallery) == 16
        for digest in record.gallery:
            opened(root / "results" / "gallery", digest)
        assert decode(encode(record).rstrip()).gallery == record.gallery


@pytest.mark.parametrize("bad", [["../etc"], ["A" * 64], ["0" * 63], ["0" * 64 + "\n"], ["0" * 64] * 65, [None]])
def test_record_whose_gallery_is_no_list_of_hashes_is_refused(make_record: Callable[..., Record], bad: Any) -> None:
    good = make_record(gallery=["0" * 64] * 64)
    assert decode(encode(good).rstrip()).gallery == good.gallery
    with pytest.raises(RecordError, match="gallery"):
        decode(encode(make_record(gallery=bad)).rstrip())


def test_tasks_of_the_autoencoder_are_what_design_names() -> None:
    tasks = {name: task for name, task in registry.tasks().items() if name.startswith("autoencoder-")}
    assert set(tasks) == {"autoencoder-carla", "autoencoder-carla+bottleneck256", "autoencoder-carla+skip",
                          "autoencoder-roadscenes"}  # fmt: skip
    dense: Task = tasks["autoencoder-carla"]
    for name, task in tasks.items():
        assert task.objective == "reconstruction" and task.input_shape == (3, 128, 128)
        assert set(task.recipes) == {"full", "quick", "smoke"}
        if "+" in name:
            assert task.parent == "autoencoder-carla" and task.recipes == dense.recipes
    assert tasks["autoencoder-carla+skip"].options == {**dense.options, "skip": True}
    assert tasks["autoencoder-carla+bottleneck256"].options == {**dense.options, "bottleneck": 256}
    recipe: Recipe = tasks["autoencoder-roadscenes"].recipes["smoke"]
    assert tasks["autoencoder-roadscenes"].embedded and recipe.train_images is not None
