"""Records survive: round trips, hostile lines, cut-off files, full disks, merges."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite import records
from suite.errors import RecordError
from suite.history import Trained
from suite.records import Record, RunFile

ROOT = Path(__file__).parents[2]
Make = Callable[..., Record]

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
NUMBERS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = NUMBERS | TEXTS
POINTS = st.lists(st.dictionaries(TEXTS, SCALARS, max_size=3), max_size=3)
PAIRS = st.lists(st.lists(st.floats(1e-9, 1e3), min_size=2, max_size=2), max_size=5)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TRAININGS = st.lists(st.builds(
    Trained, TEXTS, FINITE, st.lists(st.tuples(st.integers(1, 2**31), FINITE, FINITE), max_size=3)
), max_size=3)  # fmt: skip
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# ----------------------------------------------------------------------------------------------------------- one record


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "task": TEXTS, "method": TEXTS, "hyperparameters": st.dictionaries(TEXTS, SCALARS, max_size=4),
            "seed": st.integers(0, 2**31), "profile": st.sampled_from(["smoke", "quick", "full"]), "curve": POINTS,
            "trainings": TRAININGS, "samples": PAIRS, "machine": NAMES, "run": NAMES,
            "notes": st.dictionaries(TEXTS, SCALARS, max_size=3),
            "command": TEXTS, "versions": st.dictionaries(TEXTS, TEXTS, max_size=3), "git_dirty": st.booleans(),
            "recipe": st.dictionaries(TEXTS, SCALARS, max_size=3), "conditions": st.dictionaries(TEXTS, SCALARS),
        },
    )
)  # fmt: skip
def test_record_written_is_record_read(make_record: Make, changes: dict[str, Any]) -> None:
    record = make_record(**changes)
    line = records.encode(record)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert records.decode(line) == record
    assert records.encode(records.decode(line)) == line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["metrics", "notes", "hyperparameters", "conditions", "recipe"])
def test_record_that_is_not_finite_is_not_written(make_record: Make, tmp_path: Path, field: str, value: float) -> None:
    record = make_record(**{"cell": "0", field: {"top1": value}})
    with RunFile(tmp_path, "m", "r") as file, pytest.raises(RecordError, match="tiny/zeroes holds NaN or infinity"):
        file.append(record)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_cell_key_is_the_hash_of_what_was_asked_for(make_record: Make) -> None:
    text = (
        '{"hyperparameters":{"finetune":false,"share":0.5},"method":"zeroes","profile":"smoke","protocol":1,"seed":0,'
        '"task":"tiny"}'
    )
    import hashlib

    assert make_record().cell == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "schema 2 is not 1"),
        ({"cell": "0" * 64}, "cell does not match"),
        ({"seed": 1, "cell": "x"}, "cell does not match"),
        ({"machine": "../elsewhere"}, "no plain name"),
        ({"machine": ""}, "no plain name"),
        ({"run": ".hidden"}, "no plain name"),
        ({"run": "a/b"}, "no plain name"),
        ({"run": "x" * 300}, "no plain name"),
        ({"status": "ok", "reason": "but"}, "needs no reason"),
        ({"status": "error"}, "needs a reason"),
        ({"kind": "latency", "metrics": {"speedup": 2.0}}, "needs conditions"),
        ({"kind": "latency", "conditions": {}, "metrics": {}}, "needs the metric speedup"),
        ({"metrics": {"top1": 0.5}}, "needs the metric parameters"),
        ({"metrics": {"top1": 1.5, "parameters": 1}}, "outside [0, 1]"),
        ({"metrics": {"dense_top5": -0.1, "parameters": 1}}, "outside [0, 1]"),
        ({"metrics": {"parameters": 0}}, "above 0"),
        ({"metrics": {"parameters": 1, "dense_macs": -5}}, "above 0"),
        ({"kind": "latency", "conditions": {},
          "metrics": {"speedup": 2, "speedup_low": 2.5, "speedup_high": 3}}, "interval"),
        ({"samples": [[1.0, 2.0, 3.0]]}, "pairs"),
        ({"samples": [[1.0, 2.0]] * 201}, "at most 200"),
        ({"created": "yesterday"}, "no ISO 8601 time"),
        ({"machine": "\u5b57" * 100}, "no plain name"),
        ({"run": "r\u00e9sum\u00e9"}, "no plain name"),
        ({"run": "a\n"}, "no plain name"),
        ({"protocol": 2}, "cell does not match"),
        ({"data_sha256": "../../x"}, "data_sha256"),
        ({"data_sha256": "D" * 64}, "data_sha256"),
        ({"base_cell": "a" * 64 + "\n"}, "base_cell"),
        ({"checkpoint_sha256": ""}, "checkpoint_sha256"),
        ({"recipe": {"a": nested(16)}}, "nested more than 16 deep"),
        ({"architecture": {"a": nested(900)}}, "nested more than 16 deep"),
        ({"command": "x" * 20_001}, "too long"),
    ],
)  # fmt: skip
def test_fault_of_a_record_is_named(make_record: Make, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecordError) as caught:
        records.decode(records.encode(make_record(**changes)))
    assert reason in str(caught.value)


def test_unknown_fields_are_welcome_and_missing_ones_are_named(make_record: Make) -> None:
    plain = json.loads(records.encode(make_record()))
    assert records.decode(json.dumps(plain | {"weather": "fine"}).encode()) == make_record(created=plain["created"])
    del plain["task"]
    with pytest.raises(RecordError, match="missing required field `task`"):
        records.decode(json.dumps(plain).encode())


# -------------------------------------------------------------------------------------------------------- hostile lines

FIXED_HOSTILE = [
    b"", b"null", b"[]", b"{}", b"\x00" * 100, b"\xff\xfe", b'{"schema":1}', b"[" * 100_000, b'{"a":' * 50_000,
    b"1e999", b'"' + b"x" * 1_000_001 + b'"', b"NaN",
]  # fmt: skip
HOSTILE_VALUES = [
    None, True, -1, 0, 2**31, 2**63, 2**64, 10**30, 10**400, 1e308, -0.0, "", "x", "\ud800", "\x00", "../..",
    "x" * 21_000, [], {}, [[]], [1], {"": None}, {"top1": 10**400}, {"parameters": 10**400}, {"a": "\ud800"},
    {"speedup": -1}, [[1e308, 1e308]], "9999-99-99", "0001-01-01T00:00:00+23:59", "2025-01-01",
]  # fmt: skip


def hostile_lines(valid: bytes) -> Iterator[bytes]:
    """The fixed ones, each field set to each hostile value, and seeded damage to the bytes."""
    yield from FIXED_HOSTILE
    plain = json.loads(valid)
    for name in plain:
        for value in HOSTILE_VALUES:
            yield json.dumps(plain | {name: value}).encode()
    yield valid.replace(b"0.5", b"1e999")
    yield valid.replace(b"0.5", b"NaN")
    yield valid.replace(b"0.5", b"-" + b"9" * 5000)
    drawn = random.Random(0)
    for _ in range(500):
        damaged = bytearray(valid)
        for _ in range(drawn.randint(1, 4)):
            at = drawn.randrange(len(damaged))
            kind = drawn.randrange(4)
            if kind == 0:
                damaged[at] = drawn.randrange(256)
            elif kind == 1:
                del damaged[at : at + drawn.randint(1, 40)]
            elif kind == 2:
                damaged[at:at] = bytes(drawn.randrange(256) for _ in range(drawn.randint(1, 8)))
            else:
                damaged[at:at] = damaged[at : at + drawn.randint(1, 60)]
        yield bytes(damaged)


def test_hostile_lines_are_problems_and_never_exceptions(make_record: Make, results_dir: Path) -> None:
    valid = records.encode(make_record()).rstrip(b"\n")
    read = refused = 0
    for line in hostile_lines(valid):
        try:
            record = records.decode(line)
        except RecordError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 500
            str(error).encode()
            continue
        read += 1
        assert records.decode(records.encode(record)) == record, "what is read can be written again"
        repr(record).encode()
        record.reason and record.reason.encode()
    assert refused > 500
    assert read > 50, "some damage leaves a valid record"


def test_hostile_file_is_read_around(make_record: Make, results_dir: Path) -> None:
    first, last = records.encode(make_record(seed=1)), records.encode(make_record(seed=2))
    path = results_dir / "m" / "r.jsonl"
    path.parent.mkdir(parents=True)
    bad = [line.replace(b"\n", b"") or b"{" for line in FIXED_HOSTILE if line]
    path.write_bytes(first + b"\n".join(bad) + b"\n\n  \n" + last)
    found, problems = records.read_results(results_dir)
    assert {record.seed for record in found} == {1, 2}
    assert [problem.line for problem in problems] == list(range(2, 2 + len(bad)))
    assert all(str(problem).startswith(f"{path}:{problem.line}: ") for problem in problems)


def test_line_cut_off_is_named_and_the_others_are_read(make_record: Make, results_dir: Path) -> None:
    whole, cut = records.encode(make_record(seed=1)), records.encode(make_record(seed=2))[:-20]
    for folder, content in {"a": whole + cut, "b": records.encode(make_record(seed=3))}.items():
        (results_dir / folder).mkdir(parents=True)
        (results_dir / folder / "r.jsonl").write_bytes(content)
    found, problems = records.read_results(results_dir)
    assert {record.seed for record in found} == {1, 3}
    assert [(problem.path, problem.line) for problem in problems] == [(results_dir / "a" / "r.jsonl", 2)]
    assert "cut off" in problems[0].reason


def test_file_of_any_size_is_read_in_bounded_memory(make_record: Make, results_dir: Path) -> None:
    """A line of a gigabyte that is not there, then a record; a file of nothing but bad lines."""
    (results_dir / "m").mkdir(parents=True)
    with open(results_dir / "m" / "a.jsonl", "wb") as file:
        file.seek(2**30)
        file.write(b"\n" + records.encode(make_record(seed=1)))
    (results_dir / "m" / "b.jsonl").write_bytes(b"{}\n" * 50_000 + records.encode(make_record(seed=2)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, problems = records.read_results(results_dir)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KiB"
    assert [record.seed for record in found] == [1]
    assert problems[0].line == 1 and problems[0].reason == f"the line has over {records.LONGEST_LINE} bytes"
    assert len(problems) == 1 + records.MOST_BAD_LINES + 1
    assert str(problems[-1]).endswith("b.jsonl:10000: the 10000th bad line: the rest of the file is not read")


def test_pipe_among_the_results_is_a_problem_and_not_waited_for(make_record: Make, results_dir: Path) -> None:
    (results_dir / "m").mkdir(parents=True)
    os.mkfifo(results_dir / "m" / "r.jsonl")
    found, problems = records.read_results(results_dir)
    assert found == [] and [problem.reason for problem in problems] == ["cannot be read: it is no file"]


def test_problem_is_one_line_that_a_terminal_may_be_shown(make_record: Make, results_dir: Path) -> None:
    """A metric's name would forge a line of a log, or act on the terminal."""
    name = "a\n::error::forged\x1b[2J\u202e" + "x" * 10_000
    line = records.encode(make_record(metrics={"parameters": 1, name: 10**301}))
    (results_dir / "m").mkdir(parents=True)
    (results_dir / "m" / "r\n.jsonl").write_bytes(line)
    (problem,) = records.read_results(results_dir)[1]
    assert str(problem).isprintable() and len(str(problem)) < len(str(results_dir)) + 600
    assert "r\\n.jsonl:1: metric a\\n::error::forged\\x1b[2J\\u202exxx" in str(problem)


