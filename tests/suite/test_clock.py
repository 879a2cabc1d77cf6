"""Clocks that are wrong: named where records come in, and where somebody measures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from suite import checks, clock, merging, records
from suite.records import Record, RunFile, now

Make = Callable[..., Record]
TODAY = "2026-03-01T12:00:00.000000Z"


def later(**difference: float) -> str:
    return (datetime.now(UTC) + timedelta(**difference)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("created", ["2026-03-02T12:00:01Z", "2026-03-02T12:00:00.000001Z", "9999-12-31T23:59:59Z"])
def test_more_than_a_day_ahead_is_a_fault(created: str) -> None:
    assert str(clock.ahead(created, TODAY)).startswith(f"created {created}, which is to come: the clock of its machine")


@pytest.mark.parametrize("created", ["2026-03-02T11:59:59.999999Z", TODAY, "1970-01-01T00:00:00Z"])
def test_a_time_zone_set_wrongly_is_forgiven(created: str) -> None:
    assert clock.ahead(created, TODAY) is None


def test_clock_that_was_set_back_is_told_to_who_measures(make_record: Make) -> None:
    old, new = make_record(created="2026-02-01T00:00:00Z"), make_record(created="2026-03-01T12:00:01Z")
    assert clock.behind([], TODAY) is clock.behind([old], TODAY) is None
    said = clock.behind([new, old], TODAY)
    assert said is not None and "\n" not in said
    assert "the clock says 2026-03-01T12:00:00Z, but a record here was made at 2026-03-01T12:00:01Z" in said
    assert clock.behind([make_record(created=now())]) is None


def test_record_from_the_future_is_checked_and_not_merged(make_record: Make, tmp_path: Path) -> None:
    with RunFile(tmp_path / "sent", "m", "r") as file:
        file.append(make_record(seed=1))
        file.append(make_record(seed=2, created=later(days=2)))
        file.append(make_record(seed=3, created=later(hours=20)))
    assert [(each.line, each.check) for each in checks.check(tmp_path / "sent").errors if each.check == "clock"] == [
        (2, "clock")
    ]
    new, known, problems = merging.merge([tmp_path / "sent"], tmp_path / "into")
    assert (new, known) == (2, 0) and [(each.line, each.check) for each in problems] == [(2, "clock")]
    assert {record.seed for record in records.read_results(tmp_path / "into")[0]} == {1, 3}


@pytest.mark.parametrize(
    "created",
    ["20260301T000000Z", "2026-W09-7", "2026-03-01", "2026-03-01T00:00:00", "2026-03-01T00:00:00+23:59",
     "2026-03-01 00:00:00Z", "2026-02-30T00:00:00Z", "\u0662\u0660\u0662\u0666-03-01T00:00:00Z",
     "2026-03-01T00:00:00z"],
)  # fmt: skip
def test_time_in_another_spelling_is_refused_since_texts_are_sorted(make_record: Make, created: str) -> None:
    with pytest.raises(records.BadRecord, match="is no ISO 8601 time in UTC, such as 2026-01-31T"):
        records.decode(records.encode(make_record(created=created)).rstrip(b"\n"))
