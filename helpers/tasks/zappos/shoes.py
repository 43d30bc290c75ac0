"""Drawings of shoes: type, colour and material → picture.

The material is the texture of the upper: leather is smooth with a bright band, fabric a weave of crossing lines,
rubber dull and studded, synthetic has diagonal stripes. Place, size, tilt, side, proportions, background, light,
sole and the shade of the colour vary with a seed and say nothing about the facts.
"""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from helpers.tasks.zappos.words import DRAWN, SLOTS, check_attribute

SMOOTH = 3  # outlines are drawn larger by this factor, then scaled down
SIZE = 136  # pixels: the width of a picture of UT-Zappos50K
CURVE = 6  # straight pieces between two control points
# Weights (CURVE, 4) of four neighbouring control points along a Catmull-Rom curve, at T of the way.
T = np.arange(CURVE) / CURVE
SPLINE = np.stack([-T + 2 * T**2 - T**3, 2 - 5 * T**2 + 3 * T**3, T + 4 * T**2 - 3 * T**3, T**3 - T**2], 1) / 2
SHIFT = 0.12  # farthest from the middle, as a share of the picture
WOBBLE = 0.9  # layout units by which control points move

# Colour → the body of the shoe, the ink of textures on it, its seams.
PAINT = {
    "black": ((36, 36, 40), (138, 138, 146), (12, 12, 14)),
    "white": ((242, 242, 240), (138, 140, 150), (126, 126, 134)),
    "brown": ((146, 92, 48), (64, 34, 12), (58, 32, 14)),
    "red": ((214, 34, 42), (96, 2, 12), (90, 8, 14)),
}
JITTER = {"black": (10, 3), "white": (7, 4), "brown": (14, 8), "red": (14, 12)}  # lightness, tint
DARK, PALE = (58, 54, 54), (238, 234, 226)
SOLES = ((226, 224, 218), (176, 174, 170), (104, 104, 106), (60, 60, 62))
OWN_SOLE = 0.3  # share of soles in a dark shade of the shoe's colour

