"""What the paired protocol needs on CUDA: the device's own clock, graphs, a flushed L2, and an eye on the GPU's speed.

Two times are told. `wall`: from the first launch until the device is done, by the host's clock; of a small network that
is mostly the host's own work. The passes of a block follow one another without a wait: a pass in a stream of them, less
than one that is waited for. `device`: between two CUDA events around the replay of a captured graph, without the
host's part. Inputs rotate through several buffers. The GPU's state is read between blocks, never beside one: a thread
that asks the driver meanwhile would hold the interpreter's lock when the next kernel is to be launched.

Networks run in eval mode by cuDNN's heuristics (its autotuner chooses differently from process to process).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from suite import nvml
from suite.errors import SuiteError, Unsupported, first_line
from suite.stats import Pair

if TYPE_CHECKING:
    import torch

    from suite.latency import Network

WALL, DEVICE = "wall", "device"
TIMINGS = (WALL, DEVICE)
#: The types that both networks may be converted to, by the name of their precision.
HALVES = ("fp16", "bf16")
#: Input buffers that take turns, so that no input lies in a cache because it was the last one, too.
BUFFERS = 4
#: What is written between passes, in sizes of the L2: it does not evict strictly in the order of use.
FLUSHED_SIZES = 4
#: Passes before a capture: the first ones choose kernels and allocate their workspaces.
WARM_UP_PASSES = 3
#: What the clock takes to rise, generously: before the row's own seconds begin.
WAKING_SECONDS = 0.3
#: Pairs of which a block ran below this share of the reference clock do not count (DESIGN section 7).
SLOW = 0.75
#: The reference: the clock that this share of a row's readings does not exceed. The highest one is a moment's boost,
#: and the highest that the GPU is built for is out of reach under a power cap that always holds.
REFERENCE_SHARE = 0.9
#: With fewer pairs left than a row has at least, there is no result.
FEWEST_PAIRS = 5


@dataclass(frozen=True)
class Reading:
    """The GPU right after a block: its clock in MHz, degrees Celsius, why it is slowed (bits of `nvml.SLOWED`)."""

    sm_mhz: int
    celsius: int | None
    slowed: int


#: What was read after the dense and after the compressed network's block of one pair.
Readings = tuple[Reading | None, Reading | None]


# --------------------------------------------------------------------------------------------------------------- clocks


@dataclass(frozen=True)
class DeviceClock:
    """Times passes between two events of the device; `flush` empties its cache before.

    Hot, a pass comes first: while the device is busy with it the host gets ahead, and does not keep it waiting later.
    """

    start: Any  # torch.cuda.Event, or what stands in for it where there is no CUDA
    end: Any
    flush: Callable[[], object] | None = None

    def __call__(self, launch: Callable[[int], object], passes: int) -> float:
        if self.flush is None:
            launch(1)
        else:
            self.flush()
        self.start.record()
        launch(passes)
        self.end.record()
        self.end.synchronize()
        return float(self.start.elapsed_time(self.end)) / 1e3


@dataclass(frozen=True)
class FlushedClock:
    """Times passes by the host's clock, `now`, after the cache was emptied and the device is done with that."""

    now: Callable[[], float]
    finish: Callable[[], object]
    flush: Callable[[], object]

    def __call__(self, launch: Callable[[int], object], passes: int) -> float:
        self.flush()
        self.finish()
        started = self.now()
        launch(passes)
        self.finish()
        return self.now() - started


def flusher(size: int, device: torch.device) -> Callable[[], object]:
    """A call that writes `size` bytes on the device; it does not wait until they are written."""
    import torch

    return torch.empty(size, dtype=torch.uint8, device=device).zero_


def l2_bytes() -> int:
    """The size of the GPU's last cache; 64 MiB, more than most have, where the driver does not tell."""
    import torch

    return int(getattr(torch.cuda.get_device_properties(), "L2_cache_size", 0)) or 64 * 2**20


# ------------------------------------------------------------------------------------------------------------- networks


