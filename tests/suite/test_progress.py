"""Progress goes to standard error, now and then, with the time that is left."""

from __future__ import annotations

import io
import sys

import pytest

from suite import progress
from suite.progress import Progress, duration


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
