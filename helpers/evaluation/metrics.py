"""Metrics as sums: each example contributes a row of numbers, a metric is a function of the column sums.

That one form gives the value, its bootstrap interval and the paired test (see ``statistics``), for corpus
BLEU and macro F1 just as for a mean. All metrics lie on 0–1 except perplexity.

=============  =====================================================================================
accuracy       share of right choices; an answer that could not be read as an option is wrong
macro_f1       F1 per class, plain mean over the classes that occur (scikit-learn's default labels)
valid_rate     share of answers that could be read as one of the options
perplexity     exp(sum of negative log-likelihoods in nats / number of tokens), over all tokens
bleu           sacrebleu corpus BLEU / 100: 13a tokens, case kept, "exp" smoothing, up to 4-grams
bleu1          the same with 1-grams only: unigram precision × brevity penalty
bleu4          another name for ``bleu``, for tables beside papers that report BLEU-1 and BLEU-4
rouge1/2/L     rouge-score F-measure without stemming, mean over examples; other tokens for other languages
meteor         nltk METEOR, mean over examples; synonyms only where WordNet is installed
cosine         cosine of sentence embeddings, negative values counted as 0, mean over examples
=============  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from helpers.errors import DataError, ParameterError
from helpers.evaluation import text_stats
from helpers.evaluation.aggregates import (
    MAX_ORDER,
    aggregate,
    bleu_from_stats,
    mean_from_stats,
    perplexity_from_stats,
    with_count,
)
from helpers.evaluation.clusters import group_newcombe, sign_flips
from helpers.evaluation.embeddings import Embedder
from helpers.evaluation.intervals import LEVEL, newcombe
from helpers.evaluation.scores import PROPORTIONS, Part, Scores, check_lengths, check_name, fingerprint
from helpers.evaluation.statistics import DRAWS, FloatArray, TestResult, mcnemar_exact, paired_bootstrap
from helpers.evaluation.text_stats import References
from helpers.evaluation.tokens import choose, cut_words

TEXT_METRICS = ("bleu", "bleu1", "bleu4", "rouge1", "rouge2", "rougeL", "meteor", "cosine")
CHOICE_METRICS = ("accuracy", "macro_f1", "valid_rate")
# Everything that a run may record, in the order of its tables; the last ones are scored where they are defined.
METRICS = (
    "perplexity", *CHOICE_METRICS, *TEXT_METRICS, "clip_score", "slot_accuracy", "harmonic_mean", "auc",
)  # fmt: skip


def score_texts(
    predictions: Sequence[str],
    references: References,
    names: Sequence[str] | None = None,
    embedder: Embedder | None = None,
) -> Scores:
    """Score generated texts against one reference each, or several.

    Of several references BLEU takes what sacrebleu takes; ROUGE, METEOR and cosine the best. Texts in other languages
    than English are cut into other tokens, see ``tokens``; ``Scores.notes`` says so.

    Args:
        references: a text an example, or a list of texts; their number may differ.
        names: of TEXT_METRICS; by default BLEU, ROUGE and METEOR, and cosine if there is an embedder.
        embedder: from ``get_embedder``; needed for cosine only.

    Raises:
        DataError: no texts, lengths differ, an example without a reference, or an entry that is not a string.
        ParameterError: unknown metric, or cosine without an embedder.
    """
    if names is None:
        names = ("bleu", "rouge1", "rouge2", "rougeL", "meteor", *(("cosine",) if embedder else ()))
    for name in names:
        check_name(name, TEXT_METRICS)
    if embedder is None and "cosine" in names:
        raise ParameterError("cosine needs an embedder", "Pass embedder=get_embedder('minilm')")
    predictions, references = list(predictions), list(references)
    check_lengths(len(predictions), len(references))
    lists = _reference_lists(predictions, references)
    flat, counts = [text for texts in lists for text in texts], sorted({len(texts) for texts in lists})
    tokens = choose(flat)
    tokens = replace(tokens, note=tokens.note or cut_words(tokens, predictions))
    key = fingerprint(["\x1f".join(texts) for texts in lists])
    several = f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} references" if counts[-1] > 1 else ""
    parts = []

    def add(metric: str, values: FloatArray, *how: str, stats: FloatArray | None = None) -> None:
        best = several and f"{several}: " + ("nearest length, matches in any" if stats is not None else "the best")
        note = "; ".join(filter(None, (*how, best)))
        parts.append(Part(metric, with_count(values) if stats is None else stats, values, len(values), key, note))

    if bleu_names := [m for m in names if m.startswith("bleu")]:
        stats = text_stats.bleu_stats(predictions, lists, tokens.bleu)
        for name in bleu_names:
            order = 1 if name == "bleu1" else MAX_ORDER
            sentence = bleu_from_stats(stats, order, effective_order=True)
            add(name, sentence, f"sacrebleu's {tokens.bleu} tokens" if tokens.bleu != "13a" else "", stats=stats)
    if rouge_names := [m for m in names if m.startswith("rouge")]:
        for name, values in text_stats.rouge_scores(predictions, lists, rouge_names, tokens).items():
            add(name, values, tokens.note)
    if "meteor" in names:
        how = "exact, stem and WordNet matches" if text_stats.meteor_synonyms() else "exact and stem matches"
        cut = tokens.note if tokens.kind != "a-z" else ""
        add("meteor", text_stats.meteor_scores(predictions, lists, tokens=tokens), how, cut)
    if embedder and "cosine" in names:
        rows = np.repeat(np.arange(len(lists)), [len(texts) for texts in lists])
        product = (embedder(predictions)[rows] * embedder(flat)).sum(axis=1, dtype=np.float64)
        nearest = np.maximum.reduceat(product, np.flatnonzero(np.diff(rows, prepend=-1)))
        empty = np.array([not p.strip() for p in predictions])
        add("cosine", np.where(empty, 0.0, np.clip(nearest, 0.0, 1.0)), f"{embedder.name} embeddings")
    return Scores(sorted(parts, key=lambda p: list(names).index(p.metric)))


def _reference_lists(predictions: Sequence[str], references: References) -> list[list[str]]:
    lists = []
    for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        texts: list[str] = list(reference) if isinstance(reference, list | tuple) else [reference]  # type: ignore[list-item]
        if not texts:
            raise DataError(f"example {i} has no reference", "Give one text at least, or leave the example out")
        for what, text in (("prediction", prediction), *(("reference", text) for text in texts)):
            if not isinstance(text, str):
                raise DataError(f"{what} {i} is {type(text).__name__}, not text", "Use '' for no answer")
        lists.append(texts)
    return lists


def score_choices(predicted: ArrayLike, gold: ArrayLike, n_classes: int | None = None) -> Scores:
    """Score chosen options.

    Args:
        predicted: (n,) indices; −1 (any negative) where the answer could not be read as an option.
        gold: (n,) indices ≥ 0.
        n_classes: number of options; by default the highest index seen + 1.

    Raises:
        DataError: no examples, lengths differ, or indices that are not integers or out of range.
    """
    p, g = _as_indices(predicted, "predicted"), _as_indices(gold, "gold")
    check_lengths(len(p), len(g))
    top = int(max(p.max(), g.max()))
    classes = top + 1 if n_classes is None else n_classes
    if g.min() < 0 or top >= classes:
        raise DataError(f"Option indices run from {g.min()} to {top}, not 0 to {classes - 1}")
    correct, valid = (p == g).astype(np.float64), (p >= 0).astype(np.float64)
    counts = np.zeros((len(p), classes, 3))
    rows = np.arange(len(p))
    counts[rows, g, 0] = correct
    counts[rows[p >= 0], p[p >= 0], 1] = 1
    counts[rows, g, 2] = 1
    key = fingerprint([str(i) for i in g])
    return Scores(
        [
            Part("accuracy", with_count(correct), correct, len(p), key),
            Part("macro_f1", counts.reshape(len(p), -1), None, len(p), key),
            Part("valid_rate", with_count(valid), valid, len(p), key),
        ]
    )


def score_values(metric: str, values: ArrayLike, references: Sequence[str]) -> Scores:
    """Scores of a metric that is the mean of a value for each example, such as the slots that a caption has right.

    Args:
        values: (n,) finite numbers.
        references: what was scored against; two systems compare only if it is the same.

    Raises:
        ParameterError: a metric of the whole corpus, such as BLEU, is no mean over examples.
        DataError: lengths differ, or a value is not finite.
    """
    if aggregate(metric) is not mean_from_stats:
        raise ParameterError(f"{metric} is no mean over examples", "Use score_texts, score_choices or score_nll")
    found = np.asarray(values, dtype=np.float64).reshape(-1)
    check_lengths(len(found), len(references))
    if not np.isfinite(found).all():
        raise DataError(f"{metric} has values that are not finite", "Score an answer that cannot be judged as 0")
    return Scores([Part(metric, with_count(found), found, len(found), fingerprint(list(references)))])


def score_nll(nll_sums: ArrayLike, token_counts: ArrayLike) -> Scores:
    """Perplexity from per-example sums of negative log-likelihood (nats) and numbers of scored tokens.

    An example without a scored token (its completion was cut off) adds nothing; ``notes`` counts them.

    Raises:
        DataError: no tokens, lengths differ, NaN or infinite sums, negative counts.
    """
    nll = np.asarray(nll_sums, dtype=np.float64).reshape(-1)
    tokens = np.asarray(token_counts, dtype=np.float64).reshape(-1)
    check_lengths(len(nll), len(tokens))
    if bad := int((~np.isfinite(nll)).sum()):
        raise DataError(
            f"{bad} of {len(nll)} log-likelihoods are NaN or infinite", "Load the model in float32 or bfloat16"
        )
    if not np.isfinite(tokens).all() or tokens.min() < 0 or not tokens.any():
        raise DataError("No token was scored", "Raise max_length so that completions are not cut off")
    stats = np.stack([nll, tokens], axis=1)
    missing = int((tokens == 0).sum())
    note = f"{missing} of {len(nll)} examples had no scored token" if missing else ""
    key = fingerprint([str(int(t)) for t in tokens])
    return Scores([Part("perplexity", stats, perplexity_from_stats(stats), len(nll) - missing, key, note)])


def compare(
    a: Scores,
    b: Scores,
    name_a: str,
    name_b: str,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    level: float = LEVEL,
    draws: int = DRAWS,
) -> list[TestResult]:
    """Paired tests of two systems on the same examples; ``difference`` = ``a`` − ``b``.

    Proportions (accuracy, valid_rate): exact McNemar test with Newcombe's paired interval. Everything
    else: paired bootstrap. Of ``grouped`` scores: exact sign flips of whole groups with the interval for groups, and a
    bootstrap of groups. p-values are not adjusted for the number of tests; see ``holm``.

    Args:
        metrics: by default those that both systems have.

    Raises:
        DataError: the systems were not scored on the same examples, in the same way, or not in the same groups.
        ParameterError: a metric that one of them lacks.
    """
    chosen = [m for m in a.metrics if m in b.parts] if metrics is None else list(metrics)
    results = []
    for metric in chosen:
        for scores in (a, b):
            check_name(metric, scores.metrics)
        x, y = a.parts[metric], b.parts[metric]
        if x.key != y.key or len(x.stats) != len(y.stats):
            what = "tokens" if metric == "perplexity" else "examples"
            raise DataError(f"{metric} of {name_a} and {name_b} is not about the same {what}: no paired test")
        if x.n_groups != y.n_groups or np.any(x.groups != y.groups):
            what = f"{metric} of {name_a} and {name_b} is not about the same groups of examples: no paired test"
            raise DataError(what, "Give both the same labels with scores.grouped(labels)")
        if x.note != y.note:
            raise DataError(f"{metric} of {name_a} ({x.note}) and {name_b} ({y.note}) do not compare")
        right = x.stats[:, 0], y.stats[:, 0]
        if metric in PROPORTIONS and x.groups is not None:
            difference, low, high = group_newcombe(*right, x.groups, level)
            p, test = sign_flips(*right, x.groups).p_value, f"exact sign flips of {x.n_groups} groups"
        elif metric in PROPORTIONS:
            difference, low, high = newcombe(*right, level)
            p, test = mcnemar_exact(*right).p_value, "exact McNemar"
        else:
            # One system may have chosen a class that the other never did: pad macro_f1's columns.
            width = max(x.stats.shape[1], y.stats.shape[1])
            sx, sy = (np.pad(s, ((0, 0), (0, width - s.shape[1]))) for s in (x.independent, y.independent))
            difference, low, high, p = paired_bootstrap(sx, sy, aggregate(metric), level, draws, seed)
            test = f"paired bootstrap{f' of {x.n_groups} groups' if x.n_groups else ''}, {draws} draws"
        results.append(TestResult(name_a, name_b, metric, difference, low, high, p, test))
    return results


def _as_indices(values: ArrayLike, what: str) -> np.ndarray:
    data = np.asarray(values).reshape(-1)
    if data.size and not np.issubdtype(data.dtype, np.integer):
        raise DataError(f"{what} choices must be integer indices, got {data.dtype}")
    return data
