"""The generator's little world: ingredients with a role, dishes with their signature ingredients.

A dish line reads ``main: signature, signature, one/or other``; its title is ``main`` + the category's noun.
Of ``a/b``, with the same role in that dish, each recipe has one: what the ``substitute`` form is mined from.
"""

from __future__ import annotations

from dataclasses import dataclass

# role: (amount pattern, ingredients). {n} is a small count, {g} grams, {c} cups, {t} spoons.
ROLES: dict[str, tuple[str, str]] = {
    "count": (
        "{n} {x}",
        "leek potato tomato carrot beet apple orange cucumber mushroom eggplant banana pear plum "
        "peach mango fig pickle date",
    ),
    "mass": (
        "{g} g {x}",
        "pumpkin zucchini celery cabbage fennel spinach corn broccoli cauliflower okra kale strawberry "
        "cherry pineapple grape lettuce asparagus raisin olive",
    ),
    "protein": ("{g} g {x}", "chicken fish salmon tuna shrimp beef lamb pork ham bacon tofu turkey crab"),
    "dry": ("{g} g {x}", "lentils beans peas chickpeas rice barley noodles pasta oats bread"),
    "powder": ("{g} g {x}", "flour sugar cocoa chocolate"),
    "liquid": ("{c} {x}", "stock wine coffee"),
    "dairy": ("{c} {x}", "cream milk yogurt ricotta coconut"),
    "cheese": ("{g} g {x}", "cheese feta mozzarella"),
    "fat": ("{t} tbsp {x}", "butter oil"),
    "sour": ("{t} tbsp {x}", "vinegar lemon lime mustard honey mayonnaise"),
    "spice": (
        "{t} tsp {x}",
        "salt pepper cumin nutmeg ginger chili cinnamon turmeric saffron clove vanilla poppy sesame caper paprika",
    ),
    "herb": ("1 handful {x}", "basil thyme mint dill sage parsley coriander rosemary"),
    "nut": ("{g} g {x}", "walnut almond peanut hazelnut"),
    "aromatic": ("{n} {x}", "onion garlic shallot"),
    "egg": ("{n} {x}", "egg"),
}
ROLE_OF = {name: role for role, (_, names) in ROLES.items() for name in names.split()}


@dataclass(frozen=True)
class Stage:
    """One step: the roles it handles and its wordings; ``empty`` is used when no ingredient has the role."""

    roles: tuple[str, ...]
    wordings: tuple[str, ...]
    empty: tuple[str, ...] = ()


@dataclass(frozen=True)
class Course:
    """A category: title noun, what every dish has, pantry extras, stages in order, dishes."""

    noun: str
    base: tuple[str, ...]
    pantry: tuple[str, ...]
    stages: tuple[Stage, ...]
    dishes: tuple[str, ...]


_CHOP = ("Chop {x}.", "Cut {x} into small pieces.", "Wash and slice {x}.", "Peel and chop {x}.")
_SOLID = ("count", "mass", "protein")

