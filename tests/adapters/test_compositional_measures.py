"""Measures of compositional recognition: against a brute-force sweep, a rank statistic, and by their identities."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers.adapters.compositional.measures import (
    Candidates,
    accuracy_at,
    bootstrap_measures,
    closed_world,
    compositional_measures,
    open_world,
)
from helpers.errors import DataError

SEEN = [("red", "cup"), ("red", "hat"), ("blue", "cup"), ("old", "car")]
UNSEEN = [("blue", "hat"), ("old", "cup"), ("red", "car")]
CLOSED = closed_world(SEEN, UNSEEN)
NAMES = ("best_seen", "best_unseen", "harmonic_mean", "auc")


def credit(scores: list[Fraction], right: list[bool]) -> Fraction:
    """Share of the highest-scored candidates that are right."""
    tops = [ok for score, ok in zip(scores, right, strict=True) if score == max(scores)]
    return Fraction(sum(tops), len(tops))


def brute_force(scores: np.ndarray, truth: np.ndarray, candidates: Candidates) -> dict[str, float]:
    """Exact fractions; one bias between any two at which some seen candidate ties with some unseen one."""
    rows = [[Fraction(float(x)) for x in row] for row in scores]
    k = range(len(candidates))
    seen = [bool(x) for x in candidates.seen]
    ties = sorted({row[a] - row[b] for row in rows for a in k for b in k if seen[a] and not seen[b]})
    between = [(a + b) / 2 for a, b in zip(ties, ties[1:], strict=False)]
    points = []
    for bias in [ties[0] - 1, *between, ties[-1] + 1]:
        means = []
        for side in (True, False):
            credits = [
                credit([x + (0 if seen[j] else bias) for j, x in enumerate(row)], [j == t for j in k])
                for row, t in zip(rows, truth, strict=True)
                if seen[t] == side
            ]
            means.append(sum(credits) / len(credits))
        points.append(tuple(means))
    area = sum((u1 - u0) * (s0 + s1) / 2 for (s0, u0), (s1, u1) in zip(points, points[1:], strict=False))
    found = (
        max(s for s, _ in points),
        max(u for _, u in points),
        max(2 * s * u / (s + u) if s + u else Fraction(0) for s, u in points),
        area,
    )
    return dict(zip(NAMES, map(float, found), strict=True))


def random_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Candidates]:
    """Few pictures, and for most cases few different scores, so that all kinds of ties occur."""
    k_seen, k_unseen, n = rng.integers(1, 5), rng.integers(1, 5), rng.integers(2, 9)
    pairs = tuple((f"s{i % 3}", f"o{i}") for i in range(k_seen + k_unseen))
    order = rng.permutation(len(pairs))
    candidates = Candidates(pairs, order < k_seen)
    levels = rng.choice([2, 3, 5, 1000])
    scores = rng.integers(0, levels, (n, len(pairs))) / 4
    truth = rng.integers(0, len(pairs), n)
    truth[0], truth[1] = np.flatnonzero(candidates.seen)[0], np.flatnonzero(~candidates.seen)[-1]
    return scores, truth, candidates


def test_measures_equal_a_brute_force_sweep() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        scores, truth, candidates = random_case(rng)
        found, expected = compositional_measures(scores, truth, candidates), brute_force(scores, truth, candidates)
        assert {name: getattr(found, name) for name in NAMES} == pytest.approx(expected, abs=1e-12)
        at = accuracy_at(scores, truth, candidates, found.bias)
        assert at.harmonic_mean == pytest.approx(found.harmonic_mean, abs=1e-12)
        for bias, seen, unseen in found.curve:
            at = accuracy_at(scores, truth, candidates, bias)
            assert (at.seen, at.unseen) == pytest.approx((seen, unseen), abs=1e-12)


def test_states_and_objects_without_a_bias_equal_a_loop() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        scores, truth, candidates = random_case(rng)
        found = compositional_measures(scores, truth, candidates)
        for side, value in ((0, found.state), (1, found.object)):
            right = [
                credit(
                    [Fraction(float(x)) for x in row], [p[side] == candidates.pairs[t][side] for p in candidates.pairs]
                )
                for row, t in zip(scores, truth, strict=True)
            ]
            assert value == pytest.approx(float(sum(right) / len(right)))


def continuous(seed: int, n: int = 60, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(CLOSED), n)
    scores = rng.normal(size=(n, len(CLOSED)))
    scores[np.arange(n), truth] += signal
    return scores, truth


def test_area_is_a_rank_statistic() -> None:
    """With every picture right among candidates of its own kind, seen and unseen differ by one number a picture."""
    scores, truth = continuous(0)
    scores[np.arange(len(truth)), truth] = scores.max(axis=1) + 0.01
    rng = np.random.default_rng(1)
    scores += np.where(CLOSED.seen, rng.normal(size=(len(truth), 1)) * 3, 0)  # moves a picture's kinds apart
    known = CLOSED.seen[truth]
    limit = scores[:, CLOSED.seen].max(1) - scores[:, ~CLOSED.seen].max(1)
    found = compositional_measures(scores, truth, CLOSED)
    assert found.best_seen == found.best_unseen == 1
    assert 0 < found.auc < 1 and found.auc == pytest.approx(roc_auc_score(known, limit))


def test_perfect_constant_and_wrong_scores() -> None:
    truth = np.arange(len(CLOSED)).repeat(2)
    perfect = np.eye(len(CLOSED))[truth]
    found = compositional_measures(perfect, truth, CLOSED)
    assert [getattr(found, name) for name in (*NAMES, "state", "object")] == [1] * 6
    constant = compositional_measures(np.zeros_like(perfect), truth, CLOSED)
    assert (constant.best_seen, constant.best_unseen) == pytest.approx((1 / 4, 1 / 3))  # chance, in any order
    assert constant.auc == pytest.approx(1 / 4 * 1 / 3 / 2) and constant.harmonic_mean == 0
    wrong = compositional_measures(-perfect, truth, CLOSED)
    assert [getattr(wrong, name) for name in NAMES] == [0] * 4


def test_what_changes_nothing_and_what_does() -> None:
    scores, truth = continuous(2)
    found = compositional_measures(scores, truth, CLOSED)
    plain = [getattr(found, name) for name in NAMES]

    def same(other: np.ndarray, target: np.ndarray = truth, candidates: Candidates = CLOSED) -> bool:
        measured = compositional_measures(other, target, candidates)
        return [getattr(measured, name) for name in NAMES] == pytest.approx(plain)

    rng = np.random.default_rng(3)
    assert same(scores + rng.normal(size=(len(scores), 1)))  # one shift a picture
    assert same(7 * scores - 4)  # another scale
    assert same(scores + np.where(CLOSED.seen, 5.0, 0.0))  # a bias is what is swept over
    order = rng.permutation(len(CLOSED))
    moved = Candidates(tuple(CLOSED.pairs[i] for i in order), CLOSED.seen[order])
    assert same(scores[:, order], np.argsort(order)[truth], moved)
    rows = rng.permutation(len(scores))
    assert same(scores[rows], truth[rows])
    assert not same(np.exp(scores))  # a bias is added, so only straight lines keep the curve
    shifted = compositional_measures(scores + np.where(CLOSED.seen, 5.0, 0.0), truth, CLOSED)
    assert shifted.bias == pytest.approx(found.bias + 5)


def test_curve_runs_from_only_seen_to_only_unseen() -> None:
    scores, truth = continuous(4)
    found = compositional_measures(scores, truth, CLOSED)
    bias, seen, unseen = found.curve.T
    assert (np.diff(bias) > 0).all() and (np.diff(seen) <= 0).all() and (np.diff(unseen) >= 0).all()
    assert (seen[0], unseen[0], seen[-1], unseen[-1]) == (found.best_seen, 0, 0, found.best_unseen)
    assert found.auc <= found.best_seen * found.best_unseen + 1e-12
    assert found.n_seen + found.n_unseen == len(truth)
    assert set(found.as_dict()) == {*NAMES, "bias", "state", "object", "n_seen", "n_unseen"}


def test_open_world_is_harder_and_has_all_combinations() -> None:
    wide = open_world(SEEN, UNSEEN)
    assert len(wide) == 9 and wide.seen.sum() == 4 and set(wide.pairs) > set(CLOSED.pairs)
    assert wide.seen_pairs == tuple(SEEN)
    scores, truth = continuous(5)
    more = np.hstack([scores, np.random.default_rng(6).normal(size=(len(scores), 2))])
    narrow, broad = (compositional_measures(s, truth, c) for s, c in ((scores, CLOSED), (more, wide)))
    assert broad.best_unseen < narrow.best_unseen and broad.best_seen == narrow.best_seen


def test_bootstrap_surrounds_the_figure_and_pairs_two_systems() -> None:
    scores, truth = continuous(7, n=200, signal=1.5)
    found = compositional_measures(scores, truth, CLOSED)
    draws = bootstrap_measures(scores, truth, CLOSED, draws=250, seed=3)
    for name in NAMES:
        low, high = np.percentile(draws[name], [2.5, 97.5])
        assert draws[name].shape == (250,) and low < getattr(found, name) < high
    assert found.best_seen == pytest.approx(draws["best_seen"].mean(), abs=0.02)
    n = found.n_seen
    assert draws["best_seen"].std() == pytest.approx(np.sqrt(found.best_seen * (1 - found.best_seen) / n), rel=0.2)
    again = bootstrap_measures(5 * scores, truth, CLOSED, draws=250, seed=3)
    assert np.allclose(draws["auc"], again["auc"])  # the same pictures are drawn
    # One resample by hand: repeated pictures are worth what a list with repeats is worth.
    few_scores, few_truth = continuous(8, n=12)
    few_truth[:2] = 0, 6
    rng, known = np.random.default_rng(0), CLOSED.seen[few_truth]
    counts = np.empty(12, dtype=int)
    for group in (known, ~known):
        m = int(group.sum())
        counts[group] = rng.multinomial(m, np.full(m, 1 / m), size=1)[0]
    rows = np.repeat(np.arange(12), counts)
    one = bootstrap_measures(few_scores, few_truth, CLOSED, draws=1, seed=0)
    listed = compositional_measures(few_scores[rows], few_truth[rows], CLOSED)
    assert {name: one[name][0] for name in NAMES} == pytest.approx({name: getattr(listed, name) for name in NAMES})


def test_errors() -> None:
    scores, truth = continuous(9)
    with pytest.raises(DataError, match="no unseen pair among the candidates"):
        compositional_measures(scores[:, :4], np.zeros(len(scores), dtype=int), closed_world(SEEN, []))
    with pytest.raises(DataError, match="no picture shows one of the unseen pairs"):
        compositional_measures(scores, np.zeros(len(scores), dtype=int), CLOSED)
    with pytest.raises(DataError, match="no picture shows one of the seen pairs"):
        accuracy_at(scores, np.full(len(scores), 5), CLOSED)
    with pytest.raises(DataError, match="do not fit"):
        compositional_measures(scores[:, :3], truth, CLOSED)
    with pytest.raises(DataError, match="not finite"):
        compositional_measures(np.where(scores > 2, -np.inf, scores), truth, CLOSED)
    with pytest.raises(DataError, match="outside"):
        compositional_measures(scores, truth + 3, CLOSED)
    with pytest.raises(DataError, match="green hat"):
        CLOSED.index([("red", "cup"), ("green", "hat")])
    with pytest.raises(DataError, match="'red cup' stands twice"):
        closed_world(SEEN, [("red", "cup")])
    assert CLOSED.index([("blue", "hat"), ("red", "cup")]).tolist() == [4, 0]
