"""Risks as numbers: what a run keeps of each measurement, with its interval, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helpers.errors import ParameterError
from helpers.evaluation.before_after import BeforeAfter
from helpers.evaluation.intervals import Estimate
from helpers.hints import nearest_and_all
from helpers.runs import records
from helpers.runs.display import p_text, signed

# Risk → the question that its measurements answer.
RISKS = {
    "bias": "does it treat people alike?",
    "overfitting": "does it get worse on new data while it gets better on its own?",
    "privacy": "does it give away what it was trained on?",
    "misalignment": "does it still do as it is told, and refuse what it should?",
    "opacity": "can it be said which training rows an answer comes from?",
}
Row = dict[str, Any]


def row(risk: str, measure: str, found: BeforeAfter | Estimate) -> Row:
    """What metrics.json keeps: ``risk``, ``measure``, ``values`` by name, each with its interval, and the ``change``.

    Args:
        measure: what was measured, with its unit.
        found: one estimate, kept under the name "measured", or two with the paired test between them.

    Raises:
        ParameterError: a risk that is none of ``RISKS``.
    """
    if risk not in RISKS:
        raise ParameterError(f"unknown risk {risk!r}", nearest_and_all(risk, RISKS, "risk"))
    named: dict[str, Any] = {"measured": found}
    change: Row | None = None
    if isinstance(found, BeforeAfter):
        test = found.change
        named = {test.b: found.before, test.a: found.after}
        change = {key: records.rounded(getattr(test, key)) for key in ("difference", "low", "high", "p_value")}
        change |= {"test": test.test}
    return {"risk": risk, "measure": measure, "values": {n: _entry(e) for n, e in named.items()}, "change": change}


def _entry(estimate: Any) -> Row:
    return {key: records.rounded(getattr(estimate, key)) for key in ("value", "low", "high")} | {"n": int(estimate.n)}


def cells(found: Mapping[str, Any]) -> dict[str, str]:
    """A row as texts: risk, measure, "value [low, high]" under each name, and the change with its p."""
    values = "; ".join(_told(name, entry) for name, entry in found["values"].items())
    change = found["change"]
    told = "" if change is None else f"{signed(change['difference'])}, p {_p(change['p_value'])}, {change['test']}"
    return {"risk": found["risk"], "measure": found["measure"], "found": values, "change": told}


def line(found: Mapping[str, Any]) -> str:
    """A row as one line."""
    risk, *texts = filter(None, cells(found).values())
    return f"{risk}: {texts[0]}: {'; '.join(texts[1:])}"


def _told(name: str, entry: Mapping[str, Any]) -> str:
    found = [entry[key] for key in ("value", "low", "high")]
    counts = None not in found and all(float(x).is_integer() for x in found) and max(map(abs, found)) > 1
    value, low, high = (f"{x:.0f}" if counts else number(x) for x in found)
    return f"{'' if name == 'measured' else name + ' '}{value} [{low}, {high}] (n = {entry['n']})"


def number(value: float | None) -> str:
    """Three digits, no more than three behind the point."""
    return "–" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _p(value: float | None) -> str:
    return p_text(value) if value is not None and value < 0.001 else f"= {p_text(value)}"
