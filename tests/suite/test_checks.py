"""What is asked of a results folder before it is published; each check finds its own fault and leaves the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import checks, footprint, plan, registry
from suite.records import Problem, Record, encode, sha256_of

Make = Callable[..., Record]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh(tiny_task: Any, make_record: Make) -> Make:
    """`fresh(field=value, ...)`: a valid record of today's `zeroes` on `tiny`, whose machine is described."""

    def call(**changes: Any) -> Record:
        method = changes.get("method", "zeroes")
        return make_record(**({"freshness": plan.current_freshness("tiny", method), "machine": "box"} | changes))

    return call


def report(folder: Path, *records: Record) -> checks.Report:
    (folder / "machines").mkdir(parents=True, exist_ok=True)
    (folder / "machines" / "box.json").write_text(json.dumps({"slug": "box"}))
    (folder / "box").mkdir()
    (folder / "box" / "run.jsonl").write_bytes(b"".join(map(encode, records)))
    return checks.check(folder)


def names(problems: tuple[Problem, ...]) -> list[tuple[str, int]]:
    return [(each.check, each.line) for each in problems]


def network(*, channels: int = 8, kernel: int = 3, dead: bool = False) -> dict[str, Any]:
    conv = {"in_channels": 3, "out_channels": channels, "kernel_size": [kernel, kernel], "stride": [1, 1],
            "padding": [1, 1], "dilation": [1, 1], "groups": 1, "bias": True}  # fmt: skip
    layers = {"conv": ["Conv2d", conv],
              "norm": ["BatchNorm2d", {"num_features": channels, "eps": 1e-5, "momentum": 0.1, "affine": True,
                                       "track_running_stats": True}],
              "head": ["Linear", {"in_features": channels, "out_features": 10, "bias": True}]}  # fmt: skip
    if dead:
        del layers["head"]
    return {"model": "vgg16", "options": {"width": 0.5}, "input_shape": [3, 32, 32], "layers": layers}


def counted(channels: int) -> tuple[int, int]:
    """Parameters and MACs of `network`, with the convolution at 32 x 32 positions."""
    return 27 * channels + channels + 2 * channels + 10 * channels + 10, 27 * channels * 1024 + 10 * channels


def measured(fresh: Make, channels: int = 8, *, method: str = "zeroes", **changes: Any) -> Record:
    """A record of `network` at some width beside the dense one of eight channels."""
    architecture = changes.pop("architecture", network(channels=channels))
    (parameters, macs), (dense_parameters, dense_macs) = counted(channels), counted(8)
    metrics = {"parameters": parameters, "macs": macs, "dense_parameters": dense_parameters,
               "dense_macs": dense_macs, "top1": 0.5} | changes.pop("metrics", {})  # fmt: skip
    if method == "dense":
        changes["hyperparameters"] = {}
    return fresh(method=method, architecture=architecture, metrics=metrics, **changes)


def test_own_results_pass() -> None:
    found = checks.check(ROOT / "results")
    assert found.valid > 50 and found.errors == ()


def test_sound_folder_has_nothing_to_report(fresh: Make, tmp_path: Path) -> None:
    found = report(tmp_path, measured(fresh, method="dense"), measured(fresh, 4), measured(fresh, 4, seed=1))
    assert found == checks.Report(3, (), ())


def test_line_that_is_no_record_has_the_name_of_what_it_fails(fresh: Make, tmp_path: Path) -> None:
    good = json.loads(encode(fresh()))
    assert report(tmp_path, fresh()).errors == ()
    with open(tmp_path / "box" / "run.jsonl", "ab") as file:
        for change in ({"seed": 5}, {"metrics": good["metrics"] | {"top1": 1.5}}, {"created": "today"}, {"kind": "a"}):
            file.write(json.dumps(good | change).encode() + b"\n")
        file.write(b'{"cut')
    (tmp_path / "machines" / "box.json").write_text("{}")
    found = checks.check(tmp_path)
    assert found.valid == 1
    assert names(found.errors) == [("cell-key", 2), ("metric-range", 3), ("record", 4), ("record", 5), ("record", 6),
                                   ("machine-file", 0)]  # fmt: skip


