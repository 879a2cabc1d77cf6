"""Whatever a record says, it is text in a real browser: nothing of it acts. Skipped where there is no Chromium."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite import render
from suite.history import Trained
from suite.records import encode
from tests.browser.test_pages import CONDITIONS, DRAWN, TASK, accuracy, record

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TEXTS = st.text(
    st.sampled_from("<>\"'&`=+-@{}()/\\;: \n\r\t\u2028\u202e\u200b\u0000abc1") | st.characters(), max_size=30
)
ATTACKS = ["</script><script>document.title='taken'</script>", "<img src=x onerror=document.title='taken'>",
           "javascript:document.title='taken'", "' onmouseover='document.title=`taken`", "\u202egnp.exe"]  # fmt: skip


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from(ATTACKS) | TEXTS, min_size=8, max_size=8))
def test_no_text_of_a_record_acts_in_a_browser(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("inert")
    note, reason, setting, key, source, command, version, logged = texts
    curve = [{"step": 1, logged: logged, "val": 0.5}, {"step": 2, "val": 0.6}]
    told = {"notes": {note: note}, "command": command, "versions": {version: version}, "data_source": source,
            "recipe": {key: [logged]}, "curve": curve,
            "trainings": [Trained(logged, 0.1, [(1, 1.0, 0.5), (2, 0.9, 0.6)]), Trained(note, 0.0, [])]}  # fmt: skip
    records = [
        accuracy(0.5, hyperparameters={"channel_ratio": 0.5, key: setting}, **told),
        accuracy(0.6, hyperparameters={"channel_ratio": 0.6, key: setting}, **told, status="error",
                 reason=reason or "x", metrics={}),
        record(0.5, kind="latency", hyperparameters={"channel_ratio": 0.5, key: setting}, notes={note: note},
               metrics={"speedup": 2.0}, conditions={**CONDITIONS, "backend": setting}),
    ]  # fmt: skip
    path = folder / "results" / "box" / "run.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(map(encode, records)))
    site = render.build(folder / "results", folder / "public", warn=lambda text: None).parent
    page = browser.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append("a dialog"))
    cells = [each.cell[:16] for each in records[:2]]
    for address in (f"task-{TASK}.html", f"cell.html#{cells[0]}", f"compare.html#a={cells[0]}&b={cells[1]}"):
        page.goto(f"{site.as_uri()}/{address}")
        page.wait_for_function(DRAWN)
        assert page.title() != "taken" and not said
        assert page.locator("main img, main script, main iframe").count() == 0
        assert page.evaluate(NO_HANDLERS) == []
        assert not re.search("[\u202e\u2028\u200b]", page.locator("body").inner_text())
    page.close()


NO_HANDLERS = """() => [...document.querySelectorAll('*')].flatMap((node) => [...node.attributes])
  .filter((each) => each.name.startsWith('on') || /^\\s*javascript:/i.test(each.value)).map((each) => each.name)"""
