"""Classifying with a new head or with the model's own words, in every storage format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from helpers import inference, models
from helpers.errors import ModelError
from helpers.training import classifiers, trainers

LABELS = ["entailment", "neutral", "contradiction"]
WORDS = ["yes", "maybe", "no"]
TEXTS = ["a dog runs.\nan animal runs.", "a cat sleeps.", "two men are playing tennis.\nno man is here today.", "x"]


def classifier(quant: str = "none", seed: int = 0) -> models.LoadedModel:
    return models.load_classifier("tiny/llama", LABELS, quant=quant, dtype="float32", seed=seed)


def tokens(loaded: models.LoadedModel) -> list[list[int]]:
    return [loaded.tokenizer(text)["input_ids"] for text in TEXTS]


@pytest.mark.parametrize("quant", models.QUANTISATIONS)
def test_batches_score_as_single_rows_do_and_the_head_stays_whole(quant: str) -> None:
    loaded = classifier(quant)
    assert type(loaded.model.score) is torch.nn.Linear and loaded.model.score.weight.shape[0] == 3
    with torch.no_grad():
        single = [loaded.model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in tokens(loaded)]
    ours = inference.class_logits(loaded.model, loaded.tokenizer, tokens(loaded), batch_size=3)
    # 8-bit activations are scaled row by row of the whole batch, padding included.
    assert np.allclose(ours, single, atol=2e-2 if quant == "int8" else 1e-5)
    assert loaded.model.config.id2label == dict(enumerate(LABELS))


def test_every_format_keeps_the_model_and_smaller_ones_take_less() -> None:
    counts = {q: models.count_parameters(classifier(q).model) for q in models.QUANTISATIONS}
    assert len({c.total for c in counts.values()}) == 1
    sizes = [counts[q].stored_bytes for q in ("none", "int8", "nf4", "nf4-double")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4


def test_the_head_depends_on_its_seed_alone() -> None:
    first, again, other = (classifier(seed=s).model.score.weight for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_label_words_are_the_first_tokens_of_their_answers() -> None:
    loaded = models.load("tiny/llama", dtype="float32")
    ids = models.label_token_ids(loaded.tokenizer, WORDS)
    question = [{"role": "user", "content": "Is it so?"}]
    prompt = loaded.tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True)["input_ids"]
    for word, first in zip(WORDS, ids, strict=True):
        text = loaded.tokenizer.apply_chat_template([*question, {"role": "assistant", "content": word}], tokenize=False)
        assert loaded.tokenizer(text)["input_ids"][len(prompt)] == first
    scores = inference.class_logits(loaded.model, loaded.tokenizer, [prompt, prompt[5:]], label_ids=ids)
    for row, given in zip(scores, (prompt, prompt[5:]), strict=True):
        with torch.no_grad():
            assert np.allclose(row, loaded.model(input_ids=torch.tensor([given])).logits[0, -1, ids].numpy(), atol=1e-5)
    with pytest.raises(ModelError, match="start with the same token"):
        models.label_token_ids(loaded.tokenizer, ["yes", "yes"])


def test_an_unknown_checkpoint_is_refused() -> None:
    with pytest.raises(ModelError, match="no tiny checkpoint"):
        models.load_classifier("tiny/none", LABELS)


def arguments(folder: Path, **options: object) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder), max_steps=3, per_device_train_batch_size=2, learning_rate=1e-2, report_to="none",
        save_strategy="no", disable_tqdm=True, use_cpu=True, logging_steps=1, **options,
    )  # fmt: skip


@pytest.mark.parametrize("accumulation", [1, 2])
def test_label_word_loss_is_cross_entropy_over_the_words(tmp_path: Path, accumulation: int) -> None:
    loaded = models.load("tiny/llama", quant="nf4", dtype="float32")
    ids = models.label_token_ids(loaded.tokenizer, WORDS)
    rows = [{"input_ids": t, "attention_mask": [1] * len(t), "labels": i % 3} for i, t in enumerate(tokens(loaded))]
    loaded.tokenizer.padding_side = "left"
    adapted = get_peft_model(loaded.model, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"))
    trainer = classifiers.LabelWordTrainer(
        label_ids=ids, model=adapted, args=arguments(tmp_path, gradient_accumulation_steps=accumulation),
        train_dataset=Dataset.from_list(rows), data_collator=DataCollatorWithPadding(loaded.tokenizer),
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    scores = inference.class_logits(
        trainer.model, loaded.tokenizer,
        [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)],
        label_ids=ids,
    )  # fmt: skip
    expected = torch.nn.functional.cross_entropy(torch.tensor(scores), batch["labels"])
    assert trainer.compute_loss(trainer.model, dict(batch)).item() == pytest.approx(expected.item(), rel=1e-4)
    history = trainers.train(trainer)
    assert history[-1]["loss"] < 3.0, "the mean over the batch, whatever the accumulation"


@pytest.mark.parametrize(("kind", "survives"), [("SEQ_CLS", True), (None, False)])
def test_a_head_survives_reloading_only_if_peft_knows_of_it(tmp_path: Path, kind: str | None, survives: bool) -> None:
    loaded = classifier("nf4")
    config = LoraConfig(task_type=kind, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(loaded.model, config)
    before = inference.class_logits(adapted, loaded.tokenizer, tokens(loaded))
    adapted.save_pretrained(tmp_path)
    fresh = classifier("nf4", seed=9)
    after = inference.class_logits(PeftModel.from_pretrained(fresh.model, tmp_path), fresh.tokenizer, tokens(fresh))
    assert (abs(after - before).max() == 0) == survives


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_was_trained_in_mixed_precision_is_measured_and_restored_to_the_last_bit(
    tmp_path: Path, dtype: str
) -> None:
    def load(seed: int) -> models.LoadedModel:
        return models.load_classifier("tiny/llama", LABELS, quant="nf4", dtype=dtype, seed=seed)

    loaded = load(0)
    rows = [{"input_ids": t, "attention_mask": [1] * len(t), "labels": i % 3} for i, t in enumerate(tokens(loaded))]
    adapted = get_peft_model(loaded.model, LoraConfig(task_type="SEQ_CLS", target_modules="all-linear"))
    trainer = Trainer(
        model=adapted, args=arguments(tmp_path / "t", bf16=dtype == "bfloat16"), train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorWithPadding(loaded.tokenizer),
    )  # fmt: skip
    trainers.float32_adapters(trainer.model)
    trainers.train(trainer)
    measured = inference.class_logits(adapted, loaded.tokenizer, tokens(loaded))
    assert measured.dtype == np.float32
    adapted.save_pretrained(tmp_path)
    fresh = load(9)
    again = inference.class_logits(PeftModel.from_pretrained(fresh.model, tmp_path), fresh.tokenizer, tokens(fresh))
    assert abs(again - measured).max() == 0
