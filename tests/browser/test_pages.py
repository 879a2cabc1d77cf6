"""The pages in a real browser, from file:// and without a network. Skipped where there is no Chromium."""

from __future__ import annotations

import hashlib
import html
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from suite import plan, render
from suite.records import Record, encode

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

HOSTILE = "</script><script>document.title='taken'</script>\u202e\u2028'\"><img src=x onerror=document.title='taken'>"
CONDITIONS = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
TASK, METHOD = "vgg16-cifar10", "l1-three-stage"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    records = []
    for index in range(60):
        ratio = round(0.3 + 0.01 * index, 2)
        records += [accuracy(ratio), latency(ratio, 1, 2.0 - ratio), latency(ratio, 128, 3.0 - ratio)]
    records.append(accuracy(0.95, status="error", reason=HOSTILE, metrics={}, notes={HOSTILE: HOSTILE}))
    records += [quantized("accuracy"), quantized("latency"), restored(folder / "results" / "gallery")]
    path = folder / "results" / "box" / "run.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(map(encode, records)))
    return render.build(folder / "results", folder / "public").parent


def accuracy(ratio: float, **changes: Any) -> Record:
    metrics = {"top1": 0.9 + ratio / 50, "dense_top1": 0.94, "parameters": 1000 * ratio, "dense_parameters": 1000}
    curve = [{"step": step, "parameters": 1000 - 100 * step, "val": 0.9} for step in range(3)]
    fields: dict[str, Any] = {"kind": "accuracy", "metrics": metrics, "curve": curve, "data_sha256": "d" * 64}
    return record(ratio, **(fields | changes))


def latency(ratio: float, batch_size: int, speedup: float) -> Record:
    metrics = {"speedup": speedup, "speedup_low": speedup - 0.001, "speedup_high": speedup + 0.001}
    samples = [[0.02 + 0.0001 * index, 0.01] for index in range(30)]
    conditions = {**CONDITIONS, "batch_size": batch_size}
    return record(ratio, kind="latency", metrics=metrics, samples=samples, conditions=conditions)


def quantized(kind: str) -> Record:
    """A network in INT8, timed compiled, on the task of the others."""
    metrics: dict[str, Any] = {"top1": 0.93, "dense_top1": 0.94, "parameters": 1000, "dense_parameters": 1000}
    fields: dict[str, Any] = {"kind": kind, "metrics": metrics, "data_sha256": "d" * 64,
                              "curve": [{"step": 1, "quantized_share": 0.25}]}  # fmt: skip
    if kind == "latency":
        metrics = {"speedup": 2.0, "speedup_low": 1.9, "speedup_high": 2.1, "speedup_over_eager": 3.0,
                   "speedup_over_eager_low": 2.9, "speedup_over_eager_high": 3.1}  # fmt: skip
        fields |= {"metrics": metrics, "conditions": {**CONDITIONS, "backend": "compile", "precision": "int8"}}
    return record(0, method="quantize-static", hyperparameters={"batches": 8}, **fields)


