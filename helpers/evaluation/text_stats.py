"""Per-example statistics of text metrics, one prediction against one reference.

Tokens differ by metric, as in the libraries behind them: sacrebleu's 13a for BLEU; lower-cased runs of
a-z and 0-9 for ROUGE (other scripts give no token at all, hence 0); words and punctuation marks, any
script, for METEOR. An empty prediction scores 0 everywhere; it is never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from helpers.evaluation.aggregates import MAX_ORDER
from helpers.evaluation.statistics import FloatArray

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")
_WORDS = re.compile(r"\w+|[^\w\s]+")


def bleu_stats(predictions: Sequence[str], references: Sequence[str]) -> FloatArray:
    """(n, 10): prediction length, reference length, matched 1- to 4-grams, predicted 1- to 4-grams.

    Counted by sacrebleu (13a tokens, case kept).
    """
    from sacrebleu.metrics import BLEU

    # effective_order only silences a warning about sentence scores; the counts do not depend on it.
    counter = BLEU(effective_order=True)
    rows = []
    for prediction, reference in zip(predictions, references, strict=True):
        s: Any = counter.sentence_score(prediction, [reference])
        rows.append([s.sys_len, s.ref_len, *s.counts, *s.totals])
    return np.asarray(rows, dtype=np.float64).reshape(-1, 2 + 2 * MAX_ORDER)


def rouge_scores(
    predictions: Sequence[str], references: Sequence[str], types: Sequence[str] = ROUGE_TYPES
) -> dict[str, FloatArray]:
    """F-measures per example, (n,) for each of ``types``; rouge-score without stemming.

    N-gram overlap is rouge-score's own. The longest common subsequence behind ROUGE-L is found with
    integers as bit sets in place of its Python table, some fifty times faster on a page of text.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.scoring import fmeasure
    from rouge_score.tokenizers import DefaultTokenizer

    ngram_types = [t for t in types if t != "rougeL"]
    tokenizer = DefaultTokenizer(use_stemmer=False)
    scorer = RougeScorer(ngram_types, use_stemmer=False)
    out = {t: np.zeros(len(predictions)) for t in types}
    for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        if ngram_types:
            scores = scorer.score(reference, prediction)
            for t in ngram_types:
                out[t][i] = scores[t].fmeasure
        if "rougeL" in out:
            p, r = tokenizer.tokenize(prediction), tokenizer.tokenize(reference)
            if p and r:
                common = lcs_length(p, r)
                out["rougeL"][i] = fmeasure(common / len(p), common / len(r))
    return out


def lcs_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence (Hyyrö's bit-parallel recurrence)."""
    where: dict[str, int] = {}
    for i, token in enumerate(a):
        where[token] = where.get(token, 0) | 1 << i
    full = (1 << len(a)) - 1
    v = full  # a 0 bit marks a position of a where the subsequence grows
    for token in b:
        u = v & where.get(token, 0)
        v = ((v + u) | (v - u)) & full
    return len(a) - v.bit_count()


@lru_cache(maxsize=1)
def meteor_synonyms() -> bool:
    """Whether WordNet's data is installed, so that METEOR matches synonyms. Nothing is downloaded.

    Scores with and without synonyms are not comparable; ``Scores.notes`` records which it was.
    """
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
        wordnet.synsets("dish")
    except (LookupError, OSError):
        return False
    return True


def meteor_scores(predictions: Sequence[str], references: Sequence[str], synonyms: bool | None = None) -> FloatArray:
    """METEOR per example, (n,): nltk with its defaults (alpha 0.9, beta 3, gamma 0.5).

    Words match exactly, then by Porter stem, then by WordNet synonym where WordNet is installed.

    Args:
        synonyms: whether to use WordNet; by default, if it is there.
    """
    from nltk.corpus import wordnet
    from nltk.translate.meteor_score import single_meteor_score

    use = meteor_synonyms() if synonyms is None else synonyms
    source: Any = wordnet if use else SimpleNamespace(synsets=lambda word: [])
    return np.asarray(
        [
            single_meteor_score(_WORDS.findall(reference), _WORDS.findall(prediction), wordnet=source)
            for prediction, reference in zip(predictions, references, strict=True)
        ],
        dtype=np.float64,
    )
