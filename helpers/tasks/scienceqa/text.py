"""Questions in words: the ten skills of generated science questions that need no picture.

Each follows from a rule (a word's ending, a mark, the order of the alphabet), from the hint, or from a short list
of things that training and test share. A skill always offers the same choices.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from helpers.tasks.scienceqa.skills import LANGUAGE, NATURAL, SOCIAL, Scene, Skill

NAMES = (
    "Ann", "Ben", "Eve", "Gus", "Ida", "Jim", "Kay", "Leo", "Mia", "Ned", "Pam", "Ray", "Sue", "Tom", "Uma", "Viv",
    "Wim", "Zoe",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")

MARKS = {"statement": ".", "question": "?", "exclamation": "!"}
MARK_NAMES = {".": "a full stop", "?": "a question mark", "!": "an exclamation mark"}
ANIMALS = ("dog", "cat", "bird", "horse", "hen", "fox")
SIZES = ("big", "small", "old", "young")
MOVES = ("run", "sing", "swim", "jump", "play", "sleep")

TENSES = {"past": "{}ed", "present": "{}s", "future": "will {}"}
ACTIONS = ("walk home", "jump high", "paint a wall", "cook rice", "play ball", "help Dad", "open a door", "talk to Mum")

FIGURES = ("simile", "metaphor")
FEATURES = ("voice", "hair", "smile", "room", "face", "heart", "coat", "hand")
LIKENESSES = ("gold", "ice", "a rose", "a storm", "a song", "the sun", "a stone", "the sea")

WORDS = (
    "apple", "bread", "cloud", "door", "egg", "fish", "grass", "hat", "ink", "jam", "king", "lamp", "moon", "nest",
    "owl", "pen", "rain", "sand",
)  # fmt: skip

GOODS = ("hat", "book", "cake", "lamp", "ball", "pen", "kite", "cup", "coat", "spoon")
SERVICES = (
    "haircut", "bus ride", "music lesson", "car wash", "boat tour", "dance lesson", "train ride", "dog walk",
    "house tour", "swim lesson",
)  # fmt: skip

NEEDS = ("water", "food", "air", "sleep", "a home", "rest", "warmth", "bread")
WANTS = ("a toy", "a kite", "candy", "a game", "a doll", "a comic", "a party", "a ring")

STATES = {"solid": "keeps its shape", "liquid": "flows to the bottom", "gas": "fills the whole {}"}
VESSELS = ("jar", "box", "cup", "bag")

ALIVE = ("fox", "tree", "bee", "frog", "rose", "hen", "fern", "ant", "whale", "oak")
LIFELESS = ("rock", "spoon", "chair", "bell", "coin", "brick", "bottle", "road", "lamp", "boat")

METALS = ("iron", "steel")
OTHERS = ("glass", "paper", "wood", "wool")
OBJECTS = ("key", "ring", "box", "cup", "spoon", "ball", "plate", "bell", "bowl", "hook")


Asked = tuple[str, ...]  # question, the reason for the answer, the conclusion with {} for it, perhaps a hint


def article(word: str) -> str:
    """The word with a or an before it."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _sentence(wanted: str, rng: random.Random) -> Asked:
    mark = MARKS[wanted]
    who, move = f"the {rng.choice(SIZES)} {rng.choice(ANIMALS)}", rng.choice(MOVES)
    said = f"Can {who} {move}" if wanted == "question" else f"T{who[1:]} can {move}"
    question = f"What kind of sentence is this? {said}{mark}"
    return question, f"It ends with {MARK_NAMES[mark]}", f"it is {article(wanted)}"


def _tense(wanted: str, rng: random.Random) -> Asked:
    verb, rest = rng.choice(ACTIONS).split(" ", 1)
    form = TENSES[wanted].format(verb)
    why = {"past": f"{form} ends in ed", "present": f"{form} ends in s", "future": f"{form} has will"}[wanted]
    return f"Which tense is this? {rng.choice(NAMES)} {form} {rest}.", f"The verb {why}", "the tense is {}"


def _figure(wanted: str, rng: random.Random) -> Asked:
    like, has = ("like ", "has") if wanted == "simile" else ("", "does without")
    said = f"{rng.choice(NAMES)}'s {rng.choice(FEATURES)} is {like}{rng.choice(LIKENESSES)}."
    return f"Is this a simile or a metaphor? {said}", f"The sentence {has} the word like", "it is a {}"


def _dictionary(wanted: str, rng: random.Random) -> Asked:
    first, second = sorted(rng.sample(WORDS, 2), reverse=wanted == "after")
    question = f"Does {first} come before or after {second} in the dictionary?"
    return question, f"The first letters are {first[0]} and {second[0]}", f"{first} comes {{}} {second}"


