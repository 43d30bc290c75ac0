"""General forms: bars, dots, lines; and what quantisation does to weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plots.style import GREY, MARKERS, PALETTE, name_rows, new_axes, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bars(values: Mapping[str, float], xlabel: str, title: str = "", color: str = PALETTE[0]) -> Figure:
    """Horizontal bars in the given order, first on top; ``xlabel`` names quantity and unit."""
    with style():
        fig, axes = new_axes(1, 1, (6.4, 1.0 + 0.24 * len(values)))
        axes[0].barh(range(len(values)), list(values.values()), color=color, height=0.7)
        name_rows(axes[0], list(values))
        axes[0].set_xlabel(xlabel)
        axes[0].grid(axis="y", visible=False)
        axes[0].set_title(title)
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
        fig, axes = new_axes(1, 1, (6.4, 1.2 + 0.36 * len(rows)))
        axis = axes[0]
        for i, (name, values) in enumerate(series.items()):
            y = [rows.index(row) for row in values]
            axis.plot(list(values.values()), y, ls="", marker=MARKERS[i], color=PALETTE[i], ms=6.5, label=name)
        if limit:
            axis.axvline(limit[0], color=GREY, ls="--", lw=1, label=limit[1])
        if log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        name_rows(axis, rows)
        axis.set_xlabel(xlabel)
        axis.grid(axis="y", visible=True)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axis.set_title(title)
    return fig


def curves(
    x: Sequence[float], series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, title: str = ""
) -> Figure:
    """Lines over a common axis (memory against length, time against batch, vocabulary against text read)."""
    with style():
        fig, axes = new_axes(1, 1, (6.4, 3.6))
        for i, (name, values) in enumerate(series.items()):
            dense = len(x) > 25
            marker = None if dense else MARKERS[i % len(MARKERS)]
            axes[0].plot(x, values, color=PALETTE[i % len(PALETTE)], marker=marker, ms=4.5, label=name)
        axes[0].set(xlabel=xlabel, ylabel=ylabel)
        axes[0].set_ylim(bottom=0)
        axes[0].set_title(title)
        if len(series) > 1:
            axes[0].legend()
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
