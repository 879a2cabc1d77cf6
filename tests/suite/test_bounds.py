"""Which values a hyperparameter may take: a slip is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite import bounds, plan, registry, sources
from suite.bounds import Range
from suite.errors import RegistrationError, UsageError
from suite.sources import Hyperparameter


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        ("l1-three-stage", {"channel_ratio": "-3"}, "channel_ratio=-3 is not a number above 0 and at most 1"),
        ("l1-three-stage", {"channel_ratio": "0"}, "channel_ratio=0 is not a number above 0 and at most 1"),
        ("l1-three-stage", {"epochs": "-1"}, "epochs=-1 is not a whole number at least 0 (default 10)"),
        ("l1-three-stage", {"lr": "0"}, "lr=0 is not a number above 0"),
        ("l1-three-stage", {"lr": "1e300"}, "lr=1e300 is not a number above 0 and at most 1000 (default 0.05)"),
        ("l1-three-stage", {"max_drop": "5"}, "max_drop=5 is not a number at least 0 and at most 1 (default 0.04)"),
        ("global-unstructured", {"sparsity": "2"}, "sparsity=2 is not a number at least 0 and below 1"),
        ("branch-alpha", {"restarts": "a,b"}, "restarts=a,b is not numbers with commas between, each above 0 (default"),
        ("branch-alpha", {"restarts": "0.1,nan,0.1"}, "restarts=0.1,nan,0.1 is not numbers"),
        ("branch-alpha", {"restart_epochs": "x"}, "restart_epochs=x is not numbers with commas between, each at least"),
        ("branch-alpha", {"restart_epochs": "1,2,-3"}, "each at least 0"),
        ("branch-alpha", {"size": "0"}, "size=0 is not a number above 0 and at most 1"),
        ("branch-alpha", {"early_stop": "0"}, "early_stop=0 is not a whole number at least 1, or none"),
        ("branch-alpha", {"restarts": "0.1"}, "restarts=0.1 are 1 numbers, restart_epochs=10,20,80 are 3"),
        ("structured", {"importance": "l2"}, "structured: there is no target: --set one of channel_ratio,"),
        ("structured", {"macs_ratio": "0.5", "channel_ratio": "0.5"}, "channel_ratio and macs_ratio are more than one"),
        ("structured", {"macs_ratio": "1.5"}, "macs_ratio=1.5 is not a number above 0 and at most 1, or none"),
        ("quantize-static", {"base": "l1-three-stage:channel_ratio=7"}, "l1-three-stage: channel_ratio=7 is not"),
        ("quantize-static", {"base": "structured:importance=l2"}, "structured: there is no target"),
    ],
)  # fmt: skip
def test_setting_that_no_network_can_have_is_refused(method: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan.complete(registry.method(method), settings)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_every_default_and_every_point_lies_within() -> None:
    for method in registry.catalogue().methods.values():
        for point in method.points:
            plan.complete(method, point)
    assert not registry.catalogue().unavailable


def read(folder: Path, parameter: str) -> Hyperparameter:
    path = folder / "each.py"
    path.write_text(f'@register_method("each", family="f")\ndef each(model, bench, *, {parameter}): ...\n')
    ((_, function),) = sources.decorated(path, "register_method", ("name",))
    return sources.schema(function, path)[0]


@pytest.mark.parametrize(
    ("parameter", "kind", "optional", "said"),
    [
        ("share: Annotated[float, Range(above=0, at_most=1)] = 0.5", "float", False, "above 0 and at most 1"),
        ("rank: Annotated[int | None, Range(at_least=2)] = None", "int", True, "at least 2"),
        ("rank: typing.Annotated[int, suite.Range(at_least=2)] | None = None", "int", True, "at least 2"),
        ("rates: Annotated[str, Range(above=-1, below=1)] = '0,0.5'", "str", False, "above -1 and below 1"),
        ("channel_ratio: Annotated[float, Range(at_least=0, at_most=2)] = 1", "float", False,
         "at least 0 and at most 2"),
    ],
)  # fmt: skip
def test_method_declares_a_range_of_its_own_in_its_signature(
    tmp_path: Path, parameter: str, kind: str, optional: bool, said: str
) -> None:
    found = read(tmp_path, parameter)
    assert (found.type, found.optional, str(found.bounds)) == (kind, optional, said)


@pytest.mark.parametrize(
    "parameter",
    [
        "share: Annotated[float, Range(0, 1)] = 0.5",
        "share: Annotated[float, Range()] = 0.5",
        "share: Annotated[float, Range(over=0)] = 0.5",
        "share: Annotated[float, Range(above='0')] = 0.5",
        "share: Annotated[float, 'a share'] = 0.5",
        "share: Annotated[bool, Range(above=0)] = True",
        "share: Annotated[float, Range(above=0, at_most=1)] = 2.0",
        "rates: Annotated[str, Range(above=0)] = 'fast'",
    ],
)
def test_range_that_cannot_be_read_or_shuts_out_its_own_default_is_refused_by_file_and_line(
    tmp_path: Path, parameter: str
) -> None:
    with pytest.raises(RegistrationError, match=r"each\.py:2: each"):
        read(tmp_path, parameter)


def test_annotated_range_is_what_python_makes_of_it() -> None:
    """A file that says `from suite import Range` must be importable too."""
    from typing import Annotated, get_args

    from suite import Range as exported

    assert get_args(Annotated[float, exported(above=0)])[1] == Range(above=0)


@pytest.mark.parametrize(
    "parameter",
    [
        "channel_ratio: float = 2.0",  # whatever it is, no share
        "sparsity: str = 'high'",
        "restarts: int = 0",
        "restarts: str = 'all'",
        "size: int = 3",  # a kernel's, without a `schedule` beside it
        "lr: float = -1.0",
    ],
)
def test_name_that_evidently_means_something_else_has_no_range(tmp_path: Path, parameter: str) -> None:
    assert read(tmp_path, parameter).bounds is None


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ()), ("1", (1.0,)), (" 1, 2e-1 ,", (1.0, 0.2)), ("1;2", None), ("inf", None), ("nan", None)],
)
def test_numbers_of_a_text(text: str, found: Any) -> None:
    assert bounds.numbers(text) == found
