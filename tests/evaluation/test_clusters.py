"""Related examples: identities with brute force and with independent ones, then promises where the truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from helpers.errors import DataError
from helpers.evaluation import compare, score_choices, score_nll, score_values
from helpers.evaluation.aggregates import macro_f1_from_stats
from helpers.evaluation.clusters import group_codes, group_newcombe, group_sums, group_wilson, sign_flips
from helpers.evaluation.intervals import newcombe, wilson
from helpers.evaluation.statistics import bootstrap, mcnemar_exact, paired_bootstrap

GROUPS, SIZE, DRAWS = 100, 3, 1000
TRIPLES = np.repeat(np.arange(GROUPS), SIZE)


def related(rng: np.random.Generator, share: float, icc: float) -> np.ndarray:
    """(DRAWS, examples) right or wrong, beta-binomial: examples of one group correlate by ``icc``."""
    strength = (1 - icc) / icc
    chance = rng.beta(share * strength, (1 - share) * strength, (DRAWS, GROUPS))
    return rng.random((DRAWS, GROUPS * SIZE)) < np.repeat(chance, SIZE, axis=1)


# ---- identities ---------------------------------------------------------------------------------------


def test_sign_flips_equal_the_enumeration_of_all_signs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        groups = rng.integers(0, rng.integers(2, 9), 25)
        a, b = rng.random(25) < rng.random(), rng.random(25) < rng.random()
        if len(set(groups)) < 2:
            continue
        d = np.array([a[groups == g].sum() - int(b[groups == g].sum()) for g in np.unique(groups)])
        sums = [np.dot(signs, d) for signs in itertools.product((-1, 1), repeat=len(d))]
        found = sign_flips(a, b, groups)
        assert found.p_value == pytest.approx(np.mean(np.abs(sums) >= abs(d.sum())), rel=1e-12)
        assert (found.more_in_a, found.more_in_b) == ((d > 0).sum(), (d < 0).sum())


def test_sign_flips_of_many_groups_agree_with_drawn_signs_and_with_both_convolutions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 150, 600)
    a, b = rng.random(600) < 0.72, rng.random(600) < 0.68
    d = group_sums(a.astype(float) - b, groups)[:, 0]
    drawn = np.abs(rng.choice([-1, 1], (20_000, len(d))) @ d) >= abs(d.sum())
    found = sign_flips(a, b, groups).p_value
    assert 0.01 < found < 0.9
    assert found == pytest.approx(drawn.mean(), abs=4 * drawn.std() / np.sqrt(len(drawn)))
    monkeypatch.setattr("helpers.evaluation.clusters._DIRECT", 0)
    assert sign_flips(a, b, groups).p_value == pytest.approx(found, rel=1e-9)


def test_the_smallest_p_value_is_that_of_all_groups_on_one_side() -> None:
    assert sign_flips([1] * 120, [0] * 120, np.arange(120) // 3).p_value == pytest.approx(2 / 2**40)
    assert sign_flips([1, 0, 1], [1, 0, 1], "xyx").p_value == 1.0


@pytest.mark.parametrize(("right_a", "right_b"), [(0.8, 0.7), (0.5, 0.5), (0.97, 0.9)])
def test_groups_of_one_example_give_the_independent_results(right_a: float, right_b: float) -> None:
    """Only Newcombe's continuity correction of phi is another one, by some thousandths."""
    rng = np.random.default_rng(2)
    luck = rng.random(300)
    a, b = (0.5 * luck + 0.5 * rng.random(300) < right for right in (right_a, right_b))
    own = [f"group {i}" for i in rng.permutation(300)]
    assert group_wilson(a, own).as_dict() == pytest.approx(wilson(int(a.sum()), 300).as_dict(), rel=1e-12)
    assert group_newcombe(a, b, own) == pytest.approx(newcombe(a, b), abs=0.0015)
    assert sign_flips(a, b, own) == pytest.approx(mcnemar_exact(a, b), rel=1e-9)
    stats = np.stack([luck, np.ones(300)], axis=1)
    assert (group_sums(stats, own) == stats).all()


def test_whole_copies_count_as_one_example() -> None:
    """Three copies of each answer say no more than one: the interval is that of a third of the examples."""
    once = np.random.default_rng(3).random(GROUPS) < 0.7
    copied, one = group_wilson(np.repeat(once, SIZE), TRIPLES), wilson(int(once.sum()), GROUPS)
    assert (copied.value, copied.n) == (one.value, 300)
    assert copied.high - copied.low == pytest.approx(one.high - one.low, rel=0.02)


