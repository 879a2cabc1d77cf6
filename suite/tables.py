"""Rows -> the texts of a table: entries and badges. The one place where percent, ms and MiB are made."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from suite import prose, setups
from suite.leaderboard import Board
from suite.records import Number
from suite.rows import QUALITY, Metric, Row, Spread, Verdict
from suite.setups import Measurement, Setup

NOTHING = "\u2013"
#: Letters of a reason that stand in a table.
LONGEST_REASON = 80
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


def number(value: float | None, digits: int = 4) -> str:
    """So many significant digits, so that numbers below one another have as many decimals: 0.0734 -> 0.07340."""
    if value is None:
        return NOTHING
    padded = "#" if 1e-4 <= abs(value) < 10**digits else ""
    return minus(f"{value:{padded}.{digits}g}".rstrip("."))


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


def joules(value: float | None) -> str:
    """Energy in the unit that fits: 0.0042 -> 4.20 mJ."""
    if value is None:
        return NOTHING
    for unit, joules_ in (("J", 1.0), ("mJ", 1e-3)):
        if abs(value) >= joules_:
            return f"{_three(value / joules_)}\u202f{unit}"
    return f"{_three(value / 1e-6)}\u202fµJ"


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
    """A setup in words: `batch 1, 1 thread, hot, eager on cpu-2c-8g`; on CUDA the host's one thread goes unsaid."""
    c = dict(setup.conditions)
    threads = c.get("threads") if (setup.device, c.get("threads")) != ("cuda", 1) else None
    words = [
        f"batch {c['batch_size']}" if c.get("batch_size") is not None else "",
        "" if threads is None else f"{threads} thread{'' if threads == 1 else 's'}",
        *(str(c[name]) for name in ("cache", "backend") if c.get(name) is not None),
        "" if c.get("precision") in (None, *PLAIN) else str(c["precision"]),
        f"{c['timing']} time" if c.get("timing") is not None else "",
        setup.device if setup.device != "cpu" else "",
    ]
    return ", ".join(word for word in words if word) + (f" on {setup.machine}" if machine else "")


# ------------------------------------------------------------------------------------------------------------- entries


@dataclass(frozen=True)
class Entry:
    """What one cell of a table says: `text`, a smaller `sub` beneath, and the `value` that it sorts by.

    `data` is what a download has of it, in base units under the names of records: what was measured, what dense was,
    deviations, the ends of intervals. `mark` is a word that must not be missed, beside the text.
    """

    text: str = NOTHING
    sub: str = ""
    value: float | None = None
    data: Mapping[str, Number | str] = field(default_factory=dict)
    mark: str = ""


#: A column of another setup's speed-up is called so, with the setup's place in the board's list.
ELSEWHERE = "speedup@"


@dataclass(frozen=True)
class Line:
    """A row as a table shows it. `fixed` holds the entries by column key, `by_setup` those that depend on the setup."""

    row: Row
    badges: tuple[tuple[str, str], ...]
    fixed: dict[str, Entry]
    by_setup: tuple[dict[str, Entry], ...]

    def entry(self, key: str, setup: int = 0) -> Entry:
        if key.startswith(ELSEWHERE):  # the speed-up of one setup, whatever the table is timed with
            key, setup = "speedup", int(key.removeprefix(ELSEWHERE))
        chosen = self.by_setup[setup] if self.by_setup else {}
        return chosen.get(key) or self.fixed.get(key) or Entry()


#: What stands beside the numbers of a compiled INT8 network in an eager setup.
COMPILED_MARK = "compiled"


def rivals(board: Board) -> tuple[str, ...]:
    """The controls that rows of a board are judged against."""
    return tuple(dict.fromkeys(row.verdicts[1].rival for row in board.rows if len(row.verdicts) > 1))


def lines(board: Board) -> tuple[Line, ...]:
    """The texts of a board's rows."""
    several = len(rivals(board)) > 1
    return tuple(_line(row, board, several) for row in board.rows)


