"""Drawings: what is drawn is what the facts say, read back from the pixels."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import ndimage

from helpers.tasks.scienceqa.pictures import COLOURS, KINDS, Picture, draw, sample
from tools.tiny.pictures import describe


def near(image: np.ndarray, colour: tuple[int, int, int], within: int = 40) -> np.ndarray:
    return (np.abs(image.astype(int) - colour).max(-1) < within).astype(int)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_picture_other_seed_other_picture(kind: str) -> None:
    picture = sample(kind, random.Random(0))
    one, again, other = (np.asarray(draw(picture, seed)) for seed in (1, 1, 2))
    assert one.shape == (192, 192, 3)
    assert (one == again).all() and (one != other).any()
    assert np.asarray(draw(picture, 1, size=64)).shape == (64, 64, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_facts_spread_evenly_and_descriptions_tell_them_apart(kind: str) -> None:
    rng = random.Random(3)
    drawn = [sample(kind, rng) for _ in range(1200)]
    facts = {str(picture.facts): describe(picture) for picture in drawn}
    assert len(set(facts.values())) == len(facts)
    counts = [sum(str(p.facts) == f for p in drawn) for f in facts]
    if len(facts) <= 36:
        assert min(counts) > 0.3 * max(counts)


def test_particles_of_solutions_can_be_counted() -> None:
    rng = random.Random(0)
    for seed in range(20):
        picture = sample("solutions", rng)
        image = np.asarray(draw(picture, seed))
        spots = sum(near(image, COLOURS[c]) for c in ("red", "green", "purple")) > 0
        counts = [ndimage.label(half)[1] for half in np.split(spots, 2, axis=1)]
        assert counts == list(picture.facts["counts"])


def test_poles_heights_and_directions_stand_where_the_facts_say() -> None:
    for left in ("NS", "SN"):
        for right in ("NS", "SN"):
            row = np.asarray(draw(Picture("magnets", {"left": left, "right": right}), 5))[96]
            found = "".join(
                pole
                for x in range(192)
                for pole, colour in (("N", COLOURS["red"]), ("S", COLOURS["blue"]))
                if near(row[x : x + 1], colour, 8)[0] and not near(row[x - 1 : x], colour, 8)[0]
            )
            assert found == left + right
    bars = [["red", 2], ["blue", 6], ["green", 4]]
    image = np.asarray(draw(Picture("bars", {"bars": bars}), 7))
    heights = [near(image, COLOURS[colour]).any(1).sum() for colour, _ in bars]
    assert heights[0] < heights[2] < heights[1]
    for direction, (dx, dy) in {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}.items():
        image = np.asarray(draw(Picture("map", {"direction": direction}), 9))
        house = np.argwhere(near(image, COLOURS["yellow"])).mean(0)
        lake = np.argwhere(near(image, (90, 170, 240))).mean(0)
        assert np.sign(np.round((house - lake)[::-1] / 40)).tolist() == [dx, dy]


def test_wider_gaps_and_faster_particles_take_more_room() -> None:
    image = np.asarray(draw(Picture("magnet_pairs", {"gaps": (1, 4)}), 2))
    spans = []
    for half in np.split(image, 2, axis=0):
        columns = np.flatnonzero((near(half, COLOURS["red"]) | near(half, COLOURS["blue"])).any(0))
        spans.append(columns.max() - columns.min())
    assert spans[0] < spans[1] - 30
    image = np.asarray(draw(Picture("particles", {"speeds": (4, 2)}), 2))
    inked = [sum(near(half, COLOURS[c]).sum() for c in ("red", "green", "purple")) for half in np.split(image, 2, 1)]
    assert inked[0] > 1.3 * inked[1]
