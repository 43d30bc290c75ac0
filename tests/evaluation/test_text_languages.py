"""Scores of texts in other languages than English, and against several references each."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace

import numpy as np
import pytest
from text_cases import random_pairs

from helpers.errors import DataError
from helpers.evaluation import text_stats
from helpers.evaluation.embeddings import get_embedder
from helpers.evaluation.metrics import compare, score_texts
from helpers.evaluation.tokens import choose

ROUGE = ("rouge1", "rouge2", "rougeL")
TEXTS = {
    "Russian": ("Смешайте муку и сахар.", "Смешайте сахар с водой.", "words"),
    "Greek": ("Ανακατέψτε το αλεύρι.", "Ψήστε το ψωμί.", "words"),
    "Arabic": ("اخلط الدقيق مع السكر", "اخبز الدقيق", "words"),
    "Hindi": ("आटा और चीनी मिलाएं", "आटा गूंध लें", "words"),
    "Korean": ("밀가루와 설탕을 섞으세요", "밀가루와 물을 섞으세요", "words"),
    "German": ("Die Größe der Schüssel prüfen", "Die Schüssel füllen", "words"),
    "Vietnamese": ("Trộn bột mì với đường", "Trộn nước với đường", "words"),
    "Chinese": ("把面粉和糖混合", "把水和糖混合", "characters"),
    "Japanese": ("小麦粉と砂糖を混ぜる", "小麦粉を焼く", "characters"),
    "Thai": ("ผสมแป้งกับน้ำตาล", "ผสมน้ำกับน้ำตาล", "characters"),
}


@pytest.mark.parametrize("language", TEXTS)
def test_equal_texts_score_one_and_others_between(language: str) -> None:
    reference, other, kind = TEXTS[language]
    assert choose([reference]).kind == kind
    same, partly = (score_texts([text], [reference], [*ROUGE, "bleu1", "meteor"]) for text in (reference, other))
    for metric in (*ROUGE, "bleu1"):
        assert same.value(metric) == pytest.approx(1.0), metric
    assert 0 < partly.value("rouge1") < 1 and 0 < partly.value("meteor") < same.value("meteor")
    assert ("Unicode words" if kind == "words" else "characters") in same.notes["rougeL"]
    assert ("tokens" in same.notes.get("bleu1", "")) is (kind == "characters")


def test_letters_outside_english_are_no_gaps() -> None:
    scores = score_texts(["gr e"], ["größe"], ["rougeL"])
    assert scores.value("rougeL") == 0.0 and scores.notes == {"rougeL": "Unicode words"}


def test_words_with_combining_signs_are_whole() -> None:
    assert choose([TEXTS["Hindi"][0]]).tokenize("आटा और चीनी") == ["आटा", "और", "चीनी"]
    assert choose(["größe"]).tokenize("Gro\u0308ße") == ["größe"]  # o and a combining mark, as some keyboards write it


def test_rouge_of_characters_equals_rouge_score_on_spaced_characters() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    codes = {c: chr(97 + i) for i, c in enumerate(sorted(set("".join(TEXTS["Chinese"][:2]))))}
    prediction, reference = (" ".join(codes[c] for c in text) for text in TEXTS["Chinese"][1::-1])
    expected = RougeScorer(list(ROUGE)).score(reference, prediction)
    found = score_texts([TEXTS["Chinese"][1]], [TEXTS["Chinese"][0]], ROUGE)
    assert {m: found.value(m) for m in ROUGE} == {m: expected[m].fmeasure for m in ROUGE}


@pytest.mark.parametrize(("language", "name"), [("Chinese", "zh"), ("Japanese", "char"), ("Thai", "char")])
def test_bleu_of_scripts_without_spaces_is_sacrebleus(language: str, name: str) -> None:
    import sacrebleu

    reference, prediction, _ = TEXTS[language]
    found = score_texts([prediction], [reference], ["bleu1", "bleu"])
    assert found.notes["bleu"] == f"sacrebleu's {name} tokens"
    expected = sacrebleu.corpus_bleu([prediction], [[reference]], tokenize=name).score / 100
    assert found.value("bleu") == pytest.approx(expected)


def test_english_stays_as_it_was_and_says_what_it_cannot_see() -> None:
    english = ["Mix the crème fraîche with the flour and bake it.", "Serve with jalapeño and naïve joy."]
    assert choose(english).kind == "a-z"
    assert score_texts(english, english, ROUGE).notes == {}
    assert choose(["label", "NEUTRAL", "7 km"]).kind == "a-z"
    mixed = score_texts([*english, "борщ"], [*english, "борщ"], ["rougeL"])
    assert mixed.notes["rougeL"] == "words of a-z and 0-9, of which 1 of 3 references have none"


# ---- several references -------------------------------------------------------------------------------


def several() -> tuple[list[str], list[list[str]]]:
    """Predictions with three references each."""
    predictions, first = random_pairs(60, seed=1)
    streams = [first, *([random_pairs(60, seed=seed)[1][i] for i in range(60)] for seed in (2, 3))]
    return predictions, [list(texts) for texts in zip(*streams, strict=True)]


def test_bleu_equals_sacrebleu_with_several_streams() -> None:
    import sacrebleu

    predictions, references = several()
    streams = [list(stream) for stream in zip(*references, strict=True)]
    found = score_texts(predictions, references, ["bleu", "bleu1"])
    assert found.value("bleu") == pytest.approx(sacrebleu.corpus_bleu(predictions, streams).score / 100, rel=1e-12)
    unigram = sacrebleu.metrics.BLEU(max_ngram_order=1).corpus_score(predictions, streams).score / 100
    assert found.value("bleu1") == pytest.approx(unigram, rel=1e-12)
    assert found.notes["bleu"] == "3 references: nearest length, matches in any"


def test_unequal_numbers_of_references() -> None:
    import sacrebleu

    predictions, references = several()
    rng = random.Random(0)
    uneven = [texts[: rng.randint(1, 3)] for texts in references]
    streams = [[texts[k] if k < len(texts) else None for texts in uneven] for k in range(3)]
    found = score_texts(predictions, uneven)
    assert found.value("bleu") == pytest.approx(sacrebleu.corpus_bleu(predictions, streams).score / 100, rel=1e-12)
    assert "1 to 3 references" in found.notes["rougeL"] and "1 to 3 references" in found.notes["meteor"]


def test_rouge_equals_score_multi_and_meteor_equals_nltk() -> None:
    from nltk.corpus import wordnet
    from nltk.translate.meteor_score import meteor_score
    from rouge_score.rouge_scorer import RougeScorer

    predictions, references = several()
    source = wordnet if text_stats.meteor_synonyms() else SimpleNamespace(synsets=lambda word: [])
    found = score_texts(predictions, references, [*ROUGE, "meteor"])
    scorer = RougeScorer(list(ROUGE))
    for i, (prediction, texts) in enumerate(zip(predictions, references, strict=True)):
        expected = scorer.score_multi(texts, prediction)
        assert [found.per_example[m][i] for m in ROUGE] == [expected[m].fmeasure for m in ROUGE]
        said, *cut = (re.findall(r"\w+|[^\w\s]+", text) for text in (prediction, *texts))
        assert found.per_example["meteor"][i] == meteor_score(cut, said, wordnet=source)


def test_cosine_is_that_of_the_nearest_reference() -> None:
    predictions, references = several()
    embedder = get_embedder("hashing")
    found = score_texts(predictions, references, ["cosine"], embedder)
    columns = [score_texts(predictions, list(stream), ["cosine"], embedder) for stream in zip(*references, strict=True)]
    assert np.allclose(found.per_example["cosine"], np.max([c.per_example["cosine"] for c in columns], axis=0))


def test_one_reference_in_a_list_is_one_reference() -> None:
    predictions, references = random_pairs(40)
    one, listed = score_texts(predictions, references), score_texts(predictions, [[r] for r in references])
    for metric in one.metrics:
        assert np.array_equal(one.per_example[metric], listed.per_example[metric])
    assert one.notes == listed.notes
    assert all(test.difference == 0 for test in compare(one, listed, "a", "b", draws=20))


def test_what_is_no_reference_is_refused() -> None:
    with pytest.raises(DataError, match="example 1 has no reference"):
        score_texts(["a", "b"], [["a"], []])
    with pytest.raises(DataError, match="reference 0 is int"):
        score_texts(["a"], [[1, "a"]])  # type: ignore[list-item]
    with pytest.raises(DataError, match="reference 0 is NoneType"):
        score_texts(["a"], [None])  # type: ignore[list-item]


def test_evaluates_interface_takes_several_references() -> None:
    from helpers.evaluation import hf

    predictions, references = several()
    value = hf.load("rougeL").compute(predictions=predictions, references=references)["rougeL"]
    assert value == score_texts(predictions, references, ["rougeL"]).value("rougeL")


def test_answers_that_are_taken_apart_are_noted() -> None:
    """The references decide on the tokens, so that all systems are counted alike; but not in silence."""
    cut = score_texts(["größe", "the size"], ["gr e", "the size"], ["rougeL"])
    assert "1 of 3 words of the answers apart" in cut.notes["rougeL"]
    plain = score_texts(["the café " + "by the old road near the town " * 4], ["the cafe"], ["rougeL"])
    assert "rougeL" not in plain.notes
