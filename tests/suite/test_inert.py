"""Whatever records say, the pages show it as text: nothing acts, and nothing that can be measured stops them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.history import Trained
from suite.records import Record, encode
from tests.suite.test_render import HOT, Page, build, shard, timed

HOSTILE = "</script><script>alert(1)</script>\u202e\u2028\n\"'><img src=x onerror=alert(1)>{{7*7}}"
Make = Callable[..., Record]
Write = Callable[..., Path]


def test_no_text_of_a_record_acts_on_a_page(write: Write, one: Make, tmp_path: Path) -> None:
    everywhere = {"notes": {HOSTILE: HOSTILE}, "data_source": HOSTILE, "command": HOSTILE, "git_commit": HOSTILE,
                  "versions": {HOSTILE: HOSTILE}, "recipe": {HOSTILE: [HOSTILE]}, "device": HOSTILE,
                  "curve": [{"step": 1, HOSTILE: HOSTILE}],
                  "trainings": [Trained(HOSTILE, 1e299, [(2**60, -1e299, 5e-324)]), Trained("", 0.0, [])]}  # fmt: skip
    records = [
        one(method=HOSTILE, task=HOSTILE, hyperparameters={HOSTILE: HOSTILE}, **everywhere),
        timed(one, hyperparameters={"channel_ratio": 0.5}, conditions={**HOT, HOSTILE: HOSTILE, "backend": HOSTILE}),
        one(status="error", reason=HOSTILE, metrics={}, hyperparameters={HOSTILE: HOSTILE}, **everywhere),
        one(**everywhere),
    ]
    results = write(*records)
    (results / "machines" / "box.json").write_text(json.dumps({"cpu": HOSTILE, HOSTILE: [HOSTILE, {"a": HOSTILE}]}))
    site = build(results, tmp_path / "site")
    for path in site.rglob("*"):
        if path.is_file() and path.name != "plotly.min.js":
            text = path.read_text(encoding="utf-8")
            assert "\u202e" not in text and "\u2028" not in text, path.name
            assert "49" not in re.findall(r">(49)<", text)
    for path in site.glob("*.html"):
        page = Page(path)
        assert not page.all("img"), path.name
        assert all(each.get("src") or each.get("type") == "application/ld+json" for each in page.all("script")), (
            path.name
        )
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes), path.name
    for path in (site / "data").glob("*.js"):
        assert "<" not in path.read_text(encoding="utf-8"), path.name
        shard(path)
    assert all(re.fullmatch(r"[A-Za-z0-9+._-]+", path.name) for path in site.iterdir())


def test_a_spreadsheet_takes_no_text_for_a_formula(write: Write, one: Make, tmp_path: Path) -> None:
    site = build(write(one(method="=HYPERLINK(1)", hyperparameters={})), tmp_path / "site")
    with open(site / "leaderboard.csv", newline="", encoding="utf-8") as file:
        methods = [row["method"] for row in csv.DictReader(file)]
    assert "'=HYPERLINK(1)" in methods


SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e20, 1e20) | st.text(max_size=8)
METRICS = st.dictionaries(
    st.sampled_from(["top1", "dense_top1", "ssim", "loss", "dense_loss", "macs", "dense_macs", "psnr", "odd"]),
    st.none() | st.floats(1e-9, 1) | st.integers(1, 10**15), max_size=6,
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(
    METRICS, st.dictionaries(st.text(max_size=5), SCALARS, max_size=2), st.integers(0, 2),
    st.lists(st.dictionaries(st.sampled_from(["step", "parameters", "val", "x"]), SCALARS), max_size=3),
    st.floats(1e-6, 1e6), st.booleans(),
), min_size=1, max_size=5))  # fmt: skip
def test_whatever_is_measured_can_be_shown(
    one: Make, tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Any, ...]]
) -> None:
    results = tmp_path_factory.mktemp("fuzz") / "results"
    for metrics, hyperparameters, seed, curve, speedup, fresh in drawn:
        inside = {n: v if n not in ("top1", "dense_top1", "ssim") else v and v / (v + 1) for n, v in metrics.items()}
        changes = {"hyperparameters": hyperparameters, "seed": seed} | ({} if fresh else {"freshness": "old"})
        path = results / "box" / "run.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as file:
            file.write(encode(one(metrics={"parameters": 10, "dense_parameters": 20} | inside, curve=curve, **changes)))
            file.write(encode(timed(one, speedup, **changes)))
    site = build(results, results.parent / "site")
    assert "0 lines" not in Page(site / "index.html").text
    for path in (site / "data").glob("*.js"):
        shard(path)
