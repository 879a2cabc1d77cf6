"""What is asked of a results folder before it is published: small named checks, each a pure function of all records.

Those of a line alone (`record`, `cell-key`, `metric-range`) are `suite.records`'; here is what only shows among many,
or against this checkout. No network is built and torch is not loaded: 100,000 records take under a minute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite import clock, floors, footprint, intervals, machine, pictures, plan, registry
from suite.footprint import Footprint
from suite.records import ID, Problem, Record, canonical, now, read_lines, record_files


@dataclass(frozen=True)
class Entry:
    """A valid record and where it stands. What takes room is gone from it, but for the weights of its layers."""

    path: Path
    line: int
    record: Record
    footprint: Footprint | None

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


Found = Iterator[tuple[Entry, str]]


@dataclass(frozen=True)
class Check:
    """A named check: what it says in one line, and the entries that it finds, with the reason. A `warning` is news that
    may have a good cause; anything else must not be published.
    """

    name: str
    about: str
    find: Callable[[Sequence[Entry]], Found]
    warning: bool = False


@dataclass(frozen=True)
class Report:
    """How many records are valid, and what the checks found: errors, then warnings."""

    valid: int
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check(results: Path) -> Report:
    """Every check on a results folder; nothing in it is run, nothing is written."""
    entries, problems = read(results)
    errors = [*problems, *machine.damaged(results)]
    warnings: list[Problem] = []
    known = {path.stem for path in (results / "machines").glob("*.json")}
    for each in CHECKS:
        found = [Problem(entry.path, entry.line, reason, each.name) for entry, reason in each.find(entries)]
        (warnings if each.warning else errors).extend(found)
    errors += [Problem(entry.path, entry.line, reason, pictures.CHECK)
               for entry, reason in _lost_pictures(entries, results / pictures.FOLDER)]  # fmt: skip
    warnings += [Problem(entry.path, entry.line, reason, "unknown-machine")
                 for entry, reason in _unknown_machines(entries, known)]  # fmt: skip
    bad = {(each.path, each.line) for each in errors}
    return Report(sum((each.path, each.line) not in bad for each in entries), tuple(errors), tuple(warnings))


def read(results: Path) -> tuple[list[Entry], list[Problem]]:
    """The valid records of a results folder, oldest first, and the bad lines."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    shared: dict[Footprint, Footprint] = {}  # most records have a network that another has too
    for path in record_files(results):
        for line, found in read_lines(path):
            if isinstance(found, Problem):
                problems.append(found)
                continue
            weights = footprint.read(found.architecture)
            if weights is not None:
                weights = shared.setdefault(weights, weights)
            (found,) = intervals.widened([found])
            found.architecture, found.curve, found.trainings, found.samples = None, [], [], []
            entries.append(Entry(path, line, found, weights))
    entries.sort(key=lambda entry: entry.record.created)
    return entries, problems


# -------------------------------------------------------------------------------------------------------------- errors


def _unknown_methods(entries: Sequence[Entry]) -> Found:
    methods = registry.catalogue().methods
    for entry in entries:
        if entry.record.method not in methods:
            yield entry, (f"method {entry.record.method!r} is not in this checkout: send its file too, or install the "
                          "package that has it")  # fmt: skip


def _unknown_tasks(entries: Sequence[Entry]) -> Found:
    tasks = registry.tasks()
    for entry in entries:
        if entry.record.task not in tasks:
            yield entry, f"task {entry.record.task!r} is not in this checkout: send its file too"


def _to_come(entries: Sequence[Entry]) -> Found:
    today = now()
    for entry in entries:
        fault = clock.ahead(entry.record.created, today)
        if fault is not None:
            yield entry, fault


def _other_hyperparameters(entries: Sequence[Entry]) -> Found:
    """A record that claims to be of today's method and has not its hyperparameters."""
    for entry in entries:
        record = entry.record
        method = registry.catalogue().methods.get(record.method)
        if method is None or not plan.is_fresh(record):
            continue
        own, given = {each.name for each in method.hyperparameters}, set(record.hyperparameters)
        odd = sorted((given - set(method.settable)) | (own - given))
        if odd:
            yield entry, f"{', '.join(odd)}: not the hyperparameters of today's {record.method}, of which it says it is"


def _duplicates(entries: Sequence[Entry]) -> Found:
    """One run measures a cell once under the same conditions: a second line of it is a copy."""
    first: dict[tuple[Any, ...], Entry] = {}
    for entry in entries:
        record = entry.record
        if record.status == "ok":
            before = first.setdefault((*_conditions(record), record.run), entry)
            if before is not entry:
                yield entry, f"the same cell, kind, device and conditions of the same run stand at {before.place}"


def _conditions(record: Record) -> tuple[Any, ...]:
    """What makes two measurements measurements of the same."""
    return record.kind, record.cell, record.device, record.machine, canonical(record.conditions)