LAYERS = ("upper", "sole", "dark", "pale", "seam")
# Type → ``parts`` [layer, points] and ``strokes`` [layer, width, points].
OUTLINES: dict[str, dict[str, list[Any]]] = tomllib.loads(
    Path(__file__).with_name("outlines.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Shoe:
    """What a drawing shows.

    Raises:
        DataError: a type, colour or material that cannot be drawn; names the nearest.
    """

    type: str
    colour: str
    material: str

    def __post_init__(self) -> None:
        for name in SLOTS:
            check_attribute(name, getattr(self, name))

    @property
    def category(self) -> str:
        return DRAWN[self.type][0]

    @property
    def subcategory(self) -> str:
        return DRAWN[self.type][1]


def draw(shoe: Shoe, seed: int, size: int = SIZE) -> Image.Image:
    """The shoe as an RGB image of ``size`` × ``size`` pixels; ``seed`` varies what does not matter."""
    rng = random.Random(f"shoe-{seed}")
    body, ink, seam = (_flat(colour) for colour in _paint(shoe.colour, rng))
    masks = _masks(shoe.type, size, rng)
    x, y = _grid(size)
    light = _shade(y, masks["upper"], rng)
    pattern, gloss = _texture(shoe.material, x, y, masks["upper"], rng)
    upper = (body + (ink - body) * pattern) * light
    own = rng.random() < OWN_SOLE
    paint = {
        "upper": upper + (255 - upper) * gloss,
        "sole": (body * 0.6 if own else _flat(rng.choice(SOLES))) * light,
        "dark": _flat(DARK),
        "pale": _flat(PALE) * light,
        "seam": seam,
    }
    covered = np.sum(list(masks.values()), axis=0)
    canvas = _background(x, y, covered, rng) * (1 - covered)
    for layer, mask in masks.items():
        canvas += paint[layer] * mask
    canvas *= rng.uniform(0.86, 1.06)
    pixels = np.clip(canvas, 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _flat(colour: Sequence[float]) -> np.ndarray:
    """A colour as ``(3, 1, 1)``: pictures are held channel by channel, which numpy adds up faster."""
    return np.array(colour, np.float32)[:, None, None]


def _paint(colour: str, rng: random.Random) -> list[Any]:
    """Body, ink and seam colour, each a little lighter or darker and of a slightly other tint."""
    lighter, tint = JITTER[colour]
    every = rng.uniform(-lighter, lighter)
    shift = [every + rng.uniform(-tint, tint) for _ in range(3)]
    return [[c + s for c, s in zip(paint, shift, strict=True)] for paint in PAINT[colour]]


@lru_cache(maxsize=4)
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel, from 0 to 1, as columns and rows that broadcast."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    return line[None, :], line[:, None]


def _curve(points: list[list[float]], closed: bool, rng: random.Random) -> np.ndarray:
    """A smooth line ``(n, 2)`` through control points, each moved a little; corners stay sharp."""
    moved = []
    for x, y, *corner in points:
        moved += [(x + rng.uniform(-WOBBLE, WOBBLE), y + rng.uniform(-WOBBLE, WOBBLE))] * (2 if corner else 1)
    p = np.array(moved)
    if not closed:
        p = np.concatenate([p[:1], p, p[-1:]])
    rolled = np.stack([np.roll(p, 1 - i, axis=0) for i in range(4)])  # point before, here, next, after next
    line = np.einsum("tk,knd->ntd", SPLINE, rolled)
    line = np.where((rolled[1] == rolled[2]).all(-1)[:, None, None], rolled[1][:, None], line)  # no loop in a corner
    return line.reshape(-1, 2) if closed else np.concatenate([line[1:-2].reshape(-1, 2), p[-1:]])


def _masks(kind: str, size: int, rng: random.Random) -> dict[str, np.ndarray]:
    """How much of each pixel each layer covers, 0 to 1, ``(size, size)``; together at most 1."""
    outline = OUTLINES[kind]
    parts = [(layer, _curve(points, True, rng)) for layer, points in outline["parts"]]
    strokes = [(layer, width, _curve(points, False, rng)) for layer, width, points in outline.get("strokes", ())]
    every = np.concatenate([line for *_, line in (*parts, *strokes)])
    turn = math.radians(rng.uniform(-7, 7))
    flip, tall, lean = rng.choice((1, -1)), rng.uniform(0.92, 1.08), rng.uniform(-0.06, 0.06)
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    matrix = np.array([[1, 0], [lean, tall]]) @ matrix @ np.array([[flip, 0], [0, 1]])
    every = every @ matrix
    low, high = every.min(0), every.max(0)
    scale = rng.uniform(0.72, 0.93) / (high - low).max()
    room = 0.94 - (high - low) * scale
    corner = 0.03 + room / 2 + np.array([rng.uniform(-1, 1) * min(r / 2, SHIFT) for r in room])
    big = size * SMOOTH

    def placed(line: np.ndarray) -> list[float]:
        return (((line @ matrix - low) * scale + corner) * big).ravel().tolist()

    canvas = Image.new("L", (big, big), 0)
    pen = ImageDraw.Draw(canvas)
    edge = max(1, round(0.011 * big))
    for layer, line in parts:
        flat = placed(line)
        pen.polygon(flat, LAYERS.index(layer) + 1)
        pen.line(flat + flat[:4], LAYERS.index("seam") + 1, edge)
    for layer, width, line in strokes:
        pen.line(placed(line), LAYERS.index(layer) + 1, max(1, round(width * scale * big)))
    levels = ((layer, [255 * (level == i) for level in range(256)]) for i, layer in enumerate(LAYERS, 1))
    return {
        layer: np.asarray(canvas.point(level).reduce(SMOOTH), np.float32) / np.float32(255) for layer, level in levels
    }


def _texture(
    material: str, x: np.ndarray, y: np.ndarray, upper: np.ndarray, rng: random.Random
) -> tuple[np.ndarray, np.ndarray]:
    """Ink and gloss of the upper, each 0 to 1."""
    turn, size = rng.uniform(-0.15, 0.15), rng.uniform(0.92, 1.12)
    if material == "synthetic":
        turn += math.copysign(math.pi / 4, rng.uniform(-1, 1))
    along = (x * math.cos(turn) + y * math.sin(turn)) / size + rng.random()
    across = (y * math.cos(turn) - x * math.sin(turn)) / size + rng.random()
    none = np.zeros_like(upper)
    if material == "leather":
        height = y + x * rng.uniform(-0.2, 0.2)
        middle = float(np.average(height, weights=upper))
        spread = math.sqrt(np.average((height - middle) ** 2, weights=upper))
        band = (height - middle + rng.uniform(0.2, 0.6) * spread) / (0.45 * spread)
        return none, 0.6 * np.exp(-(band**2))
    if material == "synthetic":
        return np.clip(0.5 + 1.6 * np.sin(along * (math.tau / 0.088)), 0, 1), none
    if material == "fabric":
        lines = np.maximum(np.cos(along * (math.tau / 0.068)), np.cos(across * (math.tau / 0.068)))
        return np.clip(2.2 * (lines - 0.5), 0, 1), none
    dots = np.cos(along * (math.tau / 0.12)) * np.cos(across * (math.tau / 0.12))
    return np.clip(3.5 * (dots - 0.3), 0, 1), none


def _ends(mask: np.ndarray, axis: int) -> tuple[float, float]:
    """Where a mask starts and ends, as shares of the picture; axis 1: from top to bottom, 0: from left to right."""
    found = np.flatnonzero((mask > 0.5).any(axis))  # plain floats: numpy's own would make pictures float64
    return float(found[0]) / len(mask), float(found[-1] + 1) / len(mask)


def _shade(y: np.ndarray, upper: np.ndarray, rng: random.Random) -> np.ndarray:
    """Light that falls from above: a factor for every row, ``(size, 1)``."""
    top, bottom = _ends(upper, 1)
    depth = np.clip((y - top) / (bottom - top), 0, 1)
    return 1.04 - rng.uniform(0.05, 0.22) * depth


def _background(x: np.ndarray, y: np.ndarray, covered: np.ndarray, rng: random.Random) -> np.ndarray:
    """White as in a shop, a light tint, or two of them running into each other; mostly with a shadow on the ground."""
    kind = rng.random()
    one, other = (_flat([rng.uniform(205, 255) for _ in range(3)]) for _ in range(2))
    if kind < 0.4:
        one = other = _flat((255, 255, 255))
    elif kind < 0.65:
        other = one
    angle = rng.uniform(0, math.tau)
    ramp = 0.5 + (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle)
    field = one + (other - one) * np.clip(ramp, 0, 1)
    if rng.random() < 0.75:
        left, right = _ends(covered, 0)
        middle, half = (left + right) / 2, (right - left) / 2
        away = ((x - middle) / half) ** 2 + ((y - _ends(covered, 1)[1]) / rng.uniform(0.03, 0.07)) ** 2
        field *= 1 - rng.uniform(0.12, 0.3) * np.exp(-away)
    return field
