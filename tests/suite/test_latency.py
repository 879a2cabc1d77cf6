"""The paired protocol on known truths. The bounds leave room for a busy machine, and would still find a broken one."""

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from suite import latency, stats
from suite.latency import Ask, Networks, Schedule

#: Not beside other tests, which would be in the times.
pytestmark = pytest.mark.timed

ROOT = Path(__file__).parents[2]
IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Repeated(nn.Module):
    """A small network, run so many times in one call."""

    def __init__(self, times: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())
        self.times = times

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for _ in range(self.times):
            found: torch.Tensor = self.body(images)
        return found


class Sleeping(nn.Module):
    """A network that takes `seconds` and nothing else, and tells `calls` who was called."""

    def __init__(self, seconds: float, name: str = "", calls: list[str] | None = None) -> None:
        super().__init__()
        self.seconds, self.name, self.calls = seconds, name, calls

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.calls is not None:
            self.calls.append(self.name)
        time.sleep(self.seconds)
        return images


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def both(dense: nn.Module, compressed: nn.Module, **controls: nn.Module) -> Networks:
    given = {"dense": dense, "compressed": compressed} | controls
    return Networks(**{role: latency.eager(model, IMAGES) for role, model in given.items()})


def ask(**given: Any) -> Ask:
    usual = {"device": "cpu", "threads": 1, "cold": False, "seconds": 1.5, "processes": 1}
    return Ask(**(usual | given))


#: Seconds of a measurement and of its repetitions: one in twenty misses the truth, and on a busy machine more do.
ATTEMPTS = (1.5, 3.0, 6.0)
#: An interval that reaches further than this to either side would agree with anything.
WIDEST = 0.1
#: The share of the processors that others may take before a missed bound says nothing about us.
BUSY = 0.25


