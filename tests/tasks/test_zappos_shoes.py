"""Drawn shoes: what a drawing shows can be told from its pixels, and nothing else decides."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.errors import DataError
from helpers.tasks.zappos import generator
from helpers.tasks.zappos.shoes import OUTLINES, Shoe, draw
from helpers.tasks.zappos.words import CATEGORIES, COLOURS, DRAWN, MATERIALS, SLOTS
from tools.shoe_folder import write_folder

TRAIN, TEST = 400, 200


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return list(islice(generator.rows(0), TRAIN + TEST))


@pytest.fixture(scope="module")
def small(rows: list[dict[str, Any]]) -> np.ndarray:
    """The pictures at 64 × 64 pixels."""
    return np.stack([np.asarray(opened(row).resize((64, 64), Image.Resampling.BICUBIC), float) for row in rows])


def opened(row: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(row["image"]["bytes"]))


# ---------- the drawing
def test_same_seed_same_picture_other_seed_other_picture() -> None:
    for kind in DRAWN:
        shoe = Shoe(kind, "red", "fabric")
        one, again, other = (np.asarray(draw(shoe, seed)) for seed in (1, 1, 2))
        assert one.shape == (136, 136, 3) and one.dtype == np.uint8
        assert (one == again).all() and (one != other).mean() > 0.2
    assert draw(shoe, 1, size=64).size == (64, 64)


def test_the_whole_shoe_is_in_the_picture_and_fills_a_good_part_of_it() -> None:
    for number, kind in enumerate(list(DRAWN) * 8):
        dark = (
            np.asarray(draw(Shoe(kind, "black", "leather"), number)).max(-1) < 110
        )  # its outline; no shadow is as dark
        height, width = (np.flatnonzero(dark.any(axis)) for axis in (1, 0))
        assert min(height[0], width[0]) >= 2 and max(height[-1], width[-1]) <= 133
        assert max(np.ptp(height), np.ptp(width)) > 0.6 * 136, kind


def test_types_are_ten_of_four_categories_each_with_an_outline() -> None:
    assert set(OUTLINES) == set(DRAWN) and len(set(DRAWN.values())) == 10
    sizes = Counter(category for category, _ in DRAWN.values())
    assert set(sizes) == set(CATEGORIES) and set(sizes.values()) == {2, 3}
    assert Shoe("knee high boots", "red", "rubber").subcategory == "Knee High"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sneaker", "red", "rubber"), "unknown type 'sneaker'.*Did you mean 'sneakers'"),
        (("heels", "green", "rubber"), "unknown colour 'green'.*black, brown, red, white"),
        (("heels", "red", "lether"), "unknown material 'lether'.*Did you mean 'leather'"),
    ],
)
def test_an_unknown_attribute_is_named(words: tuple[str, str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Shoe(*words)


# ---------- the stream
def test_rows_repeat_by_seed_and_hold_the_drawing() -> None:
    one, again, other = (list(islice(generator.rows(seed), 12)) for seed in (3, 3, 4))
    assert one == again and [r["image"] for r in one] != [r["image"] for r in other]
    for (shoe, drawing), row in zip(generator.shoes(3), one, strict=False):
        assert [row[name] for name in SLOTS] == [shoe.type, shoe.colour, shoe.material]
        assert (row["category"], row["subcategory"]) == DRAWN[shoe.type]
        drawn = np.asarray(draw(shoe, drawing), float)
        assert np.abs(np.asarray(opened(row), float) - drawn).mean() < 3  # JPEG


def test_all_combinations_come_in_turn_and_every_stretch_is_balanced() -> None:
    shoes = [shoe for shoe, _ in islice(generator.shoes(5), 1600)]
    for start in range(0, 1600, 160):
        assert len(set(shoes[start : start + 160])) == 160
    for length in (20, 50, 200, 333):
        for start in range(0, 1600 - length, 31):
            for name, words in zip(SLOTS, (DRAWN, COLOURS, MATERIALS), strict=True):
                found = Counter(getattr(shoe, name) for shoe in shoes[start : start + length])
                assert max(found.values()) - min(found[word] for word in words) <= 4, (name, length, found)


def test_drawings_differ(rows: list[dict[str, Any]]) -> None:
    assert len({row["image"]["bytes"] for row in rows}) == len(rows)
    seeds = [drawing for _, drawing in islice(generator.shoes(0), 1000)]
    assert len(set(seeds)) == 1000


def test_a_written_folder_holds_the_same_pictures(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "new" / "shoes", 25, seed=9)
    lines = (root / "labels.csv").read_text().splitlines()
    assert lines[0] == "id,image,category,subcategory,type,colour,material" and len(lines) == 26
    for line, row in zip(lines[1:], generator.rows(9), strict=False):
        cells = line.split(",")
        assert (root / cells[1]).read_bytes() == row["image"]["bytes"]
        assert cells[0] == row["id"] and cells[4:] == [row[name] for name in SLOTS]
        assert cells[1].startswith(f"{row['category']}/{row['subcategory']}/")


# ---------- what can be seen: features that a person can name, and a linear classifier
def ink(picture: np.ndarray) -> np.ndarray:
    """Pixels that differ from the frame of the picture."""
    frame = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return np.abs(picture - np.median(frame, axis=0)).max(-1) > 40


def colour_features(picture: np.ndarray) -> np.ndarray:
    """Histogram of the shoe's pixels over 4 × 4 × 4 colours."""
    counts = np.histogramdd(picture[ink(picture)], bins=(4, 4, 4), range=[(0, 256)] * 3)[0].ravel()
    return np.sqrt(counts / counts.sum())