def test_the_variance_between_groups_is_that_of_leaving_each_group_out() -> None:
    """Sizes from 1 to 12, larger groups harder: the interval is as wide as a jackknife over groups says."""
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 13, 400)
    groups = np.repeat(np.arange(400), sizes)
    right = rng.random(len(groups)) < np.repeat(rng.beta(6, sizes), sizes)
    without = np.array([right[groups != g].mean() for g in range(400)])
    error = np.sqrt(399 / 400 * ((without - without.mean()) ** 2).sum())
    found = group_wilson(right, groups)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.03)
    assert error > 1.2 * right.std() / np.sqrt(len(right))


@pytest.mark.parametrize("right", [0, 1])
def test_always_right_or_always_wrong_has_the_interval_of_as_many_groups(right: int) -> None:
    found = group_wilson([right] * 300, TRIPLES)
    few = wilson(GROUPS * right, GROUPS)
    assert (found.value, found.n) == (right, 300)
    assert (found.low, found.high) == pytest.approx((few.low, few.high), abs=0.002)
    one_off = group_wilson([1 - right] + [right] * 299, TRIPLES)
    assert one_off.low <= found.low + 1e-3 and one_off.high >= found.high - 1e-3  # less sure, not surer
    difference, low, high = group_newcombe([right] * 300, [right] * 300, TRIPLES)
    assert difference == 0 and low < -0.02 and high > 0.02


def test_labels_of_any_kind_make_one_grouping() -> None:
    assert group_codes(["b", "a", "b"], 3).tolist() == group_codes([(1, 2), 7, (1, 2)], 3).tolist() == [0, 1, 0]
    assert group_sums([1.0, 2.0, 4.0], ["b", "a", "b"]).tolist() == [[5.0], [2.0]]


@pytest.mark.parametrize(
    ("labels", "cause"),
    [
        (["a", None, "b"], "Example 1 has no group"),
        (["a", "b", ""], "Example 2 has no group"),
        ([float("nan"), 1, 2], "Example 0 has no group"),
        (["a", "b"], "2 group labels for 3 examples"),
        (["a", "a", "a"], "All 3 examples are in one group"),
        (["a", ["b"], "c"], "The group of example 1 is list"),
    ],
)
def test_labels_that_say_nothing_are_refused(labels: list[object], cause: str) -> None:
    with pytest.raises(DataError, match=cause):
        score_values("slot_accuracy", [1, 0, 1], ["x", "y", "z"]).grouped(labels)


# ---- scores -------------------------------------------------------------------------------------------


def test_grouped_scores_use_groups_everywhere_and_others_do_not() -> None:
    rng = np.random.default_rng(5)
    gold = rng.integers(0, 3, 60)
    one, two = (np.where(rng.random(60) < p, gold, rng.integers(-1, 3, 60)) for p in (0.8, 0.5))
    pairs, nll = np.arange(60) // 2, rng.gamma(5, 1, 60)
    plain_a, plain_b = (score_choices(x, gold, 3) | score_nll(nll + more, [4] * 60) for x, more in ((one, 0), (two, 1)))
    a, b = plain_a.grouped(pairs), plain_b.grouped([f"premise {i}" for i in pairs])  # one grouping, other names
    found = a.estimates(seed=3)
    assert found["accuracy"] == group_wilson(one == gold, pairs)
    f1 = a.parts["macro_f1"]
    sums = f1.stats.reshape(30, 2, -1).sum(axis=1)
    expected = bootstrap(sums, macro_f1_from_stats, seed=3)
    assert (found["macro_f1"].low, found["macro_f1"].high, found["macro_f1"].n) == (expected.low, expected.high, 60)
    tests = {t.metric: t for t in compare(a, b, "a", "b", seed=3)}
    assert tests["accuracy"].p_value == sign_flips(one == gold, two == gold, pairs).p_value
    assert (tests["accuracy"].low, tests["accuracy"].high) == group_newcombe(one == gold, two == gold, pairs)[1:]
    assert tests["accuracy"].test == "exact sign flips of 30 groups"
    theirs = b.parts["macro_f1"].stats.reshape(30, 2, -1).sum(axis=1)
    assert tests["macro_f1"].p_value == paired_bootstrap(sums, theirs, macro_f1_from_stats, seed=3).p_value
    assert tests["perplexity"].test == "paired bootstrap of 30 groups, 2000 draws"
    assert a.notes["accuracy"] == "examples in 30 groups" and not plain_a.notes
    assert {m: e.value for m, e in found.items()} == pytest.approx({m: e.value for m, e in plain_a.estimates().items()})
    assert plain_a.estimates(seed=3)["accuracy"] == wilson(int((one == gold).sum()), 60)
    assert compare(plain_a, plain_b, "a", "b")[0].test == "exact McNemar"


