"""How well states and objects are recombined: seen and unseen accuracy, their harmonic mean, and the area between.

A model trained on seen pairs prefers them. A calibration bias added to the score of every unseen pair trades one
accuracy for the other (Chao et al., 2016, arXiv:1605.04253), so a model is judged by the whole curve, as in the
compositional literature since Purushwalkam et al. (2019, arXiv:1905.05908): Naeem et al. (2021, arXiv:2102.01987),
Nayak et al. (2023, arXiv:2204.03574).

The curve here is exact. Picture i changes its mind at one bias alone, t_i = (highest score of a seen candidate) −
(highest score of an unseen one), so both accuracies are constant between neighbouring t and every attainable pair of
accuracies is met; published code samples about twenty biases and may miss the best.

The bias of "best" figures is picked on the very pictures that are scored. `accuracy_at` gives what a bias chosen on
validation pictures is worth on others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.errors import DataError

Pair = tuple[str, str]  # (state, object)
FloatArray = NDArray[np.float64]

DRAWS = 1000  # resamples of a bootstrap
CHUNK = 100  # of them held in memory at a time


@dataclass(frozen=True, eq=False)
class Candidates:
    """The pairs a prediction may choose from.

    Attributes:
        pairs: (state, object), k of them, each once.
        seen: (k,) whether the pair occurs in training.
    """

    pairs: tuple[Pair, ...]
    seen: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def seen_pairs(self) -> tuple[Pair, ...]:
        return tuple(pair for pair, seen in zip(self.pairs, self.seen, strict=True) if seen)

    def index(self, truth: Iterable[Pair]) -> NDArray[np.int64]:
        """Position of each true pair among the candidates, ``(n,)``.

        Raises:
            DataError: a true pair is no candidate.
        """
        place = {pair: i for i, pair in enumerate(self.pairs)}
        truth = [(state, thing) for state, thing in truth]
        absent = sorted(set(truth) - set(place))
        if absent:
            shown = ", ".join(" ".join(pair) for pair in absent[:3])
            raise DataError(
                f"{len(absent)} true pair(s) are no candidates ({shown})", "add them to the seen or unseen pairs"
            )
        return np.array([place[pair] for pair in truth], dtype=np.int64)


def closed_world(seen_pairs: Iterable[Pair], unseen_pairs: Iterable[Pair]) -> Candidates:
    """Candidates are the seen pairs and those unseen pairs that are known to occur.

    Raises:
        DataError: a pair twice, or in both lists.
    """
    seen, unseen = ([(state, thing) for state, thing in pairs] for pairs in (seen_pairs, unseen_pairs))
    pairs = (*seen, *unseen)
    if len(set(pairs)) != len(pairs):
        twice = " ".join(next(pair for pair in pairs if pairs.count(pair) > 1))
        raise DataError(f"the pair {twice!r} stands twice among seen and unseen pairs", "list each pair once")
    return Candidates(pairs, np.arange(len(pairs)) < len(seen))


def open_world(seen_pairs: Iterable[Pair], unseen_pairs: Iterable[Pair]) -> Candidates:
    """Candidates are all combinations of the states and objects that occur (Mancini et al., 2021, arXiv:2101.12609).

    Raises:
        DataError: as ``closed_world``.
    """
    closed = closed_world(seen_pairs, unseen_pairs)
    states, objects = (list(dict.fromkeys(pair[side] for pair in closed.pairs)) for side in (0, 1))
    known = set(closed.pairs)
    others = [(s, o) for s in states for o in objects if (s, o) not in known]
    return Candidates((*closed.pairs, *others), np.append(closed.seen, np.zeros(len(others), dtype=bool)))


@dataclass(frozen=True)
class Accuracy:
    """Shares of pictures that are right at one bias.

    Attributes:
        seen, unseen: of the pictures whose true pair is seen, unseen; state and object both right.
        harmonic_mean: of these two.
        state, object: of all pictures; that word of the predicted pair is right.
    """

    seen: float
    unseen: float
    harmonic_mean: float
    state: float
    object: float


@dataclass(frozen=True, eq=False)
class Measures:
    """The field's measures, each in 0…1.

    Attributes:
        best_seen, best_unseen: highest accuracy on each kind of pictures at any bias: that at −∞ and at +∞, where
            only seen or only unseen candidates are chosen.
        harmonic_mean: highest harmonic mean at one bias.
        auc: area under seen accuracy over unseen accuracy, from (unseen 0, best_seen) to (best_unseen, seen 0).
        bias: a bias of the best harmonic mean, from the middle of the first stretch that has it.
        state, object: accuracy of the words alone without a bias, as the field reports them.
        n_seen, n_unseen: pictures.
        curve: (m, 3) columns bias, seen, unseen; one row per stretch of biases, ascending.
    """

    best_seen: float
    best_unseen: float
    harmonic_mean: float
    auc: float
    bias: float
    state: float
    object: float
    n_seen: int
    n_unseen: int
    curve: FloatArray

    def as_dict(self) -> dict[str, float]:
        """The figures without the curve, for a table or a record."""
        return {name: value for name, value in vars(self).items() if name != "curve"}


def compositional_measures(scores: ArrayLike, truth: ArrayLike, candidates: Candidates) -> Measures:
    """Best seen, best unseen, best harmonic mean and AUC over all biases; states and objects without a bias.

    A tie of k candidates is worth 1/k if the true pair is among them: the mean of breaking it at random, so that no
    figure depends on the candidates' order. No bias is looked at where a seen and an unseen candidate tie.

    The area is that under straight lines between neighbouring points (trapezoids). With c_i the worth of picture i
    among candidates of its own kind, it equals the mean over all pairs of a seen picture i and an unseen one j of
    c_i c_j ([t_j < t_i] + ½ [t_j = t_i]): the chance that one bias suits both.

    Args:
        scores: (n, k) one column per candidate, higher is better; any scale.
        truth: (n,) column of the true pair, from ``Candidates.index``.

    Raises:
        DataError: shapes do not fit, scores are not finite, or there is no seen or no unseen candidate or picture.
    """
    values, target = _checked(scores, truth, candidates)
    limits, worth, known = _limits(values, target, candidates.seen)
    edges, seen, unseen, auc = _sweep(limits, worth, known, np.ones((1, len(values))))
    means = harmonic_mean(seen[0], unseen[0])
    bounds = np.concatenate([[edges[0] - 2], edges, [edges[-1] + 2]])
    first = int(means.argmax())
    last = first
    while last + 1 < len(means) and (seen[0, last + 1], unseen[0, last + 1]) == (seen[0, first], unseen[0, first]):
        last += 1
    plain = accuracy_at(values, target, candidates)
    return Measures(
        best_seen=float(seen[0, 0]),
        best_unseen=float(unseen[0, -1]),
        harmonic_mean=float(means[first]),
        auc=float(auc[0]),
        bias=float((bounds[first] + bounds[last + 1]) / 2),
        state=plain.state,
        object=plain.object,
        n_seen=int(known.sum()),
        n_unseen=int((~known).sum()),
        curve=np.stack([(bounds[:-1] + bounds[1:]) / 2, seen[0], unseen[0]], axis=1),
    )


def accuracy_at(scores: ArrayLike, truth: ArrayLike, candidates: Candidates, bias: float = 0.0) -> Accuracy:
    """Accuracies with one bias added to all unseen candidates; ties as in ``compositional_measures``.

    Raises:
        DataError: as ``compositional_measures``.
    """
    right, known, share = right_at(scores, truth, candidates, bias)
    target = np.asarray(truth, dtype=np.int64)
    seen, unseen = right[known].mean(), right[~known].mean()
    words = []
    for side in (0, 1):
        word = np.unique([pair[side] for pair in candidates.pairs], return_inverse=True)[1]
        words.append(float((share * (word == word[target][:, None])).sum(axis=1).mean()))
    return Accuracy(float(seen), float(unseen), float(harmonic_mean(seen, unseen)), *words)


def right_at(
    scores: ArrayLike, truth: ArrayLike, candidates: Candidates, bias: float = 0.0
) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """Of each picture: (n,) worth of its prediction, (n,) is its pair seen, (n, k) the candidates' shares in it."""
    values, target = _checked(scores, truth, candidates)
    values = values + np.where(candidates.seen, 0.0, bias)
    top = values == values.max(axis=1, keepdims=True)
    share = top / top.sum(axis=1, keepdims=True)
    return share[np.arange(len(values)), target], candidates.seen[target], share


