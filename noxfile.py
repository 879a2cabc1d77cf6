"""The sessions people run: `nox -l` lists them. Each also works under `nox --no-venv --no-install`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"  # uv where it is there, and no error where it is not
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]

ROOT = Path(__file__).parent
QUICKSTART = Path("build") / "quickstart"
#: What the quickstart times, one of each kind of pruning; compiling an INT8 network takes three minutes by itself.
MEASURED = ("dense", "l1-three-stage", "global-unstructured")


def install(session: nox.Session, extra: str = "") -> None:
    """The project and what it needs, at versions known to work together; nothing under --no-venv --no-install."""
    if session.virtualenv.venv_backend != "none":
        session.install("-c", "constraints.txt", "-e", f".[{extra}]" if extra else ".")


def quickstart_commands(options: list[str]) -> list[list[str]]:
    """What the quickstart runs, phase by phase; `options` go to those that train and time."""
    places = ["--results", str(QUICKSTART / "results"), "--artifacts", str(QUICKSTART / "artifacts")]
    cells = ["--task", "vgg16-digits", "--profile", "quick", "--points", "first", *places, *options]
    measured = [word for name in MEASURED for word in ("--method", name)]
    phases = [["run", *cells], ["bench", *cells, *measured], ["site", *places[:2], "--out", "site/public"]]
    if (ROOT / "results").is_dir():  # what we published stands beside what is measured here, and never in its place
        phases.insert(2, ["merge", "results", "--into", places[1]])
    return [["python", "-m", "suite", *words] for words in phases]


@nox.session
def quickstart(session: nox.Session) -> None:
    """Compress embedded networks by every method, time one of each kind of pruning, build the pages; minutes."""
    install(session)
    for command in quickstart_commands(session.posargs):
        session.run(*command)
    print(f"\nThe leaderboard: {ROOT / 'site' / 'public' / 'index.html'}")


@nox.session
def accuracy(session: nox.Session) -> None:
    """Train, compress and evaluate (default: every task whose data is there); options as `python -m suite run`."""
    install(session)
    session.run("python", "-m", "suite", "run", *session.posargs)


@nox.session(name="bench-cpu")
def bench_cpu(session: nox.Session) -> None:
    """Latency, memory and energy on the CPU through pytest-benchmark; options as `python -m suite bench`."""
    install(session, "onnx")  # for the rows of ONNX Runtime
    session.run("python", "-m", "suite", "bench", "--device", "cpu", *session.posargs)


@nox.session(name="bench-gpu")
def bench_gpu(session: nox.Session) -> None:
    """Latency, memory and energy on CUDA; options as `python -m suite bench`."""
    if shutil.which("nvidia-smi") is None and not Path("/dev/nvidiactl").exists():  # known without installing torch
        session.error("no CUDA device here: use bench-cpu, or run on a machine with an NVIDIA GPU and its driver")
    install(session)
    session.run("python", "-m", "suite", "bench", "--device", "cuda", *session.posargs)


@nox.session
def leaderboard(session: nox.Session) -> None:
    """Build site/public/index.html from results/."""
    install(session)
    session.run("python", "-m", "suite", "site", "--results", "results", "--out", "site/public", *session.posargs)


@nox.session(name="bench-site")
def bench_site(session: nox.Session) -> None:
    """How long 100,000 generated records take to build, and 5,000 rows to sort and filter in headless Chromium."""
    install(session, "test")
    session.run("python", "-m", "tests.benchmarks.bench_site", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite side by side, then what measures time by itself; options as pytest."""
    install(session, "test")
    pytest = ["python", "-m", "pytest", *session.posargs]
    nothing_to_do = 5  # pytest's code where options left no test of that kind
    one_thread = {"OMP_NUM_THREADS": "1"}  # two processes of two threads each slow one another tenfold
    # three for two cores: tests of whole runs wait for what they started, a quarter of the time of two processes
    workers = str(min(24, max(2, 3 * (os.cpu_count() or 1) // 2)))  # more find no file to take, and each holds torch
    beside = ["-n", workers, "--dist", "loadfile"] if session.virtualenv.venv_backend != "none" else []
    session.run(*pytest, "-m", "not timed", *beside, env=one_thread, success_codes=[0, nothing_to_do])
    # what the machine's other guests disturb is asked again a little later; what is wrong stays wrong
    again = ["--reruns", "2", "--reruns-delay", "5", "--only-rerun", "AssertionError"]
    session.run(*pytest, "-m", "timed", *again, success_codes=[0, nothing_to_do])


@nox.session
def torture(session: nox.Session) -> None:
    """Kills, full disks, two runs at once, strangers' records, in full; less with `-- --kills N --lines N`. An hour."""
    install(session, "test")
    session.run("python", "-m", "pytest", "tests/torture", "--kills", "100", "--lines", "100000", *session.posargs)


@nox.session(name="bench-self")
def bench_self(session: nox.Session) -> None:
    """What the harness itself costs, against its budgets; with `-- --quickstart` the quickstart too, phase by phase."""
    install(session, "dask")
    options = list(session.posargs)
    if "--quickstart" in options:
        options.insert(options.index("--quickstart") + 1, json.dumps(quickstart_commands([])))
    session.run("python", "tests/benchmarks/harness.py", *options)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff over everything."""
    if session.virtualenv.venv_backend != "none":
        session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """mypy, strict on the suite."""
    install(session, "typecheck")
    session.run("mypy")
