"""What a Dask worker is asked: what it is, one step of a run, one benchmark row. It writes no record: it answers one.

Each step is done by a process of its own, as on one machine (`isolate`), so that whatever a method does to its process
is no matter to the worker; the worker itself only waits for it, and ends it where nobody wants the answer any more.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite import bench, child, conditions, cuda, datafiles, execute, isolate, machine, modelfiles, pictures, records
from suite.adversarial import OPPONENT
from suite.errors import ArtifactError, DataError, DeviceError, RecordError, SuiteError, TaskError
from suite.invocation import Places, Provenance, newest_model, provenance
from suite.isolate import Failure, Work
from suite.machine import Machine
from suite.progress import Progress

#: How often a worker that waits for a step looks whether its answer is still wanted.
SECONDS_BETWEEN_LOOKS = 0.5
#: How long a model that another machine has just written may take to be seen in a shared folder: NFS clients believe
#: for up to a minute that a file is not there (`acdirmax`).
SECONDS_FOR_A_MODEL = 90.0
#: The files that make a stored model, its opponent's included; the descriptions last, since they say that it is whole.
FILES = (f"{OPPONENT}/{modelfiles.WEIGHTS}", modelfiles.WEIGHTS,
         f"{OPPONENT}/{modelfiles.DESCRIPTION}", modelfiles.DESCRIPTION)  # fmt: skip


class Refused(SuiteError):
    """This worker cannot do what it is asked; another may."""


@dataclass(frozen=True)
class Ask:
    """What a worker is told when it is met: by which run, for which device, and where that run's folders lie.

    `token` is the name of a file in `artifacts`: who sees it shares the folder.
    """

    suite: str
    token: str
    device: str
    data: Path
    artifacts: Path


@dataclass(frozen=True)
class Welcome:
    """What a worker answers: its machine and versions, its folders, what it can measure; or why it cannot take part.

    `host` tells machines apart and `gpu` their devices; neither gets into a record.
    """

    machine: Machine
    origin: Provenance
    places: Places
    shares: bool
    host: str
    gpu: str | None
    kinds: tuple[str, ...]
    refusal: str | None = None


@dataclass(frozen=True)
class Parcel:
    """A stored model by content: its folder below that of all models, and its files."""

    folder: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Order:
    """One thing to do. `work` is a step to run, `job` a row to measure; `needs` are the models that must be there.

    `suite` and `freshness` are the client's: a worker that has others refuses. `data_sha256` is that of the task's
    data, once it is known: a worker that reads others refuses too.
    """

    suite: str
    freshness: str | None
    places: Places
    origin: Provenance
    device: str
    limit: float | None
    needs: tuple[str, ...] = ()
    ships: bool = False
    work: Work | None = None
    data_sha256: str | None = None
    job: execute.Job | None = None
    own: str | None = None
    dense: str | None = None
    shapes: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None] = (None, None)


@dataclass(frozen=True)
class Answer:
    """What became of an order: a record as its line, or how it failed; the folder of the model that it made.

    `refusal` says why this worker did nothing; `of_task`: with the cells of other tasks it may do better.
    """

    record: bytes | None = None
    failure: Failure | None = None
    refusal: str | None = None
    of_task: bool = False
    folder: str | None = None
    parcel: Parcel | None = None
    gallery: tuple[bytes, ...] = ()
    data_sha256: str | None = None


@functools.cache
def fingerprint() -> str:
    """SHA-256 of this installation's own source files: two machines whose answers may stand in one run have one."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for name in ("suite", "methods", "models") for path in (root / name).rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


# --------------------------------------------------------------------------------------------------------- being met


def describe(ask: Ask, dask_worker: Any = None) -> Welcome:
    """What this worker is. Its data: `PRUNEMARK_DATA`, else the client's folder where it is there too, else the usual.

    Its models lie in the client's folder where it sees that, by the same path or as its own `PRUNEMARK_ARTIFACTS`; else
    in a folder that ends with it.
    """
    own = Path(dask_worker.local_directory) / "prunemark"
    mounted = Path(os.environ.get("PRUNEMARK_ARTIFACTS") or ask.artifacts)
    shares = (mounted / ask.token).is_file()
    given = os.environ.get("PRUNEMARK_DATA")
    root = ask.data if not given and ask.data.is_dir() else datafiles.default_root()
    refusal, gpu = None, None
    if ask.suite != fingerprint():
        refusal = "it runs another version of the suite: install there what is installed here"
    elif ask.device == "cuda" and dask_worker.state.total_resources.get("GPU", 0) != 1:
        refusal = "it does not offer one GPU: start one worker for each, with --resources GPU=1"
    else:
        try:
            machine.require_device(ask.device)
            gpu = cuda.uuid() if ask.device == "cuda" else None
        except DeviceError as error:
            refusal = str(error)
    return Welcome(
        machine=machine.identity(),
        origin=provenance(),
        places=Places(root, mounted if shares else own / "artifacts", own / "results"),
        shares=shares,
        host=hashlib.sha256(platform.node().encode()).hexdigest(),
        gpu=gpu,
        kinds=conditions.kinds(ask.device) if refusal is None else (),
        refusal=refusal,
    )


# ----------------------------------------------------------------------------------------------------- doing an order