def dtype_of(precision: str) -> torch.dtype:
    """What a network of that precision computes in."""
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Inside, no multiplication of float32 numbers is rounded to TF32 (of convolutions, cuDNN's habit)."""
    import torch

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def wake(networks: Sequence[Network | None]) -> None:
    """Each network's first pass, which loads and chooses kernels for seconds, and a GPU that leaves its idle clock."""
    import time

    ready = [network for network in networks if network is not None]
    for network in ready:
        network.run(1)
    until = time.perf_counter() + WAKING_SECONDS
    while time.perf_counter() < until:
        ready[0].run(1)


def timed(network: Network, *, timing: str, cold: bool, capture: bool = True) -> tuple[Network, str | None]:
    """The network with rotating inputs and the clock of a row, its graph captured where the device is timed.

    What is known of the graph comes with it: None, or why there is none and passes are launched one by one, as without
    `capture` too. Call it in the mode (inference) in which the network runs.
    """
    import time

    import torch

    buffers = _rotation(network.inputs)
    model = network.model
    turns: list[Callable[[], object]] = [lambda images=images: model(images) for images in buffers]  # type: ignore[misc]
    missing = None
    if timing == DEVICE and capture:
        before = torch.cuda.current_stream()
        try:
            turns = captured(model, buffers)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # of many kinds: whatever must not happen while a stream is captured
            torch.cuda.set_stream(before)  # a capture that ends badly may leave its own behind
            torch.cuda.synchronize()
            cause = error.__context__ or error  # what the network did, rather than that its capture was ended by it
            missing = f"not captured, eager between events: {(first_line(cause) or type(cause).__name__)[:160]}"
    flush = flusher(FLUSHED_SIZES * l2_bytes(), network.inputs.device) if cold else None
    clock: Any = None
    if timing == DEVICE:
        clock = DeviceClock(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True), flush)
    elif flush is not None:
        clock = FlushedClock(time.perf_counter, network.finish, flush)
    return replace(network, model=taking_turns(turns), clock=clock), missing


def taking_turns(calls: Sequence[Callable[[], object]]) -> Callable[[torch.Tensor], object]:
    """A pass that is the next of the calls, each on an input of its own; what it is given does not count."""
    turn = itertools.cycle(calls)

    def run(_images: torch.Tensor) -> object:
        return next(turn)()

    return run


def _rotation(inputs: torch.Tensor) -> list[torch.Tensor]:
    """The inputs, and random ones of the same shape, type and memory order.

    Drawn by a generator of their own: a capture that ended badly may have spoiled the device's.
    """
    import torch

    generator = torch.Generator(inputs.device).manual_seed(0)
    return [inputs, *(torch.empty_like(inputs).normal_(generator=generator) for _ in range(BUFFERS - 1))]


def captured(model: Callable[[torch.Tensor], object], buffers: Sequence[torch.Tensor]) -> list[Callable[[], object]]:
    """A call for each buffer that replays the network's graph on it; all graphs share one pool of memory.

    A graph knows addresses alone, so the calls keep the network and the buffers alive. RuntimeError where the network
    cannot be captured, SuiteError where a replay computes something else.
    """
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_PASSES):
            expected = [model(images) for images in buffers]
    torch.cuda.current_stream().wait_stream(side)
    pool = torch.cuda.graph_pool_handle()
    replays: list[Callable[[], object]] = []
    for images, wanted in zip(buffers, expected, strict=True):
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=pool):
                found = model(images)
        except BaseException:
            _close_capture(pool)
            raise
        graph.replay()
        torch.cuda.synchronize()
        check_replay(wanted, found)
        replays.append(functools.partial(_replay, graph, (model, images)))
    return replays


def _close_capture(pool: Any) -> None:
    """A capture that ended badly stays open in torch 2.11's allocator, and none could begin after it."""
    import torch

    device = torch.cuda.current_device()
    with contextlib.suppress(RuntimeError, AttributeError):  # closed already, or by another name, in other versions
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)


def _replay(graph: torch.cuda.CUDAGraph, _alive: object) -> None:
    graph.replay()


