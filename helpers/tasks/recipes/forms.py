"""The ways to ask about a recipe: steps, ingredients, missing, substitute, match."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from functools import cache

from helpers.tasks.base import Row
from helpers.tasks.choices import Question, balanced_choices, merge_small
from helpers.tasks.reading import example
from helpers.tasks.recipes.text import ingredient_name, name_words

# Found in nearly every kitchen, so they say nothing about the dish: never asked for, never offered.
PANTRY = frozenset(
    ["salt", "pepper", "black pepper", "salt and pepper", "water", "oil", "vegetable oil", "cooking oil", "seasoning"]
)
TEXT_PROMPTS = {
    "steps": "Write the cooking steps for this recipe.\n\n{title}\n\nIngredients:\n{ingredients}",
    "ingredients": "List the ingredients of this recipe.\n\n{title}\n\nSteps:\n{steps}",
}
MISSING_QUESTION = "Which ingredient belongs in this recipe too?"
MATCH_QUESTION = "Which dish is made of these ingredients?"
COMMON = 0.25  # a word in more of the titles than this tells no dish from another


def text_examples(rows: Sequence[Row], form: str) -> list[Row]:
    """``steps``: title and ingredients → numbered instructions. ``ingredients``: title and instructions → a list."""
    made = []
    for row in rows:
        parts = {
            "ingredients": "\n".join(f"- {line}" for line in row["ingredients"]),
            "steps": "\n".join(f"{number}. {line}" for number, line in enumerate(row["steps"], 1)),
        }
        made.append(example(row, form, TEXT_PROMPTS[form].format(title=row["title"], **parts), parts[form]))
    return made


def names_of(row: Row) -> list[str]:
    """The distinct bare ingredient names of a recipe, in order."""
    return list(dict.fromkeys(name for name in map(ingredient_name, row["ingredients"]) if name))


def _askable(name: str) -> bool:
    return (
        name not in PANTRY
        and len(name) <= 30
        and len(name.split()) <= 3
        and bool(name_words(name))
        and not re.search(r"[^\w\s'\-]|\d", name)
    )


class _Facts:
    """What is needed to say that an ingredient is certainly not part of a recipe, and what is asked about it."""

    prompt = ""
    barred: Set[str] = frozenset()  # right answers too, so never offered as wrong ones

    def __init__(self, row: Row) -> None:
        self.names = names_of(row)
        self.title = name_words(row["title"])
        self.parts = [name_words(name) for name in self.names]
        self.text = name_words(" ".join((*row["ingredients"], *row["steps"])))

    def certainly_wrong(self, words: frozenset[str]) -> bool:
        """Neither listed in any form ("olive oil" against "oil") nor mentioned in the steps or title."""
        if not words or words & self.title or words <= self.text:
            return False
        return not any(part and (part <= words or words <= part) for part in self.parts)

    def candidates(self) -> list[str]:
        """Ingredients that can be asked for: not named in the title or inside another ingredient's name."""
        found = []
        for index, (name, words) in enumerate(zip(self.names, self.parts, strict=True)):
            others = self.parts[:index] + self.parts[index + 1 :]
            if _askable(name) and not any(words & part for part in (self.title, *others)):
                found.append(name)
        return found


def _choice_examples(
    rows: Sequence[Row], form: str, questions: Sequence[Question], facts: Mapping[int, _Facts], rng: random.Random
) -> list[Row]:
    words = {question.answer: name_words(question.answer) for question in questions}

    @cache
    def fits(row: int, text: str) -> bool:
        return text not in facts[row].barred and facts[row].certainly_wrong(words[text])

    return [
        example(rows[c.row], form, facts[c.row].prompt, c.options[c.answer], c.options, c.answer)
        for c in balanced_choices(questions, fits, rng)
    ]


