"""CSP and Troika: CLIP itself before training, better than CLIP on unseen pairs after it, on three seeds."""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import compositional_cases as cases
import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.adapters.compositional import (
    CSP,
    LabelledImages,
    Troika,
    closed_world,
    compositional_measures,
    open_world,
    train_compositional,
    zero_shot_scores,
)
from helpers.adapters.compositional.base import CompositionalModel
from helpers.adapters.compositional.features import ImageFeatures
from helpers.adapters.compositional.measures import Measures
from helpers.adapters.compositional.troika import Branches
from helpers.errors import DataError, ModelError, RunError, TrainingDiverged
from helpers.training.checkpoints import latest_checkpoint, sweep

TOKENIZER = cases.tokenizer(end=3)
CANDIDATES = cases.candidates()
SETTINGS: dict[str, dict[str, Any]] = {
    "csp": {"epochs": 12, "learning_rate": 2e-2, "batch_size": 32, "lines": 0},
    "troika": {"epochs": 5, "learning_rate": 8e-3, "batch_size": 32, "lines": 0},
}
KINDS = {"csp": CSP, "troika": Troika}


def build(kind: str, seed: int = 0, **options: Any) -> CompositionalModel:
    return KINDS[kind](cases.clip(TOKENIZER, seed), TOKENIZER, cases.STATES, cases.OBJECTS, **options)


def measured(model: CompositionalModel, images: LabelledImages) -> Measures:
    return compositional_measures(
        model.scores(images.features, CANDIDATES.pairs), CANDIDATES.index(images.pairs), CANDIDATES
    )


@lru_cache
def trained(kind: str, seed: int) -> tuple[CompositionalModel, list[dict[str, Any]]]:
    model = build(kind, seed)
    train, validation, _ = cases.problem(seed)
    return model, train_compositional(model, train, validation, CANDIDATES, seed=seed, **SETTINGS[kind])


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["csp", "troika"])
def test_training_beats_zero_shot_on_pairs_never_shown(kind: str, seed: int) -> None:
    test = cases.problem(seed)[2]
    scores = zero_shot_scores(cases.clip(TOKENIZER, seed), TOKENIZER, test.features, CANDIDATES.pairs)
    zero_shot = compositional_measures(scores, CANDIDATES.index(test.pairs), CANDIDATES)
    found = measured(trained(kind, seed)[0], test)
    assert found.harmonic_mean > zero_shot.harmonic_mean + 0.3
    assert found.auc > zero_shot.auc + 0.15 and found.best_unseen > zero_shot.best_unseen + 0.2
    assert min(found.state, found.object) > max(zero_shot.state, zero_shot.object) + 0.2


def test_untrained_csp_is_clip_with_its_template() -> None:
    """Where words are one token each; “faux fur” and “ankle boots” become means of two."""
    test, single = cases.problem(0)[2], [pair for pair in CANDIDATES.pairs if " " not in "".join(pair)]
    model = build("csp")
    expected = zero_shot_scores(model.clip, TOKENIZER, test.features, single)
    assert np.allclose(model.scores(test.features, single), expected, atol=1e-4)
    assert not np.allclose(
        model.scores(test.features, [("faux fur", "boots")]),
        zero_shot_scores(model.clip, TOKENIZER, test.features, [("faux fur", "boots")]),
        atol=1e-2,
    )


