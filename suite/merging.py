"""Other results folders into one: records, descriptions of machines, pictures. All of it may come from strangers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from suite import pictures
from suite.errors import RecordError
from suite.records import (
    LONGEST_LINE,
    Problem,
    Record,
    encode,
    read_file,
    read_results,
    record_files,
    write_atomically,
)


def merge(sources: Sequence[Path], into: Path) -> tuple[int, int, list[Problem]]:
    """Copy the records of other results folders in, exact duplicates left out; files that exist are never changed.

    Returns how many records came in, how many were there already, and the bad lines, which stay outside.
    """
    for source in sources:
        if not source.is_dir():
            raise RecordError(f"no such results folder: {source}")
    known = {hashlib.sha256(encode(record)).digest() for record in read_results(into)[0]}
    new = duplicates = 0
    problems: list[Problem] = []
    for source in sources:
        for path in record_files(source):
            records, bad = read_file(path)
            problems += bad
            fresh = []
            for record in records:
                digest = hashlib.sha256(encode(record)).digest()
                if digest in known:
                    duplicates += 1
                    continue
                known.add(digest)
                fresh.append(record)
            _write_merged(fresh, into)
            new += len(fresh)
            named = (digest for record in records for digest in record.gallery)
            pictures.copy(named, source / pictures.FOLDER, into / pictures.FOLDER)
        _merge_machines(source / "machines", into / "machines")
    return new, duplicates, problems


def _write_merged(records: Iterable[Record], into: Path) -> None:
    by_run: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        by_run.setdefault((record.machine, record.run), []).append(record)
    for (machine, run), group in by_run.items():
        name, part = run, 1
        while (into / machine / f"{name}.jsonl").exists():
            part += 1
            name = f"{run}.{part}"
        write_atomically(into / machine / f"{name}.jsonl", b"".join(encode(record) for record in group))


def _merge_machines(source: Path, into: Path) -> None:
    if not source.is_dir() or source.is_symlink():
        return
    for path in sorted(source.glob("*.json")):
        target = into / path.name
        if target.exists() or path.is_symlink() or path.stat().st_size > LONGEST_LINE:
            continue
        try:
            description = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (msgspec.MsgspecError, OSError):
            continue
        write_atomically(target, json.dumps(description, indent=1, sort_keys=True).encode() + b"\n")
