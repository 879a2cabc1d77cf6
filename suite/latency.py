"""The paired protocol: two networks timed in turns, block by block, inside pytest-benchmark. One device, one process.

A pair is one block of the dense network and one of the compressed network, next to each other in time, so that
whatever slows the machine slows both. A block is a few untimed passes and then a timed loop of the same network: the
passes of the other network have emptied the caches, and a small network, whose weights would stay there in service,
would pay for its neighbour's size (VGG16 at 22 of 64 channels, batch 1, one thread: 5.0x in bare alternation, 6.5x in
blocks, 6.5x when each runs alone). Who goes first alternates (A B B A), which cancels a drift of the clock.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from suite import cuda, stats
from suite.cuda import Reading, Readings
from suite.stats import Pair

UNTIMED_PASSES = 5
FEWEST_PASSES = 5
BLOCK_SECONDS = 0.005
#: A slow network's untimed and timed parts end here, with fewer passes than five: one pass of 0.3 s fills the caches by
#: itself and is timed to a millionth, and ten of them would leave a row no time for pairs.
LONGEST_SECONDS = 0.25
PILOT_PAIRS = 20
FEWEST_PAIRS_AT_ALL = 5
MOST_ROUNDS = 5000
#: A row's share of the time limit that the pilot may use.
PILOT_SHARE = 0.25
#: One pair of a control for so many others.
CONTROL_EVERY = 4
_BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32,
         torch.float64: torch.int64}  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """What the first process's pilot fixed for all processes of a row: how many, passes per block, pairs per process.

    `beside` is that of the pairs of the eager dense network, where there is one.
    """

    untimed: tuple[int, int]  # of the dense network, of the compressed one; a bare alternation has none
    timed: tuple[int, int]
    rounds: int
    control_rounds: int
    converged: bool
    beside: Schedule | None = None
    processes: int = 1


@dataclass(frozen=True)
class Timing:
    """One process's pairs, in seconds per pass, and what else it saw.

    `blind` are pairs of the dense network and the compressed one with redrawn weights, `eager` pairs of the dense
    network run eagerly and the compressed one as the row runs it; `others_cpu` is the share of the machine's processor
    time that went to other processes meanwhile, None where the system does not tell. `readings` are the GPU's state
    after each block of the pairs, None on the CPU.
    """

    pairs: list[Pair]
    blind: list[Pair]
    eager: list[Pair]
    schedule: Schedule
    others_cpu: float | None
    readings: list[Readings] | None = None


@dataclass(frozen=True)
class Ask:
    """How to time: `seconds` and `processes`, at most, are the whole row's, `schedule` is None in its first process."""

    device: str
    threads: int
    cold: bool
    seconds: float
    processes: int
    schedule: Schedule | None = None


#: Another clock than the host's: seconds from the start of `launch(passes)`, which need not wait, to the passes' end.
Clock = Callable[[Callable[[int], object], int], float]


@dataclass(frozen=True)
class Network:
    """A network and its input, ready to run: whatever compiles it has compiled it.

    `model(inputs)` is a pass, `finish` returns when the device has done all that was asked of it. Without a `clock` of
    its own the host's counts, from before the first pass until `finish` returns.
    """

    model: Callable[[torch.Tensor], object]
    inputs: torch.Tensor
    finish: Callable[[], object]
    clock: Clock | None = None

    def launch(self, passes: int) -> None:
        model, inputs = self.model, self.inputs
        for _ in range(passes):
            model(inputs)

    def run(self, passes: int) -> None:
        self.launch(passes)
        self.finish()

    def time(self, passes: int) -> float:
        """Seconds per pass of so many passes in a row."""
        if self.clock is not None:
            return self.clock(self.launch, passes) / passes
        start = time.perf_counter()
        self.run(passes)
        return (time.perf_counter() - start) / passes


