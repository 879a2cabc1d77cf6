"""Other results folders into one: records, descriptions of machines, pictures. All of it may come from strangers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from suite import clock, pictures
from suite.errors import RecordError, UsageError, remedy
from suite.files import is_plain, write_atomically
from suite.machine import read_description
from suite.records import Problem, Record, encode, read_lines, read_results, record_files


def merge(sources: Sequence[Path], into: Path) -> tuple[int, int, list[Problem]]:
    """Copy the records of other results folders in, exact duplicates left out; files that exist are never changed.

    Returns how many records came in, how many were there already, and the problems: bad lines, which stay outside, and
    records whose pictures are lost, which do not. UsageError where the sources hold none of all three.
    """
    for source in sources:
        if not source.is_dir():
            raise UsageError(f"no such results folder: {source}")
    problems: list[Problem] = []
    gallery = into / pictures.FOLDER
    with _alone(into):
        known = {hashlib.sha256(encode(record)).digest() for record in read_results(into)[0]}
        new = duplicates = 0
        names: dict[tuple[str, str], int] = {}
        for source in sources:
            for path in record_files(source):
                fresh: list[Record] = []
                for line, record in _believable(path, problems):
                    digest = hashlib.sha256(encode(record)).digest()
                    if digest in known:
                        duplicates += 1
                    else:
                        known.add(digest)
                        fresh.append(record)
                    # also those that a record here names: they may have been lost on the way
                    lost = pictures.copy(record.gallery, source / pictures.FOLDER, gallery)
                    if lost:
                        named = [each for each in record.gallery if each in lost]
                        reason = pictures.lacking(named, source / pictures.FOLDER)
                        problems.append(Problem(path, line, reason, pictures.CHECK))
                _write_merged(fresh, into, names)
                new += len(fresh)
            _merge_machines(source / "machines", into / "machines")
    if not (new or duplicates or problems or any((source / "machines").is_dir() for source in sources)):
        raise UsageError(f"no records in {', '.join(map(str, sources))}: name results folders, as --results of run")
    return new, duplicates, problems


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only merge into a folder: two would choose the same names, and each bring what the other brings too."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: nothing is locked there
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)  # the folder itself: no file of the lock's own is left in it
    except OSError as error:
        raise RecordError(f"cannot write to {folder}: {error.strerror}; {remedy(error)}") from error
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _believable(path: Path, problems: list[Problem]) -> Iterator[tuple[int, Record]]:
    """The records of a file that may be merged, by line; the others are added to `problems`."""
    for line, found in read_lines(path):
        if isinstance(found, Problem):
            problems.append(found)
        elif (fault := clock.ahead(found.created)) is not None:
            problems.append(Problem(path, line, fault, "clock"))
        else:
            yield line, found


def _write_merged(records: Iterable[Record], into: Path, names: dict[tuple[str, str], int]) -> None:
    """Write records under the names of their runs, or those with the first free number; `names` remembers the last."""
    by_run: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        by_run.setdefault((record.machine, record.run), []).append(record)
    for (machine, run), group in by_run.items():
        part = names.get((machine, run), 0) + 1
        while (path := into / machine / f"{run}{f'.{part}' if part > 1 else ''}.jsonl").exists():
            part += 1
        names[machine, run] = part
        write_atomically(path, b"".join(encode(record) for record in group))


def _merge_machines(source: Path, into: Path) -> None:
    """Copy the descriptions of machines that have none here; what describes no machine stays outside."""
    if not source.is_dir() or source.is_symlink():
        return
    for path in sorted(source.glob("*.json")):
        target = into / path.name
        if is_plain(path.stem) and not target.exists():
            try:
                description = read_description(path)
            except RecordError:  # `machine.damaged` names it
                continue
            write_atomically(target, json.dumps(description, indent=1, sort_keys=True).encode() + b"\n")