def _impossible_counts(entries: Sequence[Entry]) -> Found:
    for entry in entries:
        metrics = entry.record.metrics
        for prefix in ("", "dense_"):
            total, nonzero = metrics.get(f"{prefix}parameters"), metrics.get(f"{prefix}nonzero_parameters")
            if total is not None and nonzero is not None and not 0 <= nonzero <= total:
                yield entry, f"{prefix}nonzero_parameters {nonzero:,} of {total:,} parameters"
            first, five = metrics.get(f"{prefix}top1"), metrics.get(f"{prefix}top5")
            if first is not None and five is not None and first > five:
                yield entry, f"{prefix}top1 {first} is above {prefix}top5 {five}"


def _other_dense(entries: Sequence[Entry]) -> Found:
    """A dense network's record states every figure twice, as its own and as the dense network's: the same."""
    for entry in entries:
        record, metrics = entry.record, entry.record.metrics
        if (record.method, record.kind, record.status) == (plan.DENSE, "accuracy", "ok"):
            odd = [name for name in metrics if metrics.get(f"dense_{name}", metrics[name]) != metrics[name]]
            if odd:
                first = f"{odd[0]} {metrics[odd[0]]} and dense_{odd[0]} {metrics[f'dense_{odd[0]}']}"
                yield entry, f"a dense network with {first}{f', and {len(odd) - 1} more' if odd[1:] else ''}"


_FRESHNESS, _COMMIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def _strange_provenance(entries: Sequence[Entry]) -> Found:
    for entry in entries:
        record = entry.record
        if record.device not in machine.DEVICES:
            yield entry, f"device {record.device!r} is none of {', '.join(machine.DEVICES)}"
        if not _FRESHNESS.fullmatch(record.freshness):
            yield entry, f"freshness {record.freshness[:ID]!r} is no SHA-256 in 64 hexadecimal digits"
        if record.git_commit is not None and not _COMMIT.fullmatch(record.git_commit):
            yield entry, f"git_commit {record.git_commit[:ID]!r} is no full commit hash: write null where there is none"


def _parameters(entries: Sequence[Entry]) -> Found:
    """Parameters against the recorded layers; in no layer (bare tensors) stands as much as in the dense network."""
    for entry, own, dense in _networks(entries):
        stated = entry.record.metrics.get("parameters")
        if stated is None or own.precision != "fp32":  # INT8 graphs have their BatchNorm folded
            continue
        loose = 0.0
        if dense is not None:
            loose = max(0.0, (entry.record.metrics.get("dense_parameters") or 0) - dense.parameters)
        if stated < own.parameters or (dense is not None and stated > own.parameters + loose):
            yield entry, f"parameters {stated:,}, but its layers have {own.parameters:,}"


def _macs(entries: Sequence[Entry]) -> Found:
    """MACs against the recorded layers: a layer's change as its weights do, so the whole lies between the layers'."""
    for entry, own, dense in _networks(entries):
        stated, whole = (entry.record.metrics.get(name) for name in ("macs", "dense_macs"))
        shares = None if dense is None else footprint.shares(own, dense)
        if stated is None or not whole or not shares:
            continue
        low, high = min(shares) * whole, max(shares) * whole
        if not low * (1 - 1e-9) - 1 <= stated <= high * (1 + 1e-9) + 1:
            yield entry, (f"macs {stated:,}, but its layers' weights allow {low:,.0f} to {high:,.0f} of the dense "
                          f"network's {whole:,}")  # fmt: skip


def _networks(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Footprint, Footprint | None]]:
    """Accuracy records whose layers are known, with the layers of their dense network where a record has them."""

    def dense_key(entry: Entry, own: Footprint) -> tuple[Any, ...]:
        metrics = entry.record.metrics
        return own.origin, metrics.get("dense_parameters"), metrics.get("dense_macs")

    counting = (entry for entry in entries if (entry.record.kind, entry.record.status) == ("accuracy", "ok"))
    shown = [(entry, entry.footprint) for entry in counting if entry.footprint is not None]
    dense = {dense_key(entry, own): own for entry, own in shown if entry.record.method == plan.DENSE}
    for entry, own in shown:
        yield entry, own, dense.get(dense_key(entry, own))


def _lost_pictures(entries: Sequence[Entry], folder: Path) -> Found:
    named = {digest for entry in entries for digest in entry.record.gallery}
    lost = {digest for digest in named if pictures.read(digest, folder) is None}
    for entry in entries if lost else ():
        own = [digest for digest in entry.record.gallery if digest in lost]
        if own:
            yield entry, pictures.lacking(own, folder)


# ------------------------------------------------------------------------------------------------------------ warnings


