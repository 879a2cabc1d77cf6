"""The gallery of reconstructions: test images beside what each compressed autoencoder makes of them. Pure."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from suite import plan
from suite.leaderboard import Board, Leaderboard
from suite.pictures import pairs
from suite.records import ID
from suite.rows import Row

#: Rows of one board on the page; the others' pictures are on their cells' pages.
MOST_ROWS = 40


@dataclass(frozen=True)
class Reconstruction:
    """A row and its first seed's pictures: (original, reconstruction) as hashes, in the order of the test images.

    `id` is that seed's cell as its page's address names it.
    """

    row: Row
    id: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wall:
    """The reconstructions of one board, dense first, then best first; `more` rows have pictures and no room."""

    board: Board
    shown: tuple[Reconstruction, ...]
    more: int


def walls(found: Leaderboard, pictures: Set[str]) -> tuple[Wall, ...]:
    """Every board that has reconstructions, real tasks first; `pictures` are the hashes of those that are there."""
    made = [_wall(board, pictures) for board in sorted(found.boards, key=lambda each: each.embedded)]
    return tuple(wall for wall in made if wall.shown)


def _wall(board: Board, pictures: Set[str]) -> Wall:
    hung = [each for row in board.rows if (each := _reconstruction(row, pictures)) is not None]
    hung.sort(key=lambda each: each.row.method != plan.DENSE)
    return Wall(board, tuple(hung[:MOST_ROWS]), max(0, len(hung) - MOST_ROWS))


def _reconstruction(row: Row, pictures: Set[str]) -> Reconstruction | None:
    for record in row.records:
        found = pairs(record.gallery, pictures)
        if found and row.state == "ok":
            return Reconstruction(row, record.cell[:ID], tuple((original, restored) for original, restored in found))
    return None
