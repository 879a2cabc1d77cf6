"""What a metric is on the pages: its name, its direction, the unit it is shown in. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric's name on the pages, its direction, and the unit it is shown in (`kind`).

    `percent` is a fraction in [0, 1] that pages show times a hundred.
    """

    name: str
    label: str
    kind: Literal["percent", "number", "decibel", "count", "bytes"]
    higher_is_better: bool
