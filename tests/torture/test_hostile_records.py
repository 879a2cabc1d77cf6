"""Records from strangers: whatever they say, `check`, `merge` and `site` end, name what is bad, and follow no name."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from suite import checks, merging, plan, records, render
from suite.records import Problem
from tests.torture import corpus

Count = Callable[[str], int]
SECONDS_A_LINE = 0.003  # of the processor, to read, check and merge one; about 0.0004 are needed


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_hostile_lines_are_read_checked_and_merged(
    tmp_path: Path, count: Count, capsys: pytest.CaptureFixture[str]
) -> None:
    sent, into = tmp_path / "sent", tmp_path / "into"
    number = count("lines")
    corpus.write(sent, number)
    before = contents(sent)

    started = time.process_time()
    found, problems = records.read_results(sent)
    read = time.process_time() - started
    assert len(found) + len(problems) >= number * 0.99, "a line is a record or a problem; empty ones are neither"
    assert len(found) > number / 10 and len(problems) > number / 3
    assert {problem.check for problem in problems} == {"record", "cell-key", "metric-range"}
    assert all(_is_one_line(problem) for problem in problems)
    for record in found:
        assert records.decode(records.encode(record).rstrip(b"\n")) == record, "what is read can be written again"

    started = time.process_time()
    report = checks.check(sent)
    checked = time.process_time() - started
    bad = {(problem.path, problem.line) for problem in report.errors if problem.check in ("record", "clock")}
    assert all(_is_one_line(problem) for problem in (*report.errors, *report.warnings))
    assert {(problem.path, problem.line) for problem in problems if problem.check == "record"} <= bad

    started = time.process_time()
    new, known, told = merging.merge([sent], into)
    merged = time.process_time() - started
    left_out = [problem for problem in told if problem.check != "picture"]
    stayed = {(problem.path, problem.line) for problem in left_out}
    lost = {(problem.path, problem.line) for problem in told} - stayed
    assert lost and len(lost) == len(told) - len(left_out), "named once, of records that came in"
    ahead = [problem for problem in left_out if problem.check == "clock"]
    assert ahead and new + known + len(ahead) == len(found) and len(left_out) == len(problems) + len(ahead)
    arrived = contents(into)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+\.jsonl", name) for name in arrived), "no name is followed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "sent"] and contents(sent) == before
    again = merging.merge([sent], into)
    assert again[:2] == (0, new + known) and contents(into) == arrived
    assert len(records.read_results(into)[0]) == new
    with capsys.disabled():
        print(f"\n{number} lines, {len(found)} of them records: read {read:.1f} s, checked {checked:.1f} s, "
              f"merged {merged:.1f} s of the processor")  # fmt: skip
    assert read + checked + merged < 1 + number * SECONDS_A_LINE


def _is_one_line(problem: Problem) -> bool:
    text = str(problem)
    return text.isprintable() and len(text) < 800 and bool(text.encode())


class Elements(HTMLParser):
    """The elements of a page that can act, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.acting: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        source = dict(attributes).get("src") or ""
        if tag == "script" and not dict(attributes).get("type", "").endswith("json"):
            self.acting.append(f"script {source}")
        self.acting += [f"{tag} {name}" for name, value in attributes if name.startswith("on")]
        targets = [(value or "").strip().lower() for name, value in attributes if name in ("href", "src")]
        self.acting += [f"{tag} {target}" for target in targets if target.startswith("javascript")]


def test_site_of_hostile_records_is_whole_and_inert(tmp_path: Path, count: Count) -> None:
    sent, honest, out = tmp_path / "sent", tmp_path / "honest", tmp_path / "out"
    corpus.write(sent, max(1000, count("lines") // 20), seed=1)
    machines = sent / "machines"
    machines.mkdir()
    for number, name in enumerate(corpus.NAMES):
        (machines / f"box-{number}.json").write_text(json.dumps({"slug": name, "cpu": name, name: {name: name}}))
    for name, text in {"deep": "[" * 5000, "nan": '{"cores": NaN}', "list": "[]", "long": "9" * 5000}.items():
        (machines / f"{name}.json").write_text(text)
    (machines / "link.json").symlink_to("/etc/passwd")
    told: list[str] = []
    render.build(sent, out, warn=told.append)
    assert {"deep", "list", "link", "nan"} <= {
        Path(line.split(".json")[0]).name for line in told if "machines/" in line
    }
    render.build(sent, out, warn=lambda line: None)
    corpus.write_honest(honest)
    render.build(honest, tmp_path / "plain", warn=lambda line: None)
    allowed = {name for path in (tmp_path / "plain").glob("*.html") for name in Elements(path.read_text()).acting}
    shards = {f"script data/{path.name}" for path in (out / "data").iterdir()}
    for path in out.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9+._-]+", path.name) and len(path.name) < 200, path
    for path in out.glob("*.html"):
        acting = set(Elements(path.read_text(encoding="utf-8")).acting)
        assert acting <= allowed | shards, (path.name, acting - allowed - shards)
    for path in (out / "data").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "</" not in text and "\u2028" not in text, "a shard can stand in a page"
        found = re.fullmatch(r'prunemark\.add\("[^"]+",(.*)\);\n', text, re.DOTALL)
        assert found is not None
        json.loads(found.group(1), parse_constant=_refuse)
    json.loads((out / "leaderboard.json").read_text(), parse_constant=_refuse)
    assert not (tmp_path / "outside").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["honest", "out", "plain", "sent"]


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_record_of_another_protocol_takes_no_place_of_todays(tmp_path: Path) -> None:
    """It says the same setting, freshness and all, and came last."""
    plain = next(each for each in corpus.honest() if each["kind"] == "accuracy")
    own = records.decode(json.dumps(plain).encode())
    assert plan.is_fresh(own)
    other = plain | {"protocol": 0, "created": "2026-02-01T00:00:00Z", "metrics": plain["metrics"] | {"top1": 1.0}}
    with pytest.raises(records.BadRecord, match="cell does not match"):
        records.decode(json.dumps(other).encode())
    corpus.rekey(other)
    stranger = records.decode(json.dumps(other).encode())
    assert not plan.is_fresh(stranger) and stranger.cell != own.cell
    from suite import leaderboard

    (board,) = leaderboard.assemble([own, stranger], {}).boards
    (row,) = [row for row in board.rows if row.records]
    assert row.state == "ok" and row.mean("top1") == plain["metrics"]["top1"]
