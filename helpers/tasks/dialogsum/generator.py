"""Short dialogues of two people with a summary that follows from how they are made.

A dialogue has a topic, an opening with its details, perhaps small talk that matters to nobody, and one of three
endings: agreed, changed, or refused. The summary names what was wanted and how it ended. Speakers are called
#Person1# and #Person2#, as in DialogSum.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from helpers.tasks.base import Row

SLOTS: dict[str, tuple[str, ...]] = {
    "number": ("two", "three", "four", "five", "six"),
    "time": ("noon", "one", "two", "five", "six", "seven", "eight"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
    "city": ("London", "Paris", "Rome", "Berlin", "Madrid", "Vienna"),
    "thing": ("bike", "car", "camera", "tent", "guitar", "laptop"),
    "clothes": ("shoes", "coat", "shirt", "hat", "jacket"),
    "colour": ("red", "blue", "green", "black", "white"),
    "pain": ("a headache", "a sore throat", "a fever", "a bad cough", "a toothache"),
    "place": ("park", "station", "library", "museum", "cafe"),
    "gift": ("a book", "a scarf", "a cake", "a watch", "a plant"),
    "person": ("my sister", "my brother", "my mother", "my friend", "my teacher"),
    "subject": ("maths", "history", "physics", "English", "music"),
    "food": ("soup", "salad", "pizza", "rice", "cake"),
}


@dataclass(frozen=True)
class Scene:
    """A kind of dialogue: ``{slot}`` is filled the same everywhere, ``{slot2}`` with another value of that slot.

    Attributes:
        want: what #Person1# says first, and how the summary reports it (after "#Person1#").
        agreed, changed, refused: what #Person2# answers, what #Person1# says to that, how the summary ends.
    """

    topic: str
    want: tuple[str, str]
    agreed: tuple[str, str, str]
    changed: tuple[str, str, str]
    refused: tuple[str, str, str]


SCENES = (
    Scene(
        "booking a table",
        ("I would like a table for {number} at {time}.", "wants a table for {number} at {time}"),
        ("Yes, we have one by the window.", "Great, I will take it.", "and gets one"),
        ("We are full then. How about {time2}?", "That is fine too.", "and takes one at {time2}"),
        ("Sorry, we are full all evening.", "Then I will try elsewhere.", "but the place is full"),
    ),
    Scene(
        "a train ticket",
        ("A ticket to {city} for {day}, please.", "wants a ticket to {city} for {day}"),
        ("Here you are, it leaves at {time}.", "Thank you.", "and gets one"),
        ("There is no train on {day}, only on {day2}.", "Then I will go on {day2}.", "and takes one for {day2}"),
        ("There are no trains to {city} this week.", "What a pity.", "but there are no trains"),
    ),
    Scene(
        "borrowing something",
        ("Could I borrow your {thing} on {day}?", "wants to borrow the {thing} on {day}"),
        ("Of course, just bring it back.", "I will, thanks.", "and #Person2# agrees"),
        ("I need it then. You can have it on {day2}.", "{day2} is good for me.", "and gets it on {day2}"),
        ("I am afraid it is broken.", "Oh, never mind.", "but it is broken"),
    ),
    Scene(
        "shopping for clothes",
        ("Do you have this {clothes} in {colour}?", "looks for a {clothes} in {colour}"),
        ("Yes, here is a {colour} one.", "I will buy it.", "and buys it"),
        ("No, but we have it in {colour2}.", "Good, I like {colour2}.", "and buys a {colour2} one"),
        ("No, we sold the last one.", "Then I will come back.", "but it is sold out"),
    ),
    Scene(
        "seeing a doctor",
        ("I have {pain}. Can I come on {day}?", "has {pain} and wants to come on {day}"),
        ("Yes, come at {time}.", "I will be there at {time}.", "and gets an appointment at {time}"),
        ("The doctor is away then. Is {day2} fine?", "Yes, {day2} is fine.", "and gets an appointment on {day2}"),
        ("The doctor is ill this week.", "I will ask another one.", "but the doctor is ill"),
    ),
    Scene(
        "meeting a friend",
        ("Shall we meet at the {place} at {time}?", "wants to meet at the {place} at {time}"),
        ("Yes, see you there.", "See you!", "and #Person2# agrees"),
        ("The {place} is closed. How about the {place2}?", "The {place2} is good.", "and they choose the {place2}"),
        ("I have to work then.", "Another time, then.", "but #Person2# has to work"),
    ),
    Scene(
        "choosing a gift",
        ("I want to give {person} {gift}.", "wants to give {person} {gift}"),
        ("That is a lovely idea.", "I am glad you like it.", "and #Person2# likes the idea"),
        ("They have one. Why not {gift2}?", "Yes, {gift2} is better.", "and decides on {gift2}"),
        ("They do not want any gifts.", "Then I will only call.", "but gifts are not wanted"),
    ),
    Scene(
        "help with homework",
        ("Can you help me with {subject} on {day}?", "wants help with {subject} on {day}"),
        ("Sure, come to my place.", "You are very kind.", "and #Person2# agrees"),
        ("I am busy on {day}. Come on {day2}.", "I will come on {day2}.", "and gets it on {day2}"),
        ("I do not know any {subject}.", "I will ask someone else.", "but #Person2# knows no {subject}"),
    ),
    Scene(
        "ordering food",
        ("I would like the {food}, please.", "orders {food}"),
        ("It will be ready soon.", "I can wait.", "and gets it"),
        ("We have no {food} today, but the {food2} is good.", "I will try the {food2}.", "and gets {food2} instead"),
        ("The kitchen is closed now.", "Then only the bill.", "but the kitchen is closed"),
    ),
    Scene(
        "something lost",
        ("I lost my {thing} at the {place}.", "lost the {thing} at the {place}"),
        ("Somebody brought it in today.", "I am so relieved.", "and gets it back"),
        ("We found one at the {place2}. Is it yours?", "Yes, that is mine!", "but it was found at the {place2}"),
        ("Nobody brought it in.", "I will keep looking.", "and nobody found it"),
    ),
)  # fmt: skip
SMALL_TALK = (
    ("How are you?", "Fine, thanks."),
    ("Nice weather today.", "Yes, it is warm."),
    ("Have you been waiting long?", "No, not at all."),
    ("It is very busy here.", "It always is."),
    ("Did you have a good week?", "Not bad, a bit too short."),
    ("I like your new haircut.", "Oh, you noticed!"),
    ("Sorry that I am late.", "No problem, I just came too."),
    ("What a noise outside!", "They are building a new road."),
    ("Is this seat free?", "Yes, please sit down."),
    ("The bus was full again.", "I always walk here."),
    ("I could not sleep last night.", "You should drink less coffee."),
    ("My neighbour got a puppy.", "How nice, what is its name?"),
    ("They painted the walls, I see.", "Yes, it was about time."),
    ("Do you know this song?", "My father used to sing it."),
    ("It smells of fresh bread.", "The baker opens early now."),
    ("Happy birthday, by the way!", "Thank you, that was yesterday."),
    ("I forgot my umbrella.", "Do not worry, the sun will come out."),
    ("You look a little tired.", "I moved house this month."),
    ("We have not met for ages.", "True, it must be a year."),
    ("My phone never stops ringing.", "Just turn the sound off."),
)
GOODBYES = (
    ("Have a nice day!", "You too."),
    ("Is there anything else?", "No, that is all."),
    ("Say hello to your family.", "I will, goodbye."),
    ("It was good to talk to you.", "Yes, see you soon."),
    ("Take care on the way home.", "I always do."),
    ("Let me write that down.", "Take your time."),
    ("The door sticks, so pull hard.", "Thanks for telling me."),
    ("Please give this to your wife.", "She will be delighted."),
    ("Do you need a bag for your things?", "I brought my own."),
    ("Mind the step over there.", "Oh, I nearly missed it."),
    ("You can leave your coat here.", "I prefer to keep it on."),
    ("Write to me when you arrive.", "You will hear from me tonight."),
)
ENDINGS = ("agreed", "changed", "refused")


def dialogues(seed: int) -> Iterator[Row]:
    """Different dialogues, until nearly all have come. Row: id, dialogue, summary, topic, ending."""
    rng = random.Random(f"dialogsum-{seed}")
    seen: set[str] = set()
    number = misses = 0
    while misses < 2000:
        row = draw_dialogue(rng)
        if row["summary"] in seen:  # the same summary again, around other small talk: a near-copy
            misses += 1
            continue
        misses = 0
        seen.add(row["summary"])
        yield {"id": f"gen-{seed}-{number}"} | row
        number += 1


def draw_dialogue(rng: random.Random) -> Row:
    scene = rng.choice(SCENES)
    filled: dict[str, str] = {}
    for slot, values in SLOTS.items():
        filled[slot], filled[f"{slot}2"] = rng.sample(values, 2)
    ending = rng.choice(ENDINGS)
    answer, reply, told = getattr(scene, ending)
    first, reported = scene.want
    lines = [first, answer, reply]
    before, behind = rng.sample(SMALL_TALK, rng.choice((0, 1, 2))), rng.sample(GOODBYES, rng.choice((0, 1, 2)))
    lines = [*chain(*before), *lines, *chain(*behind)]
    spoken = [f"#Person{i % 2 + 1}#: {_capital(line.format(**filled))}" for i, line in enumerate(lines)]
    summary = f"#Person1# {reported} {told}.".format(**filled).replace("my ", "#Person1#'s ")
    return {"dialogue": "\n".join(spoken), "summary": summary, "topic": scene.topic, "ending": ending}


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
