"""What pytest-benchmark collects, and the calls that have it collected: one row of one cell, in fresh processes.

Whoever measures holds `machine.device_lock` for as long as it goes on: rows that run side by side mean nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import child, conditions, cuda, energy, intervals, machine, memory, profiling, stats, subjects
from suite.errors import SuiteError, Unsupported, UsageError
from suite.records import KINDS, MOST_SAMPLES, significant
from suite.subjects import Exported, Place
from suite.subjects import Row as Row
from suite.subjects import Subject as Subject

if TYPE_CHECKING:
    from suite.latency import Ask, Networks, Timing

#: Five pairs of a slow network may overrun a row's limit; a child that takes longer than this has hung.
PATIENCE_SECONDS = 300.0
#: Compiling is not measuring: a child that compiles has so much longer.
COMPILE_PATIENCE_SECONDS = 900.0
#: The share of the processors above which others disturb a row (DESIGN section 7).
CONTENDED = 0.05
PLUGIN = "prunemark-row"


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


def measure(
    subject: Subject,
    row: Row,
    *,
    profile: str,
    device: str,
    kind: str = "latency",
    timeout_seconds: float | None = None,
    scratch: Path | None = None,
) -> Measurement:
    """Measure one row of one subject. A failure is a Measurement too: its status and a one-line reason say what failed.

    `kind` is one of `records.KINDS`; `timeout_seconds` limits each child process; `scratch` is a folder of this
    run's own where compiled code and exported networks wait for the next row (None: a temporary one). UsageError or
    DeviceError where no row can be measured at all.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown kind {kind!r}: choose one of {', '.join(KINDS)}")
    conditions.check_profile(profile)
    machine.require_device(device)
    limit = timeout_seconds or (
        PATIENCE_SECONDS + 2 * conditions.SECONDS[profile] + (COMPILE_PATIENCE_SECONDS if row.backend != "eager" else 0)
    )
    try:
        if row.timing == profiling.TIMING and kind == "latency":
            return _measure_profile(subject, row, profile, Place(device, scratch or Path(), limit))
        _require(row, device)
        with _own_folder(scratch, row) as folder:
            if kind == "memory":
                return _measure_memory(subject, row, profile, Place(device, folder, limit))
            if kind == "energy":
                return _measure_energy(subject, row, profile, Place(device, folder, limit))
            return _measure_latency(subject, row, profile, Place(device, folder, limit))
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
    scratch: Path | None = None,
) -> Measurement:
    """A/A: two copies of one network, stored or rebuilt, measured against each other as any row is.

    `noise_floor` is the share by which they seem to differ at most, bias and half-width together.
    """
    subject = Subject("noise-floor", folder, folder, architecture, architecture)
    found = measure(subject, row, profile=profile, device=device, timeout_seconds=timeout_seconds, scratch=scratch)
    metrics = dict(found.metrics)
    if found.status == "ok":
        spread = stats.Interval(*(float(metrics[f"speedup{end}"] or 0) for end in ("", "_low", "_high")))
        metrics["noise_floor"] = stats.noise_floor(spread)
    for name in ("dense_eager_seconds", "speedup_over_eager", "speedup_over_eager_low", "speedup_over_eager_high"):
        metrics.pop(name, None)
    notes = {name: value for name, value in found.notes.items() if name != "value_blind_speedup"}
    return replace(found, kind="noise-floor", metrics=metrics, notes=notes)


def _require(row: Row, device: str) -> None:
    """Unsupported where no network can be measured in that way, or only simulated."""
    if row.backend not in conditions.BACKENDS:
        raise Unsupported(f"backend {row.backend!r} is not measured yet: {', '.join(conditions.BACKENDS)} are")
    if row.precision not in conditions.PRECISIONS:
        raise Unsupported(f"precision {row.precision!r} is not measured yet: {', '.join(conditions.PRECISIONS)} are")
    if row.precision == "int8" and device == "cuda":
        raise Unsupported("no INT8 convolution kernel on CUDA: the time would be of a simulation in float32")
    if row.precision == "int8" and row.backend == "eager":
        raise Unsupported("not compiled, an INT8 graph is a simulation in float32: backend compile measures it")
    if row.backend == "onnxruntime" and device == "cuda":
        raise Unsupported("backend onnxruntime is measured on the CPU alone")
    if row.precision in cuda.HALVES and device != "cuda":
        raise Unsupported(f"precision {row.precision} is measured on CUDA alone")
    if (row.timing in cuda.TIMINGS) != (device == "cuda"):
        raise Unsupported(f"timing {row.timing!r} on {device}: on CUDA it is one of {', '.join(cuda.TIMINGS)}")


