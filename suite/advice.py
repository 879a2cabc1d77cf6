"""The engineer's question: on this machine, losing at most so much, which network is fastest? Pure: no file is read.

Only what is certain counts: a speed-up is taken at the lower end of its interval, lessened by its noise floor, and must
then be at least WORTH. Stale, failed and contended rows never advise.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite import pages, plan, prose, registry, rows, tables
from suite.charts import Looks
from suite.leaderboard import CONTROL, Board, Leaderboard
from suite.rows import Row
from suite.setups import Setup, doubts
from suite.winners import (
    CLOSE_POINTS,
    CLOSE_SHARE,
    ROUNDING,
    WORTH,
    certain_speedup,
    gain,
    lost,
    tolerance_scale,
    too_brief,
)

#: What the page answers without a script. One point of an accuracy weighs as much as 5 % of a loss.
TOLERANCES = (0.0, 0.005, 0.01, 0.02, 0.05)
#: The largest loss that can be asked for: 10 points, or a loss half as large again as dense's.
MOST = 0.1
#: Machines that a page without scripts answers for; the shard has all.
STATIC_MACHINES = 3
#: Families of methods whose networks do less work, or do it in integers.
STRUCTURED, QUANTIZED = "structured pruning", "quantization"
#: Of those that prune structures, the one to begin with.
PLAINEST = "structured"


@dataclass(frozen=True)
class Step:
    """The fastest row that loses at most `lost`: below that, the step before is the best there is.

    `lost` is in points of an accuracy as a fraction, below 0 where it is better than dense; a loss counts CLOSE_POINTS
    for each CLOSE_SHARE of dense. `worst` is the far end of its 95 % interval, None below three seeds. `at_least` is
    what is certain of `speedup`, `doubts` what to know beside it. `compiled_speedup`, of an INT8 network that is
    compared with eager dense, is that over the compiled dense one.
    """

    row: Row
    lost: float
    worst: float | None
    speedup: float
    at_least: float
    over_eager: bool
    compiled_speedup: float | None = None
    doubts: str = ""

    @property
    def smaller(self) -> float | None:
        """Dense over compressed file size, both zipped."""
        return self.row.reduction("size_bytes_compressed")

    @property
    def is_control(self) -> bool:
        return CONTROL in self.row.family


def steps(board: Board, setup: Setup) -> tuple[Step, ...]:
    """The rows that no other one beats in both loss and certain speed-up, in order of rising loss."""
    found = [step for row in board.rows if (step := certain(row, board, setup)) is not None and step.lost <= MOST]
    kept: list[Step] = []
    for step in sorted(found, key=lambda each: (each.lost, -each.at_least)):
        if not kept or step.at_least > kept[-1].at_least:
            kept.append(step)
    return tuple(kept)


def certain(row: Row, board: Board, setup: Setup) -> Step | None:
    """A row that is certainly faster than dense in `setup`, and by enough to matter; None for all others."""
    speedup, missed = gain(row, "speedup", setup), lost(row, board)
    if speedup is None or row.method == plan.DENSE or missed is None:
        return None
    measurement = row.speeds[setup]
    at_least = certain_speedup(row, setup)
    assert at_least is not None  # or there would be no gain
    if at_least < WORTH:
        return None
    scale = tolerance_scale(board) or 0.0
    against_dense = next((each for each in row.verdicts if each.rival == plan.DENSE), None)
    low = None if against_dense is None else against_dense.low
    within = measurement.record.metrics.get("speedup") if measurement.over_eager else None
    return Step(row, missed, None if low is None else -scale * low, speedup, at_least, measurement.over_eager, within,
                ", ".join(doubts(measurement.record)))  # fmt: skip


def best(found: Sequence[Step], tolerance: float) -> Step | None:
    """The fastest step that loses at most `tolerance`; None where nothing measured does that."""
    within = [step for step in found if step.lost <= tolerance + ROUNDING]
    return within[-1] if within else None


def commands(row: Row) -> tuple[str, ...]:
    """What makes the row's network and hands it over; none where this checkout cannot, or a text is not plain."""
    if not row.records:
        return ()
    first = row.records[0]
    run, export = (rows.command(verb, first, first.seed) for verb in ("run", "export"))
    if run is None or export is None:
        return ()
    name = shlex.quote(f"{row.task}-{row.method}.onnx")
    # a checkout that was cloned has the records, and so nothing to run, but no model
    return f"{run} --force", f"{export} --format onnx --out {name}"


