"""What a source file says without being run: decorator arguments, a signature as a schema, a hash of its meaning."""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from suite.bounds import Range, by_name
from suite.errors import RegistrationError, UsageError

TYPES = {"float": float, "int": int, "bool": bool, "str": str}
#: Names that an expression in a decorator or a default may use.
SAFE = {name: getattr(builtins, name) for name in ("range", "round", "int", "float", "str", "list", "tuple", "dict")}


@dataclass(frozen=True)
class Hyperparameter:
    """One keyword-only parameter of a method: its type, the values it may take (None: any), its default."""

    name: str
    type: str
    default: Any
    choices: tuple[str, ...] | None = None
    optional: bool = False
    bounds: Range | None = None

    def parse(self, value: Any, method: str) -> Any:
        """`value`, typed or as text, as this parameter's type; UsageError says what it must be."""
        try:
            parsed = self._convert(value)
        except (ValueError, TypeError, OverflowError):
            raise UsageError(
                f"{method}: {self.name}={value} is not {self.wanted} (default {spell(self.default)})"
            ) from None
        if self.choices is not None and parsed not in self.choices and not (self.optional and parsed is None):
            raise UsageError(f"{method}: {self.name}={value} is not one of {', '.join(self.choices)}")
        if self.bounds is not None and parsed is not None and not self.bounds.holds(parsed):
            raise UsageError(f"{method}: {self.name}={value} is not {self.wanted} (default {spell(self.default)})")
        return parsed

    @property
    def wanted(self) -> str:
        names = {"float": "a finite number", "int": "a whole number", "bool": "true or false", "str": "text"}
        wanted = names[self.type]
        if self.bounds is not None:
            wanted = f"numbers with commas between, each {self.bounds}" if self.type == "str" else (
                f"{wanted.replace('finite ', '')} {self.bounds}")  # fmt: skip
        return wanted + (", or none" if self.optional and self.bounds else " or none" if self.optional else "")

    def _convert(self, value: Any) -> Any:
        if self.optional and (value is None or value == "none"):
            return None
        if self.type == "bool":
            if isinstance(value, bool):
                return value
            known = {"true": True, "false": False}
            return known[str(value).lower()] if str(value).lower() in known else _no()
        if isinstance(value, bool) or value is None:
            return _no()
        if self.type == "str":
            return str(value)
        if self.type == "int":
            return value if isinstance(value, int) else int(str(value))
        number = float(value)
        return number if math.isfinite(number) else _no()


@dataclass(frozen=True)
class Parameter:
    """One parameter of any function: its annotation as it is written, and whether it must be given."""

    annotation: str | None
    required: bool

    def holds(self, value: Any) -> bool:
        """Can it be such a value? True of an annotation other than that of a number, a truth value or a text."""
        kinds = {"float": (int, float), "int": (int,), "bool": (bool,), "str": (str,)}.get(self.annotation or "")
        return kinds is None or (isinstance(value, kinds) and (self.annotation == "bool") == isinstance(value, bool))


def _no() -> Any:
    raise ValueError