MENU: dict[str, Course] = {
    "soup": Course(
        "soup",
        (),
        ("onion", "garlic", "salt", "pepper", "butter", "stock", "parsley"),
        (
            Stage(_SOLID, _CHOP),
            Stage(
                ("fat", "aromatic", "egg"),
                ("Cook {x} in a large pot until soft.", "Fry {x} for {m} minutes."),
            ),
            Stage(
                ("dry", "liquid", "powder"),
                ("Add {x} and simmer for {m} minutes.", "Pour in {x} with water and boil for {m} minutes."),
                ("Add water and simmer for {m} minutes.", "Cover with water and boil for {m} minutes."),
            ),
            Stage(
                ("dairy", "sour", "spice", "herb", "nut", "cheese"),
                (
                    "Stir in {x} and serve hot.",
                    "Finish with {x} and serve in bowls.",
                    "Add {x}, mix and serve.",
                ),
                ("Serve hot.",),
            ),
        ),
        (
            "leek: potato, cream/milk, nutmeg",
            "tomato: basil, bread, cream/milk",
            "lentils: cumin, carrot, lemon/lime",
            "pumpkin: ginger, orange, coconut",
            "mushroom: thyme, barley, cream/milk",
            "peas: mint, lettuce, ham/bacon",
            "beans: celery, sage, bacon/ham",
            "corn: chili, lime/lemon, crab",
            "shallot: wine, mozzarella/cheese, thyme",
            "carrot: coriander/parsley, honey, apple",
            "fish: fennel, saffron, wine",
            "chicken: noodles/rice, celery, dill",
            "beet: cabbage, yogurt/cream, dill",
            "cauliflower: nutmeg, almond, cheese/mozzarella",
            "spinach: lentils, yogurt, turmeric",
        ),
    ),
    "salad": Course(
        "salad",
        (),
        ("oil", "salt", "pepper", "vinegar", "onion", "lettuce", "parsley"),
        (
            Stage((*_SOLID, "aromatic"), ("Slice {x}.", *_CHOP)),
            Stage(("dry", "egg", "liquid"), ("Boil {x} for {m} minutes and let cool.", "Cook {x} until soft.")),
            Stage(
                ("fat", "sour", "spice", "dairy", "powder"),
                ("Whisk {x} in a small bowl.", "Mix {x} for the dressing.", "Shake {x} in a jar."),
            ),
            Stage(
                ("herb", "nut", "cheese"),
                ("Toss well with {x} and serve cold.", "Scatter {x} on top and serve."),
                ("Toss well and serve cold.", "Mix all in a large bowl and serve."),
            ),
        ),
        (
            "potato: egg, mustard, pickle",
            "beet: walnut/hazelnut, apple, feta/cheese",
            "apple: celery, walnut/hazelnut, raisin",
            "tuna: egg, olive, caper",
            "tomato: mozzarella/feta, basil, olive",
            "cucumber: dill/mint, yogurt, sesame",
            "carrot: raisin, orange, almond",
            "lentils: feta/cheese, mint, lemon",
            "chicken: grape, almond, mayonnaise/yogurt",
            "cabbage: carrot, sesame, ginger",
            "rice: peas/corn, tuna, mayonnaise",
            "spinach: strawberry, feta, almond/walnut",
            "orange: fennel, olive, mint",
            "beans: corn/peas, lime, coriander",
            "shrimp: mango, chili, lime/lemon",
        ),
    ),
    "pasta": Course(
        "pasta",
        ("pasta",),
        ("garlic", "oil", "salt", "pepper", "onion", "cheese", "butter"),
        (
            Stage(("dry",), ("Boil {x} for {m} minutes.", "Cook {x} in hot water until soft.")),
            Stage(_SOLID, _CHOP),
            Stage(
                ("fat", "aromatic", "egg"),
                ("Fry {x} in a pan for {m} minutes.", "Cook {x} in a large pan until soft."),
            ),
            Stage(
                ("liquid", "dairy", "sour", "spice", "powder"),
                ("Stir in {x} and cook for {m} minutes.", "Add {x} to the pan and heat."),
            ),
            Stage(
                ("herb", "nut", "cheese"),
                ("Top with {x} and serve.", "Mix all with {x} and serve hot."),
                ("Mix all and serve hot.",),
            ),
        ),
        (
            "spinach: ricotta/cream, nutmeg, walnut",
            "tomato: basil, olive, caper",
            "mushroom: cream/milk, thyme, wine",
            "tuna: lemon, caper, chili",
            "salmon: dill, cream/milk, lemon",
            "bacon: egg, peas, cream",
            "pumpkin: sage/rosemary, walnut, ricotta",
            "broccoli: almond, chili, lemon",
            "shrimp: wine, chili, coriander/parsley",
            "eggplant: tomato, ricotta, basil/mint",
            "beef: carrot, wine/stock, rosemary",
            "zucchini: mint/basil, feta, lemon",
            "chicken: mushroom, paprika, cream/milk",
            "asparagus: ham/bacon, egg, lemon",
            "fennel: pork, wine, chili",
        ),
    ),
    "curry": Course(
        "curry",
        (),
        ("onion", "garlic", "oil", "salt", "ginger", "rice", "chili"),
        (
            Stage(_SOLID, _CHOP),
            Stage(
                ("fat", "aromatic", "spice"),
                ("Fry {x} in a deep pan for {m} minutes.", "Heat {x} in a large pan."),
            ),
            Stage(
                ("dry", "liquid", "dairy", "powder", "egg"),
                ("Add {x} and simmer for {m} minutes.", "Stir in {x} and cook for {m} minutes."),
                ("Add water and simmer for {m} minutes.",),
            ),
            Stage(
                ("sour", "herb", "nut", "cheese"),
                ("Finish with {x} and serve hot.", "Scatter {x} on top and serve."),
                ("Serve hot in bowls.",),
            ),
        ),
        (
            "chicken: yogurt/coconut, almond, cinnamon",
            "chickpeas: tomato, spinach/kale, cumin",
            "fish: coconut, lime/lemon, mango",
            "lentils: turmeric, tomato, coriander/parsley",
            "potato: peas/beans, cumin, turmeric",
            "pumpkin: peanut, lime, coconut",
            "shrimp: pineapple, coconut, coriander",
            "egg: tomato, cumin, peas/chickpeas",
            "beef: potato, cinnamon, clove",
            "lamb: yogurt/cream, mint, clove",
            "eggplant: tomato, sesame, peanut/almond",
            "spinach: tofu/cheese, cream, cumin",
            "cauliflower: potato, turmeric, peas/chickpeas",
            "tofu: broccoli, peanut/almond, lime",
            "okra: tomato, coriander, lemon/lime",
        ),
    ),
    "cake": Course(
        "cake",
        ("flour",),
        ("sugar", "egg", "butter", "milk", "salt", "vanilla", "oil"),
        (
            Stage(
                ("egg", "fat", "dairy", "liquid", "powder"),
                ("Mix {x} in a large bowl.", "Beat {x} until smooth.", "Whisk {x} for {m} minutes."),
            ),
            Stage((*_SOLID, "nut", "dry"), ("Chop {x} and add.", "Cut {x} small and mix in.", "Fold in {x}.")),
            Stage(
                ("sour", "spice", "herb", "cheese", "aromatic"),
                ("Stir in {x}.", "Add {x} and mix well.", "Season with {x}."),
            ),
            Stage((), (), ("Bake for {h} minutes.", "Bake in a hot oven for {h} minutes.")),
            Stage((), (), ("Let cool and serve.", "Cool, slice and serve.")),
        ),
        (
            "apple: cinnamon, walnut/hazelnut, raisin",
            "carrot: walnut/almond, nutmeg, orange",
            "lemon: poppy, yogurt/ricotta, almond",
            "chocolate: coffee, cherry, cream",
            "banana: honey, walnut/hazelnut, oats",
            "orange: almond, saffron, honey",
            "honey: clove, hazelnut/almond, cream",
            "plum: cinnamon, hazelnut/walnut, oats",
            "pear: ginger, chocolate/cocoa, almond",
            "coconut: lime/lemon, mango, pineapple",
            "pumpkin: clove, cinnamon/nutmeg, date",
            "cherry: cocoa/chocolate, almond, yogurt",
            "strawberry: cream/ricotta, mint, lemon",
            "fig: rosemary, honey, ricotta/yogurt",
            "peach: thyme, peanut, yogurt/milk",
        ),
    ),
    "omelette": Course(
        "omelette",
        ("egg",),
        ("butter", "salt", "pepper", "onion", "milk", "parsley", "oil"),
        (
            Stage((*_SOLID, "dry"), _CHOP),
            Stage(
                ("egg", "dairy", "spice", "powder", "liquid"),
                ("Beat {x} in a bowl.", "Whisk {x} until smooth.", "Mix {x} well."),
            ),
            Stage(
                ("fat", "aromatic"),
                ("Heat {x} in a pan.", "Fry {x} for {m} minutes."),
                ("Heat a pan.", "Heat a small pan and pour in all."),
            ),
            Stage(
                ("herb", "cheese", "nut", "sour"),
                ("Scatter {x} on top, cook and serve.", "Cook for {m} minutes, top with {x} and serve."),
                ("Cook for {m} minutes and serve.", "Cook until set, fold and serve hot."),
            ),
        ),
        (
            "mushroom: thyme, cheese/mozzarella, shallot",
            "spinach: feta/cheese, nutmeg, garlic",
            "tomato: basil/parsley, mozzarella, olive",
            "ham: cheese/feta, mustard, peas",
            "salmon: dill, cream/yogurt, lemon",
            "potato: shallot, paprika, bacon/ham",
            "zucchini: mint, feta/mozzarella, lemon",
            "crab: ginger, chili, coriander",
            "corn: chili, coriander/parsley, lime",
            "asparagus: ricotta/cream, lemon, ham",
            "leek: nutmeg, cheese/feta, cream",
            "shrimp: peas, sesame, ginger/garlic",
            "broccoli: cheese/ricotta, garlic, almond",
            "kale: sage, bacon, ricotta",
            "pumpkin: sage/rosemary, feta, walnut",
        ),
    ),
}
