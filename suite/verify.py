"""Measure a published record again, on this machine: do the two agree within both intervals?

An accuracy is that of the stored model, evaluated once more, where it is the record's own (it started from the same
dense checkpoint and data); otherwise the cell is trained again. A cost is measured again as any row is. On another
machine ratios are compared, never seconds or bytes.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from suite import (
    artifacts,
    complexity,
    cost,
    execute,
    floors,
    intervals,
    leaderboard,
    machine,
    memory,
    modelfiles,
    plan,
    registry,
    run,
)
from suite.bench import Measurement, Row, Subject
from suite.errors import ArtifactError, DeviceError, RecordError, SuiteError, UsageError
from suite.evaluate import evaluate
from suite.execute import Job, Session
from suite.invocation import newest_model
from suite.locating import refer
from suite.plan import Cell
from suite.progress import duration
from suite.records import Record
from suite.rows import QUALITY
from suite.stats import Interval

#: Images of the test split whose answer may turn with the order in which another machine adds.
TURNED_IMAGES = 3
#: Shares within which numbers that have no interval of their own agree: a loss of the same weights; one after another
#: training; a peak of memory (five repeats on one machine lie within 1 %, or what `memory` cannot tell); its share of
#: the dense one elsewhere; joules.
SAME_WEIGHTS, OTHER_TRAINING, MEMORY, MEMORY_ELSEWHERE, ENERGY = 1e-3, 0.05, 0.03, 0.06, 0.10
#: What must be the same number, if both records have it.
EXACT = ("parameters", "macs")


@dataclass(frozen=True)
class Verdict:
    """What was compared, both intervals, and whether they overlap. `facts` are sentences that a reader should know."""

    record: str
    metric: str
    agree: bool
    published: Interval
    measured: Interval
    how: str
    machine: str
    published_machine: str
    facts: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The verdict as one line."""
        where = "here" if self.machine == self.published_machine else f"here, on {self.machine}"
        return (
            f"{'agree' if self.agree else 'differ'}: {self.record}: {self.metric} published {_text(self.published)} on "
            f"{self.published_machine}, {self.how} {_text(self.measured)} {where}"
        )

    def entry(self) -> dict[str, Any]:
        """The verdict for JSON."""
        return {"verdict": "agree" if self.agree else "differ"} | asdict(self)


def _text(interval: Interval) -> str:
    return f"{interval.value:.5g} [{interval.low:.5g}, {interval.high:.5g}]"


def verify(record: Record, found: Sequence[Record], session: Session, *, keep: bool = False) -> Verdict:
    """Measure `record` again; `found` are all records of its results folder.

    Nothing is written to the results folder unless `keep`: then what was measured is a record as any other. UsageError
    where there is nothing to agree with, SuiteError where measuring comes to nothing.
    """
    cell = verifiable(record)
    session = replace(session, device=record.device, force=True)
    if record.kind != "accuracy":
        machine.require_device(record.device)
        return _verify_cost(record, cell, found, session, keep)
    try:
        machine.require_device(record.device)
    except DeviceError:  # what a network computes does not depend on where
        session = replace(session, device="cpu")
    return _verify_accuracy(record, cell, session, keep)


def verifiable(record: Record) -> Cell:
    """The record's cell; UsageError where measuring it again would say nothing about the record."""
    if record.status != "ok":
        raise UsageError(f"the record is {record.status} ({record.reason}): there is no number to agree with")
    if record.kind == "noise-floor":
        raise UsageError("a noise floor is this machine's own, and measured anew with each benchmark: verify a latency")
    if not plan.is_fresh(record):
        raise UsageError(
            "the record is stale: its method, model, task or protocol is not that of this checkout, or a fault of the "
            "suite has been mended since, so another number would prove nothing; check out commit "
            f"{(record.git_commit or 'that it names')[:12]}"
            f"{', and what was not committed then: the record is of a changed checkout' if record.git_dirty else ''}"
        )
    return Cell(record.task, record.method, record.hyperparameters, record.seed, record.profile)


def overlap(one: Interval, other: Interval) -> bool:
    """Do two intervals share a point?"""
    return one.low <= other.high and other.low <= one.high


def told_apart(one: Interval, other: Interval, floor: float) -> float:
    """The least ratio of two speed-ups, as a share, that their intervals and a noise floor would call a change.

    Both halves that face each other count as the difference of two independent values has them, not one after the
    other: two intervals that only just touch are a change.
    """
    low, high = sorted((one, other), key=lambda each: each.value)
    halves = math.log(low.high / low.value), math.log(high.value / high.low)
    return math.exp(math.hypot(*halves)) * (1 + floor) - 1


def around(value: float, share: float) -> Interval:
    """The interval of a share of the value to either side."""
    return Interval(value, value - share * abs(value), value + share * abs(value))


def wilson(fraction: float, images: int) -> Interval:
    """Wilson's 95 % interval of a fraction correct among so many images."""
    z, n = 1.959964, max(1, images)
    centre = (fraction + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n))
    return Interval(fraction, min(fraction, centre - half), max(fraction, centre + half))


