"""INT8 rows on the leaderboard: compiled, shown beside eager float32 ones, and never mistaken for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import columns, exports, leaderboard, plan, tables
from suite.leaderboard import Board
from suite.records import Record
from suite.rows import Row
from suite.setups import Setup
from suite.tables import Line
from suite.winners import gain, winners

METHODS = {
    "ints": '''
from suite import register_method


@register_method("ints", family="quantization", points=[{"bits": 8}])
def ints(model, bench, *, bits: int = 8):
    """Round weights."""
''',
    "cuts": '''
from suite import register_method


@register_method("cuts", family="structured pruning", points=[{"keep": 0.5}])
def cuts(model, bench, *, keep: float = 0.5):
    """Keep a share of the channels."""
''',
}
HYPERPARAMETERS: dict[str, dict[str, Any]] = {"ints": {"bits": 8}, "cuts": {"keep": 0.5}, "dense": {}}
EAGER: dict[str, Any] = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
COMPILED = {**EAGER, "backend": "compile"}
INT8 = {**COMPILED, "precision": "int8"}
#: Compiling alone makes dense 1.5 times as fast.
OVER_EAGER = {"speedup_over_eager": 3.0, "speedup_over_eager_low": 2.9, "speedup_over_eager_high": 3.1,
              "dense_eager_seconds": 0.03}  # fmt: skip
Make = Callable[..., Record]


@pytest.fixture
def make(install: Callable[..., Path], make_record: Make) -> Make:
    """`make(kind, method, field=value, ...)`: a fresh record on vgg16-cifar10."""
    install(methods=METHODS)

    def call(kind: str, method: str, **changes: Any) -> Record:
        fields: dict[str, Any] = {
            "kind": kind, "task": "vgg16-cifar10", "method": method, "hyperparameters": HYPERPARAMETERS[method],
            "machine": "box", "freshness": plan.current_freshness("vgg16-cifar10", method) or "none",
            "metrics": {"top1": 0.93, "dense_top1": 0.94, "parameters": 100, "dense_parameters": 100},
        }  # fmt: skip
        return make_record(**(fields | changes))

    return call


def speed(make: Make, method: str, value: float, conditions: dict[str, Any], **more: Any) -> Record:
    metrics = {"speedup": value, "speedup_low": value - 0.01, "speedup_high": value + 0.01, "dense_seconds": 0.02,
               "compressed_seconds": 0.02 / value} | more  # fmt: skip
    return make("latency", method, conditions=conditions, metrics=metrics)


def board(*records: Record) -> Board:
    (found,) = leaderboard.assemble(records, {}).boards
    return found


def measured(make: Make, *more: Record) -> Board:
    """Dense and a pruned network timed eager, a quantized one compiled."""
    accuracy = [make("accuracy", method) for method in HYPERPARAMETERS]
    eager = [speed(make, "dense", 1.0, EAGER), speed(make, "cuts", 2.0, EAGER)]
    return board(*accuracy, *eager, *more)


def line(found: Board, method: str = "ints") -> Line:
    (row,) = [each for each in tables.lines(found) if each.row.method == method]
    return row


def row(found: Board, method: str = "ints") -> Row:
    return line(found, method).row


def test_an_int8_row_ranks_in_the_eager_setup_by_its_speed_over_eager_dense(make: Make) -> None:
    found = measured(make, speed(make, "ints", 2.0, INT8, **OVER_EAGER))
    (setup,) = found.setups
    assert setup.headline and dict(setup.conditions) == EAGER
    own = row(found).speeds[setup]
    assert (own.metric("speedup"), own.interval, own.metric("dense_seconds")) == (3.0, (2.9, 3.1), 0.03)
    assert [row(found, name).speeds[setup].rank for name in ("ints", "cuts", "dense")] == [1, 2, 3]


def test_the_eager_table_marks_it_as_compiled_and_says_what_the_integers_alone_are_worth(make: Make) -> None:
    found = line(measured(make, speed(make, "ints", 2.0, INT8, **OVER_EAGER)))
    for key in ("speedup", "compressed_seconds"):
        assert found.entry(key).mark == "compiled"
    assert found.entry("speedup").text == "3.00\u00d7"
    assert found.entry("speedup").sub == "2.90\u20133.10; 2.00\u00d7 over compiled dense"
    assert found.entry("compressed_seconds").sub.startswith("dense, eager")
    assert not line(measured(make), "cuts").entry("speedup").mark


def test_the_compiled_setup_shows_it_against_compiled_dense_without_a_mark(make: Make) -> None:
    found = measured(make, speed(make, "dense", 1.0, COMPILED), speed(make, "ints", 2.0, INT8, **OVER_EAGER))
    assert [setup["backend"] for setup in found.setups] == ["eager", "compile"]
    entry = line(found).entry("speedup", 1)
    assert (entry.text, entry.mark) == ("2.00\u00d7", "")


def test_an_int8_row_without_a_float32_one_beside_it_keeps_a_setup_of_its_own(make: Make) -> None:
    other = {**INT8, "batch_size": 128}
    found = measured(make, speed(make, "ints", 2.0, other, **OVER_EAGER))
    assert [dict(setup.conditions) for setup in found.setups] == [EAGER, other]
    onnx = {**INT8, "backend": "onnxruntime"}  # another compiler than the one that the mark speaks of
    found = measured(make, speed(make, "ints", 2.0, onnx, **OVER_EAGER))
    assert [dict(setup.conditions) for setup in found.setups] == [EAGER, onnx]


@pytest.mark.parametrize("other", [{"machine": "another"}, {"conditions": {**INT8, "threads": 8}}])
def test_it_stands_beside_rows_of_the_same_machine_and_threads_alone(make: Make, other: dict[str, Any]) -> None:
    record = speed(make, "ints", 2.0, INT8, **OVER_EAGER)
    for name, value in other.items():
        setattr(record, name, value)
    found = measured(make, record)
    assert len(found.setups) == 2 and not any(setup in row(found).speeds for setup in found.setups if setup.headline)


def test_without_an_interval_over_eager_there_is_a_number_and_no_rank(make: Make) -> None:
    found = measured(make, speed(make, "ints", 2.0, INT8, speedup_over_eager=3.0))
    (setup,) = found.setups
    assert row(found).speeds[setup].rank is None and gain(row(found), "speedup", setup) is None
    assert line(found).entry("speedup").sub.startswith("no interval")


def test_an_unsupported_benchmark_shows_its_reason_and_no_number(make: Make) -> None:
    reason = "run eager it is a simulation"
    refused = make("latency", "ints", conditions={**INT8, "backend": "eager"}, status="unsupported", reason=reason,
                   metrics={})  # fmt: skip
    found = measured(make, refused)
    entry = line(found).entry("speedup")
    assert (entry.text, entry.value, entry.sub) == (tables.NOTHING, None, f"unsupported: {reason}")
    assert len(found.setups) == 1
    # what was measured after all stands before it, whichever came first
    for records in ((refused, speed(make, "ints", 2.0, INT8, **OVER_EAGER)),
                    (speed(make, "ints", 2.0, INT8, **OVER_EAGER), refused)):  # fmt: skip
        assert line(measured(make, *records)).entry("speedup").text == "3.00\u00d7"


def test_the_cost_beside_it_is_that_of_the_compiled_network(make: Make) -> None:
    def memory(method: str, peak: float, conditions: dict[str, Any]) -> Record:
        return make("memory", method, conditions=conditions, metrics={"peak_bytes": peak, "dense_peak_bytes": 2**21})

    found = measured(make, speed(make, "ints", 2.0, INT8, **OVER_EAGER), memory("ints", 2**20, INT8),
                     memory("cuts", 2**19, EAGER))  # fmt: skip
    entry = line(found).entry("peak_bytes")
    assert (entry.text, entry.sub, entry.mark) == ("1.00\u202fMiB", "dense, compiled 2.00\u202fMiB", "compiled")
    assert not line(found, "cuts").entry("peak_bytes").mark


def test_a_compiled_setup_does_not_borrow_the_memory_of_eager_networks(make: Make) -> None:
    eager = make("memory", "cuts", conditions=EAGER, metrics={"peak_bytes": 2**20, "dense_peak_bytes": 2**21})
    found = measured(make, speed(make, "cuts", 2.0, COMPILED), eager)
    assert [line(found, "cuts").entry("peak_bytes", at).value for at in (0, 1)] == [2**20, None]


def test_exports_say_what_a_speed_up_is_against(make: Make) -> None:
    found = measured(make, speed(make, "ints", 2.0, INT8, **OVER_EAGER))
    (flat,) = exports.lines(row(found), found)
    assert (flat["speedup"], flat["over_eager"], flat["speedup_over_compiled"]) == (3, True, 2)
    assert (flat["backend"], flat["precision"]) == ("compile", "int8") and "eager" in flat["setup"]
    (plain,) = exports.lines(row(found, "cuts"), found)
    assert (plain["over_eager"], plain["backend"], plain["precision"]) == (False, "eager", "fp32")


def test_the_column_explains_the_mark_only_where_it_is_used(make: Make) -> None:
    def title(found: Board) -> str:
        return next(column.title for column in columns.columns(found) if column.key == "speedup")

    assert columns.COMPILED_RULE in title(measured(make, speed(make, "ints", 2.0, INT8, **OVER_EAGER)))
    assert columns.COMPILED_RULE not in title(measured(make))


def test_the_headline_setup_is_not_an_int8_one() -> None:
    assert Setup("box", "cpu", tuple(EAGER.items())).headline
    assert not Setup("box", "cpu", tuple({**EAGER, "precision": "int8"}.items())).headline
    assert Setup("box", "cuda", tuple({**EAGER, "timing": "wall"}.items())).headline
    for other in ({"timing": "device"}, {"timing": "wall", "precision": "fp16"}, {"timing": "wall", "cache": "cold"}):
        assert not Setup("box", "cuda", tuple({**EAGER, **other}.items())).headline


def test_a_fastest_row_that_is_compiled_is_said_to_be(make: Make) -> None:
    found = measured(make, speed(make, "ints", 2.0, INT8, **OVER_EAGER))
    fastest = winners(found)[0]
    assert fastest.row is not None and (fastest.row.method, fastest.value, fastest.over_eager) == ("ints", 3.0, True)
    fastest = winners(measured(make))[0]
    assert fastest.row is not None and (fastest.row.method, fastest.over_eager) == ("cuts", False)


def test_reason_beside_a_missing_figure_is_as_long_as_a_column_takes(make: Make) -> None:
    for reason, shown in (("no room", "no room"), ("it overflows, and here is why " * 9, None)):
        failed = make("latency", "cuts", conditions=EAGER, status="unsupported", reason=reason, metrics={})
        accuracy = [make("accuracy", method) for method in HYPERPARAMETERS]
        eager = speed(make, "dense", 1.0, EAGER)
        entry = line(board(*accuracy, eager, failed), "cuts").entry("speedup")
        assert entry.text == tables.NOTHING and entry.sub.startswith("unsupported: ")
        if shown is None:
            assert (
                len(entry.sub) <= tables.LONGEST_REASON and entry.sub.endswith(" …") and "and here is why" in entry.sub
            )
        else:
            assert entry.sub == f"unsupported: {shown}"
