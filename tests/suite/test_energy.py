"""Energy against counters whose every joule is known."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from suite import artifacts, bench, child, energy, latency, records, registry
from suite.bench import Row, Subject
from suite.energy import Rapl
from suite.errors import Unsupported

#: Not beside other tests, which would be in the times.
pytestmark = pytest.mark.timed

MICRO = 1_000_000


@pytest.fixture
def powercap(tmp_path: Path) -> Callable[..., Path]:
    """`powercap(package_0=..., core=...)`: counters in microjoules by zone name, in the kernel's folders."""

    def make(**zones: int) -> Path:
        for index, (name, value) in enumerate(zones.items()):
            kind = "intel-rapl-mmio" if name.startswith("mmio") else "intel-rapl"
            zone = tmp_path / f"{kind}:{index}"
            zone.mkdir()
            text = "package-0" if name.startswith("mmio") else name.replace("_", "-")
            for file, content in (("name", text), ("max_energy_range_uj", 262_143 * MICRO), ("energy_uj", value)):
                (zone / file).write_text(f"{content}\n")
        return tmp_path

    return make


def test_packages_are_summed_and_their_parts_are_not(powercap: Callable[..., Path]) -> None:
    root = powercap(package_0=5 * MICRO, core=2 * MICRO, psys=9 * MICRO, package_1=7 * MICRO, mmio_0=5 * MICRO)
    counter = Rapl(root)
    assert counter.name == "RAPL, 2 packages" and counter.joules() == 0
    for index, name in enumerate(("intel-rapl:0", "intel-rapl:1", "intel-rapl:2", "intel-rapl:3", "intel-rapl-mmio:4")):
        (root / name / "energy_uj").write_text(str((20 + index) * MICRO))
    assert counter.joules() == pytest.approx((20 - 5) + (23 - 7))


def test_counter_that_starts_again_goes_on(powercap: Callable[..., Path]) -> None:
    root = powercap(package_0=262_140 * MICRO)
    counter, file = Rapl(root), root / "intel-rapl:0" / "energy_uj"
    file.write_text(str(2 * MICRO))
    assert counter.joules() == pytest.approx(3 + 2)
    file.write_text(str(10 * MICRO))
    assert counter.joules() == pytest.approx(13)


