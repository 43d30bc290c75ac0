"""EDA functions find what was planted, and do not find what is not there."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.tasks.eda import audit, maps, risks, shortcuts

TURN = {
    "prompt": [{"role": "user", "content": "a b c"}],
    "completion": [{"role": "assistant", "content": "d e"}],
}


class WordTokenizer:
    """Counts words; enough of a tokenizer to know the right lengths by hand."""

    chat_template: str | None = None

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [list(range(len(t.split()))) for t in texts]}

    def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        body = " ".join(f"<{m['role']}> {m['content']} </s>" for m in messages)
        return body + (" <assistant>" if add_generation_prompt else "")


# ---------- lengths
def test_lengths_count_template_and_generation_prompt_once() -> None:
    plain, templated = WordTokenizer(), WordTokenizer()
    templated.chat_template = "yes"
    assert audit.token_lengths(plain, [TURN]).values.tolist() == [[3, 2, 5]]
    # <user> a b c </s> <assistant> | d e </s>
    assert audit.token_lengths(templated, [TURN]).values.tolist() == [[6, 3, 9]]
    assert audit.token_lengths(plain, []).empty


def test_truncation_shares() -> None:
    lengths = pd.DataFrame({"prompt": [4, 10, 12], "completion": [4, 6, 2], "total": [8, 16, 14]})
    cut = audit.truncation(lengths, 10)
    assert cut["examples_cut"] == pytest.approx(2 / 3)
    assert cut["nothing_to_learn"] == pytest.approx(2 / 3)  # prompts of 10 and 12 fill the limit
    assert cut["completion_tokens_lost"] == pytest.approx(8 / 12)
    assert audit.truncation(lengths, 16) == dict.fromkeys(cut, 0.0)


# ---------- labels and words
def test_wilson_equals_statsmodels_and_knows_nothing_from_nothing() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for count, n in [(0, 10), (85, 100), (7, 7), (1, 3)]:
        assert audit.wilson(count, n) == pytest.approx(proportion.proportion_confint(count, n, method="wilson"))
    assert audit.wilson(0, 0) == (0.0, 1.0)


def test_label_balance_counts_shares_and_absent_labels() -> None:
    table = audit.label_balance({"train": ["a"] * 6 + ["b"] * 3 + ["c"], "test": ["b", "b"]}, top=2)
    assert table[["split", "label", "count"]].values.tolist() == [
        ["train", "a", 6],
        ["train", "b", 3],
        ["test", "a", 0],
        ["test", "b", 2],
    ]
    assert table["share"].tolist() == [0.6, 0.3, 0.0, 1.0]
    assert ((table["low"] <= table["share"]) & (table["share"] <= table["high"])).all()


def test_row_text_joins_lists_and_skips_labels() -> None:
    row = {"id": "7", "title": "Soup", "category": "x", "steps": ["boil", "serve"], "label": "no"}
    assert audit.row_text(row) == "Soup boil serve"
    assert audit.row_text({"question": "Why?", "image": object(), "answer": 2, "hint": None}) == "Why? 2"


def test_vocabulary_counts_unseen_words_and_compares_equal_lengths() -> None:
    table = audit.vocabulary({"train": ["Salt, salt and sugar"], "test": ["salt pepper"]})
    assert table.loc["train", ["words", "types"]].tolist() == [4, 3]
    assert table.loc["test", "unseen_words"] == 0.5
    assert table.loc["train", "unseen_types"] == 0
    assert table["type_token_ratio"].tolist() == [
        0.5,
        1.0,
    ]  # first two words of each: "salt salt", "salt pepper"


def test_growth_ends_at_the_vocabulary_and_never_falls() -> None:
    texts = ["one two three"] * 50 + ["four"]
    marks, sizes = audit.vocabulary_growth(texts, points=10)
    assert marks[-1] == 151 and sizes[-1] == 4
    assert sizes == sorted(sizes)
    assert audit.vocabulary_growth([]) == ([], [])


def test_top_words_count_texts_without_function_words() -> None:
    assert audit.top_words(["the salt the salt", "the sugar and salt"], 2) == {"salt": 2, "sugar": 1}


# ---------- shortcuts
def _questions(n: int, planted: bool, seed: int) -> list[dict[str, Any]]:
    """Four-way questions; when planted, the right option is always one of the "tell" words."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        options = rng.sample([f"w{c}" for c in "abcdefghijklmnop"], 4)
        answer = rng.randrange(4)
        if planted:
            options[answer] = rng.choice(["zest", "yolk"])
        rows.append({"options": options, "answer": answer, "hypothesis": f"thing {rng.randrange(9)}"})
    return rows


def test_options_only_shortcut_is_found_when_planted_and_only_then() -> None:
    planted = shortcuts.shortcut(_questions(200, True, 0), _questions(200, True, 1))
    fair = shortcuts.shortcut(_questions(400, False, 0), _questions(400, False, 1))
    assert planted.accuracy > 0.95 and set(planted.telling[:2]) == {"zest", "yolk"}
    assert fair.chance == 0.25 and fair.n == 400
    assert audit.wilson(round(fair.accuracy * fair.n), fair.n)[0] < 0.25 < 0.33 > fair.accuracy


