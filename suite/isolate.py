"""Cells in processes of their own, so many at a time: what becomes of one of them is no matter to the others."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite import child, datafiles, discovery, invocation, machine, modelfiles, registry
from suite.child import Child, ChildFailed
from suite.claims import Claims, News
from suite.errors import DataError, RecordError, SuiteError, TaskError
from suite.invocation import Places, Provenance
from suite.plan import DENSE, Cell
from suite.progress import Progress, Relay, Replay
from suite.records import Record
from suite.registry import BASE

#: Seconds that a cell, or the training of a dense model, may take unless `--timeout` says otherwise: ten times and more
#: what the longest honest one was seen or is planned to take (quick: an hour, full: two days on two cores).
LIMITS: Mapping[str, float] = {"smoke": 3600, "quick": 24 * 3600, "full": 28 * 24 * 3600}
#: How often a run looks whether another one has ended what it waits for.
SECONDS_BETWEEN_LOOKS = 1.0
#: What cells of a data set or of a family of methods import, slowly: once, before they are forked.
IMPORTED: Mapping[str, str] = {
    "digits": "sklearn.datasets",
    "structured pruning": "torch_pruning",
    "quantization": "torchao.quantization.pt2e",
}

#: What torch imports at the first optimizer and at the first count of MACs, 800 modules: 3.5 s of CPU in every child.
NEEDED = ("suite.isolate", "suite.run", "torch._dynamo")

discovery.quiet_torchao()  # here, because the children's server imports this file, and torchao after it

#: Fields of a record that a cell knows before anything can fail: `run.origin_of`.
KNOWN = ("data_source", "data_sha256", "recipe")


@dataclass(frozen=True, eq=False)  # one is the key of its process
class Step:
    """One process's work: a cell, or the dense model alone that cells start from, which makes no record."""

    cell: Cell
    trains_only: bool = False


@dataclass(frozen=True)
class Work:
    """What a child is told: its step, where things lie, and its threads (None: as many as torch takes)."""

    step: Step
    places: Places
    device: str
    origin: Provenance
    threads: int | None


@dataclass(frozen=True)
class Halt:
    """What is wrong with the machine, the data or the task's own file: no fault of the cell, so there is no record."""

    error: SuiteError


@dataclass
class Running:
    """A child at work; `known` are the fields of its record that it knew before anything could fail."""

    child: Child[Record | Halt | None]
    replay: Replay
    known: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """How a step ended that made nothing, in a record's words."""

    status: str
    reason: str
    known: Mapping[str, Any]


