"""Runs beside each other on one folder: each cell is made once, and what another has made is taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import isolate, plan
from suite.claims import FILE, Claims, News
from suite.plan import Cell
from suite.progress import Progress
from suite.records import Record, encode, now

ROOT = Path(__file__).parents[2]
CELLS = tuple(Cell("vgg16-digits", "dense", {}, seed, "smoke") for seed in (0, 1))
OTHER = """if True:
    import json
    import sys
    from pathlib import Path
    from suite.claims import Claims
    from suite.plan import Cell

    claims = Claims(Path(sys.argv[1]))
    print(claims.take(Cell(*json.loads(sys.argv[2]))), flush=True)
    sys.stdin.readline()
"""


def other(folder: Path, cell: Cell = CELLS[0]) -> subprocess.Popen[str]:
    """A process that claims the cell and keeps it until a line is written to it."""
    named = json.dumps([cell.task, cell.method, dict(cell.hyperparameters), cell.seed, cell.profile])
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}  # with the packages that this test has installed
    words, pipe = [sys.executable, "-c", OTHER, str(folder), named], subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, env=os.environ | path)


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
    claims = Claims(tmp_path / "models")
    assert all(map(claims.take, CELLS))
    with other(tmp_path / "models") as process:
        assert told(process) == "True", "the link was followed"
        process.communicate("\n")
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


def test_what_another_run_failed_at_meanwhile_is_news_and_what_failed_before_is_not(
    make_record: Callable[..., Record], tiny_task: Any, results_dir: Path
) -> None:
    cell = Cell("tiny", "dense", {}, 0, "smoke")
    news = News(results_dir, "cpu")
    fields = {"task": "tiny", "method": "dense", "hyperparameters": {}, "profile": "smoke", "cell": cell.key,
              "freshness": plan.current_freshness("tiny", "dense"), "status": "timeout",
              "reason": "too long"}  # fmt: skip
    path = results_dir / "box" / "run.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(encode(make_record(**fields, created="2026-01-01T00:00:00.000000Z")))
    assert news.of(cell) is None
    path.write_bytes(encode(make_record(**fields, created=now())))
    found = news.of(cell)
    assert found is not None and found.status == "timeout"


def test_what_another_run_is_at_work_on_comes_last_and_once(
    places: Any, origin: Any, tiny_cell: Callable[..., Cell], capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [tiny_cell("dense"), tiny_cell("zeroes", share=0.1), tiny_cell("zeroes", share=0.2)]
    list(isolate.run_cells(cells[:1], places, "cpu", origin, Progress(silent=True)))
    with other(places.artifacts, cells[1]) as process:
        assert told(process) == "True"
        made = isolate.run_cells(cells[1:], places, "cpu", origin, Progress())
        assert next(made).cell == cells[2].key
        with other(places.artifacts, cells[2]) as third:
            assert told(third) == "False", "until its record is written, nobody else may have it"
            third.communicate("\n")
        threading.Timer(2, process.kill).start()
        assert next(made).cell == cells[1].key
    assert list(made) == []
    assert capsys.readouterr().err.count(f"another run is at work on {cells[1].arguments}: that waits") == 1


def test_free_worker_takes_up_what_another_run_lets_go_while_others_are_silent(
    places: Any, origin: Any, tiny_cell: Callable[..., Cell], install: Callable[..., Path]
) -> None:
    sleeps = '''
import time

from suite import register_method


@register_method("sleeps", family="unstructured pruning")
def sleeps(model, bench):
    """Sleep for ever."""
    time.sleep(1000)
'''
    install(methods={"sleepy": sleeps})
    list(isolate.run_cells([tiny_cell("dense")], places, "cpu", origin, Progress(silent=True)))
    cells = [tiny_cell("sleeps"), tiny_cell("zeroes", share=0.3)]
    with other(places.artifacts, cells[1]) as process:
        assert told(process) == "True"
        threading.Timer(4, process.kill).start()
        made = isolate.run_cells(cells, places, "cpu", origin, Progress(silent=True), workers=2, timeout=120)
        assert next(made).cell == cells[1].key, "not only once the first is stopped"
        made.close()