def do(order: Order, *parcels: Parcel) -> Answer:
    """Do what an order says; only a fault of ours is raised."""
    # A worker under a nanny is a daemon, which may start no processes. Ours end with it by themselves (child.py).
    multiprocessing.current_process().daemon = False
    try:
        _require(order)
        for parcel in parcels:
            unpack(parcel, order.places.artifacts)
        _await_models(order)
        return _step(order, order.work) if order.work is not None else _row(order)
    except Refused as error:
        return Answer(refusal=str(error))
    except OSError as error:
        return Answer(refusal=f"its folder of models: {error.strerror or error}")
    except (DataError, TaskError) as error:
        return Answer(refusal=str(error), of_task=True)
    except (RecordError, ArtifactError) as error:
        return Answer(refusal=str(error))


class Call:
    """An order that is done where it is unpickled; what `pickle.loads` gives there is the answer."""

    def __init__(self, order: Order, *parcels: Parcel) -> None:
        self._arguments = (order, *parcels)

    def __reduce__(self) -> tuple[Any, ...]:
        return do, self._arguments


def _require(order: Order) -> None:
    cell = order.work.step.cell if order.work is not None else order.job.cell if order.job is not None else None
    assert cell is not None, "an order asks for a step or for a row"
    if order.suite != fingerprint():
        raise Refused("it runs another version of the suite: install there what is installed here")
    if order.freshness != cell.freshness:
        raise Refused(f"its {cell.task} or {cell.method} is another one: install the same packages on every machine")


def _await_models(order: Order) -> None:
    limit = time.monotonic() + SECONDS_FOR_A_MODEL
    for folder in order.needs:
        while modelfiles.facts(order.places.artifacts / folder) is None:
            if time.monotonic() > limit:
                raise Refused(f"it does not see the model {folder} in the shared folder")
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _step(order: Order, work: Work) -> Answer:
    """Run a step in a process of its own; the model it leaves is named, and sent where the folder is not shared."""
    child.start_server(isolate.preload([work.step.cell], work.device))
    limit = order.limit or isolate.LIMITS[work.step.cell.profile]
    running = isolate.begin(work, limit, Progress())
    wanted = _wanted()
    try:
        while not running.child.is_over:
            seconds = min(SECONDS_BETWEEN_LOOKS, running.child.seconds_left)
            multiprocessing.connection.wait([running.child.connection], seconds)
            running.child.listen()
            read = running.known.get("data_sha256")
            if read is not None and order.data_sha256 not in (None, read):
                raise DataError(
                    f"its data of {work.step.cell.task} are not those of the models that are there: give every machine "
                    "the same data, or start anew with another --artifacts folder"
                )
            if not wanted():
                raise Refused("nobody waits for the answer any more")
    except BaseException:
        running.replay.close()
        running.child.kill()
        raise
    found = isolate.outcome(running)
    folder = newest_model(work.step.cell, order.places.artifacts)
    name = None if folder is None else folder.relative_to(order.places.artifacts).as_posix()
    made = Answer(
        folder=name,
        parcel=pack(name, order.places.artifacts) if name is not None and order.ships else None,
        data_sha256=running.known.get("data_sha256"),
    )
    if isinstance(found, records.Record):
        shown = _gallery(found.gallery, order.places.results / pictures.FOLDER)
        try:
            return replace(made, record=records.encode(found), gallery=shown)
        except RecordError as error:  # a number that is none, which a method logged
            return replace(made, failure=Failure("error", str(error), running.known))
    return replace(made, failure=found)


def _row(order: Order) -> Answer:
    """Measure a row, alone on this machine's device."""
    job, root = order.job, order.places.artifacts
    assert job is not None
    own, dense = (None if name is None else root / name for name in (order.own, order.dense))
    shapes, dense_shapes = (None if each is None else dict(each) for each in order.shapes)
    subject = bench.Subject(job.cell.key, own, dense, shapes, dense_shapes)
    session = execute.Session(order.places, order.device, order.origin, Progress(silent=True), timeout=order.limit)
    # what was compiled or exported waits there for the next row of this run
    scratch = order.places.results.parent / order.origin.run
    scratch.mkdir(parents=True, exist_ok=True)
    child.start_server()
    with machine.device_lock(order.device):
        measured = execute.measure_job(job, subject, session, scratch)
    return Answer(record=records.encode(execute.cost_record(job, measured, session)))


def _wanted() -> Callable[[], bool]:
    """Is the task that this thread works on still asked for? Dask forgets it on Ctrl-C, and when its client is gone."""
    distributed: Any = importlib.import_module("distributed")
    worker = distributed.get_worker()
    key = worker.get_current_task()

    def call() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in ("executing", "long-running")

    return call


def _gallery(digests: Iterable[str], folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / f"{digest}.webp").read_bytes() for digest in dict.fromkeys(digests))


# ------------------------------------------------------------------------------------------------- models by content


def pack(folder: str, root: Path) -> Parcel:
    """The model stored in `root/folder`, by content; ArtifactError where there is none."""
    files = {name: (root / folder / name).read_bytes() for name in FILES if (root / folder / name).is_file()}
    if modelfiles.DESCRIPTION not in files:
        raise ArtifactError(f"no model in {root / folder}")
    return Parcel(folder, files)


def unpack(parcel: Parcel, root: Path) -> None:
    """Store a model that was sent, its description last: half of one is never taken for a model."""
    for name in FILES:  # and no other names, whatever the parcel holds
        if name in parcel.files:
            records.write_atomically(root / parcel.folder / name, parcel.files[name])
