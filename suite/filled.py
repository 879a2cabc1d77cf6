"""What a study's comparison is made of: each place of a table, figure or sentence, and what came out for it. Data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suite.rows import FEWEST_SEEDS, Verdict
from suite.setups import State
from suite.stats import half_width_of_mean
from suite.studies import Figure, Finding, Line, Number, Series, Study, Table, Target
from suite.tasks import PROFILES


@dataclass(frozen=True)
class Found:
    """What a quantity came out as. `value` is there where the state is ok or stale, else `reason` says what is wrong.

    `low` and `high` are a speed-up's interval, `deviation` the standard deviation over several seeds; `caveats` are
    why a cost is to be read with care. `command` measures it, or measures it again; `cells` are the keys of the cells
    whose records were read.
    """

    state: State
    command: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    seeds: int = 0
    profile: str | None = None
    machine: str | None = None
    reason: str | None = None
    cells: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Is it fresh, and no busy machine's and no simulation's?"""
        return self.state == "ok" and not {"contended", "simulated"} & set(self.caveats)


@dataclass(frozen=True)
class FilledNumber:
    """A place of a table beside what answers it; `found` is None where nothing does.

    `difference` is ours less the source's, `relative` the same as a share of the source's.
    """

    number: Number
    found: Found | None

    @property
    def is_cost(self) -> bool:
        """Is it a number that depends on the machine?"""
        return self.number.by is not None and self.number.by.kind != "accuracy"

    @property
    def difference(self) -> float | None:
        value = None if self.found is None else self.found.value
        return None if value is None or self.number.reported is None else value - self.number.reported

    @property
    def relative(self) -> float | None:
        difference, reported = self.difference, self.number.reported
        return None if difference is None or not reported else difference / abs(reported)


@dataclass(frozen=True)
class FilledTable:
    """A table's lines, each with its numbers filled in, column by column.

    `seeds` are those that its means are over, where some of its numbers have more of them and some have not; `drift`
    says in words how far the dense network's own time moved between its times.
    """

    table: Table
    lines: tuple[tuple[Line, tuple[FilledNumber, ...]], ...]
    seeds: tuple[int, ...] = ()
    drift: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """The table's own, over which seeds its means are, where others on the page are over more, and the drift."""
        found = self.table.notes
        if self.seeds:
            told = ", ".join(map(str, self.seeds))
            several = "" if len(self.seeds) == 1 else "s"
            found += (f"Over seed{several} {told} alone, which all numbers of this table have.",)
        return (*found, self.drift) if self.drift else found

    @property
    def mixes_machines(self) -> bool:
        """Are its costs of more than one machine? Then each place must say which."""
        places = [place for _, places in self.lines for place in places if place.is_cost and place.found is not None]
        return len({place.found.machine for place in places if place.found and place.found.value is not None}) > 1


@dataclass(frozen=True)
class FilledSeries:
    """A curve of the source beside ours: `points` are (x, y) that were measured, `found` what each of them, or the
    whole logged curve, came from. `untrained` of its points are left out: no epoch was spent there. `breaks` are the
    numbers of the points before which some are, `restarts` which restart each point of a logged curve is, 0 for none.
    """

    series: Series
    points: tuple[tuple[float, float], ...]
    found: tuple[Found, ...]
    untrained: int = 0
    breaks: tuple[int, ...] = ()
    restarts: tuple[int, ...] = ()


@dataclass(frozen=True)
class FilledFigure:
    """A figure's curves, filled in."""

    figure: Figure
    series: tuple[FilledSeries, ...]


