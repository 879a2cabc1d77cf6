"""What pytest-benchmark collects, and the calls that have it collected: one row of one cell, in fresh processes.

Whoever measures holds `machine.device_lock` for as long as it goes on: rows that run side by side mean nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import child, machine, memory, stats
from suite.errors import SuiteError, Unsupported, UsageError
from suite.records import MOST_SAMPLES, significant
from suite.tasks import PROFILES

if TYPE_CHECKING:
    import torch
    from torch import nn

    from suite.latency import Ask, Timing

#: Seconds that the pairs of one row may take, the pilot included, by profile (DESIGN section 7).
SECONDS: Mapping[str, float] = {"smoke": 2.0, "quick": 8.0, "full": 60.0}
PROCESSES: Mapping[str, int] = {"smoke": 1, "quick": 3, "full": 3}
#: A child's start, its models' loading, pytest's collection; a memory row's four children (measured on two cores).
CHILD_SECONDS = 0.5
MEMORY_SECONDS = 2.0
#: Five pairs of a slow network may overrun a row's limit; a child that takes longer than this has hung.
PATIENCE_SECONDS = 300.0
#: The share of the processors above which others disturb a row (DESIGN section 7).
CONTENDED = 0.05
BACKENDS = ("eager",)
#: What the compressed network computes in. Neither asks for a conversion: an INT8 network is stored as one.
PRECISIONS = ("fp32", "int8")
PLUGIN = "prunemark-row"


@dataclass(frozen=True)
class Subject:
    """What is measured: a compressed network against its dense one, by the folders where they are stored.

    Where a folder is None its architecture (DESIGN section 8) is rebuilt with random weights. The same network on both
    sides is allowed: an A/A comparison, as for the method `dense`.
    """

    key: str
    compressed: Path | None = None
    dense: Path | None = None
    architecture: Mapping[str, Any] | None = None
    dense_architecture: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Row:
    """The conditions of a measurement, named as in a record. `threads` are those of the CPU, of the host on CUDA."""

    batch_size: int
    threads: int
    backend: str = "eager"
    precision: str = "fp32"
    cache: str = "hot"
    timing: str | None = None

    @property
    def conditions(self) -> dict[str, Any]:
        """The record's `conditions`; `timing` is a CUDA row's alone."""
        given = {"batch_size": self.batch_size, "threads": self.threads, "backend": self.backend,
                 "precision": self.precision, "cache": self.cache}  # fmt: skip
        return given if self.timing is None else {**given, "timing": self.timing}


@dataclass(frozen=True)
class Measurement:
    """What of a record comes from measuring (DESIGN section 8); `samples` are [dense, compressed] seconds a pass."""

    kind: str
    conditions: dict[str, Any]
    status: str
    reason: str | None
    metrics: dict[str, float | int | bool | None]
    samples: list[list[float]]
    notes: dict[str, Any]


def standard_rows(device: str, rows: str = "standard", *, large_batch: int = 128) -> tuple[Row, ...]:
    """The rows that are measured for every cell; `all` adds the other batch x thread combinations, and `cold`.

    UsageError for an unknown device or set of rows.
    """
    if device not in machine.DEVICES:
        raise UsageError(f"unknown device {device!r}: choose one of {', '.join(machine.DEVICES)}")
    if rows not in ("standard", "all"):
        raise UsageError(f"unknown rows {rows!r}: choose one of standard, all")
    if device == "cuda":
        found = [Row(batch_size, 1, timing="wall") for batch_size in (1, large_batch)]
        others: list[Row] = []
    else:
        cores = machine.usable_cores()
        found = [Row(1, 1), Row(large_batch, cores)]
        others = [Row(1, cores), Row(large_batch, 1)]
    if rows == "all":
        found += [*others, *(replace(row, cache="cold") for row in found)]
    return tuple(dict.fromkeys(found))  # one core: some of them are the same


def estimate_seconds(rows: Iterable[Row], profile: str, *, kind: str = "latency") -> float:
    """What measuring one cell's rows will take, in seconds; slow networks, of which few pairs fit, take longer."""
    _check_profile(profile)
    each = MEMORY_SECONDS if kind == "memory" else SECONDS[profile] + PROCESSES[profile] * CHILD_SECONDS
    return sum(each for _ in rows)


