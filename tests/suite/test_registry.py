"""Methods, models and tasks are found without a list, each mistake is named, and torch stays unloaded until needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suite import listing, plan, registry
from suite.errors import RegistrationError, UsageError

ROOT = Path(__file__).parents[2]

METHOD = '''
from suite import register_method


@register_method("{name}", family="unstructured pruning", points=[{points}])
def prune(model, bench, *, share: float = 0.5):
    """Set the given share of the weights to zero."""
    return model
'''


def method(name: str, points: str = "") -> str:
    return METHOD.replace("{name}", name).replace("{points}", points)


def test_every_method_file_of_the_repository_is_found() -> None:
    files = {path.stem for path in (ROOT / "methods").glob("*.py") if not path.name.startswith("_")}
    found = registry.catalogue()
    assert {entry.module for entry in found.methods.values()} == {f"methods.{name}" for name in files}
    assert not found.unavailable
    assert {"dense", "l1-three-stage", "global-unstructured", "random-structured"} <= set(found.methods)


def test_file_dropped_into_methods_is_listed_and_broken_ones_are_named(tmp_path: Path) -> None:
    for folder in ("suite", "methods", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    dropped = {
        "new_one": method("new-one"),
        "broken": "def prune(:\n",
        "lacking": "import not_installed_anywhere\n" + method("lacking"),
        "zz_again": method("new-one"),
        "_shared": method("draft"),
    }
    for name, source in dropped.items():
        (tmp_path / "methods" / f"{name}.py").write_text(source)
    listed = subprocess.run([sys.executable, "-m", "suite", "list", "methods", "--json"], cwd=tmp_path, text=True,
                            capture_output=True, check=True, env=os.environ | {"PYTHONPATH": ""})  # fmt: skip
    entries = {entry["name"]: entry for entry in json.loads(listed.stdout)}
    assert entries["new-one"]["available"] and entries["l1-three-stage"]["available"]
    assert "draft" not in entries, "files that start with _ are shared code"
    assert not entries["lacking"]["available"]
    assert "No module named 'not_installed_anywhere'" in entries["lacking"]["reason"]
    assert "broken.py is not valid Python" in entries["methods.broken"]["reason"]
    twice = entries["methods.zz_again"]["reason"]
    assert "methods/new_one.py:6" in twice and "methods/zz_again.py:6" in twice


def test_method_of_an_installed_package_is_found_and_loaded(install: Callable[..., Path]) -> None:
    folder = install(methods={"theirs": method("theirs")})
    entry = registry.method("theirs")
    assert entry.origin == f"{folder}/outside/theirs.py:6"
    assert "outside.theirs" not in sys.modules, "finding a method must not import it"
    model = object()
    assert registry.load(entry)(model, None) is model
    assert "l1-three-stage" in registry.catalogue().methods


def test_method_under_another_decorator_is_loaded(install: Callable[..., Path]) -> None:
    source = (
        method("theirs")
        .replace("def prune", "@torch.no_grad()\ndef prune")
        .replace("from suite", "import torch\nfrom suite")
    )
    install(methods={"theirs": source})
    model = object()
    assert registry.load(registry.method("theirs"))(model, None) is model


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def prune(:\n", "is not valid Python"),
        (method("theirs").replace('"theirs"', "NAME"), "literals or constants"),
        (method("theirs").replace(": float", ""), "needs a type and a default"),
        (method("theirs", points='{"shares": 0.5}'), "did you mean 'share'"),
        (method("theirs", points='{"share": "half"}'), "is not a finite number"),
        (method("theirs", points="3"), "points"),
        (method("theirs").replace("points=[]", "points=3"), "points"),
    ],
)
def test_method_file_with_a_mistake_is_unavailable_with_the_reason(
    install: Callable[..., Path], source: str, reason: str
) -> None:
    install(methods={"theirs": source, "good": method("good")})
    found = registry.catalogue()
    assert reason in found.unavailable["outside.theirs"]
    assert "theirs.py" in found.unavailable["outside.theirs"]
    assert "theirs" not in found.methods
    assert "good" in found.methods and "dense" in found.methods
    with pytest.raises(UsageError, match=r"'theirs' is unavailable: .*theirs.py"):
        registry.method("theirs")
    (entry,) = listing.entries("methods", "theirs")
    assert not entry["available"] and reason in entry["reason"]


def test_a_method_that_is_not_found_may_be_in_a_file_that_cannot_be_used(install: Callable[..., Path]) -> None:
    install(methods={"other_name": method("theirs", points="3"), "good": method("good")})
    with pytest.raises(UsageError, match=r"unknown method 'theirs'.*cannot be used: outside/other_name.py"):
        registry.method("theirs")


def test_entry_point_without_its_module_is_unavailable_with_the_reason(install: Callable[..., Path]) -> None:
    folder = install(methods={"theirs": method("theirs"), "good": method("good")})
    (folder / "outside" / "theirs.py").unlink()
    found = registry.catalogue()
    assert "outside.theirs" in found.unavailable
    assert "good" in found.methods


def test_method_whose_import_fails_is_found_but_not_loaded(install: Callable[..., Path]) -> None:
    install(methods={"theirs": "1 / 0\n" + method("theirs")})
    with pytest.raises(RegistrationError, match=r"theirs\.py cannot be imported: ZeroDivisionError: division by zero"):
        registry.load(registry.method("theirs"))


def test_file_that_exits_and_prints_while_it_is_imported_is_a_fault_like_any_other(
    install: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    install(methods={"theirs": "print('hello')\n" + method("theirs") + "\nimport sys\nsys.exit(0)\n"})
    with pytest.raises(RegistrationError, match=r"theirs\.py cannot be imported: SystemExit: 0"):
        registry.load(registry.method("theirs"))
    said = capsys.readouterr()
    assert said.out == "" and "hello" in said.err


@pytest.mark.parametrize("name", ["../../up", "", "has space", "a:b,c=d", "x" * 101])
def test_name_that_names_no_folder_is_refused(install: Callable[..., Path], name: str) -> None:
    install(methods={"theirs": method(name)})
    assert "it names folders" in registry.catalogue().unavailable["outside.theirs"]


def test_name_registered_twice_is_refused_and_both_origins_are_named(install: Callable[..., Path]) -> None:
    install(methods={"theirs": method("dense") + method("extra").replace("prune", "other")})
    found = registry.catalogue()
    reason = found.unavailable["outside.theirs"]
    assert str(ROOT / "methods" / "dense.py") in reason and "outside/theirs.py:6" in reason
    assert found.methods["dense"].module == "methods.dense"
    assert "extra" in found.methods, "the file's other methods go on"


def test_of_two_files_beside_one_another_that_called_like_the_method_has_the_name(install: Callable[..., Path]) -> None:
    install(methods={"aaa": method("theirs"), "theirs": method("theirs"), "zzz": method("theirs")})
    found = registry.catalogue()
    assert found.methods["theirs"].module == "outside.theirs"
    for name in ("aaa", "zzz"):
        reason = found.unavailable[f"outside.{name}"]
        assert re.search(
            rf"'theirs' is registered twice: .*theirs\.py:\d+ has it, .*{name}\.py:\d+ is left out", reason
        )


def test_name_registered_twice_in_one_file_leaves_no_doubt_which_function_runs(install: Callable[..., Path]) -> None:
    install(methods={"theirs": method("theirs") + method("theirs").replace("prune", "other")})
    reason = registry.catalogue().unavailable["outside.theirs"]
    assert re.search(r"theirs\.py: method 'theirs' is registered twice, in lines \d+ and \d+; rename one", reason)
    with pytest.raises(UsageError, match=r"method 'theirs' is unavailable: .* is registered twice"):
        registry.method("theirs")


def test_broken_file_called_like_one_of_ours_leaves_ours_usable(install: Callable[..., Path]) -> None:
    install(methods={"dense": "def broken(:\n", "l1_three_stage": method("l1-three-stage")})
    assert {"outside.dense", "outside.l1_three_stage"} <= set(registry.catalogue().unavailable)
    for name in ("dense", "l1-three-stage"):
        assert registry.method(name).module == f"methods.{name.replace('-', '_')}"
        (entry,) = listing.entries("methods", name)
        assert entry["name"] == name and entry["available"]


def test_task_registered_twice_is_left_out_and_both_files_are_named(install: Callable[..., Path]) -> None:
    source = '''
from suite import Task, register_task


@register_task("vgg16-digits")
def theirs():
    """Another one."""
    return Task(title="", model="vgg16", options={}, data="digits", input_shape=(3, 32, 32), recipes={})
'''
    install(tasks={"theirs": source})
    (reason,) = registry.unavailable_tasks().values()
    assert re.search(r"'vgg16-digits' is registered twice: in .*vgg16\.py and in .*theirs\.py; rename one", reason)
    assert registry.task("vgg16-digits").title == "VGG16 (width 0.25) on digits"


def test_task_registered_twice_in_one_file_is_left_out_and_says_so(install: Callable[..., Path]) -> None:
    source = """
