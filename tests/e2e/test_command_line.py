"""`python -m suite` as its users run it: real processes, real files, and real kills."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from suite import invocation, plan, records, run
from suite.progress import Progress

RunCli = Callable[..., subprocess.CompletedProcess[str]]
StartCli = Callable[..., "subprocess.Popen[str]"]
#: Seconds; on an idle machine each step takes a few.
PATIENCE = 300


def test_smoke_run_prints_a_json_object_a_record_and_leaves_valid_results(run_cli: RunCli, tmp_path: Path) -> None:
    asked = ("--task", "vgg16-digits", "--method", "dense", "--method", "global-unstructured", "--points", "first")
    done = run_cli("run", *asked, "--profile", "smoke", "--results", "results", "--json")
    assert done.returncode == 0, done.stderr
    dense, sparse = (json.loads(line) for line in done.stdout.splitlines())
    assert (dense["method"], sparse["method"]) == ("dense", "global-unstructured")
    assert sparse["metrics"]["nonzero_parameters"] < 0.11 * dense["metrics"]["parameters"]
    assert sparse["metrics"]["macs"] == dense["metrics"]["macs"]
    assert sparse["checkpoint_sha256"] == dense["checkpoint_sha256"]
    assert "--task vgg16-digits --method global-unstructured" in done.stderr, "progress goes to standard error"
    assert "register_constant" not in done.stderr, "torchao's import is no news to a user"
    (file,) = (tmp_path / "results").glob("*/*.jsonl")
    assert file.read_text() == done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "results"]
    checked = run_cli("check", "results")
    assert (checked.returncode, checked.stdout) == (0, "2 valid records, 0 bad\n")


def _await(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Wait until something has happened while a process goes on."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.02)


def _kill(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGKILL)
    return process.communicate(timeout=PATIENCE)[1]


def test_killed_runs_lose_and_double_nothing(
    start_cli: StartCli, run_cli: RunCli, results_dir: Path, tmp_path: Path, tiny_task: Any
) -> None:
    """Killed while the dense model is trained, then while a method works; the same command then goes on to the end."""
    methods = ("--method", "dense", "--method", "zeroes", "--method", "waits")
    asked = ("run", "--task", "tiny-slow", *methods, "--profile", "smoke", "--results", results_dir, "--json")
    (tmp_path / "wait").touch()

    first = start_cli(*asked)
    _await(first, lambda: any(tmp_path.glob("artifacts/tiny-slow/dense/*/training.pt")))
    _kill(first)
    assert records.read_results(results_dir) == ([], [])

    second = start_cli(*asked)
    assert second.stdout is not None
    finished = [json.loads(second.stdout.readline()) for _ in range(3)]
    _await(second, lambda: second.poll() is None)
    told = _kill(second)
    assert "going on from epoch " in told, "the training that was killed was not lost"
    assert [each["method"] for each in finished] == ["dense", "zeroes", "zeroes"]
    kept, problems = records.read_results(results_dir)
    assert [record.method for record in kept] == ["dense", "zeroes", "zeroes"] and not problems
    assert run_cli("check", results_dir).returncode == 0
    files = {path: path.read_bytes() for path in results_dir.rglob("*.jsonl")}

    (tmp_path / "wait").unlink()
    third = run_cli(*asked)
    assert third.returncode == 0, third.stderr
    assert [json.loads(line)["method"] for line in third.stdout.splitlines()] == ["dense", "zeroes", "zeroes", "waits"]
    found, problems = records.read_results(results_dir)
    assert not problems
    assert sorted(record.method for record in found) == ["dense", "waits", "zeroes", "zeroes"]
    assert len({record.cell for record in found}) == 4, "no cell twice"
    assert {path: path.read_bytes() for path in files} == files, "what was written before is untouched"
    checked = run_cli("check", results_dir)
    assert (checked.returncode, checked.stdout) == (0, "4 valid records, 0 bad\n")

    nowhere = Path("/nowhere")
    places = invocation.Places(nowhere, tmp_path / "again", nowhere)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cell = plan.Cell("tiny-slow", "dense", {}, 0, "smoke")
        whole = run.dense_model(
            cell, run.prepare("tiny-slow", "smoke", places, "cpu"), places, "cpu", Progress(silent=True)
        )
    finally:
        torch.set_num_threads(threads)
    assert {record.checkpoint_sha256 for record in found} == {whole.sha256}, "bit-equal to a training left alone"


def test_benchmark_that_is_killed_goes_on_with_the_rows_that_are_missing(
    start_cli: StartCli, run_cli: RunCli, results_dir: Path
) -> None:
    asked = ("--task", "tiny", "--method", "zeroes", "--set", "share=0.5", "--profile", "smoke")
    first = start_cli("bench", *asked, "--results", results_dir, "--json")
    assert first.stdout is not None
    kept = [json.loads(first.stdout.readline()) for _ in range(4)]
    told = _kill(first)
    assert [each["kind"] for each in kept] == ["accuracy", "accuracy", "noise-floor", "noise-floor"]
    assert "6 rows to measure (2 noise-floors, 2 latency, 2 memory): about " in told
    assert "first, 2 cells without a model: at most " in told
    before = {path: path.read_bytes() for path in results_dir.rglob("*.jsonl")}
    second = run_cli("bench", *asked, "--results", results_dir, "--json")
    assert second.returncode == 0, second.stderr
    known, problems = records.read_results(results_dir)
    assert not problems
    rows = [(record.kind, record.cell, str(record.conditions)) for record in known]
    assert len(rows) == len(set(rows)) == 8, "nothing is lost, nothing is measured twice"
    assert {path: path.read_bytes() for path in before} == before


def test_reader_that_goes_away_is_no_traceback(start_cli: StartCli) -> None:
    process = start_cli("list", "tasks", "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # as `| head` does
    assert process.stderr.read() == ""
    assert process.wait(PATIENCE) == 1
