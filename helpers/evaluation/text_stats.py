"""Per-example statistics of text metrics, each prediction against one reference or several.

Tokens differ by metric: sacrebleu's 13a for BLEU; lower-cased runs of a-z and 0-9 for ROUGE, as in rouge-score; words
and punctuation marks for METEOR. ``tokens`` has others for texts in other languages. An empty prediction scores 0
everywhere; it is never skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from helpers.evaluation.aggregates import MAX_ORDER
from helpers.evaluation.statistics import FloatArray
from helpers.evaluation.tokens import Tokens
from helpers.progress import each

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")
ENGLISH = Tokens("a-z")
References = Sequence[str | Sequence[str]]  # one text an example, or several


def as_lists(references: References) -> list[list[str]]:
    """Each example's references as a list."""
    return [[reference] if isinstance(reference, str) else list(reference) for reference in references]


def bleu_stats(predictions: Sequence[str], references: References, tokenizer: str = "13a") -> FloatArray:
    """(n, 10): prediction length, reference length, matched 1- to 4-grams, predicted 1- to 4-grams.

    Counted by sacrebleu, case kept. Of several references the one nearest in length counts for the length, and an
    n-gram matches as often as in the reference that has most of it.

    Args:
        tokenizer: sacrebleu's name of it.
    """
    from sacrebleu.metrics import BLEU

    # effective_order only silences a warning about sentence scores; the counts do not depend on it.
    counter = BLEU(effective_order=True, tokenize=tokenizer)
    rows = []
    for prediction, texts in zip(predictions, as_lists(references), strict=True):
        s: Any = counter.sentence_score(prediction, texts)
        rows.append([s.sys_len, s.ref_len, *s.counts, *s.totals])
    return np.asarray(rows, dtype=np.float64).reshape(-1, 2 + 2 * MAX_ORDER)


def rouge_scores(
    predictions: Sequence[str], references: References, types: Sequence[str] = ROUGE_TYPES, tokens: Tokens = ENGLISH
) -> dict[str, FloatArray]:
    """F-measures per example, (n,) for each of ``types``; rouge-score without stemming, the best of several references.

    N-gram overlap is rouge-score's own. The longest common subsequence behind ROUGE-L is found with
    integers as bit sets in place of its Python table, some fifty times faster on a page of text.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.scoring import fmeasure
    from rouge_score.tokenizers import DefaultTokenizer

    ngram_types = [t for t in types if t != "rougeL"]
    tokenizer: Any = DefaultTokenizer(use_stemmer=False) if tokens.kind == "a-z" else tokens
    scorer = RougeScorer(ngram_types, use_stemmer=False, tokenizer=tokenizer)
    out = {t: np.zeros(len(predictions)) for t in types}
    pairs = zip(predictions, as_lists(references), strict=True)
    for i, (prediction, texts) in enumerate(each("scoring texts (ROUGE)", pairs, len(predictions))):
        if ngram_types:
            scores = scorer.score_multi(texts, prediction)
            for t in ngram_types:
                out[t][i] = scores[t].fmeasure
        if "rougeL" in out:
            p = tokenizer.tokenize(prediction)
            for r in map(tokenizer.tokenize, texts):
                if p and r:
                    common = lcs_length(p, r)
                    out["rougeL"][i] = max(out["rougeL"][i], fmeasure(common / len(p), common / len(r)))
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


def meteor_scores(
    predictions: Sequence[str], references: References, synonyms: bool | None = None, tokens: Tokens = ENGLISH
) -> FloatArray:
    """METEOR per example, (n,): nltk with its defaults (alpha 0.9, beta 3, gamma 0.5), the best of several references.

    Words match exactly, then by Porter stem, then by WordNet synonym where WordNet is installed.

    Args:
        synonyms: whether to use WordNet; by default, if it is there.
    """
    from nltk.corpus import wordnet
    from nltk.translate.meteor_score import meteor_score

    use = meteor_synonyms() if synonyms is None else synonyms
    source: Any = wordnet if use else SimpleNamespace(synsets=lambda word: [])
    pairs = zip(predictions, as_lists(references), strict=True)
    return np.asarray(
        [
            meteor_score([tokens.with_marks(text) for text in texts], tokens.with_marks(prediction), wordnet=source)
            for prediction, texts in each("scoring texts (METEOR)", pairs, len(predictions))
        ],
        dtype=np.float64,
    )
