"""Task ``kitchen``: questions about pictures of food that need recognition and logic.

Sources: ``generator`` and ``generator-small`` (drawn scenes; see ``generator`` and ``menus``), or local questions about
pictures (see ``rows``). A form is a setting of the prompt; its letters say what it shows: question, attributes of the
scene in words, ontology (the facts that are needed), choices. Forms without choices ask for the answer itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.hints import nearest_and_all
from helpers.tasks import base
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.dedupe import check_disjoint
from helpers.tasks.explained import INSTRUCTION, blank_image, completion, lettered
from helpers.tasks.pictures import as_rgb, picture_digest, undecoded, vision_messages
from helpers.tasks.reading import example

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.kitchen.generator import Question
    from helpers.tasks.splits import TaskSplits

LINES = {
    "Q": ("Question", "question"), "A": ("Scene", "scene"), "O": ("Facts", "knowledge"), "C": ("Choices", "choices"),
}  # fmt: skip
BUILT_IN = {"generator": "full", "generator-small": "small"}  # source → menu
SPLITS_BY = ("scenes", "depth", "facts")
FIELDS = ("food", "colour", "place", "state", "shape")  # of an entry of ``objects``, beside its centre


class KitchenTask(Task):
    name = "kitchen"
    # The first of a kind is the one in words, for lessons without pictures.
    forms = {
        "QAC": "choice", "QC": "choice", "QOC": "choice", "QAOC": "choice",
        "QA": "generation", "Q": "generation", "QAO": "generation",
    }  # fmt: skip
    main_form = "QC"
    bare_questions = {form: INSTRUCTION for form, kind in forms.items() if kind == "choice"}
    columns = (
        "id", "question", "choices", "answer", "image", "objects", "scene", "knowledge", "form", "depth", "n_objects",
        "needs_picture", "needs_ontology", "logic", "facts", "solution", "answers",
    )  # fmt: skip
    label_column = "form"
    described_by = ("needs_ontology", "depth", "n_objects", "form")
    built_in = tuple(BUILT_IN)
    sources = {"smoke": "generator-small", "cpu": "generator", "full": "generator"}
    reads_pictures = True
    in_words = True
    minimal_pairs = True

    def load(
        self,
        n_train: int | None = None,
        n_eval: int = 150,
        source: str = "generator",
        seed: int = 0,
        pictures: bool = True,
        split_by: str = "scenes",
    ) -> TaskSplits:
        """See ``Task.load``. Columns: id, question, choices (list), answer (index), image (PIL, decoded when read, or
        None); what is true of the scene: objects (list of food, colour, shape, place, state, x, y), scene (the same in
        words), n_objects; how it is asked: form (kind of logical form), logic (the form itself), depth (steps of
        reasoning), needs_picture, needs_ontology; facts (properties of foods that the answer rests on), knowledge (the
        same in words); solution (a written proof), answers (of all annotators; one where it is by construction).

        No two splits share a scene, unless they are official ones, which are kept as they are.

        Args:
            pictures: False leaves pictures out, for a model that reads text only: every form then shows the scene in
                words.
            split_by: ``scenes``; or, of generated questions, what test has and neither train nor validation has:
                ``depth`` (three steps of reasoning, in forms that are trained with fewer), or ``facts`` (pairs of a
                food and a property that decide the answer, see ``held_out``).
        """
        base.check_sizes(n_train, n_eval)
        if split_by not in SPLITS_BY:
            raise DataError(f"split_by = {split_by!r} is not allowed", nearest_and_all(split_by, SPLITS_BY, "split"))
        report = LoadReport(self.name, source)
        if source in BUILT_IN:
            report.licence = "synthetic, part of this repository (Apache-2.0); facts about foods: see foods.toml"
            parts = _generated(2000 if n_train is None else n_train, n_eval, source, seed, pictures, split_by, report)
        else:
            if split_by != "scenes":
                raise DataError(f"split_by = {split_by!r} is for generated questions", "Leave it out for other data")
            from helpers.tasks.kitchen.rows import load

            parts = load(self, source, n_train, n_eval, seed, pictures, report)
        return base.make_splits(parts, self.columns, report, _types(self.columns))

    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        """Each row as a question whose answer is JSON: the solution, and a choice or the answer, written out.

        Beside the usual columns there are ``image`` (or None) and ``gold_solution``. A row without choices is left out
        of forms that show them; one without a picture or a scene in words that needs one, of all.
        """
        from datasets import Image, Value

        form = form or self.main_form
        kind = self.form_kind(form)
        made = [
            _example(row, form, kind)
            for row in undecoded(rows)
            if (kind != "choice" or row["choices"]) and (row["image"] or row["scene"] or not row["needs_picture"])
        ]
        return base.make_examples(made, {"image": Image(), "gold_solution": Value("string")})

    def groups(self, rows: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Questions about one picture."""
        return [picture_digest(row["image"]) or row["scene"] or row["id"] for row in undecoded(rows)]

    def with_options(self, example: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
        """As ``to_messages``: the choices are part of every prompt that has some."""
        return self.to_messages(example)

    def to_vision_messages(self, example: Mapping[str, Any], blank: bool = False) -> dict[str, Any]:
        """The example as chat turns for a model that sees: prompt, completion, and the list of ``images``.

        Args:
            blank: put a blank picture where there is none; else such a question has text only.
        """
        image = example["image"]
        return vision_messages(example, [as_rgb(image)] if image is not None else [blank_image()] if blank else [])


def prompt(row: Mapping[str, Any], form: str) -> str:
    """The instruction, then a labelled line for each letter of ``form``; what a row does not have is left out.

    Without a picture the scene stands there in words, whatever the form.
    """
    lines = [INSTRUCTION]
    for letter in form if row["image"] or "A" in form else form.replace("Q", "QA"):
        label, column = LINES[letter]
        text = lettered(row[column]) if column == "choices" else row[column]
        if text:
            lines.append(f"{label}: {text}")
    return "\n".join(lines)


def held_out(menu_name: str, seed: int) -> set[str]:
    """Facts kept out of training: of each property, about a quarter of the foods that have it, and of those that do
    not; at least one, and never all. Written as in ``ontology.fact``."""
    import random

    from helpers.tasks.kitchen import ontology
    from helpers.tasks.kitchen.menus import MENUS

    rng, found = random.Random(f"facts-{menu_name}-{seed}"), set()
    for asked in MENUS[menu_name].recalled:
        for flag in (True, False):
            names = [n for n in MENUS[menu_name].foods if ontology.has(n, asked.attribute, asked.value) == flag]
            if len(names) > 1:
                held = rng.sample(names, max(1, len(names) // 4))
                found |= {ontology.fact(name, asked.attribute, asked.value) for name in held}
    return found


def _generated(
    n_train: int, n_eval: int, source: str, seed: int, pictures: bool, split_by: str, report: LoadReport
) -> dict[str, list[Row]]:
    """Rows of the generator; drawn when it is sure that there are enough."""
    from helpers.tasks.kitchen import generator

    n_other = base.validation_size(n_eval) + n_train
    tested, others = _streams(source, seed, split_by)
    asked = list(islice(tested, n_eval + (n_other if others is None else 0)))
    asked += list(islice(others, n_other)) if others is not None else []
    report.rows_read = report.usable = len(asked)
    cut = base.cut(list(enumerate(asked)), n_train, n_eval, "generated questions", report)
    if split_by != "scenes":
        report.notes.append(f"split by {split_by}: test asks for what train and validation do not")
    parts = {
        name: [generator.row(question, f"gen-{seed}-{number}", pictures) for number, question in part]
        for name, part in cut.items()
    }
    check_disjoint(parts, "scene", lambda row: row["scene"] or row["id"], itemgetter("scene"))
    return parts


def _streams(source: str, seed: int, split_by: str) -> tuple[Iterator[Question], Iterator[Question] | None]:
    """Questions for test, and those for validation and train where they are of another kind (else None)."""
    from helpers.tasks.kitchen import generator
    from helpers.tasks.kitchen.menus import MENUS

    menu, seen = MENUS[BUILT_IN[source]], set[Any]()
    if split_by == "depth":
        deep = max(depth for depths in menu.forms.values() for depth in depths)
        forms = [form for form, depths in menu.forms.items() if deep in depths and min(depths) < deep]
        if not forms:
            raise DataError(f"{source} has no form of question in several depths", "Take dataset generator")
        tested = generator.questions(f"{seed}-deep", menu, [deep], forms, seen)
        others = generator.questions(seed, menu, range(1, deep), seen=seen)
    elif split_by == "facts":
        held = held_out(menu.name, seed)
        tested = (q for q in generator.questions(f"{seed}-unseen", menu, seen=seen) if q.facts & held)
        others = (q for q in generator.questions(seed, menu, seen=seen) if not q.facts & held)
    else:
        return generator.questions(seed, menu), None
    return tested, others


def _example(row: Row, form: str, kind: str) -> Row:
    chosen = row["choices"][row["answer"]] if row["choices"] else row["answers"][0]
    known = list(dict.fromkeys([chosen, *row["answers"]]))
    return example(
        row, form, prompt(row, form), completion(chosen, row["solution"]),
        row["choices"] if kind == "choice" else (), row["answer"] if kind == "choice" else -1,
        references=[completion(text, row["solution"]) for text in known], image=row["image"],
        gold_solution=row["solution"],
    )  # fmt: skip


def _types(columns: Iterable[str]) -> dict[str, Any]:
    from datasets import Image, List, Value

    texts, item = (
        List(Value("string")),
        {name: Value("string") for name in FIELDS} | dict.fromkeys("xy", Value("float64")),
    )
    special: dict[str, Any] = {
        "choices": texts,
        "facts": texts,
        "answers": texts,
        "objects": List(item),
        "image": Image(),
    }
    special |= dict.fromkeys(("answer", "depth", "n_objects"), Value("int64"))
    special |= dict.fromkeys(("needs_picture", "needs_ontology"), Value("bool"))
    return {name: special.get(name, Value("string")) for name in columns}
