"""Metrics against the libraries called directly, and against counting by hand."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from text_cases import random_pairs

from helpers.errors import DataError, ParameterError
from helpers.evaluation import text_stats
from helpers.evaluation.aggregates import aggregate, bleu_from_stats
from helpers.evaluation.intervals import wilson
from helpers.evaluation.metrics import (
    TEXT_METRICS,
    Scores,
    compare,
    score_choices,
    score_nll,
    score_texts,
    score_values,
)

PREDICTIONS, REFERENCES = random_pairs()


# ---- BLEU ---------------------------------------------------------------------------------------------


def test_bleu_equals_sacrebleu_on_the_corpus() -> None:
    import sacrebleu

    scores = score_texts(PREDICTIONS, REFERENCES, ["bleu", "bleu1", "bleu4"])
    expected = sacrebleu.corpus_bleu(PREDICTIONS, [REFERENCES]).score / 100
    unigram = sacrebleu.metrics.BLEU(max_ngram_order=1).corpus_score(PREDICTIONS, [REFERENCES]).score / 100
    assert 0.05 < expected < 0.95
    assert scores.value("bleu") == scores.value("bleu4") == pytest.approx(expected, rel=1e-12)
    assert scores.value("bleu1") == pytest.approx(unigram, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_bleu_equals_sacrebleu_on_each_pair_and_on_small_corpora(order: int) -> None:
    """Small samples reach smoothing, missing orders and zero matches."""
    from sacrebleu.metrics import BLEU

    corpus, sentence = BLEU(max_ngram_order=order), BLEU(max_ngram_order=order, effective_order=True)
    stats = text_stats.bleu_stats(PREDICTIONS, REFERENCES)
    single = bleu_from_stats(stats, order)
    per_example = bleu_from_stats(stats, order, effective_order=True)
    for i, (p, r) in enumerate(zip(PREDICTIONS, REFERENCES, strict=True)):
        assert single[i] == pytest.approx(corpus.corpus_score([p], [[r]]).score / 100, abs=1e-12)
        assert per_example[i] == pytest.approx(sentence.sentence_score(p, [r]).score / 100, abs=1e-12)
    rng = np.random.default_rng(0)
    for size in (2, 3, 5):
        rows = rng.integers(0, len(PREDICTIONS), size)
        predictions, references = [PREDICTIONS[i] for i in rows], [REFERENCES[i] for i in rows]
        expected = corpus.corpus_score(predictions, [references]).score / 100
        found = bleu_from_stats(stats[rows].sum(0, keepdims=True), order)[0]
        assert found == pytest.approx(expected, abs=1e-12)


def brute_force_bleu(predictions: list[str], references: list[str], order: int) -> float:
    """Textbook corpus BLEU over blank-separated tokens, every order with at least one match."""
    matched, total = [0] * order, [0] * order
    predicted_length = reference_length = 0
    for prediction, reference in zip(predictions, references, strict=True):
        p, r = prediction.split(), reference.split()
        predicted_length, reference_length = predicted_length + len(p), reference_length + len(r)
        for n in range(1, order + 1):
            grams_p = Counter(tuple(p[i : i + n]) for i in range(len(p) - n + 1))
            grams_r = Counter(tuple(r[i : i + n]) for i in range(len(r) - n + 1))
            for gram, count in grams_p.items():
                matched[n - 1] += min(count, grams_r[gram])
                total[n - 1] += count
    product = 1.0
    for m, t in zip(matched, total, strict=True):
        product *= m / t
    penalty = math.exp(min(0.0, 1 - reference_length / predicted_length))
    return penalty * product ** (1 / order)


@pytest.mark.parametrize("short", [True, False])
def test_bleu_equals_counting_by_hand(short: bool) -> None:
    rng = random.Random(4)
    references = [" ".join(rng.choices("abcdefgh", k=rng.randint(8, 20))) for _ in range(50)]
    predictions = [" ".join(w if rng.random() < 0.8 else "z" for w in r.split()) for r in references]
    predictions = [p[:-4] if short else p + " z z" for p in predictions] + [""]
    references.append("a b c")
    scores = score_texts(predictions, references, ["bleu", "bleu1"])
    assert scores.value("bleu") == pytest.approx(brute_force_bleu(predictions, references, 4), rel=1e-12)
    assert scores.value("bleu1") == pytest.approx(brute_force_bleu(predictions, references, 1), rel=1e-12)


# ---- ROUGE, METEOR ------------------------------------------------------------------------------------


def test_rouge_equals_rouge_score() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    expected = [scorer.score(r, p) for p, r in zip(PREDICTIONS, REFERENCES, strict=True)]
    scores = score_texts(PREDICTIONS, REFERENCES, ["rouge1", "rouge2", "rougeL"])
    for name in ("rouge1", "rouge2", "rougeL"):
        assert np.array_equal(scores.per_example[name], [e[name].fmeasure for e in expected])
        assert scores.value(name) == pytest.approx(np.mean([e[name].fmeasure for e in expected]))


def test_lcs_equals_the_table() -> None:
    rng = random.Random(0)
    for _ in range(300):
        a, b = (rng.choices("abcde", k=rng.randint(1, 90)) for _ in range(2))
        table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
        assert text_stats.lcs_length(a, b) == table[-1][-1]


def test_meteor_matches_words_and_stems() -> None:
    def one(prediction: str, reference: str) -> float:
        return float(text_stats.meteor_scores([prediction], [reference], synonyms=False)[0])

    # m tokens in one chunk: 1 − 0.5·(1/m)³
    assert one("Bake the cake", "bake the cake") == pytest.approx(1 - 0.5 / 27)
    assert one("baking cakes", "baked cake") == pytest.approx(1 - 0.5 / 8)
    # Precision 1/2, recall 1/3, F = 10PR/(R+9P), one chunk of one match.
    assert one("bake zzz", "bake the cake") == pytest.approx(0.5 * (10 / 6) / (1 / 3 + 9 / 2))
    # "." must not stick to its word: both words match, in two chunks.
    assert one("cake bake", "bake. cake.") > 0
    assert one("", "bake") == one("bake", "") == one("", "") == one("aubergine", "eggplant") == 0


def test_meteor_says_whether_it_knows_synonyms() -> None:
    from nltk.corpus import wordnet

    try:
        wordnet.synsets("dog")
        installed = True
    except LookupError:
        installed = False
    assert text_stats.meteor_synonyms() is installed
    note = score_texts(["a"], ["a"], ["meteor"]).notes["meteor"]
    assert ("WordNet" in note) is installed


# ---- empty predictions --------------------------------------------------------------------------------


def test_empty_predictions_score_zero_and_are_counted() -> None:
    from helpers.evaluation.embeddings import get_embedder

    text = "mix the flour and the sugar in a bowl"
    scores = score_texts([text, "", " \n"], [text] * 3, TEXT_METRICS, get_embedder("hashing"))
    assert set(scores.metrics) == set(TEXT_METRICS)
    for name in TEXT_METRICS:
        assert scores.per_example[name][0] > 0.99
        assert (scores.per_example[name][1:] == 0).all()
        assert scores.estimates()[name].n == 3
    for name in ("rouge1", "rouge2", "rougeL", "cosine"):
        assert scores.value(name) == pytest.approx(1 / 3)
    nothing = score_texts(["", ""], [text] * 2, TEXT_METRICS, get_embedder("hashing")).estimates()
    assert all((e.value, e.low, e.high) == (0, 0, wilson(0, 2).high) for e in nothing.values())


# ---- choices ------------------------------------------------------------------------------------------


def test_accuracy_and_macro_f1_equal_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    rng = np.random.default_rng(0)
    for classes in (2, 3, 5):
        for n in (1, 4, 200):
            gold, predicted = rng.integers(0, classes, n), rng.integers(0, classes, n)
            scores = score_choices(predicted, gold, n_classes=classes)
            assert scores.value("accuracy") == pytest.approx(accuracy_score(gold, predicted))
            assert scores.value("macro_f1") == pytest.approx(f1_score(gold, predicted, average="macro"))
            assert scores.value("valid_rate") == 1


def test_unreadable_answers_are_wrong_and_no_class_of_their_own() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(1)
    gold, predicted = rng.integers(0, 3, 100), rng.integers(-1, 3, 100)
    scores = score_choices(predicted, gold)
    assert scores.value("accuracy") == pytest.approx((gold == predicted).mean())
    assert scores.value("valid_rate") == pytest.approx((predicted >= 0).mean())
    expected = f1_score(gold, predicted, labels=[0, 1, 2], average="macro")
    assert scores.value("macro_f1") == pytest.approx(expected)


def test_macro_f1_of_a_resample_is_macro_f1_of_its_examples() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(2)
    gold, predicted = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    stats = score_choices(predicted, gold).parts["macro_f1"].stats
    for _ in range(20):
        rows = rng.integers(0, 60, 8)  # so few that classes go missing
        found = aggregate("macro_f1")(stats[rows].sum(0, keepdims=True))[0]
        assert found == pytest.approx(f1_score(gold[rows], predicted[rows], average="macro"))


def test_proportions_get_wilson_intervals() -> None:
    from statsmodels.stats.proportion import proportion_confint

    found = score_choices([0] * 85 + [1] * 15, [0] * 100).estimates()["accuracy"]
    assert (found.low, found.high) == pytest.approx(proportion_confint(85, 100, method="wilson"))
    assert (round(found.low, 3), round(found.high, 3)) == (0.767, 0.907)


# ---- perplexity ---------------------------------------------------------------------------------------


def test_perplexity_is_exp_of_torch_cross_entropy() -> None:
    import torch

    torch.manual_seed(0)
    sums, counts, logits_all, targets_all = [], [], [], []
    for length in (1, 5, 17, 40):
        logits, targets = torch.randn(length, 30), torch.randint(0, 30, (length,))
        sums.append(float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum")))
        counts.append(length)
        logits_all.append(logits)
        targets_all.append(targets)
    expected = torch.nn.functional.cross_entropy(torch.cat(logits_all), torch.cat(targets_all)).exp()
    scores = score_nll(sums, counts)
    assert scores.value("perplexity") == pytest.approx(float(expected), rel=1e-5)
    assert scores.per_example["perplexity"][1] == pytest.approx(math.exp(sums[1] / 5))
    uniform = score_nll([math.log(50) * 7, math.log(50) * 3], [7, 3]).estimates()["perplexity"]
    assert (uniform.value, uniform.low, uniform.high) == pytest.approx((50, 50, 50))


def test_examples_without_tokens_are_noted() -> None:
    scores = score_nll([2.0, 0.0, 4.0], [2, 0, 2])
    assert scores.value("perplexity") == pytest.approx(math.exp(1.5))
    assert scores.estimates()["perplexity"].n == 2
    assert np.isfinite(scores.estimates()["perplexity"].high)
    assert scores.notes["perplexity"] == "1 of 3 examples had no scored token"


# ---- comparisons --------------------------------------------------------------------------------------


def test_compare_uses_the_right_test_and_sign() -> None:
    from scipy.stats import binomtest

    gold = np.zeros(100, dtype=int)
    before, after = np.ones(100, dtype=int), np.ones(100, dtype=int)
    before[:33] = 0
    after[8:93] = 0  # 60 repaired, 8 broken
    tuned, base = score_choices(after, gold), score_choices(before, gold)
    results = {r.metric: r for r in compare(tuned, base, "tuned", "base")}
    accuracy = results["accuracy"]
    assert (accuracy.a, accuracy.b, accuracy.test) == ("tuned", "base", "exact McNemar")
    assert accuracy.difference == pytest.approx(0.52)
    assert accuracy.p_value == pytest.approx(binomtest(8, 68).pvalue)
    assert 0.35 < accuracy.low < 0.52 < accuracy.high < 0.65
    assert results["macro_f1"].test == "paired bootstrap, 2000 draws"
    assert results["valid_rate"].p_value == 1


def test_compare_texts_and_perplexity() -> None:
    text, nll = score_texts(PREDICTIONS, REFERENCES), score_nll(np.full(200, 30.0), np.full(200, 10))
    perfect, worse = score_texts(REFERENCES, REFERENCES), score_nll(np.full(200, 40.0), np.full(200, 10))
    results = {r.metric: r for r in compare(perfect | worse, text | nll, "copy", "system")}
    assert set(results) == {"bleu", "rouge1", "rouge2", "rougeL", "meteor", "perplexity"}
    for name in ("bleu", "rouge1", "rouge2", "rougeL", "meteor"):
        assert results[name].difference == pytest.approx(perfect.value(name) - text.value(name))
        assert results[name].low > 0 and results[name].p_value == pytest.approx(1 / 2001)
    assert results["perplexity"].difference == pytest.approx(math.exp(4) - math.exp(3))
    assert [r.metric for r in compare(perfect, text, "a", "b", metrics=["rougeL"])] == ["rougeL"]


def test_compare_pads_classes_only_one_system_chose() -> None:
    gold = [0, 1, 0, 1, 0, 1]
    a, b = score_choices([0, 1, 0, 1, 0, 0], gold), score_choices([4, 1, 0, 1, 0, 0], gold)
    result = compare(a, b, "a", "b", metrics=["macro_f1"])[0]
    assert result.difference == pytest.approx(a.value("macro_f1") - b.value("macro_f1"))


def test_compare_refuses_what_is_not_paired() -> None:
    a = score_texts(["x"], ["one"], ["bleu"])
    with pytest.raises(DataError, match="same examples"):
        compare(a, score_texts(["x"], ["two"], ["bleu"]), "a", "b")
    with pytest.raises(DataError, match="same tokens"):
        compare(score_nll([1.0], [2]), score_nll([1.0], [3]), "a", "b")
    with pytest.raises(ParameterError, match="rougeL"):
        compare(a, a, "a", "b", metrics=["rougeL"])


def test_bad_input_is_refused_in_one_line() -> None:
    for call, error, words in [
        (lambda: score_texts(["a"], ["a", "b"]), DataError, "1 predictions for 2 references"),
        (lambda: score_texts([], []), DataError, "0 predictions"),
        (lambda: score_texts([None], ["a"]), DataError, "prediction 0 is NoneType"),  # type: ignore[list-item]
        (lambda: score_texts(["a"], ["a"], ["rougel"]), ParameterError, "Did you mean .rougeL."),
        (lambda: score_texts(["a"], ["a"], ["cosine"]), ParameterError, "embedder"),
        (lambda: score_choices([0, 3], [0, 1], n_classes=3), DataError, "0 to 2"),
        (lambda: score_choices([0], [-1]), DataError, "indices"),
        (lambda: score_choices([0.5], [1]), DataError, "integer"),
        (lambda: score_nll([float("nan"), 1.0], [3, 3]), DataError, "1 of 2 log-likelihoods"),
        (lambda: score_nll([0.0], [0]), DataError, "max_length"),
    ]:
        with pytest.raises(error, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_estimates_are_reproducible_and_contain_the_value() -> None:
    scores = score_texts(PREDICTIONS, REFERENCES) | Scores([])
    first, second = scores.estimates(seed=3), scores.estimates(seed=3)
    assert first == second
    assert all(e.low <= e.value <= e.high and e.n == 200 for e in first.values())


def test_a_mean_of_values_has_the_interval_and_test_of_any_other_mean() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random(200), rng.random(200)
    a, b = (score_values("slot_accuracy", values, REFERENCES) for values in (x, y))
    assert a.value("slot_accuracy") == pytest.approx(x.mean())
    error = x.std() / np.sqrt(200)
    assert a.estimates()["slot_accuracy"].low == pytest.approx(x.mean() - 1.96 * error, abs=0.2 * error)
    (test,) = compare(a, b, "a", "b")
    assert test.difference == pytest.approx((x - y).mean())
    with pytest.raises(DataError, match="not about the same examples"):
        compare(a, score_values("slot_accuracy", y, REFERENCES[::-1]), "a", "b")
    with pytest.raises(DataError, match="not finite"):
        score_values("slot_accuracy", [np.nan], ["x"])
    for metric in ("bleu", "perplexity", "macro_f1"):
        with pytest.raises(ParameterError, match="no mean over examples"):
            score_values(metric, x, REFERENCES)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_interval_has_a_width_where_all_examples_are_alike(value: float) -> None:
    names = [str(i) for i in range(40)]
    scores = score_values("slot_accuracy", [value] * 40, names)
    assert scores.estimates()["slot_accuracy"] == wilson(40 * int(value), 40)
    triples = scores.grouped([i // 4 for i in range(40)]).estimates()["slot_accuracy"]
    assert (triples.low, triples.high) == (wilson(10 * int(value), 10).low, wilson(10 * int(value), 10).high)
    assert score_values("clip_score", [value] * 40, names).estimates()["clip_score"].low == value