def _line(row: Row, board: Board, several: bool) -> Line:
    fixed = {name: _quality(QUALITY[name], row) for name in row.metrics if name in QUALITY}
    if board.headline.name in row.metrics:  # of a task whose file is not here, QUALITY lacks it
        fixed[board.headline.name] = _quality(board.headline, row)
    if row.change is not None:
        fixed["change"] = _change(board.headline, row.change, row.verdicts[0], row.mean(f"dense_{board.headline.name}"))
    if len(row.verdicts) > 1:
        fixed["control"] = _control(board.headline, row.verdicts[1], several)
    fixed |= {"parameters_left": _left(row, "nonzero_parameters"), "macs_left": _left(row, "macs")}
    promised, packed = row.reduction("macs"), row.mean("size_bytes_compressed")
    fixed["promised"] = Entry(times(promised), "", promised, {"promised": promised})
    names = ("size_bytes_compressed", "size_bytes", "dense_size_bytes_compressed", "dense_size_bytes")
    fixed["size_bytes_compressed"] = Entry(
        size(packed), _sub("plain", size(row.mean("size_bytes"))), packed, {name: row.mean(name) for name in names}
    )
    return Line(row, badges(row), fixed, tuple(_costs(row, setup) for setup in board.setups))


def _quality(metric: Metric, row: Row) -> Entry:
    found, name = row.metrics[metric.name], metric.name
    deviation = "" if found.deviation is None else f"± {metric_text(metric, found.deviation)}"
    data = {name: found.mean, f"{name}_deviation": found.deviation, f"dense_{name}": row.mean(f"dense_{name}")}
    return Entry(metric_text(metric, found.mean), deviation, found.mean, data)


def _change(metric: Metric, found: Spread, verdict: Verdict, dense: float | None) -> Entry:
    deviation = "" if found.deviation is None else f"± {metric_text(metric, found.deviation)}"
    share = "" if metric.kind == "percent" else relative(found.mean, dense)
    words = ", ".join(word for word in (deviation, share, verdict_text(verdict)) if word)
    data = {"change": found.mean, "change_deviation": found.deviation, **_ends("change", metric, verdict)}
    return Entry(difference_text(metric, found.mean), words, found.mean, data)


def _ends(name: str, metric: Metric, verdict: Verdict) -> dict[str, float | None]:
    """Both ends of a verdict's interval, signed as the metric is: of a loss, above 0 is worse."""
    low, high = verdict.low, verdict.high
    if low is not None and high is not None and not metric.higher_is_better:
        low, high = -high, -low
    return {f"{name}_low": low, f"{name}_high": high}


def _control(metric: Metric, verdict: Verdict, several: bool) -> Entry:
    sign = 1 if metric.higher_is_better else -1
    difference = sign * verdict.difference
    data = {"control": difference, **_ends("control", metric, verdict), "control_rival": verdict.rival}
    words = f"{verdict_text(verdict)}, {verdict.rival}" if several else verdict_text(verdict)
    return Entry(difference_text(metric, difference), words, difference, data)


def verdict_text(verdict: Verdict) -> str:
    """A verdict in a word, or why there is none: `better`, `one seed: no verdict`."""
    if verdict.outcome != "no verdict":
        return verdict.outcome
    return f"{prose.seeds_said(verdict.seeds)}: no verdict"


def _left(row: Row, name: str) -> Entry:
    own, dense = row.mean(name), row.mean(f"dense_{name}")
    if name == "nonzero_parameters" and dense is None:
        dense = row.mean("dense_parameters")
    data = {name: own, f"dense_{name}": dense}
    if own is None or not dense:
        return Entry(NOTHING, count(own) if own is not None else "", None, data)
    return Entry(percent(own / dense, 1), count(own), own / dense, data)


def _sub(word: str, text: str) -> str:
    return "" if text == NOTHING else f"{word} {text}"


def _costs(row: Row, setup: Setup) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    measurement = row.speeds.get(setup)
    if measurement is not None:
        found |= _speed(measurement)
    memory = row.memory_at(setup)
    if memory is not None:
        found["peak_bytes"] = _peak(memory, "peak_bytes", size)
    energy = row.energy_at(setup)
    if energy is not None:
        found["joules"] = _peak(energy, "joules", joules)
    return found


