"""What tests share: a small task in a package outside the repository, results folders, the command line."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from suite import plan, registry, uncollected
from suite.records import Record, cell_key, now
from tests.tiny_methods import TINY_METHODS

ROOT = Path(__file__).parents[1]

settings.register_profile("prunemark", derandomize=True, deadline=None, database=None)
settings.load_profile("prunemark")

gc.disable()  # until everything is imported: a third of the time that this takes


def pytest_collection_finish() -> None:
    uncollected.resume()


# A shell gives what it runs in the background no Ctrl-C, and what that starts inherits it: some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY_TASK = '''
"""A task of a second, and the same with an end far off."""
from dataclasses import replace

from suite import Recipe, Task, register_task

SMOKE = Recipe(epochs=1, batch_size=32, lr=0.05, augmentation=("crop2",), finetune_share=0.01,
               train_images=64, eval_images=64)


@register_task("tiny")
def tiny() -> Task:
    """VGG16 at a sixteenth of its width on 64 digits."""
    return Task(title="Tiny", model="vgg16", options={"classes": 10, "width": 0.0625}, data="digits",
                input_shape=(3, 32, 32), recipes={profile: SMOKE for profile in ("smoke", "quick", "full")})


@register_task("tiny-slow")
def tiny_slow() -> Task:
    """The task `tiny`, trained for thirty epochs."""
    return replace(tiny(), recipes={profile: replace(SMOKE, epochs=30) for profile in ("smoke", "quick", "full")})
'''

#: A task with a network, data, an objective and metrics of its own.
OWN_TASK = '''
import numpy as np
import torch
from torch import nn

from suite import Arrays, Metric, Recipe, Task, register_data, register_model, register_objective, register_task

RECIPE = Recipe(epochs=1, batch_size=8, lr=0.1)


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, width, 3), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(width * 4, 3)

    def forward(self, images):
        return self.last(self.features(images))


@register_model("their-net")
def their_net(*, width=4):
    net = Net(width)
    net.head = net.last
    return net


@register_data("their-data", files=("theirs.npz",), remedy="ask them for theirs.npz", images=24)
def their_data(root):
    return Arrays(np.load(root / "theirs.npz")["x"], np.arange(30) % 3, np.zeros((6, 4, 4, 2), np.uint8),
                  np.arange(6) % 3, classes=3, validation=6, source="theirs")


@register_objective("their-objective", metrics=(Metric("regret", "Regret", "number", False), "top1"))
def their_objective(outputs, targets):
    right = (outputs.argmax(1) == targets).sum()
    return {"regret": len(targets) - right, "top1": right}


@register_task("theirs")
def theirs():
    """A task of theirs."""
    return Task(title="Theirs", model="their-net", options={"width": 4}, data="their-data", input_shape=(2, 4, 4),
                objective="their-objective", recipes={"smoke": RECIPE, "quick": RECIPE, "full": RECIPE})
'''


def write_package(
    folder: Path, *, methods: Mapping[str, str], tasks: Mapping[str, str], package_name: str = "outside"
) -> Path:
    """An installed distribution as pip leaves it: a package, and a dist-info folder with its entry points."""
    package = folder / package_name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for name, source in {**methods, **tasks}.items():
        (package / f"{name}.py").write_text(source)
    info = folder / f"{package_name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package_name}\nVersion: 1.0\n")
    lines = ["[prunemark.methods]", *(f"{name} = {package_name}.{name}" for name in methods)]
    lines += ["[prunemark.tasks]", *(f"{name} = {package_name}.{name}" for name in tasks)]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Path]:
    """The distribution of `folder` is found by this process, and forgotten afterwards."""
    sys.path.insert(0, str(folder))
    _forget()
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        ours = {path.name for path in folder.iterdir()}
        for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
            del sys.modules[name]
        _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    registry.forget()
    plan.current_freshness.cache_clear()


class FakeNvml:
    """pynvml on a machine without it: `answers` by function name, a refusal where there is none."""

    class NVMLError(Exception):
        pass

    def __init__(self, **answers: Any) -> None:
        self.answers = {"nvmlInit": None, "nvmlShutdown": None, "nvmlDeviceGetHandleByIndex": "the first"} | answers
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            if name not in self.answers:
                raise self.NVMLError("Not Supported")
            answer = self.answers[name]
            return answer() if callable(answer) else answer

        return call


@pytest.fixture
def fake_nvml() -> type[FakeNvml]:
    """`fake_nvml(nvmlDeviceGetClockInfo=1980, ...)`: what stands in for pynvml."""
    return FakeNvml


@pytest.fixture(autouse=True)
def subnormals() -> Iterator[None]:
    """Subnormal numbers are there for every test: code that torch.compile loads flushes them to zero from then on."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`install(methods={module: source}, tasks={module: source})`: a package `outside` is there for one test."""
    with contextlib.ExitStack() as stack:

        def call(*, methods: Mapping[str, str] | None = None, tasks: Mapping[str, str] | None = None) -> Path:
            folder = tmp_path / "site-packages"
            return stack.enter_context(installed(write_package(folder, methods=methods or {}, tasks=tasks or {})))

        yield call


