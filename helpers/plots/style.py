"""The look of the course's figures, and the few parts that all of them are made of.

Colours are those of Okabe and Ito (2008), which people with the common kinds of colour blindness tell apart; series
differ in their markers too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#8C8C8C"
METRIC_LABELS = {
    "accuracy": "accuracy (0–1)", "macro_f1": "macro F1 (0–1)", "valid_rate": "valid answers (share)",
    "perplexity": "perplexity (lower is better)", "bleu": "BLEU (0–1)", "bleu1": "BLEU-1 (0–1)",
    "bleu4": "BLEU-4 (0–1)", "rouge1": "ROUGE-1 (0–1)", "rouge2": "ROUGE-2 (0–1)", "rougeL": "ROUGE-L (0–1)",
    "meteor": "METEOR (0–1)", "cosine": "embedding cosine", "clip_score": "CLIPScore (0–2.5)",
    "slot_accuracy": "slot accuracy (0–1)", "harmonic_mean": "harmonic mean (0–1)", "auc": "AUC (0–1)",
}  # fmt: skip


@contextmanager
def panels(
    size: tuple[float, float], rows: int = 1, columns: int = 1, title: str = "", **options: Any
) -> Iterator[Any]:
    """A figure in the course's style and its panels row by row, to be drawn on inside the ``with``.

    pyplot no longer tracks it: else a notebook would draw it twice and keep it in memory.

    Args:
        size: width and height in inches.
        title: above all panels.
        options: for ``pyplot.subplots``.
    """
    import matplotlib.pyplot as plt

    with plt.style.context(Path(__file__).with_name("lab.mplstyle")):
        fig, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
        plt.close(fig)
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
        yield fig, list(grid.flat)


def series_of(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one column; rows without it, or with NaN, are left out."""
    pairs = [(float(r["step"]), float(r[key])) for r in history if r.get(key) not in (None, "")]
    pairs = [(x, y) for x, y in pairs if not math.isnan(y)]
    return [x for x, _ in pairs], [y for _, y in pairs]


def bounds(estimate: Any) -> tuple[float, float, float]:
    """Value, low and high of an estimate, which has them as keys or as attributes."""
    found = estimate if isinstance(estimate, Mapping) else vars(estimate)
    return float(found["value"]), float(found["low"]), float(found["high"])


def dot(
    axis: Axes, at: float, value: float, low: float, high: float, color: str, marker: str = "o",
    size: float = 5.5, upright: bool = False,
) -> None:  # fmt: skip
    """A value and its interval, lying at height ``at`` or, ``upright``, standing at that place of the x axis."""
    span, point = ([at, at], [low, high]), ([at], [value])
    if not upright:
        span, point = span[::-1], point[::-1]
    axis.plot(*span, color=color, lw=1.6, solid_capstyle="butt")
    axis.plot(*point, color=color, marker=marker, ms=size)


def name_rows(axis: Axes, names: Sequence[str], xlabel: str, title: str = "", legend: bool = False) -> None:
    """Name the rows 0..n-1 on the y axis, first on top, and the axis below; a legend stands on the right."""
    axis.set_yticks(range(len(names)), [str(n) for n in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=xlabel, title=title)
    if legend:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
