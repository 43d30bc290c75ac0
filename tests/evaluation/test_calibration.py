"""Calibration error and reliability against a loop over bins and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax as scipy_softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix
from statsmodels.stats.proportion import proportion_confint

from helpers.errors import DataError, ParameterError
from helpers.evaluation import calibration


def by_hand(p: np.ndarray, r: np.ndarray, bins: int) -> float:
    total = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = [(c, x) for c, x in zip(p, r, strict=True) if (low < c <= high) or (b == 0 and c == 0)]
        if inside:
            total += abs(np.mean([c for c, _ in inside]) - np.mean([x for _, x in inside])) * len(inside) / len(p)
    return total


@pytest.mark.parametrize("bins", [1, 5, 10, 15])
def test_calibration_error_equals_a_loop_over_bins(bins: int) -> None:
    rng = np.random.default_rng(bins)
    p = np.concatenate([rng.random(200), [0.0, 1.0]])
    r = (rng.random(202) < p**2).astype(int)
    assert calibration.expected_calibration_error(p, r, bins).value == pytest.approx(by_hand(p, r, bins))


def test_reliability_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(400)
    r = rng.random(400) < p
    right, sure = calibration_curve(r, p, n_bins=10)
    found = calibration.reliability(p, r, 10)
    assert np.allclose([b.accuracy.value for b in found], right)
    assert np.allclose([b.confidence for b in found], sure)
    assert sum(b.accuracy.n for b in found) == 400


def test_a_calibrated_model_has_a_small_error_and_an_overconfident_one_a_large_one() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(1 / 3, 1, 20_000)
    good = calibration.expected_calibration_error(p, rng.random(20_000) < p)
    bad = calibration.expected_calibration_error(np.full(20_000, 0.95), rng.random(20_000) < 0.7)
    assert good.value < 0.02 and good.low <= good.value
    assert bad.low < 0.25 < bad.high and bad.value == pytest.approx(0.25, abs=0.02)


def test_related_answers_make_the_interval_of_the_error_wider() -> None:
    rng = np.random.default_rng(3)
    p, r = np.repeat(rng.random(100), 3), np.repeat(rng.random(100) < 0.5, 3)
    alone, triples = (
        calibration.expected_calibration_error(p, r, groups=groups) for groups in (None, np.arange(300) // 3)
    )
    assert (triples.value, triples.n) == (alone.value, 300)
    assert triples.high - triples.low > 1.4 * (alone.high - alone.low)


def test_softmax_equals_scipy_also_for_large_logits() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0], [0.0, 0.0, 0.0]])
    assert np.allclose(calibration.softmax(logits), scipy_softmax(logits, axis=1))


def test_confusion_equals_scikit_learn_and_leaves_unreadable_answers_out() -> None:
    rng = np.random.default_rng(2)
    gold, predicted = rng.integers(0, 3, 100).tolist(), rng.integers(0, 3, 100).tolist()
    assert (calibration.confusion(gold, predicted, 3) == confusion_matrix(gold, predicted, labels=range(3))).all()
    assert calibration.confusion([0, 1], [-1, 1], 2).tolist() == [[0, 0], [0, 1]]


def test_errors() -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        calibration.expected_calibration_error([1.2], [1])
    with pytest.raises(DataError, match="2 confidences for 1"):
        calibration.reliability([0.2, 0.3], [1])
    with pytest.raises(ParameterError, match="bins"):
        calibration.reliability([0.2], [1], bins=0)


def test_coverage_and_accuracy_equal_those_of_every_threshold() -> None:
    rng = np.random.default_rng(4)
    c = rng.integers(0, 12, 150) / 12  # many ties
    r = rng.random(150) < 0.3 + 0.6 * c
    coverage, accuracy = calibration.coverage_curve(c, r)
    by_threshold = [(np.mean(c >= t), r[c >= t].mean()) for t in sorted(set(c), reverse=True)]
    assert np.allclose(list(zip(coverage, accuracy, strict=True)), by_threshold)
    assert coverage[-1] == 1 and accuracy[-1] == pytest.approx(r.mean())
    for broken in ([], [0.5, np.nan]):
        with pytest.raises(DataError, match="one finite confidence"):
            calibration.coverage_curve(broken, [1] * len(broken))


def test_discrimination_is_the_area_under_the_curve_and_its_interval_covers_it() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(9)
    c = rng.integers(0, 12, 150) / 12  # many ties
    r = rng.random(150) < 0.3 + 0.6 * c
    assert calibration.discrimination(c, r).value == pytest.approx(roc_auc_score(r, c))
    covered = 0
    for _ in range(400):  # two normal distributions: the true value is 0.76
        confidence = np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 20)])
        found = calibration.discrimination(confidence, np.arange(80) < 60)
        covered += found.low <= 0.7602 <= found.high
    assert 0.92 <= covered / 400 <= 0.99
    assert calibration.discrimination([0.1, 0.2], [1, 1]) is None
    assert calibration.discrimination(c, np.zeros(150)) is None
    for ordered, value in (([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0)):
        found = calibration.discrimination(ordered, [0, 0, 1, 1])
        assert found.value == value and found.low < found.high and found.low <= value <= found.high
    with pytest.raises(DataError, match="one finite confidence"):
        calibration.discrimination([0.1, np.nan], [0, 1])


# ---- the threshold of a model that abstains -----------------------------------------------------------

SHAPES = {
    "always below": lambda c: np.full_like(c, 0.89),
    "crossing slowly": lambda c: 0.8 + 0.2 * c,
    "a step": lambda c: np.where(c > 0.5, 0.94, 0.8),
    "surest often wrong": lambda c: np.where(c > 0.95, 0.8, np.where(c > 0.4, 0.95, 0.5)),
    "many ties": lambda c: 0.7 + 0.3 * c,
}


def best_looking(c: np.ndarray, r: np.ndarray, wanted: float) -> float:
    """The lowest threshold whose own interval is good enough, as if it were the only one."""
    order = np.argsort(-c, kind="stable")
    n = np.arange(1, len(c) + 1)
    enough = proportion_confint(np.cumsum(r[order]), n, 0.1, "wilson")[0] >= wanted
    enough &= np.append(np.diff(c[order]) < 0, True)
    return float(c[order][np.flatnonzero(enough)[-1]]) if enough.any() else np.inf


@pytest.mark.parametrize("shape", SHAPES)
def test_the_chosen_threshold_misses_the_accuracy_asked_for_at_most_as_often_as_promised(shape: str) -> None:
    rng, draws, wanted = np.random.default_rng(6), 500, 0.9
    grid = np.arange(12) / 12 if shape == "many ties" else np.linspace(0, 1, 5001)
    from_here_on = SHAPES[shape](grid)[::-1].cumsum()[::-1] / np.arange(len(grid), 0, -1)  # true accuracies
    missed = naive = 0
    for _ in range(draws):
        c = rng.choice(grid, 150)
        r = rng.random(150) < SHAPES[shape](c)
        found, looks_best = calibration.threshold_for(c, r, wanted), best_looking(c, r, wanted)
        missed += np.isfinite(found) and from_here_on[np.searchsorted(grid, found)] < wanted
        naive += np.isfinite(looks_best) and from_here_on[np.searchsorted(grid, looks_best)] < wanted
    error = np.sqrt(0.05 * 0.95 / draws)
    assert missed / draws <= 0.05 + 2 * error
    if shape == "always below":
        assert naive / draws > 0.05 + 4 * error  # many thresholds, one of them is lucky


def test_a_threshold_is_found_where_one_plainly_exists() -> None:
    rng = np.random.default_rng(7)
    found = []
    for _ in range(40):
        c = rng.random(400)
        found.append(calibration.threshold_for(c, rng.random(400) < np.where(c > 0.4, 0.99, 0.4), 0.9))
    assert np.mean(np.array(found) < 0.5) > 0.9 and np.mean(np.array(found) > 0.3) > 0.9
    few_sure = np.linspace(0, 1, 300)  # only the surest fifth is right, always
    assert calibration.threshold_for(few_sure, few_sure > 0.8, 0.9) == pytest.approx(0.8, abs=0.05)
    assert calibration.threshold_for(few_sure, few_sure >= 0, 0.9) == 0.0


def test_a_threshold_passes_the_exact_test_and_ties_stay_together() -> None:
    rng = np.random.default_rng(8)
    for wanted in (0.5, 0.7, 0.8):
        c = rng.integers(0, 12, 400) / 12
        r = rng.random(400) < 0.4 + 0.6 * c
        found = calibration.threshold_for(c, r, wanted)
        k, n = int(r[c >= found].sum()), int((c >= found).sum())
        assert found in c and proportion_confint(k, n, 0.1, "beta")[0] >= wanted  # Clopper-Pearson
    everything = [0.7] * 29
    assert calibration.threshold_for(everything, [1] * 29, 0.9) == 0.7  # 0.9 ** 29 = 0.047
    assert calibration.threshold_for(everything[1:], [1] * 28, 0.9) == np.inf  # 0.9 ** 28 = 0.052
    assert calibration.threshold_for(everything, [1] * 29, 1.0) == np.inf  # no sample shows that


def test_thresholds_that_cannot_be_asked_for() -> None:
    with pytest.raises(ParameterError, match="accuracy = 90 is out of range"):
        calibration.threshold_for([0.5], [1], 90)
    with pytest.raises(ParameterError, match="level"):
        calibration.threshold_for([0.5], [1], 0.9, level=95)
    with pytest.raises(DataError, match="0 and 1"):
        calibration.threshold_for([0.5, 0.6], [1, 0.5], 0.9)


def test_the_fitted_temperature_undoes_a_scale_and_has_the_smallest_loss() -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(20_000, 4)) * 2
    gold = np.array([rng.choice(4, p=p) for p in scipy_softmax(logits, axis=1)])
    assert calibration.fit_temperature(3 * logits, gold) == pytest.approx(3, rel=0.05)

    def loss(t: float) -> float:
        return -np.log(scipy_softmax(logits / t, axis=1)[np.arange(len(gold)), gold]).mean()

    best = calibration.fit_temperature(logits, gold)
    assert loss(best) < min(loss(best * 1.02), loss(best / 1.02))
    assert calibration.fit_temperature(logits, logits.argmax(1)) == 1.0
    with pytest.raises(DataError, match="do not fit"):
        calibration.fit_temperature(logits, gold[:3])


def test_selective_answers_are_scored_on_what_was_answered() -> None:
    found = calibration.selective([1, 1, 0, 0], [True, True, True, False])
    assert (found.coverage.value, found.coverage.n, found.accuracy.n) == (0.75, 4, 3)
    assert found.accuracy.value == pytest.approx(2 / 3) and str(found) == "0.67 [0.21, 0.94] of the 75% answered"
    nothing = calibration.selective([1, 0], [False, False])
    assert nothing.accuracy is None and str(nothing) == "none of the 0% answered"
    with pytest.raises(DataError, match="2 results for 1 answers"):
        calibration.selective([1, 0], [True])