@pytest.mark.parametrize("layers", [0, 2])
def test_untrained_troika_fuses_clips_own_probabilities(layers: int) -> None:
    """p(pair) + p(state) p(object), each from CLIP with the branch's prompt; the new layers change nothing yet."""
    test = cases.problem(0)[2]
    states, objects = ["leather", "suede", "wool"], ["boots", "oxfords"]
    model = Troika(cases.clip(TOKENIZER), TOKENIZER, states, objects, layers=layers)
    pairs = list(product(states, objects))[1:]

    def own(texts: list[tuple[str, str]], template: str) -> np.ndarray:
        return softmax(zero_shot_scores(model.clip, TOKENIZER, test.features, texts, (template,)))

    whole = own(pairs, "a photo of {state} {object}")
    state = own([(s, "") for s in states], "a photo of {state}")
    thing = own([("", o) for o in objects], "a photo of {object}")
    expected = [[w[i] + s[states.index(a)] * o[objects.index(b)] for i, (a, b) in enumerate(pairs)]
                for w, s, o in zip(whole, state, thing, strict=True)]  # fmt: skip
    assert np.allclose(model.scores(test.features, pairs), expected, atol=1e-5)


def test_troikas_loss_is_the_weighted_sum_of_three_cross_entropies() -> None:
    train = cases.problem(0)[0]
    rows = torch.arange(0, len(train), 9)
    images, seen = train.features[rows], list(CANDIDATES.seen_pairs)
    pairs = [train.pairs[i] for i in rows]
    parts = []
    for weights in (Branches(), Branches(2, 0, 0), Branches(0, 3, 0), Branches(0, 0, 0.5)):
        model = build("troika", weights=weights).eval()
        places = model.place(seen)
        parts.append(model.loss(images, places, torch.tensor([seen.index(pair) for pair in pairs])).item())
    with torch.no_grad():
        logits = model.logits(images, model.text_features(model.place(seen)))
    answers = (
        [seen.index(pair) for pair in pairs],
        [cases.STATES.index(state) for state, _ in pairs],
        [cases.OBJECTS.index(thing) for _, thing in pairs],
    )
    each = [functional.cross_entropy(x, torch.tensor(y)).item() for x, y in zip(logits, answers, strict=True)]
    assert parts == pytest.approx([sum(each), 2 * each[0], 3 * each[1], 0.5 * each[2]], rel=1e-5)
    assert len(set(np.round(each, 3))) == 3


def test_only_what_should_be_trained_is_trained() -> None:
    train, validation, _ = cases.problem(0, each=4)
    for kind in KINDS:
        model = build(kind)
        untouched = {name: tensor.clone() for name, tensor in model.clip.state_dict().items()}
        before = {name: tensor.clone() for name, tensor in model.named_parameters()}
        history = train_compositional(model, train, validation, CANDIDATES, **{**SETTINGS[kind], "epochs": 4})
        assert not history[0]["kept"]
        assert all(torch.equal(tensor, untouched[name]) for name, tensor in model.clip.state_dict().items())
        assert not any(p.requires_grad for p in model.clip.parameters())
        assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())
        assert model.trainable() == sum(p.numel() for p in before.values())
    assert build("csp").trainable() == (len(cases.STATES) + len(cases.OBJECTS)) * cases.WIDTH
    names = {name.split(".")[0] for name in before}
    assert names == {"words", "prompt", "state_prompt", "object_prompt", "disentanglers", "traction"}


@pytest.mark.parametrize("kind", ["csp", "troika"])
def test_training_is_deterministic_and_the_seed_matters(kind: str) -> None:
    train, validation, _ = cases.problem(0, each=3)

    def run(seed: int) -> tuple[list[dict[str, Any]], np.ndarray]:
        model = build(kind, word_dropout=0.2)
        settings = {**SETTINGS[kind], "epochs": 2}
        state = torch.random.get_rng_state()
        history = train_compositional(model, train, validation, CANDIDATES, seed=seed, **settings)
        assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's random numbers change
        return history, model.scores(validation.features, CANDIDATES.pairs)

    torch.manual_seed(1)
    (first, scores), _ = run(0), torch.manual_seed(2)
    again, same = run(0)
    assert first == again and np.array_equal(scores, same)
    assert run(1)[0] != first


