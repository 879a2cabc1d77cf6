"""A docstring as paragraphs, lists and code: data for a template, never markup."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Span:
    """A run of text, set as code, strong, or neither."""

    text: str
    code: bool
    strong: bool = False


@dataclass(frozen=True)
class Block:
    """A paragraph, which has one item, or a list."""

    kind: Literal["paragraph", "list"]
    items: tuple[tuple[Span, ...], ...]


def blocks(text: str) -> tuple[Block, ...]:
    """Blank lines part paragraphs, `- ` begins a list item, backticks enclose code, double asterisks what is strong."""
    found = []
    for part in re.split(r"\n\s*\n", text.strip()):
        if part.startswith("- "):
            found.append(Block("list", tuple(spans(item) for item in re.split(r"\n- ", part[2:]))))
        elif part:
            found.append(Block("paragraph", (spans(part),)))
    return tuple(found)


def seeds_said(count: int) -> str:
    """How many seeds, as a person says it: `one seed`, `3 seeds`."""
    return {1: "one seed", 2: "two seeds"}.get(count, f"{count} seeds")


def unparted(text: str) -> str:
    """The text with each number bound to the unit after it, so that no line ends between the two."""
    return re.sub(r"(?<=\d) (?=(?:%|ms|s|[kMGT]i?B|[kMGT]|dB|points?)(?!\w))", "\u00a0", text)


def spans(text: str) -> tuple[Span, ...]:
    """The text on one line, cut at its backticks and double asterisks; one without its other stands for itself."""
    pieces = re.split(r"(`[^`]+`|\*\*[^*`]+\*\*)", " ".join(text.split()))
    return tuple(_span(piece) for piece in pieces if piece)


def _span(piece: str) -> Span:
    if len(piece) > 2 and piece[0] == piece[-1] == "`":
        return Span(piece[1:-1], True)
    if len(piece) > 4 and piece[:2] == piece[-2:] == "**":
        return Span(piece[2:-2], False, strong=True)
    return Span(piece, False)


def opening(text: str, sentences: int = 4) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
    """A text's first so many sentences and what follows them; a list ends the opening."""
    first, rest = [], []
    for block in re.split(r"\n\s*\n", text.strip()):
        parts = re.split(r"(?<=[.!?])\s+(?=[A-Z`])", " ".join(block.split())) if sentences and block[:2] != "- " else []
        if not parts:
            sentences = 0
            rest.append(block)
            continue
        first.append(" ".join(parts[:sentences]))
        rest += [" ".join(parts[sentences:])] if parts[sentences:] else []
        sentences = max(0, sentences - len(parts))
    return blocks("\n\n".join(first)), blocks("\n\n".join(rest))


def first_sentence(text: str) -> str:
    """The first sentence, or what stands before its semicolon or colon, with a full stop and without its backticks."""
    line = " ".join(text.split("\n\n", 1)[0].split()).replace("`", "")
    first = re.split(r"(?<=[.!?;:])(?<!\bal\.)\s", line, maxsplit=1)[0].rstrip(";:")
    return first if not first or first[-1] in ".!?" else f"{first}."
