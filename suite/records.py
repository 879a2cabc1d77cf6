"""Measured facts as append-only text: one JSON object a line, one file a run. Reading them runs no code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal

import msgspec

from suite.errors import RecordError, remedy
from suite.files import bounded_lines, is_plain, open_regular, sync_folder
from suite.files import write_atomically as write_atomically
from suite.history import Trained

SCHEMA = 1
#: Raised whenever the way of training or measuring changes; part of every cell key and freshness hash.
PROTOCOL = 1
#: What a benchmark measures of a network; noise floors come with the first.
KINDS = ("latency", "memory", "energy")
LONGEST_LINE = 1_000_000
LONGEST_TEXT = 20_000
#: Of what is said about a bad line.
LONGEST_REASON = 500
#: No measured number is larger.
BEYOND = 1e300
MOST_SAMPLES = 200
#: Of a recipe or an architecture, lists and objects within each other: those written here have six. What reads a
#: thousand may not be able to write them.
DEEPEST = 16
#: A file with more of them is no results file: the rest of it is not read.
MOST_BAD_LINES = 10_000

Number = float | int | bool | None
Scalar = float | int | bool | str | None
#: Files are named by some of them.
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Record(msgspec.Struct, forbid_unknown_fields=False, kw_only=True, omit_defaults=False):
    """One measured row; DESIGN section 8 says what each field means. Base units: seconds, bytes, joules, fractions.

    `curve` holds the points that a method logged, `trainings` what it trained, epoch by epoch, `samples` at most 200
    pairs of seconds [dense, compressed], `notes` what a reader should know of this measurement (contended, random
    weights, processes, share of subnormals ...), `gallery` the SHA-256 of pictures in `results/gallery/`: originals,
    then their reconstructions in the same order.
    """

    schema: int = SCHEMA
    kind: Literal["accuracy", "latency", "memory", "energy", "noise-floor"]
    task: str
    method: str
    hyperparameters: dict[str, Scalar]
    seed: int
    profile: Literal["smoke", "quick", "full"]
    device: str
    cell: str
    freshness: str
    status: Literal["ok", "oom", "timeout", "error", "unsupported"]
    reason: str | None = None
    metrics: dict[str, Number] = {}
    conditions: dict[str, Scalar] | None = None
    curve: list[dict[str, Scalar]] = []
    trainings: list[Trained] = []
    samples: list[list[float]] = []
    notes: dict[str, Scalar] = {}
    recipe: dict[str, Any] | None = None
    created: str
    machine: str
    run: str
    command: str
    protocol: int = PROTOCOL
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str] = {}
    data_source: str | None = None
    data_sha256: Sha256 | None = None
    checkpoint_sha256: Sha256 | None = None
    architecture: dict[str, Any] | None = None
    base_cell: Sha256 | None = None
    gallery: Annotated[list[Sha256], msgspec.Meta(max_length=64)] = []


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text. ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


#: Characters of a cell's key that name it where people meet it: addresses of pages, references, messages.
ID = 16


def cell_key(
    *, task: str, method: str, hyperparameters: dict[str, Any], seed: int, profile: str, protocol: int = PROTOCOL
) -> str:
    """The identity of a cell (DESIGN section 8): what was asked for, under which measurement protocol."""
    return sha256_of(
        {
            "task": task,
            "method": method,
            "hyperparameters": hyperparameters,
            "seed": seed,
            "profile": profile,
            "protocol": protocol,
        }
    )


def now() -> str:
    """The time as ISO 8601 in UTC, to the microsecond: records of one run sort by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def significant(value: float, digits: int = 5) -> float:
    """`value` rounded to so many significant digits."""
    return float(f"{value:.{digits}g}")


# ------------------------------------------------------------------------------------------------------------- writing


