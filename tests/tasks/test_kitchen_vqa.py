"""Local questions about pictures: VQAv2, OK-VQA, A-OKVQA, the LoRA data set, and the course's own columns."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from helpers import tasks
from helpers.errors import DataError
from helpers.sources.source import Source
from helpers.tasks.kitchen import vqa
from helpers.tasks.kitchen.rows import usable
from helpers.tasks.report import LoadReport

TASK = tasks.get("kitchen")
FOODS = ("apple", "bread", "cheese", "egg", "milk", "onion", "pear", "rice")
SIZES = {"train": 30, "val": 12, "test": 12}


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = random.Random(number)
    Image.frombytes("RGB", (16, 16), rng.randbytes(3 * 16 * 16)).save(path)


def vqa_files(folder: Path, splits: tuple[str, ...] = ("train", "val", "test"), okvqa: bool = False) -> Path:
    """VQAv2's layout, or OK-VQA's: questions and annotations apart, ten annotators, COCO's names of pictures."""
    number = 0
    for split in splits:
        questions, annotations = [], []
        for _ in range(SIZES[split]):
            number += 1
            right = FOODS[number % len(FOODS)]
            said = [right] * 6 + [FOODS[(number + 1) % len(FOODS)]] * 3 + ["food"]
            questions.append({"image_id": number, "question": f"What is food {number}?", "question_id": 1000 + number})
            answers: list[dict[str, Any]] = [
                {"answer": a, "answer_confidence": "yes", "answer_id": i} | ({"raw_answer": a} if okvqa else {})
                for i, a in enumerate(said)
            ]
            more = {} if okvqa else {"multiple_choice_answer": right}
            annotations.append(
                {"question_id": 1000 + number, "image_id": number, "question_type": "what is", "answers": answers}
                | more
            )
            picture(folder / f"{split}2014" / f"COCO_{split}2014_{number:012d}.jpg", number)
        head = {"info": {"version": "2.0"}, "license": {"name": "x"}, "data_type": "mscoco"}
        (folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json").write_text(
            json.dumps(head | {"questions": questions})
        )
        (folder / f"v2_mscoco_{split}2014_annotations.json").write_text(json.dumps(head | {"annotations": annotations}))
    return folder


def lora_files(folder: Path) -> Path:
    """The LoRA data set's layout: lists without a head, answers as one text, a flag in multiple_choice_answer."""
    questions, annotations = [], []
    for i in range(60):
        key, scene = 10_000_000 + i, 1000 + i
        answers = "lettuce,avocado" if i % 3 == 0 else FOODS[i % len(FOODS)]
        questions.append({"image_id": scene, "question": f"which foods are green and number {i}", "question_id": key})
        annotations.append(
            {"question_type": "logicAnd", "multiple_choice_answer": "no", "answers": answers, "image_id": scene,
             "answer_type": "singleobjects", "question_id": key}
        )  # fmt: skip
        picture(folder / "images" / f"{scene}.png", i)
    (folder / "questions_logic2.json").write_text(json.dumps(questions))
    (folder / "annotations_logic2.json").write_text(json.dumps(annotations))
    return folder


def aokvqa_files(folder: Path) -> Path:
    """A-OKVQA's layout: choices, ten direct answers, three rationales; test without answers."""
    number = 0
    for split, size in SIZES.items():
        rows = []
        for _ in range(size):
            number += 1
            choices = [FOODS[(number + k) % len(FOODS)] for k in range(4)]
            row: dict[str, Any] = {
                "split": split,
                "image_id": number,
                "question_id": f"q{number:04d}",
                "choices": choices,
            }
            row |= {"question": f"What is food {number}?", "difficult_direct_answer": False}
            if split != "test":
                row |= {"correct_choice_idx": number % 4, "direct_answers": [choices[number % 4]] * 7 + ["food"] * 3}
                row |= {"rationales": [f"It looks like {choices[number % 4]}.", "Another.", "A third."]}
            rows.append(row)
            picture(folder / f"{split}2017" / f"{number:012d}.jpg", number)
        (folder / f"aokvqa_v1p0_{split}.json").write_text(json.dumps(rows))
    return folder


