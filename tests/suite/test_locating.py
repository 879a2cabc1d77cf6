"""A record is found by the name that its page shows, by its file and line, or not at all, and then it is said why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import locating, records
from suite.errors import RecordError, UsageError
from suite.records import Record

HERE, THERE = "cpu-2c-4g-abcdef", "cpu-9c-9g-abcdef"


@pytest.fixture
def timed(make_record: Callable[..., Record]) -> Callable[..., Record]:
    """`timed(batch, threads)`: a latency record under these conditions."""

    def call(batch: int, threads: int, **changes: Any) -> Record:
        conditions = {"batch_size": batch, "threads": threads, "backend": "eager", "precision": "fp32", "cache": "hot"}
        return make_record(**({"kind": "latency", "conditions": conditions, "metrics": {"speedup": 2.0}} | changes))

    return call


def test_every_record_is_found_by_its_own_name(
    make_record: Callable[..., Record], timed: Callable[..., Record]
) -> None:
    found = [make_record(), timed(1, 1), timed(128, 2), timed(1, 2), make_record(seed=1)]
    for record in found:
        assert locating.locate(locating.refer(record), found, HERE) is record
    assert locating.locate(found[0].cell[:12], found, HERE) is found[0]
    assert locating.locate(f"{found[1].cell[:8]}/latency", found, HERE) is found[1]  # the headline of several
    assert locating.locate(f"{found[1].cell[:8]}/latency/batch_size=128", found, HERE) is found[2]


def test_newest_record_that_counts_is_meant_and_this_machines_before_others(make_record: Callable[..., Record]) -> None:
    first, second = make_record(), make_record()
    failed, other = make_record(status="oom", reason="no memory", metrics={}), make_record(machine=THERE)
    reference = first.cell[:16]
    assert locating.locate(reference, [first, second, other, failed], HERE) is second
    assert locating.locate(reference, [other], HERE) is other and locating.locate(reference, [failed], HERE) is failed


def test_file_and_line_name_a_record(make_record: Callable[..., Record], tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    record = make_record()
    path.write_bytes(b"{}\n" + records.encode(record))
    assert locating.locate(f"{path}:2", [], HERE) == record
    with pytest.raises(RecordError, match=r"run\.jsonl:1: not a record"):
        locating.locate(f"{path}:1", [], HERE)
    for reference, said in ((f"{path}:9", "has no line 9"), (f"{tmp_path / 'no'}:1", "cannot read")):
        with pytest.raises(UsageError, match=said):
            locating.locate(reference, [], HERE)


@pytest.mark.parametrize("reference", ["", "abc", "nonsense", "deadbeef", "deadbeef/latency", "../../x", "a" * 5000])
def test_name_of_nothing_is_refused_in_one_line(reference: str, make_record: Callable[..., Record]) -> None:
    with pytest.raises(UsageError) as refused:
        locating.locate(reference, [make_record()], HERE)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_conditions_that_are_left_open_are_named(timed: Callable[..., Record]) -> None:
    found = [timed(128, 2), timed(1, 2)]
    with pytest.raises(UsageError, match=r"several conditions: choose one of .*batch_size=128.*threads=2"):
        locating.locate(f"{found[0].cell[:16]}/latency", found, HERE)
