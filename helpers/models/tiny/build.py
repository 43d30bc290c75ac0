"""Train the tiny checkpoints that the offline profile uses: ``python -m helpers.models.tiny.build llama``.

Each is the real architecture with the real chat format, small enough to keep in the repository. It is
pretrained on generic text of the generators: kitchen statements and captions, sentences to repeat, lists to
copy from, options to choose from at random. It never sees which ingredient belongs to which dish or which
sentence follows from which, so before fine-tuning it answers questions about those at chance.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

# ChatML, as SmolLM2-Instruct uses it, without a default system message.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Recipe:
    """How one tiny checkpoint is trained.

    Attributes:
        vocabulary: size of the byte-level BPE vocabulary.
        sentences: generic sentences of each generator that the text is made from.
        steps, batch, length: optimizer steps, rows per step, tokens per row.
    """

    vocabulary: int = 1024
    sentences: int = 4000
    steps: int = 2000
    batch: int = 16
    length: int = 128
    learning_rate: float = 3e-3
    seed: int = 0


def generic_chats(sentences: list[str], rng: random.Random) -> Iterator[list[dict[str, str]]]:
    """Endless conversations that teach the chat format, repeating, listing and choosing, and no facts."""
    words = sorted({w.strip(".,").lower() for s in sentences for w in s.split() if len(w) > 3})
    kinds = [_say, _repeat, _use, _name, _choose, _find]
    while True:
        question, answer = rng.choice(kinds)(sentences, words, rng)
        yield [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _some(words: list[str], rng: random.Random, low: int, high: int) -> list[str]:
    return [" ".join(rng.sample(words, rng.choice((1, 1, 2)))) for _ in range(rng.randint(low, high))]


def _bullets(items: list[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _say(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    return "Say something.", " ".join(rng.sample(sentences, rng.randint(1, 3)))


def _repeat(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    some = rng.sample(sentences, rng.randint(1, 3))
    return "Repeat:\n" + _bullets(some), "\n".join(f"{i}. {s}" for i, s in enumerate(some, 1))


def _use(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    """Copy words of a list, one or two at a time, into a carrier sentence that says nothing about them."""
    things = _some(words, rng, 3, 6)
    lines: list[str] = []
    rest = list(things)
    while rest:
        taken = [rest.pop(0) for _ in range(min(len(rest), rng.choice((1, 1, 2))))]
        verb = rng.choice(("Take", "Look at", "Find", "Name"))
        lines.append(f"{len(lines) + 1}. {verb} the {' and the '.join(taken)}.")
    listed = [f"{rng.randint(1, 500)} {rng.choice(('of', 'x', 'g'))} {t}" if rng.random() < 0.5 else t for t in things]
    return "Use them:\n" + _bullets(listed), "\n".join(lines)


def _name(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    things = _some(words, rng, 3, 6)
    return "Name them:\n" + _bullets(things), ", ".join(things)


def _choose(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    """Any of the options: which one is drawn at random."""
    things = _some(words, rng, 2, 5)
    return (
        f"{rng.choice(sentences)}\nOptions: {'; '.join(things)}\nAnswer with one of the options.",
        rng.choice(things),
    )


def _find(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    """The option that stands in the sentences, as a string: matching, not meaning."""
    listed = _some(words, rng, 3, 6)
    answer = rng.choice(listed)
    options = [answer, *(t for t in _some(words, rng, 3, 3) if t not in listed)]
    rng.shuffle(options)
    question = f"Which of these is listed?\n\n{', '.join(listed)}\nOptions: {'; '.join(options)}"
    return question + "\nAnswer with one of the options.", answer


def _sentences(count: int, seed: int) -> list[str]:
    from helpers.tasks.recipes_generator import generic_text as kitchen
    from helpers.tasks.snli_generator import generic_text as captions

    return [*kitchen(count, seed), *captions(count, seed)]


def _tokenizer(sentences: list[str], size: int) -> Any:
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
    roles = ["user", "assistant", "system", *["\n"] * 10]
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


def _llama(tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def _phi(tokenizer: Any) -> Any:
    from transformers import PhiConfig, PhiForCausalLM

    config = PhiConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=400,
        num_hidden_layers=4,
        num_attention_heads=4,
        partial_rotary_factor=0.5,
        max_position_embeddings=512,
        resid_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return PhiForCausalLM(config)


BUILDERS = {"llama": _llama, "phi": _phi}


def build(name: str, folder: Path, recipe: Recipe | None = None, stop: int | None = None) -> dict[str, Any]:
    """Train one tiny checkpoint into `folder`; deterministic for a given machine.

    Args:
        stop: end after this many steps of the full schedule, to check that a rebuild goes the same way.

    Returns:
        What is also written to ``training.json``: parameters, steps, the first losses and the mean of the last
        ones, in nats per token.
    """
    import torch

    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    sentences = _sentences(recipe.sentences, recipe.seed)
    tokenizer = _tokenizer(sentences, recipe.vocabulary)
    model = BUILDERS[name](tokenizer)
    rows = _packed(tokenizer, generic_chats(sentences, rng), recipe.length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    losses: list[float] = []
    model.train()
    for _ in range(stop or recipe.steps):
        ids = torch.tensor([next(rows) for _ in range(recipe.batch)])
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval().to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    last = losses[-max(1, len(losses) // 20) :]
    done = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": len(losses),
        "first_losses": [round(loss, 4) for loss in losses[:10]],
        "last_loss": round(sum(last) / len(last), 4),
    }
    (folder / "training.json").write_text(json.dumps(done, indent=1) + "\n")
    return done


def _packed(tokenizer: Any, chats: Iterator[list[dict[str, str]]], length: int) -> Iterator[list[int]]:
    """Endless rows of exactly `length` tokens, each starting at the start of a conversation."""
    while True:
        row: list[int] = []
        while len(row) < length:
            row += tokenizer.apply_chat_template(next(chats), tokenize=True, return_dict=True)["input_ids"]
        yield row[:length]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(BUILDERS))
    parser.add_argument("--folder", type=Path, help="default: next to this file")
    arguments = parser.parse_args()
    start = time.monotonic()
    done = build(arguments.name, arguments.folder or HERE / arguments.name)
    seconds = time.monotonic() - start
    print(f"{arguments.name}: {done['parameters']:,} parameters, loss {done['last_loss']}, {seconds:.0f} s")


if __name__ == "__main__":
    main()
