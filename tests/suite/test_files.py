"""Files are written whole or not at all; what a killed process left is cleared; strangers' files are read in bounds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite import files

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from pathlib import Path
from suite import files
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)  # in the middle of writing
files.write_atomically(Path(sys.argv[1]), b"half")
"""


def killed_while_writing(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT)
    assert done.returncode == -9


def test_what_a_killed_process_left_is_deleted_by_the_next_writer_of_the_file(tmp_path: Path) -> None:
    path, other = tmp_path / "model.bin", tmp_path / "other.bin"
    killed_while_writing(path)
    killed_while_writing(other)
    assert len(list(tmp_path.iterdir())) == 2 and not path.exists()
    files.write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert files.abandoned(path) == [] and len(files.abandoned(other)) == 1
    assert len(list(tmp_path.iterdir())) == 2, "that of another file stays for its own writer"


def test_part_of_a_process_at_work_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    own = files.part_of(path)
    own.write_bytes(b"still at it")
    parent = own.with_name(own.name.replace(f"-{os.getpid()}.", f"-{os.getppid()}."))
    elsewhere = tmp_path / ".model.bin.0badf00d-1.part"
    odd = tmp_path / ".model.bin.x.part"
    for part in (parent, elsewhere, odd):
        part.write_bytes(b"still at it")
    assert files.abandoned(path) == []
    day_before = time.time() - 25 * 3600
    os.utime(elsewhere, (day_before, day_before))
    assert files.abandoned(path) == [elsewhere], (
        "of another machine, whose processes are not known here, once it is old"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="it is no file"):
            files.open_regular(path)


def test_long_line_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    content = [b"x" * 10, b"y" * 11, b"z" * 12, b"a" * 100, b"", b"b"]
    (tmp_path / "text").write_bytes(b"\n".join(content))
    with files.open_regular(tmp_path / "text") as file:
        found = list(files.bounded_lines(file, 10))
    assert found == [b"x" * 10 + b"\n", b"y" * 11 + b"\n", b"z" * 11, b"a" * 11, b"\n", b"b"]