def setups(boards: Iterable[Board]) -> tuple[Setup, ...]:
    """Where the engineer may run: what counts first, then by what a point buys there on real tasks, then by use.

    A task and its variants count once, by what buys most: three of a kind are no more to choose a machine by than one.
    """
    uses: Counter[Setup] = Counter()
    bought: dict[Setup, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for board in boards:
        for setup in board.setups:
            uses[setup] += sum(setup in row.speeds for row in board.rows)
            step = None if board.embedded else best(steps(board, setup), CLOSE_POINTS)
            if step is not None:
                kind = board.task.partition("+")[0]
                bought[setup][kind] = max(bought[setup][kind], math.log(step.at_least))
    return tuple(sorted(uses, key=lambda each: (not each.headline, -sum(bought[each].values()), -uses[each],
                                                each.machine)))  # fmt: skip


def boards(found: Leaderboard) -> tuple[Board, ...]:
    """The boards that may advise: each task's main one, the real tasks before their stand-ins."""
    chosen = [found.main_board(task) for task in found.tasks]
    return tuple(sorted(chosen, key=lambda board: board.embedded))


# --------------------------------------------------------------------------------------------------------------- texts


@dataclass(frozen=True)
class Case:
    """One board's answers in one setup, for tolerances that rise: (tolerance, answer); None where there is none.

    An answer that stands for several tolerances is given for the first of them alone.
    """

    board: Board
    setup: Setup
    answers: tuple[tuple[float, dict[str, Any] | None], ...]


def cases(board: Board, setup: Setup, looks: Looks) -> Case:
    """What a page answers of a board without a script."""
    found = steps(board, setup)
    told: list[tuple[float, Step | None]] = []
    for tolerance in TOLERANCES:
        step = best(found, tolerance)
        if step is not None and not any(each is step for _, each in told):
            told.append((tolerance, step))
    answers = [(tolerance, answer(step, board, looks)) for tolerance, step in told if step is not None]
    return Case(board, setup, tuple(answers) or ((TOLERANCES[-1], None),))


@dataclass(frozen=True)
class Question:
    """What the overview's advice is made of: where one may run, by machine, and what is answered without a script.

    `tables` are (setup, cases of real tasks, cases of stand-ins), one for the setup that counts of each machine.
    """

    setups: Mapping[str, tuple[Setup, ...]]
    tables: tuple[tuple[Setup, tuple[Case, ...], tuple[Case, ...]], ...]
    most: float = MOST


def question(found: Leaderboard, looks: Looks) -> Question:
    """The question as the overview puts it."""
    advising = boards(found)
    where = setups(advising)
    counting: dict[str, Setup] = {}
    for setup in where:
        counting.setdefault(setup.machine, setup)
    chosen = list(counting.values())[:STATIC_MACHINES]
    made = []
    for setup in chosen:
        told = [cases(board, setup, looks) for board in advising if setup in board.setups]
        made.append((setup, tuple(case for case in told if not case.board.embedded),
                     tuple(case for case in told if case.board.embedded)))  # fmt: skip
    return Question({machine: tuple(each for each in where if each.machine == machine) for machine in counting},
                    tuple(made))  # fmt: skip


def lost_text(tolerance: float, board: Board) -> str:
    """A tolerance in the board's own unit: `1 point`, `5 % of the loss`."""
    if board.headline.kind == "percent":
        return f"{100 * tolerance:g} point{'' if tolerance == CLOSE_POINTS else 's'}"
    return f"{100 * tolerance * CLOSE_SHARE / CLOSE_POINTS:g} % of the {board.headline.label.lower()}"


def answer(step: Step, board: Board, looks: Looks) -> dict[str, Any]:
    """A step in words, for a template and for advice.js alike."""
    row, change = step.row, step.row.change
    assert change is not None  # or it would be no step
    points = " points" if board.headline.kind == "percent" else ""
    less = tables.relative(change.mean, board.dense.get(board.headline.name)) if not points else ""
    return {
        "lost": step.lost,
        "method": row.method,
        "page": pages.page_name("method", row.method),
        "mark": pages.mark(row.method, board, looks),
        "setting": row.setting or "as it is",
        "cell": row.id,
        "control": step.is_control,
        "speedup": tables.times(step.speedup),
        "how": " compiled" if step.over_eager else "",
        "at_least": f"at least {tables.times(step.at_least)}{_within(step)}",
        "care": step.doubts,
        "compiled": step.over_eager,
        "smaller": tables.times(step.smaller),
        "file": f"{tables.size(row.mean('size_bytes_compressed'))}; plain {tables.size(row.mean('size_bytes'))}",
        "change": f"{tables.difference_text(board.headline, change.mean)}{points}",
        "doubt": ", ".join(word for word in (less, doubt(step, board)) if word),
        "commands": list(commands(row)),
    }


def _within(step: Step) -> str:
    """What of an INT8 network's speed-up compiling the dense one would not give: over eager dense alone it flatters."""
    own = step.compiled_speedup
    return "" if own is None else f"; {tables.times(own)} over compiled dense"


def doubt(step: Step, board: Board) -> str:
    """How far the loss itself is to be trusted."""
    brief = too_brief(step.row, board)
    if brief is not None:
        return brief
    if step.worst is None:
        seeds = step.row.change.seeds if step.row.change else 0
        return f"{prose.seeds_said(seeds)}: uncertain"
    if step.worst <= 0:
        return "no loss within its interval"
    return f"may be as much as {lost_text(round(step.worst, 4), board)}"


def shard(found: Leaderboard, looks: Looks) -> dict[str, Any]:
    """What advice.js reads: for each setup and board the steps in words, rising in loss."""
    advising = boards(found)
    where = setups(advising)
    return {
        "setups": [tables.setup_text(setup) for setup in where],
        "boards": [
            {
                "title": board.title,
                "page": pages.page_name("task", board.task),
                "profile": board.profile,
                "embedded": board.embedded,
                "unit": [100, "point"] if board.headline.kind == "percent" else
                        [100 * CLOSE_SHARE / CLOSE_POINTS, f"% of the {board.headline.label.lower()}"],
                "steps": [[answer(step, board, looks) for step in steps(board, setup)] for setup in where],
                "timed": [setup in board.setups for setup in where],
                "unmeasured": unmeasured(board),
                "needs": needs(board),
            }
            for board in advising
        ],
    }  # fmt: skip


def unmeasured(board: Board) -> str:
    """Why no speed-up that is certain is there, before the command that `needs` gives."""
    made, may_be_faster = _made(board)
    if made and not may_be_faster:
        return "Only zeros were tried on this network, and zeros alone make nothing faster. What may:"
    if any(each.comparable for row in may_be_faster for each in row.speeds.values()):
        return "Where a compressed network was timed, none is certainly 2 % faster than dense. To time one here:"
    return "No speed-up of a compressed network was measured here. To measure it:"


def _made(board: Board) -> tuple[list[Row], list[Row]]:
    """The compressed rows that are there, best first, and of these those that do less work: fewer MACs, or INT8."""
    made = [row for row in board.rows if row.state == "ok" and row.method != plan.DENSE and row.records]
    return made, [row for row in made if row.family == QUANTIZED or (row.reduction("macs") or 2) > 1]


def needs(board: Board) -> str:
    """The command that would measure a board's speed: of its best row that may be faster than dense and is there, where
    a busy machine measured some the best of those.
    """
    again = " --force" if board.contended else ""  # what a busy machine measured is fresh
    made, may_be_faster = _made(board)
    for row in sorted(may_be_faster, key=lambda row: not any(each.contended for each in row.speeds.values())):
        command = rows.command("bench", row.records[0], row.records[0].seed)
        if command is not None:
            return f"{command}{again}"
    if made:  # and none of it does less work
        less = [each.name for each in registry.catalogue().methods.values() if each.family == STRUCTURED]
        for method in sorted(less, key=lambda name: name != PLAINEST)[:1]:
            asked = f"--task {board.task} --method {method} --points first --profile {board.profile}"
            return f"python -m suite bench {asked}"
    return f"nox -s bench-cpu -- --task {board.task} --profile {board.profile}{again}"
