"""One invocation: where things lie, who measures, and what a record says before anything is measured. No torch."""

from __future__ import annotations

import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite import machine, modelfiles
from suite.errors import SuiteError, without_folders
from suite.plan import Cell
from suite.records import now


@dataclass(frozen=True)
class Places:
    """Where data sets are read, models kept and records written."""

    data: Path
    artifacts: Path
    results: Path

    def absolute(self) -> Places:
        return Places(self.data.absolute(), self.artifacts.absolute(), self.results.absolute())


def artifact_folder(root: Path, cell: Cell, data_sha256: str) -> Path:
    """The folder of a cell's model: another one for each freshness and data set, so a stale model is never taken."""
    return root / cell.task / cell.method / f"{cell.key[:12]}-{str(cell.freshness)[:8]}-{data_sha256[:8]}"


def newest_model(cell: Cell, root: Path) -> Path | None:
    """The folder of a cell's model, trained on whatever version of the data is there (or on any, where none is)."""
    kind = f"{cell.key[:12]}-{str(cell.freshness)[:8]}-*"
    folders = (root / cell.task / cell.method).glob(kind)
    stored = [folder for folder in sorted(folders) if modelfiles.is_readable(folder)]
    return max(stored, key=lambda folder: (folder / modelfiles.DESCRIPTION).stat().st_mtime_ns, default=None)


@dataclass(frozen=True)
class Provenance:
    """What every record of one run has in common."""

    machine: str
    run: str
    versions: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None


def provenance() -> Provenance:
    """Who measures: this machine, a new run name, versions, and the commit of the code where it is a checkout."""
    started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    commit, dirty = _git()
    return Provenance(
        machine=machine.identity().slug,
        run=f"{started}-{secrets.token_hex(3)}",
        versions=machine.versions(),
        git_commit=commit,
        git_dirty=dirty,
    )


def _git() -> tuple[str | None, bool | None]:
    """Commit of the checkout, and whether code in it differs; (None, None) for an installed copy."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "suite", "methods", "models"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit.stdout.strip(), bool(changed.stdout.strip())


def blank(cell: Cell, device: str, origin: Provenance, *, kind: str, command: str) -> dict[str, Any]:
    """The fields that do not depend on what is measured; the rest of a `Record` comes on top."""
    return {
        "kind": kind,
        "task": cell.task,
        "method": cell.method,
        "hyperparameters": dict(cell.hyperparameters),
        "seed": cell.seed,
        "profile": cell.profile,
        "device": device,
        "cell": cell.key,
        "freshness": cell.freshness or "",
        "created": now(),
        "machine": origin.machine,
        "run": origin.run,
        "command": command,
        "versions": origin.versions,
        "git_commit": origin.git_commit,
        "git_dirty": origin.git_dirty,
    }


def command_of(cell: Cell, device: str) -> str:
    """The command that makes a cell's accuracy record."""
    return f"python -m suite run {cell.arguments}" + ("" if device == "cpu" else f" --device {device}")


def one_line(error: BaseException) -> str:
    """An exception as a record's reason."""
    kind = "" if isinstance(error, SuiteError) else f"{type(error).__name__}: "
    text = without_folders(str(error)).encode("utf-8", "backslashreplace").decode()
    return kind + (" ".join(text.split())[:300] or "no message")