@contextlib.contextmanager
def _own_folder(scratch: Path | None, row: Row) -> Iterator[Path]:
    if scratch is not None or row.backend == "eager":
        yield scratch or Path()
        return
    with tempfile.TemporaryDirectory(prefix="prunemark-") as folder:
        yield Path(folder)


def _exported(subject: Subject, row: Row, place: Place) -> Exported:
    """The row's networks as ONNX files, which a process of its own writes: what exports is not what is measured."""
    if row.backend != "onnxruntime":
        return Exported()
    return child.run(subjects.export, subject, row, place, seconds=place.limit)


# --------------------------------------------------------------------------------------------------------------- memory


def _measure_memory(subject: Subject, row: Row, profile: str, place: Place) -> Measurement:
    exported = _exported(subject, row, place)
    ask = memory.Ask(
        subject.compressed,
        subject.architecture,
        row.batch_size,
        row.threads,
        place.device,
        row.backend,
        row.precision,
        place.folder,
        exported.files.get("compressed"),
        exported.files.get(subjects.WARM_UP),
    )
    other = replace(
        ask,
        folder=subject.dense,
        architecture=subject.dense_architecture,
        precision=row.precision if row.precision in cuda.HALVES else None,
        onnx=exported.files.get("dense"),
    )
    empty = memory.without_model(ask, seconds=place.limit)
    repeats = conditions.memory_repeats(row, profile)
    found = [[memory.measure(each, seconds=place.limit, empty=empty) for _ in range(repeats)] for each in (ask, other)]
    compressed, dense = map(memory.middle, found)
    metrics: dict[str, Any] = {"peak_bytes": compressed.peak_bytes, "dense_peak_bytes": dense.peak_bytes}
    notes: dict[str, Any] = subjects.weights_notes(compressed.weights, dense.weights)
    notes |= subjects.kernel_notes(max(exported.kernels, compressed.kernels))
    for name in ("reserved_bytes", "warm_up_bytes", "process_bytes"):
        for prefix, peak in (("", compressed), ("dense_", dense)):
            if getattr(peak, name) is not None:
                notes[f"{prefix}{name}"] = getattr(peak, name)
    if repeats > 1:
        for prefix, peaks in zip(("", "dense_"), found, strict=True):
            sizes = [peak.peak_bytes for peak in peaks]
            notes |= {f"{prefix}peak_bytes_low": min(sizes), f"{prefix}peak_bytes_high": max(sizes)}
    return Measurement("memory", row.conditions, "ok", None, metrics, [], notes)


# ------------------------------------------------------------------------------------------------------------- profiler


def _measure_profile(subject: Subject, row: Row, profile: str, place: Place) -> Measurement:
    if row.backend != "eager" or row.precision != "fp32":
        raise Unsupported("the profiler watches eager float32 networks: a compiled one's operators are not its layers")
    found = profiling.measure(
        subject, row, place, seconds=conditions.SECONDS[profile], processes=conditions.processes_of(row, profile)
    )
    busy = {"contended": True} if (found.others_cpu or 0) > CONTENDED else {}
    return Measurement("latency", row.conditions, "ok", None, found.metrics, found.samples, found.notes | busy)


# --------------------------------------------------------------------------------------------------------------- energy


def _measure_energy(subject: Subject, row: Row, profile: str, place: Place) -> Measurement:
    used = energy.of_row(subject, row, place, _exported(subject, row, place), energy.WINDOW_SECONDS[profile])
    notes = used.notes | _others_notes([used.others_cpu])
    return Measurement("energy", row.conditions, "ok", None, energy.metrics(used.energy, row.batch_size), [], notes)


# -------------------------------------------------------------------------------------------------------------- latency


