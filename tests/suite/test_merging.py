"""Merging: duplicates and strangers' lies stay out, what is there stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from suite import machine, merging, pictures, records
from suite.errors import UsageError
from suite.records import Record, RunFile

Make = Callable[..., Record]


def fill(results: Path, *written: Record) -> None:
    for record in written:
        with RunFile(results, record.machine, record.run) as file:
            file.append(record)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_merge_drops_exact_duplicates(make_record: Make, tmp_path: Path) -> None:
    one, two, three = (make_record(seed=seed) for seed in (1, 2, 3))
    fill(tmp_path / "a", one, two)
    fill(tmp_path / "b", two, three)
    fill(tmp_path / "into", one)
    assert merging.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "into") == (2, 2, [])
    assert sorted(record.seed for record in records.read_results(tmp_path / "into")[0]) == [1, 2, 3]
    before = contents(tmp_path / "into")
    assert merging.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "into") == (0, 4, [])
    assert contents(tmp_path / "into") == before, "merging again changes nothing"


def test_merge_never_changes_existing_files(make_record: Make, tmp_path: Path) -> None:
    fill(tmp_path / "a", make_record(seed=1))
    fill(tmp_path / "into", make_record(seed=2))
    (tmp_path / "into" / "machines").mkdir()
    (tmp_path / "into" / "machines" / "m.json").write_text('{"cores": 2}')
    (tmp_path / "a" / "machines").mkdir()
    (tmp_path / "a" / "machines" / "m.json").write_text('{"cores": 64}')
    (tmp_path / "a" / "machines" / "n.json").write_text('{"cores": 8}')
    before = contents(tmp_path / "into")
    merging.merge([tmp_path / "a"], tmp_path / "into")
    after = contents(tmp_path / "into")
    assert {name: after[name] for name in before} == before
    assert json.loads(after["machines/n.json"]) == {"cores": 8}
    assert len(after) == len(before) + 2, "two runs of one name become two files"


def test_merge_keeps_bad_lines_out_and_names_them(make_record: Make, tmp_path: Path) -> None:
    fill(tmp_path / "a", make_record(seed=1))
    path = tmp_path / "a" / "cpu-2c-4g-abcdef" / "20250101T000000Z-abcdef.jsonl"
    good = path.read_bytes()
    lies = msgspec.json.encode(msgspec.structs.replace(make_record(seed=2), machine="../../outside"))
    path.write_bytes(good + b"{}\n" + lies + b"\n" + good[:50])
    (tmp_path / "a" / "machines").mkdir()
    (tmp_path / "a" / "machines" / "bad.json").write_text("not JSON")
    new, known, problems = merging.merge([tmp_path / "a"], tmp_path / "into")
    assert (new, known) == (1, 0)
    assert [problem.line for problem in problems] == [2, 3, 4]
    assert list(contents(tmp_path / "into").values()) == [good]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "into"]


def test_merge_refuses_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such results folder: .*nowhere"):
        merging.merge([tmp_path / "nowhere"], tmp_path / "into")


def test_merge_refuses_folders_that_hold_nothing_of_ours(tmp_path: Path) -> None:
    (tmp_path / "models" / "vgg16-digits").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"no records in .*models: name results folders, as --results of run"):
        merging.merge([tmp_path / "models"], tmp_path / "into")


def test_merge_brings_the_pictures_that_records_name_and_no_others(make_record: Make, tmp_path: Path) -> None:
    named, unnamed, large = b"RIFF one", b"RIFF two", b"x" * (pictures.MOST_BYTES + 1)
    digests = {name: hashlib.sha256(name).hexdigest() for name in (named, unnamed, large)}
    folder = tmp_path / "a" / "gallery"
    for content in digests:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{digests[content]}.webp").write_bytes(content)
    lie, gone, link = "a" * 64, "b" * 64, "c" * 64
    (folder / f"{lie}.webp").write_bytes(b"other bytes than its name says")
    (tmp_path / "secret").write_bytes(b"s")
    (folder / f"{link}.webp").symlink_to(tmp_path / "secret")
    fill(tmp_path / "a", make_record(gallery=[digests[named], digests[large], lie, gone, link]))
    new, _, problems = merging.merge([tmp_path / "a"], tmp_path / "into")
    assert (new, [(each.check, each.line) for each in problems]) == (1, [("picture", 1)])
    assert f"picture {digests[large][:12]}.webp and 3 more is not in {folder}" in str(problems[0])
    into = tmp_path / "into" / "gallery"
    assert {path.name for path in into.iterdir()} == {f"{digests[named]}.webp", "NOTICE"}
    assert (into / "NOTICE").read_text() == pictures.NOTICE


def test_merge_follows_no_name_of_a_machine_and_reads_no_pipe(make_record: Make, tmp_path: Path) -> None:
    fill(tmp_path / "a", make_record(seed=1))
    machines = tmp_path / "a" / "machines"
    machines.mkdir()
    for name in (".hidden", "\u5b57" * 80, "x" * 200, "sp ace"):
        (machines / f"{name}.json").write_text("{}")
    (machines / "deep.json").write_text('{"a": ' + "[" * 900 + "]" * 900 + "}")
    (machines / "nan.json").write_text('{"a": NaN}')
    (machines / "long.json").write_text('{"a": ' + "9" * 5000 + "}")
    (machines / "large.json").write_text('{"a": "' + "x" * records.LONGEST_LINE + '"}')
    (machines / "folder.json").mkdir()
    os.mkfifo(machines / "pipe.json")
    (machines / "fine.json").write_text('{"cores": 8}')
    assert merging.merge([tmp_path / "a"], tmp_path / "into")[0] == 1
    assert [path.name for path in (tmp_path / "into" / "machines").iterdir()] == ["fine.json"]
    assert len(machine.damaged(tmp_path / "a")) == 11, "each is named; the last has no slug"


def test_merging_many_files_of_one_run_takes_no_time_for_names(make_record: Make, tmp_path: Path) -> None:
    """Many files that say they are of one run: the first free number is looked for once, not by all of them."""
    (tmp_path / "a" / "m").mkdir(parents=True)
    for number in range(300):
        (tmp_path / "a" / "m" / f"{number:04}.jsonl").write_bytes(records.encode(make_record(seed=number)))
    assert merging.merge([tmp_path / "a"], tmp_path / "into") == (300, 0, [])
    names = {path.name for path in records.record_files(tmp_path / "into")}
    run = make_record().run
    assert names == {f"{run}.jsonl", *(f"{run}.{part}.jsonl" for part in range(2, 301))}