def test_history_and_the_kept_epoch() -> None:
    model, history = trained("troika", 0)
    assert [row["epoch"] for row in history] == list(range(6)) and history[0]["loss"] is None
    losses = [row["loss"] for row in history[1:]]
    assert losses[-1] < losses[0] / 2
    (kept,) = (row for row in history if row["kept"])
    assert kept["harmonic_mean"] == max(row["harmonic_mean"] for row in history) > history[0]["harmonic_mean"]
    found = measured(model, cases.problem(0)[1])
    assert (found.harmonic_mean, found.auc, found.bias) == (kept["harmonic_mean"], kept["auc"], kept["bias"])
    assert not model.training


def test_training_that_harms_is_undone() -> None:
    model, train, validation = build("csp"), *cases.problem(0)[:2]
    model.load_state_dict(trained("csp", 0)[0].state_dict())
    before = model.scores(validation.features, CANDIDATES.pairs)
    rows = train_compositional(model, train, validation, CANDIDATES, epochs=2, learning_rate=5.0, lines=0)
    assert rows[0]["kept"] and rows[1]["harmonic_mean"] < rows[0]["harmonic_mean"] - 0.1
    assert np.array_equal(model.scores(validation.features, CANDIDATES.pairs), before)


def test_scores_do_not_depend_on_the_batch_and_take_any_pairs() -> None:
    model = trained("troika", 0)[0]
    images = cases.problem(0)[2].features[:20]
    wide = open_world(cases.SEEN, cases.UNSEEN)
    assert len(wide) == len(cases.STATES) * len(cases.OBJECTS)
    found = model.scores(images, wide.pairs)
    assert found.dtype == np.float64 and np.allclose(found, model.scores(images, wide.pairs, batch_size=7), atol=1e-5)
    assert ((found > 0) & (found < 2)).all() and (found.sum(1) == pytest.approx(2, abs=1e-6))  # two distributions
    csp = trained("csp", 0)[0]
    each = [csp.scores(images, [pair])[:, 0] for pair in wide.pairs]
    assert np.allclose(csp.scores(images, wide.pairs), np.stack(each, axis=1), atol=1e-4)


def test_traction_looks_at_patches_once_trained() -> None:
    images = cases.problem(0)[2].features[:10]
    blind = ImageFeatures(images.vectors, torch.zeros_like(images.patches))
    fresh, model = build("troika"), trained("troika", 0)[0]
    assert np.allclose(fresh.scores(images, cases.SEEN), fresh.scores(blind, cases.SEEN), atol=1e-6)
    assert np.abs(model.scores(images, cases.SEEN) - model.scores(blind, cases.SEEN)).max() > 0.1
    order = [0, 4, 2, 1, 3]  # attention over patches has no order
    moved = ImageFeatures(images.vectors, images.patches[:, order])
    assert np.allclose(model.scores(images, cases.SEEN), model.scores(moved, cases.SEEN), atol=1e-4)


@pytest.mark.parametrize("kind", ["csp", "troika"])
def test_saved_models_come_back_without_clip(kind: str, tmp_path: Path) -> None:
    model, images = trained(kind, 0)[0], cases.problem(0)[2].features[:12]
    file = model.save(tmp_path / "adapter" / "model.safetensors")
    assert file.stat().st_size < 5 * model.trainable() + 5000
    other = build(kind)
    other.restore(file)
    assert np.array_equal(other.scores(images, cases.SEEN), model.scores(images, cases.SEEN))
    wrong = "troika" if kind == "csp" else "csp"
    with pytest.raises(ModelError, match="another model or vocabulary"):
        build(wrong).restore(file)
    with pytest.raises(ModelError, match="another model or vocabulary"):
        KINDS[kind](cases.clip(TOKENIZER), TOKENIZER, cases.STATES[::-1], cases.OBJECTS).restore(file)
    if kind == "troika":
        with pytest.raises(ModelError, match="does not fit"):
            build(kind, layers=1).restore(file)
    with pytest.raises(ModelError, match="cannot be read"):
        other.restore(tmp_path / "absent.safetensors")


