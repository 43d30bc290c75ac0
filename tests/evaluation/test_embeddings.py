"""Embedders: unit rows, determinism, and mean pooling against one text at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.errors import LabError, ModelError, ParameterError
from helpers.evaluation.embeddings import SentenceEmbedder, get_embedder

LONG = "bake a chocolate cake for forty minutes at 180 degrees"
TEXTS = ["chop the onions", "onions, chopped", "", LONG, "  \n", "борщ", "a"]


def test_hashing_gives_unit_rows_and_zero_for_nothing() -> None:
    embed = get_embedder("hashing")
    rows = embed(TEXTS)
    assert embed.name == "hashing" and rows.shape == (7, 2048) and rows.dtype == np.float32
    norms = np.linalg.norm(rows, axis=1)
    assert np.allclose(norms, [1, 1, 0, 1, 0, 1, 1], atol=1e-6)
    assert np.array_equal(rows, embed(TEXTS))
    assert np.array_equal(rows[3], embed([TEXTS[3]])[0])
    assert embed([]).shape == (0, 2048)


def test_hashing_sees_spelling() -> None:
    rows = get_embedder("hashing")(["chopped onion", "onions, chopped", "a slice of bread"])
    assert rows[0] @ rows[1] > 0.6 > 0.2 > rows[0] @ rows[2]


def test_embedders_are_loaded_once_and_unknown_ones_refused() -> None:
    assert get_embedder("hashing") is get_embedder("hashing")
    with pytest.raises(ParameterError, match="Did you mean 'minilm'"):
        get_embedder("minlm")


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizer, set_seed

    folder = tmp_path_factory.mktemp("bert")
    words = sorted({c for t in TEXTS for c in t.lower() if not c.isspace()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *[f"##{w}" for w in words]]
    BertTokenizer(vocab={w: i for i, w in enumerate(vocabulary)}).save_pretrained(folder)
    set_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_sentence_embedder_pools_real_tokens_only(tiny_bert: Path) -> None:
    """Batches pad short texts; the vectors must be those of each text run alone and averaged by hand."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    embed = SentenceEmbedder(tiny_bert, batch_size=3)
    rows = embed([*TEXTS, LONG])
    assert np.array_equal(rows[3], rows[7])
    rows = rows[:7]
    assert np.array_equal(embed(TEXTS[::-1]), rows[::-1])  # from memory, each to its own place
    assert embed([]).shape == (0, 32)
    assert rows.shape == (7, 32) and rows.dtype == np.float32
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_bert), AutoModel.from_pretrained(tiny_bert).eval()
    for text, row in zip(TEXTS, rows, strict=True):
        if not text.strip():
            assert not row.any()
            continue
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = hidden.mean(0) / hidden.mean(0).norm()
        assert np.allclose(row, expected.numpy(), atol=1e-5)


def test_a_broken_model_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="python -m helpers assets") as caught:
        SentenceEmbedder(tmp_path)
    assert "\n" not in str(caught.value)


def test_minilm_compares_meanings_and_hashing_does_not() -> None:
    try:
        from helpers.sources import assets

        assets.path("minilm")
    except (ImportError, LabError):
        pytest.skip("the minilm asset is not fetched")
    embed = get_embedder("minilm")
    texts = ["roast chicken with garlic", "grilled poultry and herbs", "a stock market crash in autumn"]
    rows, spelled = embed(texts), get_embedder("hashing")(texts)
    assert embed.name == "minilm" and rows.shape == (3, 384)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] > 0.5 and rows[0] @ rows[2] < 0.2
    assert spelled[0] @ spelled[1] < 0.2
