"""A published record measured again: real runs of a small network agree with themselves, planted numbers do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from suite import cli, execute, plan, records, verify
from suite.bench import Row
from suite.errors import ArtifactError, UsageError
from suite.execute import Session
from suite.invocation import Places
from suite.progress import Progress
from suite.records import Record
from suite.stats import Interval


@pytest.fixture(scope="module")
def session(places: Any, origin: Any) -> Session:
    return Session(places, "cpu", origin, Progress(silent=True))


@pytest.fixture(scope="module")
def published(session: Session, tiny_cell: Callable[..., plan.Cell]) -> dict[str, Record]:
    """A real run of a cell and its benchmark, by kind."""
    cell = tiny_cell("zeroes")
    outcomes = [*execute.compress([cell], session), *execute.benchmark([cell], [Row(1, 1)], session)]
    return {outcome.record.kind: outcome.record for outcome in outcomes}


def changed(record: Record, **metrics: float) -> Record:
    """The record with other numbers."""
    return msgspec.structs.replace(record, metrics=record.metrics | metrics)


def written(session: Session) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in session.places.results.rglob("*") if path.is_file()}


def test_accuracy_of_a_stored_model_agrees_with_itself_and_nothing_is_written(
    session: Session, published: dict[str, Record]
) -> None:
    before = written(session)
    verdict = verify.verify(published["accuracy"], list(published.values()), session)
    assert verdict.agree and verdict.metric == "top1" and "evaluated again" in verdict.how
    assert verdict.measured.value == published["accuracy"].metrics["top1"]
    assert verdict.line.startswith("agree: ") and "\n" not in verdict.line
    assert written(session) == before


def test_task_of_somebodys_own_is_judged_by_the_metric_that_decides_there(
    install: Callable[..., Path], own_task: str, session: Session, tmp_path: Path
) -> None:
    install(tasks={"theirs": own_task.replace("    net.head = net.last\n", "").replace("self.last", "self.head")})
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 2)).astype(np.uint8)
    np.savez(tmp_path / "theirs.npz", x=pixels)
    own = replace(session, places=Places(tmp_path, tmp_path / "artifacts", tmp_path / "results"))
    (outcome,) = execute.compress([plan.Cell("theirs", "dense", {}, 0, "smoke")], own)
    assert {"regret", "top1"} <= set(outcome.record.metrics)
    verdict = verify.verify(outcome.record, [], own)
    assert verdict.agree and verdict.metric == "regret"


@pytest.mark.parametrize("planted", [{"top1": 1.0}, {"parameters": 7}])
def test_planted_accuracy_or_size_differs(
    session: Session, published: dict[str, Record], planted: dict[str, Any]
) -> None:
    verdict = verify.verify(changed(published["accuracy"], **planted), [], session)
    assert not verdict.agree and verdict.line.startswith("differ: ")


def test_cell_whose_model_is_gone_is_trained_again(
    session: Session, published: dict[str, Record], tmp_path: Path
) -> None:
    elsewhere = replace(session, places=replace(session.places, artifacts=tmp_path / "artifacts"))
    before = written(session)
    verdict = verify.verify(published["accuracy"], [], elsewhere)
    assert verdict.agree and verdict.how == "trained again"
    assert verdict.measured.value == published["accuracy"].metrics["top1"]  # the same seed on the same machine
    assert written(session) == before and not (tmp_path / "artifacts").exists()


def test_latency_agrees_within_its_interval_and_a_planted_speedup_differs(
    session: Session, published: dict[str, Record]
) -> None:
    record = published["latency"]
    speedup = float(record.metrics["speedup"] or 0)
    wide = changed(record, speedup_low=speedup / 3, speedup_high=speedup * 3)  # a busy machine's
    assert verify.verify(wide, list(published.values()), session).agree
    planted = changed(record, speedup=500 * speedup, speedup_low=490 * speedup, speedup_high=510 * speedup)
    quiet = changed(msgspec.structs.replace(published["noise-floor"], notes={}), noise_floor=0.01)
    busy = changed(msgspec.structs.replace(quiet, notes={"contended": True}), noise_floor=1e4)
    verdict = verify.verify(planted, [quiet, busy], session)
    assert not verdict.agree and any("noise floors: 0.01 published" in fact for fact in verdict.facts)


def test_networks_are_not_rebuilt_from_shapes_of_earlier_code(
    session: Session, published: dict[str, Record], tiny_cell: Callable[..., plan.Cell], tmp_path: Path
) -> None:
    elsewhere = replace(session, places=replace(session.places, artifacts=tmp_path))
    full = changed(published["accuracy"], nonzero_parameters=float(published["accuracy"].metrics["parameters"] or 0))
    keys = {tiny_cell("zeroes").key, tiny_cell("zeroes").dense.key}
    fresh = [msgspec.structs.replace(full, cell=key) for key in keys]
    assert set(execute.recorded_shapes(fresh)) == keys
    stale = [msgspec.structs.replace(record, freshness="0" * 64) for record in fresh]
    with pytest.raises(ArtifactError, match=r"^neither its networks are stored .* suite run .* --force$"):
        verify.verify(published["memory"], stale, elsewhere)


def test_memory_agrees_with_itself_and_not_with_twice_as_much(session: Session, published: dict[str, Record]) -> None:
    record = published["memory"]
    if record.status != "ok":
        pytest.skip(f"peak memory is not measured here: {record.reason}")
    assert verify.verify(record, [], session).agree
    doubled = changed(record, peak_bytes=2 * float(record.metrics["peak_bytes"] or 0) + 2**22)
    assert not verify.verify(doubled, [], session).agree


def test_record_of_another_machine_is_compared_by_ratios(session: Session, published: dict[str, Record]) -> None:
    record = msgspec.structs.replace(published["latency"], machine="cpu-9c-9g-abcdef")
    verdict = verify.verify(changed(record, speedup_low=0.01, speedup_high=100.0), [], session)
    assert verdict.agree and "another machine" in verdict.facts[0] and "here, on" in verdict.line


def test_old_record_without_ends_or_conditions_is_compared_by_what_it_has(
    session: Session, published: dict[str, Record]
) -> None:
    old = msgspec.structs.replace(
        published["latency"], metrics={"speedup": 1000.0}, conditions={}, notes={}, samples=[]
    )
    verdict = verify.verify(old, [], session)
    assert not verdict.agree and verdict.published.value == verdict.published.low == 1000.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "oom", "reason": "no memory", "metrics": {}}, "oom"),
        ({"status": "unsupported", "reason": "cannot"}, "unsupported"),
        ({"kind": "noise-floor", "conditions": {}, "metrics": {"noise_floor": 0.1}}, "noise floor"),
        ({"freshness": "0" * 64}, "stale"),
        ({"freshness": "0" * 64, "git_dirty": True}, "what was not committed then"),
        ({"task": "gone"}, "stale"),
    ],
)
def test_record_with_nothing_to_agree_with_is_refused(
    changes: dict[str, Any], said: str, published: dict[str, Record], session: Session
) -> None:
    with pytest.raises(UsageError, match=said):
        verify.verify(msgspec.structs.replace(published["accuracy"], **changes), [], session)


def test_kept_measurement_is_a_record_as_any_other(
    session: Session, published: dict[str, Record], tmp_path: Path
) -> None:
    kept = replace(session, places=replace(session.places, results=tmp_path))
    verify.verify(published["latency"], [], kept, keep=True)
    found, problems = records.read_results(tmp_path)
    assert [record.kind for record in found] == ["latency"] and not problems
    assert found[0].conditions == published["latency"].conditions and found[0].cell == published["latency"].cell


def test_two_speed_ups_are_a_change_where_their_difference_is_more_than_its_own_noise() -> None:
    old, new = Interval(2, 1.9, 2.1), Interval(2.2, 2.1, 2.3)
    least = verify.told_apart(old, new, 0.0)
    assert verify.overlap(old, new) and 1.06 < 1 + least < 2.2 / 2, "touching intervals are a change"
    assert verify.told_apart(new, old, 0.0) == least
    assert 1 + verify.told_apart(old, new, 0.05) == pytest.approx(1.05 * (1 + least))


def test_over_eager_is_what_is_verified_where_the_page_shows_it() -> None:
    eager = {"speedup_over_eager": 5.0, "speedup_over_eager_low": 4.5, "speedup_over_eager_high": 5.5}
    both = {"speedup": 3.0, "speedup_low": 2.9, "speedup_high": 3.1}
    assert verify._cost("latency", both | eager, both | eager, here=True)[0] == "speedup_over_eager"
    assert verify._cost("latency", both, both | eager, here=True)[:2] == ("speedup", Interval(3.0, 2.9, 3.1))


def test_intervals_that_touch_agree() -> None:
    assert verify.overlap(Interval(2, 1.9, 2.1), Interval(2.15, 2.1, 2.2))
    assert not verify.overlap(Interval(1, 0.95, 1.05), Interval(3, 2.9, 3.1))
    narrow, broad = verify.wilson(0.9, 10_000), verify.wilson(0.9, 100)
    assert broad.low < narrow.low < 0.9 < narrow.high < broad.high
    assert narrow.low > 0.89 and narrow.high < 0.91
    assert verify.wilson(1.0, 50).high == 1.0 and verify.wilson(0.0, 50).low == 0.0


def test_command_says_agree_differ_or_refuses_by_its_exit_code(
    session: Session, published: dict[str, Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = published["accuracy"]
    path = tmp_path / record.machine / "run.jsonl"
    path.parent.mkdir()
    path.write_bytes(records.encode(record) + records.encode(changed(record, top1=1.0)))
    given = ["--results", str(tmp_path), "--artifacts", str(session.places.artifacts)]
    assert cli.main(["verify", f"{path}:1", "--json", *given]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "agree" and told["published"]["value"] == record.metrics["top1"]
    assert cli.main(["verify", f"{path}:2", *given]) == 1
    assert capsys.readouterr().out.startswith(f"differ: {record.cell[:16]}: top1 published 1 ")
    assert cli.main(["verify", "0123456789abcdef", *given]) == 2
    assert capsys.readouterr().err.count("\n") == 1
