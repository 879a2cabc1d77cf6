"""Two commands on one folder at the same time.

What is promised: each writes a file of its own, every line is whole, and both end well. A cell that one of two runs is
at work on the other one leaves to it. Two merges wait for each other and bring each record once.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite import records
from tests.benchmarks import generated

StartCli = Callable[..., "subprocess.Popen[str]"]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
PATIENCE = 600


def ended(*processes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    told = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]


def test_two_runs_on_one_folder_both_end_and_agree(
    start_cli: StartCli, run_cli: RunCli, results_dir: Path, tiny_task: Any
) -> None:
    asked = (
        "run",
        "--task",
        "tiny",
        "--method",
        "dense",
        "--method",
        "zeroes",
        "--profile",
        "smoke",
        "--results",
        results_dir,
    )
    both = [start_cli(*asked), start_cli(*asked)]
    done = [process.communicate(timeout=PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], done
    counts = [int(printed.splitlines()[-1].split()[0]) for printed, _ in done]
    assert sum(counts) == 3, "each cell is measured by one of them"
    assert sum(printed.count("(measured before)") for printed, _ in done) == 3, "and told by both"
    found, problems = records.read_results(results_dir)
    assert not problems and len({record.cell for record in found}) == 3 and len({record.run for record in found}) <= 2
    for cell in {record.cell for record in found}:
        own = [record for record in found if record.cell == cell]
        assert len(own) == 1 and all(record.status == "ok" for record in own)
        assert all(record.metrics == own[0].metrics for record in own)
    assert run_cli("check", results_dir).returncode == 0


def test_two_merges_into_one_folder_bring_each_record_once(start_cli: StartCli, tmp_path: Path) -> None:
    sources = [tmp_path / "a", tmp_path / "b"]
    for source in sources:
        generated.write(source, 300)
    extra = tmp_path / "b" / "box-a" / "generated-accuracy.jsonl"  # a run of one name, and not the same
    extra.write_bytes(b"".join(extra.read_bytes().splitlines(keepends=True)[:10]))
    into = tmp_path / "into"
    done = ended(*[start_cli("merge", source, "--into", into) for source in (*sources, *sources)])
    assert [code for code, _ in done] == [0] * 4, done
    found = sorted(map(records.encode, records.read_results(into)[0]))
    assert found == sorted(map(records.encode, records.read_results(tmp_path / "a")[0]))
