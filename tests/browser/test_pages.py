"""The pages in a real browser, from file:// and without a network. Skipped where there is no Chromium."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from suite import plan, render
from suite.history import Trained
from suite.records import Record, encode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "</script><script>document.title='taken'</script>\u202e\u2028'\"><img src=x onerror=document.title='taken'>"
CONDITIONS = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
TASK, METHOD = "vgg16-cifar10", "l1-three-stage"
BOARD = "quick-dddddddd"
#: Every table has its rows, and the page of a cell its heading.
DRAWN = """() => [...document.querySelectorAll('section[data-shard]')].every((each) => each.dataset.drawn)
  && document.querySelector('h1')"""


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
    trainings = [Trained("alpha 0.75", 0.01, [(1, 0.5, 0.3), (2, 0.4, 0.28)]), Trained("alpha 0", 0.1, [(3, 0.3, 0.2)])]
    logged: dict[str, Any] = {"curve": curve, "trainings": trainings}
    return record(0, **asked, kind="accuracy", metrics=metrics, **logged, gallery=names, base_cell=base)


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
def visit(site: Path, browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visit("index.html#...", width=390)`: the page once scripts have drawn it; an error of theirs fails the test."""
    said: list[str] = []
    opened: list[Page] = []

    def call(address: str, **context: Any) -> Page:
        sizes = {"width": context.pop("width", 1400), "height": context.pop("height", 900)}
        page = browser.new_page(viewport=sizes, **context)
        page.set_default_timeout(30_000)
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{site.as_uri()}/{address}")
        page.wait_for_function(DRAWN)
        opened.append(page)
        return page

    yield call
    for page in opened:
        assert page.title() != "taken"
        page.close()
    assert not said, said


@pytest.fixture
def browse(visit: Callable[..., Page]) -> Callable[[str], str]:
    """`browse("index.html#...")`: the document once its scripts have drawn all of it, charts included."""

    def call(address: str) -> str:
        page = visit(address, height=6000)
        page.wait_for_function("() => !document.querySelector('figure[data-chart] svg.plot')")  # others stay SVGs
        page.wait_for_function(
            "() => [...document.querySelectorAll('.chart .canvas')].every((each) => each.firstChild)"
        )
        return page.content()

    return call


def tally(document: str) -> str:
    found = re.search(r"data-tally[^>]*>([^<]*)<", document)
    assert found is not None
    return html.unescape(found.group(1))


def settings_of(document: str) -> list[str]:
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
    assert len(settings_of(everything)) == 50 and "the first" not in tally(everything).replace("the first 50 shown", "")
    found = browse(f"task-{TASK}.html#{slug}.q={METHOD}%200.5&{slug}.state=ok&{slug}.sort=speedup")
    assert re.match(r"1\d of \d+ rows", tally(found))
    order = [float(text.split()[1]) for text in settings_of(found)]
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
    assert "Trainings, epoch by epoch" in document and "alpha 0.75, lr 0.01" in document
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
        assert "document.title='taken'" in html.unescape(document) and "<img" not in document.partition("<main")[2]


