"""Standard output in whatever encoding it is written."""

from __future__ import annotations

import io

import pytest

from suite import cli


def test_standard_output_that_is_not_utf_8_gets_question_marks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["study", "table1-vgg-cost", "--table"]) == 0
    whole = capsys.readouterr().out
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="cp1252"))
    assert cli.main(["study", "table1-vgg-cost", "--table"]) == 0
    assert whole != written.getvalue().decode("cp1252") == whole.encode("cp1252", "replace").decode("cp1252")
