"""What a study takes: the cells and benchmark rows to run, and the command that measures one number. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from suite import plan, registry
from suite.conditions import is_extra
from suite.errors import UsageError
from suite.studies import Quantity, Study
from suite.subjects import Row


def cells(study: Study, *, seeds: Sequence[int] = (0,), profile: str = "full") -> tuple[plan.Cell, ...]:
    """The study's cells, for each of the seeds."""
    return tuple(
        plan.Cell(task, method, registry.method(method).complete(setting), seed, profile)
        for task, method, setting in study.cells
        for seed in seeds
    )


def only(cells: Sequence[plan.Cell], *, tasks: Sequence[str], methods: Sequence[str]) -> tuple[plan.Cell, ...]:
    """Those of these tasks and methods, where any are named; UsageError, with what there is, where none is left."""
    named = [registry.task(name).name for name in tasks] + [registry.method(name).name for name in methods]
    found = tuple(
        cell for cell in cells if (not tasks or cell.task in tasks) and (not methods or cell.method in methods)
    )
    if not found:
        there = sorted({f"{cell.task} by {cell.method}" for cell in cells})
        raise UsageError(f"the study has no cell of {', '.join(named)}: it has {', '.join(there)}")
    return found


def cost_rows(
    study: Study, device: str, *, profile: str = "full", among: Sequence[plan.Cell] | None = None
) -> dict[tuple[Row, ...], list[plan.Cell]]:
    """The benchmark rows that its tables ask for on `device`, with the cells of seed 0 that take exactly these.

    With `among`, only the rows of those cells.

    An INT8 network's row is named as the eager float32 one that `conditions.as_precision` makes it from.
    """
    rows: dict[str, dict[Row, None]] = defaultdict(dict)
    by_key: dict[str, plan.Cell] = {}
    keys = None if among is None else {each.key for each in among}
    for each in study.quantities:
        if each.kind != "accuracy" and each.device == device:
            row = _row(each)
            if row.precision == "int8":
                row = replace(row, backend="eager", precision="fp32")
            own = cell(each, profile=profile)
            if keys is not None and own.key not in keys:
                continue
            by_key[own.key] = own
            rows[own.key][row] = None
    found: dict[tuple[Row, ...], list[plan.Cell]] = defaultdict(list)
    for key, asked in rows.items():
        found[tuple(asked)].append(by_key[key])
    return found


def cell(quantity: Quantity, *, seed: int = 0, profile: str = "full") -> plan.Cell:
    """The cell whose records answer a quantity; UsageError where this checkout lacks its task, method or setting."""
    registry.task(quantity.task)
    complete = registry.method(quantity.method).complete(quantity.setting)
    return plan.Cell(quantity.task, quantity.method, complete, seed, profile)


def together(
    studies: Sequence[Study],
    *,
    seeds: Sequence[int],
    profile: str,
    device: str,
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> tuple[Sequence[plan.Cell], dict[tuple[Row, ...], list[plan.Cell]]]:
    """The cells of several studies, each once and dense ones first, and by their rows those that are benchmarked.

    Where `tasks` or `methods` are named, of these alone, as `only` has it.
    """
    found: dict[str, plan.Cell] = {}
    for study in studies:
        found.update((each.key, each) for each in cells(study, seeds=seeds, profile=profile))
    ordered = only(sorted(found.values(), key=lambda each: each.method != plan.DENSE), tasks=tasks, methods=methods)
    costly: dict[tuple[Row, ...], dict[str, plan.Cell]] = {}
    for study in studies:
        for rows, timed in cost_rows(study, device, profile=profile, among=ordered).items():
            costly.setdefault(rows, {}).update((each.key, each) for each in timed)
    return ordered, {rows: list(timed.values()) for rows, timed in costly.items()}


def command(quantity: Quantity, *, profile: str = "full", seed: int = 0) -> str:
    """The command that measures a quantity."""
    arguments = cell(quantity, seed=seed, profile=profile).arguments
    if quantity.kind == "accuracy":
        return f"python -m suite run {arguments}"
    device = "" if quantity.device == "cpu" else f" --device {quantity.device}"
    extra = is_extra(_row(quantity), quantity.device)
    return f"python -m suite bench {arguments}{device}" + (" --rows all" if extra else "")


def _row(quantity: Quantity) -> Row:
    return Row(**dict(quantity.conditions or {}))  # type: ignore[arg-type]
