"""Trainings on several gloo processes, measured: what each rank holds, what goes over the wire, and the peak.

``python tests/rank_cases.py CASES.json RESULTS.json`` runs all cases of a file, one after the other, on as many
processes as each asks for. The processes are forked when everything is imported, so that this is paid for once; they
meet in a file, no port is taken. ``measured`` does it for a test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from forks import failed_ranks

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # that a collective may take


def measured(cases: Sequence[dict[str, Any]], seconds: float = 600) -> list[list[dict[str, Any]]]:
    """Run cases, each a dictionary for ``case``, in a process of their own.

    Returns:
        A list of the ranks' results for each case.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, results = Path(folder, "cases.json"), Path(folder, "results.json")
        given.write_text(json.dumps(cases))
        quiet = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if sys.platform == "linux":
            quiet["GLOO_SOCKET_IFNAME"] = "lo"
        done = subprocess.run(
            [sys.executable, __file__, str(given), str(results)],
            cwd=ROOT, env=os.environ | quiet, capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
        return json.loads(results.read_text())


def main(given: Path, results: Path) -> int:
    _import()
    cases = json.loads(given.read_text())
    for world in sorted({row["spread"]["count"] for row in cases}):
        chosen = [(n, row) for n, row in enumerate(cases) if row["spread"]["count"] == world]
        meeting = f"{results}.{world}.meeting"
        if failed := failed_ranks(world, partial(_rank, world, meeting, chosen, results)):
            print(f"ranks {failed} of {world} failed", file=sys.stderr)
            return 1
    found = [
        [json.loads(Path(f"{results}.{n}.{rank}").read_text()) for rank in range(row["spread"]["count"])]
        for n, row in enumerate(cases)
    ]
    results.write_text(json.dumps(found))
    return 0


def _import() -> None:
    sys.path.insert(0, str(ROOT))
    import accelerate.utils.fsdp_utils  # noqa: F401
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch.distributed.tensor
    import torch.testing._internal.distributed.fake_pg
    import transformers  # noqa: F401

    import helpers.memory.counted
    import helpers.memory.measure  # noqa: F401

    torch.set_num_threads(1)


def _rank(world: int, meeting: str, cases: list[Any], results: Path, rank: int) -> None:
    import torch.distributed as dist

    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world, timeout=timedelta(seconds=SECONDS)
    )
    for number, row in cases:
        Path(f"{results}.{number}.{rank}").write_text(json.dumps(case(row)))
    dist.destroy_process_group()


def case(row: dict[str, Any]) -> dict[str, Any]:
    """One training on this rank.

    Args:
        row: "job", "spread": fields of both; "peak": whether to measure it too; "fails": whether the first step is
            expected to raise.
    """
    import torch

    from helpers.memory import steps
    from helpers.memory.batches import batch
    from helpers.memory.counted import Counted
    from helpers.memory.jobs import Job
    from helpers.memory.spread import Spread
    from helpers.models.skeletons import configuration
    from helpers.training.fsdp_on_cpu import local_bytes

    job, spread = Job(**row["job"]), Spread(**row["spread"])
    model = _loaded(job, spread)
    inputs = batch(job, configuration(job.model))
    with torch.no_grad():
        found: dict[str, Any] = {"loss before": float(steps.loss_of(job, model, inputs))}
    if row.get("peak"):
        found["peak"] = _peak(job, spread, model, inputs)
        model = _loaded(job, spread)
    model = wrapped(job, spread, model)
    found["loss"] = []
    if row.get("fails"):
        try:
            steps.loss_of(job, model, inputs)
        except Exception as error:
            return found | {"error": f"{type(error).__name__}: {error}"}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    for _ in range(3):  # the third is like all that follow; DDP orders its buckets anew in the second
        with Counted() as counted:
            for left in reversed(range(job.accumulation)):
                with _sync(model, spread, left == 0):
                    loss = steps.loss_of(job, model, inputs)
                    (loss / job.accumulation).backward()
                    found["loss"].append(float(loss.detach()))
        found["gradients"] = sum(local_bytes(p.grad) for p in trained if p.grad is not None)
        with Counted() as norms:
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    found["wire"], found["norms"] = counted.sums(), norms.sums()
    found["parameters"] = sum(local_bytes(p) for p in model.parameters())
    states = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    found["optimizer states"] = sum(map(local_bytes, states))
    found["units"] = units(model)
    return found


