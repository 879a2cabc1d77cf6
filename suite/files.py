"""Files that are written whole or not at all, and strangers' files that are read within bounds."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from suite.errors import RecordError, remedy

#: Of a machine or a run: both name files.
LONGEST_NAME = 120
#: ASCII: the length of a file's name is counted in bytes, and letters that look alike make other folders.
_NAME = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write beside, fsync, rename: a reader sees the old file or the new one. RecordError names what failed.

    What a process that was killed left beside is deleted by whoever writes the same file next.
    """
    beside = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for remains in abandoned(path):
            remains.unlink(missing_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:  # Ctrl-C too: nothing half-written stays
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            raise RecordError(f"cannot write {path}: {error.strerror}; {remedy(error)}") from error
        raise


def part_of(path: Path) -> Path:
    """Where this process prepares what will be `path`."""
    return path.with_name(f".{path.name}.{_namespace()}-{os.getpid()}.part")


def abandoned(path: Path) -> list[Path]:
    """What others prepared to be `path` and left: their processes are gone, or nobody has touched it for a day."""
    return [part for part in path.parent.glob(f".{glob.escape(path.name)}.*.part") if _is_abandoned(part)]


def _is_abandoned(part: Path) -> bool:
    namespace, _, process = part.name.split(".")[-2].partition("-")
    try:
        if namespace == _namespace() and process.isdecimal():
            os.kill(int(process), 0)
        return time.time() - part.stat().st_mtime > 24 * 3600
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False


@functools.cache
def _namespace() -> str:
    """Where processes are known by their numbers: this boot of this container, as a short hash."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return hashlib.sha256(f"{file.read()} {os.stat('/proc/self/ns/pid').st_ino}".encode()).hexdigest()[:8]
    except OSError:
        return "unknown"


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read; OSError for what is none, such as a pipe, on which a reader would wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file")
    return os.fdopen(descriptor, "rb")


def bounded_lines(file: BinaryIO, longest: int) -> Iterator[bytes]:
    """The lines of a file with their newlines; of one that is too long its beginning without one."""
    while line := file.readline(longest + 2):  # the longest one, its newline, and a byte that tells
        yield line if line.endswith(b"\n") or len(line) <= longest else line[: longest + 1]
        while not line.endswith(b"\n") and line:
            line = file.readline(longest)


def is_plain(name: str) -> bool:
    """Is it a name that a file may have on every system?"""
    return _NAME.fullmatch(name) is not None


def require_writable(folder: Path) -> None:
    """RecordError where nothing can be written to a folder, or to the nearest there is of those it will lie in."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.is_dir()), folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise RecordError(f"cannot write to {folder}: {error.strerror}; {remedy(error)}") from error
