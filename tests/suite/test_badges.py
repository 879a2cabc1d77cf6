"""Badges: what is certain and no more, drawn so that no text of a record acts."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from suite import badges, leaderboard, plan
from suite.badges import Badge
from suite.records import Record

HOT = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
TASK, METHOD = "vgg16-cifar10", "structured"
HOSTILE = "</text><script>alert(1)</script>\u202e\"'&\n"
NAME = "{http://www.w3.org/2000/svg}"


def badge(make_record: Callable[..., Record], profile: str = "full", top1: float = 0.925, **speed: Any) -> Badge | None:
    own = {"task": TASK, "method": METHOD, "profile": profile, "freshness": plan.current_freshness(TASK, METHOD)}
    records = [make_record(**own, metrics={"top1": top1, "dense_top1": 0.94})]
    if speed:
        metrics = {
            f"speedup{name and '_'}{name}": value
            for name, value in zip(("", "low", "high"), speed["speed"], strict=True)
        }
        records.append(make_record(**own, kind="latency", conditions=HOT, metrics=metrics))
    (board,) = leaderboard.assemble(records, {}).boards
    return badges.badge(board, METHOD)


def test_it_tells_speed_and_loss(make_record: Callable[..., Record]) -> None:
    assert badge(make_record, speed=(3.1, 3.0, 3.2)) == Badge(
        METHOD, "VGG16 on CIFAR-10 3.10\u00d7, \u22121.50 points", badges.GOOD,
        "batch 1, 1 thread, hot, eager on cpu-2c-4g-abcdef; one seed: uncertain")  # fmt: skip


def test_a_shortened_training_is_named_and_not_green(make_record: Callable[..., Record]) -> None:
    found = badge(make_record, profile="quick", speed=(3.1, 3.0, 3.2))
    assert found is not None and "(quick)" in found.message and found.colour != badges.GOOD


@pytest.mark.parametrize(
    "top1,low,said",
    [(0.925, 0.9, ": no sure speed-up"), (0.8, 0.9, ": no sure speed-up"), (0.8, 3.0, ": loses over 2 points")],
)
def test_what_is_not_certain_or_loses_too_much_is_not_claimed(
    make_record: Callable[..., Record], top1: float, low: float, said: str
) -> None:
    found = badge(make_record, top1=top1, speed=(3.1, low, 3.2))
    assert found is not None and found.message == f"VGG16 on CIFAR-10{said}" and found.colour == badges.NONE


def test_what_was_not_timed_says_so(make_record: Callable[..., Record]) -> None:
    found = badge(make_record)
    assert found is not None and found.message.endswith("not timed")


def test_hostile_texts_are_texts() -> None:
    text = badges.svg(Badge(HOSTILE, HOSTILE, badges.NONE))
    root = ElementTree.fromstring(text)
    assert {each.tag.removeprefix(NAME) for each in root.iter()} == {"svg", "title", "clipPath", "rect", "g", "text"}
    assert "\u202e" not in text and text.count("alert(1)") == 6
    first, second = root.iter(f"{NAME}text")
    assert first.text == second.text == "</text><script>alert(1)</script>\\u202e\"'&\\n"


def test_the_title_says_where_it_was_measured() -> None:
    title = ElementTree.fromstring(badges.svg(Badge("cuts", "3.10\u00d7", badges.GOOD, "on <box>"))).find(
        f"{NAME}title"
    )
    assert title is not None and title.text == "cuts: 3.10\u00d7 (on <box>)"


def test_the_boxes_hold_the_texts() -> None:
    root = ElementTree.fromstring(badges.svg(Badge("structured", "VGG16 on CIFAR-10 3.10\u00d7", badges.GOOD)))
    for text, box in zip(root.iter(f"{NAME}text"), list(root.iter(f"{NAME}rect"))[1:], strict=True):
        left, width = float(box.get("x", 0)), float(box.get("width", 0))
        assert (
            left < float(text.get("x", 0)) and float(text.get("x", 0)) + float(text.get("textLength", 0)) < left + width
        )


@pytest.mark.parametrize("method,task", [("../a", "b"), ("a.b", "c"), ("a", "b.c"), ("\u202e", ""), ("a" * 80, "b")])
def test_no_name_leads_out_of_the_folder_or_into_another(method: str, task: str) -> None:
    name = badges.file_name(method, task)
    assert "/" not in name and not name.startswith(".") and len(name) < 130 and name.isascii()
    assert name != badges.file_name(task, method)
