"""The networks of the benchmark: plain `nn.Module` code, each registered by a decorator.

A model function takes keyword options (`classes`, `width`, ...) and returns a network whose last layer is `head`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

MODELS: dict[str, Callable[..., nn.Module]] = {}


def register_model(name: str) -> Callable[[Builder], Builder]:
    """Register a function that builds a network under `name`; ValueError where another one has that name."""

    def bind(build: Builder) -> Builder:
        known = MODELS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (build.__module__, build.__qualname__):
            raise ValueError(f"model {name!r} is registered twice: in {known.__module__} and in {build.__module__}")
        MODELS[name] = build
        return build

    return bind
