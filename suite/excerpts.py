"""Of a Python file that part which makes its tasks: a file that imports torch for its network is listed without it."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from pathlib import Path

from suite import sources

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_BUILTINS = frozenset(dir(builtins))


def excerpt(path: Path, decorator: str) -> ast.Module | None:
    """The functions under `@decorator(...)` with all that they name, and what that names, in the order of the file.

    Everything else is left out: imports, and of an import the names, that they do not need. None where the syntax does
    not tell: a star import, or `decorator` used in another way. RegistrationError where the file is no Python.
    """
    tree = sources.parse(path)
    wanted = [node for node in tree.body if isinstance(node, ast.FunctionDef) and _is_decorated(node, decorator)]
    uses = sum(_refers(node, decorator) for node in ast.walk(tree))
    if not wanted or uses != len(wanted) or any(_is_star(node) for node in tree.body):
        return None
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    kept = {id(node) for node in wanted}
    names: set[str] = set()
    new = set().union(*(_used(node, lazy) for node in wanted))
    while new:
        names |= new
        found = [node for node in tree.body if id(node) not in kept and _bound(node) & new]
        kept |= {id(node) for node in found if not isinstance(node, _IMPORTS)}
        new = set().union(*(_used(node, lazy) for node in found if not isinstance(node, _IMPORTS))) - names
    body = [each for node in tree.body if (each := _part(node, kept, names)) is not None]
    return ast.Module(body=body, type_ignores=[])


def _part(node: ast.stmt, kept: set[int], names: set[str]) -> ast.stmt | None:
    """What the excerpt has of a statement: of an import only the names that are needed."""
    if isinstance(node, ast.ImportFrom):
        aliases = node.names if node.module == "__future__" else _needed(node.names, names)
        return ast.copy_location(ast.ImportFrom(node.module, aliases, node.level), node) if aliases else None
    if isinstance(node, ast.Import):
        aliases = _needed(node.names, names)
        return ast.copy_location(ast.Import(aliases), node) if aliases else None
    return node if id(node) in kept else None


def _needed(aliases: Iterable[ast.alias], names: set[str]) -> list[ast.alias]:
    return [alias for alias in aliases if _alias(alias) in names]


def _alias(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _is_decorated(node: ast.FunctionDef, decorator: str) -> bool:
    return any(isinstance(call, ast.Call) and _refers(call.func, decorator) for call in node.decorator_list)


def _refers(node: ast.AST, name: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.Attribute) and node.attr == name)


def _is_star(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)


def _used(node: ast.stmt, lazy: bool) -> set[str]:
    """The names that a statement may look up when it is run; with `lazy` annotations are not."""
    found: set[str] = set()
    waiting: list[ast.AST] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Name):
            found.add(each.id)
        for field, value in ast.iter_fields(each):
            if lazy and field in ("annotation", "returns"):
                continue
            waiting += [
                child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
            ]
    return found


def _bound(node: ast.stmt) -> set[str]:
    """The names that a top-level statement defines or may change."""
    if isinstance(node, _DEFINITIONS):
        return {node.name}
    if isinstance(node, _IMPORTS):
        return {_alias(alias) for alias in node.names}
    if isinstance(node, ast.Expr):  # `RECIPES.update(...)` changes what it names
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} - _BUILTINS
    found: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            found.add(each.id)
        elif isinstance(each, ast.Attribute | ast.Subscript) and isinstance(each.ctx, ast.Store):
            found |= {name.id for name in ast.walk(each.value) if isinstance(name, ast.Name)}
        elif isinstance(each, _DEFINITIONS):
            found.add(each.name)
        elif isinstance(each, _IMPORTS):
            found |= {_alias(alias) for alias in each.names}
    return found