def test_file_that_cannot_be_read_is_a_problem(make_record: Make, results_dir: Path) -> None:
    (results_dir / "m" / "r.jsonl").mkdir(parents=True)
    (results_dir / "m" / "s.jsonl").write_bytes(records.encode(make_record()))
    found, problems = records.read_results(results_dir)
    assert len(found) == 1
    assert "cannot be read" in problems[0].reason


def test_records_are_read_oldest_first_and_links_are_not_followed(
    make_record: Make, results_dir: Path, tmp_path: Path
) -> None:
    times = ["2025-01-02T00:00:00Z", "2025-01-03T00:00:00Z", "2025-01-01T00:00:00Z"]
    for number, created in enumerate(times):
        with RunFile(results_dir, "m", f"r{number}") as file:
            file.append(make_record(created=created))
    elsewhere = tmp_path / "elsewhere"
    with RunFile(elsewhere, "m", "r") as file:
        file.append(make_record())
    (results_dir / "linked").symlink_to(elsewhere / "m")
    (results_dir / "m" / "linked.jsonl").symlink_to(elsewhere / "m" / "r.jsonl")
    assert [record.created for record in records.read_results(results_dir)[0]] == sorted(times)
    assert records.read_results(tmp_path / "nowhere") == ([], [])


# -------------------------------------------------------------------------------------------------------------- writing


