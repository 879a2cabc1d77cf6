"""The profiler's totals: what its own table adds up, about twice as much for a network that is run twice."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from suite import artifacts, bench, child, conditions, latency, profiling, registry
from suite.errors import Unsupported
from suite.subjects import Place, Row, Subject

#: Not beside other tests, which would be in the times.
pytestmark = pytest.mark.timed

ROW = Row(1, 1, timing=profiling.TIMING)


def architecture(width: float) -> Mapping[str, Any]:
    options = {"classes": 10, "width": width}
    described = artifacts.describe(
        registry.build_model("vgg16", options), name="vgg16", options=options, input_shape=(3, 32, 32)
    )
    found: dict[str, Any] = msgspec.to_builtins(described)
    return found


def network(model: nn.Module) -> latency.Network:
    return latency.eager(model, torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def single() -> nn.Module:
    return artifacts.rebuild(architecture(0.25), seed=0)


class Twice(nn.Module):
    """A network run twice in one call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.model(inputs)
        return first + self.model(inputs)


def test_totals_are_the_footer_of_the_profilers_own_table(single: nn.Module) -> None:
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as watched:
        single(torch.zeros(1, 3, 32, 32))
    printed = re.search(r"Self CPU time total: ([\d.]+)(us|ms|s)", watched.key_averages().table(row_limit=1))
    assert printed is not None
    seconds = float(printed.group(1)) * {"us": 1e-6, "ms": 1e-3, "s": 1}[printed.group(2)]
    assert profiling.added_up(watched.key_averages(), on_cuda=False).cpu == pytest.approx(seconds, rel=1e-2)


def test_a_network_run_twice_totals_about_twice(single: nn.Module) -> None:
    both = network(single), network(Twice(single))
    before = latency.cpu_times()
    with torch.inference_mode():
        seconds = [[profiling.totals(each).cpu for each in both] for _ in range(8)]
    if (latency.others_share(before, latency.cpu_times()) or 0) > 0.4:
        pytest.skip("other processes take most of this machine: no time of a pass is its own")
    once, twice = (min(column) for column in zip(*seconds, strict=True))
    assert 1.7 < twice / once < 2.3


def test_profiler_row_is_measured_and_told() -> None:
    small, wide = architecture(0.05), architecture(0.25)
    found = bench.measure(Subject("x", architecture=small, dense_architecture=wide), ROW, profile="smoke", device="cpu")
    assert (found.kind, found.status, found.reason) == ("latency", "ok", None)
    assert found.conditions["timing"] == "profiler"
    own, dense = found.metrics["total_cpu_seconds"], found.metrics["dense_total_cpu_seconds"]
    assert own is not None and dense is not None
    columns = [statistics.median(column) for column in zip(*found.samples, strict=True)]
    assert [dense, own] == pytest.approx(columns, rel=1e-3) and min(columns) > 0
    assert found.metrics["speedup_low"] <= found.metrics["speedup"] <= found.metrics["speedup_high"]  # type: ignore
    assert "total_cuda_seconds" not in found.metrics
    assert found.metrics["pairs"] == len(found.samples) >= profiling.FEWEST_PAIRS
    assert found.notes["weights"] == "random" and found.notes["processes"] == 1


def test_totals_of_nothing_make_a_row_unsupported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = profiling.Totals(cpu=1e-3, cuda=0.0), profiling.Totals(cpu=0.0, cuda=1e-3)
    told = profiling.Profiled([nothing] * profiling.FEWEST_PAIRS, {}, None)
    monkeypatch.setattr(child, "run", lambda *arguments, **options: told)  # a GPU whose counters nobody may read
    small = Subject("x", architecture=architecture(0.05), dense_architecture=architecture(0.05))
    with pytest.raises(Unsupported, match=r"^the profiler counted no time on cuda"):
        profiling.measure(small, ROW, Place("cuda", Path(), 60.0), seconds=1, processes=1)
    found = bench.measure(small, ROW, profile="smoke", device="cpu")
    assert (found.status, found.metrics) == ("unsupported", {}) and "\n" not in str(found.reason)


def test_only_all_rows_are_profiled_and_no_compiled_network_is() -> None:
    for device in ("cpu", "cuda"):
        assert ROW not in conditions.standard_rows(device) and ROW in conditions.standard_rows(device, "all")
    assert all(row.timing is None for row in conditions.as_precision(conditions.standard_rows("cpu", "all"), "int8"))
    refused = bench.measure(
        Subject("x", architecture=architecture(0.05), dense_architecture=architecture(0.05)),
        Row(1, 1, "compile", timing=profiling.TIMING), profile="smoke", device="cpu",
    )  # fmt: skip
    assert refused.status == "unsupported" and "eager" in str(refused.reason)
