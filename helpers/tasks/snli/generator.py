"""Caption-like premise/hypothesis pairs whose label follows from how they are made; about 130 words.

Pairs come in triples: one hypothesis, three premises, one for each label. Whatever a hypothesis says, it is
therefore equally often entailed, open and contradicted, and reading it alone tells nothing. Premises of
all labels mention equally many things; what a premise alone still gives away (a linear model reaches about
0.45) is that vague words, "some" or "a person", leave more open.

What decides (one of these a triple):
    activity, place, clothes, company: entailed by the same or a narrower word ("playing tennis" is "playing a
    sport"), open when unmentioned, wider or merely compatible, contradicted by an exclusive one; the
    hypothesis may be negated. subject: girl, child, person. number: "more than two" against a count.
    every, no: downward monotone ("no animal" entails "no dog", "every child" entails "every girl").
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from helpers.tasks.base import Row
from helpers.tasks.snli.words import (
    ACTIVITIES,
    COLOURS,
    COMPANY,
    COUNTS,
    FACETS,
    GARMENTS,
    NEUTRAL,
    PLACES,
    PLURAL,
    SUBJECTS,
    ancestors,
    relation,
)


@dataclass(frozen=True)
class Scene:
    """What a premise says; an empty string is not mentioned. ``count`` is "a", "some" or a number word."""

    subject: str
    count: str = "a"
    activity: str = ""
    place: str = ""
    clothes: str = ""
    company: str = ""


# A hypothesis, and for each label the premise and what is decisive in both.
Triple = tuple[str, list[str], list[tuple[str, str]]]
MENTIONS = (2, 2, 3)  # how many things a premise says about its subject, each as likely


def triples(seed: int, mentions: tuple[int, ...] = MENTIONS) -> Iterator[list[Row]]:
    """Triples without end; no premise comes twice. Row: id, premise, hypothesis, label, and what is ``decisive``: the
    two phrases, of premise and hypothesis, that the label follows from; the first is "" where nothing is said.
    """
    rng = random.Random(f"snli-{seed}")
    seen: set[str] = set()
    misses = 0
    makers = (_facet, _facet, _facet, _facet, _subject, _number, _quantified)
    while misses < 2000:
        hypothesis, texts, decisive = rng.choice(makers)(rng, mentions)
        if len(set(texts)) < 3 or seen & set(texts):
            misses += 1
            continue
        misses = 0
        order = list(range(3))
        rng.shuffle(order)
        key = f"gen-{seed}-{len(seen) // 3}"
        seen.update(texts)
        yield [
            {
                "id": f"{key}-{label}", "premise": texts[label], "hypothesis": hypothesis, "label": label,
                "decisive": decisive[label],
            }
            for label in order
        ]  # fmt: skip


def article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _noun(scene: Scene) -> str:
    return article(scene.subject) if scene.count == "a" else f"{scene.count} {PLURAL[scene.subject]}"


def _worn(clothes: str, plural: bool) -> str:
    if clothes.endswith("scarf") and plural:
        return clothes.removesuffix("scarf") + "scarves"
    return clothes + "s" if plural else article(clothes)


def _company(company: str, plural: bool) -> str:
    return "on their own" if company == "alone" and plural else company


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[0].upper() + text[1:] + "."


def caption(scene: Scene, rng: random.Random) -> str:
    """A premise in words."""
    plural = scene.count != "a"
    worn = f"in {_worn(scene.clothes, plural)}" if scene.clothes else ""
    company = _company(scene.company, plural)
    who = f"{_noun(scene)} {worn}"
    where = [scene.activity, company, scene.place]
    if company and rng.random() < 0.5:
        where = [scene.activity, scene.place, company]
    doing = " ".join(part for part in where if part)
    if not doing:
        return _sentence(f"this is a picture of {who}")
    return _sentence(f"{who} {'are' if plural else 'is'} {doing}")


def values_of(facet: str, kind: str) -> Sequence[str]:
    return {
        "activity": ACTIVITIES[kind],
        "place": PLACES,
        "company": COMPANY if kind == "person" else COMPANY[-2:],
        "clothes": tuple(f"{c} {g}" for c in COLOURS for g in GARMENTS) + GARMENTS,
    }[facet]


def draw_scene(
    rng: random.Random, mentions: tuple[int, ...], kind: str, subject: str, count: str, fixed: dict[str, str],
    free: list[str],
) -> Scene:  # fmt: skip
    """A scene that mentions some things, those of ``fixed`` (when not empty) among them."""
    mentioned = {name: value for name, value in fixed.items() if value}
    options = [name for name in free if name not in fixed]
    want = rng.choice(mentions) - len(mentioned)
    for name in rng.sample(options, max(0, min(want, len(options)))):
        mentioned[name] = rng.choice(values_of(name, kind))
    return Scene(subject, count, **mentioned)


def draw_kind(rng: random.Random) -> tuple[str, list[str]]:
    kind = "animal" if rng.random() < 0.2 else "person"
    return kind, [name for name in FACETS if kind == "person" or name != "clothes"]


def _narrower(rng: random.Random, kind: str, word: str) -> str:
    """A subject that is certainly a ``word``."""
    return rng.choice([name for name in SUBJECTS[kind] if word in ancestors(name)])


def _facet(rng: random.Random, mentions: tuple[int, ...]) -> Triple:
    kind, facets = draw_kind(rng)
    facet = rng.choice(facets)
    asked = rng.choice([value for value in values_of(facet, kind) if facet != "clothes" or " " in value])
    negated = rng.random() < 0.3
    subject = rng.choice((*SUBJECTS[kind], kind))
    count = rng.choice(("a", "two", "three", "some"))
    premises, given = [""] * 3, [""] * 3
    for label in range(3):
        found = 2 - label if negated else label  # a negated hypothesis turns entailment and contradiction round
        fitting = [value for value in values_of(facet, kind) if relation(facet, value, asked) == found]
        if found == NEUTRAL and (rng.random() < 0.5 or not fitting):
            fitting = [""]
        if not fitting:
            return _facet(rng, mentions)
        given[label] = rng.choice(fitting)
        scene = draw_scene(rng, mentions, kind, _narrower(rng, kind, subject), count, {facet: given[label]}, facets)
        premises[label] = caption(scene, rng)
    plural = count != "a"
    verb = ("are" if plural else "is") + (" not" if negated else "")
    said = f"wearing {_worn(asked, plural)}" if facet == "clothes" else _company(asked, plural)
    hypothesis = _sentence(f"the {PLURAL[subject] if plural else subject} {verb} {said}")
    return hypothesis, premises, [(value, asked) for value in given]


def _subject(rng: random.Random, mentions: tuple[int, ...]) -> Triple:
    kind = "person"
    asked = rng.choice(("girl", "boy", "woman", "man", "child", "adult"))
    wider = ancestors(asked)[1:]
    narrow = [name for name in SUBJECTS[kind] if asked in ancestors(name)]
    other = [name for name in SUBJECTS[kind] if asked not in ancestors(name) and name not in wider]
    doing = rng.choice(ACTIVITIES[kind])
    count = rng.choice(("a", "two", "three"))
    premises, given = [], []
    for names in (narrow, wider, other):
        given.append(rng.choice(names))
        scene = draw_scene(rng, mentions, kind, given[-1], count, {"activity": doing}, ["place", "clothes"])
        premises.append(caption(scene, rng))
    plural = count != "a"
    shown = Scene(asked, count)
    hypothesis = _sentence(f"{_noun(shown)} {'are' if plural else 'is'} {doing}")
    return hypothesis, premises, [(name, asked) for name in given]


_BOUNDS = {
    "more than": lambda n, k: n > k,
    "at least": lambda n, k: n >= k,
    "fewer than": lambda n, k: n < k,
    "exactly": lambda n, k: n == k,
}


def _number(rng: random.Random, mentions: tuple[int, ...]) -> Triple:
    word, bound = rng.choice(sorted(COUNTS)), rng.choice(sorted(_BOUNDS))
    true = [name for name, n in COUNTS.items() if _BOUNDS[bound](n, COUNTS[word])]
    false = [name for name in COUNTS if name not in true]
    if not true or not false:
        return _number(rng, mentions)
    subject = rng.choice((*SUBJECTS["person"], "person"))
    premises, given = [], []
    for counts in (true, ["some"], false):
        who = _narrower(rng, "person", subject) if bound in ("more than", "at least") else subject
        given.append(rng.choice(counts))
        scene = draw_scene(rng, mentions, "person", who, given[-1], {}, ["activity", "place", "clothes"])
        premises.append(caption(scene, rng))
    hypothesis = _sentence(f"there are {bound} {word} {PLURAL[subject]}")
    return hypothesis, premises, [(count, f"{bound} {word}") for count in given]


def _quantified(rng: random.Random, mentions: tuple[int, ...]) -> Triple:
    kind = rng.choice(("person", "person", "animal"))
    words = (*SUBJECTS[kind], kind)
    asked = rng.choice([word for word in words if word != kind])
    narrow = [word for word in words if asked in ancestors(word) and word != asked]
    sibling = [word for word in words if word not in ancestors(asked) and asked not in ancestors(word)]
    doing = rng.choice((*ACTIVITIES[kind], *PLACES))
    wide = ancestors(asked)
    forms = ("every {} here is {}", "no {} here is {}")
    quantifier, opposite = rng.choice((forms, forms[::-1]))
    tail = rng.choice(("", " on this day", " in the morning", " in the evening", " in this picture", " today"))

    def say(form: str, word: str) -> str:
        return _sentence(form.format(word, doing) + tail)

    pairs = [(quantifier, rng.choice(wide)), (quantifier, rng.choice(narrow + sibling)), (opposite, rng.choice(wide))]
    decisive = [(form.format(word, ""), quantifier.format(asked, "")) for form, word in pairs]
    return say(quantifier, asked), [say(*pair) for pair in pairs], decisive