def run_cells(
    cells: Sequence[Cell], places: Places, device: str, origin: Provenance, progress: Progress,
    *, workers: int = 1, timeout: float | None = None, news: News | None = None,
) -> Iterator[Record]:  # fmt: skip
    """The record of each cell, in the order in which they get ready; with one worker, in the order given.

    What another process is at work on in the same folder of models waits until that has ended, and the others go before
    it; then, with `news` of the results folder, its record is the cell's, of that other run, failed ones too.

    A dense model that only other cells start from is trained first, once. A cell that crashes, is killed or takes
    longer than `timeout` seconds (None: its profile's limit) is a record with that status and the reason. Raises what
    is wrong with the folders (RecordError) at once, what is wrong with a task's data or file (DataError, TaskError)
    once the cells of the other tasks are done. However it ends, no process is left.
    """
    waiting = steps(cells, places.artifacts)
    _require_data(waiting, places, device)
    unmade = {step.cell.key for step in waiting}
    lost: dict[str, Failure] = {}  # the dense models and bases that could not be made
    faults: list[DataError | TaskError] = []
    running: dict[Step, Running] = {}
    threads = None if workers == 1 else max(1, machine.usable_cores() // workers)
    child.start_server(preload(cells, device))
    claims, told = Claims(places.artifacts), set[Step]()

    def start(step: Step) -> None:
        progress.say(f"{'dense model of ' if step.trains_only else ''}{step.cell.arguments}")
        limit = timeout or LIMITS[step.cell.profile]
        running[step] = begin(Work(step, places, device, origin, threads), limit, progress)

    def end(step: Step, found: Record | Failure | None) -> Iterator[Record]:
        unmade.discard(step.cell.key)
        why = failed(found)
        if why is not None and not _is_stored(step.cell, places):
            lost[step.cell.key] = why
        if isinstance(found, Failure) and not step.trains_only:
            found = failed_record(step.cell, found, places, device, origin)
        if isinstance(found, Record):
            advance()
            yield found
        claims.give_up(step.cell)  # only now that whoever takes the record has written it

    try:
        with progress.bar("cells", len(cells)) as advance:
            while waiting or running:
                refused = False
                for step in [step for step in waiting if not needs(step) & unmade]:
                    why = inherited(step, lost)
                    if why is not None:
                        waiting.remove(step)
                        yield from end(step, why)
                    elif len(running) < workers and claims.take(step.cell):
                        waiting.remove(step)
                        made = None if news is None or step.trains_only else news.of(step.cell)
                        if made is None or (made.status == "ok" and not _is_stored(step.cell, places)):
                            start(step)
                        else:
                            yield from end(step, made)
                    elif len(running) < workers:
                        refused = True
                        if step not in told:
                            told.add(step)
                            progress.say(f"another run is at work on {step.cell.arguments}: that waits for its end")
                if running:
                    longest = SECONDS_BETWEEN_LOOKS if refused and len(running) < workers else child.LONGEST_WAIT
                    child.wait([each.child for each in running.values()], longest)
                elif refused:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                for step in [step for step, each in running.items() if each.child.is_over]:
                    try:
                        found = outcome(running.pop(step))
                    except (DataError, TaskError) as error:
                        claims.give_up(step.cell)
                        faults.append(error)
                        waiting = [each for each in waiting if each.cell.task != step.cell.task]
                        if waiting:
                            progress.say(f"{error}; going on with the other tasks")
                        continue
                    yield from end(step, found)
        if faults:
            raise faults[0]
    finally:
        for each in running.values():
            each.child.kill()
            each.replay.close()
        claims.close()


def preload(cells: Sequence[Cell], device: str) -> tuple[str, ...]:
    """What the process that cells are forked from imports for all of them."""
    data = {registry.task(cell.task).data for cell in cells}
    return imports(data | {registry.method(cell.method).family for cell in cells}, device)


def imports(words: Collection[str], device: str) -> tuple[str, ...]:
    """The same for data sets and families of methods.

    torchao looks for a GPU as it is imported, and no process forked after that can use one.
    """
    asked = words if device == "cpu" else set(words) - {"quantization"}
    return (*child.PRELOAD, *NEEDED, *(module for word, module in IMPORTED.items() if word in asked))


def steps(cells: Sequence[Cell], root: Path) -> list[Step]:
    """The cells in their order; before the first that starts from a dense model which nobody makes, its training."""
    made = {cell.key for cell in cells}
    found = []
    for cell in cells:
        if cell.dense.key not in made and invocation.newest_model(cell.dense, root) is None:
            found.append(Step(cell.dense, trains_only=True))
            made.add(cell.dense.key)
        found.append(Step(cell))
    return found


def needs(step: Step) -> set[str]:
    """The keys of the cells that must have ended before this step starts: its dense model's, its base's."""
    return {cell.key for cell in _before(step)}


def _before(step: Step) -> list[Cell]:
    before = [step.cell.dense if step.cell.method != DENSE else None, step.cell.base]
    return [cell for cell in before if cell is not None]


def failed(found: Record | Failure | None) -> Failure | None:
    """How a step failed, for those that wait for its model; None where it did not, or said that it cannot be done."""
    if found is None or found.status in ("ok", "unsupported"):
        return None
    known = found.known if isinstance(found, Failure) else {name: getattr(found, name) for name in KNOWN}
    return Failure(found.status, str(found.reason), known)


def inherited(step: Step, lost: Mapping[str, Failure]) -> Failure | None:
    """How a step fails whose dense model or base is among the `lost`, by key; None where neither is."""
    for cell in _before(step):
        why = lost.get(cell.key)
        if why is not None:
            named = "dense model" if cell.method == DENSE else f"base {step.cell.hyperparameters[BASE]}"
            return Failure(why.status, f"its {named}: {why.reason}", why.known)
    return None


def _require_data(todo: Sequence[Step], places: Places, device: str) -> None:
    """DataError where the data of a step are missing: now, and not after hours of the steps before it."""
    for name in dict.fromkeys(registry.task(step.cell.task).data for step in todo):
        if not datafiles.is_there(name, places.data):
            from suite import data  # and torch, which whoever waits for cells does without

            data.load(name, places.data, device)  # which says what is missing, and how to get it


def failed_record(cell: Cell, why: Failure, places: Places, device: str, origin: Provenance) -> Record:
    """The accuracy record of a cell whose process came to no result."""
    common = invocation.blank(cell, device, origin, kind="accuracy", command=invocation.command_of(cell, device))
    folder = invocation.newest_model(cell.dense, places.artifacts)
    dense = {} if folder is None else modelfiles.facts(folder) or {}
    return Record(
        **common,
        **why.known,
        status=why.status,  # type: ignore[arg-type]
        reason=why.reason,
        checkpoint_sha256=dense.get("sha256"),
        base_cell=cell.base.key if cell.base is not None else None,
    )


def _is_stored(cell: Cell, places: Places) -> bool:
    return invocation.newest_model(cell, places.artifacts) is not None


def begin(work: Work, limit: float, progress: Progress) -> Running:
    """Start the process that does a step, within `limit` seconds; what it tells is shown with `progress`."""
    replay = Replay(progress)
    known: dict[str, Any] = {}

    def told(value: Any) -> None:
        if isinstance(value, dict):
            known.update(value)
        else:
            replay.show(value)

    return Running(Child(_work, (work,), seconds=limit, told=told), replay, known)


def outcome(ended: Running) -> Record | Failure | None:
    """What became of a step whose process is over; raises what is wrong with the data or the folders."""
    ended.replay.close()
    try:
        found = ended.child.result()
    except ChildFailed as failed:
        return Failure(failed.status, str(failed), ended.known)
    finally:
        ended.child.kill()
    if isinstance(found, Halt):
        raise found.error
    return found


# ------------------------------------------------------------------------------------------------------- in the child


def _work(tell: Callable[[Any], None], work: Work) -> Record | Halt | None:
    """Do one step; what a method prints and the traceback of its failure go to standard error."""
    import torch

    from suite import run

    cell, places, progress = work.step.cell, work.places.absolute(), Relay(tell)
    if work.threads is not None:
        torch.set_num_threads(work.threads)
    try:
        ready = run.prepare(cell.task, cell.profile, places, work.device)
        tell(run.origin_of(ready))
        if not work.step.trains_only:
            return run.run_cell(cell, places, work.device, work.origin, progress, ready)
        run.dense_model(cell, ready, places, work.device, progress)
    except (DataError, RecordError, TaskError) as error:
        return Halt(error)
    except SuiteError:
        raise
    except Exception as error:
        traceback.print_exc()
        status, _ = child.failure(error)
        raise ChildFailed(status, invocation.one_line(error)) from error
    return None