def _speed(measurement: Measurement) -> dict[str, Entry]:
    """What one measurement says of speed; of one that failed, why, and no number."""
    speedup, seconds = measurement.metric("speedup"), measurement.metric("compressed_seconds")
    if speedup is None:
        return {"speedup": _why_not(measurement)} if measurement.failure else {}
    interval = measurement.interval
    low, high = interval or (None, None)
    ends = "no interval" if interval is None else f"{interval[0]:.2f}\u2013{interval[1]:.2f}"
    words = " ".join([ends, *caveats(measurement)])
    if measurement.over_eager:
        within = measurement.record.metrics.get("speedup")
        words += "" if within is None else f"; {times(within)} over compiled dense"
    mark = COMPILED_MARK if measurement.over_eager else ""
    dense = _sub(f"dense{', eager' if measurement.over_eager else ''}", duration(measurement.metric("dense_seconds")))
    data = {
        "speedup": speedup, "speedup_low": low, "speedup_high": high, "contended": measurement.contended,
        "over_eager": measurement.over_eager,
        "speedup_over_compiled": measurement.record.metrics.get("speedup") if measurement.over_eager else None,
    }  # fmt: skip
    times_ = {"compressed_seconds": seconds, "dense_seconds": measurement.metric("dense_seconds")}
    return {
        "rank": _rank(measurement),
        "speedup": Entry(times(speedup), words, speedup, data, mark),
        "compressed_seconds": Entry(duration(seconds), dense, seconds, times_, mark),
    }


def _rank(measurement: Measurement) -> Entry:
    """The rank, and below it the places that the intervals leave open: `2`, `2 to 5 of 12`."""
    rank, worst = measurement.rank, measurement.worst
    if rank is None or worst is None:
        return Entry()
    places = f"{rank} to {worst}" if worst > rank else "alone"
    return Entry(
        str(rank), f"{places} of {measurement.entrants}", rank, {"speed_rank": rank, "speed_rank_worst": worst}
    )


def _why_not(measurement: Measurement) -> Entry:
    """No number, and why: as much of it as a narrow column takes, the cell's page has the rest."""
    return Entry(NOTHING, textwrap.shorten(measurement.failure or "", LONGEST_REASON, placeholder=" \u2026"))


def _peak(cost: Measurement, name: str, spelled: Callable[[float | None], str]) -> Entry:
    """Peak memory or energy; of a measurement that failed, why, and no number."""
    own, other = cost.metric(name), cost.metric(f"dense_{name}")
    if own is None:
        return _why_not(cost)
    dense = _sub(f"dense{', compiled' if cost.over_eager else ''}", spelled(other))
    words = "; ".join(word for word in (dense, *caveats(cost)) if word)
    mark = COMPILED_MARK if cost.over_eager else ""
    return Entry(spelled(own), words, own, {name: own, f"dense_{name}": other}, mark)


def caveats(measurement: Measurement) -> tuple[str, ...]:
    """Why a measurement is to be read with care, in a word or two each: its state, then its record's own caveats."""
    state = () if measurement.state == "ok" else (measurement.state,)
    return (*state, *setups.caveats(measurement.record))


def badges(row: Row) -> tuple[tuple[str, str], ...]:
    """(kind, text) of each mark that a row bears."""
    found: list[tuple[str, str]] = []
    if row.state != "ok":
        word = row.records[0].status if row.state == "failed" and row.records else row.state
        found.append((row.state, word if word != "error" else "failed"))
    if row.speeds and all(m.contended for m in row.speeds.values()):
        found.append(("contended", "contended"))
    if any(record.notes.get("simulated") for record in (*row.records, *(m.record for m in row.speeds.values()))):
        found.append(("simulated", "simulated"))
    if row.state == "ok" and row.owed:
        found.append(("owed", "incomplete"))
    return tuple(found)
