"""The largest steps of each lesson as jobs: its training, and its answering without gradients."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.config.lessons import LESSONS
from helpers.errors import ParameterError
from helpers.memory.jobs import Job
from helpers.models.families import FAMILIES
from helpers.models.load import load_tokenizer, resolve_model
from helpers.models.skeletons import configuration

# Letters a token stands for at least, in English under the tokenizers taught: a text is rather planned too long.
LETTERS = 3
TEMPLATE = 24  # tokens that a chat template adds
PAIRS = 256  # prompts of lesson 07, one for each pair of words; more than any of its data sets has


# Field of a job -> the notebook parameter that sets it.
PARAMETER = {
    "model": "model_id", "quant": "quant", "batch_size": "batch_size", "accumulation": "grad_accumulation",
    "checkpointing": "gradient_checkpointing", "lora_r": "lora_r", "targets": "lora_targets", "method": "prefix",
    "prefix_tokens": "prefix_tokens", "prefix_hidden": "prefix_hidden", "pixels": "max_pixels",
    "length": "max_length", "new_tokens": "max_new_tokens", "lora_dropout": "lora_dropout", "optimizer": "optimizer",
}  # fmt: skip


def tokens_of(texts: Iterable[str]) -> int:
    """About how many tokens the longest of some texts has, rather too many."""
    return max((len(text) for text in texts), default=0) // LETTERS + TEMPLATE


def row_tokens(model: str, *columns: Sequence[str], chat: bool = True) -> list[int]:
    """Tokens of each row of texts, for the forecast of a lesson's time; loads the model's tokenizer.

    Args:
        columns: the texts of a row, one column each: its prompt and its completion.
        chat: they are turns of a chat, to which the model's template adds a few tokens.
    """
    tokenizer = load_tokenizer(model)
    added = 0
    if chat and tokenizer.chat_template:
        empty = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
        added = len(tokenizer.apply_chat_template(empty, return_dict=True)["input_ids"])
    counted = [list(map(len, tokenizer(list(texts), add_special_tokens=not chat)["input_ids"])) for texts in columns]
    return [added + sum(row) for row in zip(*counted, strict=True)]


def lesson_jobs(
    settings: Any,
    machine: Any,
    prompt: int | None = None,
    completion: int | None = None,
    examples: int | None = None,
) -> dict[str, Job]:
    """The jobs of the lesson that these settings are for.

    Args:
        settings: ``run.settings``.
        machine: ``run.machine``; device, dtype and compute capability are taken from it.
        prompt, completion: tokens of the longest prompt and answer, pictures not counted; see ``tokens_of``.
        examples: tokens of the worked examples that stand in front of a question before training.

    Returns:
        "training"; and of what is read without gradients "answers", the largest batch that the trained model answers,
        "worked examples", the largest with these in front, and "choices", the largest in which choices are rated. Where
        a second model reasons, its training and answers.
    """
    values = settings.as_dict()
    lesson = LESSONS[values["notebook"]].memory
    if lesson is None:
        raise ParameterError(f"{values['notebook']} trains nothing", "Only lessons that train have a plan")
    prompt, completion = prompt or lesson.prompt, completion or lesson.completion
    found = {field: values[name] for field, name in PARAMETER.items() if values.get(name) is not None}
    found |= {"dtype": machine.dtype, "device": machine.device, "capability": machine.capability or (7, 5)}
    found["step"] = "label_words" if values.get("classifier") == "label_words" else lesson.step
    found["head_trained"] = values.get("head") != "frozen"
    found["language_only"] = lesson.language_only and reads_pictures(found["model"])
    if lesson.method:
        found["method"] = lesson.method
    if lesson.method == "full":  # what is trained itself is not quantised
        found["quant"] = "none"
    if (pixels := most_pixels(found["model"], values.get("max_pixels"))) is not None:
        found["pixels"] = pixels
    shown = picture_tokens(found["model"], pixels)
    longest = shown + prompt + completion
    if lesson.step in ("completion", "classify"):
        longest = min(longest, values["max_length"])
    if values.get("padding") == "max_length":
        found["padded"], longest = False, values["max_length"]
    if lesson.faster and machine.device == "cpu":
        found |= {"faster": True, "kept_weights": found["quant"].startswith("nf4")}
    training = Job(**(found | {"length": longest, "labelled": min(completion, longest - 1)}))
    if lesson.step == "contrast":
        return {"training": training.but(batch_size=PAIRS)}
    answers = training.but(
        step="generate",
        method="none" if lesson.method == "soft" else training.method,
        batch_size=lesson.answer_batch * training.batch_size,
        length=min(shown + prompt, longest),
        accumulation=1,
        checkpointing=False,
        faster=False,
        kept_weights=False,
    )
    if lesson.step == "classify":
        answers = answers.but(new_tokens=1)
    jobs = {"training": training, "answers": answers}
    if lesson.shots:
        front = lesson.shots if examples is None else examples
        rows, length = lesson.shots_batch * training.batch_size, shown + front + prompt
        if lesson.step == "completion":  # as many examples as the model has room for
            room = configuration(training.model).get_text_config().max_position_embeddings
            length = min(length, max(answers.length, room - answers.new_tokens))
        jobs["worked examples"] = answers.but(method="none", batch_size=rows, length=length)
    if lesson.rated:
        rows = lesson.rated * answers.batch_size
        given = answers.but(step="rate", batch_size=rows, length=longest, labelled=training.labelled, new_tokens=1)
        jobs["choices"] = given
    if (reader := values.get("reasoner_id")) is not None:
        jobs |= _of_reasoner(reader, values, training, answers, prompt, completion)
    return jobs


def _of_reasoner(
    model: str, values: Mapping[str, Any], training: Job, answers: Job, prompt: int, completion: int
) -> dict[str, Job]:
    """The training and the answers of a second model, which reads words; one that could see gets room for a picture."""
    sees = reads_pictures(model)
    pixels = most_pixels(model, values.get("max_pixels")) if sees else None
    read = picture_tokens(model, pixels) + prompt
    own: dict[str, Any] = {"model": model, "pixels": pixels, "language_only": sees}
    learned = training.but(**own, length=read + completion, labelled=completion)
    return {"reasoner": learned, "reasoner's answers": answers.but(**own, length=read)}


def reads_pictures(model: str) -> bool:
    """Whether a picture has a place in this model's prompt."""
    return configuration(model).model_type in FAMILIES


def most_pixels(model: str, asked: int | None) -> int | None:
    """Most pixels that a picture keeps: as asked for, else what the files of a model that is here say."""
    if asked is not None or not (model.startswith("tiny/") or Path(model).is_dir()):
        return asked
    file = Path(resolve_model(model).location) / "processor_config.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    most = kept.get("image_processor", {}).get("size", {}).get("longest_edge")
    return int(most) if most and reads_pictures(model) else None


def picture_tokens(model: str, pixels: int | None) -> int:
    """Tokens that a picture takes in a prompt; 0 for models that read text."""
    config = configuration(model)
    family = FAMILIES.get(config.model_type)
    return family.picture_tokens(config, pixels) if family else 0
