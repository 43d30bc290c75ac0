"""Plans of questions: which foods are meant, what is asked of them, and how it is said in English.

A plan has a *scope*, visible properties that narrow down which foods count, and one *asked* property, visible or of the
ontology. Whether foods are in scope can be seen; what is asked of them decides the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from helpers.tasks.kitchen import wording
from helpers.tasks.kitchen.logic import And, Is, Not, Query, Replaces
from helpers.tasks.kitchen.menus import Menu
from helpers.tasks.kitchen.ontology import KINDS
from helpers.tasks.kitchen.scenes import LAYOUTS
from helpers.tasks.kitchen.wording import Part

YES_NO = ("yes", "no")
KNOWN_SHARE = 0.6  # of the questions that could ask for either: those that need the ontology


@dataclass(frozen=True)
class Plan:
    """A question before there is a scene.

    Attributes:
        form: one of ``menus.FORMS``.
        layout: of the scene; "" for a question without a picture.
        scope, asked: see above.
        choices: the answers that it can have; () where they are foods of the scene.
    """

    form: str
    layout: str
    query: Query
    scope: And
    asked: Part
    text: str
    choices: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the ontology says what is asked."""
        return not wording.positive(self.asked).visible


def plan(form: str, depth: int, menu: Menu, rng: random.Random) -> Plan:
    """A random question of a form and depth; whether foods can be found for it is another matter."""
    return _MAKERS[form](menu, depth, rng)


def flipped(part: Part) -> Part:
    return part.of if isinstance(part, Not) else Not(part)


def _layout(menu: Menu, rng: random.Random, places: bool = False) -> str:
    """A layout; with ``places``, one with several."""
    return rng.choice([name for name in menu.layouts if not places or len(LAYOUTS[name]) > 1])


def _place(layout: str, rng: random.Random) -> Is:
    return Is("place", rng.choice(list(LAYOUTS[layout])))


def _look(menu: Menu, rng: random.Random) -> Is:
    """A colour, or sometimes that it is cut."""
    if menu.cut and rng.random() < 0.3:
        return Is("state", "cut")
    return Is("colour", rng.choice(menu.colours))


def _scope(menu: Menu, layout: str, size: int, rng: random.Random) -> list[Part]:
    """Visible properties: none, one, or a place with a look."""
    if size == 2:
        return [_place(layout, rng), _look(menu, rng)]
    if size == 1:
        several = len(LAYOUTS[layout]) > 1
        return [_place(layout, rng) if several and rng.random() < 0.6 else _look(menu, rng)]
    return []


def _asked(menu: Menu, scope: list[Part], rng: random.Random, known: float = KNOWN_SHARE) -> Is:
    """A property of the ontology, or a look that the scope does not name."""
    free = not {"colour", "state"} & {wording.positive(part).attribute for part in scope}
    if free and rng.random() > known:
        return _look(menu, rng)
    return rng.choice(menu.properties)


def _which(form: str, layout: str, scope: list[Part], asked: Part, text: str) -> Plan:
    return Plan(form, layout, Query("which", (And((*scope, asked)),)), And(tuple(scope)), asked, text)


def _either(asked: Is, rng: random.Random) -> Part:
    """A property or its opposite: a food that is often right would be chosen without reading."""
    return rng.choice((asked, Not(asked)))


def _selection(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng)
    asked: Part = _asked(menu, [], rng)
    if isinstance(asked, Is) and not asked.visible:
        asked = _either(asked, rng)
    seen = wording.positive(asked).visible
    text = f"Which food {wording.says(asked)}?" if seen else f"Which food in the picture {wording.says(asked)}?"
    return _which("selection", layout, [], asked, text)


def _conjunction(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, depth > 2)
    scope = _scope(menu, layout, depth - 1, rng)
    asked = _asked(menu, scope, rng)
    parts = [*scope, asked]
    return _which("conjunction", layout, scope, asked, f"Which {wording.noun(parts)} is {wording.somewhere(parts)}?")


def _negation(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, depth > 2)
    scope: list[Part] = [_place(layout, rng)] if depth > 2 else []
    scope.append(Not(_look(menu, rng)))
    asked = rng.choice([known for known in menu.properties if known.attribute in ("kind", "vegan")])
    where = f" {place}" if (place := wording.place_of(scope)) else ""
    neither = f"neither {wording.predicate(scope[-1])} nor {wording.predicate(asked)}"
    return _which("negation", layout, scope, Not(asked), f"Which food{where} is {neither}?")


def _exclusion(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, depth > 2)
    scope: list[Part] = [_place(layout, rng)] if depth > 2 else []
    asked = rng.choice(menu.properties)
    seen = _look(menu, rng) if depth > 2 or rng.random() < 0.5 or len(LAYOUTS[layout]) < 2 else _place(layout, rng)
    if rng.random() < 0.5:
        scope.append(seen)
        text = f"Which {wording.noun(scope, here=True)} {wording.says(Not(asked))}?"
        return _which("exclusion", layout, scope, Not(asked), text)
    text = f"Which {wording.noun([*scope, asked], here=True)} {wording.says(Not(seen))}?"
    return _which("exclusion", layout, [*scope, Not(seen)], asked, text)


