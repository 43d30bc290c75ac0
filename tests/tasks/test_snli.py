"""Task snli: labels that follow, no shortcut, reading of labels, splits."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks.snli import generator as snli_generator
from helpers.tasks.snli.task import check_no_leak
from helpers.tasks.snli.words import LABELS
from tools.tiny.sentences import captions

TASK = tasks.get("snli")


@pytest.fixture(scope="module")
def loads() -> list[Any]:
    return [TASK.load(2000, 600, "generator", seed) for seed in range(3)]


def linear_accuracy(splits: Any, text: Any) -> float:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=300))
    model.fit([text(row) for row in splits["train"]], splits["train"]["label"])
    return float(model.score([text(row) for row in splits["test"]], splits["test"]["label"]))


def test_hypothesis_alone_is_at_chance(loads: list[Any]) -> None:
    for splits in loads:
        assert linear_accuracy(splits, lambda row: row["hypothesis"]) < 0.40
        assert linear_accuracy(splits, lambda row: f"len{len(row['hypothesis'])}") < 0.40
        assert linear_accuracy(splits, lambda row: row["premise"]) < 0.55


def test_pair_is_learnable(loads: list[Any]) -> None:
    """Word pairs across premise and hypothesis carry the label, even for a linear model."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def cross(row: dict[str, str]) -> list[str]:
        sides = [row[key].lower().strip(".").split() for key in ("premise", "hypothesis")]
        return [f"{a}|{b}" for a, b in product(*map(set, sides))]

    model = make_pipeline(CountVectorizer(analyzer=cross), LogisticRegression(max_iter=300, C=3))
    model.fit(list(loads[0]["train"]), loads[0]["train"]["label"])
    assert model.score(list(loads[0]["test"]), loads[0]["test"]["label"]) > 0.6


def test_labels_balanced_vocabulary_small_sizes_exact(loads: list[Any]) -> None:
    splits = loads[0]
    assert {name: len(splits[name]) for name in splits} == {"train": 2000, "validation": 200, "test": 600}
    assert Counter(splits["test"]["label"]) == {0: 200, 1: 200, 2: 200}
    words = {w for row in splits["train"] for w in re.findall("[a-z]+", (row["premise"] + row["hypothesis"]).lower())}
    assert len(words) <= 400
    labels = defaultdict(Counter)
    for row in splits["test"]:
        labels[row["hypothesis"]][row["label"]] += 1
    assert all(len(set(counts.values())) == 1 and len(counts) == 3 for counts in labels.values())


def test_no_premise_crosses_splits_and_seed_decides(loads: list[Any]) -> None:
    first = loads[0]
    premises = {name: set(first[name]["premise"]) for name in first}
    assert not premises["train"] & premises["test"] and not premises["train"] & premises["validation"]
    assert not premises["validation"] & premises["test"]
    again = TASK.load(2000, 600, "generator", 0)
    assert again.report.fingerprint == first.report.fingerprint != loads[1].report.fingerprint
    assert TASK.load(100, 600, "generator", 0)["test"]["id"] == first["test"]["id"]
    rows = [dict(row) for row in first["test"]]
    with pytest.raises(DataError, match="premise .* is in both train and test"):
        check_no_leak({"train": rows[:3], "validation": [], "test": [{**rows[0], "id": "other"}]})


# --- an independent judge: what a caption says is a set of worlds ---

KINDS = ["girl", "boy", "woman", "man", "dog", "cat", "horse", "bird"]
IS_A = {
    "girl": {"girl"}, "boy": {"boy"}, "child": {"girl", "boy"}, "woman": {"woman"}, "man": {"man"},
    "adult": {"woman", "man"}, "person": {"girl", "boy", "woman", "man"}, "dog": {"dog"}, "cat": {"cat"},
    "horse": {"horse"}, "bird": {"bird"}, "animal": {"dog", "cat", "horse", "bird"},
}  # fmt: skip
SINGULAR = {
    "girls": "girl", "boys": "boy", "children": "child", "women": "woman", "men": "man", "adults": "adult",
    "people": "person", "dogs": "dog", "cats": "cat", "horses": "horse", "birds": "bird", "animals": "animal",
}  # fmt: skip
PLACES = {
    "in the park": "out1", "on the beach": "out2", "in the garden": "out3", "in the street": "out4",
    "in the forest": "out5", "in the kitchen": "in1", "in the bedroom": "in2", "in the office": "in3",
    "in the museum": "in4", "outdoors": "out", "indoors": "in",
}  # fmt: skip
SPORTS = ["playing tennis", "playing football", "playing basketball"]
NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def subject_of(text: str) -> tuple[str, set[str]]:
    """First noun of a sentence, and the kinds it may stand for."""
    for word in re.findall("[a-z]+", text.lower()):
        word = SINGULAR.get(word, word)
        if word in IS_A:
            return word, IS_A[word]
    raise AssertionError(text)


