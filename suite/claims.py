"""Runs beside each other: which cells another one is at work on, and what others have measured since this one began."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from suite import plan
from suite.plan import Cell
from suite.records import Record, now, read_file, record_files, sha256_of

#: In the folder of models that runs share: a byte for each cell, locked by whoever makes it.
FILE = ".running"
#: Seconds that may lie between reading a results folder and asking for news of it: what was added then is news.
MARGIN = 60.0


class Claims:
    """What this process makes in a folder of models, told to others by locks that end with it, however it ends.

    Where the system or the folder has no locks, nobody else is seen. One at a time in a process, whose own locks are no
    bar to itself.
    """

    def __init__(self, artifacts: Path) -> None:
        self._file: int | None = None
        with contextlib.suppress(OSError, ImportError):
            import fcntl  # noqa: F401  not on every system

            artifacts.mkdir(parents=True, exist_ok=True)
            self._file = os.open(artifacts / FILE, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)

    def take(self, cell: Cell) -> bool:
        """Claim a cell; False where another process is at work on it."""
        return self._lock(cell, "LOCK_EX", "LOCK_NB")

    def give_up(self, cell: Cell) -> None:
        """Let others have it: it is made, or cannot be."""
        self._lock(cell, "LOCK_UN")

    def _lock(self, cell: Cell, *how: str) -> bool:
        if self._file is None:
            return True
        import fcntl

        try:
            fcntl.lockf(self._file, sum(getattr(fcntl, each) for each in how), 1, _place(cell))
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks
            pass
        return True

    def close(self) -> None:
        """Give up everything."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _place(cell: Cell) -> int:
    """The byte of a cell: another one for other code, which makes another model."""
    return int(sha256_of([cell.key, cell.freshness])[:15], 16)


class News:
    """The accuracy records that other runs than `own` add to a results folder, since whoever asks has read it."""

    def __init__(self, results: Path, device: str, own: str = "") -> None:
        self._results, self._device, self._own = results, device, own
        self._since, self._began = time.time() - MARGIN, now()

    def of(self, cell: Cell) -> Record | None:
        """The fresh record of a cell that another run has added, which makes it needless to run it here.

        A failure counts where it happened since: what failed before is to be tried again.
        """
        found: list[Record] = []
        for path in record_files(self._results):
            with contextlib.suppress(OSError):
                if path.stem != self._own and path.stat().st_mtime >= self._since:
                    found += read_file(path)[0]
        own = [each for each in found if (each.cell, each.kind, each.device) == (cell.key, "accuracy", self._device)]
        own = [each for each in own if plan.is_fresh(each) and (each.status == "ok" or each.created >= self._began)]
        return max(own, key=lambda each: (each.status == "ok", each.created), default=None)