def texture_features(picture: np.ndarray) -> np.ndarray:
    """Energy of the grey picture by frequency and direction, and the directions of its edges."""
    grey, window = picture.mean(-1), np.hanning(64)
    dy, dx = np.gradient(grey)
    edges = np.histogram(np.arctan2(dy, dx) % np.pi, 8, (0, np.pi), weights=np.hypot(dx, dy))[0]
    power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * np.outer(window, window))))
    v, u = np.mgrid[-32:32, -32:32]
    sector = np.round((np.arctan2(v, u) % np.pi) / (np.pi / 4)).astype(int) % 4
    rings = ((5, 9), (9, 13), (13, 18), (18, 26))
    inside = [(np.hypot(u, v) >= low) & (np.hypot(u, v) < high) for low, high in rings]
    energy = [np.log(power[ring & (sector == k)].mean()) for ring in inside for k in range(4)]
    return np.concatenate([edges / edges.sum(), energy])


def shape_features(picture: np.ndarray) -> np.ndarray:
    """The silhouette, cropped, turned to one side and shrunk to 16 × 16, and how tall it is for its width."""
    mask = ink(picture)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shrunk = np.asarray(Image.fromarray((box * 255).astype(np.uint8)).resize((16, 16), Image.Resampling.BOX)) / 255
    turned = min(shrunk, shrunk[:, ::-1], key=lambda side: side[:6, :8].sum())  # the toe is the low side
    return np.append(turned.ravel(), 3 * box.shape[0] / box.shape[1])


@pytest.mark.parametrize(
    ("slot", "features", "least"),
    [("colour", colour_features, 0.95), ("material", texture_features, 0.8), ("type", shape_features, 0.95)],
)
def test_attributes_can_be_told_apart_at_64_pixels(
    rows: list[dict[str, Any]], small: np.ndarray, slot: str, features: Callable[[np.ndarray], np.ndarray], least: float
) -> None:
    x = np.stack([features(picture) for picture in small])
    y = np.array([row[slot] for row in rows])
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=30)).fit(x[:TRAIN], y[:TRAIN])
    found = model.predict(x[TRAIN:])
    for word in set(y):  # each word, not only the mean
        assert (found[y[TRAIN:] == word] == word).mean() > least - 0.2, word
    assert (found == y[TRAIN:]).mean() > least
    # What decides is the slot itself: with labels dealt out anew the same model is left with chance.
    dealt = np.random.default_rng(0).permutation(y[:TRAIN])
    blind = model.fit(x[:TRAIN], dealt).score(x[TRAIN:], y[TRAIN:])
    assert blind < 1 / len(set(y)) + 0.15


def test_one_slot_tells_nothing_about_another(rows: list[dict[str, Any]]) -> None:
    for one, other in (("type", "colour"), ("type", "material"), ("colour", "material")):
        found = Counter((row[one], row[other]) for row in rows)
        assert max(found.values()) - min(found.values()) <= 8  # of 15 to 38
        assert len(found) == len({pair[0] for pair in found}) * len({pair[1] for pair in found})


def test_materials_differ_in_fine_structure_only_where_they_should(small: np.ndarray, rows: list[Any]) -> None:
    """Leather is smooth: away from the outline it has far less fine structure than the other three."""
    fine: dict[str, list[float]] = {name: [] for name in MATERIALS}
    for picture, row in zip(small, rows, strict=True):
        if row["type"] in ("ankle boots", "mid-calf boots", "boot slippers"):
            grey = picture[24:44, 22:42].mean(-1)
            fine[row["material"]].append(float(np.abs(np.diff(grey, 2, axis=1)).mean()))
    median = {name: np.median(values) for name, values in fine.items()}
    assert all(median[name] > 1.5 * median["leather"] for name in MATERIALS if name != "leather"), median
