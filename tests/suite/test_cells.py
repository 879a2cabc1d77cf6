"""The page of one cell: where it started, what its method measured and logged, its pictures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import cells, leaderboard, plan, records, registry, render
from suite.history import Trained
from suite.records import Record, encode

TASK = "autoencoder-roadscenes"
Make = Callable[..., Record]


@pytest.fixture
def one(make_record: Make) -> Make:
    """`one(method, hyperparameters, field=value, ...)`: a fresh accuracy record of autoencoder-roadscenes."""

    def call(method: str = "structured", hyperparameters: dict[str, Any] | None = None, **changes: Any) -> Record:
        given = registry.method(method).complete(hyperparameters or {})
        fields = {"task": TASK, "method": method, "hyperparameters": given, "machine": "box",
                  "freshness": plan.current_freshness(TASK, method, given.get("base")),
                  "metrics": {"loss": 0.21, "dense_loss": 0.2, "parameters": 10, "dense_parameters": 20}}  # fmt: skip
        return make_record(**(fields | changes))

    return call


def pages_of(*records: Record, pictures: frozenset[str] = frozenset()) -> dict[str, Any]:
    _, parts = cells.shards(leaderboard.assemble(records, {}), pictures)
    return {key: data for part in parts.values() for key, data in part.items()}


def test_a_cell_links_to_the_base_that_it_started_from(one: Make) -> None:
    base = one()
    child = one("from-scratch", {"base": "structured"}, base_cell=base.cell)
    assert pages_of(base, child)[child.cell]["base"]["cell"] == base.cell[: records.ID]
    assert pages_of(base, child)[base.cell]["base"] is None
    # nothing to link to where nobody measured it here
    alone = pages_of(child)[child.cell]["base"]
    assert alone["cell"] is None and alone["text"].startswith("structured:")


def test_metrics_that_a_method_reported_itself_are_shown(one: Make) -> None:
    own = {"merge_relative_error": 1.8e-06, "stopped_early": True, "never_measured": None}
    record = one(metrics=one().metrics | own)
    numbers = {label: value for label, value, *_ in pages_of(record)[record.cell]["numbers"]}
    assert numbers["Merge relative error"] == "1.8e\u221206" and numbers["Stopped early"] == "yes"
    assert "Never measured" not in numbers and "Dense loss" not in numbers


def test_a_loss_differs_in_its_unit_and_in_percent(one: Make) -> None:
    record = one()
    (loss,) = [line for line in pages_of(record)[record.cell]["numbers"] if line[0] == "Loss"]
    assert loss == ["Loss", "0.2100", "0.2000", "+0.01 (+5.0 %)"]


def test_a_curve_of_one_point_is_what_the_method_logged(one: Make) -> None:
    single = one("quantize-static", curve=[{"step": 1, "batches": 8, "quantized_share": 0.9993, "val": -0.2}])
    page = pages_of(single)[single.cell]
    assert page["logged"] == [
        ["batches", "8"], ["weights in INT8", "99.93 %"], ["score on validation data", "-0.2"]]  # fmt: skip
    several = one(curve=[{"step": step, "alpha": 1 - step, "val": -0.2} for step in range(2)])
    page = pages_of(several)[several.cell]
    assert page["logged"] == [] and page["curve"] == several.curve


def test_an_int8_measurement_is_one_timing_with_both_speed_ups(one: Make) -> None:
    eager = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
    metrics = {"speedup": 2.0, "speedup_low": 1.9, "speedup_high": 2.1, "dense_seconds": 0.02,
               "speedup_over_eager": 3.0, "speedup_over_eager_low": 2.9, "speedup_over_eager_high": 3.1,
               "dense_eager_seconds": 0.03}  # fmt: skip
    times = [one("dense", kind="latency", conditions=eager, metrics={"speedup": 1.0}),
             one("structured", kind="latency", conditions={**eager, "backend": "compile"}, metrics={"speedup": 1.0}),
             one("quantize-static", kind="latency", conditions={**eager, "backend": "compile", "precision": "int8"},
                 metrics=metrics)]  # fmt: skip
    record = one("quantize-static")
    (timing,) = pages_of(one("dense"), one(), record, *times)[record.cell]["timings"]
    facts = dict(timing["facts"])
    assert facts["speed-up over compiled dense"] == "2.00\u00d7" and facts["speed-up over eager dense"] == "3.00\u00d7"
    assert facts["95 % interval of that"] == "2.900 to 3.100" and facts["eager dense"] == "30.0\u202fms"


def test_a_benchmark_that_failed_says_why_on_the_page(one: Make) -> None:
    refused = one(kind="latency", conditions={"batch_size": 1}, status="unsupported", reason="no kernel", metrics={})
    (timing,) = pages_of(one(), refused)[refused.cell]["timings"]
    assert ["why not measured", "no kernel"] in timing["facts"] and timing["speedup"] is None


# ------------------------------------------------------------------------------------------------------------ pictures


def picture(folder: Path, content: bytes, *, name: str | None = None) -> str:
    digest = name or hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{digest}.webp").write_bytes(content)
    return digest


def build(
    results: Path, out: Path, *records: Record, warn: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    (results / "box").mkdir(parents=True)
    (results / "box" / "run.jsonl").write_bytes(b"".join(map(encode, records)))
    render.build(results, out, warn=warn)
    found: dict[str, Any] = {}
    for path in (out / "data").glob("cells-*.js"):
        match = re.fullmatch(r'prunemark\.add\("[^"]+",(.*)\);\n', path.read_text(encoding="utf-8"), re.DOTALL)
        assert match is not None
        found |= json.loads(match.group(1))
    return found


def test_pairs_of_original_and_reconstruction_are_shown_and_copied(one: Make, tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "site"
    names = [picture(results / "gallery", text) for text in (b"one", b"two", b"one again", b"two again")]
    unnamed = picture(results / "gallery", b"of no record here")
    record = one(gallery=names)
    page = build(results, out, record)[record.cell]
    assert page["gallery"] == [[names[0], names[2]], [names[1], names[3]]]
    assert {path.stem for path in (out / "gallery").glob("*.webp")} == set(names) and unnamed not in names
    assert "MIT License" in (out / "gallery" / "NOTICE").read_text(encoding="utf-8")


def test_no_picture_is_shown_that_is_large_missing_a_link_or_not_what_its_name_says(one: Make, tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "site"
    folder = results / "gallery"
    good = picture(folder, b"an original")
    large = picture(folder, b"x" * 15_001)
    forged = picture(folder, b"something else", name="f" * 64)
    (tmp_path / "outside").write_bytes(b"a secret")
    linked = hashlib.sha256(b"a secret").hexdigest()
    (folder / f"{linked}.webp").symlink_to(tmp_path / "outside")
    record = one(gallery=[good, good, good, good, large, forged, linked, "0" * 64])
    told: list[str] = []
    assert build(results, out, record, warn=told.append)[record.cell]["gallery"] == []
    assert told == [f"{folder} lacks 4 of 5 pictures: python -m suite check names their records"]
    assert {path.stem for path in (out / "gallery").glob("*.webp")} == {good}


def test_pictures_go_with_the_records_that_named_them(one: Make, tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "site"
    names = [picture(results / "gallery", text) for text in (b"one", b"two")]
    build(results, out, one(gallery=names))
    build(tmp_path / "others", out, one())
    assert not list((out / "gallery").glob("*.webp"))


def test_trainings_are_shown_epoch_by_epoch(one: Make) -> None:
    record = one(trainings=[Trained("alpha 0.9", 0.01, [(1, 2.0, 0.5), (2, 1.5, 0.6)])])
    assert pages_of(record)[record.cell]["trainings"] == [["alpha 0.9", 0.01, [(1, 2.0, 0.5), (2, 1.5, 0.6)]]]


def test_the_share_of_int8_is_told_from_the_end_of_a_longer_curve(one: Make) -> None:
    curve: list[dict[str, Any]] = [{"step": 0, "val": -0.3}, {"step": 1, "val": -0.2, "quantized_share": 0.5}]
    record = one("quantize-qat", curve=curve)
    assert pages_of(record)[record.cell]["logged"] == [["weights in INT8", "50.00 %"]]


@pytest.mark.parametrize(
    ("method", "given", "share", "said"),
    [
        ("structured", {}, 0.1, True),
        ("structured", {}, 1, False),
        ("global-unstructured", {"epochs": 0}, 0.1, False),
        ("quantize-static", {}, 0.1, False),
    ],
)
def test_a_cell_says_which_profiles_epochs_its_settings_name(
    one: Make, method: str, given: dict[str, Any], share: float, said: bool
) -> None:
    record = one(method, given, profile="quick", recipe={"epochs": 12, "finetune_share": share})
    assert (pages_of(record)[record.cell]["scaled"] is not None) == said


def test_a_cell_says_how_long_it_took(one: Make) -> None:
    record = one(notes={"compress_seconds": 90.0, "why": "x"})
    told = dict(pages_of(record)[record.cell]["provenance"])
    assert told["took to make"] == "90.0\u202fs" and "note: compress_seconds" not in told and told["note: why"] == "x"