@dataclass(frozen=True)
class Networks:
    """What is timed: two networks, and those of the control pairs beside them.

    `redrawn` is the compressed network with other weights (the value-blind control), `eager` the dense one as it is
    without a compiler; None leaves the control out. `watch` reads the GPU's state after each block of the pairs.
    """

    dense: Network
    compressed: Network
    redrawn: Network | None = None
    eager: Network | None = None
    watch: Callable[[], Reading | None] | None = None


def eager(model: nn.Module, inputs: torch.Tensor, device: str = "cpu") -> Network:
    """A network as torch runs it, layer by layer, on `inputs` (N, C, H, W), channels last."""
    finish: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else _nothing
    ready: nn.Module = model.eval().to(device).to(memory_format=torch.channels_last)
    return Network(ready, inputs.to(device).contiguous(memory_format=torch.channels_last), finish)


def measure(benchmark: Any, networks: Networks, ask: Ask) -> Timing:
    """Time the networks through pytest-benchmark's fixture, inside a `quiet_process`.

    The compressed network's times are pytest-benchmark's own, the dense one's are taken by the same clock in its
    `setup` and `teardown`. Networks with a clock of their own are timed by that, in rounds that pytest-benchmark runs.
    """
    with torch.inference_mode():
        if ask.device == "cuda":
            cuda.wake([networks.dense, networks.compressed, networks.redrawn, networks.eager])
        started = time.perf_counter()
        if ask.schedule is None:
            schedule = plan(networks, ask, started)
        else:
            schedule = ask.schedule
            for network, untimed in zip((networks.dense, networks.compressed), schedule.untimed, strict=True):
                network.run(max(1, untimed))
        before = cpu_times()
        pairs, readings = _pairs(benchmark, networks, schedule, ask.cold)
        blind: list[Pair] = []
        if networks.redrawn is not None:
            networks.redrawn.run(max(1, schedule.untimed[1]))
            blind = _controls(networks.dense, networks.redrawn, schedule, ask.cold, schedule.control_rounds)
        beside: list[Pair] = []
        if networks.eager is not None and schedule.beside is not None:
            networks.eager.run(max(1, schedule.beside.untimed[0]))
            beside = _controls(networks.eager, networks.compressed, schedule.beside, ask.cold, schedule.beside.rounds)
        return Timing(pairs, blind, beside, schedule, others_share(before, cpu_times()), readings)


