"""What tests share: a small task in a package outside the repository, results folders, the command line as a process."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from suite import plan, registry, sources
from suite.records import Record, cell_key, now

ROOT = Path(__file__).parents[1]

settings.register_profile("prunemark", derandomize=True, deadline=None, database=None)
settings.load_profile("prunemark")

TINY_TASK = '''
"""A task of seconds."""
from suite import Recipe, Task, register_task

SMOKE = Recipe(epochs=1, batch_size=32, lr=0.05, augmentation=("crop2",), finetune_share=0.01,
               train_images=64, eval_images=64)


@register_task("tiny")
def tiny() -> Task:
    """VGG16 at a sixteenth of its width on 64 digits."""
    return Task(title="Tiny", model="vgg16", options={"classes": 10, "width": 0.0625}, data="digits",
                input_shape=(3, 32, 32), recipes={profile: SMOKE for profile in ("smoke", "quick", "full")})
'''

#: Methods by what they do; `{flag}` in a source is a file that a test may create.
TINY_METHODS = {
    "zeroes": '''
import torch
from torch import nn
from suite import Workbench, register_method


@register_method("zeroes", family="unstructured pruning", points=[{"share": 0.5}, {"share": 0.25}])
def zeroes(model: nn.Module, bench: Workbench, *, share: float = 0.5, finetune: bool = False) -> nn.Module:
    """Set the smallest weights of the head to zero, the given share of them, and log the validation score."""
    with torch.no_grad():
        limit = model.head.weight.abs().flatten().sort().values[int(share * model.head.weight.numel())]
        model.head.weight[model.head.weight.abs() < limit] = 0
    if finetune:
        bench.finetune(model, epochs=1)
    bench.log(share=share, val=bench.evaluate(model))
    return model
''',
    "raises": '''
from suite import register_method


@register_method("raises", family="unstructured pruning")
def raises(model, bench):
    """Fail with an exception of its own, whose message has two lines."""
    raise ValueError("the ranks\\nare all equal")
''',
    "refuses": '''
from suite import Unsupported, register_method


@register_method("refuses", family="unstructured pruning")
def refuses(model, bench):
    """Say that it cannot work on this model."""
    raise Unsupported("grouped convolutions are beyond it")
''',
    "dies": '''
import os

from suite import register_method


@register_method("dies", family="unstructured pruning")
def dies(model, bench):
    """Take its process down, as the kernel does to one that uses too much memory."""
    os._exit(9)
''',
    "waits": '''
import os
import time
from pathlib import Path

from suite import register_method


@register_method("waits", family="unstructured pruning")
def waits(model, bench):
    """Wait for ever, unless told not to."""
    while Path(os.environ.get("PRUNEMARK_TEST_WAIT", "/nowhere")).exists():
        time.sleep(0.1)
    return model
''',
}


def write_package(folder: Path, *, methods: Mapping[str, str], tasks: Mapping[str, str]) -> Path:
    """An installed distribution as pip leaves it: a package, and a dist-info folder with its entry points."""
    package = folder / "outside"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for name, source in {**methods, **tasks}.items():
        (package / f"{name}.py").write_text(source)
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    lines = ["[prunemark.methods]", *(f"{name} = outside.{name}" for name in methods)]
    lines += ["[prunemark.tasks]", *(f"{name} = outside.{name}" for name in tasks)]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Path]:
    """The distribution of `folder` is found by this process, and forgotten afterwards."""
    registry.tasks()
    before = dict(registry._tasks)
    sys.path.insert(0, str(folder))
    _forget()
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == "outside"]:
            del sys.modules[name]
        registry._tasks.clear()
        registry._tasks.update(before)
        _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    for cached in (registry.catalogue, registry._discover_tasks, plan.current_freshness, sources.parse):
        cached.cache_clear()


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`install(methods={module: source}, tasks={module: source})`: such a package is there for one test."""
    with contextlib.ExitStack() as stack:

        def call(*, methods: Mapping[str, str] | None = None, tasks: Mapping[str, str] | None = None) -> Path:
            folder = write_package(tmp_path / "site-packages", methods=methods or {}, tasks=tasks or {})
            return stack.enter_context(installed(folder))

        yield call


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with the task `tiny` and the methods of `TINY_METHODS`, to be put on the path of a process."""
    folder = tmp_path_factory.mktemp("tiny")
    return write_package(folder, methods=TINY_METHODS, tasks={"tiny_task": TINY_TASK})


@pytest.fixture(scope="module")
def tiny_task(tiny_package: Path) -> Iterator[Any]:
    """The task `tiny`, installed from outside with its methods."""
    with installed(tiny_package):
        yield registry.task("tiny")


@pytest.fixture
def tiny_model() -> Any:
    """The network of `tiny` with weights drawn from seed 0, in eval mode."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return registry.build_model("vgg16", {"classes": 10, "width": 0.0625}).eval()


@pytest.fixture
def results_dir(tmp_path: Path) -> Path:
    """Where a test's records go; not there yet, as on a fresh machine."""
    return tmp_path / "results"


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """`make_record(field=value, ...)`: a valid accuracy record of the task `tiny`, but for what is given."""

    def call(**changes: Any) -> Record:
        fields: dict[str, Any] = {
            "kind": "accuracy", "task": "tiny", "method": "zeroes", "hyperparameters": {"share": 0.5, "finetune": False},
            "seed": 0, "profile": "smoke", "device": "cpu", "freshness": "0" * 64, "status": "ok",
            "metrics": {"top1": 0.5, "dense_top1": 0.75, "parameters": 1000, "dense_parameters": 2000},
            "created": now(), "machine": "cpu-2c-4g-abcdef", "run": "20250101T000000Z-abcdef", "command": "",
        } | changes  # fmt: skip
        if "cell" not in fields:
            asked = ("task", "method", "hyperparameters", "seed", "profile")
            fields["cell"] = cell_key(**{name: fields[name] for name in asked})
        return Record(**fields)

    return call


@pytest.fixture
def run_cli(tmp_path: Path, tiny_package: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_cli("run", "--task", ...)`: `python -m suite` as a process of its own, in an empty folder, one thread."""
    start = _starter(tmp_path, tiny_package)

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        process = start(*arguments)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return call


@pytest.fixture
def start_cli(tmp_path: Path, tiny_package: Path) -> Callable[..., subprocess.Popen[str]]:
    """As `run_cli`, but it does not wait: the process, whose pipes the test reads."""
    return _starter(tmp_path, tiny_package)


def _starter(folder: Path, package: Path) -> Callable[..., subprocess.Popen[str]]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(package)]),
        "PRUNEMARK_DATA": str(folder / "data"),
        "PRUNEMARK_ARTIFACTS": str(folder / "artifacts"),
        "PRUNEMARK_TEST_WAIT": str(folder / "wait"),
        "OMP_NUM_THREADS": "1",  # sums in another order would differ in the last bit
    }

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "suite", *map(str, arguments)], cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start