@pytest.mark.parametrize("okvqa", [False, True])
def test_questions_and_annotations_are_joined_and_official_splits_kept(tmp_path: Path, okvqa: bool) -> None:
    splits = TASK.load(20, 10, str(vqa_files(tmp_path, okvqa=okvqa)), 0)
    report = splits.report
    assert report.rows_read == 54 and report.usable == 54 and not report.dropped
    assert "official splits: train 30, validation 12, test 12" in report.notes
    assert "40 questions have no choices: they get answers of others of the same type" in report.notes
    for name, low, high in (("train", 0, 30), ("validation", 30, 42), ("test", 42, 54)):
        for row in splits[name]:
            number = int(row["id"]) - 1000
            assert low < number <= high and row["question"] == f"What is food {number}?"
            assert row["image"].size == (16, 16)
            right = FOODS[number % len(FOODS)]
            assert row["answers"][0] == right and len(row["answers"]) == 1 + 4
            assert row["choices"][row["answer"]] == right and len(set(row["choices"])) == 4
            assert FOODS[(number + 1) % len(FOODS)] not in row["choices"], "three annotators said it: it is not wrong"
            assert row["form"] == "what is" and row["depth"] == 0 and row["needs_picture"]
    answers = TASK.examples(splits["test"], "Q")
    assert all(len(example["references"]) == 3 for example in answers), "each answer that anybody gave, once"
    assert len(TASK.examples(splits["test"])) == 10


def test_pictures_belong_to_their_questions(tmp_path: Path) -> None:
    splits = TASK.load(20, 10, str(vqa_files(tmp_path)), 0)
    row = splits["test"][0]
    number = int(row["id"]) - 1000
    with Image.open(tmp_path / "test2014" / f"COCO_test2014_{number:012d}.jpg") as own:
        assert own.tobytes() == row["image"].tobytes()


def test_the_lora_layout_keeps_answers_of_several_foods_whole(tmp_path: Path) -> None:
    splits = TASK.load(20, 10, str(lora_files(tmp_path)), 0)
    rows = [row for part in splits.values() for row in part]
    answers = {row["answers"][0] for row in rows}
    assert "lettuce, avocado" in answers and "no" not in answers and "apple" in answers
    assert all(row["form"] == "logicAnd" for row in rows)
    assert sum(len(row["choices"]) == 4 for row in rows) > 30


def test_aokvqa_brings_its_own_choices_and_reasons(tmp_path: Path) -> None:
    splits = TASK.load(20, 6, str(aokvqa_files(tmp_path)), 0)
    report = splits.report
    assert report.dropped == {"answer that is no choice": 12}, "its test split has no answers"
    assert any("no split test that can be used: cut from train" in note for note in report.notes)
    for row in splits["train"]:
        number = int(row["id"].removeprefix("q"))
        assert row["choices"] == [FOODS[(number + k) % len(FOODS)] for k in range(4)]
        assert row["answer"] == number % 4 and row["answers"].count("food") == 3
        assert row["solution"] == f"It looks like {row['choices'][row['answer']]}."
    assert {int(row["id"].removeprefix("q")) for row in splits["validation"]} <= set(range(31, 43))


def own_rows(folder: Path, n: int = 40, change: Callable[[int, dict[str, Any]], None] = lambda i, row: None) -> Path:
    """The course's own questions as JSON lines, with their pictures as files."""
    rows = []
    folder.mkdir(exist_ok=True)
    made = TASK.load(n - 20, 10, "generator-small", 5)
    for part in made.values():
        for i, row in enumerate(dict(row) for row in part):
            if row["image"] is not None:
                row["image"].save(folder / f"{row['id']}.png")
                row["image"] = f"{row['id']}.png"
            change(i, row)
            rows.append(row)
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_courses_own_rows_come_back(tmp_path: Path) -> None:
    path = own_rows(tmp_path)
    back = TASK.load(20, 10, str(path), 0)
    given = {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}
    for part in back.values():
        for row in part:
            first = given[row["id"]]
            same = (
                "question",
                "choices",
                "answer",
                "scene",
                "knowledge",
                "form",
                "depth",
                "needs_ontology",
                "logic",
                "solution",
            )
            assert {name: row[name] for name in same} == {name: first[name] for name in same}
            assert row["objects"] == first["objects"] and (row["image"] is None) == (first["image"] is None)


