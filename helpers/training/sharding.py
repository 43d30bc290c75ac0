"""Adapters of a model that FSDP2 has sharded: whole in every checkpoint, so that any number of processes can go on.

What is trained is small. It is gathered when it is saved and cut again when it is loaded: a checkpoint has the same
files whatever has written it, and a frozen, quantised base is never written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

WEIGHTS = "adapter_model.safetensors"


def is_sharded(model: nn.Module) -> bool:
    """Whether parts of the model are held by other processes."""
    return any(hasattr(parameter, "full_tensor") for parameter in model.parameters())


def whole(tensor: Any) -> torch.Tensor:
    """A tensor with the parts that other processes hold, on the CPU; all processes have to call it."""
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().cpu()


def cut_like(tensor: torch.Tensor, held: Any) -> Any:
    """A whole tensor, of which each process keeps the part that it holds of ``held``."""
    if not hasattr(held, "full_tensor"):
        return tensor.to(held.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(held.device), held.device_mesh, held.placements)


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Name → whole tensor of all that is trained; all processes have to call it.

    What FSDP has gathered for a pass is given back first. It may be there still, whole, and on some processes only:
    PEFT, which one process asks to save, gives it back there.
    """
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()
    return {name: whole(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_adapter(model: Any, folder: str | Path) -> None:
    """``model.save_pretrained`` for a model that may be sharded; all processes have to call it."""
    model.save_pretrained(folder, **({"state_dict": trained_state(model)} if is_sharded(model) else {}))


def load_adapter(model: nn.Module, folder: str | Path) -> None:
    """Put a saved adapter into a model with an adapter of the same shape, sharded or not.

    Raises:
        KeyError: the file has not got what is trained here.
    """
    from safetensors.torch import load_file

    saved = load_file(Path(folder, WEIGHTS))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                kept = name.replace(".modules_to_save.default", "").replace(".default", "")  # as PEFT names them
                parameter.copy_(cut_like(saved[kept], parameter))


def optimizer_state(optimizer: Any) -> dict[str, Any]:
    """``optimizer.state_dict()`` with whole tensors, as one process has it; all processes have to call it."""
    state = optimizer.state_dict()
    held = {
        number: {name: whole(value) if isinstance(value, torch.Tensor) else value for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": held}


def load_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Put what ``optimizer_state`` returned into an optimizer, whose parameters may be sharded."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    cut = {
        number: {
            name: cut_like(value, parameters[number]) if isinstance(value, torch.Tensor) and value.dim() else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": cut})


def shard_on_cpu(accelerator: Any, plugin: Any = None) -> None:
    """Let accelerate shard on CPUs over gloo, which it does on GPUs only: the code after this is the same.

    Args:
        accelerator: made without FSDP.
        plugin: FSDP's settings; ``None`` takes those that a launcher has put into the environment, with
            ``ACCELERATE_USE_FSDP``.
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    accelerator.state.fsdp_plugin = plugin or FullyShardedDataParallelPlugin()
    accelerator.state.distributed_type = DistributedType.FSDP
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
