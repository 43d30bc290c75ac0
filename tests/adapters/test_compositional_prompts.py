"""Soft prompts and hand-written templates against CLIP's own text features."""

from __future__ import annotations

import compositional_cases as cases
import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import CLIPTokenizer

from helpers.adapters.compositional import cosine, encode_texts, ensemble_texts, zero_shot_scores
from helpers.adapters.compositional.features import ImageFeatures, image_features
from helpers.adapters.compositional.prompts import SoftPrompt, word_vectors
from helpers.errors import DataError, ModelError

TOKENIZER = cases.tokenizer(end=3)
CLIP = cases.clip(TOKENIZER)
TEXTS = ["a photo of faux fur ankle boots", "wool", "a big picture showing wool oxfords", "a photo of suede heels"]


def own_features(model: torch.nn.Module, tokenizer: object, texts: list[str]) -> torch.Tensor:
    """As the model's documentation says: padded, with a mask, then normalised."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        pooled = model.get_text_features(batch["input_ids"], batch["attention_mask"]).pooler_output
    return functional.normalize(pooled, dim=-1)


def letters() -> CLIPTokenizer:
    """CLIP's own kind of tokenizer, one token a letter; the end token has the highest id and pads as well."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*alphabet, *(f"{c}</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])


def test_texts_are_encoded_as_the_model_does() -> None:
    found = encode_texts(CLIP, TOKENIZER, TEXTS, batch_size=2)
    assert found.shape == (4, cases.WIDTH)
    assert torch.allclose(found, own_features(CLIP, TOKENIZER, TEXTS), atol=1e-5)
    assert torch.equal(encode_texts(CLIP, TOKENIZER, TEXTS[::-1]), found.flip(0))
    assert encode_texts(CLIP, TOKENIZER, []).shape == (0, cases.WIDTH)
    assert (cosine(found, found)[np.triu_indices(4, 1)] < 0.95).all()  # the texts do differ


@pytest.mark.parametrize("configured", [2, 53])
def test_clips_own_tokenizer_and_both_rules_of_pooling(configured: int) -> None:
    """OpenAI's configuration says eos_token_id 2, which stands for the highest id; later ones name the end token."""
    tokenizer = letters()
    assert tokenizer.eos_token_id == 53 == len(tokenizer) - 1
    model = cases.clip(tokenizer, max_position_embeddings=32)
    model.config.text_config.eos_token_id = model.text_model.eos_token_id = configured
    texts = ["a photo of wool", "suede heels"]
    assert torch.allclose(encode_texts(model, tokenizer, texts), own_features(model, tokenizer, texts), atol=1e-5)
    prompt = SoftPrompt(model, tokenizer, "a photo of {object}")
    single = word_vectors(model, tokenizer, ["w"])
    expected = own_features(model, tokenizer, ["a photo of w"])
    assert torch.allclose(prompt(single[:, None]), expected, atol=1e-5)
    table = model.text_model.embeddings.token_embedding.weight
    ids = tokenizer("wool heels", add_special_tokens=False)["input_ids"]
    assert len(ids) == 9
    assert torch.allclose(word_vectors(model, tokenizer, ["wool heels"])[0], table[ids].mean(0), atol=1e-6)


@pytest.mark.parametrize(
    "template", ["a photo of {state} {object}", "{object}, {state}.", "{state} the {object} , big"]
)
def test_an_untrained_soft_prompt_is_the_text(template: str) -> None:
    """With words of one token each the vectors are the tokens' own."""
    pairs = [("wool", "boots"), ("suede", "heels"), ("leather", "oxfords")]
    expected = own_features(CLIP, TOKENIZER, [template.format(state=s, object=o) for s, o in pairs])
    for train_context in (False, True):
        prompt = SoftPrompt(CLIP, TOKENIZER, template, train_context=train_context)
        sides = {"state": 0, "object": 1}
        words = torch.stack(
            [word_vectors(CLIP, TOKENIZER, [pair[sides[field]] for pair in pairs]) for field in prompt.fields], dim=1
        )
        assert torch.allclose(prompt(words), expected, atol=1e-5)
        assert len(list(prompt.parameters())) == train_context and len(prompt.state_dict()) == train_context
    after = own_features(CLIP, TOKENIZER, ["a photo of wool boots"])
    assert torch.allclose(after, encode_texts(CLIP, TOKENIZER, ["a photo of wool boots"]), atol=1e-5)  # no hook left


def test_gradients_reach_words_and_context() -> None:
    prompt = SoftPrompt(CLIP, TOKENIZER, "a photo of {state} {object}", train_context=True)
    words = word_vectors(CLIP, TOKENIZER, ["wool", "boots"])[None].requires_grad_()
    goal = torch.randn(cases.WIDTH, generator=torch.Generator().manual_seed(0))
    (prompt(words) @ goal).sum().backward()
    assert (words.grad.norm(dim=-1) > 1e-6).all() and (prompt.context.grad.norm(dim=-1) > 1e-6).all()
    with torch.no_grad():  # by finite differences
        step = torch.zeros_like(words)
        step[0, 1, 3] = 1e-2
        slope = ((prompt(words + step) - prompt(words - step)) @ goal) / 2e-2
    assert float(slope) == pytest.approx(float(words.grad[0, 1, 3]), rel=0.05, abs=1e-4)


