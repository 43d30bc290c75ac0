"""Pairing two systems' predictions, the four outcomes, slices with corrected tests, and a reader's notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from helpers.errors import DataError
from helpers.evaluation import cases, failures
from helpers.evaluation.clusters import group_newcombe, group_wilson, sign_flips
from helpers.evaluation.predictions import read_predictions

LABELS = ["entailment", "neutral", "contradiction"]


def made_up(seed: int, n: int = 200, skill: float = 0.6) -> list[dict[str, Any]]:
    examples, rng = np.random.default_rng(7), np.random.default_rng(seed)
    rows = []
    for i in range(n):
        gold = LABELS[examples.integers(3)]
        guess = gold if rng.random() < skill else LABELS[rng.integers(3)]
        premise = " ".join(examples.choice(["a", "dog", "runs", "not", "far", "red"], size=examples.integers(4, 30)))
        rows.append(
            {"id": str(i), "input": f"{premise} #{i}", "premise": premise, "hypothesis": "a dog runs",
             "reference": gold, "prediction": guess, "score": float(guess == gold)}
        )  # fmt: skip
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def paired(tmp_path: Path) -> pd.DataFrame:
    before = read_predictions(write(tmp_path / "a.jsonl", made_up(1, skill=0.2)))
    after = read_predictions(write(tmp_path / "b.jsonl", made_up(2, skill=0.8)))
    return failures.pair(before, after)


def test_outcomes_equal_a_loop_over_the_rows(paired: pd.DataFrame) -> None:
    x, y = made_up(1, skill=0.2), made_up(2, skill=0.8)
    expected = dict.fromkeys(failures.OUTCOMES, 0)
    for a, b in zip(x, y, strict=True):
        name = {(0, 1): "fixed", (1, 0): "broken", (0, 0): "wrong both times", (1, 1): "right both times"}
        expected[name[int(a["score"]), int(b["score"])]] += 1
    assert failures.counts(paired) == expected and min(expected.values()) > 0
    assert list(paired["input"]) == [row["input"] for row in x]
    assert list(paired["before"]) == [row["prediction"] for row in x]
    assert list(paired["after"]) == [row["prediction"] for row in y]
    assert {"premise", "hypothesis", "id"} <= set(paired.columns)
    test = failures.test_change(paired)
    fixed, broken = expected["fixed"], expected["broken"]
    assert test.difference == pytest.approx((fixed - broken) / len(x))
    assert test.p_value == pytest.approx(binomtest(fixed, fixed + broken).pvalue)


def test_slices_equal_independent_counts(paired: pd.DataFrame) -> None:
    table = failures.slices(paired, failures.pair_slices())
    assert table.groupby("slice")["n"].sum().eq(len(paired)).all()
    assert set(table["slice"]) == {"label", "negation", "length", "word overlap"}
    for row in table[table["slice"] == "label"].itertuples():
        part = paired[paired["reference"] == row.value]
        k = int(part["after_right"].sum())
        assert (row.after.low, row.after.high) == pytest.approx(proportion_confint(k, len(part), method="wilson"))
        assert row.difference == pytest.approx(part["after_right"].mean() - part["before_right"].mean())
        assert (row.fixed, row.broken) == ((part["outcome"] == "fixed").sum(), (part["outcome"] == "broken").sum())
    assert np.allclose(table["p_holm"], multipletests(table["p"], method="holm")[1])
    negated = table[(table["slice"] == "negation") & (table["value"] == "negated")]["n"].item()
    assert negated == sum("not" in row["premise"].split() for row in made_up(1))


def grouped(paired: pd.DataFrame, seed: int = 5) -> pd.DataFrame:
    return paired.assign(group=np.random.default_rng(seed).integers(0, 60, len(paired)))


def test_related_rows_are_drawn_together(paired: pd.DataFrame) -> None:
    related = grouped(paired)
    x, y, groups = (related[c].to_numpy() for c in ("before_right", "after_right", "group"))
    test = failures.test_change(related)
    assert test.test == f"exact sign flips of {len(set(groups))} groups"
    assert (test.p_value, test.low, test.high) == (sign_flips(y, x, groups).p_value, *group_newcombe(y, x, groups)[1:])
    table = failures.slices(related, failures.pair_slices())
    for row in table[table["slice"] == "label"].itertuples():
        part = related[related["reference"] == row.value]
        assert row.after == group_wilson(part["after_right"], part["group"])
        assert row.p == sign_flips(part["after_right"], part["before_right"], part["group"]).p_value
    shared = paired.assign(premise=[f"premise {i // 4}" for i in range(len(paired))])  # no column group
    assert failures.test_change(shared).test == "exact sign flips of 50 groups"
    alone = related.assign(group=[None] * 20 + list(related["group"][20:]))  # rows that say nothing are their own
    assert failures.test_change(alone).test == f"exact sign flips of {len(set(groups[20:])) + 20} groups"


def test_a_slice_of_one_group_says_nothing_of_others(paired: pd.DataFrame) -> None:
    table = failures.slices(paired.head(9).assign(group="one"), {"all": lambda row: "all"})
    row = table.iloc[0]
    assert (row["after"].low, row["after"].high, row["low"], row["high"], row["p"]) == (0, 1, -1, 1, 1)
    assert row["after"].value == paired.head(9)["after_right"].mean()


@pytest.mark.parametrize(("text", "expected"), [("he isn't here", "negated"), ("notable nothings", "not negated")])
def test_negation_is_a_word_or_its_short_form(text: str, expected: str) -> None:
    row = {"premise": text, "hypothesis": "", "reference": "x"}
    assert failures.pair_slices()["negation"](row) == expected


def test_files_as_project_e_published_them(tmp_path: Path) -> None:
    sample = [{"premise": f"p{i}", "hypothesis": f"it's {i}", "label": i % 3} for i in range(6)]
    for name, predicted in (("before", [0] * 6), ("after", [0, 1, 2, 0, 1, 1])):
        table = pd.DataFrame({"sample": [repr(s) for s in sample], "prediction": predicted})
        table["label"] = [s["label"] for s in sample]
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    read = [read_predictions(tmp_path / f"{name}.csv", reference="label") for name in ("before", "after")]
    assert list(read[0]["premise"]) == [s["premise"] for s in sample]
    assert failures.counts(failures.pair(*read)) == {
        "fixed": 3, "broken": 0, "wrong both times": 1, "right both times": 2,
    }  # fmt: skip


def test_a_baseline_in_the_same_file(tmp_path: Path) -> None:
    rows = [row | {"baseline": "neutral"} for row in made_up(3)]
    path = write(tmp_path / "p.jsonl", rows)
    before = read_predictions(path, prediction="baseline", score="baseline_score")
    assert before["right"].sum() == sum(row["reference"] == "neutral" for row in rows)


def test_rows_of_one_form(tmp_path: Path) -> None:
    rows = [
        {"form": f, "input": "q", "reference": "a", "prediction": "a", "score": s} for f, s in (("x", 1), ("y", 0.4))
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(read_predictions(path, where={"form": "x"})["right"]) == [True]
    with pytest.raises(DataError, match="no predictions with"):
        read_predictions(path, where={"form": "z"})


def test_what_a_reader_wrote_is_kept(paired: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    first = cases.save_cases(paired, path)
    assert set(first["outcome"]) == set(failures.OUTCOMES[:3]) and not first["explanation"].any()
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    noted = table["input"][3]
    table.loc[3, "explanation"] = "a „quoted“, two-line\nremark"
    table.to_csv(path, index=False)
    better = paired.assign(outcome="right both times")  # by now nothing is wrong
    again = cases.save_cases(better, path)
    assert list(again["input"]) == [noted]
    assert list(again["explanation"]) == ["a „quoted“, two-line\nremark"]
    cases.save_cases(paired[paired["input"] != noted], path)  # an example that is not asked at all
    third = cases.save_cases(paired, path)
    assert third.loc[third["input"] == noted, "explanation"].item() == "a „quoted“, two-line\nremark"
    shown = cases.cases(paired, paired.loc[paired["input"] == noted, "outcome"].item(), n=200, notes=path)
    assert shown.loc[shown["input"] == noted, "explanation"].item().startswith("a „quoted“")


def test_the_same_question_twice_is_paired_in_order(tmp_path: Path) -> None:
    rows = [{"input": "q", "reference": "x", "prediction": p} for p in ("x", "y")]
    one = read_predictions(write(tmp_path / "a.jsonl", rows))
    both = failures.pair(one, one)
    assert list(both["outcome"]) == ["right both times", "wrong both times"]


def test_errors_say_what_to_do(tmp_path: Path, paired: pd.DataFrame) -> None:
    path = write(tmp_path / "p.jsonl", made_up(1))
    for wanted, call in (
        ("there is no file", lambda: read_predictions(tmp_path / "none.jsonl")),
        ("no column 'gold' for the reference; it has", lambda: read_predictions(path, reference="gold")),
        ("holds no rows", lambda: read_predictions(write(tmp_path / "e.jsonl", []))),
        ("neither right", lambda: read_predictions(write(tmp_path / "s.jsonl", [made_up(1)[0] | {"score": 0.4}]))),
        ("there is no outcome 'mended'", lambda: cases.cases(paired, "mended")),
        ("is not a table of cases", lambda: cases.save_cases(paired, path)),
    ):
        with pytest.raises(DataError, match=wanted):
            call()
    (tmp_path / "bad.jsonl").write_text("{not json\n")
    with pytest.raises(DataError, match="unreadable of 1 rows"):
        read_predictions(tmp_path / "bad.jsonl")
    short = read_predictions(write(tmp_path / "short.jsonl", made_up(1)[:50]))
    with pytest.raises(DataError, match="200 and 50 examples, 50 in common"):
        failures.pair(read_predictions(path), short)
