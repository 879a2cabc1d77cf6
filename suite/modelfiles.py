"""The files of stored models, but for their weights: what is known of each, and whether it can be read. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from suite import registry
from suite.errors import ArtifactError, said
from suite.files import open_regular
from suite.records import sha256_of, write_atomically

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
#: No network that we would rebuild is larger; a hostile description cannot ask for terabytes.
MOST_PARAMETERS = 2**28
#: Bytes of a weights file: four for each parameter, as many for buffers and the header; and of a description.
LONGEST_WEIGHTS = 8 * MOST_PARAMETERS
LONGEST_DESCRIPTION = 2**26


def default_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Where models are kept unless `--artifacts` says otherwise: `PRUNEMARK_ARTIFACTS`, else `artifacts/` here."""
    return Path(environment.get("PRUNEMARK_ARTIFACTS") or "artifacts")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def description_sha256(description: Mapping[str, Any]) -> str:
    """The hash of what a stored network's layers and graph are said to be, beside that of its weights."""
    return sha256_of([description.get("architecture"), description.get("graph")])


def add_facts(folder: Path, more: Mapping[str, Any]) -> None:
    """Add to what is known of a stored model; its weights stay as they are."""
    description = facts(folder)
    assert description is not None, "facts are added to a model that is stored"
    write_description(folder, description | {"facts": description["facts"] | dict(more)})


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    write_atomically(folder / DESCRIPTION, json.dumps(description, indent=1, allow_nan=False).encode() + b"\n")


def facts(folder: Path) -> dict[str, Any] | None:
    """What is known of the model stored in `folder`: `sha256`, `architecture`, `facts`; None where none is stored."""
    path = folder / DESCRIPTION
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(content(path, LONGEST_DESCRIPTION), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: delete its folder to make it again {said(error)}") from error


def is_readable(folder: Path) -> bool:
    """Do weights lie in `folder` with a description that can be read? What is damaged is made again, as what is not."""
    try:
        return (folder / WEIGHTS).is_file() and facts(folder) is not None
    except ArtifactError:
        return False


def content(path: Path, longest: int) -> bytes:
    """The bytes of a file, which may be a stranger's; ArtifactError where it is none, or longer than any of ours."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size  # before it takes memory: a sparse file may claim any size
            if size > longest:
                raise ArtifactError(f"{path} has {size:,} bytes: {longest:,} are the most that is read")
            return file.read(longest)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def rebuildable(architecture: Mapping[str, Any]) -> bool:
    """Can the network be built, with random weights, from its recorded architecture alone? Not a quantized one."""
    return bool(architecture.get("precision", "fp32") == "fp32")


def import_model(folder: Path | None, architecture: Mapping[str, Any] | None) -> None:
    """Import what builds a stored or described network, where that is not ours; nothing is built."""
    known = (facts(folder) or {}).get("architecture") if folder is not None else architecture
    if isinstance(known, Mapping) and registry.outside("model", str(known.get("model"))) is not None:
        registry.import_model(str(known["model"]))
