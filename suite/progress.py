"""What is going on, on standard error: a bar with the time left in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 30.0

Advance = Callable[..., None]


class Progress:
    """Reports to a stream; `silent` for tests and worker processes."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent

    def say(self, text: str) -> None:
        """One line of news."""
        if not self.silent:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, label: str, total: int, *, still: bool = False) -> Iterator[Advance]:
        """A bar over `total` steps; call what it yields after each, with `note=` for a word on how it goes.

        `still` draws it only then: redrawing ten times a second would disturb what is being timed.
        """
        if self.silent:
            yield lambda count=1, note="": None
        elif sys.stderr.isatty():
            yield from _terminal(label, total, still)
        else:
            yield from _lines(label, total)


def _terminal(label: str, total: int, still: bool) -> Iterator[Advance]:
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
    with Rich(*columns, console=Console(stderr=True), transient=True, auto_refresh=not still) as rich:
        shown = rich.add_task(label, total=total, note="")

        def advance(count: int = 1, note: str | None = None) -> None:
            rich.update(shown, advance=count)
            if note is not None:
                rich.update(shown, note=note)
            if still:
                rich.refresh()

        yield advance


def _lines(label: str, total: int) -> Iterator[Advance]:
    started = last = time.monotonic()
    done, word = 0, ""

    def advance(count: int = 1, note: str | None = None) -> None:
        nonlocal done, last, word
        done += count
        word = word if note is None else note
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done:
            last = now
            left = (now - started) / done * (total - done)
            print(f"{label}: {done}/{total} {word} about {duration(left)} left", file=sys.stderr, flush=True)

    yield advance


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
