"""Pictures without labels: CARLA frames from a folder, and road scenes that the suite draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from suite import scenes
from suite.errors import DataError

Images = npt.NDArray[np.uint8]

#: The parts of a set, each a folder of PNG files.
PARTS = ("train", "val", "test")
#: How many road scenes each part has.
SCENES = {"train": 720, "val": 80, "test": 160}
REMEDY = (
    "has no download: put your frames, RGB PNG files of 216x128 pixels (any width from 128 on), into carla/train, "
    "carla/val and carla/test, or take the task autoencoder-roadscenes, which needs no data"
)


@dataclass(frozen=True)
class Pictures:
    """What a source without labels delivers: (N, H, W, 3) uint8, W >= H; the samples are squares of the full height."""

    train: Images
    val: Images
    test: Images
    source: str


def are_there(root: Path) -> bool:
    """Does the data root hold CARLA frames for every part? No file is opened."""
    return all(any((root / "carla" / part).glob("*.png")) for part in PARTS)


def carla(name: str, root: Path) -> Pictures:
    """Every frame by file name; each part is a folder, so that no town need stand in two of them.

    DataError names the folder that is missing, or the frame that is damaged or of another size.
    """
    parts: dict[str, Images] = {}
    size: tuple[int, ...] | None = None
    for part in PARTS:
        paths = sorted((root / name / part).glob("*.png"))
        if not paths:
            raise DataError(f"{name} is not in {root / name / part}: it {REMEDY}")
        found = []
        for path in paths:
            found.append(_read(path))
            size = size or found[0].shape
            if found[-1].shape != size or size[1] < size[0]:
                raise DataError(
                    f"{path} has {_pixels(found[-1].shape)} pixels, the first frame of its set {_pixels(size)}: "
                    "all must have one size, at least as wide as high"
                )
        parts[part] = np.stack(found)
    count = sum(len(images) for images in parts.values())
    return Pictures(**parts, source=f"CARLA frames, {count:,} PNG files of {_pixels(size or ())} pixels")


def _read(path: Path) -> Images:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # Pillow, zlib and struct each have their own for a damaged file
        reason = " ".join(str(error).replace(str(path), path.name).split())[:120] or type(error).__name__
        raise DataError(f"{path} cannot be read ({reason}): put a good frame in its place, or delete it") from error


def _pixels(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"


def roadscenes(name: str, root: Path) -> Pictures:
    """The first scenes are for training, the next for validation, the last are the test."""
    drawn = scenes.draw(sum(SCENES.values()))
    train, val = SCENES["train"], SCENES["train"] + SCENES["val"]
    source = f"road scenes drawn by the suite, {len(drawn):,} of 128x128 pixels"
    return Pictures(drawn[:train], drawn[train:val], drawn[val:], source)
