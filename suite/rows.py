"""One row of the leaderboard: a method with one setting on one task, its seeds added up. Pure: no torch, no file."""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from suite import plan, registry
from suite.errors import SuiteError
from suite.metrics import Metric as Metric
from suite.records import ID, Record, Scalar, canonical, sha256_of
from suite.setups import STATES, Measurement, Setup, State, cost_beside, placed, setup_of
from suite.sources import spell
from suite.stats import half_width_of_mean

#: What a model is judged by, in the order of the columns. A new metric is a row here or in COSTS.
OURS = {
    metric.name: metric
    for metric in (
        Metric("top1", "Top-1", "percent", True),
        Metric("top5", "Top-5", "percent", True),
        Metric("loss", "Loss", "number", False),
        Metric("l1", "L1", "number", False),
        Metric("psnr", "PSNR", "decibel", True),
        Metric("ssim", "SSIM", "number", True),
        Metric("ms_ssim", "MS-SSIM", "number", True),
        Metric("frechet_small", "Fréchet (small)", "number", False),  # of our classifier: no FID
    )
}


class _Quality(Mapping[str, Metric]):
    """Our metrics, then those that task files declare, whatever is installed when it is asked."""

    def __getitem__(self, name: str) -> Metric:
        return OURS[name] if name in OURS else registry.metrics()[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*OURS, *registry.metrics()))

    def __len__(self) -> int:
        return len(OURS) + len(registry.metrics())


QUALITY: Mapping[str, Metric] = _Quality()
#: What it costs.
COSTS = {
    metric.name: metric
    for metric in (
        Metric("parameters", "Parameters", "count", False),
        Metric("nonzero_parameters", "Non-zero parameters", "count", False),
        Metric("macs", "MACs", "count", False),
        Metric("size_bytes", "File size", "bytes", False),
        Metric("size_bytes_compressed", "File size, compressed", "bytes", False),
    )
}


@dataclass(frozen=True)
class Spread:
    """One quantity over seeds: mean, sample standard deviation (None for one seed), number of seeds."""

    mean: float
    deviation: float | None
    seeds: int


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Spread(mean, None, 1)
    # statistics.stdev computes in fractions, exact and thirty times slower: 8 % of the time of a large build
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Spread(mean, math.sqrt(squares / (len(values) - 1)), len(values))


#: A verdict takes so many seeds: below that an interval over seeds says nothing.
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Verdict:
    """Better or worse than `rival`: difference of the headline metric paired by seed, with its 95 % t interval.

    Differences are signed so that above 0 is better. `low` and `high` are None below three seeds: no verdict.
    """

    rival: str
    difference: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def outcome(self) -> Literal["better", "worse", "undecided", "no verdict"]:
        if self.low is None or self.high is None:
            return "no verdict"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


