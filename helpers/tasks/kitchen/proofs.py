"""Written proofs: what is to be seen, then which foods have what is asked; and the facts on which that rests."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.tasks.kitchen import logic, ontology
from helpers.tasks.kitchen.logic import And, Is, Replaces
from helpers.tasks.kitchen.plans import Plan, flipped
from helpers.tasks.kitchen.scenes import Item, Scene, describe
from helpers.tasks.kitchen.wording import Part, capital, listed, noun, positive


def proof(plan: Plan, scene: Scene | None, answer: str) -> str:
    """The scene in words (``scenes.describe``), then the foods on which the answer rests; without a scene these alone.

    "Left plate: red cherries, yellow cheese; right plate: green pepper, 2 brown bread. Fruits on the left plate:
    cherries." Where all foods of some kind have to be something, the exceptions are named.
    """
    if scene is None:
        related = isinstance(plan.query.concepts[0], Replaces)
        return _line(f"can replace {positive(plan.asked).value}" if related else _plural(plan.asked), [answer])
    return f"{capital(describe(scene.items))}. {_reasons(plan, scene)}"


def knowledge(plan: Plan, scene: Scene | None, choices: Sequence[str]) -> str:
    """What has to be known of the foods in the scene and the choices: which of them have what is asked, as lists.

    "" where the picture is enough.
    """
    if not logic.needs_ontology(plan.query):
        return ""
    names = dict.fromkeys([*(item.food for item in scene.items)] if scene else [])
    names |= dict.fromkeys(choice for choice in choices if choice in ontology.FOODS)
    atom = positive(plan.asked)
    lines = [] if atom.visible else [(_plural(atom), [n for n in names if ontology.has(n, atom.attribute, atom.value)])]
    if isinstance(plan.query.concepts[0], Replaces):
        targets = lines[0][1] if lines else [atom.value]
        lines += [(f"can replace {one}", [n for n in names if ontology.can_replace(n, one)]) for one in targets]
    return " ".join(_line(*line) for line in lines)


def _reasons(plan: Plan, scene: Scene) -> str:
    if isinstance(plan.query.concepts[0], Replaces):
        parts = (*plan.scope.parts, plan.asked)
        (target,) = _with(scene, parts)
        able = [item.food for item in scene.items if ontology.can_replace(item.food, target)]
        return f"{_line(noun(parts, here=True), [target])} {_line(f'can replace {target}', able)}"
    if plan.query.kind == "more":
        places: list[tuple[Part, ...]] = [(Is("place", place), plan.asked) for place in plan.choices[:2]]
        return " ".join(_line(_plural(*parts), _with(scene, parts)) for parts in places)
    asked = flipped(plan.asked) if plan.query.kind == "every" else plan.asked
    parts = (*plan.scope.parts, asked)
    return _line(_plural(*parts), _with(scene, parts))


def _plural(*parts: Part) -> str:
    return noun(parts, many=True, here=True)


def _line(what: str, names: Sequence[str]) -> str:
    return f"{capital(what)}: {listed(names)}."


def _with(scene: Scene, parts: Sequence[Part]) -> list[str]:
    items: tuple[Item, ...] = scene.items
    return [item.food for item, fit in zip(items, logic.fits(And(tuple(parts)), items), strict=True) if fit]