def test_scores_in_different_groups_do_not_compare() -> None:
    scores = score_values("slot_accuracy", [1, 0.5, 0], ["red shoe", "black boot", "white heel"])
    grouped = scores.grouped("xxy")
    for other in (scores, scores.grouped("xyy"), scores.grouped("xyz")):
        for pair in ((grouped, other), (other, grouped)):
            with pytest.raises(DataError, match="slot_accuracy of one and two is not about the same groups"):
                compare(*pair, "one", "two")
    assert compare(grouped, scores.grouped([0, 0, 1]), "one", "two", draws=10)[0].difference == 0


def test_examples_that_are_each_their_own_group_are_independent_ones() -> None:
    scores = score_choices([0, 1, 1, 0], [0, 1, 0, 0])
    own = scores.grouped(["d", "c", "b", "a"])
    assert own.estimates() == scores.estimates() and not own.notes
    assert compare(own, scores, "a", "b", ["accuracy"])[0].test == "exact McNemar"
    assert score_choices([0], [0]).grouped(["alone"]).estimates()["accuracy"] == wilson(1, 1)


def test_one_answer_to_all_of_balanced_groups_has_no_width_where_groups_are_resampled_and_has_one_elsewhere() -> None:
    """In a triple with each label once it is right once, whichever triples are drawn."""
    gold = np.tile([0, 1, 2], GROUPS)
    found = score_choices(np.zeros(300, dtype=int), gold, 3).grouped(TRIPLES).estimates()
    assert found["macro_f1"].low == found["macro_f1"].value == found["macro_f1"].high
    as_if_independent = wilson(100, 300)
    assert found["accuracy"].high - found["accuracy"].low >= as_if_independent.high - as_if_independent.low


# ---- promises, where the truth is known ---------------------------------------------------------------


@pytest.mark.parametrize(("share", "icc"), [(0.5, 0.2), (0.8, 0.5), (0.9, 0.9)])
def test_an_interval_covers_the_truth_where_the_independent_one_misses_it(share: float, icc: float) -> None:
    right = related(np.random.default_rng(6), share, icc)
    kept = np.mean([e.low <= share <= e.high for e in (group_wilson(r, TRIPLES) for r in right)])
    naive = np.mean([e.low <= share <= e.high for e in (wilson(int(r.sum()), len(r)) for r in right)])
    assert 0.93 <= kept <= 0.975
    assert naive < 0.92


def test_a_bootstrap_of_groups_covers_a_mean_where_one_of_examples_misses_it() -> None:
    rng, kept, naive = np.random.default_rng(7), 0, 0
    for trial in range(DRAWS // 2):
        values = np.repeat(rng.normal(0.5, 0.15, GROUPS), SIZE) + rng.normal(0, 0.15, GROUPS * SIZE)
        stats = np.stack([values, np.ones(len(values))], axis=1)
        by_group, by_example = (
            bootstrap(rows, lambda s: s[:, 0] / s[:, 1], draws=300, seed=trial)
            for rows in (group_sums(stats, TRIPLES), stats)
        )
        kept += by_group.low <= 0.5 <= by_group.high
        naive += by_example.low <= 0.5 <= by_example.high
    assert 0.92 <= kept / (DRAWS // 2) <= 0.975
    assert naive / (DRAWS // 2) < 0.9


def test_a_true_null_is_rejected_as_often_as_promised_where_mcnemar_does_it_more_often() -> None:
    """Two equally good systems, each with strengths of its own: a whole group is easier for one of them."""
    rng = np.random.default_rng(8)
    flips = mcnemar = covered = naive = 0
    for a, b in zip(related(rng, 0.7, 0.5), related(rng, 0.7, 0.5), strict=True):
        flips += sign_flips(a, b, TRIPLES).p_value < 0.05
        mcnemar += mcnemar_exact(a, b).p_value < 0.05
        covered += _around(0, group_newcombe(a, b, TRIPLES))
        naive += _around(0, newcombe(a, b))
    assert 0.03 <= flips / DRAWS <= 0.065
    assert mcnemar / DRAWS > 0.09
    assert 0.93 <= covered / DRAWS <= 0.97
    assert naive / DRAWS < 0.92


def _around(truth: float, found: tuple[float, float, float]) -> bool:
    return found[1] <= truth <= found[2]


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(9)
    better, worse = related(rng, 0.85, 0.5)[:100], related(rng, 0.65, 0.5)[:100]
    assert np.mean([sign_flips(a, b, TRIPLES).p_value < 0.05 for a, b in zip(better, worse, strict=True)]) > 0.9
