"""Where and how a cost was measured, and in which setup each measurement is shown. Pure: no torch, no file.

A quantized network runs on INT8 kernels only once it is compiled, and all others are timed eager. So that the two can
be compared, an INT8 row stands in two setups: in the compiled one, against the compiled dense network; and in the eager
one of the same machine, batch and threads, against the eager dense network, where pages mark it as compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from suite import stats
from suite.records import Record, Scalar

State = Literal["ok", "stale", "failed", "unsupported", "missing"]
STATES: tuple[State, ...] = ("ok", "stale", "failed", "unsupported", "missing")

#: The caveat of a speed-up whose interval is wider than measuring aims at.
NOT_CONVERGED = "not converged"
EAGER, COMPILED, INT8, FP32 = "eager", "compile", "int8", "fp32"
#: What a latency record calls a quantity that is against the eager dense network instead of the compiled one.
OVER_EAGER = {
    "speedup": "speedup_over_eager",
    "speedup_low": "speedup_over_eager_low",
    "speedup_high": "speedup_over_eager_high",
    "dense_seconds": "dense_eager_seconds",
}


@dataclass(frozen=True)
class Setup:
    """Where and under which conditions a cost was measured; rows are compared and ranked within one setup only."""

    machine: str
    device: str
    conditions: tuple[tuple[str, Scalar], ...]

    def __getitem__(self, name: str) -> Scalar:
        return next((value for each, value in self.conditions if each == name), None)

    def changed(self, **conditions: Scalar) -> Setup:
        """The same setup under other conditions."""
        return replace(self, conditions=tuple(sorted((dict(self.conditions) | conditions).items())))

    @property
    def headline(self) -> bool:
        """Is it the one that counts: batch 1, one thread, hot caches, eager, float32, on CUDA the time on the wall?"""
        exact = (self["batch_size"], self["cache"], self["backend"]) == (1, "hot", EAGER)
        plain = self["timing"] in ("wall", None) and self["precision"] in (FP32, "float32", None)
        return exact and plain and self["threads"] in (1, None)

    @property
    def is_int8(self) -> bool:
        return self["precision"] == INT8


def setup_of(record: Record) -> Setup:
    """The setup of a record that has conditions."""
    return Setup(record.machine, record.device, tuple(sorted((record.conditions or {}).items())))


def caveats(record: Record) -> tuple[str, ...]:
    """Why a cost record is to be read with care, in a word or two each."""
    found = ["contended"] if record.notes.get("contended") else []
    if record.metrics.get("converged") in (False, 0) or _is_wide(record):
        found.append(NOT_CONVERGED)
    if record.notes.get("weights") == "random":
        found.append("random weights")
    if record.notes.get("simulated"):
        found.append("simulated")
    return tuple(found)


def doubts(record: Record) -> tuple[str, ...]:
    """What to know beside a speed-up's interval: how few pairs it is of, where they are few, and its caveats."""
    pairs = record.metrics.get("pairs")
    few = () if pairs is None or pairs >= stats.FEWEST_PAIRS else (f"{pairs:.0f} pairs",)
    return (*few, *caveats(record))


def _is_wide(record: Record) -> bool:
    """Is a speed-up's interval wider than measuring aims at, whatever the pilot promised?"""
    middle, low, high = (record.metrics.get(name) for name in ("speedup", "speedup_low", "speedup_high"))
    return bool(middle and low and high and stats.Interval(middle, low, high).half_width > stats.CONVERGED)


@dataclass(frozen=True)
class Measurement:
    """A cost record that counts, or the nearest there is. `rank` is None where it is not ranked.

    `worst` is the place that it cannot be below, `entrants` how many are ranked with it: between `rank` and `worst`
    the intervals, widened by the noise floor, do not tell.
    `floor` is the noise floor that it is judged by, as a fraction, 0 where none was measured.
    `over_eager`: it stands in an eager setup, though its own network was compiled; times and speed-ups are then
    against the eager dense network.
    """

    record: Record
    state: State
    rank: int | None = None
    worst: int | None = None
    entrants: int = 0
    floor: float = 0.0
    over_eager: bool = False

    @property
    def contended(self) -> bool:
        return bool(self.record.notes.get("contended"))

    @property
    def simulated(self) -> bool:
        """Did floats stand in for what the numbers are about? Then they say nothing of it."""
        return bool(self.record.notes.get("simulated"))

    @property
    def comparable(self) -> bool:
        return self.state == "ok" and not self.contended and not self.simulated

    def metric(self, name: str) -> float | None:
        """A metric as its setup reads it: None where it was not measured."""
        return self.record.metrics.get(OVER_EAGER.get(name, name) if self.over_eager else name)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of the speed-up's interval; None where it or one of them was not measured: that is not ranked."""
        middle, low, high = (self.metric(name) for name in ("speedup", "speedup_low", "speedup_high"))
        return None if middle is None or low is None or high is None else (low, high)

    @property
    def failure(self) -> str | None:
        """Why there is no number, in the words of the record; None where there is one."""
        if self.record.status == "ok":
            return None
        return f"{self.record.status}: {self.record.reason or 'no reason given'}"


# ------------------------------------------------------------------------------------------------ INT8 beside float32


def hosts(setup: Setup, known: Iterable[Setup]) -> tuple[Setup, ...]:
    """The float32 setups among `known` in which an INT8 measurement is shown; none: it needs a setup of its own."""
    if not setup.is_int8:
        return ()
    wanted = [setup.changed(precision=FP32)]
    if setup["backend"] == COMPILED:
        wanted.append(setup.changed(precision=FP32, backend=EAGER))
    return tuple(each for each in known if each in wanted)


def placed(found: Mapping[Setup, Measurement], known: Iterable[Setup]) -> dict[Setup, Measurement]:
    """A row's measurements by the setup they are shown in: each INT8 one in its hosts, if it has any among `known`.

    Where the row was measured in the host itself too, what has a number stands, the host's own first.
    """
    known = tuple(known)
    done = {setup: each for setup, each in found.items() if not hosts(setup, known)}
    for setup, each in found.items():
        for host in hosts(setup, known):
            if host not in done or (done[host].state != "ok" and each.state == "ok"):
                done[host] = replace(each, over_eager=setup["backend"] != host["backend"])
    return done


def cost_beside(found: Mapping[Setup, Measurement], setup: Setup) -> Measurement | None:
    """The memory or energy beside a latency setup: same machine, device, batch and backend, same threads if any.

    Of an INT8 network beside an eager setup it is that of the compiled one.
    """

    def closeness(own: Setup) -> tuple[bool, ...] | None:
        wanted = (setup.machine, setup.device, setup["batch_size"])
        if (own.machine, own.device, own["batch_size"]) != wanted:
            return None
        same = (own["backend"], own["precision"]) == (setup["backend"], setup["precision"])
        stands_in = own.is_int8 and setup["backend"] in (own["backend"], EAGER if own["backend"] == COMPILED else None)
        if not (same or stands_in):
            return None
        return (found[own].state == "ok", same, own["threads"] == setup["threads"])

    fitting = {own: near for own in found if (near := closeness(own)) is not None}
    if not fitting:
        return None
    own = max(fitting, key=lambda each: fitting[each])
    return replace(found[own], over_eager=own["backend"] != setup["backend"])