@dataclass(frozen=True)
class FilledTarget:
    """A target and what it came to, and what `than` did; `apart` is the two's difference, paired by seed.

    `apart` is None where no seed has both.
    """

    target: Target
    found: Found
    than: Found | None = None
    apart: Verdict | None = None

    @property
    def value(self) -> float | None:
        """What the bound is on: the quantity, or its difference from the other."""
        if self.than is None:
            return self.found.value
        return None if self.apart is None else self.apart.difference

    @property
    def seeds(self) -> int:
        """How many the value is a mean over."""
        if self.than is None:
            return self.found.seeds
        return 0 if self.apart is None else self.apart.seeds

    @property
    def fewest(self) -> int:
        """How many seeds it takes: a cost is of one."""
        return FEWEST_SEEDS if self.target.by.kind == "accuracy" else 1

    @property
    def is_full(self) -> bool:
        """Was everything that it asks for measured with the full profile and today's code?"""
        read = [self.found] if self.than is None else [self.found, self.than]
        return all(each.value is not None and each.comparable and each.profile == PROFILES[-1] for each in read)

    @property
    def ends(self) -> tuple[float, float] | None:
        """Between what the value lies with 95 %: a paired difference, a mean over seeds, a cost; else the value."""
        if self.apart is not None and self.apart.low is not None and self.apart.high is not None:
            return self.apart.low, self.apart.high
        if self.value is None:
            return None
        if self.than is None and self.found.low is not None and self.found.high is not None:
            return self.found.low, self.found.high
        deviation = self.found.deviation if self.than is None else None
        half = half_width_of_mean(deviation, self.seeds) if deviation and self.seeds > 1 else 0.0
        return self.value - half, self.value + half

    @property
    def met(self) -> bool | None:
        """Is the whole interval within the bound, or all of it outside (False)? None until enough is there to say."""
        if self.ends is None or not self.is_full or self.seeds < self.fewest:
            return None
        least, most = self.target.at_least, self.target.at_most
        low, high = self.ends
        if (least is None or low >= least) and (most is None or high <= most):
            return True
        outside = (least is not None and high < least) or (most is not None and low > most)
        return False if outside else None


@dataclass(frozen=True)
class FilledFinding:
    """A finding with what its numbers came out as."""

    finding: Finding
    found: Mapping[str, Found]

    @property
    def holds(self) -> bool:
        """Are the numbers those of the results over which the words were written?"""
        return all(each.comparable and each.profile == self.finding.profile for each in self.found.values())

    @property
    def seeds(self) -> int:
        """Of the accuracy that has the fewest; 0 where only costs are told."""
        asked = self.finding.by
        return min((each.seeds for name, each in self.found.items() if asked[name][1].kind == "accuracy"), default=0)

    @property
    def machines(self) -> tuple[str, ...]:
        """Where its costs were measured."""
        asked = self.finding.by
        costs = [each for name, each in self.found.items() if asked[name][1].kind != "accuracy"]
        return tuple(dict.fromkeys(each.machine for each in costs if each.machine))

    @property
    def caveats(self) -> tuple[str, ...]:
        """Why its costs are to be read with care."""
        return tuple(dict.fromkeys(word for each in self.found.values() for word in each.caveats))


@dataclass(frozen=True)
class Comparison:
    """A study with everything that was measured for it."""

    study: Study
    tables: tuple[FilledTable, ...]
    figures: tuple[FilledFigure, ...]
    targets: tuple[FilledTarget, ...]
    findings: tuple[FilledFinding, ...] = ()
    others: tuple[Found, ...] = ()

    @property
    def found(self) -> tuple[Found, ...]:
        """Every measurement that the study asks for; what answers several of its numbers stands here as often."""
        places = [p.found for t in self.tables for _, numbers in t.lines for p in numbers if p.found is not None]
        curves = [found for figure in self.figures for series in figure.series for found in series.found]
        aims = [found for each in self.targets for found in (each.found, each.than) if found is not None]
        return (*places, *curves, *aims, *self.others)

    @property
    def owed(self) -> tuple[str, ...]:
        """The commands that would measure what is missing, stale or failed, none twice."""
        return tuple(dict.fromkeys(each.command for each in self.found if each.state not in ("ok", "unsupported")))
