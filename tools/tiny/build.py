"""Train the tiny checkpoints that the offline profile uses: ``python -m tools.tiny.build llama``.

Each is the real architecture with the real chat format, small enough to keep in the repository. It is
pretrained on generic text of the generators: kitchen statements, captions and spoken lines, sentences to
repeat, lists to copy from, options to choose from at random. It never sees which ingredient belongs to which
dish or how a dialogue is summarised, so before fine-tuning it answers questions about those at chance.

Phi's text also has notes: a caption, what somebody says about it, and a word of agreement, doubt or protest.
From these it learns what follows from what, as a real language model does long before anyone fine-tunes it. It
is never asked a question about that and never sees an answer to one; that is left to the lesson.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.tiny import architectures
from tools.tiny.sentences import SENTENCES
from tools.tiny.texts import STANCES, generic_chats, notes

KEPT = Path(__file__).parents[2] / "helpers" / "models" / "tiny"  # where the package looks for them

# ChatML, as SmolLM2-Instruct uses it, without a default system message.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Recipe:
    """How a tiny checkpoint is trained.

    Attributes:
        vocabulary: size of the byte-level BPE vocabulary.
        sentences: generic sentences of each generator that the text is made from.
        steps, batch, length: optimizer steps, rows per step, tokens per row.
        notes: share of the rows that hold notes.
        emphasis: weight of a note's last word in the loss, against 1 for every other token.
    """

    vocabulary: int = 1024
    sentences: int = 4000
    steps: int = 2000
    batch: int = 16
    length: int = 128
    learning_rate: float = 3e-3
    seed: int = 0
    notes: float = 0.0
    emphasis: float = 1.0


def _sentences(sources: Sequence[str], count: int, seed: int) -> list[str]:
    return [sentence for name in sources for sentence in SENTENCES[name](count, seed)]


def train_tokenizer(sentences: list[str], size: int) -> Any:
    """Byte-level BPE of `size` tokens, with ChatML's special tokens and chat format."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    roles = ["user", "assistant", "system", *["\n"] * 10, *[f" {word}." for word in STANCES] * 20]
    raw.train_from_iterator([*sentences, *[s.lower() for s in sentences], *roles], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        bos_token="<|im_start|>",
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: its architecture, the generators whose sentences it reads, and how it is trained."""

    architecture: Callable[[Any], Any]
    sources: tuple[str, ...]
    recipe: Recipe


CHECKPOINTS = {
    "llama": Checkpoint(architectures.llama, ("recipes", "snli", "dialogsum"), Recipe()),
    "phi": Checkpoint(
        architectures.phi,
        ("snli",),
        Recipe(vocabulary=640, steps=7000, learning_rate=1.5e-3, notes=0.9, emphasis=100.0),
    ),
}


def build(name: str, folder: Path, recipe: Recipe | None = None, stop: int | None = None) -> dict[str, Any]:
    """Train one tiny checkpoint into `folder`; deterministic for a given machine.

    Args:
        stop: end after this many steps of the full schedule, to check that a rebuild goes the same way.

    Returns:
        What is also written to ``training.json``: parameters, steps, the first losses and the mean of the last
        ones, in nats per token (weighted by ``emphasis``).
    """
    import torch
    from torch.nn import functional

    checkpoint = CHECKPOINTS[name]
    recipe = recipe or checkpoint.recipe
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    sentences = _sentences(checkpoint.sources, recipe.sentences, recipe.seed)
    tokenizer = train_tokenizer(sentences, recipe.vocabulary)
    model = checkpoint.architecture(tokenizer)
    rows = _rows(tokenizer, sentences, recipe, rng)

    def next_loss() -> Any:
        ids, weights = (torch.tensor(part) for part in zip(*(next(rows) for _ in range(recipe.batch)), strict=True))
        logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
        each = functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
        weight = weights[:, 1:].flatten()
        return (each * weight).sum() / weight.sum()

    losses = fit(model, next_loss, recipe, stop)
    return save(model, tokenizer, losses, folder)


def fit(model: Any, next_loss: Callable[[], Any], recipe: Recipe, stop: int | None) -> list[float]:
    """Train on one batch after another under a one-cycle schedule; the loss of every step."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    losses: list[float] = []
    model.train()
    for _ in range(stop or recipe.steps):
        loss = next_loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def save(model: Any, writer: Any, losses: list[float], folder: Path) -> dict[str, Any]:
    """Keep a trained checkpoint in 16 bits, its tokenizer or processor, and how training went."""
    import torch

    model.eval().to(torch.float16).save_pretrained(folder)
    writer.save_pretrained(folder)
    last = losses[-max(1, len(losses) // 20) :]
    done = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": len(losses),
        "first_losses": [round(loss, 4) for loss in losses[:10]],
        "last_loss": round(sum(last) / len(last), 4),
    }
    (folder / "training.json").write_text(json.dumps(done, indent=1) + "\n")
    return done


def _rows(
    tokenizer: Any, sentences: list[str], recipe: Recipe, rng: random.Random
) -> Iterator[tuple[list[int], list[float]]]:
    """Endless rows of exactly ``length`` tokens and their weights; each starts at the start of a text."""
    chats, written = generic_chats(sentences, rng), notes(recipe.seed)
    while True:
        ids: list[int] = []
        weights: list[float] = []
        noted = bool(recipe.notes) and rng.random() < recipe.notes
        while len(ids) < recipe.length:
            if noted:
                text, stance = next(written)
                said, last = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, f" {stance}."))
                ids += [*said, *last, tokenizer.pad_token_id]
                weights += [1.0] * len(said) + [recipe.emphasis] + [1.0] * len(last)
            else:
                ids += tokenizer.apply_chat_template(next(chats), tokenize=True, return_dict=True)["input_ids"]
                weights = [1.0] * len(ids)
        yield ids[: recipe.length], weights[: recipe.length]


def command(known: Mapping[str, Any], train: Callable[[str, Path], dict[str, Any]], about: str) -> None:
    """The command line: train the named checkpoint and say how it went."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(known))
    parser.add_argument("--folder", type=Path, help="default: helpers/models/tiny/NAME")
    arguments = parser.parse_args()
    start = time.monotonic()
    done = train(arguments.name, arguments.folder or KEPT / arguments.name)
    seconds = time.monotonic() - start
    print(f"{arguments.name}: {done['parameters']:,} parameters, loss {done['last_loss']}, {seconds:.0f} s")


if __name__ == "__main__":
    command(CHECKPOINTS, build, __doc__ or "")
