"""Progress goes to standard error, now and then, with the time that is left."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from suite import progress
from suite.progress import Progress, Relay, Replay, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-1, "0 s"), (44.6, "45 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (3599, "1 h 00 min"),
     (11_100, "3 h 05 min"), (360_000, "100 h 00 min")],
)  # fmt: skip
def test_seconds_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_away_from_a_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Progress().bar("train", 100) as advance:
        for _ in range(7):
            clock[0] += 10
            advance(note="val 0.5")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["train: 3/100 val 0.5 about 16 min left", "train: 6/100 val 0.5 about 16 min left"]


def test_what_an_earlier_process_did_does_not_shorten_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    replay = Replay(Progress())
    with Relay(replay.show).bar("train", 100, done=90) as advance:
        for _ in range(4):
            clock[0] += 10
            advance()
    assert capsys.readouterr().err.splitlines() == ["train: 93/100  about 70 s left"]


def test_in_a_terminal_a_bar_is_drawn_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown, out = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(sys, "stdout", out)
    for still in (False, True):
        with Progress().bar("train", 2, still=still) as advance:
            advance(note="val 0.5")
            advance(0)
    assert "train" in shown.getvalue() and "1/2" in shown.getvalue() and "val 0.5" in shown.getvalue()
    assert out.getvalue() == ""


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Progress(silent=True)
    quiet.say("news")
    with quiet.bar("train", 3) as advance:
        advance()
        advance(2, note="done")
    assert capsys.readouterr() == ("", "")


def test_what_another_process_reports_is_shown_here(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    told: list[tuple[Any, ...]] = []
    relay = Relay(told.append)
    relay.say("news")
    with relay.bar("train", 3) as advance, relay.bar("epoch", 2) as inner:
        inner(2)
        advance(note="val 0.5")
    assert capsys.readouterr().err == ""
    replay = Replay(Progress())
    for each in told:
        replay.show(each)
    replay.close()
    lines = [line.partition(" about")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["news", "epoch: 2/2 ", "train: 1/3 val 0.5"]


def test_a_thousand_steps_are_told_in_few_messages_and_none_is_lost() -> None:
    told: list[tuple[Any, ...]] = []
    with Relay(told.append).bar("train", 1000) as advance:
        for _ in range(1000):
            advance()
    assert len(told) < 50
    assert sum(each[2] for each in told if each[0] == "advance") == 1000


def test_bars_that_a_killed_process_leaves_open_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = Progress()
    with shown.bar("cells", 2, still=True) as advance:
        replay = Replay(shown)
        replay.show(("open", 0, "train", 9, 0))
        advance(0)
        assert "train" in terminal.getvalue(), "bars stand below each other"
        replay.close()
        before = len(terminal.getvalue())
        advance()
        assert "cells" in terminal.getvalue()[before:] and "train" not in terminal.getvalue()[before:]
