"""Classifiers: confusion, reliability, and accuracy over the amount of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plots.style import GREY, MARKERS, PALETTE, bounds, new_axes, one_axis, style

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
    with style():
        size = 1.6 + 0.9 * len(labels)
        fig, axis = one_axis((size + 0.8, size))
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row in range(len(labels)):
            for column in range(len(labels)):
                dark = share[row, column] > 0.55
                text = f"{table[row, column]}\n{share[row, column]:.0%}"
                axis.text(column, row, text, ha="center", va="center", color="white" if dark else "#222222")
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
    with style():
        fig, axes = new_axes(2, 1, (5.0, 5.0), sharex=True, ratios=[3, 1])
        top, bottom = axes
        top.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1, label="as sure as right")
        for item in bins:
            value, low, high = bounds(item.accuracy)
            top.plot([item.confidence] * 2, [low, high], color=PALETTE[0], lw=1.6, solid_capstyle="butt")
            top.plot([item.confidence], [value], color=PALETTE[0], marker=MARKERS[0], ms=5.5)
        top.set(ylabel="share that is right", ylim=(0, 1.02), title=title)
        top.legend(loc="upper left")
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
    with style():
        fig, axis = one_axis((6.0, 3.6))
        for i, (name, points) in enumerate(series.items()):
            x = sorted(points)
            rows = [bounds(points[n]) for n in x]
            color, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
            axis.plot(x, [value for value, _, _ in rows], color=color, marker=marker, ms=5, label=name)
            for n, (_, low, high) in zip(x, rows, strict=True):
                axis.plot([n, n], [low, high], color=color, lw=1.4, alpha=0.7)
        if chance is not None:
            axis.axhline(chance, color=GREY, ls="--", lw=1, label="chance")
        axis.set_xscale("log")
        axis.set_xticks(amounts, [f"{n:,}" for n in amounts])
        axis.minorticks_off()
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axis.set_ylim(0, 1.02)
        axis.legend(loc="best")
    return fig
