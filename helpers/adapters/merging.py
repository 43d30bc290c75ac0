"""An adapter put into its base's weights, W + α/r · B A, file by file: the model is never in memory as a whole."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import ModelError, RunError
from helpers.files import replace_folder
from helpers.models.load import load_tokenizer, weights_folder

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FACTORS = (".lora_A.weight", ".lora_B.weight")
_KEEP_THE_BASE = (
    "gaussian",
    "eva",
    "orthogonal",
)  # ways to start an adapter, by name, that change no weight of the base
_COPIED = ("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.model")


@dataclass(frozen=True)
class Update:
    """What an adapter adds to one weight: ``scale`` · B A. ``a``: (r, in), ``b``: (out, r), float32."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def dense(self) -> torch.Tensor:
        """The update as a matrix, (out, in)."""
        return self.scale * (self.b @ self.a)


def read_updates(adapter: Path) -> dict[str, Update]:
    """Name of a weight in the base → what the adapter adds to it.

    Args:
        adapter: folder with adapter_config.json and adapter_model.safetensors.

    Raises:
        ModelError: it is not a plain LoRA adapter of a language model, which alone is a sum of matrices.
    """
    from peft.utils.other import get_pattern_key
    from safetensors.torch import load_file

    config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    _refuse_others(config, adapter)
    tensors = load_file(adapter / WEIGHTS)
    beside = [key for key in tensors if not key.endswith(_FACTORS)]
    if beside or not tensors:
        what = f"the adapter in {adapter} holds {beside[0] if beside else 'nothing'}, which is no factor of an update"
        raise ModelError(what, "Load it with PEFT on the 16-bit base and call merge_and_unload")
    found = {}
    for key in (key for key in tensors if key.endswith(_FACTORS[0])):
        module = key.removesuffix(_FACTORS[0])
        a, b = tensors[key].float(), tensors[f"{module}.lora_B.weight"].float()
        name = module.removeprefix(_PREFIX)
        patterns = config.get("alpha_pattern") or {}
        alpha = patterns.get(get_pattern_key(patterns.keys(), name), config["lora_alpha"])
        rank = a.shape[0]
        scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        found[f"{name}.weight"] = Update(a, b, scale)
    return found


def _refuse_others(config: dict[str, Any], adapter: Path) -> None:
    kind, task = config.get("peft_type"), config.get("task_type")
    if kind != "LORA":
        raise ModelError(f"the adapter in {adapter} is {kind}, which is no sum with weights", "Merge a LoRA adapter")
    if task not in (None, "CAUSAL_LM"):
        what = f"the adapter in {adapter} is for {task}: it has a head of its own, or reads more than text"
        raise ModelError(what, "Only adapters of language models (CAUSAL_LM) are merged")
    variants = ("use_dora", "use_qalora", "fan_in_fan_out", "modules_to_save", "trainable_token_indices", "lora_bias")
    named = [name for name in variants if config.get(name)] + (["bias"] if config.get("bias", "none") != "none" else [])
    if named:
        what = f"the adapter in {adapter} is more than W + α/r · B A ({', '.join(named)})"
        raise ModelError(what, "Load it with PEFT on the 16-bit base and call merge_and_unload")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start not in _KEEP_THE_BASE:
        what = f"the adapter in {adapter} was started by {start}, which takes something out of the base's weights"
        raise ModelError(what, "Load it with PEFT on the 16-bit base and call merge_and_unload")


def merge_into_base(base: str, adapter: Path, target: Path, dtype: str | None = None) -> int:
    """Write the base's checkpoint with an adapter's updates added, as a folder that transformers loads without PEFT.

    Sums are made in float32 and rounded once, to what the base is stored in. One file of weights is in memory at a
    time, so a 7-billion model needs no GPU for this.

    Args:
        base: id of the model that the adapter was trained on.
        adapter: folder of the adapter.
        target: folder that is made.
        dtype: another storage format of all weights, by name.

    Returns:
        How many weights were changed.

    Raises:
        ModelError: no plain LoRA adapter, an adapter of another base, or a base whose stored weights are quantised.
        RunError: ``target`` exists, or cannot be written.
    """
    if target.exists():
        raise RunError(f"{target} exists, and nothing is overwritten", "Name another folder, or remove this one")
    place, updates = weights_folder(base), read_updates(adapter)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in config:
        what = f"the weights of {base} are stored quantised: a merge into them would be rounded to a few bits again"
        raise ModelError(what, "Merge into the 16-bit model that they were made from")
    files = sorted(place.glob("model*.safetensors"))
    _refuse_another_base(base, files, updates)

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        for file in files:
            _write_file(file, folder / file.name, updates, dtype)
        for name in (name for name in _COPIED if (place / name).is_file()):
            shutil.copyfile(place / name, folder / name)
        if dtype is not None:
            (folder / "config.json").write_text(json.dumps(config | {"dtype": dtype}, indent=2), encoding="utf-8")
        load_tokenizer(base).save_pretrained(folder)

    replace_folder(target, write)
    return len(updates)


def _refuse_another_base(base: str, files: list[Path], updates: dict[str, Update]) -> None:
    """ModelError where a weight that the adapter changes is not in the base, or has another shape."""
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with safe_open(file, framework="pt") as weights:
            shapes |= {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    for name, update in updates.items():
        wanted = (update.b.shape[0], update.a.shape[1])
        if shapes.get(name) != wanted:
            there = f"has {shapes[name]}" if name in shapes else "has no such weight"
            what = f"the adapter was trained on another base than {base}: it changes {name} of shape {wanted}"
            raise ModelError(f"{what}, and the base {there}", "Give the model that adapter_config.json names")


def _write_file(file: Path, copy: Path, updates: dict[str, Update], dtype: str | None) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    for name, weight in tensors.items():
        kept = weight.dtype if dtype is None else getattr(torch, dtype)
        update = updates.get(name)
        whole = weight if update is None else weight.float() + update.dense()
        tensors[name] = whole.to(kept).contiguous()
    save_file(tensors, copy, metadata={"format": "pt"})
