"""The pages: complete, inert whatever a record says, readable without scripts, never half written."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from suite import pages, render
from suite.errors import RecordError
from suite.records import Record

ROOT = Path(__file__).parents[2]
HOT = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
Make = Callable[..., Record]
Write = Callable[..., Path]


class Page(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, its text, its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def timed(one: Make, speedup: float = 2.0, **changes: Any) -> Record:
    metrics = {"speedup": speedup, "speedup_low": speedup * 0.99, "speedup_high": speedup * 1.01, "dense_seconds": 0.02,
               "compressed_seconds": 0.02 / speedup, "pairs": 60, "converged": True}  # fmt: skip
    fields = {"kind": "latency", "metrics": metrics, "conditions": HOT, "samples": [[0.02, 0.01]] * 3, "curve": []}
    return one(**(fields | changes))


def build(results: Path, out: Path) -> Path:
    return render.build(results, out, warn=lambda text: None).parent


def shard(path: Path) -> Any:
    """The data of a shard, read as a browser's script would."""
    found = re.fullmatch(r'prunemark\.add\("[^"]+",(.*)\);\n', path.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def board(site: Path, task: str = "vgg16-cifar10", profile: str = "full") -> Any:
    return shard(next(path for path in (site / "data").glob("board-*.js") if f"{task}-{profile}" in path.name))


# ---------------------------------------------------------------------------------------------------------- the build


def test_every_page_links_to_pages_that_exist(write: Write, one: Make, tmp_path: Path) -> None:
    records = [one(), timed(one), one(task="vgg16-digits", profile="smoke"), one(method="gone", hyperparameters={})]
    site = build(write(*records), tmp_path / "site")
    names = {"index", "measuring", "cell", "task-vgg16-cifar10", "task-vgg16-digits", "method-l1-three-stage",
             "method-dense", "method-gone", "machine-box"}  # fmt: skip
    assert names <= {path.stem for path in site.glob("*.html")}
    cells = {key[:16] for path in (site / "data").glob("cells-*.js") for key in shard(path)}
    for path in site.glob("*.html"):
        page = Page(path)
        ids = {attributes.get("id") for _, attributes in page.elements}
        for link in [each["href"] for each in page.all("a")] + [each["href"] for each in page.all("link")]:
            assert link is not None
            if link.startswith("https://arxiv.org/abs/"):
                continue
            target, _, fragment = unquote(link).partition("#")
            assert not target or (site / target).is_file(), f"{path.name} links to {link}"
            if target == "cell.html":
                assert fragment in cells
            elif not target and fragment:
                assert fragment in ids
        for script in (each for each in page.all("script") if "type" not in each):
            assert script["src"] and (site / script["src"]).is_file()


def test_pages_need_nothing_from_elsewhere(write: Write, one: Make, tmp_path: Path) -> None:
    site = build(write(one(), timed(one)), tmp_path / "site")
    for path in [*site.glob("*.html"), *site.glob("*.css"), *(site / name for name in render.ASSETS)]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:src|url|import|fetch)\s*[=(]?\s*[\"'(]?https?://", text), path.name


def test_an_absent_results_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such results folder"):
        render.build(tmp_path / "nothing", tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_folder_of_records_and_one_with_pages_of_others_are_refused(write: Write, one: Make, tmp_path: Path) -> None:
    results = write(one())
    with pytest.raises(RecordError, match="results holds records: a site is a folder of its own, name another"):
        render.build(results, results)
    mine = tmp_path / "mine" / "style.css"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(RecordError, match=r"mine/style\.css was put there by no build: name a folder of its own"):
        render.build(results, mine.parent)
    assert mine.read_text() == "mine" and list(mine.parent.iterdir()) == [mine]
    assert not (results / "index.html").exists()


def test_a_first_build_that_was_cut_off_is_known_as_one(
    write: Write, one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, replace, moved = write(one()), os.replace, []

    def cut_off(source: Path, to: Path) -> None:
        if len(moved) == 3:
            raise OSError(28, "No space left on device")
        moved.append(to)
        replace(source, to)

    monkeypatch.setattr(render.os, "replace", cut_off)
    with pytest.raises(RecordError, match="No space left"):
        render.build(results, tmp_path / "site")
    monkeypatch.undo()
    assert render.build(results, tmp_path / "site").is_file()


def test_an_empty_results_folder_says_which_command_to_run(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    site = build(tmp_path / "results", tmp_path / "site")
    assert "nox -s quickstart" in Page(site / "index.html").text
    assert json.loads((site / "leaderboard.json").read_text())["rows"] == []


def test_bad_lines_are_told_and_left_out(write: Write, one: Make, tmp_path: Path) -> None:
    results = write(one(), one(hyperparameters={"channel_ratio": 0.6}, metrics={"parameters": 1e200}))
    with open(results / "box" / "bad.jsonl", "w") as file:
        file.write('{"kind": "accuracy"}\nnot json\n\xff cut off')
    (results / "machines" / "torn.json").write_text("{")
    told: list[str] = []
    index = render.build(results, tmp_path / "site", warn=told.append)
    assert len([line for line in told if "bad.jsonl:" in line]) == 3
    assert any("torn.json" in line for line in told) and any("beyond anything measurable" in line for line in told)
    assert "4 lines of the results are no records" in Page(index).text
    assert len([row for row in board(index.parent)["rows"] if row["state"] == "ok"]) == 1


def test_a_failed_build_leaves_the_old_site_as_it_was(
    write: Write, one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build(write(one()), tmp_path / "site")
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}

    def full(to: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(render, "_copy_assets", full)
    with pytest.raises(RecordError, match="No space left on device"):
        render.build(write(one(seed=1)), site)
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    assert {path for path in site.rglob("*") if path.is_file()} == set(before)
    with pytest.raises(RecordError):
        render.build(write(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_build_deletes_what_only_the_last_one_had_and_no_foreign_file(
    write: Write, one: Make, tmp_path: Path
) -> None:
    site = build(write(one(), one(method="gone", hyperparameters={})), tmp_path / "site")
    (site / "CNAME").write_text("example.org")
    (tmp_path / "outside.html").write_text("mine")
    manifest = json.loads((site / render.MANIFEST).read_text())
    (site / render.MANIFEST).write_text(json.dumps({"files": [*manifest["files"], "../outside.html"]}))
    (tmp_path / "results").rename(tmp_path / "old")
    build(write(one()), site)
    assert not (site / "method-gone.html").exists()
    assert (site / "CNAME").exists() and (tmp_path / "outside.html").exists()
    assert not list(site.glob(".part*"))


def test_the_site_is_a_pure_function_of_the_results(write: Write, one: Make, tmp_path: Path) -> None:
    results = write(one(), timed(one), one(method="gone", hyperparameters={}))
    first, second = (build(results, tmp_path / name) for name in ("first", "second"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)
    assert not any(str(tmp_path).encode() in (first / name).read_bytes() for name in files)


def test_pages_are_made_without_torch() -> None:
    code = "import sys, suite.render; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# ------------------------------------------------------------------------------------------------------ what is shown


def test_the_first_fifty_rows_are_in_the_page_and_all_in_the_shard(write: Write, one: Make, tmp_path: Path) -> None:
    records = [one(hyperparameters={"channel_ratio": round(0.1 + 0.01 * index, 2)}) for index in range(60)]
    site = build(write(*records), tmp_path / "site")
    data = board(site)
    page = (site / "task-vgg16-cifar10.html").read_text(encoding="utf-8")
    assert page.count('<a class="setting"') == pages.FIRST_ROWS
    assert len([row for row in data["rows"] if row["state"] == "ok"]) == 60


def test_numbers_are_shown_with_their_spread_and_interval(write: Write, one: Make, tmp_path: Path) -> None:
    metrics = one().metrics
    records = [one(seed=seed, metrics={**metrics, "top1": top1}) for seed, top1 in enumerate((0.90, 0.91, 0.92))]
    site = build(write(*records, timed(one, 3.214)), tmp_path / "site")
    (row,) = [row for row in board(site)["rows"] if row["state"] == "ok"]
    assert row["fixed"]["top1"][:2] == ["91.00", "± 1.00"]
    assert row["fixed"]["change"][:2] == ["\u22123.00", "± 1.00, worse"]
    assert row["fixed"]["parameters_left"][:2] == ["25.0", "250"]
    assert row["by_setup"][0]["speedup"][:2] == ["3.21\u00d7", "3.18\u20133.25"]
    assert row["by_setup"][0]["rank"][0] == "1"
    text = Page(site / "task-vgg16-cifar10.html").text
    assert "91.00" in text and "3.18\u20133.25" in text


def test_what_was_not_measured_is_no_zero(write: Write, one: Make, tmp_path: Path) -> None:
    site = build(write(one()), tmp_path / "site")
    (flat,) = [row for row in json.loads((site / "leaderboard.json").read_text())["rows"] if row["state"] == "ok"]
    assert flat["speedup"] is None and flat["peak_bytes"] is None and flat["ssim"] is None
    (line,) = [
        row for row in csv.DictReader(io.StringIO((site / "leaderboard.csv").read_text())) if row["state"] == "ok"
    ]
    assert line["speedup"] == "" and line["parameters"] == "250"


def test_one_seed_is_said_to_be_no_verdict(write: Write, one: Make, tmp_path: Path) -> None:
    site = build(write(one()), tmp_path / "site")
    assert "one seed: no verdict" in Page(site / "task-vgg16-cifar10.html").text


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_short_profiles_are_named_as_such(write: Write, one: Make, tmp_path: Path, profile: str) -> None:
    site = build(write(one(profile=profile)), tmp_path / "site")
    for name in ("index.html", "task-vgg16-cifar10.html", "method-l1-three-stage.html"):
        assert f"{profile} profile" in Page(site / name).text.lower(), name


def test_stand_ins_have_a_section_of_their_own(write: Write, one: Make, tmp_path: Path) -> None:
    site = build(write(one(), one(task="vgg16-digits")), tmp_path / "site")
    text = (site / "index.html").read_text(encoding="utf-8")
    first, second = text.index('id="tasks"'), text.index('id="stand-ins"')
    assert first < text.index("task-vgg16-cifar10.html") < second < text.index("task-vgg16-digits.html")


def test_states_are_shown_with_the_command_that_settles_them(write: Write, one: Make, tmp_path: Path) -> None:
    records = [
        one(freshness="old", hyperparameters={"channel_ratio": 0.6}),
        one(status="oom", reason="3 GiB were not enough", metrics={}, hyperparameters={"channel_ratio": 0.7}),
        one(), timed(one, notes={"contended": True}),
    ]  # fmt: skip
    text = Page(build(write(*records), tmp_path / "site") / "task-vgg16-cifar10.html").text
    for word in ("stale", "failed", "missing", "contended", "3 GiB were not enough"):
        assert word in text
    assert "python -m suite run --task vgg16-cifar10 --method l1-three-stage --set channel_ratio=0.6" in text
    assert re.search(r"python -m suite bench [^\n]+ --force", text)


def test_charts_read_without_scripts(write: Write, one: Make, tmp_path: Path) -> None:
    records = []
    for ratio in (0.2, 0.5, 0.8):
        measured = {"top1": 0.9 + ratio / 50, "macs": 400 * ratio, "nonzero_parameters": 1000 * ratio}
        records.append(one(hyperparameters={"channel_ratio": ratio}, metrics=one().metrics | measured))
        records.append(timed(one, 1 / ratio, hyperparameters={"channel_ratio": ratio}))
    text = (build(write(*records), tmp_path / "site") / "task-vgg16-cifar10.html").read_text(encoding="utf-8")
    drawings = re.findall(r'<svg class="plot".*?</svg>', text, re.DOTALL)
    assert len(drawings) == 5
    for drawing in drawings:
        image = ElementTree.fromstring(drawing)
        width, height = (float(each) for each in image.attrib["viewBox"].split()[2:])
        places = re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)", drawing)
        assert len(places) >= 2 and image.attrib["aria-label"]
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places)


def test_pages_can_be_used_with_a_keyboard_and_a_screen_reader(write: Write, one: Make, tmp_path: Path) -> None:
    site = build(write(one(), timed(one)), tmp_path / "site")
    for path in site.glob("*.html"):
        page, text = Page(path), path.read_text(encoding="utf-8")
        assert page.all("html")[0]["lang"] == "en" and 'class="skip" href="#main"' in text
        assert len(page.all("h1")) == 1 or path.name in ("cell.html", "compare.html")
        assert all(each.get("scope") in ("col", "row") for each in page.all("th")), path.name
        assert all(each.get("tabindex") == "0" and each.get("aria-label")
                   for each in page.all("div") if each.get("class") == "scroll")  # fmt: skip
        assert all(each.get("aria-hidden") == "true" or each.get("aria-label") for each in page.all("svg")), path.name
        controls = [each for name in ("input", "select") for each in page.all(name)]
        assert len(re.findall(r"<label[^>]*>[^<]+<(?:input|select)", text)) == len(controls)
        levels = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), path.name


def test_the_cell_page_has_command_numbers_and_history(write: Write, one: Make, tmp_path: Path) -> None:
    old = one(created="2025-01-01T00:00:00.000000Z", freshness="old")
    now = one(command="python -m suite run --task vgg16-cifar10", recipe={"epochs": 3})
    site = build(write(old, now, timed(one)), tmp_path / "site")
    cells: dict[str, Any] = {}
    for path in (site / "data").glob("cells-*.js"):
        cells |= shard(path)
    cell = cells[now.cell]
    assert cell["command"] == now.command and cell["recipe"] == [["epochs", "3"]]
    assert cell["curve"] == now.curve and cell["timings"][0]["samples"] == [[0.02, 0.01]] * 3
    assert [event[-1] for event in cell["history"]] == ["shown", "shown", "stale"]
    assert ["Top-1, %", "90.00", "94.00", "\u22124.00"] in cell["numbers"]
    assert all(f"cells-{key[0]}.js" in {path.name for path in (site / "data").iterdir()} for key in cells)


def test_a_method_page_tells_its_story_schema_and_command(write: Write, one: Make, tmp_path: Path) -> None:
    site = build(write(one()), tmp_path / "site")
    page = Page(site / "method-l1-three-stage.html")
    for words in ("channel_ratio", "structured pruning", "methods/l1_three_stage.py", "python -m suite run --task"):
        assert words in page.text
    assert "https://arxiv.org/abs/1608.08710" in [each["href"] for each in page.all("a")]
    assert "standard settings not measured yet: python -m suite plan --missing --task" in " ".join(page.text.split())
    assert "Not measured yet" not in page.text, "it is measured on the only board there is"


def test_a_failed_full_run_leaves_the_badge_of_the_quick_one(write: Write, one: Make, tmp_path: Path) -> None:
    failed = one(status="oom", reason="no room", metrics={})
    site = build(write(one(profile="quick"), timed(one, profile="quick"), failed), tmp_path / "site")
    (badge,) = (site / "badges").iterdir()
    assert badge.name == "l1-three-stage.vgg16-cifar10.svg" and "(quick)" in badge.read_text()


def test_a_machines_fastest_row_is_one_that_is_certainly_faster(write: Write, one: Make, tmp_path: Path) -> None:
    quick, zeros = {"channel_ratio": 0.5}, {"channel_ratio": 0.25}
    unsure = {"speedup": 1.10, "speedup_low": 0.98, "speedup_high": 1.22}
    sure = {"speedup": 1.07, "speedup_low": 1.05, "speedup_high": 1.09}

    def fastest(*measured: Any) -> str:
        rows = [row for hyperparameters, metrics, notes in measured
                for row in (one(hyperparameters=hyperparameters),
                            timed(one, hyperparameters=hyperparameters, metrics=metrics, notes=notes))]  # fmt: skip
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write(*rows).rename(folder)
        text = Page(build(folder, tmp_path / f"{folder.name}-site") / "machine-box.html").text
        return " ".join(text.partition("batch 1, 1 thread, hot, eager")[2].partition("Built from")[0].split())

    assert fastest((zeros, unsure, {})).endswith("none is certain")
    assert "1.07\u00d7 1.05\u20131.09" in fastest((zeros, unsure, {}), (quick, sure, {}))
    assert fastest((quick, sure, {"contended": True})).endswith("\u2013"), "nothing may be compared"


def test_a_machine_page_names_hardware_versions_and_noise(write: Write, one: Make, tmp_path: Path) -> None:
    noise = one(kind="noise-floor", method="dense", hyperparameters={}, conditions=HOT, metrics={"noise_floor": 0.0132},
                versions={"torch": "9.9.9"})  # fmt: skip
    site = build(write(one(), timed(one), noise), tmp_path / "site")
    text = Page(site / "machine-box.html").text
    for words in ("A CPU", "8.00\u202fGiB", "9.9.9", "1.32 %", "batch 1, 1 thread, hot, eager"):
        assert words in text
