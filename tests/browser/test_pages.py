"""The pages in a real browser, from file:// and without a network. Skipped where there is no Chromium."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


def record(ratio: float, **fields: Any) -> Record:
    from suite.records import cell_key

    asked = {"task": TASK, "method": METHOD, "hyperparameters": {"channel_ratio": ratio}, "seed": 0, "profile": "quick"}
    return Record(**({
        **asked, "device": "cpu", "cell": cell_key(**asked), "freshness": plan.current_freshness(TASK, METHOD) or "",
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
