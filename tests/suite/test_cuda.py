"""All of the CUDA protocol but CUDA itself: real networks and pairs, with a clock source that any machine has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from suite import artifacts, cuda, latency, nvml, registry, stats, subjects
from suite.augmentation import AUGMENTATIONS
from suite.cuda import DeviceClock, FlushedClock, Reading
from suite.data import Dataset, Split, batches
from suite.errors import SuiteError
from suite.evaluate import OBJECTIVES
from suite.latency import Ask, Network, Networks
from suite.subjects import Place, Row, Subject

#: Not beside other tests, which would be in the times.
pytestmark = pytest.mark.timed

IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Event:
    """An event of a device that has done everything as soon as it is asked."""

    def __init__(self) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.at - self.at)


class Repeated(nn.Module):
    """A small network, run so many times in one call."""

    def __init__(self, times: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())
        self.times = times

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for _ in range(self.times):
            found: torch.Tensor = self.body(images)
        return found


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def architecture(width: float) -> dict[str, Any]:
    options = {"classes": 10, "width": width}
    model = registry.build_model("vgg16", options)
    described = artifacts.describe(model, name="vgg16", options=options, input_shape=(3, 32, 32))
    found: dict[str, Any] = msgspec.to_builtins(described)
    return found


def ask(**given: Any) -> Ask:
    return Ask(**({"device": "cpu", "threads": 1, "cold": False, "seconds": 2.0, "processes": 1} | given))


def with_clock(times: int, flush: Callable[[], object] | None = None) -> Network:
    network = latency.eager(Repeated(times), IMAGES)
    buffers = [network.inputs.clone() for _ in range(cuda.BUFFERS)]
    turns = [lambda images=images: network.model(images) for images in buffers]  # type: ignore[misc]
    return replace(network, model=cuda.taking_turns(turns), clock=DeviceClock(Event(), Event(), flush))


# ------------------------------------------------------------------------------------------------------------ protocol


def test_twice_the_work_is_measured_as_two_by_the_devices_clock(benchmark: Any) -> None:
    networks = Networks(with_clock(2), with_clock(1), redrawn=with_clock(1))
    timing = latency.measure(benchmark, networks, ask())
    assert stats.paired_speedup([timing.pairs]).value == pytest.approx(2, rel=0.25)
    assert stats.paired_speedup([timing.blind]).value == pytest.approx(2, rel=0.35)
    assert timing.readings is None
    inside = stats.median([seconds for _, seconds in timing.pairs]) * timing.schedule.timed[1]
    assert inside < stats.median(benchmark.stats.stats.data), "pytest-benchmark's round has the clock's own pass on top"


def test_cold_passes_come_after_a_flush_that_is_not_timed(benchmark: Any) -> None:
    flushed = []

    def flush() -> None:
        flushed.append(1)
        time.sleep(0.003)

    clock = FlushedClock(time.perf_counter, lambda: None, flush)
    plain = latency.eager(Repeated(1), IMAGES)
    networks = Networks(with_clock(2, flush), replace(plain, clock=clock))
    timing = latency.measure(benchmark, networks, ask(cold=True, seconds=1.0))
    assert timing.schedule.timed == (1, 1) and timing.schedule.untimed == (0, 0)
    assert len(flushed) >= 2 * len(timing.pairs)
    alone = min(plain.time(1) for _ in range(10))
    assert stats.median([seconds for _, seconds in timing.pairs]) < alone + 0.003


def test_device_is_at_work_before_its_clock_starts() -> None:
    said: list[str] = []

    class Told(Event):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def record(self) -> None:
            said.append(self.name)
            super().record()

    clock = DeviceClock(Told("start"), Told("end"))
    assert clock(lambda passes: said.append(f"{passes} passes"), 7) >= 0
    assert said == ["1 passes", "start", "7 passes", "end"]
    said.clear()
    DeviceClock(Told("start"), Told("end"), lambda: said.append("flush"))(lambda passes: said.append("pass"), 1)
    assert said == ["flush", "start", "pass", "end"]


def test_inputs_take_turns() -> None:
    seen: list[int] = []
    run = cuda.taking_turns([lambda index=index: seen.append(index) for index in range(3)])  # type: ignore[misc]
    for _ in range(5):
        run(IMAGES)
    assert seen == [0, 1, 2, 0, 1]
    buffers = cuda._rotation(IMAGES.to(torch.float16).contiguous(memory_format=torch.channels_last))
    assert len(buffers) == cuda.BUFFERS and len({each.data_ptr() for each in buffers}) == cuda.BUFFERS
    assert {(each.dtype, each.stride()) for each in buffers} == {(torch.float16, buffers[0].stride())}
    assert not torch.equal(buffers[0], buffers[1])


def test_flush_writes_all_of_its_bytes() -> None:
    flush = cuda.flusher(2**20, torch.device("cpu"))
    written = flush()
    assert isinstance(written, torch.Tensor) and written.numel() == 2**20 and not written.any()


def test_replay_that_computes_something_else_is_an_error() -> None:
    cuda.check_replay(IMAGES, IMAGES * (1 + 1e-6))
    cuda.check_replay(IMAGES.half(), IMAGES.half() * 1.005)
    cuda.check_replay(torch.full((2,), torch.inf), IMAGES)  # nothing to be compared
    with pytest.raises(SuiteError, match="the captured graph computes something else"):
        cuda.check_replay(IMAGES, IMAGES * 1.005)


def test_float32_is_full_float32_inside_and_what_it_was_outside() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        with cuda.full_float32():
            assert not torch.backends.cudnn.allow_tf32 and torch.get_float32_matmul_precision() == "highest"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before[1]
    assert torch.get_float32_matmul_precision() == before[0]


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch, fake_nvml: Any) -> None:
    """What of CUDA a row needs while it gets ready, where there is none: events, no graphs, a cache of 64 KiB."""

    def captured(*_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: Event())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    monkeypatch.setattr(cuda, "captured", captured)
    monkeypatch.setattr(cuda, "l2_bytes", lambda: 2**16)
    monkeypatch.setattr(cuda, "uuid", lambda: None)
    library = fake_nvml(nvmlDeviceGetClockInfo=1980)
    gpu = nvml.gpu
    monkeypatch.setattr(nvml, "gpu", lambda uuid=None, **_: gpu(uuid, library=library))


@pytest.mark.parametrize("timing", cuda.TIMINGS)
@pytest.mark.parametrize(("precision", "cache"), [("fp32", "hot"), ("fp32", "cold"), ("bf16", "hot")])
def test_row_gets_ready_with_its_clock_and_precision(
    without_cuda: None, benchmark: Any, timing: str, precision: str, cache: str
) -> None:
    subject = Subject("x", architecture=architecture(0.05), dense_architecture=architecture(0.1))
    row = Row(1, 1, precision=precision, cache=cache, timing=timing)
    with subjects.ready(subject, row, Place("cpu", Path(), 60), subjects.Exported()) as (networks, notes):
        assert networks.dense.inputs.dtype is cuda.dtype_of(precision)
        assert (networks.redrawn is not None) == (precision == "fp32")
        assert (networks.dense.clock is None) == ((timing, cache) == ("wall", "hot"))
        found = latency.measure(benchmark, networks, ask(cold=cache == "cold", seconds=0.3))
    assert found.readings is not None and len(found.readings) == len(found.pairs) >= 5
    assert all(seconds > 0 for pair in found.pairs for seconds in pair)
    told = {name: text for name, text in notes.items() if "graph" in name}
    reason = "not captured, eager between events: operation not permitted when stream is capturing"
    assert told == ({"dense_graph": reason} if timing == "device" else {}), "after it none is captured"


def test_no_network_is_timed_by_its_graph_beside_one_that_has_none(
    without_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def timed(network: Any, *, capture: bool = True, **_: Any) -> tuple[Any, str | None]:
        asked.append(capture)
        return (network, "graph" if capture else "eager"), "it waits" if capture and len(asked) == 2 else None

    monkeypatch.setattr(cuda, "timed", timed)
    notes: dict[str, Any] = {}
    found = subjects._on_cuda({"dense": "a", "compressed": "b"}, Row(1, 1, timing="device"), notes)  # type: ignore[dict-item]
    assert found == {"dense": ("a", "eager"), "compressed": ("b", "eager")} and notes == {"graph": "it waits"}
    assert asked == [True, True, False, False]
    asked[:] = [True, True]
    found = subjects._on_cuda({"dense": "a", "compressed": "b"}, Row(1, 1, timing="device"), notes := {})  # type: ignore[dict-item]
    assert found == {"dense": ("a", "graph"), "compressed": ("b", "graph")} and notes == {}


@pytest.mark.parametrize("closed", [True, False])
def test_capture_that_failed_is_closed_once(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    calls: list[tuple[str, int, Any]] = []

    def end(device: int, pool: Any) -> None:
        calls.append(("end", device, pool))
        if closed:
            raise RuntimeError("not currently recording to mempool_id")

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda *given: calls.append(("release", *given)), raising=False)
    cuda._close_capture((0, 1))
    assert calls == [("end", 3, (0, 1)), ("release", 3, (0, 1))][: 1 if closed else 2]


def test_first_passes_are_over_before_a_rows_seconds_begin(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "WAKING_SECONDS", 0.0)
    passes = {"dense": 0, "compressed": 0, "redrawn": 0}

    def network(role: str) -> Network:
        def model(images: torch.Tensor) -> object:
            passes[role] += 1
            return images

        return Network(model, IMAGES, lambda: None)

    begun: list[dict[str, int]] = []
    plan = latency.plan

    def noted(*given: Any) -> Any:
        begun.append(dict(passes))
        return plan(*given)

    monkeypatch.setattr(latency, "plan", noted)
    asked = ask(seconds=0.1)
    latency.measure(benchmark, Networks(*map(network, passes)), replace(asked, device="cuda"))
    assert begun == [{"dense": 1, "compressed": 1, "redrawn": 1}]


# ---------------------------------------------------------------------------------------------------------- GPU's speed


def test_gpu_is_read_once_after_each_block(benchmark: Any, fake_nvml: Any) -> None:
    clocks = iter(range(1000, 100_000))
    library = fake_nvml(nvmlDeviceGetClockInfo=lambda: next(clocks), nvmlDeviceGetTemperature=50)
    with cuda.watching(library=library) as (watch, reason):
        assert reason == ""
        networks = Networks(with_clock(1), with_clock(1), watch=watch)
        schedule = latency.Schedule((1, 1), (2, 2), rounds=4, control_rounds=0, converged=True)
        timing = latency.measure(benchmark, networks, ask(schedule=schedule))
    assert timing.readings is not None and len(timing.readings) == len(timing.pairs) == 4
    found = [(dense.sm_mhz, own.sm_mhz) for dense, own in timing.readings if dense and own]
    order = [number for pair in found for number in pair]
    assert sorted(order) == list(range(1001, 1009)), "two readings a pair, none beside a block"
    assert [dense < own for dense, own in found] == [True, False, True, False], "in the order of the blocks"
    assert timing.readings[0][0] == Reading(found[0][0], 50, 0)


def test_nvml_that_is_absent_or_refuses_is_a_reason_and_no_crash(fake_nvml: Any) -> None:
    with cuda.watching(library=fake_nvml()) as (watch, reason):
        assert watch is None and reason == "NVML does not answer nvmlDeviceGetClockInfo: Not Supported"
    library = fake_nvml()
    del library.answers["nvmlInit"]
    with cuda.watching(library=library) as (watch, reason):
        assert watch is None and reason.startswith("NVML is not there")
    library = fake_nvml(nvmlDeviceGetClockInfo=1980)
    with cuda.watching(library=library) as (watch, reason):
        assert watch is not None and watch() == Reading(1980, None, 0) and not reason
        del library.answers["nvmlDeviceGetClockInfo"]
        assert watch() is None, "a driver that stops answering stops no row"


def readings(*clocks: int, slowed: int = 0) -> list[cuda.Readings]:
    return [(Reading(clock, 60, slowed), Reading(1980, 55, 0)) for clock in clocks]


def test_pairs_of_a_slowed_gpu_do_not_count() -> None:
    pairs = [(2.0, 1.0)] * 9 + [(9.0, 1.0)]
    found = cuda.at_speed([pairs, pairs], [readings(*[1980] * 9, 1400, slowed=0x20), readings(*[1700] * 9, 400)])
    assert found.pairs == [[(2.0, 1.0)] * 9] * 2
    assert found.notes == {
        "sm_mhz": 1980, "sm_mhz_low": 400, "discarded_pairs": 2, "celsius": 60, "slowed": "too hot (software)",
    }  # fmt: skip


def test_gpu_that_is_always_slow_is_its_own_reference() -> None:
    pairs = [(2.0, 1.0)] * 6
    capped = [(Reading(1200, None, 4), Reading(1190, None, 4))] * 6
    found = cuda.at_speed([pairs], [capped])
    assert found.pairs == [pairs] and found.notes["slowed"] == "power cap" and found.notes["sm_mhz"] == 1200


def test_row_with_too_few_pairs_at_speed_has_no_result() -> None:
    with pytest.raises(SuiteError, match=r"under 75% of its 1980 MHz in 6 of 8 pairs \(power cap\)"):
        cuda.at_speed([[(2.0, 1.0)] * 8], [readings(*[1980] * 2, *[900] * 6, slowed=4)])


def test_process_that_was_slow_throughout_is_not_dropped_in_silence() -> None:
    pairs = [(2.0, 1.0)] * 20
    slow, quick = readings(*[1200] * 20, slowed=4), readings(*[1980] * 20)
    with pytest.raises(SuiteError, match=r"under 75% of its 1980 MHz in 40 of 60 pairs"):
        cuda.at_speed([pairs] * 3, [quick, slow, slow])


def test_without_readings_all_pairs_stay() -> None:
    pairs = [[(2.0, 1.0)] * 3, [(2.0, 1.0)] * 2]
    assert cuda.at_speed(pairs, [None, None]) == cuda.AtSpeed(pairs, {})
    assert cuda.at_speed(pairs, [[(None, None)] * 3, [(None, None)] * 2]).pairs == pairs
    assert cuda.at_speed(pairs, [[(None, Reading(1000, None, 0))] * 3, None]).pairs == pairs


# ----------------------------------------------------------------------------------------------------- on one device


@pytest.mark.parametrize("name", ["vgg16-digits", "resnet18-digits", "autoencoder-carla"])
def test_data_loss_and_metrics_keep_to_the_device(name: str) -> None:
    """On tensors that claim to be on CUDA and hold nothing; any meeting with one of the CPU raises."""
    task = registry.task(name)
    channels, height, width = task.input_shape
    classes = int(task.options.get("classes") or 0)  # type: ignore[call-overload]
    objective = OBJECTIVES[task.objective]
    drawn = torch.Generator().manual_seed(0)
    with FakeTensorMode():
        with torch.device("cuda"):
            wide = torch.empty(8, height, 2 * width, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
            split = Split(wide[..., :width], torch.zeros(8, dtype=torch.int64), None if classes else wide)
            mean, std = torch.zeros(1, channels, 1, 1), torch.ones(1, channels, 1, 1)
            model = registry.build_model(task.model, task.options)
        dataset = Dataset(name, split, split, split, mean, std, classes, "", "")
        augmentation = tuple(AUGMENTATIONS) if not classes else ("crop4", "flip")
        for inputs, targets in batches(dataset, split, 4, shuffle=drawn, augmentation=augmentation):
            loss = objective.loss(task.recipes["full"])(model(inputs).float(), targets)
            assert inputs.is_cuda and targets.is_cuda and loss.is_cuda
        with torch.inference_mode():
            for inputs, targets in batches(dataset, split, 8):
                assert all(each.is_cuda for each in objective.sums(model.eval()(inputs), targets).values())
        with pytest.raises(RuntimeError, match="device"):
            model(torch.zeros(1, channels, height, width))


def test_module_is_read_without_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, suite.cuda, suite.energy, suite.bench; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "False", done.stderr