@contextlib.contextmanager
def quiet_process(ask: Ask) -> Iterator[None]:
    """A fixed number of threads, subnormals flushed, no garbage collection, no TF32; enter it before a model is loaded.

    Loading starts torch's pool, and its threads inherit the flush from the thread that starts them, then or never.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(ask.threads)
    gc.collect()
    gc.disable()
    try:
        with cuda.full_float32():
            yield
    finally:
        gc.enable()
        torch.set_flush_denormal(False)


def _nothing() -> None:
    pass


# ---------------------------------------------------------------------------------------------------------------- pairs


def _pairs(
    benchmark: Any, networks: Networks, schedule: Schedule, cold: bool
) -> tuple[list[Pair], list[Readings] | None]:
    dense, compressed, watch = networks.dense, networks.compressed, networks.watch
    seconds: tuple[list[float], list[float]] = ([], [])  # of the dense network; of the compressed one by its own clock
    states: tuple[list[Reading | None], list[Reading | None]] = ([], [])
    dense_is_first = True
    turn = itertools.count()
    passes = schedule.timed[1]

    def time_dense() -> None:
        dense.run(schedule.untimed[0])
        seconds[0].append(dense.time(schedule.timed[0]))
        if watch is not None:
            states[0].append(watch())

    def time_compressed() -> None:
        if compressed.clock is None:
            compressed.run(passes)
        else:
            seconds[1].append(compressed.time(passes))

    def setup() -> None:
        nonlocal dense_is_first
        dense_is_first = _dense_first(next(turn), cold)
        if dense_is_first:
            time_dense()
        compressed.run(schedule.untimed[1])

    def teardown() -> None:
        if watch is not None:
            states[1].append(watch())
        if not dense_is_first:
            time_dense()

    benchmark.pedantic(time_compressed, setup=setup, teardown=teardown, iterations=1, rounds=schedule.rounds)
    own = seconds[1] if compressed.clock is not None else [each / passes for each in benchmark.stats.stats.data]
    return list(zip(seconds[0], own, strict=True)), None if watch is None else list(zip(*states, strict=True))


def _pair(dense: Network, compressed: Network, schedule: Schedule, index: int, cold: bool) -> Pair:
    """The same pair as in `_pairs`, without pytest-benchmark: for the pilot and the controls."""
    seconds = [0.0, 0.0]
    both = (dense, compressed)
    for side in (0, 1) if _dense_first(index, cold) else (1, 0):
        both[side].run(schedule.untimed[side])
        seconds[side] = both[side].time(schedule.timed[side])
    return seconds[0], seconds[1]


def _controls(dense: Network, other: Network, schedule: Schedule, cold: bool, rounds: int) -> list[Pair]:
    return [_pair(dense, other, schedule, index, cold) for index in range(rounds)]


def _dense_first(index: int, cold: bool) -> bool:
    # A bare alternation is D C D C: turning every second pair round would run one network twice in a row, warm.
    return cold or index % 2 == 0


# ------------------------------------------------------------------------------------------------------------- planning


def plan(networks: Networks, ask: Ask, started: float) -> Schedule:
    """The passes per block, then, from discarded pilot pairs, how many pairs each process times.

    As many as a half-width of 1 % needs, at least 20 in all. Where the row's seconds do not allow that, as many as fit,
    at least 5, and the row has not converged. The pairs of an eager dense network beside them, a second speed-up that a
    record gives with its interval, get half of the seconds; the value-blind control takes a quarter more pairs.
    `started` is when the row's clock started (time.perf_counter).
    """
    sides = [networks.dense] if networks.eager is None else [networks.dense, networks.eager]
    small = _passes_of_a_block(networks.compressed, ask.cold)
    blocks = [(_passes_of_a_block(network, ask.cold), small) for network in sides]
    schedules = [_fewest(block, ask) for block in blocks]
    blind = 1 / CONTROL_EVERY if networks.redrawn is not None else 0.0
    shares = [1 + blind, 1.0][: len(sides)]  # what a pair of each kind costs, controls included
    costs = [share * (dense.seconds + small.seconds) for share, (dense, small) in zip(shares, blocks, strict=True)]
    if 2 * ask.processes * sum(costs) > ask.seconds:  # two pairs in each are too many already
        ask = replace(ask, processes=min(ask.processes, stats.FEWER_PROCESSES))
    if FEWEST_PAIRS_AT_ALL * sum(costs) <= ask.seconds:  # else so slow that a pilot would only make it worse
        pilots = _pilots(sides, networks, schedules, ask, started)
        needed = [stats.pairs_needed(pairs) / ask.processes for pairs, _ in pilots]
        costs = [share * seconds for share, (_, seconds) in zip(shares, pilots, strict=True)]
        left = max(0.0, ask.seconds - (time.perf_counter() - started)) / ask.processes
        wanted = [pairs * cost for pairs, cost in zip(needed, costs, strict=True)]
        # What the one side does not want of its part is the other's.
        budgets = [max(left / len(sides), left - (sum(wanted) - own)) for own in wanted]
        schedules = [
            _with_rounds(schedule, pairs, budget / cost)
            for schedule, pairs, budget, cost in zip(schedules, needed, budgets, costs, strict=True)
        ]
    found = replace(schedules[0], processes=ask.processes)
    if networks.redrawn is not None:
        fewest = math.ceil(FEWEST_PAIRS_AT_ALL / ask.processes)
        found = replace(found, control_rounds=max(found.rounds // CONTROL_EVERY, fewest))
    return replace(found, beside=schedules[1]) if len(schedules) > 1 else found


def _fewest(block: tuple[_Block, _Block], ask: Ask) -> Schedule:
    dense, compressed = block
    return Schedule((dense.untimed, compressed.untimed), (dense.timed, compressed.timed), control_rounds=0,
                    rounds=_even(FEWEST_PAIRS_AT_ALL / ask.processes), converged=False)  # fmt: skip


def _pilots(
    sides: Sequence[Network], networks: Networks, schedules: Sequence[Schedule], ask: Ask, started: float
) -> list[tuple[list[Pair], float]]:
    """For each dense network pilot pairs and the seconds that one took, within a share of the row's seconds."""
    found: list[tuple[list[Pair], float]] = []
    for number, (dense, schedule) in enumerate(zip(sides, schedules, strict=True), 1):
        until = started + PILOT_SHARE * ask.seconds * number / len(sides)
        pairs: list[Pair] = []
        began = time.perf_counter()
        while len(pairs) < PILOT_PAIRS and (len(pairs) < 2 or time.perf_counter() < until):
            pairs.append(_pair(dense, networks.compressed, schedule, len(pairs), ask.cold))
            if networks.watch is not None:  # asking the driver is a part of what a pair takes
                networks.watch(), networks.watch()
        found.append((pairs, (time.perf_counter() - began) / len(pairs)))
    return found