def _counting(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, depth > 2)
    scope = _scope(menu, layout, depth - 1, rng)
    parts = [*scope, _asked(menu, scope, rng)]
    text = f"How many {wording.noun(parts, many=True)} are {wording.somewhere(parts)}?"
    query, choices = Query("count", (And(tuple(parts)),)), tuple(map(str, range(menu.row + 1)))
    return Plan("counting", layout, query, And(tuple(scope)), parts[-1], text, choices)


def _existential(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, depth > 2)
    scope = _scope(menu, layout, depth - 1, rng)
    parts = [*scope, _asked(menu, scope, rng)]
    text = f"Is there {wording.article(wording.noun(parts))} {wording.somewhere(parts)}?"
    return Plan(
        "existential", layout, Query("exists", (And(tuple(parts)),)), And(tuple(scope)), parts[-1], text, YES_NO
    )


def _all_are(thing: str, asked: Part) -> str:
    """The question whether all of some foods are something, and for gluten and nuts whether they are free of it."""
    if wording.positive(asked) == Is("vegan", "yes"):
        return f"Can a vegan eat {thing}?"
    if wording.positive(asked).attribute == "contains":
        return f"Is {thing} free of {wording.positive(asked).value}?"
    return f"Is {thing} {wording.predicate(asked)}?"


def _asked_of_all(menu: Menu, scope: list[Part], rng: random.Random) -> Part:
    while (asked := _asked(menu, scope, rng)).attribute in ("grows", "dish"):
        pass
    return Not(asked) if asked.attribute == "contains" else asked


def _universal(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, depth > 2)
    scope = _scope(menu, layout, depth - 1, rng)
    asked = _asked_of_all(menu, scope, rng)
    query = Query("every", (And(tuple(scope)), And((asked,))))
    text = _all_are(f"every {wording.noun(scope, here=True)}", asked)
    return Plan("universal", layout, query, And(tuple(scope)), asked, text, YES_NO)


def _comparison(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, places=True)
    asked = _asked(menu, [], rng)
    first, second = LAYOUTS[layout]
    query = Query("more", tuple(And((Is("place", place), asked)) for place in (first, second)))
    text = f"Are there more {wording.noun([asked], many=True)} on the {first} or on the {second}?"
    return Plan("comparison", layout, query, And(), asked, text, (first, second, "equally many"))


def _two_step(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, depth > 2)
    scope: list[Part] = [_place(layout, rng)] if depth > 2 else []
    gone = _look(menu, rng)
    scope.append(Not(gone))
    where = f" {place}" if (place := wording.place_of(scope)) else ""
    kind = rng.choice(("which", "count", "exists", "every"))
    begins = f"Everything {gone.value} is taken away."
    if kind == "every":
        asked: Part = _asked_of_all(menu, scope, rng)
        query, choices = Query("every", (And(tuple(scope)), And((asked,)))), YES_NO
        text = _all_are(f"everything that remains{where}", asked)
        return Plan("two-step", layout, query, And(tuple(scope)), asked, f"{begins} {text}", choices)
    asked = rng.choice(menu.properties)
    both = And((*scope, asked))
    if kind == "which":
        text = f"Which {wording.noun([asked])} remains{where}?"
        return _which("two-step", layout, scope, asked, f"{begins} {text}")
    if kind == "count":
        text = f"{begins} How many {wording.noun([asked], many=True)} remain{where}?"
        counts = tuple(map(str, range(menu.row + 1)))
        return Plan("two-step", layout, Query("count", (both,)), And(tuple(scope)), asked, text, counts)
    text = f"{begins} Does {wording.article(wording.noun([asked]))} remain{where}?"
    return Plan("two-step", layout, Query("exists", (both,)), And(tuple(scope)), asked, text, YES_NO)


def _relation(menu: Menu, depth: int, rng: random.Random) -> Plan:
    layout = _layout(menu, rng, depth > 2)
    scope: list[Part] = [_place(layout, rng)] if depth > 2 else []
    asked = rng.choice([known for known in menu.properties if known.attribute == "kind"])
    where = f" {place}" if (place := wording.place_of(scope)) else ""
    query = Query("which", (Replaces(And((*scope, asked))),))
    text = f"Which food in the picture can replace the {KINDS[asked.value]['one']}{where}?"
    return Plan("relation", layout, query, And(tuple(scope)), asked, text)


def _recall(menu: Menu, depth: int, rng: random.Random) -> Plan:
    if depth == 1:
        asked = _either(rng.choice(menu.recalled), rng)
        query = Query("which", (And((asked,)),))
        return Plan("recall", "", query, And(), asked, f"Which of these {wording.says(asked)}?")
    replaced = Is("food", rng.choice(list(menu.foods)))
    query = Query("which", (Replaces(And((replaced,))),))
    return Plan("recall", "", query, And(), replaced, f"Which of these can replace {replaced.value}?")


_MAKERS: dict[str, Callable[[Menu, int, random.Random], Plan]] = {
    "selection": _selection, "conjunction": _conjunction, "negation": _negation, "exclusion": _exclusion,
    "counting": _counting, "existential": _existential, "universal": _universal, "comparison": _comparison,
    "two-step": _two_step, "relation": _relation, "recall": _recall,
}  # fmt: skip
