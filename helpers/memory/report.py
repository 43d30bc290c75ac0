"""A plan in words and numbers, and the machines that can be planned for without being there."""

from __future__ import annotations

import dataclasses
from typing import Any

from helpers.errors import ParameterError
from helpers.hints import did_you_mean
from helpers.memory.fit import Fit, assignments
from helpers.memory.planner import CARDS, CLOSE, CONTEXT, FITS, GB, Plan

MEASURED = "lesson 00 compares plans with published measurements"


def card_named(text: str) -> str:
    """The card in ``CARDS`` that a text means: "T4", "a100-80", "L4 24 GB".

    Raises:
        ParameterError: none or several.
    """
    wanted = "".join(c for c in text.lower() if c.isalnum())
    found = [name for name in CARDS if "".join(c for c in name.lower() if c.isalnum()).startswith(wanted)]
    if len(found) == 1:
        return found[0]
    near = "" if found else did_you_mean(text, [name.split()[0] for name in CARDS])
    raise ParameterError(f"card = {text!r} names {len(found) or 'no'} cards{near}", f"Cards: {', '.join(CARDS)}")


def machine_with(card: str, machine: Any) -> Any:
    """`machine` as it would be with a card of ``CARDS`` in it."""
    size, capability = CARDS[card]
    return dataclasses.replace(
        machine,
        device="cuda",
        device_name=card,
        capability=capability,
        gpu_memory_gb=size / GB,
        gpu_free_gb=size / GB,
        dtype="bfloat16" if capability >= (8, 0) else "float16",
    )


def without_card(machine: Any) -> Any:
    """`machine` without its GPU."""
    if machine.device == "cpu":
        return machine
    gone = {"capability": None, "gpu_memory_gb": 0.0, "gpu_free_gb": None}
    return dataclasses.replace(machine, device="cpu", dtype="float32", **gone)


def table(plan: Plan) -> str:
    """A line a part, and the sum."""
    lines = [f"  {row['part']:<20} {row['GB']:7.2f} GB  {row['share']:6.1%}" for row in plan.rows()]
    return "\n".join([*lines, f"  {'needed':<20} {plan.total / GB:7.2f} GB"])


def describe(fit: Fit) -> str:
    """A fit on a terminal: what is done, where the memory goes, on which cards it fits, what would make it fit."""
    lines = []
    for name, plan in fit.plans.items():
        job = plan.job
        kind = f"{job.method}, {job.quant} weights, {job.dtype}" + (", checkpointing" if job.checkpointing else "")
        rows = f"{job.batch_size} rows of {job.length} tokens"
        if job.trains and job.accumulation > 1:
            rows += f", {job.accumulation} passes an update"
        lines += [f"{name}: {job.model}, {kind}; {rows}", table(plan), ""]
    if fit.largest.job.device == "cuda":
        cards = fit.largest.cards()
        yes, near = ([name for name in CARDS if cards[name] == verdict] for verdict in (FITS, CLOSE))
        no = [name for name in CARDS if name not in yes + near]
        between = f"; close on {', '.join(near)}" if near else ""
        rest = f"; not on {', '.join(no)}" if no else ""
        lines.append(f"fits on {', '.join(yes) or 'none'}{between}{rest}")
    lines.append(str(fit))
    if not fit.fits:
        change = "nothing that was tried makes it fit" if fit.change is None else assignments(fit.change)
        lines.append(f"cheapest change: {change}")
    if fit.largest.job.device == "cuda":
        lines.append(f"(CUDA context taken as {CONTEXT / GB:.1f} GB; {MEASURED})")
    return "\n".join(lines)


def as_dict(fit: Fit) -> dict[str, Any]:
    """A fit, ready for JSON: sizes in GB."""
    return {
        "where": fit.where,
        "available_gb": round(fit.available / GB, 2),
        "fits": fit.fits,
        "verdict": fit.verdict,
        "change": fit.change,
        "plans": {
            name: {
                "job": dataclasses.asdict(plan.job),
                "needed_gb": round(plan.total / GB, 3),
                "allocated_gb": round(plan.allocated / GB, 3),
                "parts_gb": {row["part"]: round(row["GB"], 3) for row in plan.rows()},
            }
            for name, plan in fit.plans.items()
        },
    }