def _lost_seeds(entries: Sequence[Entry]) -> Found:
    """A mean over the seeds that went well is no mean: those between, or measured before, are to be there too."""
    settings: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        record = entry.record
        if record.kind == "accuracy":
            key = (record.task, record.method, canonical(record.hyperparameters), record.profile, record.device,
                   record.data_sha256)  # fmt: skip
            settings.setdefault(key, []).append(entry)
    for group in settings.values():
        counting = {
            e.record.seed for e in group if e.record.status in ("ok", "unsupported") and plan.is_fresh(e.record)
        }
        if not counting:
            continue
        tried = {entry.record.seed for entry in group}
        between = range(min(counting), min(max(counting), min(counting) + 1000))
        lost = sorted(({*between} | tried) - counting)
        if lost:
            newest = max((e for e in group if e.record.seed in counting), key=lambda e: e.record.created)
            some = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
            have = ", ".join(map(str, sorted(counting)[:5])) + (", ..." if len(counting) > 5 else "")
            yield newest, f"seeds {have} count, {some} of the same setting {'do' if len(lost) > 1 else 'does'} not"


def _drifted(entries: Sequence[Entry]) -> Found:
    """The newest speed-up of a cell against older ones, of the same code, machine and conditions."""
    known = floors.floors(entry.record for entry in entries)
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        record = entry.record
        if (record.kind, record.status) == ("latency", "ok") and not record.notes.get("contended"):
            groups.setdefault((*_conditions(record), record.freshness), []).append(entry)
    for *older, newest in groups.values():
        record = newest.record
        floor = known.of(record) or 0.0
        low, high = _interval(record.metrics)
        for entry in older:
            old_low, old_high = _interval(entry.record.metrics)
            if low > old_high * (1 + floor) or high < old_low / (1 + floor):
                yield newest, (f"speed-up {record.metrics['speedup']:.3f} [{low:.3f}, {high:.3f}] left the interval "
                               f"[{old_low:.3f}, {old_high:.3f}] of {entry.place}, widened by a noise floor of "
                               f"{100 * floor:.1f} %{_moved(entry.record, record)}")  # fmt: skip
                break


def _interval(metrics: Mapping[str, Any]) -> tuple[float, float]:
    middle = metrics["speedup"]
    low, high = (metrics.get(f"speedup_{end}") for end in ("low", "high"))
    return (middle if low is None else low), (middle if high is None else high)


def _moved(old: Record, new: Record) -> str:
    """The versions that changed in between, which may be the cause."""
    names = [name for name in new.versions if name in old.versions and new.versions[name] != old.versions[name]]
    return "; since then: " + ", ".join(f"{n} {old.versions[n]} to {new.versions[n]}" for n in names) if names else ""


def _unknown_machines(entries: Sequence[Entry], known: set[str]) -> Found:
    told: set[str] = set()
    for entry in entries:
        name = entry.record.machine
        if name not in known and name not in told:
            told.add(name)
            yield entry, f"machines/{name}.json is missing: send it too, it says what was measured on"


CHECKS: tuple[Check, ...] = (
    Check("unknown-method", "the method is in this checkout", _unknown_methods),
    Check("unknown-task", "the task is in this checkout", _unknown_tasks),
    Check("clock", "no record is made after today: the newest one is shown", _to_come),
    Check("hyperparameters", "a fresh record has the hyperparameters of its method", _other_hyperparameters),
    Check("duplicate-cell", "a run holds a cell once under the same conditions", _duplicates),
    Check("metric-range", "metrics are finite and within their range; no more non-zeros than parameters, no top-1 over "
          "the top-5", _impossible_counts),
    Check("dense", "what a dense network's record says of itself and of the dense network is the same", _other_dense),
    Check("provenance", "device, freshness and commit are such as the suite writes", _strange_provenance),
    Check("parameters", "the number of parameters is that of the recorded layers", _parameters),
    Check("macs", "the MACs are possible with the recorded layers", _macs),
    Check("lost-seed", "no seed of a setting is missing among those that count", _lost_seeds, warning=True),
    Check("drift", "a speed-up measured again lies within the older interval", _drifted, warning=True),
)  # fmt: skip
#: Checks that are made elsewhere: of a line, as it is read, and of the files beside the records.
OTHERS = (
    ("record", "a line is a record: its types, texts, names and times", False),
    ("cell-key", "the cell's key is that of task, method, hyperparameters, seed and profile", False),
    ("machine-file", "a file of machines/ describes the machine of its name", False),
    (pictures.CHECK, "the pictures that a record names are in gallery/", False),
    ("unknown-machine", "the machine of a record is described in machines/", True),
)


def listed() -> Iterator[str]:
    """Every check's name, how serious it is, and what it wants, as lines."""
    rows = sorted([*OTHERS, *((each.name, each.about, each.warning) for each in CHECKS)], key=lambda row: row[2])
    width = max(len(name) for name, _, _ in rows)
    for name, about, warning in rows:
        yield f"{name:{width}}  {'warning' if warning else 'error':7}  {about}"
