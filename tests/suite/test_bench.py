"""Rows of the benchmark from the outside: what is measured, what a failure looks like, what pytest sees."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suite import artifacts, bench, conditions, latency, machine, memory, modelfiles, registry
from suite.bench import Row, Subject
from suite.errors import UsageError

#: Not beside other tests, which would be in the times.
pytestmark = pytest.mark.timed

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
SPEEDUPS = {"speedup", "speedup_low", "speedup_high", "dense_seconds", "compressed_seconds", "pairs", "converged"}


def architecture(width: float) -> Mapping[str, Any]:
    options = {"classes": 10, "width": width}
    model = registry.build_model("vgg16", options)
    found: dict[str, Any] = msgspec.to_builtins(
        artifacts.describe(model, name="vgg16", options=options, input_shape=(3, 32, 32))
    )
    return found


SMALL, WIDE = architecture(0.05), architecture(0.25)


def smoke(subject: Subject, row: Row = Row(1, 1), **given: Any) -> bench.Measurement:  # noqa: B008 (frozen)
    return bench.measure(subject, row, profile="smoke", device="cpu", **given)


def test_latency_row_is_measured_and_told_in_full() -> None:
    found = smoke(Subject("x", architecture=SMALL, dense_architecture=WIDE))
    assert (found.kind, found.status, found.reason) == ("latency", "ok", None)
    assert set(found.metrics) == SPEEDUPS
    assert found.metrics["speedup_low"] <= found.metrics["speedup"] <= found.metrics["speedup_high"]  # type: ignore
    assert 1.2 < float(found.metrics["speedup"] or 0) < 30
    assert found.conditions == {
        "batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot",
    }  # fmt: skip
    assert 5 <= len(found.samples) <= 200 and found.metrics["pairs"] >= len(found.samples)  # type: ignore
    assert all(float(f"{value:.5g}") == value for pair in found.samples for value in pair)
    assert found.notes["weights"] == found.notes["dense_weights"] == "random"
    assert found.notes["processes"] == 1 and found.notes["subnormals"] == 0
    assert found.notes.get("contended", False) == (found.notes.get("others_cpu", 0) > bench.CONTENDED)
    json.dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize(("spread", "converged"), [(0.01, True), (0.2, False)])
def test_a_row_converged_if_its_interval_did_whatever_the_pilot_promised(
    monkeypatch: pytest.MonkeyPatch, spread: float, converged: bool
) -> None:
    schedule = latency.Schedule((1, 1), (2, 2), rounds=40, control_rounds=0, converged=True)
    pairs = [(2.0 * (1 + spread * (-1) ** index), 1.0) for index in range(40)]
    timed = bench.Timed(latency.Timing(pairs, [], [], schedule, 0.0), {})
    monkeypatch.setattr(bench.child, "run", lambda *_, **__: timed)
    found = smoke(Subject("x", architecture=SMALL, dense_architecture=WIDE))
    assert (found.metrics["pairs"], found.metrics["converged"]) == (40, converged)


def test_value_blind_control_agrees_with_the_row() -> None:
    """A few of its few pairs may meet with other work: once in three it must be as on an idle machine."""
    subject = Subject("x", architecture=SMALL, dense_architecture=WIDE)
    rows = (smoke(subject) for _ in range(3))
    assert any(0.7 < row.notes["value_blind_speedup"] / float(row.metrics["speedup"] or 0) < 1.4 for row in rows)


def test_stored_networks_are_measured_from_their_folders(tmp_path: Path) -> None:
    model = artifacts.rebuild(SMALL, seed=1)
    artifacts.save(model, tmp_path, msgspec.convert(SMALL, artifacts.Architecture), {})
    found = smoke(Subject("x", compressed=tmp_path, dense=tmp_path), Row(4, 1, cache="cold"))
    assert found.status == "ok" and 0.7 < float(found.metrics["speedup"] or 0) < 1.4
    assert "weights" not in found.notes and "value_blind_speedup" not in found.notes
    (tmp_path / modelfiles.WEIGHTS).write_bytes(b"damaged")
    for kind in ("latency", "memory"):
        damaged = smoke(Subject("x", compressed=tmp_path, dense=tmp_path), kind=kind)
        assert damaged.status == "error" and "hash mismatch" in str(damaged.reason) and damaged.metrics == {}


def test_noise_floor_is_measured_as_a_row_is() -> None:
    found = bench.measure_noise_floor(None, Row(1, 1), profile="smoke", device="cpu", architecture=WIDE)
    assert found.kind == "noise-floor" and found.status == "ok"
    assert set(found.metrics) == SPEEDUPS | {"noise_floor"}
    assert 0.8 < float(found.metrics["speedup"] or 0) < 1.25
    assert 0 < float(found.metrics["noise_floor"] or 0) < 0.6


def test_memory_row_is_measured_beside_its_dense_network() -> None:
    found = smoke(Subject("x", architecture=SMALL, dense_architecture=WIDE), Row(16, 1), kind="memory")
    assert not any(name.endswith(("_low", "_high")) for name in found.notes), "one process each at smoke"
    if found.status == "unsupported":
        pytest.skip(str(found.reason))
    assert set(found.metrics) == {"peak_bytes", "dense_peak_bytes"} and found.samples == []
    assert 0 < int(found.metrics["peak_bytes"] or 0) < int(found.metrics["dense_peak_bytes"] or 0)


def test_memory_row_is_the_median_of_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([9, 3, 4, 70, 60, 80])
    monkeypatch.setattr(memory, "without_model", lambda ask, seconds: 0)
    monkeypatch.setattr(memory, "measure", lambda ask, seconds, empty: memory.Peak(next(peaks), "stored"))
    subject = Subject("x", architecture=SMALL, dense_architecture=WIDE)
    found = bench.measure(subject, Row(16, 1), profile="quick", device="cpu", kind="memory")
    assert found.metrics == {"peak_bytes": 4, "dense_peak_bytes": 70}
    ends = {"peak_bytes_low": 3, "peak_bytes_high": 9, "dense_peak_bytes_low": 60, "dense_peak_bytes_high": 80}
    assert ends.items() <= found.notes.items() and next(peaks, None) is None


def test_row_without_memory_is_out_of_memory_and_the_run_goes_on() -> None:
    subject = Subject("x", architecture=SMALL, dense_architecture=SMALL)
    for kind in ("latency", "memory"):
        found = smoke(subject, Row(10**9, 1), kind=kind)
        assert found.status == "oom" and "\n" not in str(found.reason)
    assert smoke(subject, Row(2, 1)).status == "ok"


def test_row_that_takes_too_long_is_timed_out() -> None:
    found = smoke(Subject("x", architecture=WIDE, dense_architecture=WIDE), timeout_seconds=0.05)
    assert (found.status, found.reason) == ("timeout", "stopped after 0.05 s, its time limit")


def test_network_that_is_neither_stored_nor_described_is_an_error() -> None:
    found = smoke(Subject("x", architecture=SMALL))
    assert found.status == "error" and "neither a stored network nor its architecture" in str(found.reason)
    assert smoke(Subject("x"), Row(1, 1, backend="tvm")).status == "unsupported"
    assert smoke(Subject("x"), Row(1, 1, precision="fp16")).status == "unsupported"


def test_impossible_questions_are_usage_errors() -> None:
    for call in (
        lambda: smoke(Subject("x"), kind="power"),
        lambda: bench.measure(Subject("x"), Row(1, 1), profile="slow", device="cpu"),
        lambda: bench.measure(Subject("x"), Row(1, 1), profile="smoke", device="tpu"),
    ):
        with pytest.raises(UsageError, match="choose one of"):
            call()


def test_simulated_int8_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("latency", "memory"):
        eager = smoke(Subject("x"), Row(1, 1, precision="int8"), kind=kind)
        assert eager.status == "unsupported" and "simulation in float32" in str(eager.reason) and eager.metrics == {}
    monkeypatch.setattr(machine, "require_device", lambda device: None)
    rows = conditions.as_precision(conditions.standard_rows("cuda", "all"), "int8")
    assert [row.batch_size for row in rows] == [1, 128], "said once a batch size"
    for row in rows:
        found = bench.measure(Subject("x"), row, profile="smoke", device="cuda")
        assert found.status == "unsupported" and "no INT8 convolution kernel" in str(found.reason)


def test_conditions_of_one_device_are_not_measured_on_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in (Row(1, 1, timing="device"), Row(1, 1, precision="bf16")):
        found = smoke(Subject("x"), row)
        assert (found.status, found.metrics) == ("unsupported", {}) and "on cuda" in str(found.reason).lower()
    monkeypatch.setattr(machine, "require_device", lambda device: None)
    for row in (Row(1, 1), Row(1, 1, "onnxruntime", timing="wall")):
        found = bench.measure(Subject("x"), row, profile="smoke", device="cuda")
        assert (found.status, found.metrics) == ("unsupported", {}), row


def test_nothing_around_changes_the_measurement_or_reads_its_output(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit('loaded')")
    script = tmp_path / "measure.py"
    script.write_text(
        "import json, sys\n"
        "from suite import bench\n"
        "if __name__ == '__main__':\n"
        "    known = json.load(open(sys.argv[1]))\n"
        "    subject = bench.Subject('x', architecture=known, dense_architecture=known)\n"
        "    row = bench.measure(subject, bench.Row(1, 1), profile='smoke', device='cpu')\n"
        "    print(json.dumps([row.status, row.reason]))\n"
    )
    known = tmp_path / "known.json"
    known.write_text(json.dumps(SMALL))
    environment = ENVIRONMENT | {"PYTEST_ADDOPTS": "--nor-this", "PYTEST_PLUGINS": "no_such_plugin"}
    done = subprocess.run(
        [sys.executable, script, known], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ["ok", None]
    assert {path.name for path in tmp_path.iterdir()} == {"pytest.ini", "conftest.py", "measure.py", "known.json"}


def test_collected_without_a_row_it_is_skipped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "suite" / "bench.py")]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 skipped" in done.stdout