# ------------------------------------------------------------------------------------------------------------- accuracy


def _verify_accuracy(record: Record, cell: Cell, session: Session, keep: bool) -> Verdict:
    metric = _headline(record)
    images, folder = 0, _stored_model(record, cell, session)
    if folder is not None and not keep:
        ready = run.prepare(cell.task, cell.profile, session.places, session.device)
        if record.data_sha256 not in (None, ready.dataset.sha256):
            raise UsageError(f"the record's data is another version than the one here ({ready.dataset.source})")
        model = artifacts.load(folder, device=session.device)
        model.eval()
        ready = run.facing(ready, folder, session.device)
        metrics: dict[str, Any] = evaluate(model, ready.dataset, ready.dataset.test, ready.objective)
        metrics |= complexity.complexity(model, ready.task.input_shape)
        images, how = len(ready.dataset.test), "its stored model evaluated again"
    else:
        metrics, images, how = _train_again(record, cell, session, keep), 0, "trained again"
    return _compare_accuracies(record, metrics, metric, images or _images(cell, session), how)


def _compare_accuracies(record: Record, metrics: dict[str, Any], metric: str, images: int, how: str) -> Verdict:
    old, new = float(record.metrics[metric] or 0), float(metrics[metric])
    same_weights = how != "trained again"
    if QUALITY[metric].kind != "percent":
        share = SAME_WEIGHTS if same_weights else OTHER_TRAINING
        published, measured = around(old, share), around(new, share)
    elif same_weights:
        turned = TURNED_IMAGES / images
        published, measured = Interval(old, old, old), Interval(new, new - turned, new + turned)
    else:
        published, measured = wilson(old, images), wilson(new, images)
    facts = [
        f"{name} are {metrics[name]:,}, not the record's {known:,}"
        for name in EXACT
        if (known := record.metrics.get(name)) is not None and metrics.get(name) not in (None, known)
    ]
    agree = overlap(published, measured) and not facts
    if not same_weights:
        facts.append("another training: seeds are the same, but sums are added in another order on another machine")
    return _verdict(record, metric, agree, published, measured, how, facts)


def _headline(record: Record) -> str:
    """The metric that decides, or the first that the record has."""
    wanted = leaderboard.decider(registry.task(record.task).objective)
    present = [name for name in (wanted, *QUALITY) if record.metrics.get(name) is not None]
    if not present:
        raise UsageError("the record has no metric of quality: there is nothing to agree with")
    return present[0]


def _images(cell: Cell, session: Session) -> int:
    return len(run.prepare(cell.task, cell.profile, session.places, session.device).dataset.test)


def _stored_model(record: Record, cell: Cell, session: Session) -> Path | None:
    """The folder of the record's own model: it is stored, and its dense model is the one that the record names."""
    own, dense = (newest_model(each, session.places.artifacts) for each in (cell, cell.dense))
    if own is None or dense is None or record.checkpoint_sha256 is None:
        return None
    if (modelfiles.facts(dense) or {}).get("sha256") != record.checkpoint_sha256:
        return None
    data = ((modelfiles.facts(own) or {}).get("facts") or {}).get("data_sha256")
    return own if data in (None, record.data_sha256) else None


def _train_again(record: Record, cell: Cell, session: Session, keep: bool) -> dict[str, Any]:
    """The metrics of the cell, run once more: into the results folder if `keep`, else into one that is forgotten."""
    wanted = plan.with_bases([cell])
    limit = cost.at_most(wanted, session.device, session.places.artifacts)
    kept = "" if keep else "; nothing of it is kept (--keep)"
    session.progress.say(f"no stored model of this record: running the cell again, {limit}{kept}")
    if keep:
        return _metrics_of(list(execute.compress([cell], session))[-1].record)
    with tempfile.TemporaryDirectory(prefix="prunemark-") as scratch:
        places = replace(session.places, artifacts=Path(scratch) / "artifacts", results=Path(scratch) / "results")
        _lend_dense(record, cell, session.places.artifacts, places.artifacts)
        return _metrics_of(list(execute.compress([cell], replace(session, places=places)))[-1].record)


def _metrics_of(record: Record) -> dict[str, Any]:
    if record.status != "ok":
        raise SuiteError(f"the cell does not run here: {record.status}: {record.reason}")
    return dict(record.metrics)


def _lend_dense(record: Record, cell: Cell, source: Path, into: Path) -> None:
    """Copy the dense model, if it is the record's own, so that it need not be trained again."""
    dense = newest_model(cell.dense, source)
    if dense is not None and (modelfiles.facts(dense) or {}).get("sha256") == record.checkpoint_sha256:
        shutil.copytree(dense, into / dense.relative_to(source))


# ----------------------------------------------------------------------------------------------------------------- cost


