"""Of a file with a network, its tasks are made without what the network alone needs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from suite import excerpts

WHOLE = """
from __future__ import annotations

import torch
from dataclasses import replace
from suite import Arrays, Recipe, Task, register_model, register_task

LR = 0.1
WIDTHS = {"small": 8}
WIDTHS["large"] = 64
WIDTHS.update(huge=512)
UNUSED = torch.zeros(3)
print("a side effect")


@register_model("net")
class Net(torch.nn.Module):
    pass


def recipe(weights: torch.Tensor | None = None) -> Recipe:
    return Recipe(epochs=1, lr=LR)


@register_task("one")
def one() -> Task:
    return Task(options=WIDTHS, recipes={"full": recipe()})


@register_task("two")
def two() -> Task:
    return replace(one(), title="")


if __name__ == "__main__":
    print(one())
"""


def names(tree: ast.Module | None) -> list[str]:
    assert tree is not None
    return [ast.unparse(node).splitlines()[0] for node in tree.body]


def read(tmp_path: Path, source: str) -> ast.Module | None:
    path = tmp_path / "theirs.py"
    path.write_text(source)
    return excerpts.excerpt(path, "register_task")


def test_excerpt_has_what_the_tasks_need_in_order_and_nothing_else(tmp_path: Path) -> None:
    assert names(read(tmp_path, WHOLE)) == [
        "from __future__ import annotations",
        "from dataclasses import replace",
        "from suite import Recipe, Task, register_task",
        "LR = 0.1",
        "WIDTHS = {'small': 8}",
        "WIDTHS['large'] = 64",
        "WIDTHS.update(huge=512)",
        "def recipe(weights: torch.Tensor | None=None) -> Recipe:",
        "@register_task('one')",
        "@register_task('two')",
    ]


def test_annotations_count_where_they_are_evaluated(tmp_path: Path) -> None:
    eager = WHOLE.replace("from __future__ import annotations\n", "")
    assert "import torch" in names(read(tmp_path, eager))


def test_names_that_a_try_or_an_if_defines_come_with_the_whole_statement(tmp_path: Path) -> None:
    source = WHOLE.replace("LR = 0.1", "try:\n    import heavy\n    LR = heavy.LR\nexcept ImportError:\n    LR = 0.1")
    found = names(read(tmp_path, source))
    assert "try:" in found and "if __name__ == '__main__':" not in found


@pytest.mark.parametrize(
    "change",
    [
        ("import torch\n", "from numpy import *\n"),
        ("UNUSED =", "for lr in (1, 2):\n    register_task(str(lr))(print)\nUNUSED ="),
        ("UNUSED =", "again = register_task\nUNUSED ="),
    ],
)
def test_there_is_no_excerpt_where_the_syntax_does_not_tell(tmp_path: Path, change: tuple[str, str]) -> None:
    assert read(tmp_path, WHOLE.replace(*change, 1)) is None


def test_there_is_no_excerpt_of_a_file_without_tasks(tmp_path: Path) -> None:
    assert read(tmp_path, "import torch\n") is None
