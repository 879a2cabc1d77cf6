"""Rows -> the texts of a table: columns, entries, badges. The one place where percent, ms and MiB are made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from suite.leaderboard import Board
from suite.rows import QUALITY, Metric, Row, Spread, Verdict
from suite.setups import Measurement, Setup

NOTHING = "\u2013"
TIMES = "\u00d7"
#: What a reader cannot see but a page would obey: controls, line breaks, direction marks, zero-width characters.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SHOWN = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """The text with every character that would act without being seen written out, such as \\u202e."""
    return _UNSEEN.sub(lambda match: _SHOWN.get(match.group(), f"\\u{ord(match.group()):04x}"), text)


# -------------------------------------------------------------------------------------------------------------- numbers


def minus(text: str) -> str:
    """With a real minus sign, which is as wide as a plus."""
    return text.replace("-", "\u2212")


def percent(share: float | None, digits: int = 2) -> str:
    """A fraction as percent, without the sign: 0.9351 -> 93.51."""
    return NOTHING if share is None else minus(f"{100 * share:.{digits}f}")


def signed(share: float | None, digits: int = 2) -> str:
    """A difference of fractions in points: -0.0042 -> \u22120.42."""
    if share is None:
        return NOTHING
    text = f"{100 * share:+.{digits}f}"
    return minus(text) if float(text) else f"{0:.{digits}f}"


def number(value: float | None) -> str:
    """Four significant digits."""
    return NOTHING if value is None else minus(f"{value:.4g}")


def count(value: float | None) -> str:
    """14728266 -> 14.73 M."""
    if value is None:
        return NOTHING
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:#.4g}".rstrip(".") + f"\u202f{unit}"
    return f"{value:.4g}"


def size(value: float | None) -> str:
    """Bytes in binary units: 58913064 -> 56.2 MiB."""
    if value is None:
        return NOTHING
    for unit, bytes_ in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= bytes_:
            return f"{_three(value / bytes_)}\u202f{unit}"
    return f"{value:.0f}\u202fB"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that fits: 0.00321 -> 3.21 ms."""
    if seconds is None:
        return NOTHING
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= length:
            return f"{_three(seconds / length)}\u202f{unit}"
    return f"{_three(seconds / 1e-9)}\u202fns"


def _three(value: float) -> str:
    """Three significant digits, and never an exponent."""
    return f"{value:#.3g}".rstrip(".") if value < 999.5 else f"{value:.0f}"


def times(ratio: float | None) -> str:
    """A ratio: 6.5123 -> 6.51\u00d7."""
    return NOTHING if ratio is None else (f"{ratio:.2f}\u00d7" if ratio < 100 else f"{ratio:.0f}\u00d7")


def day(created: str) -> str:
    """The date of an ISO 8601 time."""
    return created[:10]


def metric_text(metric: Metric, value: float | None) -> str:
    """A quality metric's value in its unit, without the unit."""
    return percent(value) if metric.kind == "percent" else number(value)


def difference_text(metric: Metric, value: float | None) -> str:
    """A difference of two values of a quality metric, signed."""
    if value is None or metric.kind == "percent":
        return signed(value)
    return minus(f"{value:+.3g}")


UNITS = {"percent": "%", "decibel": "dB", "number": ""}
#: The precision that goes without saying.
PLAIN = ("fp32", "float32")


def relative(difference: float | None, dense: float | None) -> str:
    """A difference as a share of dense, signed: 0.0045 of 0.1 -> +4.5 %; empty where there is no such share."""
    if difference is None or not dense:
        return ""
    text = f"{100 * difference / abs(dense):+.1f}"
    return f"{minus(text) if float(text) else '0.0'} %"


def setup_text(setup: Setup, *, machine: bool = True) -> str:
    """A setup in words: `batch 1, 1 thread, hot, eager on cpu-2c-8g`."""
    c = dict(setup.conditions)
    threads = c.get("threads")
    words = [
        f"batch {c['batch_size']}" if c.get("batch_size") is not None else "",
        "" if threads is None else f"{threads} thread{'' if threads == 1 else 's'}",
        *(str(c[name]) for name in ("cache", "backend") if c.get(name) is not None),
        "" if c.get("precision") in (None, *PLAIN) else str(c["precision"]),
        str(c["timing"]) if c.get("timing") is not None else "",
        setup.device if setup.device != "cpu" else "",
    ]
    return ", ".join(word for word in words if word) + (f" on {setup.machine}" if machine else "")


# -------------------------------------------------------------------------------------------------------------- columns


@dataclass(frozen=True)
class Column:
    """A column of numbers. `better` is the end that a first click sorts to the top; `title` explains the column."""

    key: str
    label: str
    unit: str
    title: str
    better: Literal["high", "low"]


@dataclass(frozen=True)
class Entry:
    """What one cell of a table says: `text`, a smaller `sub` beneath, and the `value` that it sorts and exports by.

    `more` goes along when the table is downloaded: deviations and the ends of intervals. `mark` is a word that must not
    be missed, beside the text.
    """

    text: str = NOTHING
    sub: str = ""
    value: float | None = None
    more: Mapping[str, float | None] = field(default_factory=dict)
    mark: str = ""


