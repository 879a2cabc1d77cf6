"""Small pictures beside the records that name them by hash, and the terms under which they may be published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from suite.records import write_atomically

#: Of a results folder: the pictures, each under the SHA-256 of its bytes.
FOLDER = "gallery"
#: The check that they are there.
CHECK = "picture"
MOST_BYTES = 15_000
NOTICE = """\
The pictures in this folder are named by the SHA-256 of their bytes; the records of the results name them in turn.

1. Those of the tasks autoencoder-carla and its variants are 128x128 crops of frames of the CARLA simulator
   (https://carla.org), and networks' reconstructions of these crops. The frames are those of the
   Carla-Object-Detection-Dataset (https://github.com/DanielHfnr/Carla-Object-Detection-Dataset), reduced from 640x380
   to 216x128 pixels, under this licence:

   MIT License

   Copyright (c) 2019 Daniel

   Permission is hereby granted, free of charge, to any person obtaining a copy
   of this software and associated documentation files (the "Software"), to deal
   in the Software without restriction, including without limitation the rights
   to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
   copies of the Software, and to permit persons to whom the Software is
   furnished to do so, subject to the following conditions:

   The above copyright notice and this permission notice shall be included in all
   copies or substantial portions of the Software.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
   IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
   FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
   LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
   SOFTWARE.

2. Those of the task autoencoder-roadscenes are drawn by Prunemark, and reconstructions of such drawings: CC BY 4.0, as
   the results are.
"""


def keep(content: bytes, folder: Path) -> str:
    """Write a picture as `<sha256>.webp`, with the notice beside it, unless it is there whole; returns the hash."""
    digest = hashlib.sha256(content).hexdigest()
    if not (folder / "NOTICE").exists():
        write_atomically(folder / "NOTICE", NOTICE.encode())
    if read(digest, folder) is None:
        write_atomically(folder / f"{digest}.webp", content)
    return digest


def read(digest: str, folder: Path) -> bytes | None:
    """The bytes of a picture, small and with the hash that is their name; None where there are none. No links."""
    path = folder / f"{digest}.webp"
    try:
        if folder.is_symlink() or path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == digest else None


def copy(digests: Iterable[str], source: Path, into: Path) -> set[str]:
    """Copy pictures between folders, those that may be read; returns those that are in neither."""
    lost = set()
    for digest in sorted(set(digests)):
        content = read(digest, source)
        if content is not None:
            keep(content, into)
        elif read(digest, into) is None:
            lost.add(digest)
    return lost


def lacking(lost: Sequence[str], folder: Path) -> str:
    """What is wrong with a record of which these pictures are `lost`."""
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"its picture {lost[0][:12]}.webp{more} is not in {folder}, or not what its name says: send it along"


def pairs(gallery: Sequence[str], shown: Set[str]) -> list[list[str]]:
    """[original, reconstruction] for each pair of a record's pictures of which both are among those `shown`."""
    half = len(gallery) // 2
    found = zip(gallery[:half], gallery[half:], strict=False)
    return [list(pair) for pair in found if {*pair} <= shown] if len(gallery) == 2 * half else []
