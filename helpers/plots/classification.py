"""Classifiers: confusion, reliability, and accuracy over the amount of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plots.style import GREY, MARKERS, PALETTE, bounds, dot, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(counts: Any, labels: Sequence[str], title: str = "") -> Figure:
    """Confusion matrix: rows are true labels, columns predicted ones; shade is the share of the row.

    Args:
        counts: array (classes, classes) of examples.
        labels: names in the order of the rows.
    """
    table = np.asarray(counts)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = 1.6 + 0.9 * len(labels)
    with panels((size + 0.8, size)) as (fig, (axis,)):
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), part in np.ndenumerate(share):
            text, color = f"{table[row, column]}\n{part:.0%}", "white" if part > 0.55 else "#222222"
            axis.text(column, row, text, ha="center", va="center", color=color)
        axis.set_xticks(range(len(labels)), list(labels))
        axis.set_yticks(range(len(labels)), list(labels))
        axis.set(xlabel="predicted", ylabel="true", title=title)
        axis.grid(visible=False)
    return fig


def reliability(bins: Sequence[Any], title: str = "") -> Figure:
    """Accuracy against confidence with Wilson intervals, and how many examples each bin holds.

    Args:
        bins: from ``evaluation.calibration.reliability``.
    """
    if not bins:
        raise ValueError("no bins to draw")
    with panels((5.0, 5.0), 2, sharex=True, height_ratios=[3, 1]) as (fig, (top, bottom)):
        top.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1, label="as sure as right")
        for item in bins:
            dot(top, item.confidence, *bounds(item.accuracy), PALETTE[0], upright=True)
        top.plot([], [], color=PALETTE[0], lw=1.6, label="95 % interval (Wilson)")
        top.set(ylabel="share that is right", ylim=(0, 1.02), title=title)
        top.legend(loc="best")
        width = bins[0].high - bins[0].low
        bottom.bar([b.low for b in bins], [b.accuracy.n for b in bins], width, align="edge", color=GREY, alpha=0.7)
        bottom.set(xlabel="confidence (probability of the chosen label)", ylabel="examples", xlim=(0, 1.02))
    return fig


def learning_curve(
    series: Mapping[str, Mapping[int, Any]], xlabel: str, ylabel: str, chance: float | None = None, title: str = ""
) -> Figure:
    """A metric with its interval against the amount of data, on a logarithmic axis.

    Args:
        series: ``{name: {amount: estimate}}``.
        chance: drawn as a dashed line.
    """
    amounts = sorted({n for points in series.values() for n in points})
    with panels((6.0, 3.6)) as (fig, (axis,)):
        for i, (name, points) in enumerate(series.items()):
            x, color, marker = sorted(points), PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
            value, low, high = zip(*(bounds(points[n]) for n in x), strict=True)
            axis.plot(x, value, color=color, marker=marker, ms=5, label=name)
            axis.vlines(x, low, high, color=color, lw=1.4, alpha=0.7)
        if chance is not None:
            axis.axhline(chance, color=GREY, ls="--", lw=1, label="chance")
        axis.set_xscale("log")
        axis.set_xticks(amounts, [f"{n:,}" for n in amounts])
        axis.minorticks_off()
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(0, 1.02))
        axis.legend(loc="best")
    return fig
