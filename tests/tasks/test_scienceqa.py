"""Science questions from all sources: what is read is checked and counted, prompts and scores are those promised."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, IterableDataset, List, Value
from datasets import Image as ImageFeature
from PIL import Image

from helpers import tasks
from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.source import Source
from helpers.tasks import base, explained
from helpers.tasks.scienceqa import generator as scienceqa_generator
from helpers.tasks.scienceqa import task as scienceqa

TASK = tasks.get("scienceqa")
assert isinstance(TASK, scienceqa.ScienceqaTask)
FULL = {
    "id": "7", "question": "Will they attract?", "choices": ["yes", "no"], "answer": 1, "hint": "Look.",
    "image": None, "task": "closed choice", "grade": "grade3", "subject": "natural science", "topic": "physics",
    "category": "Magnets", "skill": "Magnets", "lecture": "Unlike poles attract.", "solution": "No, they repel.",
}  # fmt: skip


def png(colour: Any = "red", size: int = 8, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def plain(n: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"question": f"Is {i} even?", "choices": ["yes", "no"], "answer": i % 2, "solution": f"{i} ends so."} | more
        for i in range(n)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def load(source: Path | str, n_train: int = 8, n_eval: int = 10, seed: int = 0) -> Any:
    return TASK.load(n_train, n_eval, source if isinstance(source, str) else str(source), seed)


def everything(splits: Any) -> Iterator[dict[str, Any]]:
    return (row for part in splits.values() for row in part)


# ---------- splits
def test_splits_are_disjoint_repeatable_and_do_not_move_with_n_train() -> None:
    small, large = (TASK.load(n_train=n, n_eval=30, seed=3) for n in (20, 80))
    assert list(small["test"]["id"]) == list(large["test"]["id"])
    assert list(small["train"]["id"]) == list(large["train"]["id"])[:20]
    assert large.report.sizes == {"train": 80, "validation": 10, "test": 30}
    assert large["train"].column_names == list(TASK.columns)
    again = TASK.load(n_train=20, n_eval=30, seed=3)
    assert again.report.fingerprint == small.report.fingerprint
    assert TASK.load(n_train=20, n_eval=30, seed=4).report.fingerprint != small.report.fingerprint
    pictures = [row["image"] for row in large["test"]]
    assert sum(picture is not None for picture in pictures) == 15
    with pytest.raises(DataError, match="usable generated questions, but n_train 90,000"):
        TASK.load(n_train=90_000, n_eval=30)


def test_the_fingerprint_sees_pictures() -> None:
    row = next(row for row in scienceqa_generator.rows(0) if row["image"])
    other = row | {"image": {"bytes": png(), "path": None}}
    prints = {base.fingerprint({"train": [r], "validation": [], "test": []}) for r in (row, other, dict(row))}
    assert len(prints) == 2


def test_a_leak_is_refused() -> None:
    rows = list(islice(scienceqa_generator.rows(0), 12))
    shuffled = rows[0] | {"id": "other", "choices": rows[0]["choices"][::-1], "hint": "Another hint."}
    with pytest.raises(DataError, match="question .* is in both train and test"):
        scienceqa.check_no_leak({"train": rows, "validation": [], "test": [shuffled]})
    with pytest.raises(DataError, match="id .* is in both train and test"):
        scienceqa.check_no_leak({"train": rows, "validation": [], "test": [rows[3] | {"question": "New?"}]})
    pictured = next(row for row in rows if row["image"])
    scienceqa.check_no_leak({"train": [pictured], "test": [pictured | {"id": "x", "image": {"bytes": png()}}]})


# ---------- files
def test_parquet_as_on_the_hub_keeps_its_pictures(tmp_path: Path) -> None:
    rows = [FULL | {"question": f"Question {i}?"} for i in range(40)]
    for i in range(0, 40, 2):
        rows[i]["image"] = {"bytes": png((6 * i, 0, 0)), "path": "image.png"}
    del rows[0]["id"]
    types = {name: Value("string") for name in FULL if name != "id"}
    types |= {"choices": List(Value("string")), "answer": Value("int8"), "image": ImageFeature()}
    columns = {name: [row[name] for row in rows] for name in types}
    data = Dataset.from_dict(columns, features=Features(types))
    data.to_parquet(str(tmp_path / "train.parquet"))
    splits = load(tmp_path / "train.parquet", 20)
    assert splits.report.rows_read == 40 and not splits.report.dropped
    for row in everything(splits):
        number = int(row["question"].split()[1][:-1])
        assert row["id"] == str(number)
        assert (row["image"] is None) == bool(number % 2)
        if row["image"] is not None:
            assert row["image"].getpixel((0, 0)) == (6 * number, 0, 0)
        assert (row["grade"], row["skill"], row["answer"]) == ("grade3", "Magnets", 1)
    # Streams from the Hub hand over bytes, not decoded pictures.
    for stream in (data, data.to_iterable_dataset()):
        assert isinstance(stream, Dataset | IterableDataset)
        assert isinstance(next(iter(reader.encoded(stream)))["image"]["bytes"], bytes)


def test_the_original_release_is_read_with_its_pictures(tmp_path: Path) -> None:
    problems = {}
    for i in range(30):
        split = ("train", "val", "test")[i % 3]
        problems[str(i)] = FULL | {
            "question": f"Question {i}?",
            "split": split,
            "image": None if i % 5 else "image.png",
        }
        del problems[str(i)]["id"]
        if not i % 5 and i:  # the picture of question 0 is missing
            folder = tmp_path / ("images" if i == 10 else ".") / split / str(i)
            folder.mkdir(parents=True)
            (folder / "image.png").write_bytes(png((i, 0, 0)))
    (tmp_path / "problems.json").write_text(json.dumps(problems))
    for source in (tmp_path, tmp_path / "problems.json"):
        splits = load(Source(str(source), splits="random"))
        assert splits.report.dropped == {"image file missing": 1} and splits.report.usable == 29
        for row in everything(splits):
            number = int(row["id"])
            assert (row["image"] is not None) == (number % 5 == 0) and row["question"] == f"Question {number}?"
            if row["image"] is not None:
                assert row["image"].getpixel((0, 0)) == (number, 0, 0)


def test_csv_with_paths_and_written_choices(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    for i in range(30):
        (tmp_path / "pics" / f"{i}.png").write_bytes(png((i, 0, 0)))
    spelt = ["\"['left', 'right']\"", '"[""left"", ""right""]"', "left|right"]
    answers = ["0", "A", "left"]
    lines = [f"What is it {i}?,{spelt[i % 3]},{answers[i % 3]},pics/{i}.png" for i in range(30)]
    (tmp_path / "data.csv").write_text("question,options,answer,image\n" + "\n".join(lines))
    for row in everything(load(tmp_path / "data.csv")):
        assert row["choices"] == ["left", "right"] and row["answer"] == 0 and row["lecture"] == ""
        assert row["image"].getpixel((0, 0)) == (int(row["question"].split()[-1][:-1]), 0, 0)


def test_unusable_rows_are_counted_by_reason(tmp_path: Path) -> None:
    whole = png(size=64, colour="blue")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "fine.png").write_bytes(whole)
    bad: list[dict[str, Any]] = [
        {"question": ""}, {"choices": ["only"]}, {"choices": None}, {"choices": [str(i) for i in range(30)]},
        {"choices": ["x", "x"]}, {"choices": ["x", ""]}, {"answer": 2}, {"answer": -1}, {"answer": None},
        {"answer": "neither"}, {"image": "gone.png"}, {"image": "cut.png"}, {"image": "text.png"},
        {"image": {"bytes": None, "path": "gone.png"}}, {"image": "x" * 5000}, {"image": 5},
    ]  # fmt: skip
    rows = plain(30) + [FULL | {"id": f"b{i}", "question": f"Bad {i}?"} | change for i, change in enumerate(bad)]
    rows.append(FULL | {"id": "p", "image": "fine.png"})
    splits = load(write(tmp_path / "d.jsonl", rows))
    assert splits.report.dropped == {
        "no question": 1, "fewer than 2 choices": 2, "more than 26 choices": 1, "empty or equal choices": 2,
        "answer that is no choice": 4, "image file missing": 2, "image unreadable": 4,
    }  # fmt: skip
    assert (splits.report.rows_read, splits.report.usable) == (47, 31)


def test_copies_go_and_questions_that_share_a_scene_stay_together(tmp_path: Path) -> None:
    rows = plain(40)
    for i in range(10):
        rows.append(rows[i] | {"choices": ["no", "yes"], "answer": 1 - rows[i]["answer"], "question": f"is {i}  EVEN?"})
    for i in range(10, 25):
        rows.append(rows[i] | {"hint": "Think of pairs.", "id": i})
    for seed in range(5):
        splits = load(write(tmp_path / "d.jsonl", rows), 20, 15, seed)
        assert (splits.report.duplicates_removed, splits.report.usable) == (10, 55)
        asked = [{row["question"] for row in part} for part in splits.values()]
        assert sum(map(len, asked)) == len(set.union(*asked))


def test_questions_about_one_picture_are_one_group() -> None:
    red, blue = ({"bytes": png(colour), "path": None} for colour in ("red", "blue"))
    rows = [FULL | {"question": f"{i}?", "image": image} for i, image in enumerate((red, blue, red))]
    asked = (("Why?", "a"), ("why? ", "b"), ("How?", ""))
    rows += [FULL | {"question": question, "hint": hint} for question, hint in asked]
    first, other, again, words, with_hint, last = TASK.groups(rows)
    assert first == again and words == with_hint and len({first, other, words, last}) == 4
    test = TASK.load(n_train=8, n_eval=30)["test"]  # read from a data set; each has a picture of its own
    assert len(set(TASK.groups(test))) == 30


def test_errors_name_the_column_and_the_number(tmp_path: Path) -> None:
    rows = [{"question": "a", "choice": ["x", "y"], "answer": 0}]
    with pytest.raises(DataError, match="no column 'choices'.*found: question, choice, answer; nearest is 'choice'"):
        load(write(tmp_path / "a.jsonl", rows))
    with pytest.raises(DataError, match="40 usable questions in .*n_train 500"):
        load(write(tmp_path / "b.jsonl", plain(40)), 500)
    with pytest.raises(DataError, match="none of the 12 rows of .* can be used: 12 answer that is no choice"):
        load(write(tmp_path / "c.jsonl", plain(12, answer=7)))
    same = [{"question": "Which?", "choices": ["x", "y"], "answer": 0, "hint": str(i)} for i in range(40)]
    with pytest.raises(DataError, match="too few different ones: .*1 differ in more than the hint"):
        load(write(tmp_path / "d.jsonl", same))
    with pytest.raises(DataError, match="unknown data source 'generatr'"):
        load("generatr")
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "none.parquet")


# ---------- prompts
def test_prompts_of_the_four_settings() -> None:
    start = (
        "Answer with JSON: solution and answer.\nQuestion: Will they attract?\nTask: closed choice\n"
        "Choices: (A) yes (B) no\nHint: Look."
    )
    lecture, solution = "\nLecture: Unlike poles attract.", "\nSolution: No, they repel."
    expected = {"QTCH": "", "QTCHL": lecture, "QTCHLS": lecture + solution, "QTCHS": solution}
    assert TASK.forms == dict.fromkeys(expected, "choice") and TASK.main_form == "QTCH"
    assert set(TASK.bare_questions) == set(expected)
    for form, tail in expected.items():
        example = TASK.examples([FULL], form)[0]
        assert example["prompt"] == start + tail and example["form"] == form and example["id"] == f"7-{form}"
        assert json.loads(example["completion"]) == {"answer": "no", "solution": "No, they repel."}
        assert example["options"] == ["yes", "no"] and example["answer"] == 1
        assert example["gold_solution"] == "No, they repel." and example["image"] is None
        assert example["prompt"].startswith(TASK.bare_prompt(form)[0]["content"])
    bare = TASK.examples([FULL | {"hint": "", "task": "", "lecture": ""}], "QTCHL")[0]["prompt"]
    assert bare == "Answer with JSON: solution and answer.\nQuestion: Will they attract?\nChoices: (A) yes (B) no"
    with pytest.raises(DataError, match="no form 'QTC'"):
        TASK.examples([FULL], "QTC")


def test_examples_keep_order_and_pictures() -> None:
    rows = TASK.load(n_train=20, n_eval=10)["train"]
    examples = TASK.examples(rows, "QTCH")
    usual = ("id", "form", "prompt", "completion", "references", "options", "answer")
    assert tuple(examples.column_names) == (*usual, "image", "gold_solution")
    for row, example in zip(rows, examples, strict=True):
        assert example["id"] == f"{row['id']}-QTCH" and row["question"] in example["prompt"]
        assert (example["image"] is None) == (row["image"] is None)
        if row["image"] is not None:
            assert example["image"].tobytes() == row["image"].tobytes()
    assert TASK.examples(rows.select([])).column_names == examples.column_names
    # Rows that were read already, with decoded pictures, do as well.
    assert TASK.examples(list(rows.select(range(4))))[1]["prompt"] == examples[1]["prompt"]


def test_chat_turns_for_models_that_read_and_models_that_see() -> None:
    rows = [FULL, FULL | {"id": "8", "image": {"bytes": png((9, 8, 7)), "path": None}}]
    without, pictured = TASK.examples(rows)
    text = {"type": "text", "text": without["prompt"]}
    assert TASK.to_messages(pictured)["prompt"] == [{"role": "user", "content": without["prompt"]}]
    assert TASK.with_options(pictured) == TASK.to_messages(pictured)
    seen = TASK.to_vision_messages(pictured)
    assert seen["prompt"] == [{"role": "user", "content": [{"type": "image"}, text]}]
    reply = {"type": "text", "text": pictured["completion"]}
    assert seen["completion"] == [{"role": "assistant", "content": [reply]}]
    assert seen["images"][0].getpixel((0, 0)) == (9, 8, 7)
    better = TASK.to_vision_messages(without)
    assert better["prompt"][0]["content"] == [text] and better["images"] == []
    published = TASK.to_vision_messages(without, blank=True)
    assert published["prompt"][0]["content"] == [{"type": "image"}, text]
    assert published["images"][0].getcolors() == [(192 * 192, (255, 255, 255))]
    assert TASK.to_vision_messages(pictured, blank=True)["images"] == seen["images"]
    assert explained.blank_image(size=50).size == (50, 50)


# ---------- scores
WRITTEN = [
    ('{"answer": "no", "solution": "No, they repel."}', 1),
    ('{"answer": "B", "solution": "No, th', 1),
    ('{"answer": "(B) no"}', 1),
    ("```json\n{'answer': 'B'}\n```", 1),
    ('{"answer": 1}', 1),  # counted from 0, as the published data do
    ('{"answer": 0}', 0),
    ('{"answer": 2}', None),
    ('{"answer": "no", "solution": ""}', 1),
    ("The answer is B.", 1),
    ("no", 1),
    ("C", None),
    ("", None),
    ('{"solution": "They repel."}', None),
]


@pytest.mark.parametrize(("text", "index"), WRITTEN)
def test_written_answers_are_read(text: str, index: int | None) -> None:
    assert explained.read_answer(text, ["yes", "no"]).index == index


def test_letters_count_where_choices_are_numbers() -> None:
    options = ["2", "3", "4"]
    texts = ['{"answer": "C"}', '{"answer": "3"}', "The answer is (A).", '{"answer": 4}', '{"answer": "D"}', "5"]
    assert [explained.read_answer(text, options).index for text in texts] == [2, 1, 0, 2, None, None]
    assert explained.read_answer('{"answer": 1}', ["yes", "no"], first_number=1).index == 0


def test_an_answer_without_a_choice_is_minus_one() -> None:
    texts = ['{"answer": "no"}', "I cannot tell.", '{"answer": "C"}']
    assert explained.named_choices(texts, [["yes", "no"], ["yes", "no"], ["2", "3", "4"]]) == [1, -1, 2]
    with pytest.raises(ValueError, match="shorter"):
        explained.named_choices(texts, [["yes", "no"]])


def test_the_answer_to_learn_is_read_back() -> None:
    rows = TASK.load(n_train=10, n_eval=60)["test"]
    for form in TASK.forms:
        quiz = TASK.examples(rows, form).remove_columns("image")
        assert all(explained.read_answer(e["completion"], e["options"]).index == e["answer"] for e in quiz)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"solution": "They repel.", "answer": "no"}', "They repel."),
        ('{"answer": "no", "solution": "They \\"repel\\"."}', 'They "repel".'),
        ('{"solution": "Cut off in the mid', "Cut off in the mid"),
        ('{"answer": "no", "explanation": "They repel."}', "They repel."),
        ('{"answer": "no"}', ""),
        ("They repel.", "They repel."),
        ("", ""),
    ],
)
def test_the_solution_is_read_from_an_answer(text: str, said: str) -> None:
    assert explained.read_solution(text) == said


def test_answers_after_a_solution_are_beginnings_of_completions() -> None:
    written = explained.completion("no", 'They "repel".')
    starts = explained.answers_after(written, ["yes", "no"])
    assert written == starts[1] + "}" and starts[0] == starts[1].replace('"no"', '"yes"')
    assert [explained.read_answer(start, ["yes", "no"]).index for start in starts] == [0, 1]
