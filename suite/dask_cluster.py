"""The workers of a Dask scheduler: who may take part, what each is given, and what comes of it.

Who does what is decided here and not by the scheduler: a task is bound to one worker, each worker has one at a time.
So a worker that dies takes one cell with it and no other (the scheduler blames a death on every task in the worker's
queue), a cell goes where the model that it starts from lies already, and a worker of another version gets nothing.
The scheduler carries the messages, counts the GPUs that its workers offer, and says who lives.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from suite import dask_worker
from suite.dask_worker import Answer, Ask, Order, Welcome
from suite.errors import DeviceError, UsageError, said
from suite.execute import Session
from suite.records import write_atomically

T = TypeVar("T")
#: How long a run waits where there is no worker: a batch system may take its time to start them.
SECONDS_WITHOUT_WORKERS = 600.0
SECONDS_TO_CONNECT = 15.0
#: How often the scheduler is asked who is there; an answer is taken as soon as it comes.
SECONDS_BETWEEN_LOOKS = 1.0
#: How many workers may die under one cell or row before that counts as its own fault.
TRIES = 3
INSTALL = "pip install -e '.[dask]' in the checkout"


@dataclass(eq=False)
class Member:
    """A worker that takes part; `held` are the models that were sent to it or that it made."""

    address: str
    name: str
    scratch: str
    resources: Mapping[str, float]
    threads: int
    welcome: Welcome
    held: set[str] = field(default_factory=set)
    busy: bool = False


@dataclass(frozen=True, eq=False)
class Sent(Generic[T]):
    """An order on its way, for `thing`."""

    thing: T
    member: Member
    future: Any


@dataclass(frozen=True)
class Ended(Generic[T]):
    """What became of an order: an answer, `died` where its worker is gone, or what Dask raised."""

    thing: T
    member: Member
    answer: Answer | None = None
    died: bool = False
    error: BaseException | None = None


class Cluster(Generic[T]):
    """The workers behind an address, as a context; leaving it takes back whatever is still being done.

    DeviceError, one line, where there is no scheduler, where it is lost, or where no worker may take part.
    """

    def __init__(self, address: str, session: Session) -> None:
        self.address, self.session = address, session
        self.members: dict[str, Member] = {}
        self._sent: list[Sent[T]] = []
        self._refused: dict[tuple[str, str], str] = {}
        self._woken = threading.Event()
        self._looked = float("-inf")
        self._alone_since: float | None = None
        self._useless_since: float | None = None
        self._orders = 0
        self._ask = Ask(
            suite=dask_worker.fingerprint(),
            token=f".prunemark-{session.origin.run}",
            device=session.device,
            data=session.places.data.absolute(),
            artifacts=session.places.artifacts.absolute(),
        )

    @property
    def running(self) -> bool:
        return bool(self._sent)

    def __enter__(self) -> Cluster[T]:
        write_atomically(self._token, b"Those who see this file share this folder.\n")
        try:
            self._client = connect(self.address)
        except BaseException:
            self._token.unlink(missing_ok=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._token.unlink(missing_ok=True)
        with contextlib.suppress(Exception):  # of a scheduler that is gone
            if self._sent and self._client.status == "running":
                self._client.cancel([sent.future for sent in self._sent], force=True)
        self._sent.clear()
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)

    @property
    def _token(self) -> Path:
        return self._ask.artifacts / self._ask.token

    # -------------------------------------------------------------------------------------------------- who is there

    def look(self) -> None:
        """Meet the workers that came, forget those that went."""
        if self._client.status == "running" and time.monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        try:
            if self._client.status != "running":
                raise OSError("the connection is closed")
            there = self._client.scheduler_info()["workers"]
            known = {(member.address, member.scratch) for member in self.members.values()} | self._refused.keys()
            new = [address for address, each in there.items() if (address, each["local_directory"]) not in known]
            met = self._client.run(dask_worker.describe, self._ask, workers=new, on_error="return") if new else {}
        except Exception as error:
            raise DeviceError(
                f"the Dask scheduler at {self.address} is gone: what was finished is kept; start it, and the same "
                f"command goes on from there {said(error)}"
            ) from error
        self._looked = time.monotonic()
        for member in list(self.members.values()):
            if there.get(member.address, {}).get("local_directory") != member.scratch:
                del self.members[member.address]
        for address, welcome in met.items():
            self._meet(address, there[address], welcome)
        self._require_someone(bool(there))

    def _meet(self, address: str, told: Mapping[str, Any], welcome: Welcome | BaseException) -> None:
        if isinstance(welcome, OSError):
            return  # it went as it came; should it be there yet, it is asked again
        named, scratch = str(told["name"]), str(told["local_directory"])
        if isinstance(welcome, BaseException):
            reason: str | None = f"it cannot say what it is: install there what is installed here {said(welcome)}"
        else:
            reason = welcome.refusal or self._refusal(welcome)
        if isinstance(welcome, BaseException) or reason is not None:
            self._refuse((address, scratch), named, str(reason))
            return
        resources, threads = told.get("resources") or {}, int(told["nthreads"])
        self.members[address] = Member(address, named, scratch, resources, threads, welcome)
        self.session.progress.say(f"worker {named}: {welcome.machine.slug}"
                                  f"{'' if welcome.shares else ', which is sent its models'}")  # fmt: skip

    def _refusal(self, welcome: Welcome) -> str | None:
        if welcome.gpu is not None and any(welcome.gpu == each.welcome.gpu for each in self.members.values()):
            return "its GPU is another worker's too: start each with a CUDA_VISIBLE_DEVICES of its own"
        return None

    def _refuse(self, who: tuple[str, str], named: str, reason: str) -> None:
        self._refused[who] = reason
        self.session.progress.say(f"worker {named} is left out: {reason}")

    def dismiss(self, member: Member, reason: str) -> None:
        """Give this worker nothing any more."""
        if self.members.pop(member.address, None) is not None:
            self._refuse((member.address, member.scratch), member.name, reason)
            if not self.members:
                raise DeviceError(f"no Dask worker is left that may take part: {reason} (of worker {member.name})")

    def _require_someone(self, anyone: bool) -> None:
        if self.members:
            self._alone_since = None
            return
        if anyone and self._refused:
            (_, reason) = next(reversed(self._refused.items()))
            raise DeviceError(f"no worker of the Dask scheduler at {self.address} may take part: {reason}")
        if self._alone_since is None:
            self._alone_since = time.monotonic()
            self.session.progress.say(f"waiting for a worker of the Dask scheduler at {self.address}")
        if time.monotonic() - self._alone_since > SECONDS_WITHOUT_WORKERS:
            raise DeviceError(f"no worker came to the Dask scheduler at {self.address} in "
                              f"{SECONDS_WITHOUT_WORKERS:.0f} s: start some, and the same command goes on")  # fmt: skip

    @property
    def slugs(self) -> set[str]:
        """The kinds of machines that take part."""
        return {member.welcome.machine.slug for member in self.members.values()}

    def require_use(self, useful: bool, left: str) -> None:
        """DeviceError where those who are there have for long been none that what is left is for."""
        if useful or self.running or not self.members:
            self._useless_since = None
            return
        self._useless_since = self._useless_since or time.monotonic()
        if time.monotonic() - self._useless_since > SECONDS_WITHOUT_WORKERS:
            raise DeviceError(f"{left}, and no worker on a machine that they are for: start one, and the same command "
                              f"goes on from there")  # fmt: skip

    def meet(self) -> list[Member]:
        """Those who take part, once there is somebody."""
        self.look()
        while not self.members:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self.look()
        return list(self.members.values())

    def free(self, fits: Callable[[Member], bool] = lambda member: True, *, held: str | None = None) -> Member | None:
        """A worker that fits and has nothing to do, by preference one that has the model `held`."""
        idle = [member for member in self.members.values() if not member.busy and fits(member)]
        return min(idle, key=lambda member: held not in member.held, default=None)

    # ------------------------------------------------------------------------------------------------ what is done

    def send(self, thing: T, member: Member, order: Order, *, resources: Iterable[str] = ()) -> None:
        """Have one worker do an order; the models that it lacks go with it."""
        root, lacking = self.session.places.artifacts, [each for each in order.needs if each not in member.held]
        parcels = [] if member.welcome.shares else [dask_worker.pack(folder, root) for folder in lacking]
        member.held.update(order.needs)
        member.busy = True
        self._orders += 1
        offered = {name: 1 for name in resources if name in member.resources}
        # The scheduler unpickles what a task is made of: here bytes and `loads`, so that it needs no torch, nor us.
        future = self._client.submit(
            pickle.loads, pickle.dumps(dask_worker.Call(order, *parcels)), key=f"{self._ask.token[1:]}-{self._orders}",
            pure=False, retries=0, workers=[member.address], allow_other_workers=False, resources=offered,
        )  # fmt: skip
        future.add_done_callback(lambda _: self._woken.set())
        self._sent.append(Sent(thing, member, future))

    def answers(self) -> Iterator[Ended[T]]:
        """What has ended since the last call; waits a moment where nothing has."""
        self._woken.wait(SECONDS_BETWEEN_LOOKS)
        self._woken.clear()
        self.look()
        for sent in list(self._sent):
            ended = self._ended(sent)
            if ended is not None:
                self._sent.remove(sent)
                sent.member.busy = False
                sent.future.release()
                yield ended

    def _ended(self, sent: Sent[T]) -> Ended[T] | None:
        member = sent.member
        status = sent.future.status
        if status == "finished":
            try:
                return Ended(sent.thing, member, answer=sent.future.result(timeout=SECONDS_TO_CONNECT))
            except Exception:  # its worker died with the answer
                return Ended(sent.thing, member, died=True)
        if status == "error":
            error = sent.future.exception(timeout=SECONDS_TO_CONNECT)
            killed = type(error).__name__ == "KilledWorker"
            return Ended(sent.thing, member, died=killed, error=None if killed else error)
        if status in ("cancelled", "lost"):
            return Ended(sent.thing, member, died=True)
        if self.members.get(member.address) is not member and (member.address, member.scratch) not in self._refused:
            with contextlib.suppress(Exception):
                self._client.cancel([sent.future], force=True)
            return Ended(sent.thing, member, died=True)
        return None


def connect(address: str) -> Any:
    """A client of the scheduler at `address`; UsageError without Dask, DeviceError where nobody answers there."""
    try:
        dask: Any = importlib.import_module("dask")
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise UsageError(f"--executor dask: needs Dask: {INSTALL} {said(error)}") from error
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.batched", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said once, in our own words
    # a model that is sent is no mistake
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "4GB"})
    try:
        importlib.import_module("distributed.comm").resolve_address(address)  # a client of none is slow to give up
        return distributed.Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except ValueError as error:
        raise UsageError(f"--executor dask:{address} is no address, such as tcp://host:8786 {said(error)}") from error
    except Exception as error:
        raise DeviceError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler` {said(error)}"
        ) from error