@dataclass(frozen=True)
class Line:
    """A row as a table shows it. `fixed` holds the entries by column key, `by_setup` those that depend on the setup."""

    row: Row
    badges: tuple[tuple[str, str], ...]
    fixed: dict[str, Entry]
    by_setup: tuple[dict[str, Entry], ...]

    def entry(self, key: str, setup: int = 0) -> Entry:
        chosen = self.by_setup[setup] if self.by_setup else {}
        return chosen.get(key) or self.fixed.get(key) or Entry()


def columns(board: Board) -> tuple[Column, ...]:
    """The columns of a board, the ones that matter most first."""
    others = [m for m in QUALITY.values() if m != board.headline and any(m.name in row.metrics for row in board.rows)]
    extra = [Column(m.name, m.label, UNITS.get(m.kind, ""), "Test split", _direction(m)) for m in others]
    # A reconstruction is judged by all of its metrics; of a classification the top 5 say little beside the top 1.
    near, far = ([], extra) if board.headline.kind == "percent" else (extra, [])
    speed = "Speed-up: time of dense / time of compressed, 95 % interval"
    if any(m.over_eager for row in board.rows for m in row.speeds.values()):
        speed = f"{speed}. {COMPILED_RULE}"
    return (
        Column("rank", "Rank", "speed", RANK_RULE, "low"),
        *_headline_columns(board),
        *near,
        Column("speedup", "Measured", TIMES, speed, "high"),
        Column("promised", "Promised", TIMES, "MACs of dense / MACs of compressed: what time could be at best", "high"),
        Column("compressed_seconds", "Time", "", "Median time of one pass; below it the dense model's", "low"),
        Column("parameters_left", "Parameters", "% left", "Non-zero parameters, as a share of dense", "low"),
        Column("macs_left", "MACs", "% left", "Multiply-accumulates of one sample, as a share of dense", "low"),
        Column("size_bytes_compressed", "File", "zipped", "Saved weights, compressed; below, as they are", "low"),
        Column("peak_bytes", "Memory", "peak", "Peak memory of a fresh process; below it the dense model's", "low"),
        *far,
    )


def _headline_columns(board: Board) -> tuple[Column, ...]:
    """What the task is judged by, and its differences from dense and, where there are any, from controls."""
    head, controls = board.headline, rivals(board)
    in_points = head.kind == "percent"
    unit = UNITS.get(head.kind, "")
    points = "points" if in_points else unit
    told = "Test split; mean and deviation over seeds" + ("" if head.higher_is_better else "; lower is better")
    change = "Difference paired by seed; verdict by a 95 % t interval"
    if not in_points:
        change += "; below it as a share of dense"
    found = [Column(head.name, head.label, unit, told, _direction(head)),
             Column("change", "vs dense", points, change, _direction(head))]  # fmt: skip
    if controls:
        told = f"As vs dense, against a row of the same size: {', '.join(controls)}"
        found.append(Column("control", "vs control", points, told, _direction(head)))
    return tuple(found)


#: What stands beside the numbers of a compiled INT8 network in an eager setup, and what that means.
COMPILED_MARK = "compiled"
COMPILED_RULE = (
    "compiled: INT8 kernels run in compiled networks alone, so this is the time of the eager dense network / the time "
    "of the compiled INT8 one; below it the speed-up over the compiled dense network"
)
RANK_RULE = "1 + the rows whose whole speed-up interval, widened by the noise floor, lies above this row's"


def _direction(metric: Metric) -> Literal["high", "low"]:
    return "high" if metric.higher_is_better else "low"


def rivals(board: Board) -> tuple[str, ...]:
    """The controls that rows of a board are judged against."""
    return tuple(dict.fromkeys(row.verdicts[1].rival for row in board.rows if len(row.verdicts) > 1))


def lines(board: Board) -> tuple[Line, ...]:
    """The texts of a board's rows."""
    several = len(rivals(board)) > 1
    return tuple(_line(row, board, several) for row in board.rows)


def _line(row: Row, board: Board, several: bool) -> Line:
    fixed = {name: _quality(QUALITY[name], row.metrics[name]) for name in row.metrics if name in QUALITY}
    if row.change is not None:
        fixed["change"] = _change(board.headline, row.change, row.verdicts[0], row.mean(f"dense_{board.headline.name}"))
    if len(row.verdicts) > 1:
        fixed["control"] = _control(board.headline, row.verdicts[1], several)
    fixed |= {"parameters_left": _left(row, "nonzero_parameters"), "macs_left": _left(row, "macs")}
    promised, packed = row.reduction("macs"), row.mean("size_bytes_compressed")
    fixed["promised"] = Entry(times(promised), "", promised)
    fixed["size_bytes_compressed"] = Entry(size(packed), _sub("plain", size(row.mean("size_bytes"))), packed)
    return Line(row, badges(row), fixed, tuple(_costs(row, setup) for setup in board.setups))