def test_a_prompt_that_fails_leaves_no_hook_behind() -> None:
    prompt = SoftPrompt(CLIP, TOKENIZER)
    with pytest.raises(RuntimeError):
        prompt(torch.zeros(2, 2, cases.WIDTH + 1))
    assert torch.allclose(encode_texts(CLIP, TOKENIZER, TEXTS), own_features(CLIP, TOKENIZER, TEXTS), atol=1e-5)


def test_ensemble_is_the_normalised_mean_of_unit_features() -> None:
    templates = ["a photo of {object}", "a big picture showing {object}", "{object}"]
    fields = [{"object": word} for word in cases.OBJECTS]
    found = ensemble_texts(CLIP, TOKENIZER, templates, fields)
    each = torch.stack(
        [own_features(CLIP, TOKENIZER, [t.format(object=word) for word in cases.OBJECTS]) for t in templates]
    )
    assert torch.allclose(found, functional.normalize(each.sum(0), dim=-1), atol=1e-5)
    assert torch.allclose(ensemble_texts(CLIP, TOKENIZER, templates[:1], fields), each[0], atol=1e-5)


def test_zero_shot_scores_are_the_models_own_logits() -> None:
    pixels = cases.image_processor()(images=[cases.picture(i) for i in range(3)], return_tensors="pt")["pixel_values"]
    pairs = [("wool", "boots"), ("faux fur", "ankle boots")]
    batch = TOKENIZER([f"a photo of {s} {o}" for s, o in pairs], padding=True, return_tensors="pt")
    with torch.no_grad():
        own = CLIP(batch["input_ids"], pixels, batch["attention_mask"]).logits_per_image
    found = zero_shot_scores(CLIP, TOKENIZER, image_features(CLIP, pixels), pairs)
    assert np.allclose(found, own.numpy(), atol=1e-4)


def test_image_features_are_the_models_own_and_patches_come_first_with_the_class_token() -> None:
    pixels = cases.image_processor()(images=[cases.picture(i) for i in range(3)], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        own = CLIP.get_image_features(pixels).pooler_output
    plain, full = image_features(CLIP, pixels), image_features(CLIP, pixels, patches=True)
    assert plain.patches is None and torch.allclose(plain.vectors, own, atol=1e-5)
    assert full.patches is not None and full.patches.shape == (3, 1 + 4, cases.WIDTH)
    assert torch.allclose(full.vectors, own, atol=1e-5) and torch.equal(full.patches[:, 0], full.vectors)
    picked = full[[2, 0]]
    assert len(picked) == 2 and torch.equal(picked.patches, full.patches[[2, 0]])


def test_cosine_ignores_length_and_refuses_other_widths() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 6)), rng.normal(size=(3, 6))
    expected = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x]
    assert np.allclose(cosine(x, y), expected, atol=1e-6) and np.allclose(cosine(9 * x, y / 9), expected, atol=1e-6)
    assert not cosine(np.zeros((1, 6)), y).any()
    with pytest.raises(DataError, match="same CLIP model"):
        cosine(x, y[:, :5])


def test_errors() -> None:
    with pytest.raises(DataError, match="'velcro' has tokens"):
        word_vectors(CLIP, TOKENIZER, ["wool", "velcro"])
    with pytest.raises(DataError, match="'' has tokens"):
        word_vectors(CLIP, TOKENIZER, [""])
    with pytest.raises(DataError, match="'Wool' and 'wool' are the same"):
        word_vectors(CLIP, TOKENIZER, ["wool", "Wool"])
    with pytest.raises(DataError, match="20 tokens, CLIP reads 16"):
        encode_texts(CLIP, TOKENIZER, ["wool " * 18])
    with pytest.raises(DataError, match="17 tokens, CLIP reads 16"):
        SoftPrompt(CLIP, TOKENIZER, "a photo of " * 4 + "a {state} {object}")
    with pytest.raises(DataError, match="no field"):
        SoftPrompt(CLIP, TOKENIZER, "a photo")
    with pytest.raises(DataError, match="needs {state} and {object}"):
        SoftPrompt(CLIP, TOKENIZER, "a photo of {object}").expecting("state", "object")
    with pytest.raises(DataError, match="cannot be filled in"):
        ensemble_texts(CLIP, TOKENIZER, ["a {colour} {object}"], [{"object": "boots"}])
    with pytest.raises(DataError, match="no template"):
        zero_shot_scores(CLIP, TOKENIZER, ImageFeatures(torch.zeros(1, cases.WIDTH)), cases.SEEN, ())
    with pytest.raises(DataError, match="end token"):
        encode_texts(CLIP, TOKENIZER, ["wool <eos> boots"])


def test_a_tokenizer_whose_end_the_model_would_not_find_is_refused() -> None:
    """transformers would pool at position 0, or at the highest id, without a word."""
    other = cases.tokenizer(end=2)
    with pytest.raises(ModelError, match="read its feature elsewhere"):
        encode_texts(CLIP, other, ["wool"])
    with pytest.raises(ModelError, match="highest id"):
        encode_texts(cases.clip(other), other, ["wool"])  # configured as 2, which the model takes for “highest”
    bare = cases.tokenizer(end=3)
    bare.backend_tokenizer.post_processor = None
    with pytest.raises(ModelError, match="does not enclose"):
        encode_texts(CLIP, bare, ["wool"])
