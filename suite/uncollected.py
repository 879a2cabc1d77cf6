"""Work without Python's garbage collector, which would find next to nothing in it and take a fifth of its time.

`off()` is for any such work, `imports()` for imports of this process. The process that others are forked from preloads
`PRELOADED` first; what it imports then is set aside by `resume()` in each process forked from it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

#: The module that switches the collector off by being imported.
PRELOADED = "suite.uncollected_server"

atexit.register(gc.unfreeze)  # or what libraries keep count of is leaked, and they say so


@contextlib.contextmanager
def off() -> Iterator[None]:
    """No collection within; afterwards as before."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """What is imported within is looked at by no collection, neither now nor until the process ends."""
    with off():
        try:
            yield
        finally:
            gc.freeze()


def resume() -> None:
    """Collect garbage from now on, but not among the objects that there are."""
    gc.freeze()
    gc.enable()
