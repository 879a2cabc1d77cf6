"""What only a GPU can show: known truths through the whole protocol. Skipped where there is none.

`python -m pytest tests/suite/test_on_cuda.py -v`; a quarter of an hour, on a GPU that does nothing else. In less: what
is timed with `-k "not every_method and not compile and not beyond"`, the methods, which need no quiet, with `-n 8 -k
"every_method or same_network or weights_are_inside"`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from suite import (
    artifacts,
    bench,
    child,
    cuda,
    data,
    energy,
    execute,
    invocation,
    latency,
    memory,
    plan,
    profiling,
    registry,
    stats,
)
from suite.bench import Row, Subject
from suite.conditions import standard_rows
from suite.evaluate import OBJECTIVES, evaluate
from suite.latency import Ask, Networks
from suite.progress import Progress

pytestmark = [
    pytest.mark.timed,  # one at a time: beside others it measures nothing, and pytest-benchmark is off
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
MIB = 2**20
QUIET = Progress(silent=True)


class Repeated(nn.Module):
    """A network whose work is the GPU's, not the host's, run so many times in one call."""

    def __init__(self, times: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1))
        self.times = times

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for _ in range(self.times):
            found: torch.Tensor = self.body(images)
        return found


def architecture(width: float) -> Mapping[str, Any]:
    options = {"classes": 10, "width": width}
    model = registry.build_model("vgg16", options)
    found: dict[str, Any] = msgspec.to_builtins(
        artifacts.describe(model, name="vgg16", options=options, input_shape=(3, 32, 32))
    )
    return found


def ask(**given: Any) -> Ask:
    return Ask(**({"device": "cuda", "threads": 1, "cold": False, "seconds": 4.0, "processes": 1} | given))


def timed(times: int, *, timing: str, cold: bool = False) -> latency.Network:
    images = torch.randn(32, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        network, missing = cuda.timed(latency.eager(Repeated(times), images, "cuda"), timing=timing, cold=cold)
    assert missing is None
    return network


# -------------------------------------------------------------------------------------------------------- known truths


@pytest.mark.parametrize("timing", cuda.TIMINGS)
@pytest.mark.parametrize("cold", [False, True])
def test_network_run_twice_is_twice_as_slow(benchmark: Any, timing: str, cold: bool) -> None:
    # Cold, the second time of the two is warm: less than twice.
    with cuda.full_float32():
        found = latency.measure(
            benchmark,
            Networks(timed(2, timing=timing, cold=cold), timed(1, timing=timing, cold=cold)),
            ask(cold=cold),
        )
    speedup = stats.paired_speedup([found.pairs]).value
    assert speedup == pytest.approx(2, rel=0.15 if cold else 0.05), (speedup, found.schedule)


@pytest.mark.parametrize("timing", cuda.TIMINGS)
def test_network_against_itself_is_no_faster(timing: str) -> None:
    found = bench.measure_noise_floor(
        None, Row(128, 1, timing=timing), profile="smoke", device="cuda", architecture=architecture(0.5)
    )
    assert found.status == "ok", found.reason
    m = {name: float(value or 0) for name, value in found.metrics.items()}
    floor = 1 + max(m["noise_floor"], 0.01)
    assert m["speedup_low"] / floor <= 1 <= m["speedup_high"] * floor and m["noise_floor"] < 0.1, m


def test_device_time_leaves_the_hosts_work_out() -> None:
    """A small network at batch 1 keeps the host busy and the device waiting: a graph's replay shows it."""
    known = architecture(0.25)
    seconds = {}
    for timing in cuda.TIMINGS:
        found = bench.measure(
            Subject("x", architecture=known, dense_architecture=known),
            Row(1, 1, timing=timing),
            profile="smoke",
            device="cuda",
        )
        assert found.status == "ok" and "graph" not in found.notes, (found.reason, found.notes)
        seconds[timing] = float(found.metrics["compressed_seconds"] or 0)
    assert seconds["device"] < seconds["wall"]


def test_network_that_cannot_be_captured_is_timed_eager_and_says_so() -> None:
    class Looking(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * float(images.sum())  # waits for the device

    images = torch.ones(4, 3, 8, 8)
    with torch.inference_mode():
        network, missing = cuda.timed(latency.eager(Looking(), images, "cuda"), timing="device", cold=False)
        assert missing is not None and missing.startswith("not captured, eager between events: ")
        assert network.time(5) > 0
        again, missing = cuda.timed(latency.eager(Repeated(1), images, "cuda"), timing="device", cold=False)
        assert missing is None and again.time(5) > 0, "the failed capture spoiled nothing"


def test_graph_computes_what_the_network_does_on_each_of_its_inputs() -> None:
    model = Repeated(1).eval().cuda().to(memory_format=torch.channels_last)
    buffers = [torch.randn(2, 3, 16, 16).cuda() for _ in range(3)]
    with torch.inference_mode():
        replays = cuda.captured(model, buffers)  # checks each
    assert len(replays) == 3


def test_known_allocation_is_seen_within_two_megabytes() -> None:
    for size in (16 * MIB, 100 * MIB):
        found = child.run(_allocated, size, seconds=120)
        assert found == pytest.approx(size, abs=2e6)


def _allocated(size: int) -> int:
    return memory.cuda_high_water(lambda: torch.empty(size, dtype=torch.uint8, device="cuda"))[0]


def test_weights_are_inside_the_peak_and_half_as_many_bytes_in_half_precision() -> None:
    known = architecture(1.0)  # 14,728,266 parameters
    peaks = {
        precision: memory.measure(memory.Ask(None, known, 1, 1, "cuda", precision=precision), seconds=300)
        for precision in ("fp32", "fp16")
    }
    assert 58.9e6 < peaks["fp32"].peak_bytes < 58.9e6 + 100e6, "weights, activations and scratch space"
    assert 29.4e6 < peaks["fp16"].peak_bytes < peaks["fp32"].peak_bytes
    assert (peaks["fp32"].reserved_bytes or 0) >= peaks["fp32"].peak_bytes


# ---------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    "row",
    list(dict.fromkeys(standard_rows("cuda", "all", large_batch=16))),
    ids=lambda row: "-".join(map(str, row.conditions.values())),
)
def test_every_row_of_the_device_gives_a_record(row: Row, tmp_path: Path) -> None:
    subject = Subject("x", architecture=architecture(0.125), dense_architecture=architecture(0.5))
    found = bench.measure(subject, row, profile="smoke", device="cuda", scratch=tmp_path)
    if row.backend == "compile" and found.status == "unsupported":
        pytest.skip(str(found.reason))
    assert found.status == "ok", found.reason
    assert found.conditions["timing"] == row.timing and found.conditions["precision"] == row.precision
    if row.timing == profiling.TIMING:
        assert float(found.metrics["total_cuda_seconds"] or 0) > 0
        return
    assert float(found.metrics["speedup_low"] or 0) <= float(found.metrics["speedup_high"] or 0)
    assert "sm_mhz" in found.notes or "nvml" in found.notes
    assert ("value_blind_speedup" in found.notes) == (row.batch_size == 1 and row.precision == "fp32")