@pytest.fixture(scope="session")
def own_task() -> str:
    """The source of a task file that registers all that its task `theirs` needs."""
    return OWN_TASK


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with the task `tiny` and the methods of `TINY_METHODS`, to be put on the path of a process."""
    folder = tmp_path_factory.mktemp("tiny")
    return write_package(folder, methods=TINY_METHODS, tasks={"tiny_task": TINY_TASK}, package_name="tiny_outside")


@pytest.fixture(scope="module")
def tiny_task(tiny_package: Path) -> Iterator[Any]:
    """The task `tiny`, installed from outside with its methods."""
    with installed(tiny_package):
        yield registry.task("tiny")


@pytest.fixture(scope="module")
def tiny_ready(tiny_task: Any) -> Any:
    """The data of `tiny`, its smoke recipe, and its objective."""
    from suite import invocation, run

    nowhere = Path("/nowhere")
    return run.prepare("tiny", "smoke", invocation.Places(nowhere, nowhere, nowhere), "cpu")


@pytest.fixture(scope="module")
def tiny_cell(tiny_task: Any) -> Callable[..., plan.Cell]:
    """`tiny_cell(method, seed=0, hyperparameter=value, ...)`: a smoke cell of `tiny`."""

    def call(method: str, *, seed: int = 0, **hyperparameters: Any) -> plan.Cell:
        return plan.Cell("tiny", method, registry.method(method).complete(hyperparameters), seed, "smoke")

    return call


@pytest.fixture(scope="module")
def places(tiny_task: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of a test module; the dense model of `tiny`, once trained, stays there."""
    from suite import invocation

    root = tmp_path_factory.mktemp("places")
    return invocation.Places(root / "data", root / "artifacts", root / "results")


@pytest.fixture(scope="session")
def origin() -> Any:
    """Who measures: this machine, in one run."""
    from suite import invocation

    return invocation.provenance()


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
            "kind": "accuracy",
            "task": "tiny",
            "method": "zeroes",
            "hyperparameters": {"share": 0.5, "finetune": False},
            "seed": 0,
            "profile": "smoke",
            "device": "cpu",
            "freshness": "0" * 64,
            "status": "ok",
            "metrics": {"top1": 0.5, "dense_top1": 0.75, "parameters": 1000, "dense_parameters": 2000},
            "created": now(),
            "machine": "cpu-2c-4g-abcdef",
            "run": "20250101T000000Z-abcdef",
            "command": "",
            **changes,
        }
        if "cell" not in fields:
            asked = ("task", "method", "hyperparameters", "seed", "profile")
            fields["cell"] = cell_key(**{name: fields[name] for name in asked})
        return Record(**fields)

    return call


@pytest.fixture
def start_cli(tmp_path: Path, tiny_package: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start_cli("run", "--task", ...)`: `python -m suite` as a process, in an empty folder, on one thread.

    `through` is a shell script that runs its arguments.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tiny_package)]),
        "PRUNEMARK_DATA": str(tmp_path / "data"),
        "PRUNEMARK_ARTIFACTS": str(tmp_path / "artifacts"),
        "PRUNEMARK_TEST_WAIT": str(tmp_path / "wait"),
        "OMP_NUM_THREADS": "1",  # sums in another order would differ in the last bit
    }
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, through: str = 'exec "$@"') -> subprocess.Popen[str]:
        words = ["sh", "-c", through, "sh", sys.executable, "-m", "suite", *map(str, arguments)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(words, cwd=tmp_path, env=environment, text=True, stdout=pipe, stderr=pipe))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def run_cli(start_cli: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `start_cli`, but it waits for the end of the process and returns what it said."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        process = start_cli(*arguments)
        stdout, stderr = process.communicate(timeout=600)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return call
