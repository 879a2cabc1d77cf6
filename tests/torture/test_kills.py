"""kill -9 at random moments, and the same command again until it ends: nothing is lost, nothing doubled, nothing left.

What is promised: a record is there whole, or it is not there and its cell is run again. A line may be cut off where the
system was stopped in the middle of writing it; it is then the last of its file, and `check` names it.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import plan, records
from suite.records import Record
from tests.benchmarks import generated

StartCli = Callable[..., "subprocess.Popen[str]"]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
Count = Callable[[str], int]
#: Seconds; on an idle machine each step takes a few.
PATIENCE = 600


def names(*folders: Path) -> list[tuple[Path, int]]:
    return [(path, path.stat().st_size) for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def kill(process: subprocess.Popen[str], chance: random.Random, seconds: float, *folders: Path) -> bool:
    """Kill a process after a while, or just after it has written; False where it had ended before."""
    deadline = time.monotonic() + chance.uniform(0.02, 1) * seconds
    at_once, before = chance.random() < 0.6, names(*folders)
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        try:
            written = at_once and names(*folders) != before
        except FileNotFoundError:  # renamed between
            written = at_once
        if written:
            time.sleep(chance.choice((0, 0, 0.002, 0.02, 0.2)))
            break
    ended = process.poll() is not None
    process.kill()
    process.communicate(timeout=PATIENCE)
    return not ended


def remains(*folders: Path) -> list[Path]:
    """What only a process that is still at work may have left."""
    return [path for folder in folders for path in folder.rglob("*") if ".part" in path.name or path.suffix == ".pt"]


def identity(record: Record) -> tuple[Any, ...]:
    return record.kind, record.cell, str(record.conditions)


def until_the_end(
    start: Callable[[], subprocess.Popen[str]], chance: random.Random, seconds: float, most: int, *folders: Path
) -> int:
    """Start a command and kill it, at most so many times, until it ends by itself; how often it was killed."""
    for killed in range(most):
        if not kill(start(), chance, seconds, *folders):
            return killed
    done = start()
    _, told = done.communicate(timeout=PATIENCE)
    assert done.returncode == 0, told
    return most


def test_killed_runs_end_as_a_run_left_alone(
    start_cli: StartCli, run_cli: RunCli, tmp_path: Path, tiny_task: Any, count: Count
) -> None:
    asked = ("run", "--task", "tiny", "--method", "dense", "--method", "zeroes", "--profile", "smoke")

    def places(name: str) -> tuple[Path, Path, tuple[object, ...]]:
        results, models = tmp_path / name / "results", tmp_path / name / "artifacts"
        return results, models, (*asked, "--results", results, "--artifacts", models)

    whole_results, _, words = places("whole")
    began = time.monotonic()
    assert run_cli(*words).returncode == 0
    seconds = time.monotonic() - began
    whole = {record.cell: record for record in records.read_results(whole_results)[0]}
    assert len(whole) == 3
    chance, left, episode = random.Random(0), count("kills"), 0
    while left > 0:
        episode += 1
        results, models, words = places(str(episode))
        left -= max(
            1, until_the_end(lambda words=words: start_cli(*words), chance, seconds, min(left, 8), models, results)
        )
        found, problems = records.read_results(results)
        assert not problems
        assert sorted(record.cell for record in found) == sorted(whole), "nothing lost, nothing doubled"
        for record in found:
            assert record.status == "ok" and plan.is_fresh(record)
            own, alone = record.metrics, whole[record.cell].metrics
            assert own == alone and record.checkpoint_sha256 == whole[record.cell].checkpoint_sha256
        assert not remains(results, models)
        assert run_cli("check", results).returncode == 0


def test_killed_benchmark_measures_each_row_once(
    start_cli: StartCli, run_cli: RunCli, tmp_path: Path, results_dir: Path, tiny_task: Any, count: Count
) -> None:
    asked = ("bench", "--task", "tiny", "--method", "zeroes", "--set", "share=0.5", "--profile", "smoke", "--results",
             results_dir, "--artifacts", tmp_path / "models")  # fmt: skip
    most = count("kills") // 10
    if most == 0:
        pytest.skip("in nox -s torture; tests/e2e/test_command_line.py kills one benchmark")
    until_the_end(lambda: start_cli(*asked), random.Random(1), 20, most, results_dir, tmp_path / "models")
    found, problems = records.read_results(results_dir)
    assert not problems
    rows = [identity(record) for record in found]
    assert len(rows) == len(set(rows)) == 8 and {record.status for record in found} == {"ok"}
    assert not remains(results_dir, tmp_path / "models")


def test_killed_merge_brings_each_record_once(
    start_cli: StartCli, run_cli: RunCli, tmp_path: Path, count: Count
) -> None:
    source = tmp_path / "source"
    generated.write(source, 2000)
    sent = sorted(map(records.encode, records.read_results(source)[0]))
    for episode in range(max(1, count("kills") // 5)):
        into = tmp_path / f"into-{episode}"
        words = ("merge", source, "--into", into)
        until_the_end(lambda words=words: start_cli(*words), random.Random(episode), 1.5, 5, into)
        assert run_cli(*words).returncode == 0
        assert sorted(map(records.encode, records.read_results(into)[0])) == sent
        assert not remains(into)


def test_killed_site_is_the_old_one_or_the_new_one(
    start_cli: StartCli, run_cli: RunCli, tmp_path: Path, count: Count
) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    generated.write(results, 400)
    words = ("site", "--results", results, "--out", out)
    assert run_cli(*words).returncode == 0
    whole = dict(names(out))
    for episode in range(max(1, count("kills") // 5)):
        until_the_end(lambda: start_cli(*words), random.Random(episode), 3, 4, out)
        assert run_cli(*words).returncode == 0
        assert dict(names(out)) == whole
        assert not remains(out)