@dataclass(frozen=True)
class Timed:
    """What one process answers."""

    timing: Timing
    notes: dict[str, Any]


def _measure_latency(subject: Subject, row: Row, profile: str, place: Place) -> Measurement:
    exported = _exported(subject, row, place)
    runs: list[Timed] = []
    while not runs or len(runs) < runs[0].timing.schedule.processes:
        schedule = runs[0].timing.schedule if runs else None
        runs.append(child.run(_time_in_pytest, subject, row, profile, place, schedule, exported, seconds=place.limit))
    timings = [run.timing for run in runs]
    kept = cuda.at_speed([timing.pairs for timing in timings], [timing.readings for timing in timings])
    pairs = [pair for process in kept.pairs for pair in process]
    speedup = stats.paired_speedup(kept.pairs)
    metrics: dict[str, Any] = {
        "speedup": speedup.value,
        "speedup_low": speedup.low,
        "speedup_high": speedup.high,
        "dense_seconds": stats.median([dense for dense, _ in pairs]),
        "compressed_seconds": stats.median([compressed for _, compressed in pairs]),
        "pairs": len(pairs),
        "converged": timings[0].schedule.converged and speedup.half_width <= stats.CONVERGED,
    }
    if any(timing.eager for timing in timings):
        beside = [timing.eager for timing in timings]
        metrics["dense_eager_seconds"] = stats.median([dense for pairs in beside for dense, _ in pairs])
        over_eager = stats.paired_speedup(beside)
        metrics["speedup_over_eager"] = over_eager.value
        metrics |= {"speedup_over_eager_low": over_eager.low, "speedup_over_eager_high": over_eager.high}
    samples = [[significant(dense), significant(compressed)] for dense, compressed in stats.thin(pairs, MOST_SAMPLES)]
    notes = runs[0].notes | _timing_notes(timings) | kept.notes
    return Measurement("latency", row.conditions, "ok", None, metrics, samples, notes)


def _timing_notes(timings: list[Timing]) -> dict[str, Any]:
    schedule = timings[0].schedule
    notes: dict[str, Any] = {
        "processes": len(timings),
        intervals.BETWEEN: True,
        "dense_passes": schedule.timed[0],
        "compressed_passes": schedule.timed[1],
    }
    notes |= _others_notes([timing.others_cpu for timing in timings])
    blind = [timing.blind for timing in timings if timing.blind]
    if blind:
        notes["value_blind_speedup"] = significant(stats.paired_speedup(blind).value)
    return notes


def _others_notes(shares: Iterable[float | None]) -> dict[str, Any]:
    """The largest share of the processors that others took in one process's time, and whether that disturbs."""
    known = [share for share in shares if share is not None]
    if not known:
        return {}
    return {"others_cpu": significant(max(known), 3)} | ({"contended": True} if max(known) > CONTENDED else {})


# --------------------------------------------------------------------------------------------------- inside the process


class RowPlugin:
    """Carries the row into pytest and its timing out again; `test_latency` finds it by its name."""

    __name__ = PLUGIN

    def __init__(self, networks: Networks, ask: Ask) -> None:
        self.networks, self.ask = networks, ask
        self.timing: Timing | None = None
        self.error: Exception | None = None

    def measure(self, benchmark: Any) -> None:
        from suite import latency

        try:
            self.timing = latency.measure(benchmark, self.networks, self.ask)
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


def _time_in_pytest(subject: Subject, row: Row, profile: str, place: Place, schedule: Any, exported: Exported) -> Timed:
    """One process's share of a row, timed by pytest-benchmark in a pytest that nothing around it configures."""
    import pytest

    from suite import latency

    ask = latency.Ask(
        device=place.device,
        threads=row.threads,
        cold=row.cache == "cold",
        seconds=conditions.SECONDS[profile],
        processes=conditions.processes_of(row, profile),
        schedule=schedule,
    )
    with latency.quiet_process(ask), subjects.ready(subject, row, place, exported) as (networks, notes):
        plugin = RowPlugin(networks, ask)
        for name in [name for name in os.environ if name.startswith("PYTEST_")]:  # of a pytest that this runs under
            del os.environ[name]
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
    return Timed(plugin.timing, notes)