def places_in(text: str) -> set[str] | None:
    for phrase, code in PLACES.items():
        if phrase in text.lower():
            return {value for value in PLACES.values() if value[-1].isdigit() and value.startswith(code)}
    return None


def company_of(text: str) -> set[frozenset[str]] | None:
    """Possible companies: subsets of dog, cat, friend."""
    subsets = [frozenset(c for c, on in zip(("dog", "cat", "friend"), bits, strict=True) if on)
               for bits in product((0, 1), repeat=3)]  # fmt: skip
    if "alone" in text or "on their own" in text:
        return {frozenset()}
    for word in ("dog", "cat", "friend"):
        if f"with a {word}" in text:
            return {s for s in subsets if word in s}
    if "with an animal" in text:
        return {s for s in subsets if s & {"dog", "cat"}}
    return None


def judge(given: set[Any] | None, asked: set[Any], negated: bool) -> int:
    if given is None:
        return 1
    true = {bool(world in asked) != negated for world in given}
    return 1 if len(true) == 2 else 0 if true == {True} else 2


def test_labels_follow_from_meaning() -> None:
    """Place, company, number, subject and quantifier triples against the judge above."""
    judged = Counter()
    for row in (row for triple in islice(snli_generator.triples(7), 3000) for row in triple):
        premise, hypothesis, label = row["premise"], row["hypothesis"], row["label"]
        negated = " not " in hypothesis
        if re.match(r"(Every|No) ", hypothesis):
            judged["quantified"] += 1
            domain = [kind for kind in KINDS if kind in IS_A["person"]] if subject_of(hypothesis)[1] <= IS_A[
                "person"
            ] else [kind for kind in KINDS if kind in IS_A["animal"]]  # fmt: skip

            def holds(text: str, world: dict[str, bool]) -> bool:
                some = [world[kind] for kind in sorted(subject_of(text)[1])]
                return all(some) if text.startswith("Every") else not any(some)

            worlds = [dict(zip(domain, bits, strict=True)) for bits in product((False, True), repeat=len(domain))]
            outcome = {holds(hypothesis, world) for world in worlds if holds(premise, world)}
            assert label == (1 if len(outcome) == 2 else 0 if outcome == {True} else 2), (premise, hypothesis)
        elif hypothesis.startswith("There are"):
            judged["number"] += 1
            bound, word = re.match(r"There are (more than|at least|fewer than|exactly) (\w+)", hypothesis).groups()
            limit = NUMBERS[word]
            asked = {n for n in range(1, 12)
                     if {"more than": n > limit, "at least": n >= limit, "fewer than": n < limit,
                         "exactly": n == limit}[bound]}  # fmt: skip
            count = re.match(r"(?:This is a picture of )?(\w+)", premise)[1].lower()
            given = {NUMBERS[count]} if count in NUMBERS else set(range(2, 12))
            assert label == judge(given, asked, False), (premise, hypothesis)
            assert subject_of(premise)[1] <= subject_of(hypothesis)[1]
        elif not hypothesis.startswith("The "):
            judged["subject"] += 1
            assert label == judge(subject_of(premise)[1], subject_of(hypothesis)[1], False), (
                premise,
                hypothesis,
            )
        else:
            assert subject_of(premise)[1] <= subject_of(hypothesis)[1]
            if (asked_places := places_in(hypothesis)) is not None:
                judged["place"] += 1
                assert label == judge(places_in(premise), asked_places, negated), (premise, hypothesis)
            elif (asked_company := company_of(hypothesis)) is not None:
                judged["company"] += 1
                assert label == judge(company_of(premise), asked_company, negated), (premise, hypothesis)
            elif "playing" in hypothesis and "playing" in premise:
                judged["sport"] += 1
                said = [{s for s in SPORTS if s in text.lower()} or set(SPORTS) for text in (premise, hypothesis)]
                assert label == judge(said[0], said[1], negated), (premise, hypothesis)
            elif "wearing" in hypothesis:
                judged["clothes"] += 1
                colour, garment = re.search(r"wearing (?:an? )?(\w+) (\w+)\.", hypothesis).groups()
                worn = re.search(r" in (?:an? )?(?:(\w+) )?(shirt|hat|coat|scarf|scarve)s?\b", premise)
                same = worn and worn[2][:3] == garment[:3]
                known = worn[1] if same and worn[1] not in (None, "a") else None
                expected = 1 if not known else 0 if (known == colour) != negated else 2
                assert label == expected, (premise, hypothesis)
    assert min(judged.values()) > 100 and len(judged) == 7, judged