def spell(value: Any) -> str:
    """A hyperparameter's value as `--set` takes it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


@functools.cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file; RegistrationError where it is no Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RegistrationError(f"{path} cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        line = "" if error.lineno is None else f"line {error.lineno}: "
        raise RegistrationError(f"{path} is not valid Python: {line}{error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise RegistrationError(f"{path} is not valid Python: {error}") from error


def decorated(
    path: Path, decorator: str, required: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], ast.FunctionDef]]:
    """Each top-level function under `@decorator(...)`, with the decorator's arguments evaluated (the first: `name`).

    RegistrationError where two have one name: an import would leave the last of them.
    """
    lines: dict[Any, int] = {}
    for values, node in registered(path, decorator, required):
        if isinstance(node, ast.FunctionDef):
            first = lines.setdefault(repr(values["name"]), node.lineno)
            if first != node.lineno:
                kind = decorator.removeprefix("register_")
                raise RegistrationError(
                    f"{path}: {kind} {values['name']!r} is registered twice, in lines {first} and {node.lineno}; "
                    "rename one"
                )
            yield values, node


def registered(
    path: Path,
    decorator: str,
    required: tuple[str, ...],
    *,
    known: Mapping[str, Any] = MappingProxyType({}),
    unread: tuple[str, ...] = (),
) -> Iterator[tuple[dict[str, Any], ast.FunctionDef | ast.ClassDef]]:
    """The same of functions and classes.

    Beside literals and constants of the file the arguments may use what is `known`; those `unread` are left out.
    """
    names: dict[str, Any] = SAFE | dict(known)
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                names[node.targets[0].id] = _evaluate(node.value, names)
            except Exception:  # not a constant: no decorator may use it
                continue
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and _last_name(call.func) == decorator:
                yield _arguments(call, names, path, required, unread), node


def _arguments(
    call: ast.Call, names: dict[str, Any], path: Path, required: tuple[str, ...], unread: tuple[str, ...]
) -> dict[str, Any]:
    given = dict(zip(("name",), call.args, strict=False)) | {word.arg or "**": word.value for word in call.keywords}
    try:
        values = {name: _evaluate(node, names) for name, node in given.items() if name not in unread}
    except Exception as error:
        raise RegistrationError(
            f"{path}:{call.lineno}: the arguments of {_last_name(call.func)} must be literals or constants "
            f"assigned above it ({error})"
        ) from error
    for name in required:
        if not isinstance(values.get(name), str):
            raise RegistrationError(f"{path}:{call.lineno}: {_last_name(call.func)} needs {name}=, a text")
    return values


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an expression of our own source over `names` alone (it is run when imported anyway)."""
    return eval(compile(ast.Expression(node), "<source>", "eval"), {"__builtins__": {}, **names})


def schema(function: ast.FunctionDef, path: Path) -> tuple[Hyperparameter, ...]:
    """The keyword-only parameters of a method's function; RegistrationError where the signature is no schema."""
    where = f"{path}:{function.lineno}: {function.name}"
    arguments = function.args
    if len(arguments.posonlyargs + arguments.args) != 2 or arguments.vararg or arguments.kwarg:
        raise RegistrationError(f"{where} must take (model, bench, *, hyperparameters), the latter keyword-only")
    found = []
    names = [argument.arg for argument in arguments.kwonlyargs]
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.annotation is None or default is None:
            raise RegistrationError(f"{where}: hyperparameter {argument.arg!r} needs a type and a default")
        kind, choices, optional, bounds = _annotation(argument.annotation, f"{where}: {argument.arg}")
        try:
            value = _evaluate(default, dict(SAFE))
        except Exception as error:
            raise RegistrationError(f"{where}: the default of {argument.arg!r} must be a literal ({error})") from error
        bounds = bounds or by_name(argument.arg, kind, value, names)
        parameter = Hyperparameter(argument.arg, kind, value, choices, optional, bounds)
        try:
            parameter.parse(value, function.name)
        except UsageError as error:
            raise RegistrationError(f"{where}: a default does not fit its type: {error}") from error
        found.append(parameter)
    return tuple(found)


