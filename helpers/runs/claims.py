"""What a lesson claims of its own data, and what became of each claim on the data of this run.

A claim is no law: it was found on the course's data, with the course's settings. There it is checked. Anywhere else
it is reported, with its figures, as something that was found or was not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from helpers.runs import records
from helpers.runs.display import p_text, signed

if TYPE_CHECKING:
    from helpers.evaluation.statistics import TestResult


@dataclass(frozen=True)
class Claim:
    """One claim of a lesson.

    Attributes:
        sentence: what should hold.
        holds: whether it does; None where this data has not got the figures that it needs.
        found: the figures; without them, why there are none.
        checked: the run is the course's own, so it has to hold.
    """

    sentence: str
    holds: bool | None
    found: str
    checked: bool

    @property
    def failed(self) -> bool:
        return self.checked and not self.holds

    def __str__(self) -> str:
        if self.holds is None:
            told = "could not be measured here"
        elif self.checked:
            told = "holds" if self.holds else "does NOT hold"
        else:
            told = "holds here too" if self.holds else "not found here"
        return f"{told}: {self.sentence}" + (f": {self.found}" if self.found else "")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def of_difference(test: TestResult | None, below: float, falls: bool) -> tuple[bool | None, str]:
    """Whether a paired test shows a clear difference in the direction claimed, and its figures.

    Args:
        test: None where nothing could be compared.
        below: p has to be smaller than this.
        falls: a − b has to be below 0 rather than above.
    """
    if test is None:
        return None, "there is nothing to compare"
    difference, low, high, p = (records.rounded(v) for v in (test.difference, test.low, test.high, test.p_value))
    figures = f"{test.metric} {signed(difference)} [{signed(low)}, {signed(high)}]"
    if difference is None or p is None:
        return None, f"{figures}, no p value"
    rightly = difference < 0 if falls else difference > 0
    return rightly and p < below, f"{figures}, p {'' if p < 0.001 else '= '}{p_text(p)}"


def failures(claims: Iterable[Claim]) -> str:
    """One line with every claim that had to hold and does not; "" where there is none."""
    wrong = [c.sentence + (f" ({c.found})" if c.found else "") for c in claims if c.failed]
    return "; ".join(wrong)