def bootstrap_measures(
    scores: ArrayLike, truth: ArrayLike, candidates: Candidates, draws: int = DRAWS, seed: int = 0
) -> dict[str, FloatArray]:
    """The four measures of resampled pictures, ``(draws,)`` each; seen and unseen pictures are drawn apart.

    Percentiles give an interval. Two systems scored on the same pictures with one seed get the same draws, so their
    difference draw by draw is a paired comparison.

    Raises:
        DataError: as ``compositional_measures``.
    """
    values, target = _checked(scores, truth, candidates)
    limits, worth, known = _limits(values, target, candidates.seen)
    rng = np.random.default_rng(seed)
    found: dict[str, list[Any]] = {"best_seen": [], "best_unseen": [], "harmonic_mean": [], "auc": []}
    for start in range(0, draws, CHUNK):
        weights = np.empty((min(CHUNK, draws - start), len(values)))
        for group in (known, ~known):
            n = int(group.sum())
            weights[:, group] = rng.multinomial(n, np.full(n, 1 / n), size=len(weights))
        _, seen, unseen, auc = _sweep(limits, worth, known, weights)
        means = harmonic_mean(seen, unseen).max(axis=1)
        for name, drawn in zip(found, (seen[:, 0], unseen[:, -1], means, auc), strict=True):
            found[name].append(drawn)
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in found.items()}


