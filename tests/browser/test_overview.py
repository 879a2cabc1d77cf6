"""The overview's advice, the gallery and the studies in a real browser, from file://. Skipped where there is none."""

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

from suite import plan, registry, render
from suite.records import Record, cell_key, encode

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
HOT = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
HOSTILE = "</script><script>document.title='taken'</script>\u202e'\"><img src=x onerror=document.title='taken'>"
TASK, METHOD, AUTOENCODER = "vgg16-cifar10", "structured", "autoencoder-roadscenes"


def made(ratio: float, task: str = TASK, **changes: Any) -> Record:
    """A fresh record of METHOD at this channel ratio, but for what is given."""
    hyperparameters = registry.method(METHOD).complete({"channel_ratio": ratio})
    asked = {"task": task, "method": METHOD, "hyperparameters": hyperparameters, "seed": 0, "profile": "quick"}
    fields = {"kind": "accuracy", "device": "cpu", "status": "ok", "created": "2026-01-01T00:00:00.000000Z",
              "freshness": plan.current_freshness(task, METHOD), "data_sha256": "d" * 64, "machine": "box",
              "run": "run", "command": ""}  # fmt: skip
    if "metrics" in changes and "kind" not in changes:
        changes["metrics"] = {
            "parameters": 1000 * ratio,
            "nonzero_parameters": 1000 * ratio,
            "dense_parameters": 1000,
        } | changes["metrics"]
    return Record(cell=cell_key(**asked), **(asked | fields | changes))


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    found = {}
    for grey in (40, 90, 140, 200):
        picture = io.BytesIO()
        Image.new("RGB", (16, 16), (grey, grey, grey)).save(picture, "WEBP")
        found[hashlib.sha256(picture.getvalue()).hexdigest()] = picture.getvalue()
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pictures: dict[str, bytes]) -> Path:
    tmp_path = tmp_path_factory.mktemp("overview")
    records = []
    for ratio, top1, speedup in ((0.8, 0.94, 1.5), (0.5, 0.925, 3.0), (0.25, 0.88, 6.0)):
        records.append(made(ratio, metrics={"top1": top1, "dense_top1": 0.94}, data_source=HOSTILE))
        for batch in (1, 128):
            times = {"speedup": batch**0.1 * speedup, "speedup_low": speedup * 0.99, "speedup_high": speedup * 2}
            conditions = {**HOT, "batch_size": batch}
            records.append(made(ratio, kind="latency", metrics=times, conditions=conditions))
    for task, top1, speedup in (("googlenet-cifar100", 0.935, 1.2), ("resnet18-cifar10", 0.90, 2.0)):
        there: dict[str, Any] = {"task": task, "machine": "far", "run": "far"}
        times = {"speedup": speedup, "speedup_low": speedup * 0.99, "speedup_high": speedup * 1.01}
        records.append(made(0.5, metrics={"top1": top1, "dense_top1": 0.94}, **there))
        records.append(made(0.5, kind="latency", metrics=times, conditions=HOT, **there))
    for ratio in (0.5, 0.25):
        records.append(made(ratio, task=AUTOENCODER, metrics={"loss": ratio, "dense_loss": 0.2},
                            gallery=list(pictures), notes={HOSTILE: HOSTILE}))  # fmt: skip
    folder = tmp_path / "results"
    (folder / "gallery").mkdir(parents=True)
    for digest, content in pictures.items():
        (folder / "gallery" / f"{digest}.webp").write_bytes(content)
    for machine in ("box", "far"):
        (folder / machine).mkdir()
        own = [encode(record) for record in records if record.machine == machine]
        (folder / machine / "run.jsonl").write_bytes(b"".join(own))
    return render.build(folder, tmp_path / "public").parent


@pytest.fixture
def browse(site: Path, tmp_path: Path) -> Callable[[str], str]:
    """`browse("index.html#...")`: the page's document once its scripts have run; a script's error fails the test."""

    def call(address: str) -> str:
        assert CHROMIUM is not None
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--no-first-run", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
            "--virtual-time-budget=8000", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,4000",
            "--dump-dom", f"{site.as_uri()}/{address}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not said, said
        assert "<title>taken" not in done.stdout
        return done.stdout

    return call


def advised(document: str) -> list[str]:
    """The channel ratios that the first table of advice names, top to bottom."""
    start = document.index('data-advice="real"')
    return re.findall(
        r'class="setting"[^>]*>[^<]*(channel_ratio [^<,]*)<', document[start : document.index("</tbody>", start)]
    )


def test_advice_follows_the_fragment(browse: Callable[[str], str]) -> None:
    assert advised(browse("index.html")) == ["channel_ratio 0.8"]  # at most one point, unless told otherwise
    document = browse("index.html#advice.on=batch%20128%2C%201%20thread%2C%20hot%2C%20eager%20on%20box&advice.lose=2")
    assert advised(document) == ["channel_ratio 0.5"]
    assert "2 points (of a loss, 10 %)" in document and "at least 2.97\u00d7" in document
    assert f"--out {TASK}-{METHOD}.onnx" in html.unescape(document)


def test_advice_says_what_another_machine_has_where_this_one_has_nothing(browse: Callable[[str], str]) -> None:
    text = html.unescape(re.sub("<[^>]+>", "", browse("index.html")))
    on = "No compressed network was timed here. On batch 1, 1 thread, hot, eager on far"
    named = f"{METHOD} importance l1, channel_ratio 0.5,"
    assert f"{on}: {named} 1.20\u00d7 (at least 1.19\u00d7; " in text
    assert f"{on}, from 4 points on: {named} 2.00\u00d7 (at least 1.98\u00d7; " in text


def test_a_hostile_or_foolish_fragment_changes_nothing(browse: Callable[[str], str]) -> None:
    for fragment in ("advice.on=%3Cscript%3E&advice.lose=999", "advice.lose=-1", "advice.lose=%E0%A4%A"):
        assert advised(browse(f"index.html#{fragment}")) == ["channel_ratio 0.8"]


def test_advice_reads_without_a_script(site: Path) -> None:
    served = (site / "index.html").read_text(encoding="utf-8")
    assert advised(served) == ["channel_ratio 0.8", "channel_ratio 0.5"]  # 6 points are more than it is asked for
    assert '<form class="controls" id="advice-form"' in served and re.search(r"<form[^>]*hidden", served)


def test_the_gallery_slides_and_shows_both_without_a_script(browse: Callable[[str], str], site: Path) -> None:
    served, document = (site / "gallery.html").read_text(encoding="utf-8"), browse("gallery.html")
    assert served.count("<img") == document.count("<img") == 8 and "sliding" not in served
    assert document.count("sliding") == 2 and document.count("--at: 50%") == 2
    assert document.count('aria-valuetext="original up to 50 % from the left"') == 2
    assert not re.search(r"data-slide[^>]*hidden", document) and served.count("data-slide") == 3


@pytest.mark.parametrize("page", ["study-fig4a-l1-curve.html", "study-googlenet-table.html", f"method-{METHOD}.html"])
def test_pages_open_without_a_script_error(browse: Callable[[str], str], page: str) -> None:
    document = browse(page)
    assert "<h1" in document and '<svg class="plot"' in document