def test_each_record_is_on_disk_before_the_next(make_record: Make, results_dir: Path) -> None:
    with RunFile(results_dir, "m", "r") as file:
        assert not results_dir.exists(), "no file without a record"
        for number in range(3):
            file.append(make_record(seed=number))
            assert len(file.path.read_bytes().splitlines()) == number + 1
    assert file.path == results_dir / "m" / "r.jsonl"
    assert [record.seed for record in records.read_results(results_dir)[0]] == [0, 1, 2]


def test_full_disk_is_a_record_error_and_leaves_earlier_records_intact(make_record: Make, results_dir: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunFile(results_dir, "m", "r") as file:
        file.append(make_record(seed=1))
        before = file.path.read_bytes()
        try:
            # the kernel writes what fits, 50 bytes, as it does on a disk that fills up
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))
            with pytest.raises(RecordError, match=r"cannot write to .*r\.jsonl: .*already written are intact"):
                file.append(make_record(seed=2))
            with pytest.raises(RecordError, match=r"cannot write .*model"):
                records.write_atomically(results_dir / "model", b"x" * (len(before) + 100))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert file.path.read_bytes() == before
        file.append(make_record(seed=3))
    assert [record.seed for record in records.read_results(results_dir)[0]] == [1, 3]
    assert [path.name for path in results_dir.rglob("*") if path.is_file()] == ["r.jsonl"], "no remains"


