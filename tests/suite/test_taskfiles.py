"""A task file registers all that its task needs, is listed without torch, and each mistake in it is one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suite import plan, registry
from suite.errors import UsageError
from suite.rows import QUALITY

ROOT = Path(__file__).parents[2]
Install = Callable[..., Path]


def test_file_registers_network_data_objective_and_metrics(install: Install, own_task: str) -> None:
    folder = install(tasks={"theirs": own_task})
    task = registry.task("theirs")
    path = folder / "outside" / "theirs.py"
    assert (task.title, task.description, task.path) == ("Theirs", "A task of theirs.", str(path))
    assert registry.model_path("their-net") == path
    assert registry.decider("their-objective") == "regret" and not QUALITY["regret"].higher_is_better
    assert "top1" in QUALITY and registry.outside("data", "digits") is None
    assert next(iter(QUALITY)) == "top1", "ours come first"


def test_listing_planning_and_pages_import_no_torch_though_the_file_does(
    install: Install, own_task: str, tmp_path: Path
) -> None:
    folder = install(tasks={"theirs": own_task})
    code = """
import sys
from suite import cli, plan, registry
assert registry.task("theirs").model == "their-net" and plan.current_freshness("theirs", "dense")
(tmp := __import__("pathlib").Path("results")).mkdir()
for arguments, code in ((["check"], 2), (["site", "--out", "out"], 0), (["list", "matrix"], 0)):
    assert cli.main(arguments) == code, arguments
assert not {"torch", "sklearn", "outside.theirs"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"})  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('"quick": RECIPE, ', ""), r"lacks the profile 'quick': give a Recipe for each of smoke, quick, full"),
        (("    return Task(", "    return dict("), r"returns a dict: return a Task"),
        (("    return Task(", "    1 / 0\n    return Task("), r"its function fails: ZeroDivisionError"),
        (('model="their-net"', 'model="their-ned"'), r"unknown model 'their-ned': did you mean 'their-net'\?"),
        (('data="their-data"', 'data="digitz"'), r"unknown data 'digitz': did you mean 'digits'\?"),
        (('objective="their-objective"', 'objective="reconstructoin"'), r"did you mean 'reconstruction'\?"),
        (("input_shape=(2, 4, 4)", "input_shape=(4, 4)"), r"input_shape= must be \(channels, height, width\)"),
        (('options={"width": 4}', 'options={"width": [4]}'), r"options= must map names to numbers"),
        (("lr=0.1", 'lr=0.1, augmentation=("spin",)'), r"recipes\['smoke'\]: augmentation= must be a tuple of flip"),
        (("lr=0.1", 'lr=0.1, augmentation="flip"'), r"augmentation= must be a tuple of flip"),
        (("lr=0.1", 'lr=0.1, schedule="cosin"'), r"schedule= must be one of triangular, cosine"),
        (("epochs=1", "epochs=0"), r"epochs= must be a whole number from 1 on, not 0"),
        (('register_task("theirs")', 'register_task("../theirs")'), r"a name is made of letters"),
        (('register_model("their-net")', 'register_model("vgg16")'), r"model 'vgg16' is registered twice: .*vgg\.py"),
        (('register_data("their-data"', 'register_data("digits"'), r"data 'digits' is registered twice: in .*data\.py"),
        (('objective("their-objective"', 'objective("classification"'), r"is registered twice: in .*evaluate\.py"),
        (('"top1"))', '"top2"))'), r"'top2' is no metric of ours"),
        (('Metric("regret"', 'Metric("macs"'), r"the metric 'macs' is ours"),
        (('Metric("regret"', 'Metric("dense_regret"'), r"cannot name a metric"),
        (('"number", False', '"seconds", False'), r"kind one of percent, number, decibel"),
        (('metrics=(Metric("regret", "Regret", "number", False), "top1")', "metrics=()"), r"needs metrics=, a tuple"),
        (("RECIPE =", "x = (\nRECIPE ="), r"theirs\.py is not valid Python"),
        (('options={"width": 4}', 'options={"wdth": 4}'), r"model 'their-net' takes no option 'wdth'; it takes width$"),
        (("(*, width=4)", "(*, width: bool = True)"), r"model 'their-net': its option width is bool, not 4$"),
        (("(*, width=4)", "(depth, *, width)"), r"model 'their-net' needs the options depth$"),
        (('title="Theirs"', 'title="T", parent="vgg16"'), r"parent='vgg16' is no task that can be used: name the task"),
        (('title="Theirs"', 'title="T", parent="vgg16-cifar10+width0.25"'), r"\+width0\.25' is a variant itself: "),
    ],
)  # fmt: skip
def test_mistake_makes_the_task_unavailable_in_one_line_that_names_the_file(
    install: Install, own_task: str, change: tuple[str, str], reason: str
) -> None:
    assert change[0] in own_task
    install(tasks={"theirs": own_task.replace(*change, 1)})
    (found,) = registry.unavailable_tasks().values()
    assert re.search(reason, found) and "theirs.py" in found and "\n" not in found
    assert "vgg16-digits" in registry.tasks() and "theirs" not in registry.tasks()


