"""The conformance test finds each way in which a method can be wrong, and says which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import conform, conformance
from suite.errors import UsageError

GOOD = '''
import torch
from torch import nn
{top}
from suite import SuiteError, Unsupported, Workbench, register_method


@register_method("theirs", family="unstructured pruning", points=[{points}])
def theirs(model: nn.Module, bench: Workbench, *, share: float = 0.5) -> nn.Module:
    """{story}"""
    with torch.no_grad():
        model.head.weight[: int(share * len(model.head.weight))] = 0
    {body}
    return model
'''
STORY = "Set the first rows of the last layer to zero, as no paper ever proposed."
BEFORE = {"has a docstring", "its points fit its signature", "imports only the public interface"}
ON_A_TASK = ["runs", "returns a network", "keeps the output's shape", "is deterministic under a seed",
             "saves and reloads to the same outputs", "loads no data set of its own",
             "is smaller or sparser"]  # fmt: skip


@pytest.fixture
def faults(tiny_task: Any, tmp_path: Path) -> Callable[..., dict[str, str | None]]:
    """`faults(body=..., top=...)`: what each case says of a method with that code, on the tiny task."""

    def call(*, body: str = "pass", top: str = "", points: str = "", story: str = STORY) -> dict[str, str | None]:
        path = tmp_path / "theirs.py"
        indented = body.replace("\n", "\n    ")
        path.write_text(GOOD.format(body=indented, top=top, points=points, story=story))
        cases = conformance.check(conform.find(str(path)), "tiny")
        return {case.name: case.fault for case in cases}

    return call


def test_good_method_passes_every_case(faults: Callable[..., dict[str, str | None]]) -> None:
    found = faults(body="bench.log(val=bench.evaluate(model))")
    assert set(found) == BEFORE | set(ON_A_TASK)
    assert not any(found.values())


def test_a_network_that_raises_fails_its_cases_and_ends_no_other(faults: Callable[..., dict[str, str | None]]) -> None:
    found = faults(body="return model.half()")
    assert set(found) == BEFORE | set(ON_A_TASK)
    assert str(found["keeps the output's shape"]).endswith("is float16: return the network in float32, model.float()")
    assert str(found["is smaller or sparser"]).startswith("RuntimeError: ")
    assert found["is deterministic under a seed"] is None


@pytest.mark.parametrize(
    ("code", "case", "fault"),
    [
        ({"body": "return None"}, "returns a network", "it returned a NoneType"),
        ({"body": "return model.state_dict()"}, "returns a network", "it returned a OrderedDict"),
        ({"body": "raise ValueError('two\\nlines')"}, "runs", "ValueError: two lines"),
        ({"body": "model.head = nn.Linear(32, 5)"}, "keeps the output's shape", "(8, 5), the task's are (8, 10)"),
        ({"body": "model.head.bias.data.fill_(float('inf'))"},
         "keeps the output's shape", "outputs are not finite"),
        ({"body": "raise SystemExit(0)"}, "runs", "SystemExit: 0"),
        ({"body": "calls.append(1)\nmodel.head.bias.data.fill_(len(calls))", "top": "calls = []"},
         "is deterministic under a seed", "differ in head.bias: draw random numbers from bench.rng"),
        ({"body": "model.head.bias.data.fill_(np.random.default_rng().random())", "top": "import numpy as np"},
         "is deterministic under a seed", "differ in head.bias"),
        ({"body": "nn.utils.prune.l1_unstructured(model.head, 'weight', 0.5)", "top": "import torch.nn.utils.prune"},
         "saves and reloads to the same outputs", "is still masked: call torch.nn.utils.prune.remove"),
        ({"body": "model = nn.Sequential(model)"}, "saves and reloads to the same outputs", "no layer of VGG"),
        ({"body": "model.head.weight.data.uniform_(0.1, 0.2)"}, "is smaller or sparser", "as many parameters"),
        ({"body": "importlib.import_module('suite.data').load('digits', None, 'cpu')", "top": "import importlib"},
         "loads no data set of its own", "it loaded digits"),
        ({"top": "from suite.data import load"}, "imports only the public interface", "line 4 imports suite.data"),
        ({"top": "import suite.train as t"}, "imports only the public interface", "line 4 imports suite.train"),
        ({"top": "from suite import data"}, "imports only the public interface", "line 4 imports suite.data"),
        ({"body": "from suite.data import load"}, "imports only the public interface", "imports suite.data"),
        ({"top": "import not_installed_anywhere"}, "imports", "ModuleNotFoundError"),
        ({"story": "Zeroes."}, "has a docstring", "it is the method's page"),
        ({"points": "{'shares': 0.5}"}, "its points fit its signature", "did you mean 'share'"),
        ({"points": "{'share': 'half'}"}, "its points fit its signature", "is not a finite number"),
    ],
)  # fmt: skip
def test_bad_method_fails_the_right_case(
    faults: Callable[..., dict[str, str | None]], code: dict[str, str], case: str, fault: str
) -> None:
    found = {name: reason for name, reason in faults(**code).items() if reason is not None}
    assert list(found) == [case], found
    assert fault in found[case]
    assert "\n" not in found[case]


def test_method_that_is_unsupported_here_passes(faults: Callable[..., dict[str, str | None]]) -> None:
    found = faults(body="raise Unsupported('no such layer')")
    assert "unsupported here: no such layer" in found
    assert not any(found.values())


def test_control_may_be_as_large_as_it_likes_only_if_it_is_the_baseline(tiny_task: Any) -> None:
    from suite import registry

    cases = conformance.check(registry.method("dense"), "tiny")
    assert {case.name for case in cases} == BEFORE | set(ON_A_TASK) - {"is smaller or sparser"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), ("x = 1\n", "registers 0 methods"),
     (GOOD + GOOD.replace('"theirs"', '"again"'), "registers 2 methods")],
)  # fmt: skip
def test_file_without_exactly_one_method_is_a_usage_error(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "theirs.py"
    if content is not None:
        path.write_text(content.format(body="pass", top="", points="", story=STORY) if "{" in content else content)
    with pytest.raises(UsageError, match=message):
        conform.find(str(path))
