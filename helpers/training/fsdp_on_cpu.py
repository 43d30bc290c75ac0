"""A model as accelerate wraps it for FSDP2, without a GPU, and without a trainer or an ``Accelerator`` around it."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def sharded(
    model: Any, *, precision: str = "no", reshard: bool = True, offload: bool = False, mesh: DeviceMesh | None = None
) -> Any:
    """A model as accelerate wraps it for FSDP2: its layers, embedding and head are units of their own.

    accelerate comes here on GPUs only; what it calls then works on a CPU too, and looks at few attributes of an
    ``Accelerator``. ``torch.distributed`` has to be ready.

    Args:
        precision: "bf16" or "fp16" to gather weights in; "no" leaves each as it is stored.
        reshard: a gathered unit is given back after its forward pass.
        offload: parts stay in the machine's memory.
        mesh: of the processes; all of them share one copy of the model without it.
    """
    import torch
    import torch.distributed as dist
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy

    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False,
        reshard_after_forward=reshard,
    )  # fmt: skip
    if precision != "no":
        plugin.set_mixed_precision(precision)
    if offload:
        plugin.cpu_offload = CPUOffloadPolicy(pin_memory=False)
    mesh = mesh or init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("dp_shard",))
    accelerator = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision=precision, is_main_process=False,
        device=torch.device("cpu"), torch_device_mesh=mesh,
        parallelism_config=SimpleNamespace(fsdp_dim_names=mesh.mesh_dim_names),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fsdp2_prepare_model(accelerator, model)


def local_bytes(tensor: Any) -> int:
    """Bytes of this process' part of a tensor."""
    own = getattr(tensor, "_local_tensor", tensor)
    return int(own.numel() * own.element_size())
