"""What road scenes are painted with: dice, textures, shapes with soft edges on a 128x128 canvas.

Only operations that IEEE 754 rounds exactly are used (+ - * / floor, comparisons) on uniform random numbers: no sine,
no power, no sum whose order a vector unit chooses. So a scene has the same bytes on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.floating]  # of float32
Colour = Grid
SIZE = 128
TILE = 256  # side of a texture, which repeats
X, Y = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32))


class Dice:
    """Uniform random numbers of one scene."""

    def __init__(self, seed: list[int]) -> None:
        self.rng = np.random.default_rng(seed)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def below(self, limit: int) -> int:
        return int(self.rng.random() * limit)

    def tint(self, colours: tuple[tuple[float, ...], ...], spread: float) -> Colour:
        """One of the colours, each channel moved by up to `spread`."""
        chosen = colours[self.below(len(colours))]
        return np.array([each + self.between(-spread, spread) for each in chosen], np.float32).clip(0, 1)


def rgb(red: float, green: float, blue: float) -> Colour:
    """A colour of three shares from 0 to 1."""
    return np.array([red, green, blue], np.float32)


def texture(rng: np.random.Generator) -> Grid:
    """Value noise that repeats, (256, 256) of 0 to 1: lattices of random numbers, the finer the weaker."""
    total = np.zeros((TILE, TILE), np.float32)
    weight, weights = 1.0, 0.0
    for cells in (4, 8, 16, 32, 64, 128):
        at = np.arange(TILE, dtype=np.float32) * (cells / TILE)
        low = at.astype(np.int64)
        part = at - low
        part = part * part * (3 - 2 * part)
        lattice = rng.random((cells, cells)).astype(np.float32)
        beside = (low + 1) % cells
        rows = lattice[low] + (lattice[beside] - lattice[low]) * part[:, None]
        total += weight * (rows[:, low] + (rows[:, beside] - rows[:, low]) * part[None, :])
        weights += weight
        weight *= 0.68
    stretched = (total / np.float32(weights) - np.float32(0.5)) * np.float32(1.9) + np.float32(0.5)
    return stretched.clip(0, 1)


def sample(texture: Grid, x: Grid, y: Grid) -> Grid:
    """The texture at real coordinates in texels, nearest neighbour; it repeats."""
    columns = np.floor(x).astype(np.int64) & (TILE - 1)
    rows = np.floor(y).astype(np.int64) & (TILE - 1)
    found: Grid = texture[rows, columns]
    return found


@dataclass
class View:
    """What everything in a scene shares. Depth is `t`: 0 at the horizon, 1 at the lower edge, the scale of things."""

    canvas: Grid
    dice: Dice
    textures: list[Grid]
    horizon: float
    centre: float
    bend: float
    half_road: float  # pixels at the lower edge
    haze: float
    haze_colour: Colour
    light: Colour
    night: bool

    def road_centre(self, t: Grid | float) -> Grid | float:
        return self.centre + self.bend * (1 - t) * (1 - t)

    def place(self, lateral: float, t: float) -> tuple[float, float]:
        """Where on the image a point of the ground is; `lateral` counts half road widths from the middle."""
        x = float(self.road_centre(t)) + lateral * self.half_road * t
        return x, self.horizon + t * (SIZE - self.horizon)

    def seen(self, colour: Colour, t: float, *, lit: bool = True) -> Colour:
        """A colour in this light and at this depth."""
        own = colour * self.light if lit else colour
        away = np.float32(self.haze * (1 - t))
        return (own + (self.haze_colour - own) * away).astype(np.float32)


def paint(view: View, box: tuple[float, float, float, float], colour: Colour | Grid, mask: Grid | None = None) -> None:
    """Blend a colour, or a picture of the box's cut, into left, top, right, bottom; edges are antialiased."""
    part = cut(box)
    if part is None:
        return
    left, top, right, bottom = (np.float32(each) for each in box)
    x, y = X[part], Y[part]
    if mask is None:
        mask = np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y)) + np.float32(0.5)
    under = view.canvas[part]
    under += (colour - under) * mask.clip(0, 1)[..., None]


def cut(box: tuple[float, float, float, float]) -> tuple[slice, slice] | None:
    left, top, right, bottom = (int(np.floor(each)) for each in box)
    rows, columns = slice(max(0, top), min(SIZE, bottom + 2)), slice(max(0, left), min(SIZE, right + 2))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def ellipse(view: View, x: float, y: float, wide: float, high: float, colour: Colour, *, rough: float = 0) -> None:
    box = (x - wide - 1, y - high - 1, x + wide + 1, y + high + 1)
    part = cut(box)
    if part is None or wide < 0.3 or high < 0.3:
        return
    dx = (X[part] - np.float32(x)) / np.float32(wide)
    dy = (Y[part] - np.float32(y)) / np.float32(high)
    inside = 1 - dx * dx - dy * dy
    if not rough:
        paint(view, box, colour, inside * np.float32(min(wide, high) * 0.5) + np.float32(0.5))
        return
    dice = view.dice
    grain = sample(view.textures[1], X[part] * 4 + dice.below(TILE), Y[part] * 4 + dice.below(TILE))
    shaded = colour * ((np.float32(0.45) + grain - dy * np.float32(0.25))[..., None])
    paint(view, box, shaded, (inside + (grain - np.float32(0.5)) * np.float32(rough)) * np.float32(4))
