"""The English of questions and proofs: a logical form's parts as nouns, predicates and lists of foods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from helpers.tasks.kitchen.logic import Is, Not
from helpers.tasks.kitchen.ontology import KINDS

Part = Is | Not
VERBS = {"contains": ("contains", "contain", ""), "grows": ("grows", "grow", ""), "dish": ("goes", "go", "into ")}
GROW = {"tree": "on a tree", "bush": "on a bush", "vine": "on a vine", "ground": "in the ground"}


def article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def positive(part: Part) -> Is:
    return part.of if isinstance(part, Not) else part


def place_of(parts: Sequence[Part]) -> str:
    """Where, in the picture: "on the left plate"; "" where no part asks for a place, or asks for another."""
    return next((f"on the {part.value}" for part in parts if isinstance(part, Is) and part.attribute == "place"), "")


def somewhere(parts: Sequence[Part]) -> str:
    return place_of(parts) or "in the picture"


def noun(parts: Sequence[Part], many: bool = False, here: bool = False) -> str:
    """Foods that fit all parts, as a noun: "red fruit with nuts", "foods that are not cut".

    Args:
        here: with the place, where there is one: "fruit on the board that is not cut".
    """
    front, head, back, clauses = [], "foods" if many else "food", [], []
    for part in parts:
        atom = positive(part)
        if isinstance(part, Is) and atom.attribute == "place":
            continue
        if atom.attribute == "contains":
            back.append(f"{'without' if isinstance(part, Not) else 'with'} {atom.value}")
        elif isinstance(part, Not) or atom.attribute in ("grows", "dish"):
            clauses.append(says(part, many))
        elif atom.attribute == "kind":
            head = KINDS[atom.value]["many" if many else "one"]
        else:
            front.append("vegan" if atom.attribute == "vegan" else atom.value)
    where = [place_of(parts)] if here and place_of(parts) else []
    return " ".join([*front, head, *where, *back, *(["that", " and ".join(clauses)] if clauses else [])])


def predicate(part: Part, many: bool = False) -> str:
    """What stands behind "is" or "are", or between "neither" and "nor": "red", "a fruit", "on the left plate"."""
    atom = positive(part)
    if atom.attribute == "kind":
        return KINDS[atom.value]["many"] if many else article(KINDS[atom.value]["one"])
    if atom.attribute == "place":
        return f"on the {atom.value}"
    return "vegan" if atom.attribute == "vegan" else atom.value


def says(part: Part, many: bool = False) -> str:
    """A part with its verb: "is red", "does not contain gluten", "grow on a tree"."""
    atom, no = positive(part), isinstance(part, Not)
    verbs = {
        "contains": ("contain", atom.value),
        "grows": ("grow", GROW.get(atom.value, "")),
        "dish": ("go into", atom.value),
    }
    if atom.attribute in verbs:
        verb, rest = verbs[atom.attribute]
        if no:
            return f"{'do' if many else 'does'} not {verb} {rest}"
        first, *more = verb.split()
        ending = "" if many else "es" if first.endswith("o") else "s"
        return " ".join([f"{first}{ending}", *more, rest])
    return f"{'are' if many else 'is'} {'not ' if no else ''}{predicate(part, many)}"


def listed(names: Sequence[str]) -> str:
    """Names in their order, each once: "apple", "apple, egg (2)"; "none" where there are none."""
    return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in Counter(names).items()) or "none"


def capital(text: str) -> str:
    return text[0].upper() + text[1:]