def test_partial_input_shortcut_reads_only_what_it_is_given() -> None:
    def pairs(n: int, seed: int) -> list[dict[str, Any]]:
        rng = random.Random(seed)
        rows = []
        for _ in range(n):
            label = rng.randrange(3)
            options = ["yes", "maybe", "no"]
            rng.shuffle(options)
            words = {"yes": "someone rests", "maybe": "tall people rest", "no": "nobody rests"}
            answer = options.index(["yes", "maybe", "no"][label])
            rows.append({"options": options, "answer": answer, "h": words[options[answer]], "p": rng.choice("xyz")})
        return rows

    train, test = pairs(120, 0), pairs(120, 1)
    assert shortcuts.shortcut(train, test, partial=lambda e: e["h"]).accuracy == 1.0  # also when options are shuffled
    blind = shortcuts.shortcut(train, test, partial=lambda e: "same " + e["p"] * 3)
    assert blind.accuracy < 0.5
    with pytest.raises(ValueError, match="same options"):
        shortcuts.shortcut(_questions(5, False, 0), test, partial=str)


def test_where_all_rows_have_one_label_it_is_the_only_guess() -> None:
    rows = [{"h": f"word{i}", "options": ["yes", "no"], "answer": 1} for i in range(8)]
    turned = [{"h": "word1", "options": ["no", "yes"], "answer": 1}]
    found = shortcuts.shortcut(rows, turned, partial=lambda e: e["h"])
    assert (found.predicted, found.accuracy, found.telling) == ([0], 0.0, [])


def test_a_blind_reader_sees_the_hypothesis_of_each_pair_and_nothing_of_other_tasks() -> None:
    rows = {"train": [{"premise": "p", "hypothesis": "one"}], "test": [{"premise": "p", "hypothesis": "two"}]}
    questions = {"train": [{"id": "a"}], "test": [{"id": "b"}]}
    read = shortcuts.hypothesis_reader(rows, questions)
    assert read is not None and [read({"id": name}) for name in "ab"] == ["one", "two"]
    assert shortcuts.hypothesis_reader({"train": [{"title": "Soup"}]}, {"train": [{"id": "a"}]}) is None


# ---------- copies
LONG = "beat the eggs with sugar until pale then fold in the flour and bake for an hour in a warm oven"


def test_planted_copies_and_leaks_are_found_with_their_places() -> None:
    near = LONG.replace("warm", "hot")
    texts = {
        "train": [LONG, "boil the rice", "Boil  the rice!"],
        "test": ["fry an onion", near, LONG.upper()],
    }
    table = audit.copies(texts)
    found = {tuple(r) for r in table[["kind", "split", "row", "other_split", "other_row"]].values.tolist()}
    assert ("exact", "train", 2, "train", 1) in found
    assert ("exact", "test", 2, "train", 0) in found
    assert ("near", "test", 1, "train", 0) in found
    assert table[table["kind"] == "exact"]["similarity"].eq(1.0).all()
    assert not any(row[1:3] == ("test", 0) for row in found)


def test_every_further_copy_counts_once_and_digits_do_not_hide_one() -> None:
    table = audit.copies({"train": ["Add 2 cups", "add 3 cups", "add cups."]})
    assert table[["row", "other_row"]].values.tolist() == [[1, 0], [2, 0]]
    assert audit.copies({"train": ["a b c d", "e f g h"]}).empty


def test_nearest_training_text() -> None:
    table = audit.nearest(["boil the rice", LONG], ["chop two onions", LONG])
    assert table.loc[0, ["row", "nearest"]].tolist() == [1, 1]
    assert table.loc[0, "similarity"] == pytest.approx(1.0)
    assert table.loc[1, "similarity"] == 0.0


# ---------- personal data
PERSONAL = {
    "e-mail": ["write to jo.doe+x@mail.example.org.", "<a@b.io>"],
    "phone": [
        "call (212) 555-0173 now",
        "212-555-0173",
        "1-212-555-0173",
        "+49 30 901820",
        "tel +442079460958",
        "0151-555-0123",
        "212.555.0173.",
    ],
    "card": ["4111 1111 1111 1111", "card 5500-0000-0000-0004,", "378282246310005", "3782 822463 10005"],
}
HARMLESS = [
    "Preheat to 350 °F (177 °C), then 400-425 F for 10-15 minutes",
    "1 1/2 cups (360 ml) milk, 2-3 eggs, 200-250 g flour, 1,000 g sugar",
    "bake at 350-400-450 for 20 - 25 - 30 min",
    "serves 4-6; 500 g / 1 lb 2 oz; 0.5-0.75 cup",
    "2015-2016, ISBN 978-3-16-148410-0, 1 (14.5 ounce) can, 2 (8 oz) packages",
    "10 000 g of flour, 1000 2000 3000 4000, 4111 1111 1111 1112",
    "mix 1:2:3 @ room temperature, 5@ each",
    "9x13 inch pan, 3/4-inch pieces, 180-200-220 C",
    "weigh 250 300 4000 g",
]


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, values in PERSONAL.items() for t in values])
def test_planted_personal_data_is_found_once_and_masked(kind: str, text: str) -> None:
    table = risks.pii_scan(["fine", text])
    assert table[["kind", "row"]].values.tolist() == [[kind, 1]]
    assert table["found"].str.contains(r"\*").all()
    assert sum(c.isalnum() for c in table.loc[0, "found"]) <= 4


