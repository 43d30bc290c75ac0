"""What questions are about: the foods that are drawn, in which colours and where, and the properties asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from helpers.tasks.kitchen.drawings import DRAWN
from helpers.tasks.kitchen.logic import Is
from helpers.tasks.kitchen.ontology import FOODS

# Form of question → the depths it comes in; ``plans`` says what each is.
FORMS: Mapping[str, tuple[int, ...]] = {
    "selection": (1,),
    "conjunction": (2, 3),
    "negation": (2, 3),
    "exclusion": (2, 3),
    "counting": (1, 2, 3),
    "existential": (1, 2, 3),
    "universal": (2, 3),
    "comparison": (3,),
    "two-step": (2, 3),
    "relation": (2, 3),
    "recall": (1, 2),
}


@dataclass(frozen=True, eq=False)
class Menu:
    """The world of a generator.

    Attributes:
        foods: food → the colours it comes in.
        layouts: how foods can lie, see ``scenes.LAYOUTS``.
        row: foods at one place at most; also the highest number that is counted to.
        sizes: how many foods a scene has, at least and at most.
        cut: whether foods may be cut.
        properties: what is asked that an ontology is needed for.
        forms: form of question → the depths it comes in.
    """

    name: str
    foods: Mapping[str, tuple[str, ...]]
    layouts: tuple[str, ...]
    row: int
    sizes: tuple[int, int]
    cut: bool
    properties: tuple[Is, ...]
    forms: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: FORMS)

    @property
    def colours(self) -> list[str]:
        """Colours that at least two foods come in: one alone would be another name of a food."""
        shown = [colour for colours in self.foods.values() for colour in colours]
        return sorted({colour for colour in shown if shown.count(colour) > 1})

    @property
    def recalled(self) -> list[Is]:
        """What is asked of foods without a picture: also kinds of which there is only one food."""
        kinds = sorted({FOODS[name].kind for name in self.foods})
        return list(dict.fromkeys([*self.properties, *(Is("kind", kind) for kind in kinds)]))


FULL = Menu(
    "full",
    {name: tuple(about["colours"]) for name, about in DRAWN.items()},
    ("plates", "shelves", "board"),
    row=3,
    sizes=(4, 6),
    cut=True,
    properties=(
        *(Is("kind", kind) for kind in ("fruit", "vegetable", "grain", "dairy", "meat")),
        Is("vegan", "yes"),
        Is("contains", "gluten"),
        Is("grows", "tree"),
        Is("grows", "ground"),
        Is("dish", "a fruit salad"),
    ),
)
# What a very small model can learn to see: fewer foods, four at a time, none of them cut.
SMALL = Menu(
    "small",
    {
        "apple": ("red", "green"),
        "cherries": ("red", "yellow"),
        "grapes": ("purple", "green"),
        "banana": ("yellow", "green"),
        "pepper": ("red", "green", "yellow"),
        "onion": ("purple", "brown"),
        "broccoli": ("green",),
        "bread": ("brown",),
        "steak": ("red",),
        "cheese": ("yellow",),
        "milk": ("white",),
        "butter": ("yellow",),
        "soya milk": ("white",),
        "margarine": ("yellow",),
    },
    ("plates", "shelves"),
    row=2,
    sizes=(4, 4),
    cut=False,
    properties=(Is("kind", "fruit"), Is("kind", "vegetable"), Is("kind", "dairy"), Is("vegan", "yes")),
)
MENUS = {menu.name: menu for menu in (FULL, SMALL)}
