"""A docstring as paragraphs, lists and code: data for a template, never markup."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Span:
    """A run of text, set as code or not."""

    text: str
    code: bool


@dataclass(frozen=True)
class Block:
    """A paragraph, which has one item, or a list."""

    kind: Literal["paragraph", "list"]
    items: tuple[tuple[Span, ...], ...]


def blocks(text: str) -> tuple[Block, ...]:
    """Blank lines part paragraphs, `- ` begins a list item, backticks enclose code; everything else is text."""
    found = []
    for part in re.split(r"\n\s*\n", text.strip()):
        if part.startswith("- "):
            found.append(Block("list", tuple(spans(item) for item in re.split(r"\n- ", part[2:]))))
        elif part:
            found.append(Block("paragraph", (spans(part),)))
    return tuple(found)


def spans(text: str) -> tuple[Span, ...]:
    """The text on one line, cut at its backticks; an odd backtick stands for itself."""
    pieces = re.split(r"`([^`]+)`", " ".join(text.split()))
    return tuple(Span(piece, bool(index % 2)) for index, piece in enumerate(pieces) if piece)


def first_sentence(text: str) -> str:
    """The first sentence, without its backticks."""
    line = " ".join(text.split("\n\n", 1)[0].split()).replace("`", "")
    return re.split(r"(?<=[.!?;:])\s", line, maxsplit=1)[0].rstrip(";:")