def measure(
    subject: Subject,
    row: Row,
    *,
    profile: str,
    device: str,
    kind: str = "latency",
    timeout_seconds: float | None = None,
) -> Measurement:
    """Measure one row of one subject. A failure is a Measurement too: its status and a one-line reason say what failed.

    `kind` is `latency` or `memory`; `timeout_seconds` limits each child process. UsageError or DeviceError where no
    row can be measured at all.
    """
    if kind not in ("latency", "memory"):
        raise UsageError(f"unknown kind {kind!r}: choose one of latency, memory")
    _check_profile(profile)
    machine.require_device(device)
    limit = timeout_seconds or PATIENCE_SECONDS + 2 * SECONDS[profile]
    try:
        if row.backend not in BACKENDS:
            raise Unsupported(f"backend {row.backend!r} is not measured yet: {', '.join(BACKENDS)} is")
        if row.precision not in PRECISIONS:
            raise Unsupported(f"precision {row.precision!r} is not measured yet: {', '.join(PRECISIONS)} are")
        if kind == "memory":
            return _measure_memory(subject, row, device, limit)
        return _measure_latency(subject, row, profile, device, limit)
    except SuiteError as error:
        status, reason = child.failure(error)
        return Measurement(kind, row.conditions, status, reason, {}, [], {})


def measure_noise_floor(
    folder: Path | None,
    row: Row,
    *,
    profile: str,
    device: str,
    architecture: Mapping[str, Any] | None = None,
    timeout_seconds: float | None = None,
) -> Measurement:
    """A/A: two copies of one network, stored or rebuilt, measured against each other as any row is.

    `noise_floor` is the share by which they seem to differ at most, bias and half-width together.
    """
    subject = Subject("noise-floor", folder, folder, architecture, architecture)
    found = measure(subject, row, profile=profile, device=device, timeout_seconds=timeout_seconds)
    metrics = dict(found.metrics)
    if found.status == "ok":
        spread = stats.Interval(*(float(metrics[f"speedup{end}"] or 0) for end in ("", "_low", "_high")))
        metrics["noise_floor"] = stats.noise_floor(spread)
    notes = {name: value for name, value in found.notes.items() if name != "value_blind_speedup"}
    return replace(found, kind="noise-floor", metrics=metrics, notes=notes)


def _check_profile(profile: str) -> None:
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")


# --------------------------------------------------------------------------------------------------------------- memory


def _measure_memory(subject: Subject, row: Row, device: str, limit: float) -> Measurement:
    ask = memory.Ask(subject.compressed, subject.architecture, row.batch_size, row.threads, device)
    compressed = memory.measure(ask, seconds=limit)
    dense = memory.measure(replace(ask, folder=subject.dense, architecture=subject.dense_architecture), seconds=limit)
    metrics: dict[str, Any] = {"peak_bytes": compressed.peak_bytes, "dense_peak_bytes": dense.peak_bytes}
    notes = _weights_notes(compressed.weights, dense.weights)
    if compressed.reserved_bytes is not None:
        notes |= {"reserved_bytes": compressed.reserved_bytes, "dense_reserved_bytes": dense.reserved_bytes}
    return Measurement("memory", row.conditions, "ok", None, metrics, [], notes)


def _weights_notes(compressed: str, dense: str) -> dict[str, Any]:
    given = {"weights": compressed, "dense_weights": dense}
    return {name: weights for name, weights in given.items() if weights == "random"}


# -------------------------------------------------------------------------------------------------------------- latency


@dataclass(frozen=True)
class Timed:
    """What one process answers."""

    timing: Timing
    weights: tuple[str, str]  # of the compressed network, of the dense one: stored or random