@pytest.mark.parametrize("text", HARMLESS)
def test_amounts_temperatures_and_ranges_are_not_personal_data(text: str) -> None:
    found = risks.pii_scan([text])
    assert found.empty, found.to_string()


def test_luhn_catches_every_single_digit_error() -> None:
    good = "4111111111111111"
    assert risks.luhn(good)
    for i, digit in enumerate(good):
        for other in set("0123456789") - {digit}:
            assert not risks.luhn(good[:i] + other + good[i + 1 :])
    assert not risks.luhn("")


# ---------- bias
def test_planted_association_is_found_and_chance_is_not() -> None:
    rng = np.random.default_rng(0)
    group = rng.random(400) < 0.3
    tied = np.where(group, rng.random(400) < 0.7, rng.random(400) < 0.2)
    free = rng.random(400) < 0.4
    rare = np.zeros(400, dtype=bool)
    rare[:3] = True
    table = risks.associations({"g": group}, {"tied": tied, "free": free, "rare": rare})
    assert table["attribute"].tolist() == ["tied", "free"]  # "rare" is too rare to test
    assert table.loc[0, "p_holm"] < 1e-6 and table.loc[0, "both"] > table.loc[0, "expected"]
    assert table.loc[1, "p_holm"] > 0.05
    from scipy.stats import fisher_exact

    counts = pd.crosstab(group, tied).to_numpy()
    assert table.loc[0, "p_value"] == pytest.approx(fisher_exact(counts)[1])


def test_false_alarms_stay_rare_over_many_tests() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(40):
        groups = {str(i): rng.random(150) < 0.3 for i in range(4)}
        attributes = {str(i): rng.random(150) < 0.3 for i in range(4)}
        alarms += bool((risks.associations(groups, attributes)["p_holm"] < 0.05).any())
    assert alarms <= 6  # family-wise 5 %: 2 expected, 7 or more has probability below 0.5 %


def test_associations_without_testable_pairs_are_an_empty_table() -> None:
    table = risks.associations({"g": np.zeros(9, dtype=bool)}, {"a": np.ones(9, dtype=bool)})
    assert table.empty and "p_holm" in table


def test_mentions_match_whole_words_only() -> None:
    texts = ["He cooks", "the heat", "Women's choice", "HER soup"]
    assert risks.mentions(texts, ["he", "her"]).tolist() == [True, False, False, True]


# ---------- embeddings
def _clusters() -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    centres = np.eye(3, 16) * 5
    return np.vstack([rng.normal(c, 0.5, (20, 16)) for c in centres]), [c for c in "abc" for _ in range(20)]


def test_projection_separates_planted_clusters_the_same_way_twice() -> None:
    vectors, names = _clusters()
    one, two = maps.project(vectors, seed=3), maps.project(vectors, seed=3)
    assert one.pca.shape == one.tsne.shape == (60, 2)
    assert 0.5 < one.explained <= 1
    assert np.array_equal(one.tsne, two.tsne)
    for picture in (one.pca, one.tsne):
        middles = np.array([picture[[n == c for n in names]].mean(axis=0) for c in "abc"])
        nearest = np.linalg.norm(picture[:, None] - middles, axis=2).argmin(axis=1)
        assert (np.array(list("abc"))[nearest] == np.array(names)).mean() > 0.95
    with pytest.raises(ValueError, match="at least 5"):
        maps.project(vectors[:4])


def test_neighbour_agreement_tells_clusters_from_noise() -> None:
    vectors, names = _clusters()
    seen = maps.neighbour_agreement(vectors, names, draws=199)
    assert seen["observed"] > 0.95 and seen["p_value"] == pytest.approx(1 / 200)
    assert seen["chance"] == pytest.approx(19 / 59, abs=0.05)
    noise = np.random.default_rng(5).normal(size=vectors.shape)
    assert maps.neighbour_agreement(noise, names, draws=199)["p_value"] > 0.05


def test_import_is_cheap() -> None:
    code = (
        "import sys\nfrom helpers.tasks.eda import audit, maps, risks, shortcuts\n"
        "print([m for m in ('torch', 'sklearn', 'pandas', 'scipy', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