def _verify_cost(record: Record, cell: Cell, found: Sequence[Record], session: Session, keep: bool) -> Verdict:
    row = _row(record)
    subject = _subject(cell, found, session)
    kind = record.kind
    job = Job(cell, row, kind)
    seconds = cost.benchmark_seconds([job], record.device, cost.stated(found))
    session.progress.say(f"measuring {refer(record)} again, about {duration(seconds)}")
    with machine.device_lock(record.device), tempfile.TemporaryDirectory(prefix="prunemark-") as scratch:
        measured = execute.measure_job(job, subject, session, Path(scratch))
        if measured.status != "ok":
            raise SuiteError(f"it cannot be measured here: {measured.status}: {measured.reason}")
        if keep:
            _keep(job, measured, session)
        verdict = _compare_costs(record, measured, found, floor=0.0)
        if verdict.agree or kind != "latency":
            return verdict
        # what a machine cannot tell apart is no difference: only now is it worth the time to ask this one
        noise = execute.measure_job(replace(job, kind="noise-floor"), subject, session, Path(scratch))
    floor = float(noise.metrics.get("noise_floor") or 0) if noise.status == "ok" else 0.0
    return _compare_costs(record, measured, found, floor=floor)


def _row(record: Record) -> Row:
    try:
        return Row(**{"batch_size": 1, "threads": 1, **(record.conditions or {})})  # type: ignore[arg-type]
    except TypeError as error:
        raise UsageError(f"the record's conditions are not ones that this checkout measures: {error}") from error


def _subject(cell: Cell, found: Sequence[Record], session: Session) -> Subject:
    """What a benchmark of the cell measures; ArtifactError where it would have to be compressed first."""
    subject = execute.subject_of(cell, execute.recorded_shapes(found), session)
    if subject is None:
        raise ArtifactError("neither its networks are stored nor shapes recorded that they could be rebuilt from: "
                            f"python -m suite run {cell.arguments} --force")  # fmt: skip
    return subject


def _compare_costs(record: Record, measured: Measurement, found: Sequence[Record], *, floor: float) -> Verdict:
    here = record.machine == machine.identity().slug
    (published,) = intervals.widened([record])
    name, old, new = _cost(record.kind, published.metrics, measured.metrics, here=here)
    facts = [] if here else [f"another machine than the published {record.machine}: ratios are compared"]
    agree = overlap(old, new)
    if record.kind == "latency":
        published_floor = _floor(record, found)
        least = told_apart(old, new, max(published_floor, floor))
        agree = max(new.value / old.value, old.value / new.value) <= 1 + least
        if published_floor or floor:
            facts.append(f"noise floors: {published_floor:.3g} published, {floor:.3g} here, of which the larger counts")
        facts.append(f"a change by less than {least:.1%} would not be told from noise")
    for text, notes in (("when it was published", record.notes), ("now", measured.notes)):
        if notes.get("contended"):
            facts.append(f"other processes were busy {text}")
        if notes.get("weights") == "random":
            facts.append(f"weights were random {text}: time and memory do not depend on them")
    return _verdict(record, name, agree, old, new, "measured", facts)


def _cost(kind: str, old: Any, new: Any, *, here: bool) -> tuple[str, Interval, Interval]:
    """What is compared of two measurements: its name, and both intervals. RecordError where the record lacks it."""
    try:
        if kind == "latency":
            ends = [f"speedup_over_eager{end}" for end in ("", "_low", "_high")]
            name = ends[0] if all(each.get(end) for each in (old, new) for end in ends) else "speedup"
            return name, _speedup(old, name), _speedup(new, name)
        if kind == "energy":
            name, share = "dense_joules / joules", ENERGY
            pair = [float(each["dense_joules"]) / float(each["joules"]) for each in (old, new)]
        elif here:
            name, share = "peak_bytes", MEMORY
            pair = [float(each["peak_bytes"]) for each in (old, new)]
        else:
            name, share = "peak_bytes / dense_peak_bytes", MEMORY_ELSEWHERE
            pair = [float(each["peak_bytes"]) / float(each["dense_peak_bytes"]) for each in (old, new)]
        if kind == "memory":  # of a small network, two children differ by more than a share
            share += memory.RESOLUTION_BYTES / float(old["peak_bytes"])
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise RecordError(f"the record lacks what is compared ({error}): it is older than that metric") from error
    return name, around(pair[0], share), around(pair[1], share)


def _speedup(metrics: Any, name: str) -> Interval:
    """A speed-up with its interval; a missing end is the value itself."""
    value = float(metrics[name])
    low, high = (metrics.get(f"{name}_{end}") for end in ("low", "high"))
    return Interval(value, value if low is None else float(low), value if high is None else float(high))


def _floor(record: Record, found: Sequence[Record]) -> float:
    """The noise floor that the pages judge the record by; 0 where none was measured."""
    return floors.floors(found).of(record) or 0.0


def _keep(job: Job, measured: Measurement, session: Session) -> None:
    machine.write_machine(session.places.results)
    with session.files() as append:
        append(execute.cost_record(job, measured, session))


def _verdict(
    record: Record, metric: str, agree: bool, published: Interval, measured: Interval, how: str, facts: Sequence[str]
) -> Verdict:
    return Verdict(
        record=refer(record),
        metric=metric,
        agree=agree,
        published=published,
        measured=measured,
        how=how,
        machine=machine.identity().slug,
        published_machine=record.machine,
        facts=tuple(facts),
    )
