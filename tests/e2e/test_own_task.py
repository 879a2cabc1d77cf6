"""A user's own task, as CONTRIBUTING shows it: the file is cut out of the document, installed, and put to work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
METHODS = ("l1-three-stage", "structured", "quantize-static")
OWN = {"cost", "missed", "top1"}

Run = Callable[..., subprocess.CompletedProcess[str]]


def documented() -> tuple[str, str]:
    """The task file and the entry point of CONTRIBUTING's section on tasks."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## A task\n")[2]
    code, entry = re.search(r"```python\n(.*?)```\n\n```toml\n(.*?)```", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return code, entry


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The command line of somebody who has installed the documented package, in a folder of their own."""
    folder = tmp_path_factory.mktemp("own")
    code, entry = documented()
    group, name, module = re.search(r'"(.*?)"\].*\n(\w+) = "(\w+)"', entry).groups()  # type: ignore[union-attr]
    installed = folder / "site-packages"
    (installed / "theirs-1.0.dist-info").mkdir(parents=True)
    (installed / f"{module}.py").write_text(code)
    (installed / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (installed / "theirs-1.0.dist-info" / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
    environment = os.environ | {"PRUNEMARK_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}

    def call(*arguments: object, has_package: bool = True) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(ROOT), *([str(installed)] if has_package else [])])
        words = [sys.executable, "-m", "suite", *map(str, arguments)]
        return subprocess.run(words, cwd=folder, env=environment | {"PYTHONPATH": path}, text=True, capture_output=True,
                              timeout=600)  # fmt: skip

    return call


def done(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def records(run: Run) -> list[dict[str, object]]:
    """One accuracy record of each method on the documented task."""
    asked = [word for name in METHODS for word in ("--method", name)]
    lines = done(run("run", "--task", "tumours", *asked, "--points", "first", "--profile", "smoke", "--json"))
    return [json.loads(line) for line in lines.splitlines()]


def test_it_is_listed(run: Run) -> None:
    (listed,) = json.loads(done(run("list", "tasks", "tumours", "--json")))
    assert listed["available"] and (listed["model"], listed["data"]) == ("tumour-net", "tumours")


def test_methods_of_each_kind_run_on_it_and_report_its_own_metrics(records: list[dict[str, object]]) -> None:
    assert [record["method"] for record in records] == list(METHODS)
    for record in records:
        metrics = record["metrics"]
        assert isinstance(metrics, dict) and OWN | {f"dense_{name}" for name in OWN} <= set(metrics)
        assert record["status"] == "ok" and 0 <= metrics["cost"] <= 10 and 0 <= metrics["missed"] <= 1
        assert record["data_source"] == "Wisconsin diagnostic breast cancer, scikit-learn"
        assert metrics["size_bytes"] < metrics["dense_size_bytes"]
    assert records[0]["metrics"]["dense_cost"] < 0.6, "always saying 'healthy' costs 3.6, always 'malignant' 0.65"  # type: ignore[index]


@pytest.mark.usefixtures("records")
def test_it_is_planned_measured_exported_and_checked(run: Run) -> None:
    cell = ["--task", "tumours", "--method", "l1-three-stage", "--points", "first", "--profile", "smoke"]
    planned = json.loads(done(run("plan", *cell, "--json")))
    assert [each["state"] for each in planned["cells"]] == ["fresh"], "what has run is not owed"
    measured = [json.loads(line) for line in done(run("bench", *cell, "--json")).splitlines()]
    assert {record["kind"] for record in measured} == {"latency", "memory", "noise-floor"}
    assert all(record["status"] == "ok" for record in measured), "its network was rebuilt in fresh processes"
    exported = json.loads(done(run("export", *cell, "--format", "safetensors", "--out", "net.safetensors", "--json")))
    assert exported["precision"] == "fp32" and exported["checks"][0] == "read back: weights and outputs bit-equal"
    assert len(exported["normalisation"]["mean"]) == 10
    assert " 0 bad" in done(run("check"))


@pytest.mark.usefixtures("records")
def test_pages_show_it_where_it_is_installed_and_say_so_where_not(run: Run, tmp_path: Path) -> None:
    pages = {}
    for has_package in (True, False):
        out = tmp_path / str(has_package)
        done(run("site", "--out", out, has_package=has_package))
        pages[has_package] = {name: (out / name).read_text() for name in ("index.html", "task-tumours.html")}
    own, foreign = pages[True]["task-tumours.html"], pages[False]["task-tumours.html"]
    assert "Missing one costs ten false alarms" in own and "Missed tumours" in own and "Cost per patient" in own
    assert 'aria-sort="ascending"' in own, "the metric that decides is better when lower"
    assert "tumours" in pages[True]["index.html"] and "is not in this checkout" not in own
    assert "task tumours is not in this checkout" in foreign and "Cost per patient" not in foreign
