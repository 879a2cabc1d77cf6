"""What a study takes, as cells and rows that the runner knows, and how it reads on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import cli, plan, records, registry, study_plan
from suite.conditions import as_precision, standard_rows
from suite.plan import DENSE
from suite.records import Record
from suite.studies import Quantity, studies

NAMES = sorted(studies())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_rows_of_a_study_give_the_conditions_that_its_tables_ask_for(name: str, device: str) -> None:
    asked = studies()[name]
    wanted = {
        (study_plan.cell(each).key, tuple(sorted((each.conditions or {}).items())))
        for each in asked.quantities
        if each.kind != "accuracy" and each.device == device
    }
    made = {
        (cell.key, tuple(sorted(row.conditions.items())))
        for rows, cells in study_plan.cost_rows(asked, device).items()
        for cell in cells
        for row in as_precision(rows, "int8" if cell.method.startswith("quantize") else "fp32")
    }
    assert made == wanted
    known = {cell.key for cell in study_plan.cells(asked)}
    assert {key for key, _ in made} <= known


def test_every_cost_that_a_study_asks_for_is_among_all_rows() -> None:
    for name in NAMES:
        for each in studies()[name].quantities:
            if each.kind != "accuracy":
                rows = as_precision(standard_rows(each.device, "all"), "int8" if _is_int8(each) else "fp32")
                assert dict(each.conditions or {}) in [row.conditions for row in rows], (name, each)


def _is_int8(quantity: Quantity) -> bool:
    return (quantity.conditions or {}).get("precision") == "int8"


def test_studys_table_is_printed_and_told_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["study", "table1-vgg-cost", "--table", "--results", str(tmp_path)]
    assert cli.main(given) == 0
    text = capsys.readouterr().out
    assert "0.0420\u202fs" in text and "2.00\u202fGB" in text and "ours missing" in text and "no unit" in text
    assert cli.main([*given, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    first = told["tables"][0]["lines"][0]
    assert first["unit"] == "seconds" and first["numbers"][0]["reported"] == 0.042
    assert first["numbers"][0]["state"] == "missing"
    assert cli.main([*given, "--method", "dense"]) == 2, "which it would have left out of account"
    assert "--table prints the whole study" in capsys.readouterr().err
    assert first["numbers"][0]["command"].startswith("python -m suite bench --task vgg16-cifar10 ")
    assert len(told["owed"]) == len(set(told["owed"])) > 0


def test_plan_says_what_a_study_owes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["plan", "--missing", "--json", "--results", str(tmp_path), "--artifacts", str(tmp_path)]
    assert cli.main([*given, "--study", "fig4a-l1-curve"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["owed"] == len(told["cells"]) == 3 and told["rows_owed"] == 0 and told["seconds"] > 0
    assert f"--method {DENSE}" in told["cells"][0]["arguments"]
    assert cli.main([*given, "--study", "table1-vgg-cost"]) == 0
    assert json.loads(capsys.readouterr().out)["rows_owed"] > 0
    assert cli.main([*given, "--study", "fig4a-l1"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_study_is_narrowed_to_a_task_or_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["plan", "--missing", "--json", "--results", str(tmp_path), "--artifacts", str(tmp_path), "--study"]

    def told(*words: str) -> dict[str, Any]:
        assert cli.main([*given, *words]) == 0
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    whole = told("table1-vgg-cost")
    some = told("table1-vgg-cost", "--method", "l1-three-stage")
    assert [cell["arguments"].split()[3] for cell in some["cells"]] == ["l1-three-stage"]
    assert 0 < some["rows_owed"] < whole["rows_owed"]
    assert told("table1-vgg-cost", "--method", DENSE)["rows_owed"] == 0
    narrow = told("alpha-schedules", "--task", "autoencoder-carla")
    assert {cell["arguments"].split()[1] for cell in narrow["cells"]} == {"autoencoder-carla"}
    assert cli.main([*given, "fig4a-l1-curve", "--task", "autoencoder-carla"]) == 2
    assert "no cell of autoencoder-carla: it has vgg16-cifar10 by dense" in capsys.readouterr().err


def test_base_whose_record_stands_and_whose_model_is_gone_is_to_be_made_again(
    tmp_path: Path, make_record: Callable[..., Record], capsys: pytest.CaptureFixture[str]
) -> None:
    base = plan.Cell("vgg16-digits", "l1-three-stage", registry.method("l1-three-stage").complete({}), 0, "smoke")
    record = make_record(task=base.task, method=base.method, hyperparameters=base.hyperparameters, cell=base.key,
                   freshness=base.freshness, profile="smoke")  # fmt: skip
    folder = tmp_path / "results" / record.machine
    folder.mkdir(parents=True)
    (folder / f"{record.run}.jsonl").write_bytes(records.encode(record))
    asked = ["plan", "--json", "--profile", "smoke", "--task", "vgg16-digits", "--method", "from-scratch", "--set",
             "base=l1-three-stage", "--results", str(tmp_path / "results"), "--artifacts", str(tmp_path)]  # fmt: skip
    assert cli.main(asked) == 0
    states = {cell["arguments"].split()[3]: cell["state"] for cell in json.loads(capsys.readouterr().out)["cells"]}
    assert states == {"l1-three-stage": "again", "from-scratch": "owed"}
