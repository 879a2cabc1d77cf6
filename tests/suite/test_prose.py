"""Docstrings as pages: the first sentences apart, code and strong words, never markup."""

from __future__ import annotations

import pytest

from suite import prose
from suite.prose import Span


@pytest.mark.parametrize(
    "text,lead,rest",
    [
        ("One. Two.\n\nThree. Four. Five.", ["One. Two.", "Three. Four."], ["Five."]),
        ("One.\n\n- a list\n- of two", ["One."], ["a list", "of two"]),
        ("Only one, of 0.5 or e.g. this.", ["Only one, of 0.5 or e.g. this."], []),
        ("A. B. C. D.\n\nE.", ["A. B. C. D."], ["E."]),
    ],
)
def test_an_opening_has_four_sentences_and_nothing_is_lost(text: str, lead: list[str], rest: list[str]) -> None:
    first, following = prose.opening(text)
    told = [
        ["".join(span.text for span in item) for block in part for item in block.items] for part in (first, following)
    ]
    assert told == [lead, rest]


def test_code_and_strong_words_are_marked_and_odd_marks_stand() -> None:
    assert prose.spans("a `b` **c**: d") == (Span("a ", False), Span("b", True), Span(" ", False),
                                             Span("c", False, True), Span(": d", False))  # fmt: skip
    assert "".join(span.text for span in prose.spans("2 ** 3 `x")) == "2 ** 3 `x"
    assert prose.spans("`**x**`") == (Span("**x**", True),)


def test_a_number_is_bound_to_its_unit_and_to_nothing_else() -> None:
    bound = "20\u00a0% of 3 networks, 8.1\u00a0T MACs, 4\u00a0points, 1\u00a0MiB, 2 studies, 1 second, 0.53\u00a0s."
    assert prose.unparted(bound.replace("\u00a0", " ")) == bound


@pytest.mark.parametrize(
    "text,sentence",
    [("Does it? `Yes`.", "Does it?"), ("Remove `a` (Li et al. 2017). More.", "Remove a (Li et al. 2017)."),
     ("One\n line; and more.\n\nTwo.", "One line."), ("- a list", "- a list."), ("", "")],
)  # fmt: skip
def test_a_first_sentence_ends_as_one(text: str, sentence: str) -> None:
    assert prose.first_sentence(text) == sentence
