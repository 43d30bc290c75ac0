"""Small drawings for generated science questions: facts → picture.

A drawing shows facts and no answers: which magnets attract follows from their poles, which solution is stronger
from a count. Position, scale, tint and stroke vary with a seed, so equal facts do not give equal pictures.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw

Facts = dict[str, Any]
COLOURS = {
    "red": (214, 40, 40), "blue": (40, 80, 214), "green": (40, 150, 60),
    "yellow": (240, 205, 40), "purple": (140, 50, 170), "orange": (245, 130, 30),
}  # fmt: skip
BARS = ("red", "blue", "green", "yellow", "purple")
PARTICLES = ("red", "green", "purple")
ANIMALS = ("red", "blue", "yellow")
DIRECTIONS = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}
POLES = ("NS", "SN")  # of a bar magnet, from left to right
LINE = (60, 60, 60)
COUNTS = (2, 4, 6)  # particles in a flask: amounts that can be told apart at a glance
UNIT = 96  # drawings are laid out on a square of this many units and scaled to the size asked for
SMOOTH = 2  # drawn larger by this factor, then scaled down


@dataclass(frozen=True)
class Picture:
    """What a drawing shows: its kind, and the facts of that kind (see ``sample``)."""

    kind: str
    facts: Facts


def sample(kind: str, rng: random.Random) -> Picture:
    """Facts of one kind, every combination as likely as any other.

    ``magnets``: left, right: poles of two bars from left to right, "NS" or "SN". ``magnet_pairs``: gaps (1–4) in
    the upper and the lower pair. ``solutions``: particles (2, 4 or 6) in two flasks. ``particles``: speeds (1–4) in two
    jars. ``chain``: colours of three animals, each eaten by the next. ``bars``: five [colour, height] with distinct
    heights (1–6). ``map``: direction of the house from the lake. ``matter``: solid, liquid or gas.
    """
    return Picture(kind, _KINDS[kind][0](rng))


def draw(picture: Picture, seed: int, size: int = 192) -> Image.Image:
    """The drawing as an RGB image of ``size`` × ``size`` pixels; ``seed`` varies what does not matter."""
    rng = random.Random(f"drawing-{seed}")
    tint = tuple(rng.randint(236, 255) for _ in range(3))
    scale = size * SMOOTH / UNIT
    canvas = Image.new("RGB", (size * SMOOTH, size * SMOOTH), tint)
    _KINDS[picture.kind][1](_Pen(ImageDraw.Draw(canvas), scale, rng), picture.facts, rng)
    return canvas.resize((size, size), Image.Resampling.BOX)


class _Pen:
    """Draws in layout units, shifted a little as a whole."""

    def __init__(self, canvas: ImageDraw.ImageDraw, scale: float, rng: random.Random) -> None:
        self.canvas, self.scale = canvas, scale
        self.shift = (rng.uniform(-3, 3), rng.uniform(-3, 3))
        self.stroke = rng.uniform(1.6, 2.4)

    def _at(self, *points: float) -> list[float]:
        return [(p + self.shift[i % 2]) * self.scale for i, p in enumerate(points)]

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Any = None) -> None:
        self.canvas.rectangle(self._at(x0, y0, x1, y1), fill, LINE, round(self.stroke * self.scale / 2))

    def dot(self, x: float, y: float, r: float, fill: Any) -> None:
        self.canvas.ellipse(self._at(x - r, y - r, x + r, y + r), fill)

    def line(self, points: list[float], fill: Any = LINE, width: float | None = None) -> None:
        self.canvas.line(self._at(*points), fill, round((width or self.stroke) * self.scale), "curve")

    def shape(self, points: list[float], fill: Any) -> None:
        self.canvas.polygon(self._at(*points), fill)


def _bar_magnet(pen: _Pen, x: float, y: float, poles: str, half: float = 16, height: float = 20) -> None:
    for i, pole in enumerate(poles):
        left = x + (i - 1) * half
        pen.box(left, y - height / 2, left + half, y + height / 2, COLOURS["red" if pole == "N" else "blue"])


def _draw_magnets(pen: _Pen, facts: Facts, rng: random.Random) -> None:
    gap = rng.uniform(4, 10)
    _bar_magnet(pen, 48 - gap / 2 - 16, 48, facts["left"])
    _bar_magnet(pen, 48 + gap / 2 + 16, 48, facts["right"])


def _draw_magnet_pairs(pen: _Pen, facts: Facts, rng: random.Random) -> None:
    poles = rng.choice(POLES)
    for y, gap in zip((28, 68), facts["gaps"], strict=True):
        wide = gap * 10 - 4 + rng.uniform(-1, 1)
        for side in (-1, 1):
            _bar_magnet(pen, 48 + side * (wide / 2 + 11), y, poles, 11, 18)


def _vessel(pen: _Pen, x0: float, y0: float, x1: float, y1: float, fill: Any = None) -> None:
    if fill:
        pen.shape([x0, y0 + 8, x1, y0 + 8, x1, y1, x0, y1], fill)
    pen.line([x0, y0, x0, y1, x1, y1, x1, y0])


def _places(rng: random.Random, count: int, x0: float, y0: float, x1: float, y1: float, apart: float) -> list[Any]:
    """Points in a box, at least ``apart`` from each other as far as tries reach."""
    points: list[tuple[float, float]] = []
    while len(points) < count:
        tries = [(rng.uniform(x0, x1), rng.uniform(y0, y1)) for _ in range(30)]
        points.append(max(tries, key=lambda t: min((min(math.dist(t, p), apart) for p in points), default=apart)))
    return points


def _draw_solutions(pen: _Pen, facts: Facts, rng: random.Random) -> None:
    colour = COLOURS[rng.choice(PARTICLES)]
    for x, count in zip((6, 52), facts["counts"], strict=True):
        _vessel(pen, x, 18, x + 38, 78, (214, 232, 250))
        for px, py in _places(rng, count, x + 7, 34, x + 31, 71, 14):
            pen.dot(px, py, 4.6, colour)


def _draw_particles(pen: _Pen, facts: Facts, rng: random.Random) -> None:
    colour = COLOURS[rng.choice(PARTICLES)]
    for x, speed in zip((6, 52), facts["speeds"], strict=True):
        pen.box(x, 14, x + 38, 82)
        for row in range(3):
            px, py = x + 33, 26 + 22 * row + rng.uniform(-2, 2)
            pen.line([px - 6.5 * speed - 1, py, px, py], colour, 3.5)
            pen.dot(px, py, 4, colour)


def _draw_chain(pen: _Pen, facts: Facts, rng: random.Random) -> None:
    colours = facts["colours"]
    step = rng.choice((1, -1))  # the chain is read in the direction of its arrows, right or left
    for i, colour in enumerate(colours):
        x = 48 + (i - 1) * 32 * step
        pen.dot(x, 48, 9, COLOURS[colour])
        if i < 2:
            tip = x + 22.5 * step
            pen.line([x + 9.5 * step, 48, tip - 3 * step, 48])
            pen.shape([tip, 48, tip - 10 * step, 37, tip - 10 * step, 59], LINE)


def _draw_bars(pen: _Pen, facts: Facts, rng: random.Random) -> None:
    bars = facts["bars"]
    width = 84 / len(bars)
    for i, (colour, height) in enumerate(bars):
        x = 6 + i * width
        pen.box(x + width * 0.12, 84 - 12 * height, x + width * 0.88, 84, COLOURS[colour])
    pen.line([4, 84, 92, 84])


def _draw_map(pen: _Pen, facts: Facts, rng: random.Random) -> None:
    for _ in range(3):
        pen.dot(48 + rng.uniform(-4, 4), 48 + rng.uniform(-4, 4), 11, (90, 170, 240))
    dx, dy = DIRECTIONS[facts["direction"]]
    off = rng.uniform(-8, 8)
    x, y = 48 + 33 * dx + off * abs(dy), 48 + 33 * dy + off * abs(dx)
    pen.box(x - 7, y - 3, x + 7, y + 9, COLOURS["yellow"])
    pen.shape([x - 9, y - 3, x, y - 12, x + 9, y - 3], COLOURS["red"])
    pen.line([88, 18, 88, 6])  # a compass: its arrow points north
    pen.shape([88, 2, 84, 9, 92, 9], LINE)


def _draw_matter(pen: _Pen, facts: Facts, rng: random.Random) -> None:
    colour = COLOURS[rng.choice(PARTICLES)]
    _vessel(pen, 16, 10, 80, 86)
    if facts["state"] == "solid":
        x = rng.uniform(22, 34)
        points = [(x + 10 * i + 3, 81 - 10 * j) for i in range(4) for j in range(4)]
    else:
        top, apart = (60, 11) if facts["state"] == "liquid" else (14, 18)
        points = _places(rng, 16, 22, top, 74, 80, apart)
    for x, y in points:
        pen.dot(x, y, 4.4, colour)


def _sample_bars(rng: random.Random) -> Facts:
    colours, heights = rng.sample(BARS, len(BARS)), rng.sample(range(1, 7), len(BARS))
    return {"bars": [list(bar) for bar in zip(colours, heights, strict=True)]}


# Kind → how facts are drawn at random, and how they are drawn on paper.
_KINDS: dict[str, tuple[Callable[[random.Random], Facts], Callable[[_Pen, Facts, random.Random], None]]] = {
    "magnets": (lambda rng: {"left": rng.choice(POLES), "right": rng.choice(POLES)}, _draw_magnets),
    "magnet_pairs": (lambda rng: {"gaps": (rng.randint(1, 4), rng.randint(1, 4))}, _draw_magnet_pairs),
    "solutions": (lambda rng: {"counts": (rng.choice(COUNTS), rng.choice(COUNTS))}, _draw_solutions),
    "particles": (lambda rng: {"speeds": (rng.randint(1, 4), rng.randint(1, 4))}, _draw_particles),
    "chain": (lambda rng: {"colours": rng.sample(ANIMALS, len(ANIMALS))}, _draw_chain),
    "bars": (_sample_bars, _draw_bars),
    "map": (lambda rng: {"direction": rng.choice(list(DIRECTIONS))}, _draw_map),
    "matter": (lambda rng: {"state": rng.choice(("solid", "liquid", "gas"))}, _draw_matter),
}
KINDS = tuple(_KINDS)
