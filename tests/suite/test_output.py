"""Standard output and error in whatever encoding they are written, closed ones too."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suite import cli, records

ROOT = Path(__file__).parents[2]


def test_standard_output_that_is_not_utf_8_gets_question_marks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["study", "table1-vgg-cost", "--table"]) == 0
    whole = capsys.readouterr().out
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="cp1252"))
    assert cli.main(["study", "table1-vgg-cost", "--table"]) == 0
    assert whole != written.getvalue().decode("cp1252") == whole.encode("cp1252", "replace").decode("cp1252")


@pytest.mark.parametrize(
    ("closing", "arguments", "code", "printed"),
    [
        (">&-", ("list", "studies"), 0, ""),
        (">&-", ("list", "studios"), 2, "invalid choice: 'studios'"),
        ("2>&-", ("list", "studios"), 2, ""),
        ("<&- 2>&-", ("list", "studies"), 0, "fig4a-l1-curve"),
    ],
)
def test_closed_stream_is_one_that_leads_nowhere(
    closing: str, arguments: tuple[str, ...], code: int, printed: str
) -> None:
    words = ["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, "-m", "suite", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == code and printed in done.stdout + done.stderr
    assert bool(done.stdout + done.stderr) == bool(printed)


@pytest.mark.parametrize("closing", [">&-", "<&- >&- 2>&-"])
def test_cell_is_measured_where_nobody_listens(
    closing: str, start_cli: Callable[..., subprocess.Popen[str]], results_dir: Path
) -> None:
    asked = ("run", "--task", "tiny", "--method", "dense", "--profile", "smoke", "--results", results_dir)
    process = start_cli(*asked, through=f'exec "$@" {closing}')
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert [record.status for record in records.read_results(results_dir)[0]] == ["ok"]