def test_examples_are_yes_maybe_no(loads: list[Any]) -> None:
    rows = loads[0]["test"].select(range(30))
    for row, example in zip(rows, TASK.examples(rows), strict=True):
        assert example["options"] == ["yes", "maybe", "no"]
        assert (
            example["completion"]
            == {"entailment": "yes", "neutral": "maybe", "contradiction": "no"}[LABELS[row["label"]]]
        )
        assert example["answer"] == row["label"]
        assert row["premise"] in example["prompt"] and row["hypothesis"] in example["prompt"]


def test_generic_text_shows_no_pairs() -> None:
    lines = captions(800, seed=1)
    assert lines == captions(800, seed=1)
    assert not [line for line in lines if "\n" in line or re.search("premise|hypothesis|entail", line.lower())]
    pretrained = set(re.findall("[a-z]+", " ".join(lines).lower()))
    rows = [row for triple in islice(snli_generator.triples(0), 300) for row in triple]
    needed = set(re.findall("[a-z]+", " ".join(r["premise"] + " " + r["hypothesis"] for r in rows).lower()))
    assert len(needed - pretrained) <= 8


def hub_like(folder: Path, count: int = 120) -> Path:
    """A parquet file in the Hub's shape: three hypotheses a premise, some without an agreed label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "premise": f"Premise number {n // 3}.",
            "hypothesis": f"Hypothesis {n}.",
            "label": -1 if n % 10 == 9 else n % 3,
        }
        for n in range(count)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    return folder / "train.parquet"


def test_label_minus_one_is_dropped_and_counted(tmp_path: Path) -> None:
    splits = TASK.load(40, 30, str(hub_like(tmp_path)))
    assert splits.report.dropped == {"without an agreed label": 12}
    assert splits.report.usable == 108 and set(splits["train"]["label"]) == {0, 1, 2}
    premises = [set(splits[name]["premise"]) for name in splits]
    assert not premises[0] & premises[1] and not premises[0] & premises[2] and not premises[1] & premises[2]
    with pytest.raises(DataError, match="there are 108 usable pairs"):
        TASK.load(1000, 30, str(tmp_path))
    with pytest.raises(DataError, match="splitting them by premise leaves too few|there are 108 usable"):
        TASK.load(70, 30, str(tmp_path))


def test_local_file_with_other_column_names(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    lines = ["pairID\tsentence1\tsentence2\tgold_label"]
    lines += [f"p{n}\tA man runs {n}.\tSomeone moves {n}.\t{LABELS[n % 3]}" for n in range(60)]
    lines += ["p1\tA man runs 1.\tSomeone moves 1.\tneutral", "x\tA\tB\t-"]
    path.write_text("\n".join(lines))
    splits = TASK.load(20, 20, str(path))
    assert splits.report.duplicates_removed == 1
    assert splits.report.dropped == {"without an agreed label": 1}


def pairs_of(*texts: tuple[str, str]) -> list[dict[str, str]]:
    return [{"premise": premise, "hypothesis": hypothesis} for premise, hypothesis in texts]


def partition(groups: list[Any]) -> set[frozenset[int]]:
    return {frozenset(i for i, label in enumerate(groups) if label == one) for one in set(groups)}


def test_pairs_that_share_a_sentence_or_are_linked_by_others_are_one_group() -> None:
    rows = pairs_of(("A", "x"), ("B", "x"), ("b ", "y"), ("C", "z"), ("D", "w"), ("D", "v"))
    assert partition(TASK.groups(rows)) == {frozenset({0, 1, 2}), frozenset({3}), frozenset({4, 5})}


def test_groups_of_generated_pairs_hold_whole_triples(loads: list[Any]) -> None:
    for splits in loads:
        test = splits["test"]
        groups = dict(zip(test["id"], TASK.groups(test), strict=True))
        triples = {key.rpartition("-")[0] for key in groups}
        assert all(len({groups[f"{triple}-{label}"] for label in range(3)}) == 1 for triple in triples)
        assert 100 <= len(set(groups.values())) <= 200  # of 600 pairs: some hypotheses come twice
        by_hypothesis = {row["hypothesis"]: groups[row["id"]] for row in test}
        assert len(set(by_hypothesis.values())) == len(by_hypothesis)  # premises are all different


def test_a_sentence_that_nearly_all_pairs_share_links_none_of_them() -> None:
    """Topic labels asked as hypotheses; and SNLI's stock phrases, which would chain thousands of premises."""
    rows = pairs_of(*((f"text {i // 2}", f"It is about {'sports' if i % 2 else 'art'}.") for i in range(100)))
    assert partition(TASK.groups(rows)) == {frozenset({i, i + 1}) for i in range(0, 100, 2)}