def test_copy_of_a_line_is_a_duplicate_and_a_second_run_is_none(fresh: Make, tmp_path: Path) -> None:
    first = fresh(created="2025-01-01T00:00:00Z")
    again = fresh(created="2025-01-02T00:00:00Z")
    found = report(
        tmp_path, first, again, fresh(run="another"), fresh(device="cuda"), fresh(status="error", reason="no")
    )
    assert names(found.errors) == [("duplicate-cell", 2)] and found.valid == 4
    assert str(found.errors[0]).endswith(f"of the same run stand at {tmp_path}/box/run.jsonl:1")


def test_what_the_checkout_lacks_is_named(fresh: Make, tmp_path: Path) -> None:
    stranger = fresh(method="unheard-of", freshness="0" * 64)
    lost = fresh(task="gone", freshness="0" * 64)
    other = fresh(hyperparameters={"share": 0.5, "sharpness": 1})
    found = report(tmp_path, fresh(), stranger, lost, other)
    assert sorted(names(found.errors)) == [("hyperparameters", 4), ("unknown-method", 2), ("unknown-task", 3)]
    assert "finetune, sharpness: not the hyperparameters of today's zeroes" in str(found.errors[-1])


def test_old_record_keeps_the_hyperparameters_of_its_time(fresh: Make, tmp_path: Path) -> None:
    assert report(tmp_path, fresh(freshness="0" * 64, hyperparameters={"sharpness": 1})).errors == ()