@pytest.mark.parametrize("backend", ["eager", "compile"])
def test_memory_gives_a_record(backend: str, tmp_path: Path) -> None:
    subject = Subject("x", architecture=architecture(0.125), dense_architecture=architecture(0.5))
    row = Row(16, 1, backend, timing="wall")
    found = bench.measure(subject, row, profile="smoke", device="cuda", kind="memory", scratch=tmp_path)
    if backend == "compile" and found.status == "unsupported":
        pytest.skip(str(found.reason))
    assert found.status == "ok", found.reason
    assert 0 < int(found.metrics["peak_bytes"] or 0) < int(found.metrics["dense_peak_bytes"] or 0)
    assert found.notes["reserved_bytes"] > 0


def test_energy_gives_a_record_or_a_reason() -> None:
    subject = Subject("x", architecture=architecture(0.25), dense_architecture=architecture(1.0))
    found = bench.measure(subject, Row(128, 1, timing="wall"), profile="quick", device="cuda", kind="energy")
    if energy.missing("cuda") is not None:
        assert found.status == "unsupported" and found.metrics == {}
        pytest.skip(str(found.reason))
    assert found.status == "ok", found.reason
    assert 0 < float(found.metrics["joules"] or 0) < float(found.metrics["dense_joules"] or 0) < 10
    assert found.notes["idle_watts"] < found.notes["dense_watts"]


def test_row_beyond_the_gpus_memory_is_out_of_memory() -> None:
    """Inputs of 7 GB, which the host has; two activations of 157 GB each, which no GPU has yet."""
    subject = Subject("x", architecture=architecture(1.0), dense_architecture=architecture(1.0))
    found = bench.measure(subject, Row(600_000, 1, timing="wall"), profile="smoke", device="cuda", kind="memory")
    assert found.status == "oom" and "\n" not in str(found.reason)


# ----------------------------------------------------------------------------------------------------- the other half


def test_cell_is_trained_compressed_and_measured_on_cuda(
    tiny_cell: Callable[..., plan.Cell], places: Any, results_dir: Path, tmp_path: Path
) -> None:
    there = replace(places, results=results_dir, artifacts=tmp_path / "artifacts")
    session = execute.Session(there, "cuda", invocation.provenance(), QUIET)
    found = [
        each.record
        for each in execute.benchmark([tiny_cell("zeroes", finetune=True)], [Row(4, 1, timing="wall")], session)
    ]
    assert {record.kind for record in found} >= {"accuracy", "noise-floor", "latency", "memory"}
    failed = [(record.kind, str(record.reason)) for record in found if record.status != "ok"]
    assert [each for each in failed if each[0] != "energy"] == []
    assert all("takes no more energy than the idle machine" in reason for _, reason in failed), "so small a network may"
    assert {record.device for record in found} == {"cuda"}


@pytest.mark.parametrize("method", sorted(registry.catalogue().methods))
def test_every_method_works_on_cuda(method: str, places: Any, results_dir: Path, tmp_path: Path) -> None:
    (cell,) = plan.cells(
        [registry.task("vgg16-digits")],
        [registry.method(method)],
        settings={},
        seeds=[0],
        profile="smoke",
        which="first",
    )
    there = replace(places, results=results_dir, artifacts=tmp_path / "artifacts")
    session = execute.Session(there, "cuda", invocation.provenance(), QUIET)
    found = [each.record for each in execute.compress([cell], session)][-1]
    assert (found.method, found.status, found.reason) == (method, "ok", None)


def test_same_network_has_the_same_score_on_both_devices() -> None:
    task = registry.task("vgg16-digits")
    torch.manual_seed(0)
    model = registry.build_model(task.model, task.options).eval()
    objective = OBJECTIVES[task.objective]
    outputs, scores = [], []
    for device in ("cpu", "cuda"):
        there = data.load(task.data, Path("/nowhere"), device)
        scores.append(evaluate(model.to(device), there, there.val, objective))
        with torch.inference_mode(), cuda.full_float32():
            outputs.append(model(there.normalise(there.val.images[:8])).cpu())
    assert (outputs[0] - outputs[1]).abs().max() < 1e-4 * outputs[0].abs().max()
    assert scores[0]["top1"] == pytest.approx(scores[1]["top1"], abs=0.01)
