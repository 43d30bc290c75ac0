"""The place: RAM, disk, cores, Internet, access to the models on the Hub."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.machine.problems.base import Problem, Record, gpu_usable
from helpers.sources.hub_errors import GATED
from helpers.sources.tokens import how_to_set


@functools.cache
def _limits() -> dict[str, list[dict[str, Any]]]:
    """Limits by the key of the record that they are for (limits.toml)."""
    return tomllib.loads(Path(__file__).with_name("limits.toml").read_text(encoding="utf-8"))


def check_limits(record: Record) -> Iterator[Problem]:
    for key, limits in _limits().items():
        value = record.get(key)
        # 0 GB of RAM means that it could not be told; 0 GB of disk is a full disk.
        if value is None or (value == 0 and key.startswith("ram")):
            continue
        broken = (x for x in limits if value < x["below"] and (gpu_usable(record) or not x.get("gpu")))
        if limit := next(broken, None):
            yield Problem(limit["what"].format(value, limit["below"]), limit["cure"], limit["severity"])


def check_cores(record: Record) -> Iterator[Problem]:
    if record["cpu_count"] < 2 and not gpu_usable(record):
        yield Problem("one CPU core: times in the course are for two", "expect about twice as long", "warning")


def check_internet(record: Record) -> Iterator[Problem]:
    """Asked only where it matters; a record without the answer says nothing."""
    if record.get("internet") is not False:
        return
    if record["platform"] == "kaggle":
        what = "this session has no Internet: no package, model or data can be fetched"
        cure = "Settings > Internet on (the account needs a verified phone number), or attach models and data as inputs"
    else:
        what = "the Hugging Face Hub cannot be reached, profile full fetches from it"
        cure = "check the connection and the proxy; profile smoke needs neither"
    yield Problem(what, cure, "warning")


def check_hub_access(record: Record) -> Iterator[Problem]:
    """Gated models of the published projects; the course's own defaults are not gated."""
    states = record.get("hub_access") or {}
    no_token, bad_token, no_licence = (
        [model for model, state in states.items() if state == wanted]
        for wanted in ("no token", "bad token", "no licence")
    )
    set_token = how_to_set("HF_TOKEN", record["platform"])
    if no_token:
        what = f"HF_TOKEN is not set, and {', '.join(no_token)} are gated"
        yield Problem(what, f"to use them accept their licences on their pages, make a token, {set_token}", "note")
    if bad_token:
        what = f"the Hub does not accept HF_TOKEN (asked for {bad_token[0]})"
        yield Problem(what, f"make a new one on https://huggingface.co/settings/tokens, {set_token}", "warning")
    for model in no_licence:
        stand_in = f", or use model_id={GATED[model]!r}" if model in GATED else ""
        cure = f"open https://huggingface.co/{model} and accept it with the account of HF_TOKEN{stand_in}"
        yield Problem(f"the licence of {model} is not accepted yet", cure, "note")
