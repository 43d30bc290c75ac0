"""Scenes: said in words and read back; drawn where they say, in the colours they say, cut where they say."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from helpers.errors import DataError
from helpers.tasks.kitchen.drawings import COLOURS, DRAWN, draw
from helpers.tasks.kitchen.scenes import (
    LAYOUTS,
    Item,
    Scene,
    arranged,
    describe,
    from_rows,
    layout_of,
    read_description,
)


def random_items(rng: random.Random, layout: str) -> list[Item]:
    items = []
    for place, spots in LAYOUTS[layout].items():
        for _ in range(rng.randint(0, max(spots))):
            food = rng.choice(list(DRAWN))
            state = rng.choice(("whole", "cut")) if DRAWN[food].get("cut") else "whole"
            items.append(Item(food, rng.choice(DRAWN[food]["colours"]), place, state))
    return items


def alone(food: str, colour: str, state: str = "whole", seed: int = 0) -> np.ndarray:
    scene = arranged("board", [Item(food, colour, "board", state)])
    return np.asarray(draw(scene, seed)).astype(int)


def near(image: np.ndarray, colour: tuple[int, ...], within: int = 45) -> np.ndarray:
    return np.abs(image - np.array(colour)).max(-1) < within


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_scene_in_words_is_read_back(layout: str) -> None:
    rng = random.Random(layout)
    for _ in range(300):
        items = random_items(rng, layout)
        said = describe(items)
        found, strange = read_description(said)
        assert not strange and describe(found) == said
        key = lambda item: (item.place, item.food, item.colour, item.state)  # noqa: E731
        assert sorted(map(key, found)) == sorted(map(key, items))


def test_what_a_model_writes_is_read_as_far_as_it_makes_sense() -> None:
    items, strange = read_description(
        "Left plate: Red apple, 2 cut green pepper, blue fog; right plate: milk; roof: cat."
    )
    assert [(i.food, i.colour, i.state, i.place) for i in items] == [
        ("apple", "red", "whole", "left plate"),
        ("pepper", "green", "cut", "left plate"),
        ("pepper", "green", "cut", "left plate"),
        ("milk", "", "whole", "right plate"),
    ]
    assert strange == ["blue fog", "roof: cat"]
    assert read_description("nothing") == ([], []) and describe([]) == "nothing"


def test_attributes_of_rows_are_checked() -> None:
    item = Item("apple", "red", "left plate", "cut", 0.2, 0.3)
    assert item.as_row() == {
        "food": "apple", "colour": "red", "place": "left plate", "state": "cut", "x": 0.2, "y": 0.3, "shape": "round",
    }  # fmt: skip
    assert from_rows([item.as_row()]) == [item]
    for change, said in (
        ({"food": "durian"}, "no food 'durian'"),
        ({"colour": "pink"}, "no colour 'pink'"),
        ({"place": "left plat"}, "no place 'left plat'.*left plate"),
        ({"state": "mashed"}, "no state 'mashed'"),
    ):
        with pytest.raises(DataError, match=said):
            from_rows([item.as_row() | change])
    with pytest.raises(DataError, match="no layout has the places"):
        layout_of([item, Item("apple", "red", "board")])


def test_foods_of_a_place_share_its_room_without_touching() -> None:
    for layout, places in LAYOUTS.items():
        for place, spots in places.items():
            for n in spots:
                scene = arranged(layout, [Item("apple", "red", place)] * n)
                centres = [(item.x, item.y) for item in scene.items]
                gaps = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in pairwise(sorted(centres))]
                assert len(centres) == n and all(gap > 0.2 for gap in gaps)
                assert all(0.1 < value < 0.9 for centre in centres for value in centre)


def test_same_seed_same_picture_other_seed_other_picture() -> None:
    scene = arranged("plates", random_items(random.Random(1), "plates"))
    one, again, other = (np.asarray(draw(scene, seed)) for seed in (1, 1, 2))
    assert one.shape == (192, 192, 3) and (one == again).all() and (one != other).any()
    assert draw(scene, 1, size=64).size == (64, 64)


@pytest.mark.parametrize("food", DRAWN)
def test_a_food_has_its_colour_and_no_two_look_alike(food: str) -> None:
    for colour in DRAWN[food]["colours"]:
        body = near(alone(food, colour), COLOURS[colour])
        assert body.sum() > 250, "enough of it to be seen"
    mine = alone(food, DRAWN[food]["colours"][0])
    for other, about in DRAWN.items():
        if other != food and DRAWN[food]["colours"][0] in about["colours"]:
            theirs = alone(other, DRAWN[food]["colours"][0])
            assert (np.abs(mine - theirs).max(-1) > 60).sum() > 400, other


@pytest.mark.parametrize("food", [name for name, about in DRAWN.items() if about.get("cut")])
def test_a_food_that_is_cut_lies_in_two_parts(food: str) -> None:
    """The board shows between the halves, all the way down."""
    colour = DRAWN[food]["colours"][0]
    board = np.array((226, 200, 160))
    image = alone(food, colour, "cut")[40:150, 40:150]
    parts, count = ndimage.label(np.abs(image - board).max(-1) > 12)
    sizes = sorted(np.bincount(parts.ravel())[1:])[::-1]
    assert count >= 2 and sizes[1] > 0.2 * sizes[0]


def test_things_stand_where_the_scene_says() -> None:
    for layout, places in LAYOUTS.items():
        for place in places:
            scene = arranged(layout, [Item("strawberry", "red", place)])
            rows, columns = np.nonzero(near(np.asarray(draw(scene, 3)).astype(int), COLOURS["red"]))
            assert abs(columns.mean() / 192 - scene.items[0].x) < 0.03
            assert abs(rows.mean() / 192 - scene.items[0].y) < 0.05
            side = place.split()[0]
            where = {"left": columns.mean() < 90, "right": columns.mean() > 100}
            where |= {"top": rows.mean() < 90, "bottom": rows.mean() > 100, "board": True}
            assert where[side]


def test_an_empty_scene_is_furniture_alone() -> None:
    for layout in LAYOUTS:
        assert draw(Scene(layout, ()), 0).size == (192, 192)
