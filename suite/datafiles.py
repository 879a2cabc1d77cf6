"""Where data sets lie, whether they are there, and how to get them. No torch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from suite import frames, registry, taskfiles
from suite.errors import DataError, said

#: Data sets that are always there, and where they come from.
EMBEDDED = {"digits": "come with scikit-learn", "roadscenes": "are drawn by the suite"}
FOLDERS = {"cifar10": ("cifar-10-batches-py",), "cifar100": ("cifar-100-python",)}


def default_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Where data sets lie unless `--data` says otherwise: `PRUNEMARK_DATA`, else a per-user cache folder."""
    if environment.get("PRUNEMARK_DATA"):
        return Path(environment["PRUNEMARK_DATA"])
    cache = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "prunemark" / "data"


def torchvision_class(name: str) -> type:
    """torchvision's loader of a CIFAR set; what it warns of as it is imported is no news to a user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchvision import datasets
    found: type = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    return found


def is_there(name: str, root: Path) -> bool:
    """Does the data root hold this data set? Its files are not opened."""
    part = registry.outside("data", name)
    if part is not None:
        return all((root / each).exists() for each in part.files)
    if name == "carla":
        return frames.are_there(root)
    return name in EMBEDDED or any((root / each).exists() for each in (f"{name}.npz", *FOLDERS.get(name, ())))


def how_to_get(name: str) -> str:
    """What to do for a data set that is missing, in one line."""
    part = registry.outside("data", name)
    if part is not None:
        return part.remedy
    return f"it {frames.REMEDY}" if name == "carla" else f"python -m suite download {name}"


def download(name: str, root: Path) -> str:
    """Fetch a data set through torchvision (MD5 checked); returns where it lies. DataError where that fails."""
    if name in EMBEDDED:
        return f"{name} {EMBEDDED[name]}: nothing to fetch"
    if name == "carla":
        raise DataError(f"carla {frames.REMEDY} (under {root})")
    if registry.outside("data", name) is not None:
        raise DataError(f"{name} is not fetched by the suite: {how_to_get(name)} (under {root})")
    try:
        root.mkdir(parents=True, exist_ok=True)
        for train in (True, False):
            torchvision_class(name)(root, train=train, download=True)
    except Exception as error:
        raise DataError(
            f"{name} could not be fetched: try again, or put {name}.npz into {root} {said(error)}"
        ) from error
    return str(root)


def names() -> tuple[str, ...]:
    """Every data set: ours, then those of task files."""
    return tuple(name for kind, name in taskfiles.found().parts if kind == "data")