def verdict(rival: str, differences: Sequence[float]) -> Verdict:
    """The verdict over at least one difference paired by seed."""
    mean, n = statistics.fmean(differences), len(differences)
    if n < FEWEST_SEEDS:
        return Verdict(rival, mean, None, None, n)
    half = half_width_of_mean(statistics.stdev(differences), n)
    return Verdict(rival, mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class Standing:
    """What became of one cell."""

    seed: int
    cell: str
    state: State


@dataclass(frozen=True)
class Row:
    """One method with one setting on one task and data set.

    `setting` names what is not default; `cells` its cells by seed; `records` are the accuracy records that count, one
    a seed, and `metrics` their spreads; `change` is the headline metric less dense, paired by seed. `owed` are the
    commands that would complete or refresh the row, `reason` says what is wrong with it.
    """

    task: str
    method: str
    family: str
    hyperparameters: Mapping[str, Scalar]
    setting: str
    profile: str
    data_sha256: str | None
    state: State
    cells: tuple[Standing, ...]
    reason: str | None = None
    records: tuple[Record, ...] = ()
    metrics: Mapping[str, Spread] = field(default_factory=dict)
    change: Spread | None = None
    verdicts: tuple[Verdict, ...] = ()
    speeds: Mapping[Setup, Measurement] = field(default_factory=dict)
    memory: Mapping[Setup, Measurement] = field(default_factory=dict)
    energy: Mapping[Setup, Measurement] = field(default_factory=dict)
    owed: tuple[str, ...] = ()

    @functools.cached_property
    def key(self) -> str:
        return sha256_of([self.task, self.method, dict(self.hyperparameters), self.profile, self.data_sha256])[:16]

    @property
    def cell(self) -> str:
        """The cell that a row links to: its first seed that counts."""
        return next((each.cell for each in self.cells if each.state == self.state), self.cells[0].cell)

    @property
    def id(self) -> str:
        """That cell as its page's address names it; DESIGN's `cell.html#<id>`."""
        return self.cell[:ID]

    def mean(self, name: str) -> float | None:
        found = self.metrics.get(name)
        return None if found is None else found.mean

    def reduction(self, name: str) -> float | None:
        """Dense over compressed: 2 means half as much. None where either was not measured."""
        dense, own = self.mean(f"dense_{name}"), self.mean(name)
        return dense / own if dense is not None and own else None

    def beside(self, setups: Iterable[Setup]) -> Row:
        """The row with its INT8 measurements in the float32 ones of `setups` that they are compared in."""
        return replace(self, speeds=placed(self.speeds, setups))

    def memory_at(self, setup: Setup) -> Measurement | None:
        """The peak memory that belongs to a latency setup."""
        return cost_beside(self.memory, setup)

    def energy_at(self, setup: Setup) -> Measurement | None:
        """The energy that belongs to a latency setup."""
        return cost_beside(self.energy, setup)


# ---------------------------------------------------------------------------------------------------------- the rows


def measured_row(by_seed: Mapping[int, Sequence[Record]], sha: str | None, planned: Mapping[int, plan.Cell]) -> Row:
    """The row of one setting from its records by seed, oldest first; `planned` are the cells that it should have."""
    first = next(iter(by_seed.values()))[0]
    accuracy = {seed: _best(r for r in found if r.kind == "accuracy") for seed, found in sorted(by_seed.items())}
    held = {seed: best for seed, best in accuracy.items() if best is not None}
    state: State = min((best.state for best in held.values()), key=STATES.index, default="missing")
    counting = {seed: best.record for seed, best in held.items() if best.state == state}
    names = {name for record in counting.values() for name, value in record.metrics.items() if value is not None}
    metrics = {name: spread([float(v) for r in counting.values() if (v := r.metrics.get(name)) is not None])
               for name in sorted(names)}  # fmt: skip
    costs = [record for found in by_seed.values() for record in found if record.kind != "accuracy"]
    speeds = _measurements(costs, "latency")
    seeds = sorted({*by_seed, *planned})
    states: dict[int, State] = {seed: held[seed].state if seed in held else "missing" for seed in seeds}
    owed = [command("run", first, seed) for seed in seeds if states[seed] in ("stale", "failed", "missing")]
    if state == "ok":
        owed += _owed_benchmarks(first, min(counting), speeds)
    return Row(
        task=first.task,
        method=first.method,
        family=family(first.method),
        hyperparameters=first.hyperparameters,
        setting=_setting(first.method, first.hyperparameters),
        profile=first.profile,
        data_sha256=sha,
        state=state,
        cells=tuple(
            Standing(seed, by_seed[seed][0].cell if seed in by_seed else planned[seed].key, states[seed])
            for seed in seeds
        ),
        reason=_reason(state, first, [record for found in by_seed.values() for record in found]),
        records=tuple(counting.values()),
        metrics=metrics,
        speeds=speeds,
        memory=_measurements(costs, "memory"),
        energy=_measurements(costs, "energy"),
        owed=tuple(dict.fromkeys(each for each in owed if each is not None)),
    )


def missing_row(planned: Mapping[int, plan.Cell], sha: str | None) -> Row:
    """The row of a setting that was never run."""
    cell = planned[min(planned)]
    return Row(
        task=cell.task,
        method=cell.method,
        family=family(cell.method),
        hyperparameters=cell.hyperparameters,
        setting=_setting(cell.method, cell.hyperparameters),
        profile=cell.profile,
        data_sha256=sha,
        state="missing",
        cells=tuple(Standing(seed, planned[seed].key, "missing") for seed in sorted(planned)),
        owed=tuple(f"python -m suite run {planned[seed].arguments}" for seed in sorted(planned)),
    )


def _best(records: Iterable[Record]) -> Measurement | None:
    """The record that counts among those of one cell, oldest first: the newest fresh ok one, or the nearest to it.

    One of a busy machine counts where there is no other.
    """
    found: dict[State, Record] = {}
    for record in sorted(records, key=lambda each: not each.notes.get("contended")):
        found[_state(record)] = record
    for state in STATES:
        if state in found:
            return Measurement(found[state], state)
    return None


def _state(record: Record) -> State:
    if record.status == "ok":
        return "ok" if plan.is_fresh(record) else "stale"
    return "unsupported" if record.status == "unsupported" else "failed"


def _measurements(records: Sequence[Record], kind: str) -> dict[Setup, Measurement]:
    """The measurement that counts in each setup, of the lowest seed that has one; uncontended before contended."""
    by_setup: dict[Setup, list[Record]] = {}
    for record in records:
        if record.kind == kind:
            by_setup.setdefault(setup_of(record), []).append(record)
    found = {}
    for setup, group in by_setup.items():
        seeds = sorted({record.seed for record in group})
        standing = [best for seed in seeds if (best := _best(r for r in group if r.seed == seed)) is not None]
        found[setup] = min(standing, key=lambda best: (STATES.index(best.state), best.contended))
    return found


def _reason(state: State, first: Record, records: Sequence[Record]) -> str | None:
    """Why a row does not count, in the words of its newest failure or of the registry."""
    newest = max((r for r in records if r.kind == "accuracy"), key=lambda r: r.created, default=None)
    failure = f"{newest.status}: {newest.reason}" if newest is not None and newest.reason is not None else None
    if state == "missing":
        return "no accuracy record yet"
    if state != "stale":
        return failure
    for kind, name, known in (("task", first.task, registry.tasks()), ("method", first.method, _methods())):
        if name not in known:
            return f"{kind} {name} is not in this checkout"
    changed = "measured with an earlier version of the method, model, task or protocol"
    return f"{changed}; the last attempt failed ({failure})" if failure else changed


def _owed_benchmarks(first: Record, seed: int, speeds: Mapping[Setup, Measurement]) -> list[str | None]:
    """The benchmark command where no speed counts. A contended record is fresh: only --force measures it again."""
    if any(m.comparable for m in speeds.values()):
        return []
    contended = next((m.record for m in speeds.values() if m.contended and m.state == "ok"), None)
    again = command("bench", contended or first, seed)
    return [f"{again} --force" if again is not None and contended is not None else again]


#: What texts of settings are made of: names, numbers, lists, and a base within brackets.
_PLAIN = re.compile(r"[\w@%+=:,./\[\] -]*", re.ASCII)


def command(verb: str, record: Record, seed: int) -> str | None:
    """The command that makes a record again, on its kind of device; None where this checkout has no such cell, or its
    text is not plain.

    People paste these into a shell, and records may come from strangers: every word is quoted, and a text of other
    characters than a setting needs is not shown at all.
    """
    try:
        registry.task(record.task)
        hyperparameters = registry.method(record.method).complete(record.hyperparameters)
    except SuiteError:
        return None
    if any(isinstance(value, str) and not _PLAIN.fullmatch(value) for value in hyperparameters.values()):
        return None
    cell = plan.Cell(record.task, record.method, hyperparameters, seed, record.profile)
    return f"python -m suite {verb} {cell.arguments}" + (" --device cuda" if record.device == "cuda" else "")


def _methods() -> Mapping[str, registry.Method]:
    return registry.catalogue().methods


def family(method: str) -> str:
    """The family of a method, and of one that this checkout lacks that it does."""
    return _methods()[method].family if method in _methods() else "not in this checkout"


def _setting(method: str, hyperparameters: Mapping[str, Scalar]) -> str:
    """What differs from the method's defaults, and always the first hyperparameter, which carries the point."""
    schema = _methods()[method].hyperparameters if method in _methods() else ()
    defaults = {parameter.name: parameter.default for parameter in schema}
    lead = next((name for name in (*defaults, *hyperparameters) if name in hyperparameters), None)
    shown = [name for name, value in hyperparameters.items()
             if name == lead or name not in defaults or canonical(defaults[name]) != canonical(value)]  # fmt: skip
    return ", ".join(f"{name} {spell(hyperparameters[name])}" for name in shown)
