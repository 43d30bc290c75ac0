"""An update is the same however it is split into forward passes: its logged loss, and its gradient.

Every kind of trainer that the lessons use, with learning rate 0, over the same eight rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from blip2_cases import CAPTIONS, talk, write_blip2
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments
from trl import SFTConfig

from helpers import models
from helpers.adapters.prefix import wrap_prefix
from helpers.models import vision
from helpers.models.chat import encode
from helpers.models.vision_inputs import collate_vision, encode_vision
from helpers.training import classifiers, trainers

SPLITS = [(8, 1), (4, 2), (2, 4), (1, 8)]
WORDS = ("salt", "red onion and cream", "leek", "a", "butter, flour, milk", "warm rice", "tea", "an egg")
Made = tuple[Trainer, torch.Tensor]


class Gradients(TrainerCallback):
    """Keeps the gradient of the last update, before the optimizer has used it."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        self.found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def options(folder: Path, size: int, accumulation: int) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "max_steps": 1, "learning_rate": 0.0, "max_grad_norm": 0.0, "logging_steps": 1,
        "per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation, "report_to": "none",
        "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "dataloader_pin_memory": False, "seed": 3,
        "remove_unused_columns": False,
    }  # fmt: skip


def awake(model: Any, seed: int = 1) -> Any:
    """Trainable weights far from zero, so that every gradient says something; dropout has no part in it."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def lora(model: Any, kind: str | None, targets: str | list[str] = "all-linear") -> Any:
    return awake(get_peft_model(model, LoraConfig(r=2, lora_dropout=0.0, target_modules=targets, task_type=kind)))


def token_loss(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Mean over all labelled tokens of a batch, from the logits."""
    with torch.no_grad():
        logits = model(**{k: v for k, v in batch.items() if k != "labels"}).logits[:, :-1].float()
    return functional.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=-100)


def completion_loss(model: Any, tokenizer: Any, talks: list[dict[str, Any]]) -> torch.Tensor:
    """Mean over the ids of all completions, each row read alone: no collator, no labels."""
    losses = []
    for prompt, ids in (encode(tokenizer, row) for row in talks):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].float()
        losses.append(functional.cross_entropy(logits, torch.tensor(ids), reduction="none"))
    return torch.cat(losses).mean()


def completion(folder: Path, size: int, accumulation: int) -> Made:
    loaded = models.load("tiny/llama", quant="nf4", dtype="float32")
    rows = [
        {"prompt": [{"role": "user", "content": f"Repeat {i}"}], "completion": [{"role": "assistant", "content": word}]}
        for i, word in enumerate(WORDS)
    ]
    given = options(folder, size, accumulation) | {
        "bf16": False, "gradient_checkpointing": False, "completion_only_loss": True, "remove_unused_columns": True
    }  # fmt: skip
    data = Dataset.from_list([trainers.completion_row(loaded.tokenizer, row) for row in rows])
    trainer = trainers.CompletionTrainer(
        model=lora(loaded.model, "CAUSAL_LM"), args=SFTConfig(**given), train_dataset=data,
        processing_class=loaded.tokenizer,
    )  # fmt: skip
    trainers.float32_adapters(trainer.model)
    return trainer, completion_loss(trainer.model.eval(), loaded.tokenizer, rows)


def classified(folder: Path, size: int, accumulation: int, words: bool) -> Made:
    labels = ("yes", "maybe", "no")
    load = models.load if words else models.load_classifier
    loaded: Any = load("tiny/llama", *(() if words else (labels,)), quant="nf4", dtype="float32")
    loaded.tokenizer.padding_side = "left" if words else "right"
    rows = [loaded.tokenizer(word) | {"labels": i % 3} for i, word in enumerate(WORDS)]
    data: dict[str, Any] = {
        "model": lora(loaded.model, "CAUSAL_LM" if words else "SEQ_CLS"), "train_dataset": Dataset.from_list(rows),
        "args": TrainingArguments(**options(folder, size, accumulation)),
        "data_collator": DataCollatorWithPadding(loaded.tokenizer),
    }  # fmt: skip
    batch = data["data_collator"](rows)
    gold, mask = batch.pop("labels"), batch["attention_mask"]
    with torch.no_grad():
        if words:
            ids = models.label_token_ids(loaded.tokenizer, labels)
            places = (mask.cumsum(-1) - 1).clamp(min=0)
            scores = data["model"].eval()(**batch, position_ids=places).logits[:, -1, ids]
            return classifiers.LabelWordTrainer(label_ids=ids, **data), functional.cross_entropy(scores, gold)
        scores = data["model"].eval()(**batch).logits
    return classifiers.ClassifierTrainer(**data), functional.cross_entropy(scores, gold)


def seen(folder: Path, size: int, accumulation: int, model_id: str, kind: str) -> Made:
    """Captions of pictures, as lessons 05, 06 and 08 train them."""
    loaded = vision.load_reader(model_id, quant="none", dtype="float32")
    processor: Any = loaded.processor
    rows = [{"talk": talk(i, "" if "blip" in model_id else "Which?", CAPTIONS[i])} for i in range(8)]

    def collate(given: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return collate_vision(processor, [encode_vision(processor, row["talk"]) for row in given])

    torch.manual_seed(0)
    if kind == "lora":
        model = lora(loaded.model, None, ["q_proj", "v_proj"])
    else:
        model = wrap_prefix(loaded.model, kind, n_tokens=3)
    arguments = TrainingArguments(**options(folder, size, accumulation))
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
    return trainer, token_loss(model.eval(), collate(rows))


def kinds(blip2: Path) -> dict[str, Callable[[Path, int, int], Made]]:
    return {
        "completions": completion,
        "label words": partial(classified, words=True),
        "head": partial(classified, words=False),
        "pictures, LoRA": partial(seen, model_id="tiny/qwen2_vl", kind="lora"),
        "pictures, embedding prefix": partial(seen, model_id="tiny/qwen2_vl", kind="embedding"),
        "pictures, key and value prefix": partial(seen, model_id="tiny/qwen2_vl", kind="key_value"),
        "captions, LoRA": partial(seen, model_id=str(blip2), kind="lora"),
    }


@pytest.fixture(scope="module")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip2(tmp_path_factory.mktemp("blip2"))


@pytest.mark.parametrize("kind", kinds(Path()))
def test_loss_and_gradient_do_not_depend_on_the_split(kind: str, blip2: Path, tmp_path: Path) -> None:
    found = []
    for size, accumulation in SPLITS:
        trainer, expected = kinds(blip2)[kind](tmp_path / f"{size}", size, accumulation)
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        trainer.add_callback(kept := Gradients())
        history = trainers.train(trainer, lines=0)
        assert history[0]["loss"] == pytest.approx(expected.item(), rel=1e-4), (size, accumulation)
        found.append(kept.found)
    assert found[0] and any(gradient.abs().max() > 1e-5 for gradient in found[0].values())
    largest = max(gradient.abs().max().item() for gradient in found[0].values())
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name, gradient in found[0].items():
            assert (other[name] - gradient).abs().max() <= 1e-5 * largest, name