@pytest.mark.parametrize(
    ("channels", "metrics", "check"),
    [
        (4, {"macs": counted(8)[1]}, "macs"),
        (4, {"macs": counted(4)[1] // 2}, "macs"),
        (4, {"parameters": counted(8)[0]}, "parameters"),
        (4, {"parameters": counted(4)[0] - 1}, "parameters"),
        (4, {"nonzero_parameters": counted(4)[0] + 1}, "metric-range"),
        (4, {"dense_nonzero_parameters": 10**9}, "metric-range"),
        (4, {"top5": 0.4}, "metric-range"),
        (4, {"dense_top1": 0.6, "dense_top5": 0.5}, "metric-range"),
    ],
)
def test_figures_that_the_recorded_layers_cannot_have_are_found(
    fresh: Make, tmp_path: Path, channels: int, metrics: dict[str, int], check: str
) -> None:
    found = report(tmp_path, measured(fresh, method="dense"), measured(fresh, channels, metrics=metrics))
    assert names(found.errors) == [(check, 2)]


def test_dense_record_says_of_the_dense_network_what_it_says_of_itself(fresh: Make, tmp_path: Path) -> None:
    same = measured(fresh, method="dense", metrics={"dense_top1": 0.5})
    other = measured(fresh, method="dense", seed=1, metrics={"dense_top1": 0.6, "dense_parameters": 7})
    found = report(tmp_path, same, other, measured(fresh, 4, metrics={"dense_top1": 0.6}))
    assert names(found.errors) == [("dense", 2)]
    assert found.errors[0].reason == "a dense network with parameters 330 and dense_parameters 7, and 1 more"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": "tpu"}, "device 'tpu' is none of cpu, cuda"),
        ({"freshness": ""}, "freshness '' is no SHA-256"),
        ({"git_commit": "zzz"}, "git_commit 'zzz' is no full commit hash"),
        ({"git_commit": "a" * 12}, f"git_commit '{'a' * 12}' is no full commit hash"),
    ],
)
def test_what_the_suite_never_writes_is_found(
    fresh: Make, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    found = report(
        tmp_path, fresh(git_commit="a" * 40, device="cuda"), fresh(run="b", git_commit=None), fresh(run="c", **changes)
    )
    assert names(found.errors) == [("provenance", 3)] and found.errors[0].reason.startswith(reason)


def test_network_of_other_kernels_is_given_the_benefit_of_the_doubt(fresh: Make, tmp_path: Path) -> None:
    grown = measured(fresh, 8, architecture=network(kernel=1), metrics={"parameters": 500, "macs": 7})
    found = report(tmp_path, measured(fresh, method="dense"), grown)
    assert names(found.errors) == [("parameters", 2)], "parameters are exact, MACs of other kernels are not known"


def test_layer_that_is_gone_leaves_the_lower_end_open(fresh: Make, tmp_path: Path) -> None:
    gone = {"macs": 27 * 8 * 1024, "parameters": counted(8)[0] - 90}
    found = report(tmp_path, measured(fresh, method="dense"),
                   measured(fresh, architecture=network(dead=True), metrics=gone))  # fmt: skip
    assert found.errors == ()


@pytest.mark.parametrize(
    "layers",
    [[], {"a": 1}, {"a": ["Conv2d", {}]}, {"a": ["Magic", {}]}, {"a": ["Linear", {"in_features": -1}]},
     {"a": ["Linear", {"in_features": "x", "out_features": 1, "bias": True}]}, {"a": ["Linear", 3]}],
)  # fmt: skip
def test_hostile_architecture_is_no_footprint(layers: Any) -> None:
    assert footprint.read({"model": "m", "options": {}, "input_shape": [1], "layers": layers}) is None
    assert footprint.read({"layers": {}}) is None and footprint.read(None) is None


def test_footprint_is_what_torch_counts() -> None:
    import msgspec

    from suite import artifacts, complexity

    for model, options, shape in (("vgg16", {"classes": 10, "width": 0.0625}, (3, 32, 32)),
                                  ("autoencoder", {"width": 0.125}, (3, 128, 128))):  # fmt: skip
        built = registry.build_model(model, options)
        described = artifacts.describe(built, name=model, options=options, input_shape=shape)
        own = footprint.read(msgspec.to_builtins(described))
        assert own is not None and own.parameters == complexity.parameters(built)
        assert footprint.shares(own, own) == [1.0] * len(own.layers)


# ------------------------------------------------------------------------------------------------------------ warnings


def test_lost_seed_is_named_among_those_that_count(fresh: Make, tmp_path: Path) -> None:
    failed = fresh(seed=4, status="error", reason="no", metrics={})
    older = fresh(seed=6, freshness="0" * 64)
    found = report(tmp_path, fresh(seed=1), fresh(seed=3), failed, older, fresh(seed=9, profile="full"))
    assert found.errors == ()
    (lost,) = found.warnings
    assert (lost.check, lost.line) == ("lost-seed", 2)
    assert lost.reason == "seeds 1, 3 count, 2, 4, 6 of the same setting do not"


def test_setting_of_which_nothing_counts_has_lost_no_seed(fresh: Make, tmp_path: Path) -> None:
    found = report(tmp_path, fresh(seed=0, freshness="0" * 64), fresh(seed=2, freshness="0" * 64),
                   fresh(seed=5), fresh(seed=6, status="unsupported", reason="no", metrics={}))  # fmt: skip
    assert [each.reason for each in found.warnings] == ["seeds 5, 6 count, 0, 2 of the same setting do not"]


def timed(fresh: Make, day: int, low: float, high: float, **changes: Any) -> Record:
    metrics = {"speedup": (low + high) / 2, "speedup_low": low, "speedup_high": high}
    fields = {"kind": "latency", "conditions": {"threads": 1}, "run": f"run-{day}"} | changes
    return fresh(metrics=metrics, created=f"2025-01-{day:02d}T00:00:00Z", **fields)


def test_speed_up_that_left_an_older_interval_has_drifted(fresh: Make, tmp_path: Path) -> None:
    old = timed(fresh, 1, 1.9, 2.0, versions={"torch": "1"})
    floor = fresh(kind="noise-floor", conditions={"threads": 1}, metrics={"noise_floor": 0.05}, run="a")
    found = report(tmp_path, old, floor, timed(fresh, 2, 2.2, 2.3, versions={"torch": "2"}))
    assert found.errors == () and names(found.warnings) == [("drift", 3)]
    assert "speed-up 2.250 [2.200, 2.300] left the interval [1.900, 2.000]" in found.warnings[0].reason
    assert found.warnings[0].reason.endswith("a noise floor of 5.0 %; since then: torch 1 to 2")


@pytest.mark.parametrize(
    "changes",
    [{"conditions": {"threads": 2}}, {"device": "cuda"}, {"notes": {"contended": True}}, {"freshness": "0" * 64}],
)
def test_other_conditions_are_no_drift(fresh: Make, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert report(tmp_path, timed(fresh, 1, 1.9, 2.0), timed(fresh, 2, 5.0, 5.1, **changes)).warnings == ()


def test_noise_of_another_task_or_profile_hides_no_drift(fresh: Make, tmp_path: Path) -> None:
    loud = {"conditions": {"threads": 1}, "metrics": {"noise_floor": 0.6}, "kind": "noise-floor", "run": "a"}
    others = fresh(**loud, task="tiny-slow", freshness="0" * 64), fresh(**loud, profile="full")
    found = report(tmp_path, timed(fresh, 1, 1.9, 2.0), *others, timed(fresh, 2, 2.2, 2.3))
    assert names(found.warnings) == [("drift", 4)]


def test_step_within_the_noise_floor_is_no_drift(fresh: Make, tmp_path: Path) -> None:
    floor = fresh(kind="noise-floor", conditions={"threads": 1}, metrics={"noise_floor": 0.05}, run="a")
    assert report(tmp_path, timed(fresh, 1, 1.9, 2.0), floor, timed(fresh, 2, 2.05, 2.2)).warnings == ()


def test_machine_that_nobody_described_is_named_once(fresh: Make, tmp_path: Path) -> None:
    found = report(tmp_path, fresh(machine="other"), fresh(machine="other", seed=1))
    assert names(found.warnings) == [("unknown-machine", 1)]


def test_every_check_is_listed_by_the_name_it_uses() -> None:
    named = [line.split()[0] for line in checks.listed()]
    assert len(set(named)) == len(named)
    assert {"duplicate-cell", "lost-seed", "drift", "metric-range", "unknown-method", "macs"} <= set(named)


def test_many_records_take_seconds(fresh: Make, tmp_path: Path) -> None:
    """100,000 records within a minute: 2,000 within 1.2 s of the processor; three times that is allowed."""
    import time

    line = json.loads(encode(measured(fresh, 4)))
    (tmp_path / "box").mkdir()
    asked = ("task", "method", "hyperparameters", "profile", "protocol")
    with open(tmp_path / "box" / "run.jsonl", "wb") as file:
        for seed in range(2_000):
            cell = sha256_of({name: line[name] for name in asked} | {"seed": seed})
            file.write(json.dumps(line | {"seed": seed, "cell": cell}).encode() + b"\n")
    started = time.process_time()
    assert checks.check(tmp_path).valid == 2_000
    assert time.process_time() - started < 3.6


def test_lost_picture_is_named_with_the_record_that_shows_it(fresh: Make, tmp_path: Path) -> None:
    there, lost = hashlib.sha256(b"RIFF").hexdigest(), "a" * 64
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / f"{there}.webp").write_bytes(b"RIFF")
    found = report(
        tmp_path, measured(fresh, method="dense", gallery=[there]), measured(fresh, 4, gallery=[there, lost])
    )
    assert names(found.errors) == [("picture", 2)] and found.valid == 1
    assert "its picture aaaaaaaaaaaa.webp is not in " in str(found.errors[0])


def test_changed_picture_is_as_good_as_lost(fresh: Make, tmp_path: Path) -> None:
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / f"{'b' * 64}.webp").write_bytes(b"RIFF")
    found = report(tmp_path, measured(fresh, method="dense", gallery=["b" * 64, "c" * 64]))
    assert names(found.errors) == [("picture", 1)] and "bbbbbbbbbbbb.webp and 1 more" in str(found.errors[0])
