"""FSDP2 without a GPU: what accelerate does for ``distributed_type: FSDP``, where it has no branch for it.

accelerate takes its FSDP branch on GPUs only; on a CPU it would ignore the plugin. The functions that the branch calls
work on a CPU too (``fsdp2_prepare_model``, ``save_fsdp_model``), and look at few attributes of an ``Accelerator``.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.device_mesh import DeviceMesh


def cpu_accelerator(plugin: FullyShardedDataParallelPlugin, mesh: DeviceMesh | None = None) -> Any:
    """What accelerate's functions for FSDP2 look at of an ``Accelerator``; ``torch.distributed`` has to be ready.

    Args:
        plugin: FSDP's settings, with its mixed precision set.
        mesh: of the processes; all of them share one copy of the model without it.
    """
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    mesh = mesh or init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("dp_shard",))
    policy = getattr(plugin.mixed_precision_policy, "param_dtype", None)
    return SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin), device=torch.device("cpu"), torch_device_mesh=mesh,
        mixed_precision={torch.bfloat16: "bf16", torch.float16: "fp16"}.get(policy, "no"),
        parallelism_config=SimpleNamespace(fsdp_dim_names=mesh.mesh_dim_names), is_fsdp2=True,
        num_processes=dist.get_world_size(), process_index=dist.get_rank(), is_main_process=False,
        wait_for_everyone=dist.barrier,
    )  # fmt: skip


def sharded(
    model: Any, *, precision: str = "no", reshard: bool = True, offload: bool = False, mesh: DeviceMesh | None = None
) -> Any:
    """A model as accelerate wraps it for FSDP2: its layers, embedding and head are units of their own.

    Args:
        precision: "bf16" or "fp16" to gather weights in; "no" leaves each as it is stored.
        reshard: a gathered unit is given back after its forward pass.
        offload: parts stay in the machine's memory.
        mesh: of the processes, see ``cpu_accelerator``.
    """
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False,
        reshard_after_forward=reshard,
    )  # fmt: skip
    if precision != "no":
        plugin.set_mixed_precision(precision)
    if offload:
        from torch.distributed.fsdp import CPUOffloadPolicy

        plugin.cpu_offload = CPUOffloadPolicy(pin_memory=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fsdp2_prepare_model(cpu_accelerator(plugin, mesh), model)


def local_bytes(tensor: Any) -> int:
    """Bytes of this process' part of a tensor."""
    own = getattr(tensor, "_local_tensor", tensor)
    return int(own.numel() * own.element_size())
