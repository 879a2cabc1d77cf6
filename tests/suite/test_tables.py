"""Texts of the leaderboard: quantities in their unit, names of pages, shards; nothing that acts unseen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite import pages, prose, tables
from suite.setups import Setup

HOSTILE = "</script><script>alert(1)</script>\u202e\u2028\n\"'><img src=x onerror=alert(1)>"


def test_a_text_that_acts_unseen_is_written_out() -> None:
    assert tables.visible("a\u202eb\nc\u200bd\x00") == "a\\u202eb\\nc\\u200bd\\u0000"
    assert tables.visible("93.5 % ± 0.1, 2\u00d7, Grüße") == "93.5 % ± 0.1, 2\u00d7, Grüße"


@settings(max_examples=200)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_shards_are_plain_json_without_markup(value: Any) -> None:
    text = pages.script_json({"a": value if value not in (float("inf"), float("-inf")) else 0})
    assert not set(text) & set("<>&\u2028\u2029") and text.isascii()
    json.loads(text)


def test_names_that_differ_have_pages_that_differ() -> None:
    names = ["a", "A", "a/b", "a b", "../a", "", ".", "a\n", HOSTILE, "x" * 300, "autoencoder-carla+skip"]
    found = [pages.page_name("task", name) for name in names]
    assert len({name.lower() for name in found}) == len(names)
    assert all(re.fullmatch(r"task-[a-z0-9+._-]{1,120}\.html", name) for name in found)
    assert found[-1] == "task-autoencoder-carla+skip.html"


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (tables.count, 14_728_266, "14.73\u202fM"),
        (tables.count, 313_201_664, "313.2\u202fM"),
        (tables.size, 58_913_064, "56.2\u202fMiB"),
        (tables.size, 2**30 - 1, "1024\u202fMiB"),
        (tables.duration, 0.00321, "3.21\u202fms"),
        (tables.duration, 0.9999, "1000\u202fms"),
        (tables.duration, 5e-8, "50.0\u202fns"),
        (tables.joules, 0.0123, "12.3\u202fmJ"),
        (tables.joules, 41.0, "41.0\u202fJ"),
        (tables.joules, 4.2e-5, "42.0\u202fµJ"),
        (tables.times, 6.5123, "6.51\u00d7"),
        (tables.signed, -0.0042, "\u22120.42"),
        (tables.signed, -0.00001, "0.00"),
        (tables.percent, None, tables.NOTHING),
        (tables.times, None, tables.NOTHING),
    ],
)
def test_quantities_have_the_unit_that_fits(function: Callable[[Any], str], value: Any, text: str) -> None:
    assert function(value) == text


def test_a_docstring_becomes_paragraphs_lists_and_code() -> None:
    story = prose.blocks("Keep `n`\nof <b>them</b>.\n\n- one: `a`\n  and more\n- two\n\nAn odd ` stands.")
    assert [block.kind for block in story] == ["paragraph", "list", "paragraph"]
    first = [(span.text, span.code) for span in story[0].items[0]]
    assert first == [("Keep ", False), ("n", True), (" of <b>them</b>.", False)]
    assert ["".join(span.text for span in item) for item in story[1].items] == ["one: a and more", "two"]
    assert story[2].items[0][0].text == "An odd ` stands."


def test_setup_of_cuda_names_its_clock_and_not_the_hosts_one_thread() -> None:
    conditions = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp16", "cache": "hot",
                  "timing": "device"}  # fmt: skip
    setup = Setup("box", "cuda", tuple(sorted(conditions.items())))
    assert tables.setup_text(setup) == "batch 1, hot, eager, fp16, device time, cuda on box"
    assert tables.setup_text(setup.changed(threads=4), machine=False).startswith("batch 1, 4 threads, ")
