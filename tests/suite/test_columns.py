"""What readers may choose of a table: its columns, what a download of them has, filters over how rows were timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from suite import columns, leaderboard, pages, plan, tables
from suite.leaderboard import Board
from suite.records import Record

TASK, METHOD = "vgg16-cifar10", "l1-three-stage"
HOT = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
Make = Callable[..., Record]


@pytest.fixture
def one(make_record: Make) -> Make:
    """`one(ratio, field=value, ...)`: a fresh record of one setting of one method."""

    def call(ratio: float, **changes: Any) -> Record:
        fields = {
            "task": TASK, "method": METHOD, "hyperparameters": {"channel_ratio": ratio}, "profile": "full",
            "machine": "box", "data_sha256": "d" * 64,
            "freshness": plan.current_freshness(TASK, changes.get("method", METHOD)) or "",
            "metrics": {"top1": 0.9, "dense_top1": 0.94, "parameters": 250, "macs": 100, "dense_macs": 400},
        }  # fmt: skip
        return make_record(**(fields | changes))

    return call


def speed(one: Make, ratio: float, speedup: float, share: float = 0.01, **changes: Any) -> Record:
    metrics = {"speedup": speedup, "speedup_low": speedup * (1 - share), "speedup_high": speedup * (1 + share)}
    return one(ratio, **({"kind": "latency", "metrics": metrics, "conditions": HOT, "data_sha256": None} | changes))


def board(*records: Record) -> Board:
    return leaderboard.assemble(records, {}).boards[0]


def line(found: Board, ratio: float) -> tables.Line:
    return next(each for each in tables.lines(found) if each.row.hyperparameters.get("channel_ratio") == ratio)


def test_a_rank_tells_the_places_that_the_intervals_leave_open(one: Make) -> None:
    speeds = {0.2: 4.0, 0.3: 3.0, 0.31: 3.01, 0.9: 1.1}
    found = board(*(one(ratio) for ratio in speeds), *(speed(one, ratio, each) for ratio, each in speeds.items()))
    told = {ratio: line(found, ratio).entry("rank") for ratio in speeds}
    assert [(entry.text, entry.sub) for entry in told.values()] == [
        ("1", "alone of 4"), ("2", "2 to 3 of 4"), ("2", "2 to 3 of 4"), ("4", "alone of 4")]  # fmt: skip
    assert told[0.3].data == {"speed_rank": 2, "speed_rank_worst": 3}


def test_energy_has_a_column_once_it_is_measured(one: Make) -> None:
    def shown(found: Board) -> bool:
        return next(column.shown for column in columns.columns(found) if column.key == "joules")

    metrics = {"joules": 0.0042, "dense_joules": 0.02}
    energy = one(0.5, kind="energy", metrics=metrics, conditions=HOT, data_sha256=None)
    bare, measured = board(one(0.5), speed(one, 0.5, 2.0)), board(one(0.5), speed(one, 0.5, 2.0), energy)
    assert not shown(bare) and line(bare, 0.5).entry("joules").text == tables.NOTHING
    entry = line(measured, 0.5).entry("joules")
    assert shown(measured) and (entry.text, entry.sub) == ("4.20\u202fmJ", "dense 20.0\u202fmJ")
    assert entry.data == metrics


def test_another_machine_has_a_column_of_its_own(one: Make) -> None:
    found = board(one(0.5), speed(one, 0.5, 2.0), speed(one, 0.5, 3.0, machine="other"),
                  speed(one, 0.5, 4.0, conditions=HOT | {"batch_size": 128}))  # fmt: skip
    elsewhere = [column for column in columns.columns(found) if column.key.startswith(tables.ELSEWHERE)]
    assert len(elsewhere) == len(found.setups) == 3
    assert [column.unit for column in elsewhere if column.shown] == ["other"]  # other conditions are there to be chosen
    texts = {line(found, 0.5).entry(column.key).text for column in elsewhere}
    assert texts == {"2.00\u00d7", "3.00\u00d7", "4.00\u00d7"}


def test_filters_offer_what_rows_were_timed_with_and_no_more(one: Make) -> None:
    ints = {"method": "quantize-static", "hyperparameters": {"batches": 8}}
    over = {"speedup": 2.0, "speedup_over_eager": 3.0, "speedup_over_eager_low": 2.9, "speedup_over_eager_high": 3.1}
    compiled = HOT | {"backend": "compile", "precision": "int8"}
    found = board(one(0.5), speed(one, 0.5, 2.0), one(0, **ints),
                  speed(one, 0, 2.0, metrics=over, conditions=compiled, **ints),
                  speed(one, 0.5, 2.0, conditions=HOT | {"batch_size": 128}))  # fmt: skip
    offered = {name: values for name, _, values in columns.facets(found)}
    assert offered["batch_size"] == ("1", "128") and offered["precision"] == ("fp32", "int8")
    assert offered["backend"] == ("compile", "eager") and "timing" not in offered
    assert columns.facets(board(one(0.5))) == ()
    shard = pages.board_shard(pages.section(found, {}), {})
    (quantized,) = [row for row in shard["rows"] if row["method"] == "quantize-static" and row["state"] == "ok"]
    beside = shard["setups"].index("batch 1, 1 thread, hot, eager on box")
    assert quantized["timed"][beside] == {"backend": "compile", "precision": "int8"}


def test_a_download_has_every_field_that_its_columns_name(one: Make) -> None:
    found = board(one(0.5), speed(one, 0.5, 2.0))
    shard = pages.board_shard(pages.section(found, {}), {})
    (row,) = [row for row in shard["rows"] if row["state"] == "ok"]
    fields = {column["key"]: list(column["fields"]) for column in shard["columns"]}
    data = {key: dict(zip(fields[key], entry[3], strict=True))
            for key, entry in (row["fixed"] | row["by_setup"][0]).items()}  # fmt: skip
    assert data["top1"] == {"top1": 0.9, "top1_deviation": None, "dense_top1": 0.94}
    assert data["macs_left"] == {"macs": 100, "dense_macs": 400}
    assert data["speedup"]["speedup_low"] == pytest.approx(1.98) and data["speedup"]["contended"] is False


@pytest.mark.parametrize("note", ["simulated", "contended"])
def test_a_measurement_that_says_so_is_marked(one: Make, note: str) -> None:
    found = board(one(0.5), speed(one, 0.5, 2.0, notes={note: True}))
    row = line(found, 0.5)
    assert (note, note) in row.badges and note in row.entry("speedup").sub
