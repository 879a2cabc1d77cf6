"""The time that torch.profiler adds up: a row of its own, as the GoogLeNet report has it, never beside wall times.

The profiler slows what it watches: every operator pays for being written down, so a network of many small layers looks
slower than it is. Its totals are the footer of its own table: the sums of all operators' self time on the CPU, and of
all kernels' on the GPU. A sample is five passes of one network, profiled after a few that are not, divided by five; the
networks take turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from suite import child, stats, subjects
from suite.errors import Unsupported
from suite.records import MOST_SAMPLES, significant
from suite.subjects import Exported, Place, Row, Subject

if TYPE_CHECKING:
    from suite.latency import Network

#: The `timing` of a row that is measured here.
TIMING = "profiler"
UNTIMED_PASSES = 3
#: Starting and ending the profiler takes a tenth of a second, whatever it watches.
PROFILED_PASSES = 5
FEWEST_PAIRS = 5
MOST_PAIRS = 100


@dataclass(frozen=True)
class Totals:
    """Seconds of one pass: of all operators on the CPU, of all kernels on the GPU (None without one)."""

    cpu: float
    cuda: float | None


@dataclass(frozen=True)
class Profile:
    """A row: its metrics, samples [dense, compressed] of the totals that its speed-up is of, notes; others' share."""

    metrics: dict[str, float | int | bool | None]
    samples: list[list[float]]
    notes: dict[str, Any]
    others_cpu: float | None


@dataclass(frozen=True)
class Profiled:
    """One process's pairs [dense, compressed], what a record notes, and others' share of the processors meanwhile."""

    pairs: list[tuple[Totals, Totals]]
    notes: dict[str, Any]
    others_cpu: float | None


def measure(subject: Subject, row: Row, place: Place, *, seconds: float, processes: int) -> Profile:
    """Profile a row, in so many processes and `seconds` for all of them; ChildFailed says why it came to nothing.

    The speed-up is of CUDA totals on a CUDA device, else of CPU totals; its interval resamples processes, then pairs.
    """
    asked = (subject, row, place, seconds / processes)
    runs = [child.run(profile_in_turns, *asked, seconds=place.limit) for _ in range(processes)]
    shares = [run.others_cpu for run in runs if run.others_cpu is not None]
    notes = runs[0].notes | {"processes": processes}
    if shares:
        notes["others_cpu"] = significant(max(shares), 3)
    metrics, samples = _told([run.pairs for run in runs], place.device)
    return Profile(metrics, samples, notes, max(shares, default=None))


def _told(
    runs: Sequence[Sequence[tuple[Totals, Totals]]], device: str
) -> tuple[dict[str, float | int | bool | None], list[list[float]]]:
    """Metrics and samples from each process's pairs; Unsupported where a total is of nothing."""

    def of(name: str) -> list[list[tuple[float, float]]]:
        return [[(getattr(dense, name), getattr(own, name)) for dense, own in pairs] for pairs in runs]

    headline = of("cuda" if device == "cuda" else "cpu")
    flat = [pair for pairs in headline for pair in pairs]
    if min(map(min, flat)) <= 0:
        raise Unsupported(f"the profiler counted no time on {device}: this machine may not let it read the counters")
    speedup = stats.paired_speedup(headline)
    metrics: dict[str, float | int | bool | None] = {
        "speedup": speedup.value,
        "speedup_low": speedup.low,
        "speedup_high": speedup.high,
        "pairs": len(flat),
        "converged": speedup.half_width <= stats.CONVERGED,
    }
    for name in ("cpu", "cuda") if device == "cuda" else ("cpu",):
        pairs = [pair for each in of(name) for pair in each]
        metrics[f"dense_total_{name}_seconds"] = stats.median([dense for dense, _ in pairs])
        metrics[f"total_{name}_seconds"] = stats.median([own for _, own in pairs])
    return metrics, [[significant(a), significant(b)] for a, b in stats.thin(flat, MOST_SAMPLES)]


# -------------------------------------------------------------------------------------------------------- in the child


def profile_in_turns(subject: Subject, row: Row, place: Place, seconds: float) -> Profiled:
    """Profile both networks in turns (A B B A) for so many seconds, at least five times each."""
    import torch

    from suite import latency

    ask = latency.Ask(place.device, row.threads, cold=row.cache == "cold", seconds=seconds, processes=1)
    plain = replace(row, timing=None)  # the profiler reads the clocks itself
    with latency.quiet_process(ask), subjects.ready(subject, plain, place, Exported()) as (networks, notes):
        both = (networks.dense, networks.compressed)
        with torch.inference_mode():
            for network in both:
                totals(network)  # the first profile loads the tracer
            started, before = time.perf_counter(), latency.cpu_times()
            pairs: list[tuple[Totals, Totals]] = []
            while len(pairs) < FEWEST_PAIRS or (
                len(pairs) < MOST_PAIRS and time.perf_counter() - started < seconds * len(pairs) / (len(pairs) + 1)
            ):
                first = len(pairs) % 2
                found = {side: totals(both[side]) for side in (first, 1 - first)}
                pairs.append((found[0], found[1]))
            return Profiled(pairs, notes, latency.others_share(before, latency.cpu_times()))


def totals(network: Network) -> Totals:
    """The totals of a pass: the mean of some that are profiled, after a few that are not."""
    from torch.profiler import ProfilerActivity, profile

    on_cuda = network.inputs.is_cuda
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    network.run(UNTIMED_PASSES)
    with profile(activities=activities) as watched:
        for _ in range(PROFILED_PASSES):
            network.model(network.inputs)  # what waits for the device is the profiler's own end
    found = added_up(watched.key_averages(), on_cuda=on_cuda)
    return Totals(found.cpu / PROFILED_PASSES, None if found.cuda is None else found.cuda / PROFILED_PASSES)


def added_up(events: Iterable[Any], *, on_cuda: bool) -> Totals:
    """The footer of the profiler's table, in seconds, from its events; `cuda` is None without `on_cuda`."""
    from torch._C._autograd import DeviceType

    found = list(events)
    cpu = sum(each.self_cpu_time_total for each in found)
    kernels = [each for each in found if each.device_type == DeviceType.CUDA and not each.is_user_annotation]
    return Totals(cpu * 1e-6, sum(each.self_device_time_total for each in kernels) * 1e-6 if on_cuda else None)
