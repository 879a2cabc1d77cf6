"""Runs beside each other on one folder: each cell is made once, and what another has made is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite import plan
from suite.claims import FILE, Claims, News
from suite.plan import Cell
from suite.records import Record, encode

ROOT = Path(__file__).parents[2]
CELLS = tuple(Cell("vgg16-digits", "dense", {}, seed, "smoke") for seed in (0, 1))
OTHER = """if True:
    import sys
    from pathlib import Path
    from suite.claims import Claims
    from suite.plan import Cell

    claims = Claims(Path(sys.argv[1]))
    print(claims.take(Cell("vgg16-digits", "dense", {}, 0, "smoke")), flush=True)
    sys.stdin.readline()
"""


def other(folder: Path) -> subprocess.Popen[str]:
    """A process that claims the first cell and keeps it until a line is written to it; what it says is read."""
    words, pipe = [sys.executable, "-c", OTHER, str(folder)], subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_claim_is_of_one_process_and_ends_with_it(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "models")
    with other(tmp_path / "models") as process:
        assert told(process) == "True"
        assert [claims.take(cell) for cell in CELLS] == [False, True]
        process.kill()
    assert claims.take(CELLS[0])
    with other(tmp_path / "models") as process:
        assert told(process) == "False"
        process.communicate("\n")
    claims.give_up(CELLS[0])
    with other(tmp_path / "models") as process:
        assert told(process) == "True"
        process.communicate("\n")
    claims.close()
    claims.close()


def test_where_no_lock_can_be_made_nobody_else_is_seen(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "elsewhere").touch()
    (tmp_path / "models" / FILE).symlink_to(tmp_path / "elsewhere")
    assert all(Claims(tmp_path / "models").take(cell) for cell in CELLS), "a link is not followed"
    (tmp_path / "file").touch()
    assert Claims(tmp_path / "file").take(CELLS[0])


def test_news_are_fresh_records_of_files_that_were_changed(
    make_record: Callable[..., Record], tiny_task: Any, results_dir: Path
) -> None:
    cell = Cell("tiny", "dense", {}, 0, "smoke")
    made = make_record(task="tiny", method="dense", hyperparameters={}, profile="smoke", cell=cell.key,
                       freshness=plan.current_freshness("tiny", "dense"))  # fmt: skip
    news = News(results_dir, "cpu")
    path = results_dir / "box" / "run.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(encode(made) + b"no record\n")
    found = news.of(cell)
    assert found is not None and encode(found) == encode(made)
    assert news.of(Cell("tiny", "dense", {}, 1, "smoke")) is None and News(results_dir, "cuda").of(cell) is None
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert news.of(cell) is None, "the run has read it"