def _paid(wanted: str, rng: random.Random) -> Asked:
    thing = article(rng.choice(GOODS if wanted == "good" else SERVICES))
    what = "a thing to keep" if wanted == "good" else "work done for somebody"
    question = f"{rng.choice(NAMES)} pays for {thing}. Is that a good or a service?"
    return question, f"{thing[0].upper()}{thing[1:]} is {what}", "it is a {}"


def _wanted(wanted: str, rng: random.Random) -> Asked:
    thing = rng.choice(NEEDS if wanted == "need" else WANTS)
    who = "Nobody" if wanted == "need" else "Anybody"
    question = f"{rng.choice(NAMES)} asks for {thing}. Is that a need or a want?"
    return question, f"{who} can live without {thing}", "it is a {}"


def _older(wanted: str, rng: random.Random) -> Asked:
    one, other = rng.sample(NAMES, 2)
    age, others = sorted(rng.sample(range(2, 10), 2), reverse=wanted == "older")
    because = f"{age} is {'more' if wanted == 'older' else 'less'} than {others}"
    hint = f"{one} is {age} years old. {other} is {others} years old."
    return f"Is {one} older or younger than {other}?", because, f"{one} is {{}} than {other}", hint


def _state(wanted: str, rng: random.Random) -> Asked:
    thing, vessel = f"{rng.choice(COLOURS)} stuff", rng.choice(VESSELS)
    does = f"The stuff {STATES[wanted].format(vessel)}"
    question = f"{rng.choice(NAMES)} has {thing} in a {vessel}. Is it a solid, a liquid or a gas?"
    return question, does, "it is a {}", f"{does}."


def _living(wanted: str, rng: random.Random) -> Asked:
    thing = article(rng.choice(ALIVE if wanted == "living" else LIFELESS))
    can = "can" if wanted == "living" else "cannot"
    question = f"{rng.choice(NAMES)} draws {thing}. Is it a living or a lifeless thing?"
    return question, f"{thing[0].upper()}{thing[1:]} {can} grow", "it is {}"


def _magnetic(wanted: str, rng: random.Random) -> Asked:
    material = rng.choice(METALS if wanted == "yes" else OTHERS)
    pull = "pull" if wanted == "yes" else "do not pull"
    question = f"{rng.choice(NAMES)} has a {rng.choice(OBJECTS)} of {material}. Will a magnet pull it?"
    return question, f"Magnets {pull} {material}", "the answer is {}"


def _skill(
    name: str, subject: str, topic: str, category: str, grade: int, lecture: str, choices: tuple[str, ...],
    ask: Callable[[str, random.Random], Asked],
) -> Skill:  # fmt: skip
    """A skill that always offers the same choices."""

    def make(wanted: str, rng: random.Random) -> Scene:
        question, because, conclusion, hint = (*ask(wanted, rng), "")[:4]
        solution = f"{because}, so {conclusion.format(wanted)}."
        return Scene(question, choices, choices.index(wanted), solution, hint)

    return Skill(name, subject, topic, category, grade, lecture, choices, make)


TEXT_SKILLS = (
    _skill(
        "Recognise kinds of sentences", LANGUAGE, "writing", "Sentences", 2,
        "The mark at its end shows the kind of a sentence.", tuple(MARKS), _sentence,
    ),
    _skill(
        "Recognise verb tenses", LANGUAGE, "verbs", "Tenses", 3,
        "The past ends in ed, the present in s, and the future has will.", tuple(TENSES), _tense,
    ),
    _skill(
        "Tell similes from metaphors", LANGUAGE, "figurative language", "Figures of speech", 4,
        "A simile compares with the word like. A metaphor does without it.", FIGURES, _figure,
    ),
    _skill(
        "Use the order of the alphabet", LANGUAGE, "reference skills", "Dictionaries", 1,
        "A dictionary lists words in the order of the alphabet.", ("before", "after"), _dictionary,
    ),
    _skill(
        "Tell goods from services", SOCIAL, "economics", "Goods and services", 3,
        "A good is a thing. A service is work done for somebody.", ("good", "service"), _paid,
    ),
    _skill(
        "Tell needs from wants", SOCIAL, "economics", "Needs and wants", 1,
        "People cannot live without needs. They can live without wants.", ("need", "want"), _wanted,
    ),
    _skill(
        "Compare ages", SOCIAL, "history", "Families", 1,
        "The older of two people has lived more years.", ("older", "younger"), _older,
    ),
    _skill(
        "Recognise a state by how it behaves", NATURAL, "chemistry", "Matter", 4,
        "A solid keeps its shape, a liquid flows and a gas fills its vessel.", tuple(STATES), _state,
    ),
    _skill(
        "Tell living from lifeless things", NATURAL, "biology", "Living things", 1,
        "Living things grow. Lifeless things do not.", ("living", "lifeless"), _living,
    ),
    _skill(
        "Recognise magnetic materials", NATURAL, "physics", "Materials", 2,
        "A magnet pulls iron and steel, and no glass, paper, wood or wool.", ("yes", "no"), _magnetic,
    ),
)  # fmt: skip