def bad_food(i: int, row: dict[str, Any]) -> None:
    if i < 3 and row["objects"]:
        row["objects"][0]["food"] = "durian"


def bad_form(i: int, row: dict[str, Any]) -> None:
    if i < 3:
        row["logic"] = "perhaps(kind=fruit)"


def no_picture(i: int, row: dict[str, Any]) -> None:
    if i < 3 and row["image"]:
        row["image"] = "gone.png"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (bad_food, "the ontology has no food 'durian'"),
        (bad_form, "no logical form: 'perhaps(kind=fruit)'"),
        (no_picture, "image file missing"),
        (lambda i, row: row.update(question="") if i < 3 else None, "no question"),
        (lambda i, row: row.update(answer=9) if i < 3 else None, "answer that is no choice"),
        (lambda i, row: row.update(objects="apple") if i < 3 else None, "objects that are no list"),
    ],
)  # fmt: skip
def test_a_bad_row_is_skipped_and_counted(tmp_path: Path, change: Any, reason: str) -> None:
    splits = TASK.load(8, 8, str(own_rows(tmp_path, change=change)), 0)
    (said, count), *others = splits.report.dropped.items()
    assert said.startswith(reason) and 0 < count <= 9 and not others


def test_questions_without_a_file_of_annotations_are_left_out_with_a_note(tmp_path: Path) -> None:
    vqa_files(tmp_path)
    (tmp_path / "v2_mscoco_test2014_annotations.json").unlink()
    splits = TASK.load(10, 6, str(tmp_path), 0)
    assert "12 questions of split test have no file of annotations: left out" in splits.report.notes
    assert any("no split test that can be used" in note for note in splits.report.notes)


def rewrite(path: Path, kind: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {kind: change(whole[kind])}))


def test_files_that_do_not_belong_together_are_refused_in_one_line(tmp_path: Path) -> None:
    vqa_files(tmp_path)
    annotations = tmp_path / "v2_mscoco_train2014_annotations.json"
    rewrite(
        annotations, "annotations", lambda rows: [row | {"question_id": row["question_id"] + 10**6} for row in rows]
    )
    with pytest.raises(
        DataError, match="do not match: 30 of 30 questions have no annotation with their question_id"
    ) as caught:
        TASK.load(10, 6, str(tmp_path), 0)
    assert "\n" not in str(caught.value)


def test_single_questions_without_a_partner_are_counted(tmp_path: Path) -> None:
    vqa_files(tmp_path)
    annotations = tmp_path / "v2_mscoco_train2014_annotations.json"
    rewrite(
        annotations,
        "annotations",
        lambda rows: [rows[0] | {"image_id": 7}, *rows[2:], rows[5], rows[-1] | {"question_id": 5}],
    )
    report = TASK.load(10, 6, str(tmp_path), 0).report
    assert report.dropped == {
        "question and annotation about different pictures": 1,
        "question without an annotation": 1,
        "question_id that stands twice": 1,
        "annotation without a question": 1,
    }


def test_pictures_that_are_missing_are_counted(tmp_path: Path) -> None:
    vqa_files(tmp_path)
    for number in (1, 2):
        (tmp_path / "train2014" / f"COCO_train2014_{number:012d}.jpg").unlink()
    (tmp_path / "train2014" / "COCO_train2014_000000000003.jpg").write_bytes(b"no picture")
    assert TASK.load(10, 6, str(tmp_path), 0).report.dropped == {"image file missing": 2, "image unreadable": 1}


