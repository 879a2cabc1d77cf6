"""What a command says beside its results: what it leaves out, what is lost, what an interrupt leaves behind."""

from __future__ import annotations

import argparse
import runpy
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import cli, data, execute, render
from suite.records import Record

Make = Callable[..., Record]
Write = Callable[..., Path]


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """`call("check", ...)`: exit code, standard output and standard error of the command, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(each) for each in arguments])
        return code, *capsys.readouterr()

    return run


def test_strict_check_is_no_pass_with_a_file_that_cannot_be_used(
    call: Callable[..., tuple[int, str, str]], install: Callable[..., Path], make_record: Make, write: Write,
    tiny_task: Any,
) -> None:  # fmt: skip
    results = write(make_record(machine="box"))
    (results / "machines").mkdir(exist_ok=True)
    (results / "machines" / "box.json").write_text('{"slug": "box"}')
    assert call("check", results, "--strict")[:2] == (0, "1 valid records, 0 bad\n")
    install(methods={"broken": BROKEN})
    checked = [call("check", results, *more)[:2] for more in ((), ("--strict",))]
    assert checked == [(code, "1 valid records, 0 bad, 1 warnings\n") for code in (0, 1)]


BROKEN = "from suite import register_method\n\ndef broken(:\n"


def test_file_that_cannot_be_used_is_named_by_whatever_would_have_used_it(
    call: Callable[..., tuple[int, str, str]], install: Callable[..., Path], one: Make, write: Write, tiny_task: Any
) -> None:
    results = write(one())
    install(methods={"broken": BROKEN})
    for command in (
        ("check", results),
        ("site", "--results", results),
        ("plan", "--task", "tiny", "--profile", "smoke"),
        ("plan", "--study", "table1-vgg-cost"),
    ):
        said = call(*command)[2].splitlines()
        assert [line.startswith("prunemark: left out: ") for line in said].count(True) == 1
        assert "broken.py is not valid Python: line 3: " in said[0]
    _, _, said = call("plan", "--task", "tiny", "--method", "zeroes", "--profile", "smoke")
    assert said == "", "whoever names a method asks for no other"


@pytest.mark.parametrize(
    ("command", "left"),
    [
        (("run",), "what was finished is kept, the same command goes on from there"),
        (
            ("run", "--force"),
            "what was finished is kept; with --force the command begins anew, without it what is",
        ),
        (("bench", "--force"), "what was finished is kept; with --force the command begins anew"),
        (("study", "table1-vgg-cost"), "what was finished is kept, the same command goes on from there"),
        (("verify", "x"), "nothing is kept, the same command begins anew"),
        (("verify", "x", "--keep"), "what was trained is kept, the same command begins anew"),
        (("site",), "nothing is kept, the same command begins anew"),
        (("check",), "it changes nothing"),
        (("list", "tasks"), "it changes nothing"),
        (("study", "table1-vgg-cost", "--table"), "it changes nothing"),
        (("merge", ".", "--into", "into"), "what was finished is kept, the same command goes on from there"),
    ],
)
def test_interrupt_says_what_is_left(
    command: tuple[str, ...], left: str, call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(options: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, f"_{command[0]}", interrupted)
    code, _, said = call(*command)
    assert code == 1 and said.startswith(f"prunemark: interrupted; {left}")


def test_doctor_reads_the_data_that_are_there(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8), np.arange(50) % 10
    np.savez(tmp_path / "cifar10.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    code, printed, said = call("doctor", "--data", tmp_path)
    facts = {line[:20].strip(): line[20:].strip() for line in printed.splitlines()}
    assert (code, said) == (0, "") and facts["torch.compile, cpu"]
    assert facts["data cifar10"] == "found: 40 training, 10 validation and 50 test images"
    assert facts["data carla"].startswith("missing: it has no download")
    (tmp_path / "cifar10.npz").write_bytes(rng.bytes(1000))
    data.load.cache_clear()
    code, printed, said = call("doctor", "--data", tmp_path)
    assert f"unusable: {tmp_path / 'cifar10.npz'} is damaged: delete it and fetch it again [no zip archive]" in printed
    assert code == 1 and said.startswith("prunemark: 1 of the data sets that are there cannot be used: ")
    code, printed, said = call("doctor", "--data", tmp_path / "nowhere")
    assert (code, printed) == (2, "") and said == f"prunemark: no such folder: {tmp_path / 'nowhere'} (--data)\n"


def test_merge_says_which_pictures_are_lost_and_keeps_the_records(
    call: Callable[..., tuple[int, str, str]], one: Make, write: Write
) -> None:
    results = write(one(gallery=["a" * 64, "b" * 64]))
    (results / "machines" / "box.json").unlink()
    code, printed, said = call("merge", results, "--into", "into")
    assert code == 1 and printed == "1 records added to into, 0 were there already, 0 bad ones left out\n"
    assert "its picture aaaaaaaaaaaa.webp and 1 more is not in " in said and "left out" not in said


def test_failures_are_not_counted_as_measured(
    call: Callable[..., tuple[int, str, str]], one: Make, monkeypatch: pytest.MonkeyPatch, tiny_task: Any
) -> None:
    def outcomes(*asked: Any) -> Iterator[execute.Outcome]:
        yield execute.Outcome(one(status="error", reason="it broke"))
        yield execute.Outcome(one(status="unsupported", reason="it cannot"))
        yield execute.Outcome(one())

    monkeypatch.setattr(execute, "compress", outcomes)
    code, printed, _ = call("run", "--task", "tiny", "--method", "dense", "--profile", "smoke")
    assert code == 1 and printed.splitlines()[-1] == (
        "2 measured (1 of them unsupported), 0 fresh before, 1 failed; records in results"
    )


def test_site_that_fails_leaves_the_folder_that_it_was_given(
    call: Callable[..., tuple[int, str, str]],
    one: Make,
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*asked: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(render, "_move", full)
    results, given = write(one()), tmp_path / "given"
    given.mkdir()
    for out in ("given", "new"):
        code, _, said = call("site", "--results", results, "--out", out)
        assert code == 1 and "No space left" in said
    assert given.is_dir() and list(given.iterdir()) == [] and not (tmp_path / "new").exists()


def test_records_that_cannot_be_read_are_named_by_what_reads_them(
    call: Callable[..., tuple[int, str, str]], one: Make, write: Write, tiny_task: Any
) -> None:
    results = write(one())
    (path,) = results.glob("*/*.jsonl")
    with path.open("a") as file:
        file.write("not a record\n")
    for command in (("list", "matrix"), ("plan", "--task", "tiny"), ("study", "table1-vgg-cost", "--table")):
        code, _, said = call(*command, "--results", results)
        assert code == 0 and f"prunemark: passed over: {path}:2: not a record: " in said


def test_interrupt_while_the_program_is_read_is_a_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "suite.cli", Interrupted("suite.cli"))
    with pytest.raises(SystemExit) as end:
        runpy.run_module("suite", run_name="__main__")
    assert (end.value.code, capsys.readouterr().err) == (1, "prunemark: interrupted before anything was done\n")


def test_interrupt_while_the_program_ends_is_no_traceback() -> None:
    code = ("import atexit, os, signal, sys, suite.cli\n"
            "from suite.__main__ import run\n"
            "suite.cli.main = lambda: 0\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
            "sys.exit(run())")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_package_that_is_missing_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)  # importing it fails as if it were not installed
    for module in [name for name in sys.modules if name.partition(".")[0] == "suite"]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(SystemExit) as end:
        runpy.run_module("suite", run_name="__main__")
    said = capsys.readouterr().err
    assert (end.value.code, said) == (1, f"prunemark: {sys.executable} has no msgspec: pip install -e . in the "
                                         "checkout\n")  # fmt: skip


@pytest.mark.parametrize(
    ("command", "offered", "not_offered"),
    [
        ("run", ("--force", "--workers", "measure again what is fresh"), ("--rows", "--kind")),
        ("bench", ("--rows", "--kind"), ()),
        ("study", ("--kind", "default: all of the study"), ("--rows", "--set", "--points")),
        ("plan", ("--results", "--kind", "one object on standard output"), ("--force", "--data", "--timeout")),
        ("export", ("--data", "overwrite a file that is there"), ("--rows", "--results", "--device", "--workers")),
    ],
)
def test_help_offers_what_makes_a_difference(
    command: str, offered: tuple[str, ...], not_offered: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(each in said for each in offered) and not any(each in said for each in not_offered)
