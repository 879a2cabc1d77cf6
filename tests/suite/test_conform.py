"""The conformance test from the outside: each task in a process of its own, whatever the method does to it."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

from suite import conform, registry
from suite.conform import Case
from suite.errors import DataError, UsageError

METHOD = '''
import os, time
import torch
from torch import nn
from suite import Workbench, register_method


@register_method("theirs", family="unstructured pruning", points=[{}])
def theirs(model: nn.Module, bench: Workbench, *, share: float = 0.5) -> nn.Module:
    """Set the first rows of the last layer to zero, as no paper ever proposed."""
    with torch.no_grad():
        model.head.weight[: int(share * len(model.head.weight))] = 0
    BODY
    return model
'''
Cases = Callable[..., list[Case]]


@pytest.fixture
def cases(tiny_task: Any, tmp_path: Path) -> Cases:
    """`cases(body, tasks, ...)`: what is said of a method with that code."""

    def call(
        body: str = "pass", tasks: tuple[str, ...] = ("tiny",), top: str = "", points_given: str = "{}", **options: Any
    ) -> list[Case]:
        path = tmp_path / "theirs.py"
        path.write_text(top + METHOD.replace("BODY", body).replace("points=[{}]", f"points=[{points_given}]"))
        return list(conform.check(conform.find(str(path)), tasks, **options))

    return call


def test_cases_of_each_task_come_in_the_order_of_the_tasks(cases: Cases) -> None:
    found = cases("if bench.task.title == 'Tiny': time.sleep(1)", ("tiny-slow", "tiny", "vgg16-digits"), workers=3)
    assert not any(case.fault for case in found), found
    assert list(dict.fromkeys(case.task for case in found)) == ["-", "tiny-slow", "tiny", "vgg16-digits"]
    assert len(found) == 3 + 3 * 7


def test_further_points_are_tried_on_demand_and_named(cases: Cases) -> None:
    own = {"body": "if share == 0.25: raise ValueError('too little')",
           "points_given": '{"share": 0.5}, {"share": 0.0}, {"share": 0.25}'}  # fmt: skip
    headline, every = cases(**own), cases(**own, points="all")
    assert len(headline) == 3 + 7 and not any(case.fault for case in headline)
    assert every[:10] == headline
    assert [case.name for case in every[10:]] == [
        *(f"{case.name} (share=0.0)" for case in headline[3:9]), "runs (share=0.25)"]  # fmt: skip
    assert [case.fault is None for case in every] == [True] * 16 + [False]
    assert str(every[-1]).startswith("tiny             runs (share=0.25): ValueError: too little (theirs.py, line ")


@pytest.mark.parametrize(
    ("body", "fault"),
    [("os.abort()", "its process crashed (SIGABRT)"), ("os._exit(3)", "its process ended early, with exit code 3")],
)
def test_method_that_ends_its_process_fails_there_and_is_asked_elsewhere(cases: Cases, body: str, fault: str) -> None:
    found = cases(f"if bench.task.title == 'Tiny': {body}", ("tiny", "vgg16-digits"))
    assert found[3] == Case("ends by itself", "tiny", fault)
    assert len(found) == 3 + 1 + 7 and not any(case.fault for case in (*found[:3], *found[4:]))


def test_method_that_never_ends_is_stopped_and_leaves_no_process(cases: Cases) -> None:
    found = cases("time.sleep(1000)", timeout=3)
    assert found[3:] == [Case("ends by itself", "tiny", "stopped after 3 s, its time limit")]
    server = psutil.Process(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
    assert not server.children()


def test_fault_of_the_file_is_said_once(cases: Cases) -> None:
    found = cases(tasks=("tiny", "vgg16-digits"), top="import not_installed_anywhere\n")
    assert [(case.name, case.task) for case in found[3:]] == [("imports", "-")]
    assert "ModuleNotFoundError" in str(found[3].fault)


def test_what_is_wrong_with_a_task_or_its_data_is_no_fault_of_the_method(
    cases: Cases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRUNEMARK_DATA", str(tmp_path))
    with pytest.raises(DataError, match="cifar10"):
        cases(tasks=("vgg16-cifar10",))
    with pytest.raises(UsageError, match="did you mean 'tiny'"):
        cases(tasks=("tinny",))


def test_name_that_another_file_has_is_refused(tiny_task: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(METHOD.replace("BODY", "pass").replace('"theirs"', '"structured"'))
    with pytest.raises(
        UsageError, match=r"mine\.py registers 'structured', which is the name of .*structured\.py:\d+: "
    ):
        conform.find(str(path))
    own = Path(registry.method("structured").path)
    assert conform.find(str(own)).name == "structured"
