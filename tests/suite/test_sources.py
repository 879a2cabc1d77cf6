"""What is read from source files: hyperparameters, decorator arguments, the hash of what a file does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import sources
from suite.bounds import Range
from suite.errors import RegistrationError, UsageError
from suite.sources import Hyperparameter

FLOAT = Hyperparameter("lr", "float", 0.1)
INT = Hyperparameter("steps", "int", 6)
BOOL = Hyperparameter("stop", "bool", False)
CHOICE = Hyperparameter("schedule", "str", "step", ("step", "cosine"))
OPTIONAL = Hyperparameter("budget", "float", None, None, True)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (INT, "1.5"), (INT, 1.0), (INT, "1e3"), (INT, True), (INT, ""), (INT, None), (INT, "9" * 5000),
        (FLOAT, "nan"), (FLOAT, "inf"), (FLOAT, float("nan")), (FLOAT, "-inf"), (FLOAT, "1e999"), (FLOAT, 10**400),
        (FLOAT, True), (FLOAT, "half"), (FLOAT, None), (FLOAT, "none"), (FLOAT, [1.0]),
        (BOOL, "yes"), (BOOL, 1), (BOOL, "0"), (BOOL, None),
        (CHOICE, "linear"), (CHOICE, "Step"), (CHOICE, None), (OPTIONAL, "None of them"),
    ],
)  # fmt: skip
def test_ill_typed_value_is_a_usage_error_that_names_method_and_value(parameter: Hyperparameter, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^l1: {parameter.name}=") as caught:
        parameter.parse(value, "l1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "value", "parsed"),
    [
        (INT, "12", 12), (INT, -3, -3), (FLOAT, "0.34375", 0.34375), (FLOAT, 1, 1.0), (FLOAT, "1e-3", 0.001),
        (BOOL, "true", True), (BOOL, "False", False), (BOOL, True, True), (CHOICE, "cosine", "cosine"),
        (OPTIONAL, "none", None), (OPTIONAL, None, None), (OPTIONAL, "2", 2.0),
    ],
)  # fmt: skip
def test_value_is_parsed_to_its_type(parameter: Hyperparameter, value: Any, parsed: Any) -> None:
    found = parameter.parse(value, "l1")
    assert found == parsed
    assert type(found) is type(parsed)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans())
def test_spelled_value_is_parsed_back_to_itself(value: float | int | bool) -> None:
    kind = {bool: BOOL, int: INT, float: FLOAT}[type(value)]
    found = kind.parse(sources.spell(value), "l1")
    assert found == value
    assert type(found) is type(value)
    assert not isinstance(found, float) or math.copysign(1, found) == math.copysign(1, value)


# ---------------------------------------------------------------------------------------------------------- signatures


def read(folder: Path, source: str) -> Any:
    path = folder / "each.py"
    path.write_text(source)
    ((_, function),) = sources.decorated(path, "register_method", ("name",))
    return sources.schema(function, path)


def method(parameters: str) -> str:
    return f'@register_method("each", family="f")\ndef each({parameters}):\n    """Nothing."""\n'


def test_signature_is_the_schema(tmp_path: Path) -> None:
    found = read(tmp_path, method(
        'model, bench, *, ratio: float = 22 / 64, steps: int = 6, order: Literal["both", "one"] = "both", '
        "budget: float | None = None, stop: bool = False"
    ))  # fmt: skip
    assert found == (
        Hyperparameter("ratio", "float", 0.34375),
        Hyperparameter("steps", "int", 6, bounds=Range(at_least=1)),
        Hyperparameter("order", "str", "both", ("both", "one")),
        Hyperparameter("budget", "float", None, None, True),
        Hyperparameter("stop", "bool", False),
    )


@pytest.mark.parametrize(
    "parameters",
    [
        "model",
        "model, bench, ratio",
        "model, bench, *, ratio: float",
        "model, bench, *, ratio=0.5",
        "model, bench, *, ratio: list = []",
        "model, bench, *, ratio: 'float' = 0.5",
        "model, bench, *, ratio: Literal[1, 2] = 1",
        "model, bench, *, ratio: Literal[other()] = 1",
        "model, bench, *, ratio: float = unknown",
        "model, bench, *, ratio: int = 0.5",
        "model, bench, *, ratio: Literal['a', 'b'] = 'c'",
        "model, bench, *rest",
        "model, bench, **rest",
    ],
)
def test_signature_that_is_no_schema_is_refused_by_file_and_line(tmp_path: Path, parameters: str) -> None:
    with pytest.raises(RegistrationError, match=r"each\.py:2: each"):
        read(tmp_path, method(parameters))


def test_decorator_arguments_may_use_constants_assigned_above(tmp_path: Path) -> None:
    path = tmp_path / "each.py"
    points = "[{'r': r} for r in RATIOS] + [{'r': round(0.1 * k, 1)} for k in range(2)]"
    decorator = f"@suite.register_method('each', points={points})"
    path.write_text(f"RATIOS = (0.5, 0.25)\nopen('/nowhere')\n{decorator}\ndef each(model, bench): ...\n")
    ((arguments, _),) = sources.decorated(path, "register_method", ("name",))
    assert arguments["points"] == [{"r": 0.5}, {"r": 0.25}, {"r": 0.0}, {"r": 0.1}]


@pytest.mark.parametrize("arguments", ["'each', family=FAMILY", "NAME", "family='f'", "3", "'each', **more"])
def test_decorator_arguments_that_are_no_constants_are_refused_by_file_and_line(tmp_path: Path, arguments: str) -> None:
    path = tmp_path / "each.py"
    path.write_text(f"@register_method({arguments})\ndef each(model, bench): ...\n")
    with pytest.raises(RegistrationError, match=r"each\.py:1: "):
        list(sources.decorated(path, "register_method", ("name", "family")))


@pytest.mark.parametrize("content", [b"def broken(:\n", b"\xff\xfe\x00", b"x = '\x00'\n", b"(" * 5000 + b")" * 5000])
def test_file_that_is_no_python_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "each.py"
    path.write_bytes(content)
    with pytest.raises(RegistrationError, match=r"each\.py"):
        sources.parse(path)


# ----------------------------------------------------------------------------------------------------------- freshness

SOURCE = '''"""What it is."""
import torch

SHARE = 0.5


def prune(model, share=SHARE):
    """What it does."""
    return [name for name, _ in model.named_modules() if len(name) > 3 * share]
'''
SAME = """# Copyright
import torch
SHARE = (0.5)  # half



