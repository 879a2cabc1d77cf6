"""Intervals that were published before processes' medians bounded them: widened from the samples that records keep."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import numpy as np

from suite import stats
from suite.records import MOST_SAMPLES, Record

#: A note of records whose processes' medians bound their interval: it stands. Of more pairs than are kept, what the
#: samples say of those medians is noisier than they were.
BETWEEN = "between_processes"
#: Of records made since then, the samples' rounding may say that much more; nothing is done about it.
ROUNDING = 1e-3


def widened(records: Iterable[Record]) -> list[Record]:
    """The records, each interval of a speed-up as wide as `stats.paired_speedup` makes it today, or as it was."""
    return [_widened(record) for record in records]


def _widened(record: Record) -> Record:
    if record.kind not in ("latency", "noise-floor") or record.status != "ok" or record.notes.get(BETWEEN):
        return record
    ends = [record.metrics.get(f"speedup{end}") for end in ("", "_low", "_high")]
    half = _half_width(record)
    if half is None or not all(ends):
        return record
    value, low, high = (math.log(end) for end in ends if end)
    if half <= min(value - low, high - value) + ROUNDING:
        return record
    grown = half / max(ROUNDING, min(value - low, high - value))
    low, high = min(low, value - half), max(high, value + half)
    metrics = record.metrics | {"speedup_low": math.exp(low), "speedup_high": math.exp(high)}
    metrics |= _over_eager(record, grown)
    if record.kind == "noise-floor":
        metrics["noise_floor"] = max(
            record.metrics.get("noise_floor") or 0.0,
            stats.noise_floor(stats.Interval(math.exp(value), math.exp(low), math.exp(high))),
        )
    return msgspec.structs.replace(record, metrics=metrics)


def _over_eager(record: Record, grown: float) -> dict[str, float]:
    """The ends of the speed-up over the eager network, whose samples no record keeps: grown as those beside it were."""
    ends = [record.metrics.get(f"speedup_over_eager{end}") for end in ("", "_low", "_high")]
    if not all(ends):
        return {}
    value, low, high = (math.log(end) for end in ends if end)
    return {"speedup_over_eager_low": math.exp(value - grown * (value - low)),
            "speedup_over_eager_high": math.exp(value + grown * (high - value))}  # fmt: skip


def _half_width(record: Record) -> float | None:
    """Half of the interval that the medians of a record's processes make, in logarithms; None where they are not kept.

    Its samples are those of equally many pairs of each process, one process after the other.
    """
    processes, pairs = record.notes.get("processes"), record.metrics.get("pairs")
    if not isinstance(processes, int) or processes < 2 or not pairs or pairs % processes or not record.samples:
        return None
    of = stats.thin([index * processes // int(pairs) for index in range(int(pairs))], MOST_SAMPLES)
    if len(of) != len(record.samples) or any(len(sample) != 2 or min(sample) <= 0 for sample in record.samples):
        return None
    ratios, places = np.log([dense / compressed for dense, compressed in record.samples]), np.asarray(of)
    return stats.half_width_of_medians([float(np.median(ratios[places == each])) for each in range(processes)])
