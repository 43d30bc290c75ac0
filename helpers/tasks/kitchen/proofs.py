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


def knowledge(plan: Plan, foods: Sequence[str]) -> str:
    """What has to be known: which of all ``foods`` have what is asked, or can replace what, as lists.

    It does not depend on the scene, which it would tell about. "" where the picture is enough.
    """
    if not logic.needs_ontology(plan.query):
        return ""
    atom = positive(plan.asked)
    held = [] if atom.visible else [name for name in foods if ontology.has(name, atom.attribute, atom.value)]
    lines = [] if atom.visible else [(_plural(atom), held)]
    if isinstance(plan.query.concepts[0], Replaces):
        able = {one: [name for name in foods if ontology.can_replace(name, one)] for one in held or [atom.value]}
        lines += [(f"can replace {one}", names) for one, names in able.items() if names]
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