def restored(folder: Path) -> Record:
    """A reconstruction task's branch-alpha with two pictures, a curve with alpha, and a base that is here."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for grey in (40, 200):
        picture = io.BytesIO()
        Image.new("RGB", (16, 16), (grey, grey, grey)).save(picture, "WEBP")
        names.append(hashlib.sha256(picture.getvalue()).hexdigest())
        (folder / f"{names[-1]}.webp").write_bytes(picture.getvalue())
    curve = [{"step": step, "alpha": 1 - step / 4, "restart": int(step == 4), "val": -0.3} for step in range(5)]
    metrics = {"loss": 0.21, "dense_loss": 0.2, "parameters": 10, "merge_relative_error": 2e-6}
    asked = {"task": "autoencoder-roadscenes", "method": "branch-alpha", "hyperparameters": {"channel_ratio": 0.5}}
    base = accuracy(0.5).cell
    return record(0, **asked, kind="accuracy", metrics=metrics, curve=curve, gallery=names, base_cell=base)


def record(ratio: float, **fields: Any) -> Record:
    from suite.records import cell_key

    asked: dict[str, Any] = {"task": TASK, "method": METHOD, "hyperparameters": {"channel_ratio": ratio}, "seed": 0,
                             "profile": "quick"}  # fmt: skip
    asked |= {name: value for name, value in fields.items() if name in asked}
    fresh = plan.current_freshness(asked["task"], asked["method"]) or ""
    return Record(**({
        **asked, "device": "cpu", "cell": cell_key(**asked), "freshness": fresh,
        "status": "ok", "created": "2026-01-01T00:00:00Z", "machine": "box", "run": "run", "command": "a command",
    } | fields))  # fmt: skip


@pytest.fixture
def browse(site: Path, tmp_path: Path) -> Callable[[str], str]:
    """`browse("index.html#...")`: the page's document once its scripts have run; a script's error fails the test."""

    def call(address: str) -> str:
        assert CHROMIUM is not None
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--no-first-run",
            "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=8000",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,6000", "--dump-dom",
            f"{site.as_uri()}/{address}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not said, said
        assert "<title>taken" not in done.stdout
        return done.stdout

    return call


def tally(document: str) -> str:
    found = re.search(r"data-tally[^>]*>([^<]*)<", document)
    assert found is not None
    return html.unescape(found.group(1))


def settings(document: str) -> list[str]:
    return re.findall(r'class="setting"[^>]*>([^<]*)<', document)


@pytest.mark.parametrize("page", ["index.html", "measuring.html", f"method-{METHOD}.html", "machine-box.html"])
def test_pages_open_without_a_script_error(browse: Callable[[str], str], page: str) -> None:
    assert "<h1" in browse(page)


def test_plotly_is_laid_over_the_drawings(browse: Callable[[str], str]) -> None:
    document = browse(f"task-{TASK}.html")
    assert document.count('class="main-svg"') >= 3 and 'class="plot"' not in document


def test_a_table_is_filtered_and_sorted_by_the_fragment(browse: Callable[[str], str], site: Path) -> None:
    slug = "quick-dddddddd"
    everything = browse(f"task-{TASK}.html")
    assert len(settings(everything)) == 50 and "the first" not in tally(everything).replace("the first 50 shown", "")
    found = browse(f"task-{TASK}.html#{slug}.q={METHOD}%200.5&{slug}.state=ok&{slug}.sort=speedup")
    assert re.match(r"1\d of \d+ rows", tally(found))
    order = [float(text.split()[1]) for text in settings(found)]
    assert order == sorted(order, reverse=True)  # the larger network is the slower one
    assert re.search(r'data-key="speedup"[^>]*aria-sort="ascending"', found)


def test_another_setup_changes_table_and_chart(browse: Callable[[str], str]) -> None:
    setup = "batch%20128%2C%201%20thread%2C%20hot%2C%20eager%20on%20box"
    document = browse(f"task-{TASK}.html#quick-dddddddd.setup={setup}")
    assert "timed with batch 128" in tally(document)
    assert re.search(r"<figcaption>.{0,200}batch 128", document, re.DOTALL)


def test_the_script_draws_the_rows_as_the_page_had_them(browse: Callable[[str], str], site: Path) -> None:
    def rows(document: str) -> list[str]:
        body = document[document.index("<tbody>") : document.index("</tbody>")]
        texts = [html.unescape(re.sub(r"<[^>]+>", "|", row)) for row in body.split("</tr>")]
        return [re.sub(r"\s*\|[\s|]*", "|", text).strip() for text in texts]

    served = (site / f"task-{TASK}.html").read_text(encoding="utf-8")
    assert rows(browse(f"task-{TASK}.html#quick-dddddddd.sort=-top1")) == rows(served)


def test_the_table_of_a_script_marks_int8_rows_as_the_page_does(browse: Callable[[str], str]) -> None:
    document = browse(f"task-{TASK}.html#quick-dddddddd.q=quantize-static%20batches")
    assert '<i class="how">compiled</i>' in document and "2.00\u00d7 over compiled dense" in document
    assert "INT8 networks compiled, over the eager dense one" in document


def test_the_cell_page_shows_base_pictures_own_metrics_and_alpha(
    browse: Callable[[str], str], site: Path, tmp_path: Path
) -> None:
    document = browse(f"cell.html#{restored(tmp_path).cell}")
    assert f'href="cell.html#{accuracy(0.5).cell[:16]}"' in document
    assert "Merge relative error" in document and "alpha (dotted)" in document and "Diamonds are restarts" in document
    pictures = re.findall(r'<img src="([^"]+)" alt="([^"]+)"', document)
    assert [alt for _, alt in pictures] == [
        "Test image 1, original", "Test image 1, reconstructed by branch-alpha channel_ratio 0.5"]  # fmt: skip
    assert all((site / address).is_file() for address, _ in pictures)


def test_the_cell_page_tells_the_quantized_share(browse: Callable[[str], str]) -> None:
    document = browse(f"cell.html#{quantized('accuracy').cell}")
    assert "weights in INT8" in document and "25.00 %" in document and "over eager dense" in document


def test_the_cell_page_finds_its_cell_by_any_prefix(browse: Callable[[str], str]) -> None:
    cell = accuracy(0.5).cell
    for length in (8, 64):
        document = browse(f"cell.html#{cell[:length]}")
        assert "channel_ratio 0.5" in document and "a command" in document and "Histogram of 30 pairs" in document
    assert "No such cell" in browse("cell.html#0000000000000000")
    assert "Which cell?" in browse("cell.html#<script>")


def test_a_hostile_reason_is_text(browse: Callable[[str], str]) -> None:
    for address in (f"task-{TASK}.html#quick-dddddddd.state=failed", f"cell.html#{accuracy(0.95).cell}"):
        document = browse(address)
        assert "document.title='taken'" in html.unescape(document) and "<img" not in document


def test_pages_read_without_scripts(site: Path) -> None:
    document = (site / f"task-{TASK}.html").read_text(encoding="utf-8")
    assert document.count('<svg class="plot"') >= 2 and len(settings(document)) == 50
    assert "<noscript>" in (site / "cell.html").read_text(encoding="utf-8")
