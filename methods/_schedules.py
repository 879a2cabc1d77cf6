"""How alpha falls from one to zero, level by level (model-pruning-paper, sections 4.1 and 5.2; weekly report 5)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

from suite import Unsupported

#: Below this alpha the next level is zero.
SMALLEST = 0.05
MOST_LEVELS = 1000


def alphas(schedule: str, *, size: float = 0.1, rate: float = 0.05, levels: int = 10) -> tuple[float, ...]:
    """Every level of a schedule: the first is 1, the last 0, each smaller than the one before.

    A level below 0.05 is replaced by 0 and ends the schedule, but in `weekly-report-5`, which is a list of what was
    done. Unsupported where `size` is outside (0, 1], `rate` is not positive, `levels` is below one, or there would be
    more than a thousand levels.
    """
    if schedule == "weekly-report-5":
        return _weekly_report_5()
    if not 0 < size <= 1:
        raise Unsupported(f"size {size} is outside (0, 1]: it is what alpha loses at each step")
    if rate <= 0:
        raise Unsupported(f"rate {rate}: the decay rate must be positive, or alpha never falls")
    if levels < 1:
        raise Unsupported(f"levels {levels}: a cosine takes at least one to reach zero")
    formulas: dict[str, Callable[[int], float]] = {
        "step": lambda k: 1 - size * k,
        "exponential": lambda k: math.exp(-rate * k),
        "multiplicative": lambda k: 0.5**k,
        "time-based": lambda k: 1 / (1 + 0.5 * k),
        "cosine": lambda k: (1 + math.cos(math.pi * min(k, levels) / levels)) / 2,
        "jump": lambda k: 1.0 if k == 0 else 0.1 * math.exp(-0.5 * (k - 1)),
    }
    found = tuple(itertools.islice(_until_small(formulas[schedule]), MOST_LEVELS + 1))
    if len(found) > MOST_LEVELS:
        raise Unsupported(f"schedule {schedule} takes over {MOST_LEVELS} levels: choose a larger size or rate")
    return (*found, 0.0)


def _until_small(level: Callable[[int], float]) -> Iterator[float]:
    # the margin: 1 / (1 + 0.5 * 38) is 0.05, not below it, whatever the last bit says
    return itertools.takewhile(lambda alpha: alpha >= SMALLEST - 1e-12, map(level, itertools.count()))


def _weekly_report_5() -> tuple[float, ...]:
    """Exponential with rate 0.05 down to 0.4, then with rate 0.5 until 0.018, then 0 (Weekly report 5, section 2).

    The second part is exp(-0.5 k) from below 0.4 on: so it passes the report's 0.05 (k = 6) and ends at its 0.018.
    """
    slow = [math.exp(-0.05 * k) for k in range(19)]  # exp(-0.9) = 0.407
    fast = [math.exp(-0.5 * k) for k in range(2, 9)]  # 0.368 ... 0.050, 0.030, 0.018
    return (*slow, *fast, 0.0)


def share_epochs(total: int, levels: int) -> tuple[int, ...]:
    """`total` epochs divided among `levels`, equal within one, the earlier levels getting the smaller share."""
    return tuple(total * (k + 1) // levels - total * k // levels for k in range(levels))
