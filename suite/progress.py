"""What is going on, on standard error: a bar with the time left in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

SECONDS_BETWEEN_LINES = 30.0
#: How often another process tells how far it is.
SECONDS_BETWEEN_NEWS = 0.2

Advance = Callable[..., None]


class Progress:
    """Reports to a stream; `silent` for tests and worker processes."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self._display: Any = None  # a terminal's bars stand below each other in one

    def say(self, text: str) -> None:
        """One line of news."""
        if not self.silent:
            print(text, file=sys.stderr, flush=True)

    def pass_over(self, problems: Iterable[object]) -> None:
        """A line for each record that cannot be read, of a folder that is read all the same."""
        for problem in problems:
            self.say(f"prunemark: passed over: {problem}")

    @contextmanager
    def bar(self, label: str, total: int, *, done: int = 0, still: bool = False) -> Iterator[Advance]:
        """A bar over `total` steps; call what it yields after each, with `note=` for a word on how it goes.

        `done` of them an earlier process did, in a time that is not known here. `still` draws it only then: redrawing
        ten times a second would disturb what is being timed.
        """
        if self.silent:
            yield lambda count=1, note="": None
        elif sys.stderr.isatty():
            yield from self._terminal(label, total, done, still)
        else:
            yield from _lines(label, total, done)

    def _terminal(self, label: str, total: int, done: int, still: bool) -> Iterator[Advance]:
        rich = self._display = self._display or _terminal_display(still)
        shown = rich.add_task(label, total=total, completed=done, note="")
        rich.start()

        def advance(count: int = 1, note: str | None = None) -> None:
            rich.update(shown, advance=count)
            if note is not None:
                rich.update(shown, note=note)
            if still:
                rich.refresh()

        try:
            yield advance
        finally:
            rich.remove_task(shown)
            if not rich.tasks:
                rich.stop()
                self._display = None


def _terminal_display(still: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Rich

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Rich(*columns, console=Console(stderr=True), transient=True, auto_refresh=not still)


def _lines(label: str, total: int, before: int) -> Iterator[Advance]:
    started = last = time.monotonic()
    done, word = before, ""

    def advance(count: int = 1, note: str | None = None) -> None:
        nonlocal done, last, word
        done += count
        word = word if note is None else note
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done > before:
            last = now
            left = (now - started) / (done - before) * (total - done)
            print(f"{label}: {done}/{total} {word} about {duration(left)} left", file=sys.stderr, flush=True)

    yield advance


class Relay(Progress):
    """In a child process: what it reports is handed to `tell`, for a `Replay` in the process that waits to show."""

    def __init__(self, tell: Callable[[tuple[Any, ...]], None]) -> None:
        super().__init__()
        self._tell = tell
        self._numbers = itertools.count()

    def say(self, text: str) -> None:
        self._tell(("say", text))

    @contextmanager
    def bar(self, label: str, total: int, *, done: int = 0, still: bool = False) -> Iterator[Advance]:
        number = next(self._numbers)
        self._tell(("open", number, label, total, done))
        untold, last = 0, 0.0

        def advance(count: int = 1, note: str | None = None) -> None:
            nonlocal untold, last
            untold += count
            if note is not None or time.monotonic() - last >= SECONDS_BETWEEN_NEWS:
                self._tell(("advance", number, untold, note))
                untold, last = 0, time.monotonic()

        try:
            yield advance
        finally:
            if untold:
                self._tell(("advance", number, untold, None))
            self._tell(("close", number))


class Replay:
    """Shows with `progress` what a `Relay` tells; `close` ends the bars that it left open."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[int, tuple[AbstractContextManager[Advance], Advance]] = {}

    def show(self, told: tuple[Any, ...]) -> None:
        match told:
            case ("say", text):
                self._progress.say(text)
            case ("open", number, label, total, done):
                bar = self._progress.bar(label, total, done=done)
                self._bars[number] = bar, bar.__enter__()
            case ("advance", number, count, note):
                self._bars[number][1](count, note=note)
            case ("close", number):
                self._bars.pop(number)[0].__exit__(None, None, None)

    def close(self) -> None:
        for number in list(self._bars):
            self.show(("close", number))


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
