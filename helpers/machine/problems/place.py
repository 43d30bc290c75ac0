"""The place: RAM, disk, cores, Internet, access to the models on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from helpers.machine.problems.base import Problem, Record, gpu_usable
from helpers.sources.hub_errors import GATED
from helpers.sources.tokens import how_to_set

CPU_RAM_GB, SMOKE_RAM_GB = 7.0, 3.0  # cpu peaks under 6 GB, smoke under 2, the system takes the rest
CPU_DISK_GB, LEAST_DISK_GB = 4.0, 1.0
FULL_DISK_GB, HUB_DISK_GB = 8.0, 30.0  # checkpoints of profile full; its models and data from the Hub


@dataclass(frozen=True)
class Limit:
    """A number of the record that should not be ``below`` so much; ``gpu``: only where profile full could run."""

    key: str
    below: float
    severity: str
    what: str
    cure: str
    gpu: bool = False


_LARGER = f"use a machine with {CPU_RAM_GB:.0f} GB"
_FEWER = "use profile smoke, or lower batch_size and max_length"
_OUTPUTS, _ASSETS = "{0:.1f} GB of disk left for outputs", "{0:.1f} GB of disk left for assets"
_MOVE = "free some, or set output_dir to a larger disk"
_MODELS, _HOME = "{0:.1f} GB of disk left for models", "free some, or set HF_HOME to a larger disk before Python starts"
_CACHE = "free some, or set PEFT_LAB_CACHE to a larger disk"
# fmt: off
# Of the limits of one key the first that is broken counts.
LIMITS = (
    Limit("ram_gb", SMOKE_RAM_GB, "error", "{0:.1f} GB of RAM is too little", _LARGER),
    Limit("ram_gb", CPU_RAM_GB, "warning", "{0:.1f} GB of RAM, profile cpu is made for {1:.0f} GB", _FEWER),
    Limit("ram_free_gb", 2.0, "warning", "only {0:.1f} GB of RAM is free", "close other programs and other notebooks"),
    Limit("disk_free_gb", LEAST_DISK_GB, "error", _OUTPUTS + " is too little", _MOVE),
    Limit("disk_free_gb", CPU_DISK_GB, "warning", _OUTPUTS + ", profile cpu may need {1:.0f}", _MOVE),
    Limit("disk_free_gb", FULL_DISK_GB, "warning", _OUTPUTS + ", profile full may need {1:.0f}", _MOVE, gpu=True),
    Limit("cache_free_gb", LEAST_DISK_GB, "error", _ASSETS + " is too little", _CACHE),
    Limit("cache_free_gb", CPU_DISK_GB, "warning", _ASSETS + ", profile cpu may need {1:.0f}", _CACHE),
    Limit("hub_free_gb", HUB_DISK_GB, "warning", _MODELS + ", profile full may need {1:.0f}", _HOME, gpu=True),
)
# fmt: on


def check_limits(record: Record) -> Iterator[Problem]:
    told = set()
    for limit in LIMITS:
        value = record.get(limit.key)
        # 0 GB of RAM means that it could not be told; 0 GB of disk is a full disk.
        unknown = value is None or (value == 0 and limit.key.startswith("ram"))
        if unknown or limit.key in told or float(value or 0) >= limit.below:
            continue
        if limit.gpu and not gpu_usable(record):
            continue
        told.add(limit.key)
        yield Problem(limit.what.format(float(value or 0), limit.below), limit.cure, limit.severity)


def check_cores(record: Record) -> Iterator[Problem]:
    if int(record["cpu_count"]) < 2 and not gpu_usable(record):
        yield Problem("one CPU core: times in the course are for two", "expect about twice as long", "warning")


def check_internet(record: Record) -> Iterator[Problem]:
    """Asked only where it matters; a record without the answer says nothing."""
    if record.get("internet") is not False:
        return
    if record["platform"] == "kaggle":
        cure = "Settings > Internet on (the account needs a verified phone number), or attach models and data as inputs"
        yield Problem("this session has no Internet: no package, model or data can be fetched", cure, "warning")
    else:
        cure = "check the connection and the proxy; profile smoke needs neither"
        yield Problem("the Hugging Face Hub cannot be reached, profile full fetches from it", cure, "warning")


def check_hub_access(record: Record) -> Iterator[Problem]:
    """Gated models of the published projects; the course's own defaults are not gated."""
    platform = "" if record["platform"] == "local" else record["platform"]
    states: dict[str, list[str]] = {}
    for model, state in (record.get("hub_access") or {}).items():
        states.setdefault(state, []).append(model)
    set_token = how_to_set("HF_TOKEN", platform)
    if models := states.get("no token"):
        what = f"HF_TOKEN is not set, and {', '.join(models)} are gated"
        yield Problem(what, f"to use them accept their licences on their pages, make a token, {set_token}", "note")
    if models := states.get("bad token"):
        what = f"the Hub does not accept HF_TOKEN (asked for {models[0]})"
        yield Problem(what, f"make a new one on https://huggingface.co/settings/tokens, {set_token}", "warning")
    for model in states.get("no licence", ()):
        stand_in = f", or use model_id={GATED[model]!r}" if model in GATED else ""
        cure = f"open https://huggingface.co/{model} and accept it with the account of HF_TOKEN{stand_in}"
        yield Problem(f"the licence of {model} is not accepted yet", cure, "note")