def _quality(metric: Metric, found: Spread) -> Entry:
    deviation = "" if found.deviation is None else f"± {metric_text(metric, found.deviation)}"
    return Entry(metric_text(metric, found.mean), deviation, found.mean, {"deviation": found.deviation})


def _change(metric: Metric, found: Spread, verdict: Verdict, dense: float | None) -> Entry:
    deviation = "" if found.deviation is None else f"± {metric_text(metric, found.deviation)}"
    share = "" if metric.kind == "percent" else relative(found.mean, dense)
    words = ", ".join(word for word in (deviation, share, verdict_text(verdict)) if word)
    return Entry(difference_text(metric, found.mean), words, found.mean,
                 {"deviation": found.deviation, "low": verdict.low, "high": verdict.high})  # fmt: skip


def _control(metric: Metric, verdict: Verdict, several: bool) -> Entry:
    sign = 1 if metric.higher_is_better else -1
    difference = sign * verdict.difference
    ends = {"low": verdict.low, "high": verdict.high}
    words = f"{verdict_text(verdict)}, {verdict.rival}" if several else verdict_text(verdict)
    return Entry(difference_text(metric, difference), words, difference, ends)


def verdict_text(verdict: Verdict) -> str:
    """A verdict in a word, or why there is none: `better`, `one seed: no verdict`."""
    if verdict.outcome != "no verdict":
        return verdict.outcome
    return f"{({1: 'one seed', 2: 'two seeds'}).get(verdict.seeds, str(verdict.seeds))}: no verdict"


def _left(row: Row, name: str) -> Entry:
    own, dense = row.mean(name), row.mean(f"dense_{name}")
    if name == "nonzero_parameters" and dense is None:
        dense = row.mean("dense_parameters")
    if own is None or not dense:
        return Entry(NOTHING, count(own) if own is not None else "", None)
    return Entry(percent(own / dense, 1), count(own), own / dense)


def _sub(word: str, text: str) -> str:
    return "" if text == NOTHING else f"{word} {text}"


def _costs(row: Row, setup: Setup) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    measurement = row.speeds.get(setup)
    if measurement is not None:
        found |= _speed(measurement)
    memory = row.memory_at(setup)
    if memory is not None:
        found["peak_bytes"] = _memory(memory)
    return found


def _speed(measurement: Measurement) -> dict[str, Entry]:
    """What one measurement says of speed; of one that failed, why, and no number."""
    speedup, seconds = measurement.metric("speedup"), measurement.metric("compressed_seconds")
    if speedup is None:
        return {"speedup": Entry(NOTHING, measurement.failure)} if measurement.failure else {}
    interval = measurement.interval
    low, high = interval or (None, None)
    ends = "no interval" if interval is None else f"{interval[0]:.2f}\u2013{interval[1]:.2f}"
    words = " ".join([ends, *caveats(measurement)])
    if measurement.over_eager:
        within = measurement.record.metrics.get("speedup")
        words += "" if within is None else f"; {times(within)} over compiled dense"
    mark = COMPILED_MARK if measurement.over_eager else ""
    dense = _sub(f"dense{', eager' if measurement.over_eager else ''}", duration(measurement.metric("dense_seconds")))
    rank = measurement.rank
    return {
        "rank": Entry(NOTHING if rank is None else str(rank), "", rank),
        "speedup": Entry(times(speedup), words, speedup, {"low": low, "high": high}, mark),
        "compressed_seconds": Entry(duration(seconds), dense, seconds, mark=mark),
    }


def _memory(memory: Measurement) -> Entry:
    peak = memory.metric("peak_bytes")
    if peak is None:
        return Entry(NOTHING, memory.failure or "")
    compiled = memory.over_eager
    dense = _sub(f"dense{', compiled' if compiled else ''}", size(memory.metric("dense_peak_bytes")))
    return Entry(size(peak), dense, peak, mark=COMPILED_MARK if compiled else "")


def caveats(measurement: Measurement) -> tuple[str, ...]:
    """Why a measurement is to be read with care, in a word or two each."""
    found: list[str] = []
    if measurement.state != "ok":
        found.append(measurement.state)
    if measurement.contended:
        found.append("contended")
    if measurement.metric("converged") in (False, 0):
        found.append("not converged")
    if measurement.record.notes.get("weights") == "random":
        found.append("random weights")
    return tuple(found)


def badges(row: Row) -> tuple[tuple[str, str], ...]:
    """(kind, text) of each mark that a row bears."""
    found: list[tuple[str, str]] = []
    if row.state != "ok":
        word = row.records[0].status if row.state == "failed" and row.records else row.state
        found.append((row.state, word if word != "error" else "failed"))
    if row.speeds and all(m.contended for m in row.speeds.values()):
        found.append(("contended", "contended"))
    if row.state == "ok" and row.owed:
        found.append(("owed", "incomplete"))
    return tuple(found)
