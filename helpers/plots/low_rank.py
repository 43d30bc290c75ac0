"""What penalties do to the rank of an update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plots.style import GREY, MARKERS, PALETTE, bounds, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def spectra(values: Mapping[str, Sequence[Sequence[float]]], title: str = "") -> Figure:
    """Singular values within a layer from the largest on, as shares of it, mean over layers, on logarithmic axes.

    Args:
        values: name → singular values of each layer, in any order; layers with none but 0 are left out.
    """
    with panels((6.4, 3.8)) as (fig, (axis,)):
        for i, (name, layers) in enumerate(values.items()):
            falling = _mean_of([found / found[0] for found in map(_falling, layers) if found[0] > 0])
            style = {"color": PALETTE[i % len(PALETTE)], "marker": "o" if len(falling) == 1 else None, "ms": 4.5}
            axis.plot(1 + np.arange(len(falling)), falling, label=name, **style)
        axis.set(xscale="log", yscale="log", xlabel="direction within a layer, strongest first", title=title)
        axis.set(ylabel="singular value / largest", ylim=(max(1e-6, axis.dataLim.minposy / 2), 1.5))
        axis.legend()
    return fig


def _falling(found: Sequence[float]) -> np.ndarray:
    return np.sort(np.asarray(found, dtype=float))[::-1]


def _mean_of(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of rows of different lengths, place by place, over those that reach so far."""
    longest = max(map(len, rows), default=0)
    return np.array([np.mean([row[place] for row in rows if len(row) > place]) for place in range(longest)])


def low_rank(
    strengths: Sequence[float],
    ranks: Mapping[str, Sequence[float]],
    quality: Mapping[str, Sequence[Any]],
    values: Mapping[float, Sequence[Sequence[float]]],
    ylabel: str,
    without: tuple[float, Any],
) -> Figure:
    """Effective rank, quality and singular values under penalties of growing strength.

    Args:
        strengths: of the penalty, rising.
        ranks: penalty → effective rank at each strength.
        quality: penalty → estimate with its interval at each strength; in the unit of ``ylabel``.
        values: strength → singular values of each layer under the first penalty; their mean over layers is drawn.
        without: effective rank and quality without a penalty, dashed.
    """
    with panels((11.0, 3.6), 1, 3) as (fig, (left, middle, right)):
        for i, name in enumerate(ranks):
            style = {"color": PALETTE[i], "marker": MARKERS[i], "ms": 4.5, "label": name}
            left.plot(strengths, ranks[name], **style)
            value, low, high = np.array([bounds(estimate) for estimate in quality[name]]).T
            middle.plot(strengths, value, **style)
            middle.fill_between(strengths, low, high, color=PALETTE[i], alpha=0.15, lw=0)
        left.set(
            xscale="log",
            ylim=(0, 1.1 * max(without[0], *map(max, ranks.values()))),
            xlabel="strength of the penalty",
            ylabel="effective rank of the update",
        )
        middle.set(xscale="log", xlabel="strength of the penalty", ylabel=ylabel)
        for axis, value in ((left, without[0]), (middle, bounds(without[1])[0])):
            axis.axhline(value, color=GREY, ls="--", lw=1, label="no penalty")
        left.legend()
        shades = np.linspace(0.35, 1.0, len(values))
        for shade, (strength, layers) in zip(shades, values.items(), strict=True):
            falling = _mean_of([_falling(found) for found in layers])
            right.plot(1 + np.arange(len(falling)), falling, color=PALETTE[0], alpha=shade, label=f"{strength:g}")
        right.set(yscale="log", xlabel="direction within a layer, strongest first", ylabel="singular value, mean")
        right.set_title(f"under the {next(iter(ranks))} penalty")
        right.legend(title="strength")
    return fig
