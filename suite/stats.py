"""Medians, paired intervals, noise floor, ranks: numbers in, numbers out. No I/O, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Pair = tuple[float, float]  # seconds of the dense network, seconds of the compressed one, timed side by side
Floats = npt.NDArray[np.float64]

#: The share of the median that half of a row's interval should not exceed.
HALF_WIDTH = 0.01
#: What half of an interval may come out as and still be "about" that: the pilot that plans for it has seen few pairs.
CONVERGED = 1.5 * HALF_WIDTH
FEWEST_PAIRS = 20
#: Processes of a row, at most, of a network that is too slow for more, or that each would compile or capture anew.
FEWER_PROCESSES = 3
RESAMPLES = 1000
_Z = 1.959964
#: A median's standard error over a mean's, for normal noise: sqrt(pi / 2).
_MEDIAN_OVER_MEAN = math.sqrt(math.pi / 2)
#: Student's t, 97.5 %, by degrees of freedom; above these `student_t` uses the expansion, exact to 0.1 % there.
_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval as a share of the value."""
        return (self.high - self.low) / 2 / self.value


def median(values: Sequence[float]) -> float:
    """The median; ValueError where there are no values."""
    if not len(values):
        raise ValueError("the median of no values")
    return float(np.median(np.asarray(values, dtype=np.float64)))


def student_t(degrees: int) -> float:
    """The factor of a two-sided 95 % interval with so many degrees of freedom (1 or more)."""
    if degrees < 1:
        raise ValueError("no degree of freedom is left")
    if degrees <= len(_T):
        return _T[degrees - 1]
    return _Z + (_Z**3 + _Z) / (4 * degrees) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * degrees**2)


def paired_speedup(processes: Sequence[Sequence[Pair]], *, seed: int = 0) -> Interval:
    """The median of dense / compressed over all pairs of all processes, with its 95 % interval.

    Noise comes in two layers: from pair to pair, and from process to process (where the weights came to lie in
    memory), which no number of pairs in one process averages out. The first layer is bootstrapped: pairs are
    resampled within their process. The second cannot be with three processes: a bootstrap that resamples them reaches
    from the lowest to the highest and no further, and covers the truth in 79 % of the cases, not 95 %. So each half of
    the interval is the bootstrap's or, where that is wider, Student's t of the processes' medians: that covers it in
    94 to 99 % whatever the layers' sizes (simulated: three processes of 8 to 30 pairs). One process shows the first
    layer only.
    Everything is computed in logarithms: dense / compressed and compressed / dense have one and the same interval.
    """
    logs = [_log_ratios(pairs) for pairs in processes if len(pairs)]
    if not logs:
        raise ValueError("a speed-up of no pairs")
    centre = float(np.median(np.concatenate(logs)))
    generator = np.random.default_rng(seed)
    resampled = [each[generator.integers(len(each), size=(RESAMPLES, len(each)))] for each in logs]
    low, high = np.quantile(np.median(np.concatenate(resampled, axis=1), axis=1), (0.025, 0.975))
    between = half_width_of_medians([float(np.median(each)) for each in logs])
    return Interval(
        value=math.exp(centre),
        low=math.exp(centre - max(centre - float(low), between)),
        high=math.exp(centre + max(float(high) - centre, between)),
    )


def half_width_of_medians(medians: Sequence[float]) -> float:
    """Half of a 95 % interval of what processes' medians scatter around; 0 for one process, which shows nothing."""
    return half_width_of_mean(float(np.std(medians, ddof=1)), len(medians)) if len(medians) > 1 else 0.0


def half_width_of_mean(deviation: float, count: int) -> float:
    """Half of the 95 % interval of a mean of `count` values (2 or more) with that sample deviation: Student's t."""
    return student_t(count - 1) * deviation / math.sqrt(count)


def _log_ratios(pairs: Sequence[Pair]) -> Floats:
    seconds = np.asarray(pairs, dtype=np.float64)
    if not np.all(np.isfinite(seconds)) or np.any(seconds <= 0):
        raise ValueError("times must be above 0 seconds")
    ratios: Floats = np.log(seconds[:, 0] / seconds[:, 1])
    return ratios


def pairs_needed(pilot: Sequence[Pair], half_width: float = HALF_WIDTH) -> int:
    """How many pairs a pilot promises to be enough for an interval of `half_width`, at least 20.

    From the spread of the pilot's logarithmic ratios (median absolute deviation, so that one interruption does not
    count) and the standard error of a median. It knows of noise between pairs alone, not between processes.
    """
    ratios = _log_ratios(pilot)
    deviation = 1.4826 * float(np.median(np.abs(ratios - np.median(ratios))))
    return max(FEWEST_PAIRS, math.ceil((_Z * _MEDIAN_OVER_MEAN * deviation / half_width) ** 2))


def noise_floor(interval: Interval) -> float:
    """The share by which a speed-up of exactly 1 may seem to differ from 1: A/A's bias and half-width together."""
    return max(interval.high, 1 / interval.low) - 1


def ranks(intervals: Sequence[tuple[float, float]], noise: float | Sequence[float]) -> list[int]:
    """The rank of each (low, high): 1 + the rows whose whole interval, widened by the noise, lies above it.

    `noise` is one floor, or one for each row: then of two rows the larger counts.
    """
    found = np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
    floors = 1 + np.broadcast_to(np.asarray(noise, dtype=np.float64), len(found))
    if np.any(floors < 1):
        raise ValueError("a noise floor is a share, 0 or more")
    lows, narrowed = found[:, 0], found[:, 0] / floors
    return [1 + int(np.count_nonzero((narrowed > high) & (lows / floor > high)))
            for high, floor in zip(found[:, 1], floors, strict=True)]  # fmt: skip


def thin(values: Sequence[T], most: int) -> list[T]:
    """At most so many of the values, evenly spread over all of them, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    chosen = np.linspace(0, len(values) - 1, most).round().astype(int)
    return [values[index] for index in chosen]
