"""Which rows are measured of what, and what they will cost."""

import pytest

from suite import conditions, machine
from suite.errors import UsageError
from suite.subjects import Row


def test_unknown_device_or_set_of_rows_is_a_usage_error() -> None:
    for asked in (("tpu",), ("cpu", "some")):
        with pytest.raises(UsageError, match="choose one of"):
            conditions.standard_rows(*asked)
    with pytest.raises(UsageError, match="choose one of"):
        conditions.estimate_seconds([Row(1, 1)], "slow")


def test_standard_rows_are_those_of_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    assert conditions.standard_rows("cpu") == (Row(1, 1), Row(128, 8))
    assert conditions.standard_rows("cpu", large_batch=32)[1] == Row(32, 8)
    rows = conditions.standard_rows("cpu", "all")
    assert rows[:2] == conditions.standard_rows("cpu") and len(set(rows)) == len(rows)
    every = {Row(batch_size, threads, backend)
             for batch_size in (1, 128) for threads in (1, 8)
             for backend in ("eager", "compile", "onnxruntime")}  # fmt: skip
    assert set(rows) - {Row(1, 1, timing="profiler")} == every | {Row(1, 1, cache="cold"), Row(128, 8, cache="cold")}
    assert set(conditions.standard_rows("cuda")) == {
        Row(size, 1, timing=timing) for size in (1, 128) for timing in ("wall", "device")
    }  # fmt: skip
    every_row = conditions.standard_rows("cuda", "all")
    assert {(row.backend, row.precision, row.cache) for row in every_row if row.timing != "profiler"} == {
        ("eager", "fp32", "hot"), ("eager", "fp16", "hot"), ("eager", "bf16", "hot"), ("compile", "fp32", "hot"),
        ("eager", "fp32", "cold"),
    }  # fmt: skip
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    rows = conditions.standard_rows("cpu", "all")
    assert len(set(rows)) == len(rows) == 9


def test_rows_beyond_the_usual_are_told_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    usual = (Row(1, 1), Row(128, 8), Row(32, 8), Row(1, 1, "compile", "int8"), Row(128, 8, "compile", "int8"))
    assert not any(conditions.is_extra(row, "cpu") for row in usual)
    more = (Row(1, 8), Row(1, 1, "compile"), Row(1, 1, "onnxruntime", "int8"), Row(1, 1, cache="cold"),
            Row(1, 1, timing="profiler"))  # fmt: skip
    assert all(conditions.is_extra(row, "cpu") for row in more)
    assert not conditions.is_extra(Row(1, 1, timing="device"), "cuda")
    assert conditions.is_extra(Row(1, 1, precision="fp16", timing="wall"), "cuda")


def test_task_that_reconstructs_images_takes_a_smaller_large_batch() -> None:
    rows = (Row(1, 1), Row(128, 2))
    assert conditions.for_objective(rows, "reconstruction") == (Row(1, 1), Row(32, 2))
    assert conditions.for_objective(rows, "classification") == rows


def test_int8_network_is_measured_compiled_where_others_are_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    rows = conditions.as_precision(conditions.standard_rows("cpu"), "int8")
    assert rows == (Row(1, 1, "compile", "int8"), Row(128, 8, "compile", "int8"))
    rows = conditions.as_precision(conditions.standard_rows("cpu", "all"), "int8")
    assert {row.precision for row in rows} == {"int8"} and {row.backend for row in rows} == {"compile", "onnxruntime"}
    assert conditions.as_precision(conditions.standard_rows("cpu", "all"), "fp32") == conditions.standard_rows(
        "cpu", "all"
    )


def test_plan_knows_what_rows_cost() -> None:
    rows = conditions.standard_rows("cpu")
    costs = [conditions.estimate_seconds(rows, profile) for profile in ("smoke", "quick", "full")]
    assert costs == sorted(costs) and costs[0] > 2 * conditions.SECONDS["smoke"]
    assert conditions.estimate_seconds(rows, "full", kind="memory") < costs[2]
    assert conditions.estimate_seconds((), "full") == 0
    assert conditions.estimate_seconds(rows[:1], "full", kind="energy") > 15 * 10, (
        "five times idle, dense and compressed"
    )
    on_cuda = conditions.standard_rows("cuda")
    assert conditions.estimate_seconds(on_cuda, "full") > conditions.estimate_seconds(rows, "full") * 2
    for backend in ("compile", "onnxruntime"):
        slower = [Row(row.batch_size, row.threads, backend) for row in rows]
        assert conditions.estimate_seconds(slower, "quick") > conditions.estimate_seconds(rows, "quick") + 10


def test_row_is_timed_in_fewer_processes_where_one_is_dear() -> None:
    rows = {"eager": Row(1, 1), "compiled": Row(1, 1, "compile"), "cuda": Row(1, 1, timing="wall")}
    found = {name: conditions.processes_of(row, "quick") for name, row in rows.items()}
    assert found == {"eager": 6, "compiled": 3, "cuda": 3}
    assert {conditions.processes_of(row, "smoke") for row in rows.values()} == {1}


def test_cost_of_a_row_is_what_it_was_seen_to_take() -> None:
    """VGG16 on CIFAR-10 at the quick profile, seconds from one record to the next, on two cores of Zen 4.

    Eager memory rows, three processes for each network, are of two cores of Emerald Rapids.
    """
    macs = 313_201_664
    seen = {("latency", Row(1, 1)): 10.8, ("latency", Row(128, 2)): 15.1, ("noise-floor", Row(128, 2)): 16.2,
            ("memory", Row(1, 1)): 1.3, ("memory", Row(128, 2)): 5.0,
            ("latency", Row(1, 1, "compile", "int8")): 43.5, ("latency", Row(128, 2, "compile", "int8")): 56.0,
            ("memory", Row(128, 2, "compile", "int8")): 44.0}  # fmt: skip
    for (kind, row), seconds in seen.items():
        assert conditions.estimate_seconds([row], "quick", kind=kind, macs=macs) == pytest.approx(seconds, rel=0.35), (
            row
        )