from suite import Task, register_task


@register_task("twin")
def first():
    return Task(title="", model="vgg16", options={}, data="digits", input_shape=(3, 32, 32), recipes={})


@register_task("twin")
def second():
    return Task(title="", model="vgg16", options={}, data="digits", input_shape=(3, 32, 32), recipes={})
"""
    install(tasks={"theirs": source})
    (reason,) = registry.unavailable_tasks().values()
    assert re.search(r"theirs\.py: task 'twin' is registered twice, in lines 6 and 11; rename one", reason)
    assert "vgg16-digits" in registry.tasks()


def test_task_package_whose_import_fails_is_unavailable_with_the_reason(install: Callable[..., Path]) -> None:
    install(tasks={"theirs": "1 / 0"})
    reason = registry.unavailable_tasks()["outside.theirs"]
    assert re.search(r"outside/theirs\.py cannot be imported: ZeroDivisionError: division by zero; mend it", reason)
    assert "vgg16-digits" in registry.tasks()


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (lambda: registry.method("l1-tree-stage"), r"unknown method .*did you mean 'l1-three-stage'\?"),
        (lambda: registry.task("vgg16-cifar100"), r"unknown task .*did you mean 'vgg16-cifar10'\?"),
        (lambda: registry.build_model("vgg61", {}), r"unknown model .*did you mean 'vgg16'\?"),
        (lambda: registry.method("l1-three-stage").complete({"chanel_ratio": 1}), r"did you mean 'channel_ratio'\?"),
        (lambda: registry.method("dense").complete({"lr": 1}), r"unknown hyperparameter of dense 'lr': it has none"),
        (lambda: registry.method("zzz"), r"choose one of .*dense, .*global-unstructured, .*l1-three-stage"),
    ],
)
def test_unknown_name_is_a_usage_error_with_the_nearest_one(look_up: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        look_up()


def test_complete_fills_every_default() -> None:
    entry = registry.method("l1-three-stage")
    assert entry.complete({"channel_ratio": "0.5", "stop": "true"}) == {
        "channel_ratio": 0.5, "steps": 6, "epochs": 10, "final_epochs": 40, "lr": 0.05, "max_drop": 0.04, "stop": True,
    }  # fmt: skip


def test_listing_planning_and_checking_load_no_torch(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results", tmp_path / "results")
    code = """
import sys
from suite import cli, plan, registry
for arguments in (["list", "tasks"], ["list", "tasks", "--json"], ["list", "studies"], ["check"]):
    assert cli.main(arguments) == 0, arguments
try:
    cli.main(["--help"])
except SystemExit as end:
    assert end.code == 0
every = plan.cells(list(registry.tasks().values()), list(registry.catalogue().methods.values()), settings={}, seeds=[0],
                   profile="full")
assert len(every) > 10 and plan.current_freshness("vgg16-digits", "dense")
heavy = {"torch", "torchvision", "torch_pruning", "sklearn", "pandas", "plotly"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_freshness_depends_on_method_model_and_task_files(install: Callable[..., Path]) -> None:
    install(methods={"one": method("one"), "two": method("two")})
    tasks, methods = registry.tasks(), registry.catalogue().methods
    found = {
        plan.freshness(tasks[task], methods[name]) for task in ("vgg16-digits",) for name in ("one", "two", "dense")
    }
    assert len(found) == 3
    assert all(len(each) == 64 for each in found)
