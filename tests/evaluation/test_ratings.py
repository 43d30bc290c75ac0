"""Blind ratings: nothing gives a system away, and the analysis agrees with scipy and scikit-learn."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from helpers.errors import DataError
from helpers.evaluation import ratings
from helpers.reports.rating_sheet import RatingWidget, write_sheet

QUESTIONS = [f"question {i}" for i in range(40)]
A = [f"short {i}" for i in range(40)]
B = [f"long </script><b> {i}" for i in range(39)] + ["short 39"]


@pytest.fixture
def sheet() -> tuple[list[ratings.Item], dict[str, str]]:
    return ratings.make_items(QUESTIONS, A, B, seed=3)


def save(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    pd.DataFrame(rows, columns=["item", "choice", "rater"]).to_csv(path, index=False)
    return path


def test_items_are_shuffled_balanced_and_leave_equal_answers_out(
    sheet: tuple[list[ratings.Item], dict[str, str]],
) -> None:
    items, key = sheet
    assert len(items) == 39 and "question 39" not in {i.question for i in items}
    assert [i.question for i in items] != sorted((i.question for i in items), key=lambda q: int(q.split()[1]))
    for item in items:
        number = int(item.question.split()[1])
        sides = {"left": item.left, "right": item.right}
        other = "right" if key[item.id] == "left" else "left"
        assert sides[key[item.id]] == A[number] and sides[other] == B[number]
    many = [ratings.make_items(QUESTIONS, A, B, seed=s)[1] for s in range(50)]
    left = np.mean([side == "left" for key in many for side in key.values()])
    assert left == pytest.approx(0.5, abs=0.05)


def test_the_page_is_self_contained_and_names_no_system(
    sheet: tuple[list[ratings.Item], dict[str, str]], tmp_path: Path
) -> None:
    items, key = sheet
    page = write_sheet(tmp_path / "sheet.html", items, "Which summary?").read_text()
    ratings.save_key(tmp_path / "key.json", key, "qlora-run", "zero-shot-run")
    assert "qlora-run" not in page and "zero-shot-run" not in page and "side_of_a" not in page
    assert not re.search(r"https?://|src=|@import", page)

    class Scripts(HTMLParser):
        inside, found = False, ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.inside = ("id", "data") in attrs

        def handle_data(self, data: str) -> None:
            self.found += data if self.inside else ""

        def handle_endtag(self, tag: str) -> None:
            self.inside = False

    parser = Scripts()
    parser.feed(page)
    assert [i["question"] for i in json.loads(parser.found)] == [i.question for i in items]
    with pytest.raises(DataError, match="nothing to rate"):
        write_sheet(tmp_path / "x.html", [], "x")


def test_verdict_equals_scipy_and_counts_items_not_ratings(
    sheet: tuple[list[ratings.Item], dict[str, str]], tmp_path: Path
) -> None:
    items, key = sheet
    ratings.save_key(tmp_path / "key.json", key, "tuned", "base")
    other = {"left": "right", "right": "left"}
    wanted = ["a"] * 25 + ["b"] * 9 + ["tie"] * 5
    choices = [{"a": key[i.id], "b": other[key[i.id]], "tie": "tie"}[w] for i, w in zip(items, wanted, strict=True)]
    rows = [(i.id, c, "AB") for i, c in zip(items, choices, strict=True)]
    one = save(tmp_path / "one.csv", rows)
    two = save(tmp_path / "two.csv", [(i, c, "CD") for i, c, _ in rows])
    for files in ([one], [one, two]):
        found = ratings.verdict(ratings.read_ratings(files, tmp_path / "key.json"), "tuned", "base")
        assert (found.wins, found.losses, found.ties, found.raters) == (25, 9, 5, len(files))
        assert found.p_value == pytest.approx(binomtest(25, 34).pvalue)
        interval = binomtest(25, 34).proportion_ci(method="wilson")
        assert found.win_rate is not None
        assert (found.win_rate.low, found.win_rate.high) == pytest.approx((interval.low, interval.high))
        assert not found.simulated and "25 wins, 9 losses, 5 ties" in str(found)


def test_two_raters_who_disagree_make_a_tie(tmp_path: Path) -> None:
    items, key = ratings.make_items(["q"], ["a"], ["b"])
    ratings.save_key(tmp_path / "key.json", key, "a", "b")
    rows = [(items[0].id, "left", "AB"), (items[0].id, "right", "CD")]
    table = ratings.read_ratings([save(tmp_path / "r.csv", rows)], tmp_path / "key.json")
    found = ratings.verdict(table, "a", "b")
    assert (found.wins, found.losses, found.ties, found.win_rate, found.p_value) == (0, 0, 1, None, 1.0)


def test_kappa_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    first = rng.choice(["a", "b", "tie"], 60)
    second = np.where(rng.random(60) < 0.6, first, rng.choice(["a", "b", "tie"], 60))
    names = [f"{i:03d}" for i in range(60)]
    table = pd.DataFrame({"item": names * 2, "rater": ["x"] * 60 + ["y"] * 60, "winner": [*first, *second]})
    found = ratings.agreement(table, "x", "y")
    assert found.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.low < found.value < found.high and found.n == 60
    with pytest.raises(DataError, match="no item in common"):
        ratings.agreement(table, "x", "z")


def test_simulated_ratings_are_called_simulated_and_follow_the_preference(
    sheet: tuple[list[ratings.Item], dict[str, str]],
) -> None:
    items, key = sheet
    table = ratings.simulate(items, key, preference=1.0, ties=0.0, raters=3)
    found = ratings.verdict(table, "tuned", "base")
    assert found.simulated and "SIMULATED" in str(found) and found.wins > found.losses
    backwards = ratings.verdict(ratings.simulate(items, key, preference=0.0, ties=0.0, raters=3), "tuned", "base")
    assert backwards.wins < backwards.losses


def test_widget_saves_what_the_analysis_reads(sheet: tuple[list[ratings.Item], dict[str, str]], tmp_path: Path) -> None:
    items, key = sheet
    ratings.save_key(tmp_path / "key.json", key, "tuned", "base")
    widget = RatingWidget(items[:3], "AB")
    widget.buttons["left"].click()
    widget.buttons["tie"].click()
    widget.back.click()
    widget.buttons["right"].click()  # changes the second
    file = widget.save(tmp_path / "w.csv")
    table = ratings.read_ratings([file], tmp_path / "key.json")
    assert list(table["choice"]) == ["left", "right"] and set(table["rater"]) == {"AB"}


def test_errors_say_what_is_wrong(sheet: tuple[list[ratings.Item], dict[str, str]], tmp_path: Path) -> None:
    _, key = sheet
    key_file = ratings.save_key(tmp_path / "key.json", key, "a", "b")

    def rated(*rows: tuple[str, str, str]) -> list[Path]:
        return [save(tmp_path / "r.csv", list(rows))]

    for wanted, call in (
        ("unknown choice 'up'", lambda: ratings.read_ratings(rated(("001", "up", "x")), key_file)),
        ("unknown item '999'", lambda: ratings.read_ratings(rated(("999", "tie", "x")), key_file)),
        ("twice", lambda: ratings.read_ratings(rated(("001", "tie", "x"), ("001", "left", "x")), key_file)),
        ("not a key", lambda: ratings.read_ratings(rated(("001", "tie", "x")), tmp_path / "r.csv")),
        ("cannot be read", lambda: ratings.read_ratings([tmp_path / "none.csv"], key_file)),
        ("there are no ratings", lambda: ratings.verdict(ratings.read_ratings([], key_file), "a", "b")),
        ("wrote the same", lambda: ratings.make_items(["q"], ["x"], ["x "])),
        ("do not match", lambda: ratings.make_items(["q"], ["x"], ["x", "y"])),
    ):
        with pytest.raises(DataError, match=wanted):
            call()
    pd.DataFrame({"item": ["001"]}).to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(DataError, match="no column 'choice'"):
        ratings.read_ratings([tmp_path / "c.csv"], key_file)
