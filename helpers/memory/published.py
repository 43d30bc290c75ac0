"""Plans beside published measurements: what others measured, what is planned for the same job, and why they differ.

``published.toml`` holds the measurements, each with its source; ``published_plans.json`` what was planned for them,
since planning all of them takes minutes (``python benchmarks/planned_memory.py --published`` makes it again).
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.memory.jobs import Job
from helpers.memory.older import THEN
from helpers.memory.planner import CONTEXT, Plan, plan

MEASUREMENTS = Path(__file__).with_name("published.toml")
PLANS = Path(__file__).with_name("published_plans.json")
AGREES = 0.07  # a ratio further from 1 needs a cause
UNITS = {"GB": 10**9, "GiB": 2**30}
OWN_KEYS = {"name", "like", "published", "then"}  # of a row; all others are fields of its job


@dataclass(frozen=True)
class Measurement:
    """One published figure.

    Attributes:
        source: who measured, with what, and what is not known, as in ``published.toml``.
        published: in ``source["unit"]``.
        then: how the software of that time differed, keys of ``THEN``.
    """

    name: str
    source: dict[str, Any]
    job: Job
    published: float
    then: tuple[str, ...] = ()

    def planned(self) -> float:
        """What is planned for the job with the software that is installed, in the source's unit and way to count."""
        return self._in_units(plan(self.job))

    def planned_then(self) -> float:
        """The same with the software of that time, as far as ``then`` says."""
        with ExitStack() as stack:
            for difference in self.then:
                stack.enter_context(THEN[difference]())
            return self._in_units(plan.__wrapped__(self.job))

    def _in_units(self, found: Plan) -> float:
        # On a card with room left the allocator gives nothing back; nvidia-smi shows CUDA's own part too.
        reserved = found.allocator.reserved
        counted = {"allocated": found.allocated, "reserved": reserved, "unknown": reserved + CONTEXT}
        return round(counted[self.source["counts"]] / UNITS[self.source["unit"]], 3)


@functools.lru_cache(maxsize=1)
def measurements() -> tuple[Measurement, ...]:
    """All published figures, in the order of ``published.toml``."""
    kept = tomllib.loads(MEASUREMENTS.read_text(encoding="utf-8"))
    found = []
    for row in kept["row"]:
        shared = kept["jobs"][row["like"]]
        source = kept["sources"][shared["source"]]
        fields = {name: value for name, value in (shared | row).items() if name not in OWN_KEYS | {"source"}}
        job = Job(**fields, capability=tuple(source["capability"]))
        found.append(Measurement(row["name"], source, job, row["published"], tuple(row.get("then", ()))))
    return tuple(found)


def comparison() -> list[dict[str, Any]]:
    """A row a published figure, for a table: what was measured, planned (as kept in ``published_plans.json``), why.

    "ratio" is planned / published; "then" the same planned with the software of that time, where the row says how it
    differed; "says" is "agrees" within ``AGREES``, "explained" where that other plan agrees, else "unexplained".
    """
    plans = json.loads(PLANS.read_text(encoding="utf-8"))["plans"]
    rows = []
    for m in measurements():
        kept = plans[m.name]
        ratio = kept["planned"] / m.published
        then = kept["then"] / m.published if m.then else None
        rows.append(
            {
                "what": m.name, "source": m.source["title"], "date": m.source["date"], "counts": m.source["counts"],
                "unit": m.source["unit"], "published": m.published, "planned": round(kept["planned"], 2),
                "ratio": round(ratio, 3), "then": then and round(then, 3), "says": verdict(ratio, then),
                "why": "; ".join(m.then),
            }
        )  # fmt: skip
    return rows


def verdict(ratio: float, then: float | None) -> str:
    """ "agrees", "explained" or "unexplained"; see ``comparison``."""
    if abs(ratio - 1) <= AGREES:
        return "agrees"
    return "explained" if then is not None and abs(then - 1) <= AGREES else "unexplained"


def plan_all() -> dict[str, Any]:
    """What ``published_plans.json`` holds, made anew: minutes."""
    plans = {}
    for m in measurements():
        plans[m.name] = {"planned": m.planned()} | ({"then": m.planned_then()} if m.then else {})
    return {"software": _software(), "plans": plans}


def keep(found: dict[str, Any]) -> None:
    """Write what ``plan_all`` gave to ``published_plans.json``."""
    PLANS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _software() -> dict[str, str]:
    from helpers.machine.versions import installed_version

    return {name: installed_version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of ``comparison``'s rows: how many there are, how many agree, and the median and largest |ratio - 1|."""
    from statistics import median

    off = [abs(row["ratio"] - 1) for row in rows]
    return {"n": len(rows), "agree": sum(error <= AGREES for error in off), "median": median(off), "largest": max(off)}