def prune(model, share=SHARE):
    # by name
    return [
        name
        for name, _ in model.named_modules()
        if len(name) > 3 * share
    ]
"""


@pytest.fixture
def meaning(tmp_path: Path) -> Callable[..., str]:
    """`meaning(source, other_file=source)`: the hash of the first, in a folder of their own."""

    def call(source: str, **others: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir()))) / "methods"
        folder.mkdir(parents=True)
        for name, text in others.items():
            (folder / f"{name}.py").write_text(text)
        (folder / "each.py").write_text(source)
        return sources.meaning(folder / "each.py")

    return call


def test_meaning_ignores_comments_docstrings_and_layout(meaning: Callable[..., str]) -> None:
    assert meaning(SOURCE) == meaning(SAME)


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.5", "0.25"), ("0.5", "'0.5'"), ("> 3", ">= 3"), ("SHARE)", "0.5)"), ("import torch", "import torch as t"),
     ("[name", "[_"), ("return", "yield"), ("prune(", "cut(")],
)  # fmt: skip
def test_meaning_changes_with_the_code(meaning: Callable[..., str], old: str, new: str) -> None:
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE
    assert meaning(changed) != meaning(SOURCE)


def test_text_that_is_no_docstring_counts(meaning: Callable[..., str]) -> None:
    assert meaning("def f():\n    x = 'a'\n") != meaning("def f():\n    x = 'b'\n")


@pytest.mark.parametrize(
    "statement",
    ["from methods._shared import cut", "from ._shared import cut", "from . import _shared",
     "from methods import _shared", "import methods._shared"],
)  # fmt: skip
def test_meaning_changes_with_shared_files(meaning: Callable[..., str], statement: str) -> None:
    one = meaning(statement, _shared="def cut(x):\n    return x\n")
    assert meaning(statement, _shared='def cut(x):\n    """Nothing."""\n    return x  # yet\n') == one
    assert meaning(statement, _shared="def cut(x):\n    return x + 1\n") != one
    assert meaning(statement, _shared="def cut(x):\n    return x\n", _other="x = 1") == one


def test_meaning_follows_shared_files_of_shared_files(meaning: Callable[..., str]) -> None:
    def of(number: int) -> str:
        return meaning("from ._a import x", _a="from ._b import x", _b=f"x = {number}")

    assert of(1) == of(1)
    assert of(1) != of(2)


def test_meaning_of_files_that_import_each_other_ends(meaning: Callable[..., str]) -> None:
    assert meaning("from ._a import x", _a="from . import each\nx = 1") != meaning(
        "from ._a import x", _a="from . import each\nx = 2"
    )
