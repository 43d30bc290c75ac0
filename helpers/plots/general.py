"""General forms: bars, dots, lines; and what quantisation does to weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plots.style import GREY, MARKERS, PALETTE, name_rows, new_axes, one_axis, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bars(values: Mapping[str, float], xlabel: str, title: str = "", color: str = PALETTE[0]) -> Figure:
    """Horizontal bars in the given order, first on top; ``xlabel`` names quantity and unit."""
    with style():
        fig, axis = one_axis((6.4, 1.0 + 0.24 * len(values)))
        axis.barh(range(len(values)), list(values.values()), color=color, height=0.7)
        name_rows(axis, list(values), xlabel, title)
    return fig


def dots(
    series: Mapping[str, Mapping[str, float]],
    xlabel: str,
    limit: tuple[float, str] | None = None,
    log: bool = False,
    title: str = "",
) -> Figure:
    """One row per item, one dot per series: sizes of models in several formats, for example.

    Args:
        series: ``{series: {row: value}}``; rows in order of first appearance.
        limit: (value, name) of a dashed line, for example what a card holds.
        log: logarithmic axis, for values that span more than a factor of about 30.
    """
    rows = list(dict.fromkeys(row for values in series.values() for row in values))
    with style():
        fig, axis = one_axis((6.4, 1.2 + 0.36 * len(rows)))
        for i, (name, values) in enumerate(series.items()):
            y = [rows.index(row) for row in values]
            axis.plot(list(values.values()), y, ls="", marker=MARKERS[i], color=PALETTE[i], ms=6.5, label=name)
        if limit:
            axis.axvline(limit[0], color=GREY, ls="--", lw=1, label=limit[1])
        if log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        name_rows(axis, rows, xlabel, title, legend=True)
        axis.grid(axis="y", visible=True)
    return fig


def curves(
    x: Sequence[float], series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, title: str = ""
) -> Figure:
    """Lines over a common axis (memory against length, time against batch, vocabulary against text read)."""
    with style():
        fig, axis = one_axis((6.4, 3.6))
        for i, (name, values) in enumerate(series.items()):
            marker = None if len(x) > 25 else MARKERS[i % len(MARKERS)]
            axis.plot(x, values, color=PALETTE[i % len(PALETTE)], marker=marker, ms=4.5, label=name)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axis.set_ylim(bottom=0)
        if len(series) > 1:
            axis.legend()
    return fig


def quantisation_error(weights: Any, dequantised: Any, name: str = "one layer") -> Figure:
    """Weights of a layer beside their 4-bit reconstruction (left) and the error (right).

    Args:
        weights, dequantised: arrays or CPU tensors of one shape, in the weights' own unit.
    """
    w, q = (np.asarray(x, dtype=np.float32).ravel() for x in (weights, dequantised))
    if w.shape != q.shape:
        raise ValueError(f"weights have {w.size} entries, dequantised {q.size}")
    error = q - w
    relative = float(np.linalg.norm(error) / max(float(np.linalg.norm(w)), 1e-12))
    # Weights have long tails; the middle 99.8 % shows the shape, the far tail only stretches the axis.
    span = float(np.quantile(np.abs(w), 0.999)) or 1.0
    with style():
        fig, axes = new_axes(1, 2, (9.0, 3.2))
        bins = np.linspace(-span, span, 121).tolist()
        axes[0].hist(w, bins=bins, density=True, color=PALETTE[0], alpha=0.6, label="original")
        axes[0].hist(q, bins=bins, density=True, histtype="step", color=PALETTE[1], lw=1.1, label="read back")
        axes[0].set(xlabel="weight", ylabel="density", title=f"{name}: {w.size:,} weights")
        axes[0].legend()
        edge = float(np.quantile(np.abs(error), 0.999)) or 1.0
        narrow = np.linspace(-edge, edge, 81).tolist()
        axes[1].hist(error, bins=narrow, density=True, color=PALETTE[2], alpha=0.85)
        axes[1].set(xlabel="error (read back − original)", ylabel="density")
        axes[1].set_title(f"relative error ‖error‖ / ‖weights‖ = {relative:.1%}")
    return fig
