"""One line for each failure: our sentence first, the remedy that fits, the library's words behind."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from suite.errors import RecordError, remedy, said, without_folders
from suite.records import write_atomically


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "free some room"),
        (errno.EACCES, "that you may write to"),
        (errno.EROFS, "that you may write to"),
        (errno.ENOTDIR, "choose another name"),
        (errno.ENAMETOOLONG, "a shorter name"),
        (errno.EIO, "choose another place"),
    ],
)
def test_remedy_fits_the_reason(number: int, told: str) -> None:
    assert told in remedy(OSError(number, "no"))


def test_library_is_quoted_by_its_first_line_that_says_something() -> None:
    assert said(ValueError("\n  the ranks\nare equal")) == "[ValueError: the ranks]"
    assert said(KeyError()) == "[KeyError]"
    assert len(said(RuntimeError("x" * 1000))) < 180


def test_full_disk_and_a_file_in_a_folders_place_have_different_remedies(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="choose another name"):
        write_atomically(tmp_path / "file" / "model.onnx", b"")
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left") as caught, open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")
        assert "free some room" in remedy(caught.value)


def test_whatever_ends_the_writing_leaves_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "model", "no bytes")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_of_a_path_the_name_is_left_and_an_address_whole() -> None:
    assert without_folders("no /home/me/x/model.json here") == "no model.json here"
    assert without_folders("/home/me/a:/home/me/b //home/me/c file:///home/me/d") == "a:b /c file://d"
    assert without_folders("see https://example.org/docs/torch_shared") == "see https://example.org/docs/torch_shared"
