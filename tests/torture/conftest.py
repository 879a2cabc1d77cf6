"""How much of each fault is tried: a little with the other tests, `nox -s torture` for the full counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

#: What the options mean, and how many there are of each unless they are given.
COUNTS = {"kills": ("of a run at random moments", 1), "lines": ("of hostile text as records", 3000)}


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, (about, count) in COUNTS.items():
        parser.addoption(f"--{name}", type=int, default=count, help=f"torture: how many {name} {about}")


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[str], int]:
    """`count("kills")`: how many are asked for. The options exist only where pytest is pointed at this folder."""
    return lambda name: int(request.config.getoption(f"--{name}", COUNTS[name][1]))
