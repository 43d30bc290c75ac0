"""Find, load and describe models: tiny checkpoints in the repo, cached assets, local folders, the Hub."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import ModelError
from helpers.machine import ranks
from helpers.models.quantize import check_quantisation, guard_cpu_kernels, quantisation_config
from helpers.sources import assets, hub
from helpers.sources.hub_errors import explain

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from helpers.machine.hardware import Machine

TINY = Path(__file__).parent / "tiny"

# Hub ids that also ship in a Python package, so that a machine without the Hub can use them.
ASSET_COPIES = {"HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2-135m-instruct"}

# Chat formats from model cards, for checkpoints that bring none along: kind of model -> template.
CHAT_FORMATS = {
    "phi": (
        "{% for message in messages %}{% if message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'] + eos_token + '\n' }}{% else %}"
        "{{ 'Instruct: ' + message['content'] + '\nOutput:' }}{% endif %}{% endfor %}"
    ),
    "llama": (  # that of Llama 2
        "{% for message in messages %}{% if message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'] + ' ' + eos_token }}{% else %}"
        "{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}{% endif %}{% endfor %}"
    ),
}


@dataclass(frozen=True)
class ModelSource:
    """Where a model id leads: `location` is what ``from_pretrained`` gets, `origin` one of
    ``tiny``, ``local``, ``asset``, ``hub``."""

    model_id: str
    location: str
    origin: str

    def __str__(self) -> str:
        return f"{self.model_id} ({self.origin})"


@dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer and what is worth recording about them."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: ModelSource
    dtype: str


def resolve_model(model_id: str) -> ModelSource:
    """Turn a model id into a place to load from.

    Order: tiny checkpoint of the repo (``tiny/NAME``), local folder, Hub, packaged copy of a Hub model.

    Raises:
        ModelError: nothing by that name here, and the Hub cannot be reached.
    """
    if model_id.startswith("tiny/"):
        folder = TINY / model_id.removeprefix("tiny/")
        if not (folder / "config.json").is_file():
            known = sorted(p.parent.name for p in TINY.glob("*/config.json"))
            raise ModelError(f"there is no tiny checkpoint {model_id!r}", f"known: tiny/{', tiny/'.join(known)}")
        return ModelSource(model_id, str(folder), "tiny")
    if (Path(model_id).expanduser() / "config.json").is_file():
        return ModelSource(model_id, str(Path(model_id).expanduser()), "local")
    if hub.cached(model_id) or hub.hub_reachable():
        return ModelSource(model_id, model_id, "hub")
    asset = ASSET_COPIES.get(model_id)
    if asset is not None:
        return ModelSource(model_id, str(assets.path(asset)), "asset")
    raise ModelError(
        f"model {model_id!r} is not on this machine and the Hub cannot be reached",
        "connect to the Internet, or give a local folder, or one of "
        + ", ".join([*ASSET_COPIES, *(f"tiny/{p.parent.name}" for p in sorted(TINY.glob("*/config.json")))]),
    )


def load_tokenizer(model_id: str) -> PreTrainedTokenizerBase:
    """Tokenizer of `model_id`, with a padding token set and padding on the right (training's side).

    Raises:
        ModelError: not found, gated, or without a chat template.
    """
    from transformers import AutoConfig, AutoTokenizer

    source = resolve_model(model_id)
    tokenizer = _from_pretrained(AutoTokenizer, source)
    if getattr(tokenizer, "chat_template", None) is None:
        tokenizer.chat_template = CHAT_FORMATS.get(_from_pretrained(AutoConfig, source).model_type)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load(
    model_id: str, *, quant: Any = "none", machine: Machine | None = None, dtype: str | None = None
) -> LoadedModel:
    """Load a causal language model for this machine.

    Args:
        model_id: ``tiny/NAME``, a local folder or a Hub id.
        quant: one of ``QUANTISATIONS``, or a ``BitsAndBytesConfig``.
        machine: from ``hardware.probe()``; decides device and compute dtype.
        dtype: another compute dtype than the machine's, by name.

    Returns:
        The model in evaluation mode on its device, with the CPU guard of 4-bit layers applied.

    Raises:
        ModelError: not found, gated, in a format that this GPU cannot compute in, or it does not fit into memory.
    """
    from transformers import AutoModelForCausalLM

    return load_with(AutoModelForCausalLM, model_id, quant=quant, machine=machine, dtype=dtype)


def load_with(
    kind: Any,
    model_id: str,
    *,
    quant: Any = "none",
    machine: Machine | None = None,
    dtype: str | None = None,
    kept: Sequence[str] = (),
    **options: Any,
) -> LoadedModel:
    """``load`` for any of transformers' auto classes; ``options`` go to its ``from_pretrained``.

    Args:
        kept: modules that a named ``quant`` leaves alone; see ``quantisation_config``.
    """
    import torch

    from helpers.machine import hardware
    from helpers.models.quantize_cpu import quicken_quantisation

    machine = machine or hardware.probe()
    check_quantisation(quant, machine)
    name = dtype or machine.dtype
    torch_dtype: torch.dtype = getattr(torch, name)
    source = resolve_model(model_id)
    config = quantisation_config(quant, torch_dtype, kept) if isinstance(quant, str) else quant
    options = {"dtype": torch_dtype} | options
    if ranks.sharded() and hasattr(config, "bnb_4bit_quant_storage"):
        config.bnb_4bit_quant_storage = torch_dtype  # FSDP shards floats, and casts those of another format
    if config is not None:
        options["quantization_config"] = config
    if machine.device == "cuda":
        options["device_map"] = {"": ranks.local_rank()}
    with quiet_loading():
        if machine.device == "cpu" and getattr(config, "load_in_4bit", False):
            quicken_quantisation()
        model = _from_pretrained(kind, source, weights=True, **options)
    guard_cpu_kernels(model)
    tokenizer = load_tokenizer(model_id)
    model.config.pad_token_id = tokenizer.pad_token_id
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.eval()
    return LoadedModel(model, tokenizer, source, name)


def weights_folder(model_id: str) -> Path:
    """Folder with a model's checkpoint, fetched and checked first where it is on the Hub.

    Raises:
        ModelError: not found, gated, or not in safetensors files.
    """
    source = resolve_model(model_id)
    place = Path(source.location)
    if source.origin == "hub":
        place = hub.fetch(model_id, hub.model_files, fail=ModelError).folder
    if not any(place.glob("model*.safetensors")):
        raise ModelError(f"{model_id} has no model.safetensors", "choose a model with safetensors weights")
    return place


def read_weight(model_id: str, name: str) -> torch.Tensor:
    """One tensor of a checkpoint, by name, without loading the rest.

    Raises:
        ModelError: the checkpoint has no safetensors file or no tensor of that name.
    """
    from safetensors import safe_open

    place = weights_folder(model_id)
    index, file = place / "model.safetensors.index.json", "model.safetensors"
    if index.is_file():
        file = json.loads(index.read_text())["weight_map"].get(name, file)
    path = place / file
    if not path.is_file():
        raise ModelError(f"{model_id} has no {file}", "choose a model with safetensors weights")
    with safe_open(path, framework="pt") as weights:
        names = list(weights.keys())
        if name not in names:
            raise ModelError(f"{model_id} has no tensor {name!r}", f"it has {', '.join(names[:4])}, …")
        tensor: torch.Tensor = weights.get_tensor(name)
    return tensor


def _from_pretrained(kind: Any, source: ModelSource, *, weights: bool = False, **options: Any) -> Any:
    """``kind.from_pretrained`` with the failures a reader can act on turned into one line.

    From the Hub: the files that are needed are fetched and checked first, and nothing else is read.

    Args:
        weights: whether they are needed, not only configuration, tokenizer and processor.
    """
    import torch

    if source.origin == "hub":
        found = hub.fetch(source.model_id, hub.model_files if weights else hub.small_files, fail=ModelError)
        options = {"revision": found.commit, "local_files_only": True} | options
        # Otherwise transformers has a Space of the Hub convert weights that are not safetensors, in the background.
        os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    try:
        return kind.from_pretrained(source.location, **options)
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(
            f"{source.model_id} does not fit into this GPU's memory", "use quant='nf4' or a smaller model_id"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(*explain(error, source.model_id)) from error


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide what loading prints and nobody needs: weight bars, a missing optional kernel, format notices."""
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in ("transformers", "bitsandbytes", "bitsandbytes.backends.cpu.ops")]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        transformers_logging.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()


def fingerprint(model: Any) -> str:
    """Short hash of the weights' names, shapes and a sample of their bytes: tells two models apart."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}{parameter.dtype}".encode())
        sample = parameter.detach().flatten()[:64].cpu()
        digest.update(sample.view(-1).float().numpy().tobytes())
    return digest.hexdigest()[:16]