def harmonic_mean(seen: ArrayLike, unseen: ArrayLike) -> FloatArray:
    """``2su / (s + u)``, 0 where both are 0."""
    s, u = np.asarray(seen, dtype=np.float64), np.asarray(unseen, dtype=np.float64)
    total = s + u
    return np.asarray(2 * s * u / np.where(total > 0, total, 1))


def _limits(
    scores: FloatArray, truth: NDArray[np.int64], seen: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Of each picture: the bias at which it turns to an unseen pair, its worth on its own side, is its pair seen."""
    known = seen[truth]
    highest = {side: scores[:, seen == side].max(axis=1) for side in (True, False)}
    own = np.where(known, highest[True], highest[False])
    ties = ((scores == own[:, None]) & (seen == known[:, None])).sum(axis=1)
    worth = (scores[np.arange(len(scores)), truth] == own) / ties
    return highest[True] - highest[False], worth, known


def _sweep(
    limits: FloatArray, worth: FloatArray, known: NDArray[np.bool_], weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Different limits ``(g,)``; seen and unseen accuracy between them ``(draws, g + 1)``; area ``(draws,)``."""
    edges, group = np.unique(limits, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(edges)))

    def counts(which: NDArray[np.bool_]) -> FloatArray:
        return np.asarray(np.add.reduceat((weights * (worth * which))[:, order], starts, axis=1))

    nothing = np.zeros((len(weights), 1))
    lost, won = counts(known), counts(~known)  # what crossing each limit takes from seen and gives to unseen
    n_seen, n_unseen = (weights[:, which].sum(axis=1, keepdims=True) for which in (known, ~known))
    # Counts are divided last: all right is exactly 1.
    seen = np.hstack([np.cumsum(lost[:, ::-1], axis=1)[:, ::-1], nothing]) / n_seen
    unseen = np.hstack([nothing, np.cumsum(won, axis=1)]) / n_unseen
    return edges, seen, unseen, (won * (seen[:, :-1] + seen[:, 1:])).sum(axis=1) / (2 * n_unseen[:, 0])


def _checked(scores: ArrayLike, truth: ArrayLike, candidates: Candidates) -> tuple[FloatArray, NDArray[np.int64]]:
    values, target = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    if values.ndim != 2 or target.shape != values.shape[:1] or values.shape[1] != len(candidates):
        raise DataError(
            f"scores {values.shape}, {len(target):,} true pairs and {len(candidates)} candidates do not fit",
            "give one row per picture and one column per candidate",
        )
    if len(target) and not 0 <= target.min() <= target.max() < len(candidates):
        raise DataError("a true pair lies outside the candidates", "take the positions from Candidates.index")
    if not np.isfinite(values).all():
        raise DataError("some scores are not finite numbers", "leave candidates out instead of masking them")
    for name, side in (("seen", True), ("unseen", False)):
        if not (candidates.seen == side).any():
            raise DataError(f"there is no {name} pair among the candidates", "the measures weigh seen against unseen")
        if not (candidates.seen[target] == side).any():
            raise DataError(
                f"no picture shows one of the {name} pairs", "the measures weigh seen against unseen; check the split"
            )
    return values, target