def test_device_that_is_full_from_the_start_is_a_record_error(make_record: Make, results_dir: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (results_dir / "m").mkdir(parents=True)
    (results_dir / "m" / "r.jsonl").symlink_to("/dev/full")
    with RunFile(results_dir, "m", "r") as file, pytest.raises(RecordError, match="No space left on device"):
        file.append(make_record())


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody can write into `folder`; root, whom permissions do not bind, becomes somebody else."""
    root = os.geteuid() == 0
    folder.chmod(0o555)
    above = [each for each in folder.parents if root and each.stat().st_mode & 0o5 != 0o5]
    modes = [each.stat().st_mode for each in above]
    for each in above:
        each.chmod(0o755)
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        for each, mode in zip(above, modes, strict=True):
            each.chmod(mode)


def test_read_only_results_are_a_record_error(make_record: Make, results_dir: Path) -> None:
    results_dir.mkdir()
    with read_only(results_dir):
        with RunFile(results_dir, "m", "r") as file, pytest.raises(RecordError, match="Permission denied"):
            file.append(make_record())
        with pytest.raises(RecordError, match=r"cannot write .*Permission denied"):
            records.write_atomically(results_dir / "machines" / "m.json", b"{}")
    assert not list(results_dir.iterdir())


def test_results_path_that_is_a_file_is_a_record_error(make_record: Make, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with RunFile(tmp_path / "results", "m", "r") as file, pytest.raises(RecordError, match="cannot write"):
        file.append(make_record())


def test_writing_atomically_replaces_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    records.write_atomically(path, b"one")
    records.write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_runs_that_append_at_once_lose_nothing(make_record: Make, results_dir: Path) -> None:
    """Four processes write fifty records each into one file: every line comes out whole."""
    (results_dir / "m").mkdir(parents=True)
    code = """
import sys
from pathlib import Path
from suite import records
record = records.decode(sys.stdin.buffer.read())
with records.RunFile(Path(sys.argv[1]), "m", "r") as file:
    for _ in range(50):
        file.append(record)
"""
    line = records.encode(make_record(command="x" * 10_000))
    writers = [
        subprocess.Popen([sys.executable, "-c", code, results_dir], stdin=subprocess.PIPE, cwd=ROOT) for _ in range(4)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(line)
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0] * 4
    found, problems = records.read_results(results_dir)
    assert len(found) == 200 and not problems