def test_no_pictures_at_all_is_one_line(tmp_path: Path) -> None:
    vqa_files(tmp_path)
    for file in tmp_path.rglob("*.jpg"):
        file.unlink()
    with pytest.raises(DataError, match="none of the 54 rows of .* can be used: 54 image file missing"):
        TASK.load(10, 6, str(tmp_path), 0)


@pytest.mark.parametrize("text", ["{", '{"questions": 3}', '[{"question": "no id"}]'])
def test_a_file_that_holds_no_questions_is_refused(tmp_path: Path, text: str) -> None:
    vqa_files(tmp_path)
    (tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json").write_text(text)
    with pytest.raises(DataError, match="train2014_questions.json (cannot be read|is no list of questions)"):
        TASK.load(10, 6, str(tmp_path), 0)


def test_splits_cut_anew_keep_questions_about_one_picture_together(tmp_path: Path) -> None:
    vqa_files(tmp_path)
    for split in SIZES:  # two questions about each picture
        path = tmp_path / f"v2_OpenEnded_mscoco_{split}2014_questions.json"
        marks = tmp_path / f"v2_mscoco_{split}2014_annotations.json"
        rewrite(
            path,
            "questions",
            lambda rows: rows + [r | {"question_id": r["question_id"] + 500, "question": "Why?"} for r in rows],
        )
        rewrite(marks, "annotations", lambda rows: rows + [r | {"question_id": r["question_id"] + 500} for r in rows])
    splits = TASK.load(40, 20, Source(str(tmp_path), splits="random"), 0)
    seen = {name: set(TASK.groups(part)) for name, part in splits.items()}
    assert not seen["train"] & seen["test"] and not seen["train"] & seen["validation"]
    assert not any("official splits" in note for note in splits.report.notes)


def test_without_pictures_rows_keep_their_scene_in_words(tmp_path: Path) -> None:
    splits = TASK.load(20, 10, str(own_rows(tmp_path)), 0, pictures=False)
    assert all(row["image"] is None for row in splits["test"])
    with pytest.raises(DataError, match="with a picture and no scene in words"):
        TASK.load(20, 10, str(vqa_files(tmp_path / "vqa")), 0, pictures=False)


@pytest.mark.parametrize(
    ("given", "single", "answer"),
    [
        (["net", "netting", "net"], "", "net"), (["a", "b"], "", "a"), (["a", "b", "b"], "a", "a"),
        (["lettuce, avocado"], "no", "lettuce, avocado"), ([], "yes", "yes"), ([], "", ""),
    ],
)  # fmt: skip
def test_the_answer_to_train_on(given: list[str], single: str, answer: str) -> None:
    assert vqa.agreed(given, single) == answer


def test_answers_are_read_in_the_shapes_that_are_published() -> None:
    assert vqa.answers_of([{"answer": "net", "answer_id": 1}, {"raw_answer": "nets"}]) == ["net", "nets"]
    assert vqa.answers_of(["a", "", "b"]) == ["a", "b"]
    assert vqa.answers_of("lettuce, avocado") == ["lettuce, avocado"] and vqa.answers_of(None) == []


def test_pictures_are_told_apart_by_split_or_refused(tmp_path: Path) -> None:
    for name in (
        "train2014/COCO_train2014_000000000005.jpg",
        "val2014/COCO_val2014_000000000005.jpg",
        "x/a_7.png",
        "y/b_7.png",
    ):
        picture(tmp_path / name, 0)
    files = vqa.PictureFiles([tmp_path])
    assert files.find(5, "validation").name == "COCO_val2014_000000000005.jpg"
    for key, split, said in (
        (7, "train", "fits several files"),
        (5, "", "fits several files"),
        (9, "train", "missing"),
    ):
        with pytest.raises(vqa.Unusable, match=said):
            files.find(key, split)


def test_other_columns_of_no_use_are_refused_with_what_is_needed() -> None:
    from helpers.sources.local import RawRows

    raw = RawRows("x", [{"query": "What?"}], ["query"], 1, files=[""])
    with pytest.raises(DataError, match="1 no answer.*Needed are a question, an answer, and a picture"):
        usable(raw, [], LoadReport("kitchen", "x"), {})
