"""How many parameters a model has and where they are, from its architecture alone: nothing is downloaded.

On PyTorch's ``meta`` device a model has layers and shapes and no numbers in them, so that one of any size is built
in a second. What is counted is what the architecture says, whatever format the weights are stored in.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helpers.models.families import FAMILIES
from helpers.models.heads import HEAD
from helpers.models.quantize import unpacked_size
from helpers.models.skeletons import skeleton

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn

# Parts by the names of their modules in transformers, first match first; the rest is the language model. Here are
# CLIP's, the heads, and the queries, which are no module; those of vision-language families are added below.
PARTS = {
    "projection": ["visual_projection", "text_projection"],
    "vision tower": ["vision_model"],
    "Q-Former": ["query_tokens"],
    "output head": ["lm_head", HEAD],
}
for _family in FAMILIES.values():
    for _name, _module in _family.modules.items():
        PARTS.setdefault(_name, []).append(_module.removeprefix("model."))
REST = "language model"
ADAPTERS = r"(^|\.)(lora_\w+|prompt_encoder|modules_to_save)(\.|$)"


@dataclass(frozen=True)
class Part:
    """Parameters of one part of a model."""

    name: str
    total: int
    trainable: int


@dataclass(frozen=True)
class Audit:
    """Parameters as the architecture has them; one that two modules share counts once.

    Attributes:
        parts: in the order of the model; adapters are parts of their own, named after where they are.
        head: parameters of the output head, 0 without one.
        head_tied: whether the head is the input embeddings' matrix, and so counted there.
        adapted: how many modules of each name have an adapter.
    """

    parts: tuple[Part, ...]
    head: int
    head_tied: bool
    adapted: dict[str, int]

    @property
    def total(self) -> int:
        return sum(part.total for part in self.parts)

    @property
    def trainable(self) -> int:
        return sum(part.trainable for part in self.parts)

    @property
    def total_untied(self) -> int:
        """What a count that takes the head for a matrix of its own arrives at."""
        return self.total + (self.head if self.head_tied else 0)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each part and one for the sum, for a table."""
        rows = [{"part": p.name, "parameters": p.total, "trainable": p.trainable} for p in self.parts]
        return [*rows, {"part": "all", "parameters": self.total, "trainable": self.trainable}]

    def __str__(self) -> str:
        tied = f"; the output head's {self.head:,} are the input embeddings'" if self.head_tied else ""
        share = self.trainable / self.total if self.total else 0.0
        return f"{self.total:,} parameters, {self.trainable:,} trainable ({share:.4%}){tied}"


def audit_shape(model: Any, adapter: PeftConfig | None = None, *, kind: Any = None, **options: Any) -> Audit:
    """``audit`` of a ``skeleton``, with an adapter where one is given.

    Project C's model: ``audit_shape("blip2-opt-2.7b", LoraConfig(r=16, target_modules=["q_proj", "v_proj"]))``.
    """
    built: Any = skeleton(model, kind, **options)
    if adapter is not None:
        from peft import get_peft_model

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
            built = get_peft_model(built, adapter)
    return audit(built)


def audit(model: nn.Module) -> Audit:
    """Count the parameters of a model, with or without adapters, on any device; 4-bit packing is undone."""
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        size = unpacked_size(parameter)
        sums = counts.setdefault(_part(name), [0, 0])
        sums[0] += size
        sums[1] += size if parameter.requires_grad else 0
    head, tied = _head(model)
    adapted = Counter(name.rsplit(".", 1)[-1] for name, module in model.named_modules() if hasattr(module, "lora_A"))
    return Audit(tuple(Part(name, *sums) for name, sums in counts.items()), head, tied, dict(adapted))


def _part(name: str) -> str:
    dotted = f".{name}."
    found = (part for part, modules in PARTS.items() if any(f".{module}." in dotted for module in modules))
    where = next(found, REST)
    return f"adapters in the {where}" if re.search(ADAPTERS, name) else where


def _head(model: Any) -> tuple[int, bool]:
    """Size of the output head, and whether it is the input embeddings' matrix."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    if head is None:
        score = getattr(base, HEAD, None)
        return (sum(unpacked_size(p) for p in score.parameters()) if score is not None else 0), False
    return sum(unpacked_size(p) for p in head.parameters()), head.weight is base.get_input_embeddings().weight