def _annotation(node: ast.expr, where: str) -> tuple[str, tuple[str, ...] | None, bool, Range | None]:
    """Type, choices, whether None is allowed, and the range of an annotation."""
    if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant) and node.right.value is None:
        kind, choices, _, bounds = _annotation(node.left, where)
        return kind, choices, True, bounds
    if isinstance(node, ast.Name) and node.id in TYPES:
        return node.id, None, False, None
    if isinstance(node, ast.Subscript) and _last_name(node.value) == "Literal":
        listed = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        values = tuple(each.value for each in listed if isinstance(each, ast.Constant) and isinstance(each.value, str))
        if len(values) == len(listed):
            return "str", values, False, None
    if isinstance(node, ast.Subscript) and _last_name(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
        inner, *told = node.slice.elts
        kind, choices, optional, _ = _annotation(inner, where)
        if kind != "bool" and choices is None and len(told) == 1:
            return kind, choices, optional, _range(told[0], where)
    raise RegistrationError(
        f"{where} must be float, int, bool, str, a Literal of texts, or one of them | None; of a number, or a text of "
        "numbers, also Annotated[float, Range(above=0)]"
    )


def _range(node: ast.expr, where: str) -> Range:
    fault = f"{where}: write its range as Range(above=0, at_most=1), in numbers (also at_least=, below=)"
    if not isinstance(node, ast.Call) or _last_name(node.func) != "Range" or node.args or not node.keywords:
        raise RegistrationError(fault)
    try:
        ends = {word.arg or "**": _evaluate(word.value, dict(SAFE)) for word in node.keywords}
        found = Range(**ends)
    except Exception as error:
        raise RegistrationError(fault) from error
    if not all(isinstance(end, int | float) for end in ends.values()):
        raise RegistrationError(fault)
    return found


def parameters(function: ast.FunctionDef | ast.ClassDef) -> dict[str, Parameter] | None:
    """What a function may be given by name; None where the source does not tell (`**`, a class)."""
    if isinstance(function, ast.ClassDef) or function.args.kwarg is not None:
        return None
    arguments = function.args
    plain = arguments.posonlyargs + arguments.args
    without = len(plain) - len(arguments.defaults)
    required = [*(number < without for number in range(len(plain))), *(each is None for each in arguments.kw_defaults)]
    return {
        argument.arg: Parameter(None if argument.annotation is None else ast.unparse(argument.annotation), needed)
        for argument, needed in zip(plain + arguments.kwonlyargs, required, strict=True)
    }


# ----------------------------------------------------------------------------------------------------------- freshness


@functools.cache
def meaning(path: Path) -> str:
    """SHA-256 of what a file does: its syntax tree without docstrings, and so without comments and layout.

    The same on every Python version: empty fields, which versions differ in, are left out. A file of another package
    stands for all of that package that it imports.
    """
    if _foreign(path) is None:
        return _meaning(path, frozenset())
    texts = [f"{each.name}:{_canonical(parse(each))}" for each in sorted(family(path))]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def family(path: Path) -> tuple[Path, ...]:
    """A file and those that it shares code with, itself first: of its folder, in another package of all of it."""
    found = [path]
    for each in found:  # grows on the way
        found += [sibling for sibling in _relatives(parse(each), each) if sibling not in found]
    return tuple(found)


def _relatives(tree: ast.Module, path: Path) -> list[Path]:
    root = _foreign(path)
    if root is None:
        return _own_siblings(tree, path)
    parents = path.relative_to(root.parent).parent.parts
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    places = [root.parent.joinpath(*name.split(".")) for name in sorted(set(names)) if name.split(".")[0] == root.name]
    files = [file for place in places for file in (place.with_name(f"{place.name}.py"), place / "__init__.py")]
    return [file for file in files if file.is_file() and file != path]


def _foreign(path: Path) -> Path | None:
    """The outermost package folder of a file that belongs to a package other than ours."""
    root = None
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        root = folder
    return root if root is not None and root.parent != Path(__file__).parents[1] else None


def _meaning(path: Path, above: frozenset[Path]) -> str:
    tree = parse(path)
    texts = [_canonical(tree)]
    for sibling in _own_siblings(tree, path):
        if sibling not in above:  # files that import each other
            texts.append(f"{sibling.name}:{_meaning(sibling, above | {path})}")
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _own_siblings(tree: ast.Module, path: Path) -> list[Path]:
    """Files of the same folder that this one shares code with (`from ._folding import ...`), but not the package."""
    names = set()
    for node in ast.walk(tree):
        imported = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level <= 1:
            module = ".".join([path.parent.name] * node.level + ([node.module] if node.module else []))
            imported = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        for name in imported:
            package, _, last = name.rpartition(".")
            if package.rpartition(".")[2] == path.parent.name:
                names.add(last)
    siblings = [path.parent / f"{name}.py" for name in sorted(names)]
    return [sibling for sibling in siblings if sibling.exists() and sibling != path]


def _canonical(node: Any) -> str:
    if isinstance(node, list):
        return "[" + ",".join(_canonical(each) for each in node) + "]"
    if not isinstance(node, ast.AST):
        return f"{type(node).__name__}:{node!r}"
    fields = []
    for name in node._fields:
        value = getattr(node, name, None)
        if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            value = _without_docstring(value)
        if value is None or value == [] or name in ("ctx", "kind", "type_comment", "type_ignores"):
            continue
        fields.append(f"{name}={_canonical(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _without_docstring(body: Any) -> Any:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body
