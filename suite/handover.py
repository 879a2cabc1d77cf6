"""What `export` refuses before a network is read, and torch with it: the wrong cells, a format, a place. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from suite import modelfiles
from suite.errors import SuiteError, UsageError, remedy
from suite.invocation import newest_model
from suite.plan import Cell

#: The formats of an exported file, which are its ending too.
FORMATS = ("safetensors", "onnx", "pt2")


def stored(cells: Sequence[Cell], path: Path, kind: str, *, root: Path, force: bool = False) -> tuple[Cell, Path]:
    """The one cell given and the folder of its stored model, which may be written to `path` in the format `kind`.

    UsageError for several cells, an unknown format or a file that is there (unless `force`), SuiteError where `root`
    has no model of it.
    """
    if len(cells) != 1:
        raise UsageError(
            f"that names {len(cells)} cells: --task, --method, --set NAME=VALUE (or --points first) name one"
        )
    (cell,) = cells
    if kind not in FORMATS:
        raise UsageError(f"unknown format {kind!r}: choose one of {', '.join(FORMATS)}")
    _check_place(path, kind, force)
    folder = newest_model(cell, root)
    if folder is None:
        older = any(map(modelfiles.is_readable, (root / cell.task / cell.method).glob(f"{cell.key[:12]}-*")))
        lacking = "the one of older code is stale, and there is no model" if older else "no model"
        raise SuiteError(
            f"{lacking} of this cell in {root}: python -m suite run {cell.arguments} --force makes it (--artifacts and "
            "--data as here)"
        )
    return cell, folder


def _check_place(path: Path, kind: str, force: bool) -> None:
    """UsageError where a file of that format cannot be written to `path`: before a large model is read and traced."""
    try:
        if path.is_dir():
            raise UsageError(f"{path} is no file but a folder: name a file in it, --out {path / f'model.{kind}'}")
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file but a device or a pipe: name a file with --out")
        if path.suffix[1:].lower() in FORMATS and path.suffix[1:].lower() != kind:
            raise UsageError(
                f"{path.name} has the ending of another format: --format {path.suffix[1:].lower()}, "
                f"or --out {path.with_suffix('.' + kind)}"
            )
        if path.exists() and not force:
            raise UsageError(f"{path} is there already: --force overwrites it, another --out leaves it")
        if path.parent.exists() and not path.parent.is_dir():
            raise UsageError(f"{path.parent} is no folder (--out): choose another")
        if not path.parent.is_dir():
            raise UsageError(f"no such folder: {path.parent} (--out): make it first, or choose another")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UsageError(f"--out {str(path)[:80]}: {error.strerror}; {remedy(error)}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{path.parent} may not be written to (--out): choose a folder that you may write to")
