"""Standard input, output and error, as a shell hands them over."""

from __future__ import annotations

import contextlib
import os
import sys


def open_closed() -> None:
    """Lead those that are closed (`>&-`) nowhere, or the next files to be opened take their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        os.set_inheritable(nowhere, True)  # as the others are, for the processes that work
        setattr(sys, name, os.fdopen(nowhere, "r" if name == "stdin" else "w"))