def _measure_latency(subject: Subject, row: Row, profile: str, device: str, limit: float) -> Measurement:
    runs: list[Timed] = []
    for _ in range(PROCESSES[profile]):
        schedule = runs[0].timing.schedule if runs else None
        runs.append(child.run(_time_in_pytest, subject, row, profile, device, schedule, seconds=limit))
    timings = [run.timing for run in runs]
    pairs = [pair for timing in timings for pair in timing.pairs]
    speedup = stats.paired_speedup([timing.pairs for timing in timings])
    metrics: dict[str, Any] = {
        "speedup": speedup.value,
        "speedup_low": speedup.low,
        "speedup_high": speedup.high,
        "dense_seconds": stats.median([dense for dense, _ in pairs]),
        "compressed_seconds": stats.median([compressed for _, compressed in pairs]),
        "pairs": len(pairs),
        "converged": timings[0].schedule.converged,
    }
    samples = [[significant(dense), significant(compressed)] for dense, compressed in stats.thin(pairs, MOST_SAMPLES)]
    notes = _weights_notes(*runs[0].weights) | _timing_notes(timings)
    return Measurement("latency", row.conditions, "ok", None, metrics, samples, notes)


def _timing_notes(timings: list[Timing]) -> dict[str, Any]:
    schedule = timings[0].schedule
    notes: dict[str, Any] = {
        "processes": len(timings),
        "dense_passes": schedule.timed[0],
        "compressed_passes": schedule.timed[1],
        "dense_subnormals": timings[0].subnormals[0],
        "subnormals": timings[0].subnormals[1],
    }
    shares = [timing.others_cpu for timing in timings if timing.others_cpu is not None]
    if shares:
        notes["others_cpu"] = significant(max(shares), 3)
        if max(shares) > CONTENDED:
            notes["contended"] = True
    blind = [timing.blind for timing in timings if timing.blind]
    if blind:
        notes["value_blind_speedup"] = significant(stats.paired_speedup(blind).value)
    return notes


# --------------------------------------------------------------------------------------------------- inside the process


class RowPlugin:
    """Carries the row into pytest and its timing out again; `test_latency` finds it by its name."""

    __name__ = PLUGIN

    def __init__(self, dense: nn.Module, compressed: nn.Module, inputs: torch.Tensor, ask: Ask) -> None:
        self.dense, self.compressed, self.inputs, self.ask = dense, compressed, inputs, ask
        self.timing: Timing | None = None
        self.error: Exception | None = None

    def measure(self, benchmark: Any) -> None:
        from suite import latency

        try:
            self.timing = latency.measure(benchmark, self.dense, self.compressed, self.inputs, self.ask)
        except Exception as error:
            self.error = error
            raise


def test_latency(benchmark: Any, request: Any) -> None:
    """The paired protocol; skipped when collected without a row, as by a plain `pytest suite/bench.py`."""
    plugin = request.config.pluginmanager.get_plugin(PLUGIN)
    if plugin is None:
        import pytest

        pytest.skip("no row to measure: use `python -m suite bench`")
    plugin.measure(benchmark)


def _time_in_pytest(subject: Subject, row: Row, profile: str, device: str, schedule: Any) -> Timed:
    """One process's share of a row, timed by pytest-benchmark in a pytest that nothing around it configures."""
    import pytest

    from suite import artifacts, latency

    ask = latency.Ask(
        device=device,
        threads=row.threads,
        cold=row.cache == "cold",
        blind=row.batch_size == 1,
        seconds=SECONDS[profile],
        processes=PROCESSES[profile],
        schedule=schedule,
    )
    with latency.quiet_process(ask):
        dense, shape, dense_weights = artifacts.network(subject.dense, subject.dense_architecture)
        compressed, _, weights = artifacts.network(subject.compressed, subject.architecture)
        plugin = RowPlugin(dense, compressed, artifacts.random_input(row.batch_size, shape), ask)
        for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DEBUG"):
            os.environ.pop(name, None)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        code = pytest.main(
            [__file__, "-c", os.devnull, f"--rootdir={Path(__file__).parent}", "--noconftest", "-p", "no:cacheprovider",
             "-p", "pytest_benchmark.plugin", "--import-mode=importlib", "--assert=plain", "--capture=no", "-q",
             "--benchmark-disable-gc", "--benchmark-timer=time.perf_counter", "--benchmark-quiet",
             # It makes the folder where it would save, were it asked to: name one that is there.
             f"--benchmark-storage={Path(__file__).parent}"],
            plugins=[plugin],
        )  # fmt: skip
    if plugin.error is not None:
        raise plugin.error
    if plugin.timing is None:
        raise SuiteError(f"pytest ended with exit code {int(code)} before it measured anything")
    return Timed(plugin.timing, (weights, dense_weights))