def _with_rounds(schedule: Schedule, needed: float, affordable: float) -> Schedule:
    rounds = min(_even(needed), max(2 * int(affordable / 2), schedule.rounds), MOST_ROUNDS)
    return replace(schedule, rounds=rounds, converged=rounds >= _even(needed))


def _even(pairs: float) -> int:
    """So many pairs or one more, so that each network goes first as often: the order makes up to 1 % (measured)."""
    return 2 * math.ceil(pairs / 2)


@dataclass(frozen=True)
class _Block:
    untimed: int
    timed: int
    seconds: float


def _passes_of_a_block(network: Network, cold: bool) -> _Block:
    network.run(1)  # the first pass chooses and compiles kernels
    pass_seconds = network.time(1)
    if pass_seconds < LONGEST_SECONDS / 10:
        pass_seconds = network.time(3)
    if cold:
        return _Block(0, 1, pass_seconds)
    most = max(1, int(LONGEST_SECONDS / pass_seconds))
    # A fifth more than 5 ms: the pass may have been timed while it was still getting faster.
    timed = min(most, max(FEWEST_PASSES, math.ceil(1.2 * BLOCK_SECONDS / pass_seconds)))
    untimed = min(most, UNTIMED_PASSES)
    return _Block(untimed, timed, (untimed + timed) * pass_seconds)


# ----------------------------------------------------------------------------------------------------------- conditions


def count_subnormals(model: nn.Module) -> int:
    """Weights and buffers so small (not zero, below the type's smallest normal number) that arithmetic may be slow."""
    count = 0
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype in _BITS:
            # Compared as whole numbers: once subnormals are flushed, a comparison of floats takes them for zeros.
            magnitude = tensor.detach().contiguous().view(_BITS[tensor.dtype]) & torch.iinfo(_BITS[tensor.dtype]).max
            smallest = torch.tensor(torch.finfo(tensor.dtype).tiny, dtype=tensor.dtype).view(_BITS[tensor.dtype])
            count += int(((magnitude > 0) & (magnitude < smallest.to(tensor.device))).sum())
    return count


@dataclass(frozen=True)
class CpuTimes:
    """Seconds since the system started: of processors at work (lent to other guests too), of this process, of time."""

    busy: float
    own: float
    clock: float


def cpu_times() -> CpuTimes | None:
    """None where there is no /proc/stat."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(ticks) for ticks in first[1:9])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return CpuTimes(busy, time.process_time(), time.perf_counter())


def others_share(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """The share [0, 1] of all processors' time that other processes, or other guests of the host, took in between."""
    if before is None or after is None or after.clock <= before.clock:
        return None
    others = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, others / (after.clock - before.clock) / (os.cpu_count() or 1))
