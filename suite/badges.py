"""Badges: what a method did on a task, in one small SVG for a README. Drawn here, with no font or service of another's.

A badge says what is certain: the fastest row within two points of dense (or 10 % of a loss) whose whole interval, less
the noise floor, lies above 1; or that there is none, or that all of them lose more.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

from suite import advice, plan, tables
from suite.leaderboard import Board
from suite.winners import ROUNDING

#: How much a row may lose to be the one that a badge shows.
TOLERANCE = 0.02
GOOD, FAIR, NONE, LABEL = "#00724f", "#8a5a00", "#655d66", "#3a343a"  # white text has 4.5:1 on each
#: Widths of Verdana's characters at 11 pixels, by class; the text is then fitted to the sum by `textLength`.
_NARROW, _WIDE = set("iljtfrI.,:;|!'()[] "), set("mwMWOQ%@")
PADDING = 7


@dataclass(frozen=True)
class Badge:
    """Two texts side by side, and the colour behind the second."""

    label: str
    message: str
    colour: str
    details: str = ""


def badge(board: Board, method: str) -> Badge | None:
    """The badge of a method on a board; None where it has no row that counts, or is dense itself."""
    own = [row for row in board.rows if row.method == method and row.state == "ok"]
    if not own or method == plan.DENSE:
        return None
    where = f"{board.title}{'' if board.profile == 'full' else f' ({board.profile})'}"
    setup = board.setups[0] if board.setups else None
    timed = setup is not None and any(setup in row.speeds and row.speeds[setup].comparable for row in own)
    sure = [] if setup is None else [step for row in own if (step := advice.certain(row, board, setup))]
    found = [step for step in sure if step.lost <= TOLERANCE + ROUNDING]
    if not found:
        why = f"loses over {advice.lost_text(TOLERANCE, board)}" if sure else "no sure speed-up"
        return Badge(method, f"{where}: {why if timed else 'not timed'}", NONE)
    best = max(found, key=lambda each: each.at_least)
    assert best.row.change is not None  # or it would be no step
    lost = tables.difference_text(board.headline, best.row.change.mean)
    unit = " points" if board.headline.kind == "percent" else f" {board.headline.label.lower()}"
    how = " INT8, compiled" if best.over_eager else ""
    said = f"{where} {tables.times(best.speedup)}{how}, {lost}{unit}"
    assert setup is not None  # or there would be no step
    over = "over eager dense, " if best.over_eager else ""
    details = f"{over}{tables.setup_text(setup)}; {advice.doubt(best, board)}"
    return Badge(method, said, GOOD if board.profile == "full" and not board.embedded else FAIR, details)


def file_name(method: str, task: str) -> str:
    """The file of a badge; names that are no plain file names get a hash, so that no two badges share a file."""
    name = f"{method}.{task}"
    if re.fullmatch(r"[a-z0-9][a-z0-9+_-]{0,60}\.[a-z0-9][a-z0-9+_-]{0,60}", name):
        return f"{name}.svg"
    plain = re.sub(r"[^a-z0-9+_-]+", "-", name.lower())[:60].strip("-")
    return f"{plain or 'unnamed'}-{hashlib.sha256(f'{method}/{task}'.encode()).hexdigest()[:8]}.svg"


def svg(drawn: Badge) -> str:
    """The badge as SVG, its texts escaped and fitted to their boxes."""
    label, message = tables.visible(drawn.label), tables.visible(drawn.message)
    left, right = _width(label), _width(message)
    first, whole = left + 2 * PADDING, left + right + 4 * PADDING
    said = escape(f"{label}: {message}", {'"': "&quot;"})
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{said}">
<title>{said}{escape(tables.visible(drawn.details and f" ({drawn.details})"))}</title>
<clipPath id="round"><rect width="{whole}" height="20" rx="3"/></clipPath>
<g clip-path="url(#round)"><rect width="{first}" height="20" fill="{LABEL}"/>\
<rect x="{first}" width="{whole - first}" height="20" fill="{drawn.colour}"/></g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">
<text x="{PADDING}" y="14" textLength="{left}" lengthAdjust="spacingAndGlyphs">{escape(label)}</text>
<text x="{first + PADDING}" y="14" textLength="{right}" lengthAdjust="spacingAndGlyphs">{escape(message)}</text>
</g>
</svg>
"""


def _width(text: str) -> int:
    return max(8, round(sum(4.2 if each in _NARROW else 10.2 if each in _WIDE else 6.9 for each in text)))
