"""How pages fit windows, in a real browser: nothing sticks out, and what goes on out of sight says so."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from suite import plan, registry, render
from suite.records import Record, cell_key, encode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TASK, METHOD = "vgg16-digits", "structured"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One row of one task; every study, with nothing measured."""
    folder = tmp_path_factory.mktemp("layout")
    asked = {"task": TASK, "method": METHOD, "hyperparameters": registry.method(METHOD).complete({}), "seed": 0,
             "profile": "quick"}  # fmt: skip
    record = Record(
        **asked, cell=cell_key(**asked), kind="accuracy", device="cpu", status="ok", machine="box", run="run",
        created="2026-01-01T00:00:00Z", command="", data_sha256="d" * 64,
        metrics={"top1": 0.9, "dense_top1": 0.94, "parameters": 500, "dense_parameters": 1000},
        freshness=plan.current_freshness(TASK, METHOD) or "",
    )  # fmt: skip
    (folder / "results" / "box").mkdir(parents=True)
    (folder / "results" / "box" / "run.jsonl").write_bytes(encode(record))
    return render.build(folder / "results", folder / "public").parent


@pytest.fixture
def visit(site: Path, browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visit("index.html", 390)`: the page in a window of this width."""
    opened: list[Page] = []

    def call(address: str, width: int, **context: str) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, **context)
        page.goto(f"{site.as_uri()}/{address}")
        opened.append(page)
        return page

    yield call
    for page in opened:
        page.close()


@pytest.mark.parametrize("width", [390, 1300])
@pytest.mark.parametrize("name", ["fig4b-alpha-levels", "resnet18-global-sweep"])
def test_what_is_not_measured_unfolds_within_the_page(visit: Callable[..., Page], name: str, width: int) -> None:
    page = visit(f"study-{name}.html", width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.locator("figure details.badge code").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_every_entry_of_the_menu(visit: Callable[..., Page], width: int) -> None:
    page = visit("index.html", width)
    entries = page.locator(".top nav a").all()
    boxes = [box for entry in entries if (box := entry.bounding_box())]
    assert len(boxes) == 7 and all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_goes_on_has_a_shadow_on_that_side(visit: Callable[..., Page], scheme: str) -> None:
    page = visit(f"task-{TASK}.html", 390, color_scheme=scheme)
    table = page.locator(".scroll").first

    def contrast() -> float:
        """How much the right edge's shade differs from the table's ground beside it, of 255."""
        shown = Image.open(io.BytesIO(table.screenshot())).convert("L")
        edge, ground = (shown.getpixel((shown.width - back, 3)) for back in (2, 30))
        return abs(edge - ground)

    assert contrast() > 20
    table.evaluate("(each) => { each.scrollLeft = each.scrollWidth; }")
    assert contrast() < 3
    page.set_viewport_size({"width": 2000, "height": 900})
    assert contrast() < 3
