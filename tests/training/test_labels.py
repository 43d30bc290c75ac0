"""What takes loss: the completion's ids as ``encode`` gives them, under every chat template of the course."""

from __future__ import annotations

import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from idefics3_cases import idefics3_processor
from torch.nn import functional
from trainer_cases import _trainer, conversations
from trl import SFTConfig

from helpers import inference, models
from helpers.errors import DataError
from helpers.models import vision
from helpers.models.chat import encode
from helpers.models.load import CHAT_FORMATS, TINY
from helpers.models.vision_inputs import collate_vision, encode_vision
from helpers.training import trainers

# Templates as the published checkpoints have them.
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
NO_END = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
TALKS: list[dict[str, Any]] = conversations()[:5]


def templated(template: str) -> Any:
    tokenizer = models.load_tokenizer("tiny/llama")
    tokenizer.chat_template = template
    return tokenizer


def without_template(name: str, folder: Path) -> Any:
    """A checkpoint that brings no template along, as phi-2 and Llama-2's ungated copies may."""
    shutil.copytree(TINY / name, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.jinja", "*.safetensors"))
    tokenizer: Any = models.load_tokenizer(str(folder))
    assert tokenizer.chat_template == CHAT_FORMATS[name]
    return tokenizer


def letters() -> Any:
    """A token for each letter, and spaces as Llama-2's tokenizer writes them: one more in front of every text."""
    from tokenizers import Tokenizer, decoders, normalizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "</s>", "▁", *sorted({*string.printable, "é"} - {" "})]
    tokenizer = Tokenizer(BPE({name: i for i, name in enumerate(names)}, [], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    marks = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=LLAMA2, padding_side="right", **marks)


# Where the tokenizer comes from, and how the answer "salt" ends in its template.
TOKENIZERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "tiny/llama": (lambda _: models.load_tokenizer("tiny/llama"), "salt<|im_end|>"),
    "tiny/phi": (lambda _: models.load_tokenizer("tiny/phi"), "salt<|im_end|>"),
    "tiny/qwen2_vl": (lambda _: models.load_tokenizer("tiny/qwen2_vl"), "salt<|im_end|>"),
    "phi-2's": (lambda folder: without_template("phi", folder), " salt<|im_end|>"),
    "Llama-2's, from its card": (lambda folder: without_template("llama", folder), " salt <|im_end|>"),
    "Llama-2's": (lambda _: templated(LLAMA2), " salt <|im_end|>"),
    "Llama-2's, on its kind of tokenizer": (lambda _: letters(), " salt </s>"),
    "SmolLM2's": (lambda _: templated(SMOLLM2), "salt<|im_end|>"),
    "without an end": (lambda _: templated(NO_END), " salt\n<|im_end|>"),
}


def trained(folder: Path, tokenizer: Any, talks: list[dict[str, Any]], **changes: Any) -> trainers.CompletionTrainer:
    options = {
        "output_dir": str(folder), "report_to": "none", "disable_tqdm": True, "use_cpu": True, "bf16": False,
        "gradient_checkpointing": False, "completion_only_loss": True, "dataloader_pin_memory": False,
        "per_device_train_batch_size": 2, "per_device_eval_batch_size": 2, "max_length": 1024,
    }  # fmt: skip
    rows = Dataset.from_list([trainers.completion_row(tokenizer, talk) for talk in talks])
    model = models.load("tiny/llama", dtype="float32").model
    return trainers.CompletionTrainer(
        model=model, args=SFTConfig(**options | changes), train_dataset=rows, eval_dataset=rows,
        processing_class=tokenizer,
    )  # fmt: skip


