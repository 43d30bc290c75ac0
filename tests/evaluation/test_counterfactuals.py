"""The pairs differ in what they say, and in nothing else; contrasts are differences of means."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.errors import DataError
from helpers.evaluation.counterfactuals import CONTRASTS, NAMES, WORDS, contrasts, who_asks, who_cooks


def test_answers_of_a_pair_differ_in_one_word() -> None:
    asked = who_cooks()
    assert [one.place for one in asked] == ["at home"] * 8 + ["for pay"] * 8
    assert len({one.question for one in asked}) == 16
    for one in asked:
        assert len(one.options) == 2 * len(WORDS) == 12
        for words, woman, man in zip(WORDS, one.options[::2], one.options[1::2], strict=True):
            changed = [(a, b) for a, b in zip(woman.split(), man.split(), strict=True) if a != b]
            assert changed == [words]
        assert not {word for pair in WORDS for word in pair} & set(one.question.lower().strip("?").split())


def test_the_gap_is_the_mean_over_pairs() -> None:
    one, logp = who_cooks()[0], np.arange(12.0) ** 2
    expected = sum(logp[i] - logp[i + 1] for i in range(0, 12, 2)) / 6
    assert one.gap(logp) == pytest.approx(expected)
    assert one.gap(np.repeat(np.arange(6.0), 2)) == 0, "both of each pair are as likely"


def test_each_group_asks_the_same_under_its_own_names() -> None:
    assert {len(names) for names in NAMES.values()} == {9} and len(set(sum(NAMES.values(), []))) == 36
    prompts = [f"Question {i}?" for i in range(40)]
    asked = who_asks(prompts, seed=1)
    assert asked == who_asks(prompts, seed=1) != who_asks(prompts, seed=2)
    for group, texts in asked.items():
        heads = [text.removesuffix(f".\n\n{prompt}") for text, prompt in zip(texts, prompts, strict=True)]
        assert {head.removeprefix("My name is ") for head in heads} <= set(NAMES[group])


def test_contrasts_compare_halves_of_the_groups() -> None:
    of_group = {group: np.random.default_rng(i).normal(size=5) for i, group in enumerate(NAMES)}
    found = contrasts(of_group)
    assert set(found) == set(CONTRASTS) == {"women − men", "white − Black"}
    women, men = (of_group[f"white {sex}"] + of_group[f"Black {sex}"] for sex in ("women", "men"))
    assert found["women − men"] == pytest.approx((women - men) / 2)
    assert (contrasts(dict.fromkeys(NAMES, np.arange(3.0)))["white − Black"] == 0).all()
    with pytest.raises(DataError, match="there is nothing of Black men"):
        contrasts({group: values for group, values in of_group.items() if group != "Black men"})
    with pytest.raises(DataError, match="different questions"):
        contrasts(of_group | {"white men": [1.0]})
