"""Road scenes drawn by arithmetic: 128x128 driving views, the same bytes and one SHA-256 on every machine.

`suite/canvas.py` says which arithmetic is allowed here, and why.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from suite.canvas import SIZE, TILE, Colour, Dice, Grid, View, X, Y, cut, ellipse, paint, rgb, sample, texture

SEED = 20_210_324

SKIES = (  # at the top, at the horizon, light on the ground
    ((0.24, 0.47, 0.82), (0.72, 0.84, 0.95), (1.00, 0.97, 0.90)),  # clear
    ((0.45, 0.60, 0.80), (0.85, 0.88, 0.90), (0.95, 0.95, 0.93)),  # hazy
    ((0.55, 0.58, 0.62), (0.75, 0.77, 0.79), (0.72, 0.74, 0.77)),  # overcast
    ((0.26, 0.32, 0.55), (0.95, 0.70, 0.48), (0.82, 0.72, 0.66)),  # sunset
    ((0.03, 0.04, 0.10), (0.13, 0.14, 0.22), (0.30, 0.32, 0.42)),  # night
)
GROUNDS = ((0.27, 0.42, 0.16), (0.46, 0.46, 0.22), (0.66, 0.57, 0.40), (0.48, 0.47, 0.45), (0.86, 0.88, 0.92))
CARS = ((0.75, 0.10, 0.10), (0.12, 0.20, 0.55), (0.85, 0.85, 0.86), (0.10, 0.10, 0.11), (0.55, 0.57, 0.60),
        (0.85, 0.65, 0.10), (0.15, 0.42, 0.25))  # fmt: skip
WALLS = ((0.62, 0.52, 0.44), (0.55, 0.30, 0.24), (0.72, 0.70, 0.66), (0.40, 0.43, 0.48), (0.80, 0.74, 0.60),
         (0.30, 0.34, 0.42))  # fmt: skip


def draw(count: int, *, first: int = 0) -> npt.NDArray[np.uint8]:
    """Scenes number `first` to `first + count` - 1: (count, 128, 128, 3) uint8. A scene depends on its number alone."""
    textures = [texture(np.random.default_rng([SEED, 1, number])) for number in range(4)]
    drawn = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for number in range(count):
        drawn[number] = _scene(Dice([SEED, 0, first + number]), textures)
    return drawn


# ------------------------------------------------------------------------------------------------------------ the land


def _scene(dice: Dice, textures: list[Grid]) -> npt.NDArray[np.uint8]:
    kind = min(dice.below(7), len(SKIES) - 1) if dice.chance(0.85) else dice.below(len(SKIES))
    if kind == 4 and dice.chance(0.5):
        kind = dice.below(4)  # night hides what there is to see: about one scene in six
    top, low, light = (np.array(each, np.float32) for each in SKIES[kind])
    view = View(
        canvas=np.empty((SIZE, SIZE, 3), np.float32),
        dice=dice,
        textures=textures,
        horizon=dice.between(44, 70),
        centre=SIZE / 2 + dice.between(-22, 22),
        bend=dice.between(-45, 45) if dice.chance(0.6) else dice.between(-6, 6),
        half_road=dice.between(48, 95),
        haze=dice.between(0.6, 1.0) if dice.chance(0.15) else dice.between(0.05, 0.4),
        haze_colour=low * np.float32(dice.between(0.9, 1.05)),
        light=light * np.float32(dice.between(0.8, 1.1)),
        night=kind == 4,
    )
    _sky(view, top, low, clouds=dice.between(0, 0.9), sun=kind in (0, 1, 3) and dice.chance(0.4))
    _hills(view)
    city = dice.chance(0.6)
    _land(view, city=city)
    if not view.night and kind != 2:
        _shadows(view)
    _things(view, city=city)
    return _developed(view, rain=kind in (2, 4) and dice.chance(0.35))


def _sky(view: View, top: Colour, low: Colour, *, clouds: float, sun: bool) -> None:
    dice = view.dice
    down = (Y / np.float32(view.horizon)).clip(0, 1)[..., None]
    view.canvas[:] = top + (low - top) * down
    if sun:
        ellipse(view, dice.between(0, SIZE), dice.between(2, view.horizon), 5, 5, rgb(1.0, 0.96, 0.82))
    stretch = 40 / (np.float32(view.horizon) - Y + 12).clip(1, None)  # clouds flatten towards the horizon
    noise = sample(view.textures[0], X * stretch * np.float32(1.5) + dice.below(TILE), Y * 2 + dice.below(TILE))
    cover = ((noise - np.float32(1 - clouds)) * 3).clip(0, 1)[..., None]
    white = (low * np.float32(0.4) + np.float32(0.58)) * view.light
    view.canvas[:] = view.canvas + (white - view.canvas) * cover * np.float32(0.8)


def _hills(view: View) -> None:
    dice = view.dice
    for number in range(dice.below(3)):
        ridge = view.textures[2][dice.below(TILE)][(np.arange(SIZE) // (2 - number) + dice.below(TILE)) & (TILE - 1)]
        height = ridge * np.float32(dice.between(5, 26) * (1 - 0.4 * number))
        colour = dice.tint(((0.20, 0.32, 0.18), (0.34, 0.36, 0.42), (0.42, 0.36, 0.28)), 0.05)
        mask = (Y - (np.float32(view.horizon) - height[None, :]) + np.float32(0.5)).clip(0, 1)[..., None]
        view.canvas += (view.seen(colour, 0.25 + 0.3 * number) - view.canvas) * mask


def _land(view: View, *, city: bool) -> None:
    """Ground, pavements and the road with its marks: everything below the horizon."""
    dice = view.dice
    land = slice(int(view.horizon), SIZE)
    x, y = X[land], Y[land]
    t = ((y - np.float32(view.horizon)) / np.float32(SIZE - view.horizon)).clip(1e-3, 1)
    below = (y - np.float32(view.horizon) + np.float32(0.5)).clip(0, 1)
    lateral = (x - view.road_centre(t)) / (np.float32(view.half_road) * t)
    depth = 1 / t
    shift = dice.below(TILE)
    grain = sample(view.textures[3], lateral * 40 + shift, depth * 60 + shift)
    coarse = sample(view.textures[0], lateral * 9 + shift, depth * 16)
    detail = (grain - np.float32(0.5)) * t.clip(0.15, 1)

    ground = dice.tint(GROUNDS, 0.06)
    colours = ground * (np.float32(0.75) + coarse[..., None] * np.float32(0.5)) + detail[..., None] * np.float32(0.35)
    distance = np.abs(lateral)
    edge = np.float32(view.half_road) * t  # pixels of one half road width

    def lay(colour: Colour, share: Grid) -> None:
        nonlocal colours
        colours += (colour - colours) * share.clip(0, 1)[..., None]

    if city or dice.chance(0.3):
        width = np.float32(dice.between(1.15, 1.6))
        slabs = (np.floor(depth * 8) + np.floor(lateral * 6)) % 2
        paving = np.float32(dice.between(0.45, 0.65)) + detail * np.float32(0.2) + slabs * np.float32(0.03)
        lay(paving[..., None] * np.ones(3, np.float32), (width - distance) * edge + np.float32(0.5))
        kerb = np.float32(1.05) - distance
        lay(rgb(0.72, 0.72, 0.72), kerb * edge + np.float32(0.5))
    asphalt = np.float32(dice.between(0.20, 0.42)) + (coarse - np.float32(0.5)) * np.float32(0.10)
    tinted = dice.tint(((1.0, 1.0, 1.04), (1.04, 1.0, 0.95)), 0.02)
    lay((asphalt + detail * np.float32(0.22))[..., None] * tinted, (1 - distance) * edge + np.float32(0.5))
    for colour, share in _marks(view, lateral, depth, edge):
        lay(colour, share)
    lit = colours * view.light
    away = (np.float32(view.haze) * (1 - t))[..., None]
    lit = lit + (view.haze_colour - lit) * away
    view.canvas[land] += (lit - view.canvas[land]) * below[..., None]


def _marks(view: View, lateral: Grid, depth: Grid, edge: Grid) -> list[tuple[Colour, Grid]]:
    """The paint on the road, colour by colour, and how much of each pixel it covers."""
    dice = view.dice
    lanes = 2 + dice.below(3)
    white = rgb(0.88, 0.88, 0.85) * np.float32(dice.between(0.75, 1.05))
    yellow = rgb(0.85, 0.66, 0.15)
    middle = yellow if dice.chance(0.4) else white
    phase, pitch = dice.between(0, 1), dice.between(1.2, 2.5)
    along = depth * np.float32(pitch) + np.float32(phase)
    dash = (along - np.floor(along) < np.float32(dice.between(0.4, 0.65))).astype(np.float32)
    half = np.float32(dice.between(0.012, 0.03))
    central = np.zeros_like(edge)
    plain = np.zeros_like(edge)
    for number in range(lanes + 1):
        at = np.float32(-0.95 + 1.9 * number / lanes)
        outer = number in (0, lanes)
        if outer and dice.chance(0.25):
            continue
        share = (half - np.abs(lateral - at)) * edge + np.float32(0.5)
        share = share if outer or dice.chance(0.2) else share * dash
        both = central if 2 * number == lanes else plain
        np.maximum(both, share, out=both)
    if dice.chance(0.25):  # a crossing
        near = dice.between(1.3, 4)
        stripes = (np.floor(lateral * 8) % 2) * (np.abs(lateral) < np.float32(0.95))
        np.maximum(plain, stripes * (depth > np.float32(near)) * (depth < np.float32(near * 1.35)), out=plain)
    elif dice.chance(0.2):  # a stop line
        near = dice.between(1.2, 3)
        line = (np.abs(lateral) < np.float32(0.95)) & (np.abs(depth - np.float32(near)) < np.float32(0.05 * near))
        np.maximum(plain, line, out=plain)
    return [(middle, central), (white, plain)]


def _shadows(view: View) -> None:
    """Bands of shade across the land, as of buildings beside it."""
    dice = view.dice
    for _ in range(dice.below(3)):
        middle, half, slope = dice.between(view.horizon + 8, SIZE + 10), dice.between(3, 16), dice.between(-0.25, 0.25)
        inside = np.float32(half) - np.abs(Y - np.float32(middle) - np.float32(slope) * (X - SIZE / 2))
        share = (inside * np.float32(0.5) + np.float32(0.5)).clip(0, 1) * (np.float32(view.horizon + 4) < Y)
        view.canvas *= (1 - np.float32(dice.between(0.25, 0.5)) * share)[..., None]


# ---------------------------------------------------------------------------------------------------------- the things


def _things(view: View, *, city: bool) -> None:
    """Buildings, trees, poles, cars and people, the farthest first."""
    dice = view.dice
    planned = []
    for side in (-1, 1):
        crowd = dice.below(7) + 2 if city else dice.below(2)
        planned += [(dice.between(0.06, 0.55), _building, side * dice.between(1.7, 2.6)) for _ in range(crowd)]
        greens = dice.below(4) if city else 1 + dice.below(7)
        planned += [(dice.between(0.06, 0.7), _tree, side * dice.between(1.25, 3.2)) for _ in range(greens)]
        planned += [(dice.between(0.1, 0.8), _pole, side * dice.between(1.06, 1.3)) for _ in range(dice.below(4))]
        planned += [(dice.between(0.1, 0.5), _person, side * dice.between(1.1, 1.4)) for _ in range(dice.below(3))]
    planned += [(dice.between(0.05, 0.62), _car, dice.between(-0.75, 0.75)) for _ in range(dice.below(6))]
    for t, draw_one, lateral in sorted(planned, key=lambda each: each[0]):
        x, y = view.place(lateral, t)
        draw_one(view, x, y, t)


def _building(view: View, x: float, y: float, t: float) -> None:
    dice = view.dice
    wide, high = dice.between(40, 120) * t, dice.between(60, 260) * t + 4
    colour = dice.tint(WALLS, 0.06)
    away = 1 if x > view.place(0, t)[0] else -1
    left, right = (x, x + wide) if away > 0 else (x - wide, x)
    paint(view, (left, y - high, right, y), view.seen(colour, t))
    side = dice.between(4, 26) * t  # the wall along the road, in shade
    inner = (left - side, left) if away > 0 else (right, right + side)
    paint(view, (inner[0], y - high * 0.94, inner[1], y - side * 0.15), view.seen(colour * np.float32(0.55), t))
    box = (left, y - high, right, y)
    part = cut(box)
    if part is None or high < 10:
        return
    pitch_x, pitch_y = dice.between(9, 20) * t + 1.5, dice.between(10, 22) * t + 1.5
    across = (X[part] - np.float32(left)) / np.float32(pitch_x)
    down = (Y[part] - np.float32(y - high)) / np.float32(pitch_y)
    columns, rows = np.floor(across), np.floor(down)
    across, down = across - columns, down - rows
    open_x, open_y = np.float32(dice.between(0.15, 0.3)), np.float32(dice.between(0.2, 0.35))
    wide_open = np.minimum(across - open_x, 1 - open_x - across) * np.float32(pitch_x)
    high_open = np.minimum(down - open_y, 1 - open_y - down) * np.float32(pitch_y)
    inside = np.minimum(wide_open, high_open) + np.float32(0.5)
    inside *= (X[part] > left) * (X[part] < right) * (Y[part] > y - high + 1) * (Y[part] < y - 4 * t)
    lamps = dice.rng.random((16, 16)).astype(np.float32)[rows.astype(int) & 15, columns.astype(int) & 15, None]
    glass = view.seen(dice.tint(((0.16, 0.20, 0.27), (0.35, 0.45, 0.55)), 0.04), t) * (np.float32(0.6) + lamps)
    if view.night:
        bright = view.seen(rgb(1.0, 0.85, 0.5), t, lit=False)
        glass = np.where(lamps > np.float32(0.6), bright, glass)
    paint(view, box, glass, inside)


def _tree(view: View, x: float, y: float, t: float) -> None:
    dice = view.dice
    high = dice.between(40, 110) * t
    trunk = view.seen(rgb(0.30, 0.22, 0.15), t)
    paint(view, (x - 2.5 * t, y - high * 0.5, x + 2.5 * t, y), trunk)
    leaves = view.seen(
        dice.tint(((0.16, 0.34, 0.12), (0.26, 0.40, 0.14), (0.45, 0.36, 0.12), (0.10, 0.24, 0.14)), 0.05), t
    )
    if dice.chance(0.3):  # a conifer: narrower towards the top
        for step in range(4):
            ellipse(
                view, x, y - high * (0.3 + 0.2 * step), high * 0.24 * (1 - 0.2 * step), high * 0.18, leaves, rough=0.9
            )
        return
    for _ in range(1 + dice.below(3)):
        shift = dice.between(-0.14, 0.14) * high
        wide, tall = dice.between(0.24, 0.38) * high, dice.between(0.22, 0.34) * high
        ellipse(view, x + shift, y - high * dice.between(0.6, 0.8), wide, tall, leaves, rough=1.1)


def _pole(view: View, x: float, y: float, t: float) -> None:
    dice = view.dice
    high, thick = dice.between(70, 130) * t, max(0.45, 1.6 * t)
    metal = view.seen(dice.tint(((0.35, 0.36, 0.38), (0.20, 0.22, 0.22)), 0.04), t)
    paint(view, (x - thick, y - high, x + thick, y), metal)
    inwards = -1 if x > view.place(0, t)[0] else 1
    kind = dice.below(3)
    if kind == 0:  # a lamp on an arm
        end = x + inwards * 26 * t
        paint(view, (min(x, end), y - high - thick, max(x, end), y - high + thick), metal)
        glow = rgb(1.0, 0.9, 0.65) if view.night else rgb(0.8, 0.8, 0.78)
        ellipse(view, end, y - high, 6 * t + 0.5, 3 * t + 0.5, view.seen(glow, t, lit=False))
    elif kind == 1:  # a traffic light
        top = y - high * 0.9
        paint(view, (x - 4 * t, top, x + 4 * t, top + 22 * t), view.seen(rgb(0.06, 0.06, 0.07), t))
        on = dice.below(3)
        lamp = rgb(*((0.95, 0.12, 0.1), (0.95, 0.7, 0.1), (0.1, 0.9, 0.35))[on])
        ellipse(view, x, top + (4 + 7 * on) * t, 3 * t + 0.3, 3 * t + 0.3, view.seen(lamp, t, lit=False))
    else:  # a sign
        colour = dice.tint(((0.78, 0.10, 0.10), (0.10, 0.25, 0.65), (0.90, 0.75, 0.10), (0.05, 0.4, 0.2)), 0.04)
        high *= 0.6
        ellipse(view, x, y - high, 9 * t + 0.4, 9 * t + 0.4, view.seen(colour, t))
        paint(view, (x - 4 * t, y - high - 2 * t, x + 4 * t, y - high + 2 * t), view.seen(np.ones(3, np.float32), t))


def _person(view: View, x: float, y: float, t: float) -> None:
    dice = view.dice
    high = dice.between(30, 36) * t
    paint(view, (x - 2.6 * t, y - high * 0.5, x + 2.6 * t, y), view.seen(dice.tint(CARS, 0.08) * np.float32(0.5), t))
    paint(view, (x - 3.6 * t, y - high * 0.85, x + 3.6 * t, y - high * 0.45), view.seen(dice.tint(CARS, 0.1), t))
    ellipse(view, x, y - high * 0.93, 2.6 * t, 3 * t, view.seen(rgb(0.72, 0.54, 0.42), t))


def _car(view: View, x: float, y: float, t: float) -> None:
    dice = view.dice
    wide, high = dice.between(36, 44) * t, dice.between(30, 40) * t
    colour, coming = dice.tint(CARS, 0.05), x < view.place(0, t)[0]
    body, dark = view.seen(colour, t), view.seen(rgb(0.05, 0.05, 0.06), t)
    ellipse(view, x, y, wide * 0.6, 3.5 * t, view.seen(rgb(0.08, 0.08, 0.09), t))
    for side in (-1, 1):
        wheel = x + side * wide * 0.38
        paint(view, (wheel - 3.5 * t, y - 8 * t, wheel + 3.5 * t, y + t), dark)
    paint(view, (x - wide * 0.5, y - high * 0.58, x + wide * 0.5, y - 3 * t), body)
    paint(view, (x - wide * 0.4, y - high, x + wide * 0.4, y - high * 0.5), view.seen(colour * np.float32(0.85), t))
    glass = view.seen(rgb(0.20, 0.26, 0.32), t)
    paint(view, (x - wide * 0.35, y - high * 0.93, x + wide * 0.35, y - high * 0.6), glass)
    bright = rgb(1.0, 0.97, 0.85) if coming else rgb(0.85, 0.08, 0.06)
    lamp = view.seen(bright * np.float32(1.0 if view.night else 0.85), t, lit=False)
    for side in (-1, 1):
        at = x + side * wide * 0.4
        paint(view, (at - 3.2 * t, y - high * 0.5, at + 3.2 * t, y - high * 0.36), lamp)
    paint(view, (x - 5 * t, y - high * 0.3, x + 5 * t, y - high * 0.2), view.seen(rgb(0.9, 0.9, 0.88), t))


def _developed(view: View, *, rain: bool) -> npt.NDArray[np.uint8]:
    """The picture that a camera takes: rain, falling light at the corners, contrast, sensor noise; 8 bits."""
    dice, canvas = view.dice, view.canvas
    if rain:
        wind = np.float32(dice.between(-0.4, 0.4))
        drops = dice.rng.random((TILE, TILE // 8)).astype(np.float32)  # a column a streak's path, a row its length
        column = np.floor(X + Y * wind).astype(np.int64) & (TILE - 1)
        streaks = drops[column, (np.floor(Y / 8 + column * np.float32(0.37)).astype(np.int64)) & (TILE // 8 - 1)]
        canvas += ((streaks - np.float32(0.9)) * 2).clip(0, 0.2)[..., None]
    dx, dy = (X - 63.5) / 64, (Y - 63.5) / 64
    canvas *= (1 - np.float32(dice.between(0, 0.14)) * (dx * dx + dy * dy))[..., None]
    canvas = canvas.clip(0, 1)
    contrast = np.float32(dice.between(-0.3, 0.5))
    canvas = canvas + contrast * canvas * (1 - canvas) * (2 * canvas - 1)
    noise = dice.rng.random((SIZE, SIZE)).astype(np.float32)[..., None] - np.float32(0.5)
    levels = canvas * 255 + noise * np.float32(dice.between(1, 5)) + np.float32(0.5)
    return np.floor(levels).clip(0, 255).astype(np.uint8)