def check_replay(expected: object, found: object) -> None:
    """SuiteError where a graph's outputs are not those of the network; what is not finite is not compared."""
    import torch

    from suite import backends

    if isinstance(expected, torch.Tensor) and isinstance(found, torch.Tensor) and bool(expected.isfinite().all()):
        backends.check_outputs(expected, found, int8=False, where="the captured graph")


# ---------------------------------------------------------------------------------------------------------- GPU's speed


def uuid() -> str | None:
    """The UUID of torch's current GPU as NVML spells it; None where torch does not know it."""
    import torch

    found = getattr(torch.cuda.get_device_properties(), "uuid", None)
    return None if found is None else f"GPU-{found}"


@contextlib.contextmanager
def watching(
    uuid: str | None = None, *, library: Any = None
) -> Iterator[tuple[Callable[[], Reading | None] | None, str]]:
    """A call that reads the GPU's state; where there is no such thing, None and why.

    The call gives None where the driver stops answering.
    """
    with contextlib.ExitStack() as stack:
        try:
            gpu = stack.enter_context(nvml.gpu(uuid, library=library))
            gpu.sm_mhz()
        except Unsupported as error:
            yield None, str(error)
            return
        yield lambda: reading(gpu), ""


def reading(gpu: nvml.Gpu) -> Reading | None:
    """The GPU's state; None where it does not tell its clock. What else it does not tell counts as nothing amiss."""
    try:
        clock = gpu.sm_mhz()
    except Unsupported:
        return None
    celsius, slowed = None, 0
    with contextlib.suppress(Unsupported):
        celsius = gpu.celsius()
    with contextlib.suppress(Unsupported):
        slowed = gpu.slowed()
    return Reading(clock, celsius, slowed)


@dataclass(frozen=True)
class AtSpeed:
    """The pairs of each process whose blocks both ran at speed, and what a record notes of the GPU meanwhile."""

    pairs: list[list[Pair]]
    notes: dict[str, Any]


def at_speed(processes: Sequence[Sequence[Pair]], read: Sequence[Sequence[Readings] | None]) -> AtSpeed:
    """Drop the pairs of which a block ran under 75 % of the reference clock, the 90th percentile of all readings.

    `read` are the readings beside each process's pairs, None where there are none (the CPU): all its pairs stay.
    SuiteError where fewer than five would be left, or fewer than two of a process that had them: what is left would
    not show how processes differ.
    """
    pairs = [list(own) for own in processes]
    readings = [beside or [(None, None)] * len(own) for own, beside in zip(pairs, read, strict=True)]
    seen = [each for process in readings for both in process for each in both if each is not None]
    if not seen:
        return AtSpeed(pairs, {})
    clocks = sorted(each.sm_mhz for each in seen)
    reference = clocks[math.ceil(REFERENCE_SHARE * len(clocks)) - 1]
    kept = [
        [pair for pair, both in zip(own, beside, strict=True) if not any(_is_slow(each, reference) for each in both)]
        for own, beside in zip(pairs, readings, strict=True)
    ]
    total, left = sum(map(len, pairs)), sum(map(len, kept))
    reasons = ", ".join(nvml.SLOWED[bit] for bit in nvml.SLOWED if any(each.slowed & bit for each in seen))
    lost = any(len(few) < min(2, len(own)) for few, own in zip(kept, pairs, strict=True))
    if lost or left < min(total, FEWEST_PAIRS):
        raise SuiteError(
            f"the GPU ran under {SLOW:.0%} of its {reference} MHz in {total - left} of {total} pairs "
            f"({reasons or 'it gives no reason'}): cool it or fix its clocks (nvidia-smi -lgc), then measure again"
        )
    notes: dict[str, Any] = {"sm_mhz": reference, "sm_mhz_low": clocks[0], "discarded_pairs": total - left}
    warmest = max((each.celsius for each in seen if each.celsius is not None), default=None)
    if warmest is not None:
        notes["celsius"] = warmest
    if reasons:
        notes["slowed"] = reasons
    return AtSpeed(kept, notes)


def _is_slow(reading: Reading | None, reference: int) -> bool:
    return reading is not None and reading.sm_mhz < SLOW * reference
