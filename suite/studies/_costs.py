"""What several studies ask for: time and memory of one cell, one image at a time, before and after."""

from __future__ import annotations

from dataclasses import replace

from suite.studies import ON_CUDA, ONE_IMAGE, Number, Quantity, Setting

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


def times(cell: Cell, device: str, original: float, pruned: float) -> tuple[Number, ...]:
    """The seconds that a source gives for one image, before and after; ours are measured as a pair."""
    names = ("dense_seconds", "compressed_seconds")
    return tuple(
        Number(value, time(name, *cell, device)) for name, value in zip(names, (original, pruned), strict=True)
    )


def memories(cell: Cell, device: str, original: float, pruned: float) -> tuple[Number, ...]:
    """The bytes that a source gives, before and after."""
    names = ("dense_peak_bytes", "peak_bytes")
    return tuple(
        Number(value, memory(name, *cell, device)) for name, value in zip(names, (original, pruned), strict=True)
    )
