"""What is measured of a cell: the rows, by device, precision and kind of task, and the seconds that each will take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from suite import cuda, energy, machine, profiling, stats
from suite.errors import DeviceError, UsageError
from suite.records import KINDS
from suite.subjects import Row
from suite.tasks import PROFILES

#: Seconds that the pairs of one row may take, the pilot included, by profile (DESIGN section 7).
SECONDS: Mapping[str, float] = {"smoke": 2.0, "quick": 8.0, "full": 60.0}
#: Fresh processes of a latency row. Noise from process to process is what six tell better than three: at equal pairs
#: their interval is about half as wide (simulated at 6 % between pairs and 3 % between processes: 4.6 and 8.4 %;
#: measured, seven rows of each in turns, one image: half-widths of 2.4 and 6.7 % on average).
PROCESSES: Mapping[str, int] = {"smoke": 1, "quick": 6, "full": 6}
#: A child's start, its models' loading, pytest's collection; one of a memory row's children (measured on two cores).
CHILD_SECONDS = 0.5
MEMORY_SECONDS = 0.2
#: MACs a second and thread of a large batch (VGG16, batch 128, two threads of Zen 4: 0.42 s), and the passes of the
#: dense network in the time that a row of a slow one takes: in each process warm-up and two pairs, next to a compressed
#: network that takes half as long; in a memory row two, and two of the compressed one.
MACS_PER_THREAD = 47e9
SLOW_PASSES = 10.5
MEMORY_PASSES = 3
#: What comes on top for a row of a backend: the first network compiled or exported in a run, and each process of a row.
BACKEND_SECONDS: Mapping[str, tuple[float, float]] = {"eager": (0, 0), "compile": (10, 10), "onnxruntime": (15, 1)}
#: What comes on top for each process on CUDA: making a context, loading kernels, capturing graphs (a guess).
CUDA_SECONDS = 4.0
BACKENDS = ("eager", "compile", "onnxruntime")
#: What the compressed network computes in. An INT8 network is stored as one; on CUDA, both networks of a float32 pair
#: are converted to a half precision.
PRECISIONS = ("fp32", "int8", *cuda.HALVES)
#: Images in a large batch; of a task that reconstructs its larger images (DESIGN section 7).
LARGE_BATCH = 128
LARGE_BATCH_OF_RECONSTRUCTIONS = 32


def standard_rows(
    device: str, rows: str = "standard", *, large_batch: int = LARGE_BATCH, cores: int | None = None
) -> tuple[Row, ...]:
    """The rows that are measured for every float32 cell; `as_precision` makes those of another from them.

    `cores` are the measuring machine's (None: this one's).
    `all` adds `cold` and torch.profiler's totals; on the CPU also the other batch x thread combinations, each with
    torch.compile and ONNX Runtime too, on CUDA fp16, bf16 and torch.compile. UsageError for an unknown device or set of
    rows.
    """
    if device not in machine.DEVICES:
        raise UsageError(f"unknown device {device!r}: choose one of {', '.join(machine.DEVICES)}")
    if rows not in ("standard", "all"):
        raise UsageError(f"unknown rows {rows!r}: choose one of standard, all")
    if device == "cuda":
        found = [Row(batch_size, 1, timing=timing) for batch_size in (1, large_batch) for timing in cuda.TIMINGS]
        others = [replace(row, precision=precision) for precision in cuda.HALVES for row in found]
        others += [replace(row, backend="compile") for row in found]
    else:
        cores = cores or machine.usable_cores()
        found = [Row(1, 1), Row(large_batch, cores)]
        others = [
            Row(batch_size, threads, backend)
            for backend in BACKENDS
            for batch_size in (1, large_batch)
            for threads in (1, cores)
        ]
    if rows == "all":
        found += [*others, *(replace(row, cache="cold") for row in found), Row(1, 1, timing=profiling.TIMING)]
    return tuple(dict.fromkeys(found))  # one core: some of them are the same


def is_extra(row: Row, device: str) -> bool:
    """Is the row measured only where all are asked for? Of any task and precision."""
    usual = standard_rows(device)
    usual += for_objective(usual, "reconstruction")
    return row not in (*usual, *as_precision(usual, "int8"))


def as_precision(rows: Iterable[Row], precision: str) -> tuple[Row, ...]:
    """The rows of a network that computes in `precision`: an INT8 one is measured compiled where others are eager.

    It is not profiled: a compiled network's operators are no longer its layers. On CUDA it cannot be measured at all,
    and says so once a batch size.
    """
    if precision == "fp32":
        return tuple(rows)
    return tuple(dict.fromkeys(_int8_row(row) for row in rows if row.timing != profiling.TIMING))


def _int8_row(row: Row) -> Row:
    if row.timing is not None:
        return Row(row.batch_size, row.threads, precision="int8", timing=cuda.WALL)
    return replace(row, precision="int8", backend="compile" if row.backend == "eager" else row.backend)


def kinds(device: str, asked: Collection[str] = ()) -> tuple[str, ...]:
    """What is measured on this machine's `device`, of what was asked for (all): energy where there is a counter.

    DeviceError where energy was asked for by name and there is none.
    """
    missing = energy.missing(device)
    if missing is not None and "energy" in asked:
        raise DeviceError(f"--kind energy: {missing}")
    return chosen(KINDS if missing is None else KINDS[:2], asked)


def chosen(possible: Iterable[str], asked: Collection[str]) -> tuple[str, ...]:
    """What of the kinds that can be measured was asked for: all of them where nothing was."""
    return tuple(kind for kind in possible if not asked or kind in asked)


def for_objective(rows: Iterable[Row], objective: str) -> tuple[Row, ...]:
    """The rows of a task: one that reconstructs images takes a smaller large batch."""
    if objective != "reconstruction":
        return tuple(rows)
    smaller = LARGE_BATCH_OF_RECONSTRUCTIONS
    return tuple(replace(row, batch_size=smaller) if row.batch_size == LARGE_BATCH else row for row in rows)


def estimate_seconds(rows: Iterable[Row], profile: str, *, kind: str = "latency", macs: int = 0) -> float:
    """What measuring one cell's rows will take, in seconds; `macs` are the dense network's on the CPU, for one image.

    `kind` is `latency`, `memory`, `energy` or `noise-floor`. The five pairs of a slow network may take longer than a
    row's limit.
    """
    check_profile(profile)
    found = 0.0
    for row in rows:
        repeats = memory_repeats(row, profile)
        one_pass = row.batch_size * macs / (MACS_PER_THREAD * row.threads)
        processes = {"memory": 1 + 2 * repeats, "energy": 1}.get(kind, processes_of(row, profile))
        if processes * SLOW_PASSES * one_pass > SECONDS[profile] and kind not in ("memory", "energy"):
            processes = min(processes, stats.FEWER_PROCESSES)
        if kind == "memory":
            found += processes * MEMORY_SECONDS + repeats * MEMORY_PASSES * one_pass
        elif kind == "energy":
            found += CHILD_SECONDS + energy.estimate_seconds(profile)
        else:
            found += max(SECONDS[profile], processes * SLOW_PASSES * one_pass) + processes * CHILD_SECONDS
        first, every = BACKEND_SECONDS.get(row.backend, (0, 0))
        found += first + processes * (every + (CUDA_SECONDS if row.timing not in (None, profiling.TIMING) else 0))
    return found


def memory_repeats(row: Row, profile: str) -> int:
    """How often each network's peak is taken, each time in a fresh process: once where each would compile it anew."""
    return 1 if row.backend == "compile" or row.timing is not None else min(PROCESSES[profile], stats.FEWER_PROCESSES)


def processes_of(row: Row, profile: str) -> int:
    """In how many fresh processes a row is timed, at most: fewer where one costs seconds of compiling or capturing."""
    costly = row.backend != "eager" or row.timing is not None
    return min(PROCESSES[profile], stats.FEWER_PROCESSES) if costly else PROCESSES[profile]


def check_profile(profile: str) -> None:
    """UsageError where there is no such profile."""
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