def encode(record: Record) -> bytes:
    """The record as one line; RecordError where a number is not finite or the line is too long."""
    plain = msgspec.to_builtins(record)
    try:
        line = json.dumps(plain, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise RecordError(f"a {record.kind} record of {record.task}/{record.method} holds NaN or infinity") from error
    if len(line) > LONGEST_LINE:
        raise RecordError(f"a {record.kind} record of {record.task}/{record.method} has {len(line)} bytes, too many")
    return line


class RunFile:
    """The file of one run, `results/<machine>/<run>.jsonl`: created with the first record, flushed line by line."""

    def __init__(self, results: Path, machine: str, run: str) -> None:
        self.path = results / machine / f"{run}.jsonl"
        self._descriptor: int | None = None

    def append(self, record: Record) -> None:
        """Write one record durably; RecordError (disk full, folder read-only) leaves what was written before intact."""
        line = encode(record)
        try:
            if self._descriptor is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                sync_folder(self.path.parent)  # else a power cut takes the whole file, name and all
            before = os.fstat(self._descriptor).st_size
            try:
                written = os.write(self._descriptor, line)
                if written < len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(self._descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, before)
                raise
        except OSError as error:
            raise RecordError(
                f"cannot write to {self.path}: {error.strerror}; records already written are intact: "
                f"{remedy(error)}, then run the same command again"
            ) from error

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            with contextlib.suppress(OSError):
                if self.path.stat().st_size == 0:
                    self.path.unlink()

    def __enter__(self) -> RunFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


# ------------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Problem:
    """A line that is no valid record, or not to be published: where it stands, what is wrong, which check says so."""

    path: Path
    line: int
    reason: str
    check: str = "record"

    def __str__(self) -> str:
        """One line that a terminal may be shown: names in it may be a stranger's."""
        reason = self.reason if len(self.reason) <= LONGEST_REASON else f"{self.reason[:LONGEST_REASON]}..."
        text = f"{self.path}:{self.line}: {reason}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class BadRecord(RecordError):
    """A line is no valid record; `check` names what it fails."""

    def __init__(self, reason: str, check: str = "record") -> None:
        super().__init__(reason)
        self.check = check


_decoder = msgspec.json.Decoder(Record)


def decode(line: bytes) -> Record:
    """One line as a record; RecordError says in one line what is wrong with it."""
    if len(line) > LONGEST_LINE:
        raise BadRecord(f"the line has {len(line)} bytes; {LONGEST_LINE} are allowed")
    try:
        record = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BadRecord(f"not a record: {reason}") from error
    for check, fault in _faults(record):
        raise BadRecord(fault, check)
    return record


def read_file(path: Path) -> tuple[list[Record], list[Problem]]:
    """The valid records of one file, and its bad lines; a last line without its newline was cut off while written."""
    found = [each for _, each in read_lines(path)]
    return [r for r in found if isinstance(r, Record)], [p for p in found if isinstance(p, Problem)]


def read_lines(path: Path) -> Iterator[tuple[int, Record | Problem]]:
    """Each line of one file with its number, from 1: a valid record, or what is wrong with it.

    Takes no more memory than a line of the largest size, however long the file or its lines are.
    """
    bad = 0
    try:
        with open_regular(path) as file:
            for number, line in enumerate(bounded_lines(file, LONGEST_LINE), start=1):
                if not line.strip():
                    continue
                if line.endswith(b"\n"):
                    found = _decoded(path, number, line[:-1])
                elif len(line) > LONGEST_LINE:
                    found = Problem(path, number, f"the line has over {LONGEST_LINE} bytes")
                else:
                    found = Problem(path, number, "cut off while it was written; delete this line")
                yield number, found
                bad += isinstance(found, Problem)
                if bad == MOST_BAD_LINES:
                    yield number, Problem(path, number, f"the {bad}th bad line: the rest of the file is not read")
                    return
    except OSError as error:
        yield 0, Problem(path, 0, f"cannot be read: {error.strerror}")


def _decoded(path: Path, number: int, line: bytes) -> Record | Problem:
    try:
        return decode(line)
    except BadRecord as error:
        return Problem(path, number, str(error), error.check)


def record_files(results: Path) -> Iterator[Path]:
    """Every `<machine>/<run>.jsonl` of a results folder, sorted; links that lead out of it are not followed."""
    if not results.is_dir():
        return
    for folder in sorted(results.iterdir()):
        if folder.is_dir() and not folder.is_symlink():
            yield from (path for path in sorted(folder.glob("*.jsonl")) if not path.is_symlink())


def read_results(results: Path) -> tuple[list[Record], list[Problem]]:
    """Every valid record of a results folder, oldest first, and every bad line."""
    records: list[Record] = []
    problems: list[Problem] = []
    for path in record_files(results):
        found, bad = read_file(path)
        records += found
        problems += bad
    records.sort(key=lambda record: record.created)
    return records, problems


# ------------------------------------------------------------------------------------------------------------ checking

_FRACTIONS = ("top1", "top5", "ssim", "ms_ssim")
_POSITIVE = (
    "parameters", "macs", "size_bytes", "size_bytes_compressed", "speedup", "speedup_low", "speedup_high",
    "speedup_over_eager", "speedup_over_eager_low", "speedup_over_eager_high", "dense_seconds", "dense_eager_seconds",
    "compressed_seconds", "peak_bytes", "dense_peak_bytes", "total_cpu_seconds", "total_cuda_seconds",
)  # fmt: skip
_HEADLINES = {
    "accuracy": "parameters",
    "latency": "speedup",
    "memory": "peak_bytes",
    "energy": "joules",
    "noise-floor": "noise_floor",
}


def fault_of(record: Record) -> str | None:
    """What is wrong with a record that has the right types, or None."""
    return next((fault for _, fault in _faults(record)), None)


def _faults(record: Record) -> Iterator[tuple[str, str]]:
    """(name of the check, what is wrong)."""
    yield from (("record", fault) for fault in _text_faults(record))
    expected = cell_key(
        task=record.task,
        method=record.method,
        hyperparameters=dict(record.hyperparameters),
        seed=record.seed,
        profile=record.profile,
        protocol=record.protocol,
    )
    if record.cell != expected:
        yield "cell-key", "cell does not match task, method, hyperparameters, seed and profile"
    yield from (("metric-range", fault) for fault in _metric_faults(record))


def _text_faults(record: Record) -> Iterator[str]:
    if record.schema != SCHEMA:
        yield f"schema {record.schema} is not {SCHEMA}: written by another version of the suite"
    for name in ("machine", "run"):
        value = getattr(record, name)
        if not is_plain(value):
            yield f"{name} {value[:40]!r} is no plain name"
    if (record.status == "ok") != (record.reason is None):
        yield f"status {record.status} {'needs no' if record.status == 'ok' else 'needs a'} reason"
    if record.kind != "accuracy" and record.conditions is None:
        yield f"a {record.kind} record needs conditions"
    if len(record.samples) > MOST_SAMPLES or any(len(pair) != 2 for pair in record.samples):
        yield f"samples must be at most {MOST_SAMPLES} pairs"
    if not _is_time(record.created):
        yield f"created {record.created[:40]!r} is no ISO 8601 time in UTC, such as 2026-01-31T12:00:00.000000Z"
    if not (is_shallow(record.recipe) and is_shallow(record.architecture)):
        yield f"recipe or architecture is nested more than {DEEPEST} deep"
    for text in (record.task, record.method, record.reason or "", record.command):
        if len(text) > LONGEST_TEXT:
            yield "a text is too long"


#: One spelling of a time: records are sorted by the text.
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return _TIME.fullmatch(text) is not None


def is_shallow(value: Any) -> bool:
    """Are lists and objects at most DEEPEST within each other? Level by level: no recursion."""
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level and depth < DEEPEST:
        inside = [each for one in level for each in (one.values() if type(one) is dict else one)]
        level, depth = [each for each in inside if type(each) in (dict, list)], depth + 1
    return not level


def _metric_faults(record: Record) -> Iterator[str]:
    for name, value in record.metrics.items():
        if value is None:
            continue
        if not abs(value) < BEYOND:  # also true of NaN, and of a whole number too large for a float
            yield f"metric {name} is not finite, or beyond {BEYOND:g}"
        plain = name.removeprefix("dense_")
        if plain in _FRACTIONS and not 0 <= value <= 1:
            yield f"metric {name} = {value} lies outside [0, 1]"
        if (name in _POSITIVE or plain in _POSITIVE) and value <= 0:
            yield f"metric {name} = {value} must be above 0"
    if record.status == "ok" and record.metrics.get(_HEADLINES[record.kind]) is None:
        yield f"an ok {record.kind} record needs the metric {_HEADLINES[record.kind]}"
    low, middle, high = (record.metrics.get(f"speedup{end}") for end in ("_low", "", "_high"))
    if low is not None and middle is not None and high is not None and not low <= middle <= high:
        yield f"speedup {middle} lies outside its interval [{low}, {high}]"