def timing(test: Callable[..., None]) -> Callable[..., None]:
    """A test of times: where it fails while others take the processors, it is skipped and says so."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        before = latency.cpu_times()
        try:
            test(*arguments, **named)
        except AssertionError:
            others = latency.others_share(before, latency.cpu_times())
            if others is not None and others > BUSY:
                pytest.skip(f"other processes took {others:.0%} of the processors: nothing can be timed here")
            raise

    return run


def agrees(benchmark: Any, networks: Networks, truth: float) -> bool:
    """Does one of a few measurements have `truth` in its interval, and an interval worth the name?

    A harness that is off by more than its interval misses every time, however often it is asked.
    """
    for seconds in ATTEMPTS:
        benchmark._mode = None  # pytest-benchmark wants one call a test
        found = stats.paired_speedup([latency.measure(benchmark, networks, ask(seconds=seconds)).pairs])
        if found.low <= truth <= found.high and found.half_width <= WIDEST:
            return True
    return False


@timing
def test_network_run_twice_is_twice_as_slow(benchmark: Any) -> None:
    assert agrees(benchmark, both(Repeated(2), Repeated(1)), 2.0)


@timing
def test_network_against_itself_is_no_faster(benchmark: Any) -> None:
    assert agrees(benchmark, both(Repeated(1), Repeated(1)), 1.0)


@timing
def test_another_ratio_is_not_taken_for_the_known_one(benchmark: Any) -> None:
    """What the two tests above ask is not granted to a network that is 2.5 times as slow."""
    networks = both(Repeated(5), Repeated(2))
    assert not agrees(benchmark, networks, 2.0)
    assert agrees(benchmark, networks, 2.5)


@timing
def test_other_weights_take_the_same_time(benchmark: Any) -> None:
    found = latency.measure(benchmark, both(Repeated(1), Repeated(1), redrawn=Repeated(1)), ask())
    assert 0.8 < stats.paired_speedup([found.blind]).value < 1.25


class Delayed(Repeated):
    """A small network that sleeps so long beside its work."""

    def __init__(self, seconds: float) -> None:
        super().__init__(1)
        self.seconds = seconds

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return super().forward(images)


@pytest.mark.parametrize("side", ["dense", "compressed"])
@timing
def test_sleep_planted_in_one_side_is_found_there(benchmark: Any, side: str) -> None:
    networks = {"dense": Repeated(1), "compressed": Repeated(1), side: Delayed(0.005)}
    found = latency.measure(benchmark, both(**networks), ask())
    differences = [dense - compressed for dense, compressed in found.pairs]
    planted = stats.median(differences) * (1 if side == "dense" else -1)
    assert 0.0049 < planted < 0.009  # a sleep never ends early, and late by what else runs


@timing
def test_half_of_a_rows_time_goes_to_the_eager_network_beside_it(benchmark: Any) -> None:
    networks = both(Sleeping(0.004), Sleeping(0.002), eager=Sleeping(0.004))
    found = latency.measure(benchmark, networks, ask(seconds=2.0))
    assert len(found.eager) >= 0.6 * len(found.pairs)
    quick = both(Sleeping(0.0002), Sleeping(0.0002), eager=Sleeping(0.01))
    schedule = latency.plan(quick, ask(seconds=8, processes=3), time.perf_counter())
    assert schedule.beside is not None and schedule.beside.rounds >= 8  # twenty pairs of 0.1 s fit in its half


@timing
def test_eager_network_beside_a_compiled_one_is_timed_in_blocks_of_its_own(benchmark: Any) -> None:
    networks = both(Sleeping(0.004), Sleeping(0.002), eager=Sleeping(0.03))
    found = latency.measure(benchmark, networks, ask())
    assert stats.paired_speedup([found.eager]).value == pytest.approx(15, rel=0.25)
    assert stats.paired_speedup([found.pairs]).value == pytest.approx(2, rel=0.25)
    assert 5 <= len(found.eager) <= len(found.pairs) and found.blind == []


@timing
def test_planted_sleep_is_found(benchmark: Any) -> None:
    found = latency.measure(benchmark, both(Sleeping(0.006), Sleeping(0.003)), ask())
    dense, compressed = (stats.median([pair[side] for pair in found.pairs]) for side in (0, 1))
    assert 0.006 <= dense < 0.009 and 0.003 <= compressed < 0.006
    assert stats.paired_speedup([found.pairs]).value == pytest.approx(2, rel=0.2)


def test_blocks_take_turns_in_going_first(benchmark: Any) -> None:
    calls: list[str] = []
    schedule = Schedule(untimed=(2, 1), timed=(3, 2), rounds=4, control_rounds=0, converged=True)
    models = Sleeping(0, "D", calls), Sleeping(0, "C", calls)
    found = latency.measure(benchmark, both(*models), ask(schedule=schedule))
    dense, compressed = "D" * 5, "C" * 3
    assert "".join(calls[3:]) == (dense + compressed + compressed + dense) * 2  # 3 passes of warm-up before
    assert len(found.pairs) == 4


def test_cold_row_is_a_bare_alternation(benchmark: Any) -> None:
    calls: list[str] = []
    models = Sleeping(0.001, "D", calls), Sleeping(0.001, "C", calls)
    found = latency.measure(benchmark, both(*models), ask(cold=True, seconds=0.2))
    assert found.schedule.untimed == (0, 0) and found.schedule.timed == (1, 1)
    assert "".join(calls).endswith("DC" * found.schedule.rounds)


@timing
def test_blocks_last_five_passes_and_five_milliseconds(benchmark: Any) -> None:
    found = latency.measure(benchmark, both(Sleeping(0.004), Sleeping(0.0002)), ask(seconds=0.5))
    assert found.schedule.untimed == (5, 5)
    assert found.schedule.timed[0] == 5
    assert 10 <= found.schedule.timed[1] <= 30


@timing
def test_slow_network_gets_few_passes_and_five_pairs(benchmark: Any) -> None:
    started = time.perf_counter()
    found = latency.measure(benchmark, both(Sleeping(0.15), Sleeping(0.001)), ask(seconds=0.5))
    assert found.schedule.timed[0] == 1 and found.schedule.untimed[0] == 1
    assert 5 <= len(found.pairs) <= 6 and not found.schedule.converged
    assert time.perf_counter() - started < 6


@timing
def test_converged_row_stops_before_its_limit(benchmark: Any) -> None:
    found = latency.measure(benchmark, both(Sleeping(0.003), Sleeping(0.003)), ask(seconds=30))
    assert found.schedule.converged and len(found.pairs) >= stats.FEWEST_PAIRS


@timing
def test_processes_share_the_seconds_and_pairs_of_a_row() -> None:
    networks = both(Sleeping(0.002), Sleeping(0.002))
    alone = latency.plan(networks, ask(seconds=30), time.perf_counter())
    shared = latency.plan(networks, ask(seconds=30, processes=3), time.perf_counter())
    assert alone.converged and shared.converged
    assert shared.rounds < alone.rounds and 3 * shared.rounds >= stats.FEWEST_PAIRS
    assert alone.rounds % 2 == shared.rounds % 2 == 0  # each network goes first as often as the other


@timing
def test_network_too_slow_for_its_row_is_timed_in_fewer_processes() -> None:
    quick, slow = (latency.plan(both(Sleeping(seconds), Sleeping(seconds)), ask(seconds=2, processes=6),
                                time.perf_counter()) for seconds in (0.002, 0.2))  # fmt: skip
    assert (quick.processes, slow.processes) == (6, 3) and slow.rounds == 2 and not slow.converged


def test_subnormal_weights_are_counted() -> None:
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.weight[0] = torch.tensor([1e-40, -1e-40, 0.0, 1e-37])
        model.bias.fill_(torch.finfo(torch.float32).tiny)
    assert latency.count_subnormals(model) == 2
    assert latency.count_subnormals(nn.Linear(2, 2).half()) == 0


def test_subnormals_are_flushed_in_every_thread_and_still_counted() -> None:
    code = (
        "import torch\n"
        "from suite import latency\n"
        "layer = torch.nn.Linear(2, 2)\n"
        "layer.weight.data.fill_(1e-40)\n"
        "with latency.quiet_process(latency.Ask('cpu', 2, False, 1.0, 1)):\n"
        "    assert torch.get_num_threads() == 2\n"
        "    many = torch.full((1 << 21,), 1e-40)\n"
        "    bits = (many * 1.0).view(torch.int32)\n"
        "    print(int((bits != 0).sum()), latency.count_subnormals(layer))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "4"]


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat")
def test_work_of_other_processes_is_seen_and_our_own_is_not() -> None:
    def share_while(seconds: float) -> float:
        before = latency.cpu_times()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        found = latency.others_share(before, latency.cpu_times())
        assert found is not None
        return found

    quiet = share_while(0.4)
    spin = "import time\nend = time.time() + 20\nwhile time.time() < end: pass"
    others = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(0.3)
        disturbed = share_while(0.4)
    finally:
        for other in others:
            other.kill()
            other.wait()
    cores = os.cpu_count() or 1
    assert 0 <= quiet <= 1
    assert disturbed > 0.3 * (cores - 1) / cores
    assert disturbed > quiet - 0.3


def test_shares_are_computed_from_the_machine_less_ourselves() -> None:
    before, after = latency.CpuTimes(100.0, 10.0, 0.0), latency.CpuTimes(108.0, 14.0, 10.0)
    assert latency.others_share(before, after) == pytest.approx(0.4 / (os.cpu_count() or 1))
    assert latency.others_share(None, after) is None
    assert latency.others_share(before, latency.CpuTimes(101.0, 14.0, 10.0)) == 0.0