def test_machine_without_a_counter_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unsupported, match="no energy counter of the CPU"):
        Rapl(tmp_path)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert "no energy counter" in str(energy.missing("cpu"))
    found = bench.measure(Subject("x"), Row(1, 1), profile="smoke", device="cpu", kind="energy")
    assert (found.kind, found.status, found.metrics) == ("energy", "unsupported", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_counter_of_root_alone_names_the_remedy(powercap: Callable[..., Path]) -> None:
    root = powercap(package_0=1)
    (root / "intel-rapl:0" / "energy_uj").chmod(0)
    with pytest.raises(Unsupported, match=r"may be read by root alone: sudo chmod a\+r"):
        Rapl(root)


def test_counter_that_refuses_root_too_names_the_remedy(
    powercap: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, plain = powercap(package_0=1), Path.read_text

    def refused(path: Path, *given: Any, **more: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return plain(path, *given, **more)

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(Unsupported, match=r"may be read by root alone: sudo chmod a\+r"):
        Rapl(root)


def test_counter_of_a_gpu_is_its_boards(fake_nvml: Any) -> None:
    with energy.counter("cuda", library=fake_nvml(nvmlDeviceGetTotalEnergyConsumption=2500)) as counter:
        assert (counter.name, counter.joules()) == ("NVML, GPU board", 2.5)
    with pytest.raises(Unsupported, match="nvmlDeviceGetTotalEnergyConsumption"):
        energy.counter("cuda", library=fake_nvml()).__enter__()


# ------------------------------------------------------------------------------------------------------------ measuring


class Meter:
    """A machine of 100 W that takes 50 W more while a network runs. Its clock is its own: tests need not wait."""

    name = "a known one"

    def __init__(self) -> None:
        self.seconds = self.used = 0.0

    def joules(self) -> float:
        return self.used

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.used += 100 * seconds

    def network(self, pass_seconds: float, watts: float = 150) -> Any:
        meter = self

        class Running:
            def run(self, passes: int) -> None:
                meter.seconds += passes * pass_seconds
                meter.used += passes * pass_seconds * watts

        return Running()


def test_energy_of_a_pass_is_exact_and_idle_is_subtracted() -> None:
    meter = Meter()
    found = energy.measure(
        meter.network(0.02), meter.network(0.004), meter, seconds=10, now=meter.now, sleep=meter.sleep
    )
    assert found.dense == pytest.approx([50 * 0.02] * 5) and found.compressed == pytest.approx([50 * 0.004] * 5)
    assert found.idle_watts == pytest.approx([100] * 5) and found.watts == pytest.approx((150, 150))
    assert 5 * 31 <= meter.seconds < 5 * 31.2 + 1
    assert meter.seconds == pytest.approx(energy.estimate_seconds("full"), rel=0.02)
    metrics = energy.metrics(found, batch_size=4)
    assert metrics == pytest.approx({"joules": 0.05, "dense_joules": 0.25})
    notes = energy.notes(found, 10)
    assert notes["repeats"] == 5 and notes["window_seconds"] == 10 and notes["counter"] == "a known one"
    assert notes["joules_spread"] == pytest.approx(0, abs=1e-9)


def test_network_that_takes_no_more_than_idle_is_unsupported() -> None:
    meter = Meter()
    with pytest.raises(Unsupported, match="the compressed network takes no more energy than the idle machine"):
        energy.measure(
            meter.network(0.02), meter.network(0.01, watts=99), meter, seconds=1, now=meter.now, sleep=meter.sleep
        )


def test_counter_that_stands_still_is_unsupported() -> None:
    meter = Meter()
    meter.joules = lambda: 1.0  # type: ignore[method-assign]
    with pytest.raises(Unsupported, match=r"the energy counter \(a known one\) stood still"):
        energy.measure(meter.network(0.02), meter.network(0.01), meter, seconds=1, now=meter.now, sleep=meter.sleep)


class Burning:
    """A counter that a real process moves: 2 W always, 50 W more while it computes. Others' turns do not count."""

    name = "the processor's time"

    def __init__(self) -> None:
        self.slept = 0.0

    def now(self) -> float:
        return self.slept + time.process_time()

    def joules(self) -> float:
        return 2 * self.now() + 50 * time.process_time()

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_real_network_of_twice_the_work_takes_twice_the_energy() -> None:
    torch.set_num_threads(1)
    layer = torch.nn.Conv2d(16, 16, 5, padding=2)
    single = latency.eager(layer, torch.randn(4, 16, 32, 32))

    class Double:
        def run(self, passes: int) -> None:
            single.run(2 * passes)

    with torch.inference_mode():
        meter = Burning()
        found = energy.measure(Double(), single, meter, seconds=0.1, now=meter.now, sleep=meter.sleep)
        started = time.process_time()
        single.run(50)
        pass_seconds = (time.process_time() - started) / 50
    metrics = energy.metrics(found, batch_size=4)
    assert float(metrics["dense_joules"] or 0) / float(metrics["joules"] or 1) == pytest.approx(2, rel=0.3)
    assert float(metrics["joules"] or 0) == pytest.approx(50 * pass_seconds / 4, rel=0.6)


def test_row_of_energy_is_told_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"classes": 10, "width": 0.05}
    model = registry.build_model("vgg16", options)
    described = artifacts.describe(model, name="vgg16", options=options, input_shape=(3, 32, 32))
    small = msgspec.to_builtins(described)
    meter = Burning()
    monkeypatch.setattr(energy, "counter", lambda *_: contextlib.nullcontext(meter))
    monkeypatch.setattr(energy, "missing", lambda device: None)
    monkeypatch.setattr(child, "run", lambda function, *given, seconds: function(*given))  # the counter lives here
    monkeypatch.setitem(energy.WINDOW_SECONDS, "smoke", 0.05)  # type: ignore[misc]
    subject = Subject("x", architecture=small, dense_architecture=small)
    found = bench.measure(subject, Row(2, 1), profile="smoke", device="cpu", kind="energy")
    assert (found.kind, found.status, found.reason, found.samples) == ("energy", "ok", None, [])
    assert set(found.metrics) == {"joules", "dense_joules"}
    ratio = float(found.metrics["dense_joules"] or 0) / float(found.metrics["joules"] or 1)
    assert 0.4 < ratio < 2.5, "a network against itself"
    assert found.conditions == Row(2, 1).conditions
    assert found.notes["counter"] == "the processor's time" and found.notes["window_seconds"] == 0.05
    assert records._HEADLINES["energy"] in found.metrics