def _common_names(rows: Sequence[Row], groups: Sequence[str]) -> dict[str, set[str]]:
    """Per group, the names that stand in at least 15 % of its recipes (and in at least four)."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row, group in zip(rows, groups, strict=True):
        counts[group].update(names_of(row))
    least = {group: max(4, 0.15 * size) for group, size in Counter(groups).items()}
    return {group: {name for name, n in names.items() if n >= least[group]} for group, names in counts.items()}


def missing_examples(rows: Sequence[Row], seed: int) -> list[Row]:
    """Title and the other ingredients → which of four ingredients belongs too.

    Options are bare names. What more than 15 % of the recipes of its category have ("onion" in soups) is
    asked for only where nothing more telling is left. The three wrong ones are the right answers of other
    recipes of the same category (small categories are asked together), are not in this recipe under any
    name, and share no word with its title, as the right one does not either. Recipes with no askable
    ingredient are left out.
    """
    rng = random.Random(f"missing-{seed}")
    groups = merge_small([row["category"] for row in rows])
    common = _common_names(rows, groups)
    questions, facts = [], {}
    for index, row in enumerate(rows):
        fact = _Facts(row)
        candidates = fact.candidates()
        if len(fact.names) < 3 or not candidates:
            continue
        telling = [name for name in candidates if name not in common[groups[index]]]
        answer = rng.choice(telling or candidates)
        others = [name for name in fact.names if name != answer]
        facts[index] = fact
        questions.append(Question(index, groups[index], answer))
        fact.prompt = f"{MISSING_QUESTION}\n\n{row['title']}\n\nIngredients: {', '.join(others)}"
    return _choice_examples(rows, "missing", questions, facts, rng)


def substitute_examples(rows: Sequence[Row], swaps: Mapping[str, set[str]], seed: int) -> list[Row]:
    """Title, ingredients and one of them → which of four can replace it.

    Args:
        swaps: what can replace what, from ``swaps.mine_swaps`` on the whole source.

    The right option is a documented replacement not in the recipe; the wrong ones are right answers of other
    recipes of the same category that are no documented replacement of the ingredient. Recipes none of whose
    ingredients has a documented replacement are left out.
    """
    rng = random.Random(f"substitute-{seed}")
    groups = merge_small([row["category"] for row in rows])
    questions, facts = [], {}
    for index, row in enumerate(rows):
        fact = _Facts(row)
        pairs = [
            (name, other)
            for name in fact.names
            for other in sorted(swaps.get(name, ()))
            if _askable(name) and _askable(other) and fact.certainly_wrong(name_words(other))
        ]
        if not pairs:
            continue
        name, answer = rng.choice(pairs)
        facts[index], fact.barred = fact, swaps[name] | {name}
        questions.append(Question(index, groups[index], answer))
        question = f"What can replace the {name} in this recipe?"
        fact.prompt = f"{question}\n\n{row['title']}\n\nIngredients: {', '.join(fact.names)}"
    return _choice_examples(rows, "substitute", questions, facts, rng)


def match_examples(rows: Sequence[Row], seed: int) -> list[Row]:
    """Ingredients → which of four dishes; asks about recipes of which too little is known for the other two.

    The wrong dishes are titles of other recipes that share no word with the right one, but for words that more than
    ``COMMON`` of all titles have.
    """
    words = {row["title"]: frozenset(re.findall(r"\w+", row["title"].lower())) for row in rows}
    counts = Counter(word for found in words.values() for word in found)
    telling = {title: {w for w in found if counts[w] <= COMMON * len(words)} for title, found in words.items()}

    def wrong(row: int, title: str) -> bool:
        return not telling[rows[row]["title"]] & telling[title]

    questions = [Question(index, "all", row["title"]) for index, row in enumerate(rows)]
    made = []
    for choice in balanced_choices(questions, wrong, random.Random(f"match-{seed}")):
        row = rows[choice.row]
        prompt = f"{MATCH_QUESTION}\n\nIngredients: {', '.join(row['ingredients'])}"
        made.append(example(row, "match", prompt, row["title"], choice.options, choice.answer))
    return made