def _loaded(job: Any, spread: Any) -> Any:
    import torch
    from peft import get_peft_model

    from helpers import models
    from helpers.memory.build import lora_config
    from helpers.memory.measure import finished
    from helpers.models.quantize import quantisation_config

    torch.manual_seed(0)  # the same adapters on every process
    config = quantisation_config(job.quant, getattr(torch, job.dtype)) if job.quant != "none" else "none"
    if job.quant != "none":
        config.bnb_4bit_quant_storage = getattr(torch, spread.storage)
    options = {"quant": config, "dtype": job.dtype, "machine": _here()}
    model: Any = models.load(job.model, **options).model
    model.requires_grad_(job.method == "full")
    if job.method == "lora":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_peft_model(model, lora_config(job))
    return finished(model, job)


@lru_cache
def _here() -> Any:
    """This machine without its GPU."""
    from helpers.machine import hardware
    from helpers.memory.report import without_card

    return without_card(hardware.probe())


def wrapped(job: Any, spread: Any, model: Any, fake: bool = False) -> Any:
    """The model as accelerate wraps it on each process.

    Args:
        fake: nothing is really sent. Gloo copies what it gathers once more, which NCCL does not.
    """
    import torch

    from helpers.memory.spread import gathered_in
    from helpers.training.fsdp_on_cpu import sharded

    if not spread.sharded:
        return torch.nn.parallel.DistributedDataParallel(model)
    precision = {"bfloat16": "bf16", "float16": "fp16", None: "no"}[gathered_in(job)]
    return sharded(model, precision=precision, reshard=spread.frees, offload=spread.offloads, mesh=_mesh(spread, fake))


def _mesh(spread: Any, fake: bool) -> Any:
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

    names = ("dp_replicate", "dp_shard") if spread.copies > 1 else ("dp_shard",)
    sizes = (spread.copies, spread.shard) if spread.copies > 1 else (spread.shard,)
    if not fake:
        return init_device_mesh("cpu", sizes, mesh_dim_names=names)
    ranks = torch.arange(spread.count).view(sizes)
    kinds = [[*ranks.T], [*ranks]] if spread.copies > 1 else [[ranks]]
    # Every process makes every group, and keeps those that it is in.
    made = [[(row.tolist(), dist.new_group(row.tolist(), backend="fake")) for row in rows] for rows in kinds]
    own = [next(group for row, group in groups if dist.get_rank() in row) for groups in made]
    return DeviceMesh.from_group(own if len(own) > 1 else own[0], "cpu", mesh=ranks, mesh_dim_names=names)


def _sync(model: Any, spread: Any, on: bool) -> Any:
    """As ``Accelerator.no_sync`` does it where it is not on."""
    from contextlib import contextmanager, nullcontext

    if not spread.sharded:
        return nullcontext() if on else model.no_sync()

    @contextmanager
    def off() -> Any:
        model.set_requires_gradient_sync(on)
        yield

    return off()


def units(model: Any) -> list[tuple[int, int, bool]]:
    """(parameters, bytes of this rank's padded part, whether it is given back after its forward pass) of each unit."""
    from torch.distributed.fsdp._fully_shard._fsdp_state import _get_module_fsdp_state

    from helpers.training.fsdp_on_cpu import local_bytes

    states = {id(s): s for m in model.modules() if (s := _get_module_fsdp_state(m)) is not None}
    groups = [group for state in states.values() for group in state._fsdp_param_groups]
    return sorted(
        (len(g.fsdp_params), sum(local_bytes(p._sharded_param_data) for p in g.fsdp_params), g._reshard_after_forward)
        for g in groups
    )


def _peak(job: Any, spread: Any, model: Any, inputs: dict[str, Any]) -> int | None:
    """Most bytes at once from after the sharding to the end of a step; of the first rank, the others only take part."""
    import torch.distributed as dist

    from helpers.memory import steps
    from helpers.memory.measure import profiled_peak, storages

    first = dist.get_rank() == 0
    if not spread.sharded:
        held = sum(storages(model, inputs).values())

        def ddp() -> None:
            whole = wrapped(job, spread, model)
            for _ in range(2):
                steps.train(job, whole, inputs)

        return held + profiled_peak(ddp) if first else ddp()
    model = wrapped(job, spread, model, fake=True)
    held = _held(model, inputs)
    plain = job.but(mixed=False)  # no autocast: FSDP casts
    return held + profiled_peak(lambda: steps.train(plain, model, inputs)) if first else None


def _held(model: Any, inputs: dict[str, Any]) -> int:
    """Bytes of all storages of a sharded model: local parts with their padding, buffers, scales."""
    import torch

    tensors = [getattr(p, "_local_tensor", p) for p in model.parameters()] + [*model.buffers(), *inputs.values()]
    for module in model.modules():
        state = getattr(module, "quant_state", None)
        for owner in (state, getattr(state, "state2", None)):
            tensors += [t for t in vars(owner).values() if isinstance(t, torch.Tensor)] if owner is not None else []
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
