"""What stands out on a board: how much less a row costs than dense, what it loses, the front, the winners. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from suite import plan, setups
from suite.leaderboard import Board
from suite.rows import Row
from suite.setups import Setup
from suite.tasks import PROFILES

#: "As good as dense" on the overview: one point of an accuracy, or 5 % of any other metric.
CLOSE_POINTS, CLOSE_SHARE = 0.01, 0.05
#: What a tolerance of exactly the loss must not fail by: the rounding of a difference.
ROUNDING = 1e-9
#: The smallest certain speed-up that is worth a loss, and the trouble.
WORTH = 1.02

#: What a board's best rows are best in, and the axis that says so.
QUESTIONS = {"Fastest": "speedup", "Smallest file, zipped": "size_bytes_compressed", "Fewest MACs": "macs"}


@dataclass(frozen=True)
class Winner:
    """The best row of a board in one respect; `row` is None where no row qualifies.

    `interval` is a measured speed-up's. `over_eager`: an INT8 network, compiled, whose speed-up is over the eager dense
    one. `doubts` are what to know before believing it, in a few words each.
    """

    question: str
    row: Row | None
    value: float | None
    over_eager: bool = False
    interval: tuple[float, float] | None = None
    doubts: tuple[str, ...] = ()


def gain(row: Row, axis: str, setup: Setup | None) -> float | None:
    """How many times less `row` costs than dense: its measured `speedup` in `setup`, else dense over own of a metric.

    None for what may not be compared: stale, failed, contended or not measured. Dense itself is 1 by definition.
    """
    if row.state != "ok":
        return None
    if row.method == plan.DENSE:
        return 1.0
    if axis != "speedup":
        return row.reduction(axis)
    measurement = row.speeds.get(setup) if setup is not None else None
    if measurement is None or not measurement.comparable or measurement.interval is None:
        return None
    return measurement.metric("speedup")


@dataclass(frozen=True)
class _Place:
    """Where a row stands: its score, more is better, and between which ends its gain lies, with its noise floor."""

    row: Row
    score: float
    gain: float
    low: float
    high: float
    floor: float

    def beats(self, other: _Place) -> bool:
        """Is it certainly ahead of a row that is no better? One that is worse is beaten by an equal gain too."""
        bound = other.high * (1 + max(self.floor, other.floor))
        return self.low > bound or (self.low == bound and self.score > other.score)


def front(board: Board, axis: str, setup: Setup | None = None) -> tuple[Row, ...]:
    """The rows that no other one beats in both the headline metric and `axis`, in order of rising gain.

    A row is beaten by one at least as good that certainly gains more: of measured speed-ups the whole interval lies
    above the row's by more than the larger noise floor, dense being 1. A row that only seems slower is not beaten.
    """
    kept: list[_Place] = []
    furthest: dict[float, _Place] = {}  # by noise floor, of the rows so far: none of them is worse than what follows
    for place in sorted(_places(board, axis, setup), key=lambda each: (each.score, each.low), reverse=True):
        if not any(each.beats(place) for each in furthest.values()):
            kept.append(place)
        if place.floor not in furthest or place.low > furthest[place.floor].low:
            furthest[place.floor] = place
    return tuple(each.row for each in sorted(kept, key=lambda each: (each.gain, each.score)))


def _places(board: Board, axis: str, setup: Setup | None) -> Iterator[_Place]:
    """The rows of a board that have both a score and a gain."""
    for row in board.rows:
        x, y = gain(row, axis, setup), score(row, board)
        if x is None or y is None:
            continue
        is_timed = axis == "speedup" and row.method != plan.DENSE
        measured = row.speeds.get(setup) if is_timed and setup is not None else None
        low, high = (None if measured is None else measured.interval) or (x, x)
        yield _Place(row, y, x, low, high, 0.0 if measured is None else measured.floor)


def winners(board: Board) -> tuple[Winner, ...]:
    """The best rows among those about as good as dense, seed by seed: by measured speed-up, file size and MACs.

    A speed-up counts once its whole interval, widened by the noise floor, lies at WORTH or above: 1.01x within 3 % is
    no win. The fastest is the one whose lower end is.
    """
    close = [row for row in board.rows
             if (missed := lost(row, board)) is not None and missed <= CLOSE_POINTS + ROUNDING]  # fmt: skip
    setup = board.setups[0] if board.setups else None
    found = []
    for question, axis in QUESTIONS.items():
        gains = [(x, row) for row in close if (x := gain(row, axis, setup)) is not None and x > 1]
        if axis == "speedup" and setup is not None:
            gains = [(x, row) for x, row in gains if is_faster(row, setup)]
        value, row = max(gains, key=lambda pair: _at_least(pair, axis, setup), default=(None, None))
        measured = row.speeds[setup] if axis == "speedup" and row is not None and setup is not None else None
        timed = (False, None) if measured is None else (measured.over_eager, measured.interval)
        doubts = () if measured is None else setups.doubts(measured.record)
        brief = None if row is None else too_brief(row, board)
        found.append(Winner(question, row, value, *timed, (*doubts, *([brief] if brief else []))))
    return tuple(found)


def _at_least(gain_and_row: tuple[float, Row], axis: str, setup: Setup | None) -> float:
    """The gain itself, of a speed-up what is certain of it: what is largest by chance is not the fastest."""
    value, row = gain_and_row
    sure = certain_speedup(row, setup) if axis == "speedup" and setup is not None else None
    return value if sure is None else sure


def lost(row: Row, board: Board) -> float | None:
    """What a row loses against dense as a tolerance: points of an accuracy as a fraction, below 0 where it is better.

    A loss counts CLOSE_POINTS for each CLOSE_SHARE of dense. None where it was not compared with dense.
    """
    scale = tolerance_scale(board)
    sign = -1 if board.headline.higher_is_better else 1
    return None if row.change is None or scale is None else scale * sign * row.change.mean


def score(row: Row, board: Board) -> float | None:
    """How good a row is, more is better, dense being 0: less what it loses, its seeds paired with dense's own.

    Means over different seeds would tell the seeds apart: they count only where a row was not compared with dense.
    """
    mean, dense = row.mean(board.headline.name), board.dense.get(board.headline.name)
    if mean is None:
        return None
    missed = 0.0 if row.method == plan.DENSE and dense is not None else lost(row, board)
    if missed is not None:
        return -missed
    sign = 1 if board.headline.higher_is_better else -1
    return (tolerance_scale(board) or 1.0) * sign * (mean - (dense or 0.0))


def tolerance_scale(board: Board) -> float | None:
    """What a difference of the headline metric is multiplied by to be a tolerance; None where there is no dense."""
    if board.headline.kind == "percent":
        return 1.0
    dense = board.dense.get(board.headline.name)
    return CLOSE_POINTS / CLOSE_SHARE / abs(dense) if dense else None


def too_brief(row: Row, board: Board) -> str | None:
    """Why a row's gain over dense is none: a short profile trained dense less than what started from it."""
    missed = lost(row, board)
    if missed is None or missed >= -CLOSE_POINTS or board.profile == PROFILES[-1]:
        return None
    return f"far better than dense, which {board.profile} trains too briefly to be the measure"


def nearest(board: Board) -> Row | None:
    """The row that loses least, of those that cost less than dense in some respect."""
    setup = board.setups[0] if board.setups else None
    scores = [
        (own, row)
        for row in board.rows
        if row.method != plan.DENSE and (own := score(row, board)) is not None
        and any((gain(row, axis, setup) or 0) > 1 for axis in QUESTIONS.values())
    ]  # fmt: skip
    return max(scores, key=lambda pair: pair[0], default=(0.0, None))[1]


def is_faster(row: Row, setup: Setup) -> bool:
    """Is a row that was timed in `setup` certainly faster than dense, by enough to matter?"""
    sure = certain_speedup(row, setup)
    return sure is not None and sure >= WORTH


def certain_speedup(row: Row, setup: Setup) -> float | None:
    """The lower end of a row's speed-up in `setup`, lessened by its noise floor; None where it has no interval."""
    measured = row.speeds[setup]
    return None if measured.interval is None else measured.interval[0] / (1 + measured.floor)
