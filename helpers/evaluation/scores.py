"""What one system scored: each metric as rows of numbers, one row an example, from which value and interval follow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from helpers.errors import DataError, ParameterError
from helpers.evaluation.aggregates import aggregate
from helpers.evaluation.clusters import Groups, group_codes, group_sums, group_wilson
from helpers.evaluation.intervals import LEVEL, Estimate, score_interval, wilson
from helpers.evaluation.statistics import DRAWS, FloatArray, bootstrap
from helpers.hints import nearest_and_all

PROPORTIONS = frozenset({"accuracy", "valid_rate"})
UNBOUNDED = frozenset({"perplexity", "clip_score"})  # all others lie between 0 and 1


@dataclass(frozen=True, eq=False)
class Part:
    """One metric of one system.

    Attributes:
        stats: (n, k) sufficient statistics, row i about example i.
        per_example: (n,) values; None where a single example has none (macro_f1).
        n: examples that count (rows; for perplexity, rows with at least one token).
        key: fingerprint of what was scored against; two systems compare only if it agrees.
        note: how it was computed, where that may differ between machines.
        groups: (n,) group of each example where examples are related, see ``clusters``; None if they are not.
    """

    metric: str
    stats: FloatArray
    per_example: FloatArray | None
    n: int
    key: str
    note: str = ""
    groups: NDArray[np.int64] | None = None

    @property
    def n_groups(self) -> int:
        """How many groups the examples are in; 0 if they are in none."""
        return 0 if self.groups is None else int(self.groups.max()) + 1

    @property
    def independent(self) -> FloatArray:
        """``stats`` of what is resampled: examples, or whole groups."""
        return self.stats if self.groups is None else group_sums(self.stats, self.groups)


class Scores:
    """Metrics of one system. ``a | b`` joins two groups, such as text scores and perplexity."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts: dict[str, Part] = {p.metric: p for p in parts}

    def __or__(self, other: Scores) -> Scores:
        return Scores({**self.parts, **other.parts}.values())

    def grouped(self, groups: Groups) -> Scores:
        """The same scores of related examples: ``estimates`` and ``compare`` then draw whole groups, see ``clusters``.

        Where every example is a group of its own, nothing changes.

        Args:
            groups: (n,) labels; examples that share a premise, a picture or a recipe have the same one.

        Raises:
            DataError: not one label for each example, a missing label, or all examples in one group.
        """
        labels = groups if isinstance(groups, np.ndarray) else list(groups)

        def of(part: Part) -> Part:
            if len(part.stats) == len(labels) == 1:
                return part
            codes = group_codes(labels, len(part.stats))
            return replace(part, groups=codes if codes.max() + 1 < len(codes) else None)

        return Scores(map(of, self.parts.values()))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.parts)

    @property
    def per_example(self) -> dict[str, FloatArray]:
        """Metric → (n,) values of single examples; perplexity is NaN where no token was scored.

        BLEU's are sentence scores: their mean is not corpus BLEU.
        """
        return {m: p.per_example for m, p in self.parts.items() if p.per_example is not None}

    @property
    def notes(self) -> dict[str, str]:
        """Metric → how it was computed, for the run's record."""
        found = {
            m: "; ".join(filter(None, (p.note, f"examples in {p.n_groups} groups" if p.n_groups else "")))
            for m, p in self.parts.items()
        }
        return {m: note for m, note in found.items() if note}

    @property
    def notes_line(self) -> str:
        """The notes in one line, "" where there are none."""
        return "; ".join(f"{metric}: {how}" for metric, how in self.notes.items())

    def value(self, metric: str) -> float:
        """The metric without an interval."""
        return float(aggregate(metric)(self.parts[metric].stats.sum(axis=0, keepdims=True))[0])

    def estimates(self, seed: int = 0, level: float = LEVEL, draws: int = DRAWS) -> dict[str, Estimate]:
        """Every metric with its interval: Wilson for proportions, percentile bootstrap otherwise.

        Where all examples have 0, or all have 1, no resample differs and the bootstrap has no width. Then the interval
        is Wilson's of so many examples (groups), as if each could only have had 0 or 1: the widest possible.
        """
        found = {}
        for metric, part in self.parts.items():
            if metric not in PROPORTIONS:
                rows = part.independent
                estimate = bootstrap(rows, aggregate(metric), level, draws, seed)
                if estimate.low == estimate.high in (0.0, 1.0) and metric not in UNBOUNDED:
                    low, high = score_interval(estimate.value, len(rows), level)
                    estimate = replace(estimate, low=low, high=high)
            elif part.groups is None:
                estimate = wilson(int(part.stats[:, 0].sum()), part.n, level)
            else:
                estimate = group_wilson(part.stats[:, 0], part.groups, level)
            found[metric] = replace(estimate, n=part.n)
        return found


def fingerprint(texts: Sequence[str]) -> str:
    """Of what was scored against, so that only the same is compared."""
    return hashlib.sha256("\x1e".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def check_lengths(n: int, m: int) -> None:
    """Raises DataError unless there is one prediction for each reference, and one at all."""
    if n != m or not n:
        raise DataError(f"{n} predictions for {m} references", "Give one prediction per reference")


def check_name(name: str, known: Sequence[str]) -> None:
    """Raises ParameterError, with the nearest valid name, for a metric that is not known."""
    if name not in known:
        raise ParameterError(f"there is no metric {name!r}", nearest_and_all(name, known, "metric"))
