"""The description of leaderboard.csv: of that very file, every column of it, in the terms of Croissant 1.0."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable

from suite import croissant, exports, leaderboard, plan
from suite.records import Record


def test_it_describes_the_very_file_and_every_column(make_record: Callable[..., Record]) -> None:
    task = "vgg16-digits"
    metrics = {"top1": 0.9, "dense_top1": 0.94, "size_bytes": 10}
    record = make_record(
        task=task, method="structured", metrics=metrics, freshness=plan.current_freshness(task, "structured")
    )
    (board,) = leaderboard.assemble([record], {}).boards
    lines = [line for row in board.rows for line in exports.lines(row, board)]
    text = exports.csv_text(lines)
    found = croissant.description(text, list(lines[0]), created="2026-01-02T00:00:00Z")
    (file,) = found["distribution"]
    assert file["sha256"] == hashlib.sha256(text.encode()).hexdigest() and found["datePublished"] == "2026-01-02"
    assert file["contentSize"] == f"{len(text.encode())} B"
    fields = found["recordSet"][0]["field"]
    header = next(csv.reader(io.StringIO(text)))
    assert [field["source"]["extract"]["column"] for field in fields] == [field["name"] for field in fields] == header
    assert all(len(field["description"]) > 10 and field["dataType"].startswith("sc:") for field in fields)
    assert len({field["@id"] for field in fields}) == len(fields)


def test_types_fit_what_the_columns_hold(make_record: Callable[..., Record]) -> None:
    (board,) = leaderboard.assemble([make_record(task="vgg16-digits")], {}).boards
    read = {croissant.INTEGER: int, croissant.FLOAT: (int, float), croissant.TEXT: str, croissant.BOOLEAN: bool}
    for row in board.rows:
        for line in exports.lines(row, board):
            for name, value in line.items():
                assert value is None or isinstance(value, read[croissant.fields()[name][0]]), name


def test_every_term_is_in_the_context() -> None:
    found = croissant.description("task\r\n", ["task"], created="")
    assert "datePublished" not in found and json.loads(json.dumps(found)) == found
    assert {"citeAs", "conformsTo", "recordSet", "field", "dataType", "extract", "isLiveDataset"} <= set(
        found["@context"]
    )
    assert found["@context"]["@vocab"] == "https://schema.org/"