@pytest.mark.parametrize("name", TOKENIZERS)
def test_labels_are_the_completions_ids(name: str, tmp_path: Path) -> None:
    """In the batches that the trainer really reads, row by row, also where a row is cut."""
    make, ending = TOKENIZERS[name]
    tokenizer = make(tmp_path / "tokenizer")
    pairs = [encode(tokenizer, talk) for talk in TALKS]
    assert tokenizer.decode(pairs[0][1]) == ending and pairs[0][1][-1] == tokenizer.eos_token_id
    assert all(completion.count(tokenizer.eos_token_id) == 1 for _, completion in pairs)
    longest = max(len(prompt) + len(completion) for prompt, completion in pairs)
    for length in (longest, longest - 2):
        trainer = trained(tmp_path, tokenizer, TALKS, max_length=length)
        expected = sorted(
            ((prompt + completion)[:length], ([-100] * len(prompt) + completion)[:length])
            for prompt, completion in pairs
        )
        seen = [
            (ids[:real], labels[:real])
            for batch in trainer.get_train_dataloader()
            for ids, labels, real in zip(
                batch["input_ids"].tolist(), batch["labels"].tolist(), batch["attention_mask"].sum(1).tolist(),
                strict=True,
            )
            if set(labels[real:]) <= {-100}
        ]  # fmt: skip
        assert sorted(seen) == expected


@pytest.mark.parametrize("model_id", ["tiny/qwen2_vl", "tiny/paligemma", "tiny/llama", "tiny/phi", "SmolVLM"])
def test_labels_with_a_processor_are_the_same(model_id: str) -> None:
    """What lessons 05, 06 and 08 train on: an answer, one end-of-turn token, nothing behind it."""
    if model_id == "SmolVLM":
        processor: Any = idefics3_processor(models.load_tokenizer("tiny/llama"))
    elif vision.reads_pictures(model_id):
        processor = vision.load_processor(model_id)
    else:
        processor = vision.TextProcessor(models.load_tokenizer(model_id))
    tokenizer = processor.tokenizer
    batch = collate_vision(processor, [encode_vision(processor, talk) for talk in TALKS])
    for talk, labels in zip(TALKS, batch["labels"].tolist(), strict=True):
        learned = [label for label in labels if label != -100]
        assert learned.count(tokenizer.eos_token_id) == 1 and learned[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(learned[:-1]).strip() == talk["completion"][0]["content"]
        if tokenizer.chat_template:
            parts = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in talk["prompt"]]
            answer = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in talk["completion"]]
            as_parts = {"prompt": parts, "completion": answer} if model_id == "SmolVLM" else talk
            assert learned == encode(tokenizer, as_parts)[1]


def test_the_validation_loss_is_the_logarithm_of_the_perplexity(tmp_path: Path) -> None:
    """For any batch size, and equal to a cross-entropy of each row alone."""
    tokenizer = models.load_tokenizer("tiny/llama")
    trainer = trained(tmp_path, tokenizer, TALKS)
    model: Any = trainer.model.eval()
    losses = []
    for prompt, completion in (encode(tokenizer, talk) for talk in TALKS):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
        at = logits[len(prompt) - 1 : -1]
        losses += functional.cross_entropy(at.float(), torch.tensor(completion), reduction="none").tolist()
    nll, tokens = inference.completion_nll(model, tokenizer, TALKS)
    assert tokens.sum() == len(losses)
    assert nll.sum() / tokens.sum() == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    for size in (1, 2, 5):
        trainer = trained(tmp_path, tokenizer, TALKS, per_device_eval_batch_size=size)
        assert trainer.evaluate()["eval_loss"] == pytest.approx(nll.sum() / tokens.sum(), rel=1e-5)
    cut = max(map(len, trainer.train_dataset["input_ids"])) - 2
    nll, tokens = inference.completion_nll(model, tokenizer, TALKS, max_length=cut)
    cut_trainer = trained(tmp_path, tokenizer, TALKS, max_length=cut)
    assert cut_trainer.evaluate()["eval_loss"] == pytest.approx(nll.sum() / tokens.sum(), rel=1e-5)
    assert cut_trainer.evaluate(cut_trainer.eval_dataset)["eval_loss"] == pytest.approx(nll.sum() / tokens.sum())


def test_texts_are_refused(tmp_path: Path) -> None:
    """TRL's own reading of a conversation trains the line break after the end-of-turn token."""
    trainer = _trainer(tmp_path)
    texts = Dataset.from_list(TALKS)
    with pytest.raises(DataError, match="have completion, prompt. Make each row with training.completion_row"):
        trainers.CompletionTrainer(
            model=trainer.model, args=trainer.args, train_dataset=texts, processing_class=trainer.processing_class
        )
    with pytest.raises(DataError, match="wants input_ids and completion_mask"):
        trainer.evaluate(texts)