def test_pages_read_without_scripts(site: Path) -> None:
    document = (site / f"task-{TASK}.html").read_text(encoding="utf-8")
    assert document.count('<svg class="plot"') >= 2 and len(settings_of(document)) == 50
    assert "<noscript>" in (site / "cell.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------- what readers do


def first_setting(page: Page) -> str:
    return page.locator("tbody .setting").first.inner_text()


def cell_id(ratio: float) -> str:
    return accuracy(ratio).cell[:16]


def test_a_heading_sorts_by_click_and_by_key(visit: Callable[..., Page]) -> None:
    page = visit(f"task-{TASK}.html")
    heading = page.locator('th[data-key="speedup"]')
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending" and page.url.endswith(f"{BOARD}.sort=-speedup")
    page.keyboard.press("Enter")  # the button that was pressed has the focus still
    assert heading.get_attribute("aria-sort") == "ascending" and first_setting(page) == "channel_ratio 0.89"
    assert page.locator("th[aria-sort]").count() == 1


def test_back_undoes_a_choice_and_a_link_restores_it(visit: Callable[..., Page]) -> None:
    page = visit(f"task-{TASK}.html")
    before = page.locator("[data-tally]").inner_text()
    page.select_option("select[name=family]", "quantization")
    assert page.locator("[data-tally]").inner_text() != before
    again = visit(page.url.partition("public/")[2])
    assert again.input_value("select[name=family]") == "quantization"
    assert again.locator("[data-tally]").inner_text() == page.locator("[data-tally]").inner_text()
    page.go_back()
    page.wait_for_function("text => document.querySelector('[data-tally]').textContent === text", arg=before)
    assert page.input_value("select[name=family]") == ""


def test_a_filter_of_how_rows_were_timed_leaves_those_rows(visit: Callable[..., Page]) -> None:
    page = visit(f"task-{TASK}.html#{BOARD}.precision=int8")
    assert page.locator("tbody tr").count() == 1 and "quantize-static" in page.locator("tbody").inner_text()
    page.locator("form details summary").first.click()
    page.locator("form details summary").first.click()
    page.select_option("select[name=precision]", "")
    page.select_option("select[name=batch_size]", "128")
    assert "batch 128" in page.locator("[data-tally]").inner_text()  # the table shows the setup that the filter is of
    assert "60 of" in page.locator("[data-tally]").inner_text()


def test_columns_can_be_chosen(visit: Callable[..., Page]) -> None:
    page = visit(f"task-{TASK}.html")
    page.locator("[data-columns] summary").click()
    page.locator("input[data-column=macs_left]").uncheck()
    page.locator("input[data-column=joules]").check()
    keys = page.eval_on_selector_all("thead th", "all => all.map((each) => each.dataset.key)")
    assert "macs_left" not in keys and "joules" in keys
    page.reload()
    page.wait_for_function(DRAWN)
    assert page.eval_on_selector_all("thead th", "all => all.map((each) => each.dataset.key)") == keys


def test_a_download_has_the_shown_rows_and_columns(visit: Callable[..., Page]) -> None:
    page = visit(f"task-{TASK}.html#{BOARD}.q={METHOD}%200.5&{BOARD}.state=ok&{BOARD}.cols=top1,speedup")
    shown = int(page.locator("[data-tally]").inner_text().split()[0])
    with page.expect_download() as waited:
        page.locator("[data-download=csv]").click()
    lines = list(csv.DictReader(io.StringIO(Path(waited.value.path()).read_text(encoding="utf-8"))))
    assert len(lines) == shown > 5
    assert {"method", "hyperparameters", "batch_size", "top1", "dense_top1", "speedup", "speedup_low"} <= set(lines[0])
    assert "macs" not in lines[0] and "parameters" not in lines[0]
    assert all("0.5" in line["hyperparameters"] and line["state"] == "ok" for line in lines)
    with page.expect_download() as waited:
        page.locator("[data-download=json]").click()
    rows = json.loads(Path(waited.value.path()).read_text(encoding="utf-8"))
    assert [row["hyperparameters"]["channel_ratio"] for row in rows] == [
        json.loads(line["hyperparameters"])["channel_ratio"] for line in lines]  # fmt: skip
    assert rows[0]["speedup"] == pytest.approx(2.0 - rows[0]["hyperparameters"]["channel_ratio"])


def test_two_ticked_rows_are_compared(visit: Callable[..., Page]) -> None:
    page = visit(f"task-{TASK}.html#{BOARD}.q={METHOD}&{BOARD}.sort=speedup")
    for ratio in (0.5, 0.4):
        page.locator(f"input.pick[data-cell='{cell_id(ratio)}']").check()
    page.locator(".compare a").click()
    page.wait_for_function(DRAWN)
    assert page.url.endswith(f"compare.html#a={cell_id(0.5)}&b={cell_id(0.4)}")
    text = page.locator("main").inner_text()
    assert "B is faster: the intervals do not overlap" in text and "1.50\u00d7" in text and "1.60\u00d7" in text
    assert "\u22120.20 points" in text and "channel_ratio" in text
    page.locator(".main-svg").first.wait_for()  # the curves, overlaid


def test_rows_that_noise_covers_are_not_told_apart(visit: Callable[..., Page]) -> None:
    page = visit(f"compare.html#a={cell_id(0.5)}&b={quantized('accuracy').cell}")
    text = page.locator("main").inner_text()
    assert "B is faster" in text and "compiled" in text  # 3.0 over eager dense, against 1.5
    page = visit(f"compare.html#a={cell_id(0.5)}&b={cell_id(0.5)}")
    assert "no difference shown" in page.locator("main").inner_text()
    assert "Which two cells?" in visit("compare.html#a=x").locator("main").inner_text()


# ------------------------------------------------------------------------------------------- who reads, and on what


ADDRESSES = ("index.html", f"task-{TASK}.html", f"method-{METHOD}.html", "machine-box.html", "measuring.html",
             f"cell.html#{accuracy(0.5).cell[:16]}", f"compare.html#a={cell_id(0.5)}&b={cell_id(0.4)}")  # fmt: skip


def test_axe_finds_nothing_serious(visit: Callable[..., Page]) -> None:
    """All rules in the light, and those about colours again in the dark."""
    axe = pytest.importorskip("axe_playwright_python", reason="no axe here (pip install axe-playwright-python)")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    # `preload: false`: axe would fetch the style sheet, which a page opened from a file may not
    asked: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
    colours = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
    for address in ADDRESSES:
        page = visit(address, color_scheme="light")
        page.evaluate(script)
        found = page.evaluate("asked => axe.run(document, asked)", asked)["violations"]
        page.emulate_media(color_scheme="dark")
        found += page.evaluate("asked => axe.run(document, asked)", asked | colours)["violations"]
        grave = [(each["id"], [node["html"][:200] for node in each["nodes"]][:3])
                 for each in found if each["impact"] in ("serious", "critical")]  # fmt: skip
        assert not grave, (address, grave)


@pytest.mark.parametrize("address", [ADDRESSES[1] + f"#{BOARD}.q=0.5", *ADDRESSES[-2:]])
def test_the_way_past_the_menu_leaves_cells_and_filters_as_they_are(visit: Callable[..., Page], address: str) -> None:
    page = visit(address)
    text = page.locator("main").inner_text()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'main'")
    page.wait_for_timeout(100)  # what a change of the fragment would draw
    assert page.url.endswith(address) and page.locator("main").inner_text() == text
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


@pytest.mark.parametrize("width", [360, 3840])
def test_pages_fit_a_phone_and_a_wall(visit: Callable[..., Page], width: int) -> None:
    for address in ADDRESSES:
        page = visit(address, width=width, height=800)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_dark_is_dark_and_can_be_chosen(visit: Callable[..., Page]) -> None:
    def paper(page: Page) -> int:
        return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))

    dark, light = visit("index.html", color_scheme="dark"), visit("index.html", color_scheme="light")
    assert paper(dark) < 150 < 600 < paper(light)
    light.locator("[data-theme-switch]").click()
    assert paper(light) < 150


def test_who_wants_no_motion_has_none_and_paper_no_buttons(visit: Callable[..., Page]) -> None:
    still = visit(f"task-{TASK}.html", reduced_motion="reduce")
    assert still.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert still.evaluate("document.getAnimations().length") == 0
    still.emulate_media(media="print")
    assert not still.locator("form.controls").is_visible() and still.locator("table.board").is_visible()
