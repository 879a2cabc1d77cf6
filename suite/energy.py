"""Energy of an image: the joules that a counter shows while a network runs, less those of the machine doing nothing.

On CUDA the counter is the GPU board's (NVML), on the CPU that of all processor packages (RAPL): memory outside them,
fans and the power supply are not inside the number. Five times in turn the process sleeps, runs the dense network and
runs the compressed one, each for a window of time, who runs first alternating. The idle power of each turn is its own:
a warm chip leaks more. It is subtracted over the window's time; what is left is what the work costs.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from suite import child, cuda, nvml, subjects
from suite.errors import Unsupported
from suite.records import significant
from suite.subjects import Exported, Place, Row, Subject

POWERCAP = Path("/sys/class/powercap")
REPEATS = 5
#: Seconds of one window, by profile. Counters move in steps of up to 0.1 s: only ten seconds make that one per cent.
WINDOW_SECONDS: Mapping[str, float] = {"smoke": 0.5, "quick": 2.0, "full": 10.0}
#: Before an idle window the load's last traces fade for this share of it.
SETTLE_SHARE = 0.1
#: Passes are run in bursts of about so long, between two looks at the clock.
BURST_SECONDS = 0.05


class Counter(Protocol):
    """Counts energy: `joules()` grows, from a start that means nothing; `name` says what it counts."""

    @property
    def name(self) -> str: ...

    def joules(self) -> float: ...


class Runs(Protocol):
    """A network that is ready: `run(passes)` returns when they are done."""

    def run(self, passes: int) -> None: ...


# ------------------------------------------------------------------------------------------------------------- counters


class Rapl:
    """The energy counters of all processor packages (Intel, and AMD since Linux 5.8), in sum.

    `root` is the powercap folder. Each counter starts again at its `max_energy_range_uj` (a 280 W package: every 15
    minutes); that is made up for, if `joules` is called at least once a turn. Unsupported, with the remedy, where there
    is none or it may not be read.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = POWERCAP if root is None else root
        # Only packages: their parts (intel-rapl:0:0) are inside them, the platform (psys) and the same counters by
        # another way (intel-rapl-mmio) would count twice.
        self._zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if _text(zone / "name").startswith("package")]
        if not self._zones:
            raise Unsupported(f"no energy counter of the CPU: {root}/intel-rapl:* has no package (usual in a VM)")
        self._ranges = [int(_text(zone / "max_energy_range_uj") or 0) for zone in self._zones]
        self._last = [_microjoules(zone) for zone in self._zones]
        self._total = 0

    @property
    def name(self) -> str:
        return f"RAPL, {len(self._zones)} package{'' if len(self._zones) == 1 else 's'}"

    def joules(self) -> float:
        """Since this object was made."""
        now = [_microjoules(zone) for zone in self._zones]
        for index, (before, after) in enumerate(zip(self._last, now, strict=True)):
            self._total += after - before + (self._ranges[index] if after < before else 0)
        self._last = now
        return self._total / 1e6


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _microjoules(zone: Path) -> int:
    path = zone / "energy_uj"
    try:
        return int(path.read_text())
    except PermissionError as error:
        raise Unsupported(
            f"{path} may be read by root alone: sudo chmod a+r {zone.parent}/intel-rapl:*/energy_uj"
        ) from error
    except (OSError, ValueError) as error:
        raise Unsupported(f"{path} cannot be read: {error}") from error


@dataclass(frozen=True)
class BoardCounter:
    """The energy counter of a whole GPU board."""

    gpu: nvml.Gpu
    name: str = "NVML, GPU board"

    def joules(self) -> float:
        return self.gpu.joules()


@contextlib.contextmanager
def counter(device: str, uuid: str | None = None, *, library: Any = None) -> Iterator[Counter]:
    """The energy counter of `device` (`uuid`: which GPU; `library` stands in for pynvml).

    Unsupported, with the remedy, where there is none.
    """
    if device == "cuda":
        with nvml.gpu(uuid, library=library) as gpu:
            found: Counter = BoardCounter(gpu)
            found.joules()
            yield found
    else:
        yield Rapl()


def missing(device: str) -> str | None:
    """Why the energy of `device` cannot be measured on this machine; None where it can."""
    try:
        with counter(device):
            return None
    except Unsupported as error:
        return str(error)


# ------------------------------------------------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class Window:
    """Joules, seconds and passes between two readings of a counter."""

    joules: float
    seconds: float
    passes: int

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


@dataclass(frozen=True)
class Energy:
    """Joules per pass of each repeat, idle subtracted; `idle_watts` of each; `watts`, of both networks, idle inside."""

    dense: list[float]
    compressed: list[float]
    idle_watts: list[float]
    watts: tuple[float, float]
    counter: str


