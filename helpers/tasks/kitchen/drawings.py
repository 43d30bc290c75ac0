"""Drawings of scenes: foods on plates, shelves or a board → picture.

A food's outline says which food it is, and its body has its colour; a food that is cut lies in two halves. Tint,
shades, sizes and places vary a little with a seed and say nothing.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

if TYPE_CHECKING:  # pragma: no cover
    from helpers.tasks.kitchen.scenes import Item, Scene

Paint = tuple[int, ...]
Point = tuple[float, float]

COLOURS: dict[str, Paint] = {
    "red": (212, 38, 40), "orange": (242, 130, 24), "yellow": (244, 208, 46), "green": (72, 160, 60),
    "purple": (132, 52, 160), "brown": (148, 92, 46), "white": (250, 249, 244), "grey": (150, 160, 172),
}  # fmt: skip
PAINTS: dict[str, Paint] = {
    "leaf": (46, 120, 44), "leafy": (70, 130, 50), "wood": (104, 70, 34), "pale": (250, 236, 170), "ink": (30, 30, 34),
    "crumb": (246, 226, 180), "bowl": (92, 132, 196), "cap": (60, 100, 190), "stalk": (150, 200, 110),
    "white": (250, 249, 244), "dish": (226, 232, 240), "sauce": (200, 50, 36), "bone": (244, 238, 220),
    "bee": (246, 200, 40), "toast": (150, 96, 50),
}  # fmt: skip
PLATE, BOARD, SHELF, LINE = (196, 208, 224), (226, 200, 160), (188, 160, 126), (60, 56, 52)
OUTLINED = ("body", "light", "dark", "bone", "bowl", "dish", "pale", "leaf")  # paints of parts with a contour
DRAWN: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("drawings.toml").read_text(encoding="utf-8")
)  # food → shape, colours, cut (may it be), parts
UNIT, SIZE = 96, 192  # drawings are laid out on a square of this many units, and scaled to so many pixels
SMOOTH = 2  # drawn larger by this factor, then scaled down
SIZES = {1: 17.5, 2: 15.0, 3: 12.5}  # radius of a food by how many share its row, in units
CURVE = 6  # straight pieces between two points of a smooth outline


def draw(scene: Scene, seed: int, size: int = SIZE) -> Image.Image:
    """The scene as an RGB image of ``size`` × ``size`` pixels; ``seed`` varies what does not matter."""
    rng = random.Random(f"kitchen-{seed}")
    scale = size * SMOOTH / UNIT
    canvas = Image.new("RGB", (size * SMOOTH, size * SMOOTH), tuple(rng.randint(236, 255) for _ in range(3)))
    _furniture(ImageDraw.Draw(canvas), scene.layout, scale)
    for item in scene.items:
        _place(canvas, item, _radius(scene, item), scale, rng)
    return canvas.resize((size, size), Image.Resampling.BOX)


def _radius(scene: Scene, item: Item) -> float:
    beside = sum(other.place == item.place for other in scene.items)
    if scene.layout == "board":
        return SIZES[3] if beside > 4 else SIZES[2]
    return SIZES[min(beside, 3)]


def _furniture(pen: ImageDraw.ImageDraw, layout: str, scale: float) -> None:
    def box(*units: float) -> list[float]:
        return [unit * scale for unit in units]

    width = round(scale)
    if layout == "plates":
        for x in (25, 71):
            pen.ellipse(box(x - 22.5, 3, x + 22.5, 93), PLATE, LINE, width)
            pen.ellipse(box(x - 19.5, 7, x + 19.5, 89), None, (160, 172, 190), width)
    elif layout == "board":
        pen.rounded_rectangle(box(3, 6, 93, 90), 6 * scale, BOARD, LINE, width)
    else:
        for y in (42, 87):
            pen.rectangle(box(2, y, 94, y + 5), SHELF, LINE, width)
        for x in (2, 91):
            pen.rectangle(box(x, 2, x + 3, 92), SHELF, LINE, width)


def _place(canvas: Image.Image, item: Item, radius: float, scale: float, rng: random.Random) -> None:
    radius *= rng.uniform(0.94, 1.03)
    x, y = (UNIT * share + rng.uniform(-1.5, 1.5) for share in (item.x, item.y))
    shade = rng.uniform(0.93, 1.03)
    body = tuple(min(255, int(c * shade)) for c in COLOURS[item.colour])
    if item.state == "whole":
        _stamp(ImageDraw.Draw(canvas), item.food, body, (x, y), radius, scale)
        return
    half = round(1.15 * radius * scale)
    layer = Image.new("RGBA", (2 * half, 2 * half))
    _stamp(ImageDraw.Draw(layer), item.food, body, (half / scale, half / scale), 0.92 * radius, scale)
    slanted = layer.rotate(-20, Image.Resampling.BILINEAR)
    gap = round(0.16 * radius * scale)
    for side in (-1, 1):
        part = slanted.crop((0, 0, half, 2 * half) if side < 0 else (half, 0, 2 * half, 2 * half))
        left = round(x * scale) - half + gap * side + (0 if side < 0 else half)
        canvas.paste(part, (left, round(y * scale) - half + side * gap // 2), part)


def _stamp(
    pen: ImageDraw.ImageDraw, food: str, body: Paint, centre: Point, radius: float, scale: float
) -> None:  # fmt: skip
    def at(points: Sequence[float]) -> list[Point]:
        pairs = zip(points[::2], points[1::2], strict=True)
        return [((centre[0] + px * radius) * scale, (centre[1] + py * radius) * scale) for px, py in pairs]

    contour = max(1, round(scale * 0.55))
    for kind, paint, *numbers in DRAWN[food]["parts"]:
        fill, line = _paint(paint, body), LINE if paint in OUTLINED else None
        if kind == "oval":
            px, py, rx, ry = numbers
            corners = at([px - rx, py - ry, px + rx, py + ry])
            pen.ellipse([*corners[0], *corners[1]], fill, line if paint in ("body", "light", "bone") else None, contour)
        elif kind == "line":
            pen.line(at(numbers[1:]), fill, max(1, round(numbers[0] * radius * scale)), "curve")
        else:
            points = at(_smooth(numbers) if kind == "blob" else numbers)
            pen.polygon(points, fill)
            if line:
                pen.line([*points, points[0]], line, contour, "curve")


def _paint(name: str, body: Paint) -> Paint:
    if name == "body":
        return body
    if name == "dark":
        return tuple(int(c * 0.62) for c in body)
    if name == "light":
        return tuple(int(c + (255 - c) * 0.45) for c in body)
    return PAINTS[name]


def _smooth(numbers: Sequence[float]) -> list[float]:
    """A closed Catmull-Rom curve through the points."""
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    found: list[float] = []
    for i in range(len(points)):
        near = [points[(i + step) % len(points)] for step in (-1, 0, 1, 2)]
        for j in range(CURVE):
            t = j / CURVE
            weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
            for axis in (0, 1):
                found.append(0.5 * sum(w * p[axis] for w, p in zip(weights, near, strict=True)))
    return found
