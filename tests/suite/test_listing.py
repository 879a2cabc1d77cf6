"""The method x task matrix: said from records alone, by today's code."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import cli, listing, plan, registry, render
from suite.errors import UsageError
from suite.listing import Standing
from suite.records import Record, encode

TASK, METHOD = "vgg16-cifar10", "structured"
POINT = plan.points(registry.method(METHOD))[0]
Make = Callable[..., Record]


@pytest.fixture
def one(make_record: Make) -> Make:
    """`one(field=value, ...)`: a fresh accuracy record of `structured` on vgg16-cifar10."""

    def call(**changes: Any) -> Record:
        fields: dict[str, Any] = {"task": TASK, "method": METHOD, "hyperparameters": POINT, "machine": "box",
                  "freshness": plan.current_freshness(TASK, METHOD)}  # fmt: skip
        return make_record(**(fields | changes))

    return call


def standing(*records: Record) -> Standing:
    return listing.matrix(records)[METHOD][TASK]


def test_every_method_meets_every_task() -> None:
    found = listing.matrix([])
    assert set(found) == set(registry.catalogue().methods)
    assert all(set(tasks) == set(registry.tasks()) for tasks in found.values())
    assert {each for tasks in found.values() for each in tasks.values()} == {Standing("untried")}
    assert str(Standing("untried")) == "not measured yet"


def test_what_is_measured_names_profiles_and_machines(one: Make) -> None:
    found = standing(one(), one(profile="full", machine="another"), one())
    assert found == Standing("measured", ("full", "smoke"), ("another", "box"))
    assert str(found) == "measured: full, smoke"


def test_what_a_method_cannot_do_has_its_reason(one: Make) -> None:
    refused = one(status="unsupported", reason="no linear layer", metrics={})
    assert str(standing(refused)) == "cannot: no linear layer"
    assert standing(refused, one()) == Standing("measured", ("smoke",), ("box",), "no linear layer")
    assert str(standing(one(status="oom", reason="no room", metrics={}))) == "failed: oom: no room"


def test_a_setting_of_somebodys_own_that_was_refused_is_no_fact_about_the_method(one: Make) -> None:
    refused = {"status": "unsupported", "reason": "rate 0.0: the decay rate must be positive", "metrics": {}}
    slip = one(hyperparameters=POINT | {"steps": 0}, **refused)
    assert standing(slip) == Standing("untried")
    assert standing(slip, one(status="unsupported", reason="no linear layer", metrics={})) == Standing(
        "cannot", reason="no linear layer")  # fmt: skip


def test_what_earlier_code_did_says_nothing_of_todays(one: Make) -> None:
    old = {"freshness": "of old"}
    assert standing(one(**old), one(status="unsupported", reason="x", metrics={}, **old)) == Standing("untried")


def test_a_benchmark_is_no_accuracy(one: Make) -> None:
    assert standing(one(kind="latency", conditions={}, metrics={"speedup": 2.0})) == Standing("untried")


def test_the_overview_shows_the_matrix_with_words_for_those_who_do_not_see_it(one: Make, tmp_path: Path) -> None:
    reason = "no linear <layer>"
    refused = one(status="unsupported", reason=reason, metrics={}, task="vgg16-digits",
                  freshness=plan.current_freshness("vgg16-digits", METHOD))  # fmt: skip
    (tmp_path / "results" / "box").mkdir(parents=True)
    (tmp_path / "results" / "box" / "run.jsonl").write_bytes(encode(one()) + encode(refused))
    index = render.build(tmp_path / "results", tmp_path / "site").read_text(encoding="utf-8")
    table = index[index.index('id="matrix"') : index.index('id="methods"')]
    assert table.count("<tr>") == 1 + len(registry.tasks())
    assert table.count("not measured yet</span>") == len(registry.tasks()) * len(registry.catalogue().methods) - 2
    assert re.search(r"<b>smoke</b> 1 of \d+</span>", table) and "<p>no linear &lt;layer&gt;</p>" in table
    assert '<caption class="hide">' in table and 'class="scroll" role="region"' in table


def test_lines_and_entries_hold_every_pair_once(one: Make) -> None:
    found = listing.matrix([one()])
    pairs = len(registry.tasks()) * len(registry.catalogue().methods)
    lines = list(listing.matrix_text(found))
    assert len(lines) == pairs + len(registry.catalogue().methods)
    assert f"  {TASK:{max(map(len, registry.tasks()))}}  measured: smoke" in lines
    entries = listing.matrix_entries(found)
    assert len({(each["method"], each["task"]) for each in entries}) == pairs
    assert {"state", "profiles", "machines", "reason"} <= set(entries[0])


def test_the_line_of_an_int8_row_says_both_speed_ups(one: Make) -> None:
    metrics = {"speedup": 2.0, "speedup_low": 1.9, "speedup_high": 2.1, "speedup_over_eager": 3.0}
    text = listing.line(one(kind="latency", metrics=metrics, conditions={"precision": "int8"}))
    assert "2.000x [1.900, 2.100], 3.000x over eager dense (precision=int8)" in text


def test_the_line_of_a_row_that_failed_names_the_row(one: Make) -> None:
    failed = {"status": "oom", "reason": "no room", "metrics": {}}
    row = one(kind="memory", conditions={"batch_size": 128, "threads": 2}, **failed)
    assert listing.line(row).endswith(": memory: oom: no room (batch_size=128 threads=2)")
    assert listing.line(one(**failed)).endswith(": oom: no room")


def test_result_lines_tell_the_cells_of_a_call_apart(make_record: Make, tiny_cell: Any) -> None:
    def told(cells: list[Any], index: int) -> str:
        own = dict(cells[index].hyperparameters)
        record = make_record(method=cells[index].method, hyperparameters=own, seed=cells[index].seed)
        return listing.line(record, cells).partition(":")[0]

    shares = [tiny_cell("zeroes", share=0.5), tiny_cell("zeroes", share=0.25)]
    assert [told(shares, index) for index in (0, 1)] == ["tiny zeroes share=0.5", "tiny zeroes share=0.25"]
    tuned = [tiny_cell("zeroes"), tiny_cell("zeroes", finetune=True, base="raises")]
    assert told(tuned, 0) == "tiny zeroes share=0.5 finetune=false"
    assert told(tuned, 1) == "tiny zeroes share=0.5 finetune=true base=raises"
    assert told([tiny_cell("structured", macs_ratio=0.5, importance="lamp")], 0) == (
        "tiny structured importance=lamp macs_ratio=0.5")  # fmt: skip
    assert told([tiny_cell("zeroes"), tiny_cell("zeroes", seed=1)], 0) == "tiny zeroes share=0.5 seed=0"


def test_listing_one_method_imports_no_other(install: Callable[..., Path]) -> None:
    source = "from suite import register_method\n\n@register_method({0!r}, family='x')\ndef {0}(model, bench): ...\n"
    install(methods={name: source.format(name) for name in ("asked", "other")} | {"broken": "def broken(:\n"})
    listed = listing.entries("methods", "asked")
    assert [(each["name"], each["available"]) for each in listed] == [("asked", True)]
    assert "outside.asked" in sys.modules and "outside.other" not in sys.modules
    (broken,) = listing.entries("methods", "outside.broken")
    assert (broken["available"], broken["family"]) == (False, "")
    with pytest.raises(UsageError, match=r"unknown method 'askd': did you mean 'asked'\?"):
        listing.entries("methods", "askd")


def test_list_matrix_says_what_runs_where(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["list", "matrix", "--json", "--results", str(Path(__file__).parents[2] / "results")]) == 0
    found = {(each["method"], each["task"]): each["state"] for each in json.loads(capsys.readouterr().out)}
    assert set(found) == {(method, task) for method in registry.catalogue().methods for task in registry.tasks()}
    assert found["dense", "vgg16-cifar10"] == "measured"
    assert cli.main(["list", "matrix", "dense"]) == 2
    assert "leave out 'dense'" in capsys.readouterr().err