def measure(
    dense: Runs,
    compressed: Runs,
    source: Counter,
    *,
    seconds: float,
    now: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Energy:
    """Energy of both networks, in windows of so many seconds, five repeats.

    Unsupported where the counter stands still, or a network takes no more than an idle machine.
    """
    bursts = [_burst(network, now) for network in (dense, compressed)]
    found: tuple[list[float], list[float]] = ([], [])
    power: tuple[list[float], list[float]] = ([], [])
    idle: list[float] = []
    for repeat in range(REPEATS):
        sleep(SETTLE_SHARE * seconds)
        idle.append(_window(lambda: _sleep(seconds, sleep), source, now).watts)
        for side in (0, 1) if repeat % 2 == 0 else (1, 0):
            network = (dense, compressed)[side]
            work = _window(lambda network=network, side=side: _run(network, bursts[side], seconds, now), source, now)  # type: ignore[misc]
            found[side].append((work.joules - idle[-1] * work.seconds) / work.passes)
            power[side].append(work.watts)
    for name, joules in zip(("dense", "compressed"), found, strict=True):
        if statistics.median(joules) <= 0:
            raise Unsupported(f"the {name} network takes no more energy than the idle machine: nothing to be measured")
    return Energy(*found, idle, (statistics.median(power[0]), statistics.median(power[1])), source.name)


def metrics(found: Energy, batch_size: int) -> dict[str, float | int | bool | None]:
    """The record's metrics: the median joules per image of both networks."""
    return {
        "joules": significant(statistics.median(found.compressed) / batch_size),
        "dense_joules": significant(statistics.median(found.dense) / batch_size),
    }


def notes(found: Energy, seconds: float) -> dict[str, Any]:
    """What a record notes of it: the spread is the sample standard deviation of the repeats, as a share of the mean."""
    return {
        "counter": found.counter,
        "repeats": len(found.compressed),
        "window_seconds": seconds,
        "joules_spread": _spread(found.compressed),
        "dense_joules_spread": _spread(found.dense),
        "idle_watts": significant(statistics.median(found.idle_watts), 3),
        "watts": significant(found.watts[1], 3),
        "dense_watts": significant(found.watts[0], 3),
    }


def estimate_seconds(profile: str) -> float:
    """What the windows of one row take."""
    return REPEATS * (3 + SETTLE_SHARE) * WINDOW_SECONDS[profile]


def _spread(values: list[float]) -> float:
    return significant(statistics.stdev(values) / abs(statistics.fmean(values)), 3)


def _burst(network: Runs, now: Callable[[], float]) -> int:
    """So many passes take about a twentieth of a second; the network is warm afterwards."""
    network.run(3)
    started = now()
    network.run(3)
    return max(1, round(BURST_SECONDS * 3 / max(now() - started, 1e-9)))


def _run(network: Runs, burst: int, seconds: float, now: Callable[[], float]) -> int:
    ends, passes = now() + seconds, 0
    while passes == 0 or now() < ends:
        network.run(burst)
        passes += burst
    return passes


def _sleep(seconds: float, sleep: Callable[[float], None]) -> int:
    sleep(seconds)
    return 0


def _window(work: Callable[[], int], source: Counter, now: Callable[[], float]) -> Window:
    started, before = now(), source.joules()
    passes = work()
    joules, seconds = source.joules() - before, now() - started
    if joules <= 0:
        raise Unsupported(f"the energy counter ({source.name}) stood still for {seconds:.2g} s")
    return Window(joules, seconds, passes)


# ---------------------------------------------------------------------------------------------------------------- a row


@dataclass(frozen=True)
class Used:
    """What the process of an energy row answers; `others_cpu` as in a `latency.Timing`."""

    energy: Energy
    notes: dict[str, Any]
    others_cpu: float | None


def of_row(subject: Subject, row: Row, place: Place, exported: Exported, seconds: float) -> Used:
    """The energy of a row's networks, measured in a process of its own in windows of so many seconds.

    Unsupported where there is no counter; ChildFailed says why else there is no result.
    """
    reason = missing(place.device)
    if reason is not None:
        raise Unsupported(reason)
    return child.run(_in_child, subject, row, place, exported, seconds, seconds=place.limit)


def _in_child(subject: Subject, row: Row, place: Place, exported: Exported, seconds: float) -> Used:
    import torch

    from suite import latency

    ask = latency.Ask(place.device, row.threads, cold=False, seconds=seconds, processes=1)
    with (
        latency.quiet_process(ask),
        subjects.ready(subject, row, place, exported) as (networks, known),
        counter(place.device, cuda.uuid() if place.device == "cuda" else None) as source,
        torch.inference_mode(),
    ):
        before = latency.cpu_times()
        found = measure(networks.dense, networks.compressed, source, seconds=seconds)
        return Used(found, known | notes(found, seconds), latency.others_share(before, latency.cpu_times()))
