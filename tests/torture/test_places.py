"""Folders that cannot be written, or not any more: one line that says why, and nothing lost once there is room.

Small file systems are mounted in a name space of their own, which ends with the process. Where that is not allowed, the
tests are skipped: limits and permissions are tried in tests/suite/test_records.py everywhere.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import records
from tests.benchmarks import generated

ROOT = Path(__file__).parents[2]
Inside = Callable[[str], "subprocess.CompletedProcess[str]"]


@functools.cache
def refusal() -> str | None:
    """Why nothing can be mounted here, or None where it can."""
    if shutil.which("unshare") is None:
        return "no unshare here"
    tried = subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"nothing can be mounted here: {tried.stderr.strip()}"


@pytest.fixture
def inside(tmp_path: Path, tiny_package: Path) -> Inside:
    """`inside(script)`: run a shell script where it may mount what it likes; `$S` is `python -m suite`."""
    if (why := refusal()) is not None:
        pytest.skip(why)

    def call(script: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(tiny_package)]),
            "S": f"{sys.executable} -m suite",
            "PRUNEMARK_ARTIFACTS": str(tmp_path / "models"),
            "OMP_NUM_THREADS": "1",
        }
        words = ["unshare", "-m", "sh", "-ec", f"mount --make-rprivate /; {script}"]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

    return call


def lines_of(error: str) -> list[str]:
    return [line for line in error.splitlines() if line.startswith("prunemark: ")]


def test_run_on_a_disk_that_fills_up_keeps_what_it_wrote_and_goes_on(
    inside: Inside, tmp_path: Path, tiny_task: Any
) -> None:
    run = "$S run --task tiny --method dense --method zeroes --profile smoke --results disk"
    done = inside(f"""
        mkdir disk; mount -t tmpfs -o size=28k none disk
        head -c 8192 /dev/zero > disk/filler
        set +e; {run}; echo $? > first; cp -a disk full
        rm disk/filler; mount -o remount,size=1m disk; {run}; echo $? > second; cp -a disk whole
    """)
    assert ((tmp_path / "first").read_text(), (tmp_path / "second").read_text()) == ("1\n", "0\n"), done.stderr
    (line,) = lines_of(done.stderr)
    assert "No space left on device" in line and "free some room or choose another folder" in line
    kept, problems = records.read_results(tmp_path / "full")
    assert not problems and 0 < len(kept) < 3, "the disk was full between two records"
    found, problems = records.read_results(tmp_path / "whole")
    assert not problems and len(found) == len({record.cell for record in found}) == 3
    assert [r for r in found if r.run == kept[0].run] == kept


def test_models_that_find_no_room_end_the_run_with_a_line(inside: Inside, tmp_path: Path, tiny_task: Any) -> None:
    done = inside("""
        mkdir models; mount -t tmpfs -o size=64k none models
        set +e; $S run --task tiny --method dense --profile smoke --results results; echo $? > code; find models > left
    """)
    assert (tmp_path / "code").read_text() == "1\n", done.stderr
    (line,) = lines_of(done.stderr)
    assert line.startswith("prunemark: cannot write ") and "No space left on device; free some room" in line
    assert records.read_results(tmp_path / "results") == ([], [])
    assert ".part" not in (tmp_path / "left").read_text()


@pytest.mark.parametrize(
    "mounted", ["mount -t tmpfs -o size=60k none disk", "mount --bind old disk; mount -o remount,ro,bind disk"]
)
def test_merge_and_site_without_room_say_so_and_leave_what_was_there(
    inside: Inside, tmp_path: Path, mounted: str
) -> None:
    generated.write(tmp_path / "source", 200)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "index.html").write_text("the old site")
    done = inside(f"""
        mkdir disk; {mounted}; cp old/index.html disk 2> /dev/null || true
        set +e; $S merge source --into disk; echo $? > merged; $S site --results source --out disk; echo $? > built
        cp -a disk left
    """)
    assert (tmp_path / "merged").read_text() + (tmp_path / "built").read_text() == "1\n1\n", done.stderr
    told = lines_of(done.stderr)
    assert len(told) == 2 and all("cannot write" in line for line in told)
    why = (
        "Read-only file system; choose a folder" if "ro" in mounted.split(",") else "No space left on device; free some"
    )
    assert all(why in line for line in told)
    assert (tmp_path / "left" / "index.html").read_text() == "the old site"
    assert not [path for path in (tmp_path / "left").rglob("*") if ".part" in path.name]
    assert not records.read_results(tmp_path / "left")[1]


def test_run_into_a_read_only_folder_is_refused_before_anything_is_trained(
    inside: Inside, tmp_path: Path, tiny_task: Any
) -> None:
    done = inside("""
        mkdir disk; mount --bind disk disk; mount -o remount,ro,bind disk
        set +e; $S run --task tiny --method dense --profile smoke --results disk; echo $? > code
    """)
    assert (tmp_path / "code").read_text() == "1\n", done.stderr
    (line,) = lines_of(done.stderr)
    assert "Read-only file system; choose a folder that you may write to" in line
    assert not (tmp_path / "models").exists(), "nothing was trained in vain"