def test_unavailable_task_is_refused_with_its_reason(install: Install, own_task: str) -> None:
    install(tasks={"theirs": own_task.replace("epochs=1", "epochs=0")})
    with pytest.raises(UsageError, match=r"task 'theirs' is unavailable: .*theirs\.py:\d+: task 'theirs': recipes"):
        registry.task("theirs")


def test_one_task_with_a_mistake_leaves_the_files_other_tasks_alone(install: Install, own_task: str) -> None:
    install(tasks={"theirs": own_task + '\n\n@register_task("bad")\ndef bad():\n    return None\n'})
    assert set(registry.unavailable_tasks()) == {"bad"} and "theirs" in registry.tasks()


def test_file_whose_import_alone_fails_is_listed_as_unavailable(install: Install, own_task: str) -> None:
    from suite import listing

    install(tasks={"theirs": own_task.replace("import torch\n", "import torch\nimport not_installed_anywhere\n")})
    entries = {entry["name"]: entry for entry in listing.entries("tasks")}
    assert "No module named 'not_installed_anywhere'" in entries["theirs"]["reason"]
    assert entries["vgg16-digits"]["available"]


def test_metric_that_two_files_declare_differently_is_refused(install: Install, own_task: str) -> None:
    other = own_task.replace('"number", False', '"number", True').replace("their-", "other-")
    other = other.replace('register_task("theirs")', 'register_task("others")')
    install(tasks={"theirs": own_task, "others": other})
    (reason,) = registry.unavailable_tasks().values()
    assert "metric 'regret' is declared as" in reason and "theirs" in registry.tasks()


def test_network_in_another_file_of_the_package_is_found_and_its_changes_make_records_stale(
    install: Install, own_task: str
) -> None:
    net, rest = own_task.split('@register_data("their-data"')
    head = own_task[: own_task.index("class Net(nn.Module)")]
    task = f'{head}\nfrom .nets import their_net\n\n\n@register_data("their-data"{rest}'
    folder = install(tasks={"theirs": task})
    nets = folder / "outside" / "nets.py"
    nets.write_text(net)
    registry.forget()
    assert registry.model_path("their-net") == nets
    before = plan.freshness(registry.task("theirs"), registry.method("dense"))
    nets.write_text(net.replace("width=4", "width=8"))
    registry.forget()
    plan._freshness.cache_clear()
    assert plan.freshness(registry.task("theirs"), registry.method("dense")) != before


def test_file_dropped_into_the_checkout_needs_no_package(own_task: str, tmp_path: Path) -> None:
    for folder in ("suite", "methods", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "suite" / "tasks" / "zz_theirs.py").write_text(own_task)
    code = """
from suite import registry
print(registry.build_model("their-net", {"width": 2}).head, registry.task("theirs").title)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": ""})  # fmt: skip
    assert "in_features=8, out_features=3" in done.stdout and done.stdout.endswith("Theirs\n")
