"""What several studies ask for: time and memory of one cell, one image at a time, before and after."""

from __future__ import annotations

from dataclasses import replace

from suite.studies import ON_CUDA, ONE_IMAGE, Line, Number, Quantity, Setting, Unit

Cell = tuple[str, str, Setting]


def time(metric: str, task: str, method: str, setting: Setting, device: str = "cpu") -> Quantity:
    """A latency metric of a cell."""
    return Quantity(task, method, metric, setting, "latency", device, ON_CUDA if device == "cuda" else ONE_IMAGE)


def memory(metric: str, task: str, method: str, setting: Setting, device: str = "cpu") -> Quantity:
    """A memory metric of a cell."""
    return Quantity(task, method, metric, setting, "memory", device, ON_CUDA if device == "cuda" else ONE_IMAGE)


def memory_left(task: str, method: str, setting: Setting, device: str = "cpu") -> Quantity:
    """The peak memory of a cell as a share of the original's."""
    return replace(memory("peak_bytes", task, method, setting, device), form="over-dense")


def beside(label: str, unit: Unit, numbers: tuple[Number, ...]) -> Line:
    """A line of times or memory that stand beside the source's and not against them: other machines, other measures."""
    return Line(label, unit, numbers, "lower", comparable=False)


#: What sources write before a number, and behind it in base units.
ABOUT = "≈ "
_UNITS = {"s": 1.0, "ms": 1e-3, "GB": 1e9, "MB": 1e6}


def printed(text: str, by: Quantity) -> Number:
    """A source's number in its own text, such as `≈ 0.0420 s`, which keeps its last zero; without a unit: seconds."""
    value, _, unit = text.removeprefix(ABOUT).partition(" ")
    return Number(round(float(value) * _UNITS[unit or "s"], 9), by, "\u202f".join(text.split()))


def times(cell: Cell, device: str, original: str, pruned: str) -> tuple[Number, ...]:
    """The seconds that a source gives for one image, before and after, as it prints them; ours are of a pair."""
    names = ("dense_seconds", "compressed_seconds")
    return tuple(printed(text, time(name, *cell, device)) for name, text in zip(names, (original, pruned), strict=True))


def memories(cell: Cell, device: str, original: str, pruned: str) -> tuple[Number, ...]:
    """The bytes that a source gives, before and after, as it prints them."""
    names = ("dense_peak_bytes", "peak_bytes")
    return tuple(
        printed(text, memory(name, *cell, device)) for name, text in zip(names, (original, pruned), strict=True)
    )
