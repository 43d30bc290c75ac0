"""Miniatures of published data sets: rows with the columns, codes and spellings of the originals, made up here."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]
WORDS = ("entailment", "neutral", "contradiction")
PETS = ("cat", "dog", "hen", "fox", "cow", "owl", "pig")


def _pair(i: int) -> tuple[str, str]:
    pet = PETS[i % 7]
    said = (f"There is a {pet} in yard {i}.", f"It is old, {i}.", f"Yard {i} is empty.")[i % 3]
    return f"A {pet} waits in yard {i}.", said


def _word(i: int, none: str = "-") -> str:
    return none if i % 20 == 19 else WORDS[i % 3]


def snli(i: int) -> Row:
    premise, hypothesis = _pair(i)
    parsed = {f"sentence{n}_{kind}": f"( {text} )" for n, text in ((1, premise), (2, hypothesis)) for kind in
              ("binary_parse", "parse")}  # fmt: skip
    about = {"captionID": f"{i // 3}.jpg#0", "pairID": f"{i // 3}.jpg#0r{i % 3}e"}
    return {"annotator_labels": [WORDS[i % 3]], **about, "gold_label": _word(i), "sentence1": premise,
            "sentence2": hypothesis, **parsed}  # fmt: skip


def snli_tsv(i: int) -> Row:
    row = snli(i)
    row.pop("annotator_labels")
    return {**row, **{f"label{n}": WORDS[i % 3] for n in range(1, 6)}}


def mnli(i: int) -> Row:
    return {"index": i, "promptID": 31193 + i, **snli_tsv(i), "genre": "fiction"}


def esnli(i: int) -> Row:
    premise, hypothesis = _pair(i)
    marked = {"Sentence1_marked_1": f"*{premise}*", "Sentence2_marked_1": hypothesis, "Sentence1_Highlighted_1": "{}"}
    return {"pairID": f"{i}.jpg#1r1n", "gold_label": WORDS[i % 3], "Sentence1": premise, "Sentence2": hypothesis,
            "Explanation_1": "A pet is an animal.", "WorkerId": "A1", **marked}  # fmt: skip


def xnli(i: int) -> Row:
    premise, hypothesis = _pair(i)
    return {"language": "en", "gold_label": WORDS[i % 3], "sentence1_binary_parse": "", "sentence2_binary_parse": "",
            "sentence1": premise, "sentence2": hypothesis, "promptID": i // 3, "pairID": i, "genre": "facetoface",
            "label1": WORDS[i % 3], "match": "True"}  # fmt: skip


def sick(i: int) -> Row:
    """The release of SemEval 2014."""
    premise, hypothesis = _pair(i)
    return {"pair_ID": i + 1, "sentence_A": premise, "sentence_B": hypothesis, "relatedness_score": 3.5,
            "entailment_judgment": WORDS[i % 3].upper()}  # fmt: skip


def sick_2(i: int) -> Row:
    """The later release, with both directions."""
    row = sick(i)
    return {"pair_ID": row["pair_ID"], "sentence_A": row["sentence_A"], "sentence_B": row["sentence_B"],
            "entailment_label": row["entailment_judgment"], "relatedness_score": "4.5", "entailment_AB": "A_entails_B",
            "entailment_BA": "B_neutral_A", "sentence_A_original": row["sentence_A"],
            "sentence_A_dataset": "FLICKR", "SemEval_set": "TRAIN"}  # fmt: skip


def _talk(i: int) -> tuple[str, str]:
    said = f"Ana: Is the {PETS[i % 7]} number {i} here?\nBen: Yes, it came at {i} o'clock.\nAna: Give it {i * 7} seeds."
    return said, f"Ben has seen the {PETS[i % 7]} {i}."


def samsum(i: int) -> Row:
    said, summary = _talk(i)
    return {"id": f"1381{i}", "summary": summary, "dialogue": said.replace("\n", "\r\n")}


def dialogsum(i: int) -> Row:
    said, summary = _talk(i)
    said = said.replace("Ana", "#Person1#").replace("Ben", "#Person2#")
    return {"fname": f"train_{i}", "dialogue": said, "summary": summary, "topic": f"{PETS[i % 7]}s"}


def dialogsum_test(i: int) -> Row:
    row = dialogsum(i)
    several = {f"{name}{n}": f"{row[name]} ({n})" for n in (1, 2, 3) for name in ("summary", "topic")}
    return {"fname": row["fname"], "dialogue": row["dialogue"], **several}


def alpaca(i: int) -> Row:
    said, summary = _talk(i)
    whole = f"Below is one.\n\n### Instruction:\nSummarise.\n\n### Input:\n{said}\n\n### Response:\n{summary}"
    return {"instruction": "Summarise.", "input": said, "output": summary, "text": whole}


def _dish(i: int) -> tuple[str, list[str], list[str]]:
    parts = [f"{i + 2} cups {PETS[i % 7]}bread", f"{i} g of salt number {i}", "1 1/2 c. milk"]
    return f"Dish {i}", parts, [f"Cut the bread into {i} pieces.", f"Wait {i * 3} minutes, then pour.", f"Eat by {i}."]


def recipe1m(i: int) -> Row:
    title, parts, steps = _dish(i)
    return {"ingredients": [{"text": line} for line in parts], "url": "http://x", "partition": "train", "title": title,
            "id": f"{i:010x}", "instructions": [{"text": line} for line in steps]}  # fmt: skip


def recipenlg(i: int) -> Row:
    title, parts, steps = _dish(i)
    return {"": i, "title": title, "ingredients": json.dumps(parts), "directions": json.dumps(steps),
            "link": "www.cookbooks.com/x", "source": "Gathered", "NER": '["bread", "salt", "milk"]'}  # fmt: skip


def _r(items: list[str]) -> str:
    return "c(" + ", ".join(f'"{item}"' for item in items) + ")"


def food_com(i: int) -> Row:
    title, _, steps = _dish(i)
    return {"RecipeId": 38 + i, "Name": title, "AuthorId": 1533, "CookTime": "PT24H", "Description": "Make it.",
            "RecipeCategory": "Frozen Desserts", "Keywords": _r(["Dessert"]),
            "RecipeIngredientQuantities": f'c("{i + 2}", "1/4", NA)',
            "RecipeIngredientParts": _r([f"{PETS[i % 7]}bread", f"salt {i}", "milk"]),
            "Calories": 170.9, "RecipeInstructions": _r(steps)}  # fmt: skip


def food_com_raw(i: int) -> Row:
    title, parts, steps = _dish(i)
    return {"name": title, "id": i, "minutes": 55, "tags": "['x']",
            "nutrition": "[51.5]", "n_steps": 3, "steps": str(steps), "ingredients": str(parts)}  # fmt: skip


def schema_org(i: int) -> Row:
    title, parts, steps = _dish(i)
    return {"@context": "http://schema.org", "@type": "Recipe", "name": title, "recipeIngredient": parts,
            "recipeInstructions": [{"@type": "HowToStep", "text": line} for line in steps]}  # fmt: skip


def _question(i: int) -> tuple[str, list[str], int]:
    return f"Which one stands in stall {i}?", [f"{pet} {i}" for pet in ("a cat", "a dog", "a hen", "a fox")], i % 4


def scienceqa(i: int) -> Row:
    question, choices, answer = _question(i)
    return {"question": question, "choices": choices, "answer": answer, "hint": "", "image": None,
            "task": "closed choice", "grade": "grade2", "subject": "natural science", "topic": "biology",
            "category": "Animals", "skill": "Find one", "lecture": "", "solution": f"It is number {i}."}  # fmt: skip


def arc(i: int) -> Row:
    question, choices, answer = _question(i)
    labels = list("1234" if i % 9 == 0 else "ABCD")
    return {"id": f"Mercury_{i}", "question": question, "choices": {"text": choices, "label": labels},
            "answerKey": labels[answer]}  # fmt: skip


def sciq(i: int) -> Row:
    question, choices, answer = _question(i)
    wrong = [choice for choice in choices if choice != choices[answer]]
    return {"question": question, "distractor3": wrong[2], "distractor1": wrong[0], "distractor2": wrong[1],
            "correct_answer": choices[answer], "support": f"In stall {i} there is one."}  # fmt: skip


class Layout(NamedTuple):
    """A data set: its task, a row by number, the ending of its file, and what comes out of row ``i``."""

    task: str
    row: Callable[[int], Row]
    ending: str
    wanted: Callable[[int], Row | None]


def _nli(none: bool = False) -> Callable[[int], Row | None]:
    def wanted(i: int) -> Row | None:
        texts = dict(zip(("premise", "hypothesis"), _pair(i), strict=True))
        return None if none and i % 20 == 19 else {**texts, "label": i % 3}

    return wanted


def _dialogue(i: int) -> Row:
    return dict(zip(("dialogue", "summary"), _talk(i), strict=True))


def _persons(i: int) -> Row:
    row = dialogsum(i)
    return {name: row[name] for name in ("dialogue", "summary", "topic")}


def _recipe(i: int) -> Row:
    return dict(zip(("title", "ingredients", "steps"), _dish(i), strict=True))


def _food_com(i: int) -> Row:
    lines = [f"{i + 2} {PETS[i % 7]}bread", f"1/4 salt {i}", "milk"]
    return {**_recipe(i), "ingredients": lines, "category": "Frozen Desserts"}


def _answered(i: int) -> Row:
    question, choices, answer = _question(i)
    return {"question": question, "choices": choices, "answer": answer}


LAYOUTS = {
    "SNLI, lines": Layout("snli", snli, "jsonl", _nli(True)),
    "SNLI, table": Layout("snli", snli_tsv, "tsv", _nli(True)),
    "MultiNLI": Layout("snli", mnli, "tsv", _nli(True)),
    "e-SNLI": Layout("snli", esnli, "csv", _nli()),
    "XNLI": Layout("snli", xnli, "tsv", _nli()),
    "SICK": Layout("snli", sick, "tsv", _nli()),
    "SICK, both ways": Layout("snli", sick_2, "tsv", _nli()),
    "SAMSum": Layout("dialogsum", samsum, "json", _dialogue),
    "DialogSum": Layout("dialogsum", dialogsum, "csv", _persons),
    "DialogSum, test": Layout("dialogsum", dialogsum_test, "jsonl",
                              lambda i: {**_persons(i), "summary": f"{_persons(i)['summary']} (1)",
                                         "topic": f"{_persons(i)['topic']} (1)"}),
    "Alpaca": Layout("dialogsum", alpaca, "json", _dialogue),
    "Recipe1M+": Layout("recipes", recipe1m, "json", _recipe),
    "RecipeNLG": Layout("recipes", recipenlg, "csv", _recipe),
    "Food.com": Layout("recipes", food_com, "csv", _food_com),
    "Food.com, raw": Layout("recipes", food_com_raw, "csv", _recipe),
    "schema.org": Layout("recipes", schema_org, "jsonl", _recipe),
    "ScienceQA": Layout("scienceqa", scienceqa, "jsonl", _answered),
    "ARC": Layout("scienceqa", arc, "jsonl", _answered),
    "SciQ": Layout("scienceqa", sciq, "json", _answered),
}  # fmt: skip


class Parts(NamedTuple):
    """How a data set says which rows are its train, validation and test set: in three files, or in a column."""

    files: tuple[str, str, str] = ("data", "data", "data")
    column: str = ""
    words: tuple[str, str, str] = ("train", "val", "test")


PARTS = {
    "SNLI, lines": Parts(("snli_1.0_train", "snli_1.0_dev", "snli_1.0_test")),
    "MultiNLI": Parts(("multinli_1.0_train", "multinli_1.0_dev_matched", "multinli_1.0_test_matched")),
    "e-SNLI": Parts(("esnli_train_1", "esnli_dev", "esnli_test")),
    "XNLI": Parts(("xnli.train.en", "xnli.dev", "xnli.test")),
    "SICK": Parts(("SICK_train", "SICK_trial", "SICK_test_annotated")),
    "SICK, both ways": Parts(column="SemEval_set", words=("TRAIN", "TRIAL", "TEST")),
    "SAMSum": Parts(("train", "val", "test")),
    "DialogSum": Parts(("dialogsum.train", "dialogsum.dev", "dialogsum.test")),
    "Recipe1M+": Parts(column="partition"),
    "ScienceQA": Parts(("train-00000-of-00001", "validation-00000-of-00001", "test-00000-of-00001")),
}


def write_parts(name: str, folder: Path) -> dict[str, range]:
    """The files of a layout with its official splits; which rows are in which."""
    layout, parts = LAYOUTS[name], PARTS[name]
    ranges = {"train": range(60), "validation": range(60, 90), "test": range(90, 120)}
    files: dict[str, list[Row]] = {}
    for file, word, numbers in zip(parts.files, parts.words, ranges.values(), strict=True):
        rows = [layout.row(i) | ({parts.column: word} if parts.column else {}) for i in numbers]
        files[file] = files.get(file, []) + rows
    for file, rows in files.items():
        write_rows(rows, folder / f"{file}.{layout.ending}")
    return ranges


def write(layout: Layout, folder: Path, count: int = 60) -> Path:
    """The file of a layout."""
    return write_rows([layout.row(i) for i in range(count)], folder / f"data.{layout.ending}")


def write_rows(rows: list[Row], path: Path) -> Path:
    """Rows in the form that the file's ending says."""
    ending = path.suffix[1:]
    if ending == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if ending == "tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    return path
