"""Where things are looked for: files beside our own, modules that installed packages name, the nearest known name."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from suite import uncollected
from suite.errors import RegistrationError, UsageError

T = TypeVar("T")

ROOT = Path(__file__).parents[1]


def lookup(kind: str, name: str, known: Mapping[str, T], *, listing: str) -> T:
    """The entry called `name`; UsageError (exit 2) with the nearest name where there is none."""
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"choose one of {', '.join(sorted(known))}." if known else "it has none."
    raise UsageError(f"unknown {kind} {name!r}: {hint} ({listing})")


def file_of(name: str, of: Iterable[str]) -> str | None:
    """The module among these whose file is called as the method `name`; None where none is."""
    return next((each for each in of if each.rpartition(".")[2] == name.replace("-", "_")), None)


def precedence(name: str, module: str) -> tuple[bool, bool]:
    """Where two modules register one name, the lesser has it: ours, and then the one whose file is called like it."""
    return not module.startswith("methods."), file_of(name, [module]) is None


def quiet_torchao() -> None:
    """To be called before torchao is imported: 0.18 registers an enumeration in a way that torch warns about."""
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # no news to a user


def modules(package: str, group: str) -> Iterator[tuple[str, Path | None]]:
    """Name and file of every module of our `package`, then of those that the entry points of `group` name.

    A file whose name starts with `_` is what others share; None stands for a module that is not there.
    """
    for path in package_files(package):
        yield f"{package}.{path.stem}", path
    for module in dict.fromkeys(entry.module for entry in importlib.metadata.entry_points(group=group)):
        yield module, locate(module)


def package_files(package: str) -> Iterator[Path]:
    """Every file of a package of ours, but those that start with `_`."""
    for path in sorted(ROOT.joinpath(*package.split(".")).glob("*.py")):
        if not path.name.startswith("_"):
            yield path


def locate(module: str) -> Path | None:
    """The file of a module of another package, found without importing its parents."""
    head, *rest = module.split(".")
    spec = importlib.util.find_spec(head)
    if spec is None or spec.origin is None:
        return None
    if not rest:
        return Path(spec.origin)
    path = Path(spec.origin).parent.joinpath(*rest)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def is_name(text: str) -> bool:
    """Can a task or a method be called so: does it name a folder and a page?"""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", text) is not None


def checked_name(name: object, where: str) -> str:
    """The name that a method registers by; RegistrationError where it names no folder and no page."""
    if not isinstance(name, str) or not is_name(name):
        raise RegistrationError(f"{where}: the name {name!r}: use letters, digits, '.', '-' and '+' (it names folders)")
    return name


def silently(function: Callable[[Any], T], given: Any) -> T:
    """`function(given)`, which imports somebody's file; standard output is for what the suite says."""
    with contextlib.redirect_stdout(sys.stderr), uncollected.imports():
        return function(given)