def test_errors() -> None:
    model = build("troika")
    train, validation, _ = cases.problem(0, each=1)
    with pytest.raises(DataError, match="did you mean 'suede'"):
        model.scores(train.features, [("sued", "boots")])
    with pytest.raises(DataError, match="patches=True"):
        model.scores(ImageFeatures(train.features.vectors), cases.SEEN)
    with pytest.raises(DataError, match="same model"):
        model.scores(ImageFeatures(torch.zeros(2, 5)), cases.SEEN)
    with pytest.raises(DataError, match="at least one"):
        CSP(model.clip, TOKENIZER, [], cases.OBJECTS)
    with pytest.raises(DataError, match="one pair per picture"):
        LabelledImages(train.features, train.pairs[1:])
    with pytest.raises(DataError, match="not seen pairs"):
        train_compositional(model, validation, validation, CANDIDATES)
    with pytest.raises(DataError, match="no picture shows one of the unseen"):
        train_compositional(model, train, train, CANDIDATES)
    with pytest.raises(DataError, match="no unseen pair among"):
        train_compositional(model, train, train, closed_world(cases.SEEN, []))
    with pytest.raises(DataError, match="no training picture"):
        train_compositional(model, LabelledImages(train.features[:0], []), validation, CANDIDATES)
    broken = ImageFeatures(train.features.vectors * float("nan"), train.features.patches)
    with pytest.raises(TrainingDiverged, match="epoch 1"):
        train_compositional(model, LabelledImages(broken, train.pairs), validation, CANDIDATES, epochs=1)


@pytest.mark.parametrize("kind", ["csp", "troika"])
@pytest.mark.parametrize("moment", ["after an epoch", "while saving", "at the end"])
def test_an_interrupted_training_is_continued_to_the_same_numbers(
    kind: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, history = trained(kind, 0)
    train, validation, _ = cases.problem(0)
    epochs = SETTINGS[kind]["epochs"]
    real, saves = os.fsync, 0

    def stop(handle: int) -> None:
        nonlocal saves
        saves += 1
        if moment != "at the end" and saves == (5 if moment == "after an epoch" else 6):  # two files an epoch
            raise KeyboardInterrupt
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stop)
        if moment == "at the end":
            train_compositional(build(kind), train, validation, CANDIDATES, **SETTINGS[kind], checkpoints=tmp_path)
        else:
            with pytest.raises(KeyboardInterrupt):
                train_compositional(build(kind), train, validation, CANDIDATES, **SETTINGS[kind], checkpoints=tmp_path)
    sweep(tmp_path)
    found = latest_checkpoint(tmp_path)
    assert found is not None and found.name == ("checkpoint-2" if moment != "at the end" else f"checkpoint-{epochs}")
    assert [p.name for p in tmp_path.iterdir()] == [found.name]
    torch.manual_seed(99)
    model = build(kind)
    again = train_compositional(
        model, train, validation, CANDIDATES, **SETTINGS[kind], checkpoints=tmp_path, resume_from=found
    )
    assert again == history
    expected = whole.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in model.state_dict().items())
    last = latest_checkpoint(tmp_path)
    with pytest.raises(RunError, match="other data or of other arguments"):
        other = SETTINGS[kind] | {"learning_rate": 1e-5}
        train_compositional(build(kind), train, validation, CANDIDATES, **other, resume_from=last)


def test_a_diverged_training_is_back_at_its_best_epoch() -> None:
    train, validation, _ = cases.problem(0)
    model = build("csp")
    before = measured(model, validation).harmonic_mean
    with pytest.raises(TrainingDiverged, match="back at epoch 0. lower learning_rate"):
        train_compositional(model, train, validation, CANDIDATES, epochs=3, learning_rate=1e30, lines=0)
    assert all(p.isfinite().all() for p in model.parameters())
    assert measured(model, validation).harmonic_mean == before
