"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suite import cli, conform, conformance

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_method_of_the_readme_passes_the_conformance_test(tmp_path: Path) -> None:
    source = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert source is not None
    path = tmp_path / "l2_one_shot.py"
    path.write_text(source.group(1))
    cases = list(conformance.check(conform.find(str(path)), "vgg16-digits"))
    assert len(cases) >= 9
    assert [f"{case.name}: {case.fault}" for case in cases if case.fault] == []


def test_commands_of_the_readme_exist(capsys: pytest.CaptureFixture[str]) -> None:
    table = README.partition("| command |")[2].partition("\n\n")[0]
    names = {name for row in table.splitlines() for name in re.findall(r"`([a-z]+)", row.partition("|")[2])}
    assert {"run", "bench", "check", "doctor", "conform"} <= names
    for name in sorted(names):
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0, name
    assert "usage" in capsys.readouterr().out


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    sessions = [command.rpartition(" -s ")[2] for command in commands]
    assert sorted(sessions) == ["quickstart", "tests"]
    assert next(command for command in commands if command.endswith("tests")) in script.splitlines()
    assert ".venv/bin/nox -s quickstart" in script
