"""What penalties do to the rank of an update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plots.style import MARKERS, PALETTE, bounds, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def spectra(values: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Singular values from the largest on, each spectrum as shares of its own largest, on logarithmic axes.

    Args:
        values: name → singular values in any order; those of 0 are left out.
    """
    with panels((6.4, 3.8)) as (fig, (axis,)):
        for i, (name, found) in enumerate(values.items()):
            falling = np.sort(np.asarray(found, dtype=float))[::-1]
            falling = falling[falling > 0]
            axis.plot(1 + np.arange(len(falling)), falling / falling[0], color=PALETTE[i % len(PALETTE)], label=name)
        axis.set(xscale="log", yscale="log", xlabel="direction, strongest first", title=title)
        axis.set(ylabel="singular value / largest", ylim=(1e-6, 1.5))
        axis.legend()
    return fig


def low_rank(
    strengths: Sequence[float],
    ranks: Mapping[str, Sequence[float]],
    quality: Mapping[str, Sequence[Any]],
    values: Mapping[float, Sequence[float]],
    ylabel: str,
) -> Figure:
    """Effective rank, quality and singular values under penalties of growing strength.

    Args:
        strengths: of the penalty, rising.
        ranks: penalty → effective rank at each strength.
        quality: penalty → estimate with its interval at each strength; in the unit of ``ylabel``.
        values: strength → singular values under the first penalty.
    """
    with panels((11.0, 3.6), 1, 3) as (fig, (left, middle, right)):
        for i, name in enumerate(ranks):
            style = {"color": PALETTE[i], "marker": MARKERS[i], "ms": 4.5, "label": name}
            left.plot(strengths, ranks[name], **style)
            value, low, high = np.array([bounds(estimate) for estimate in quality[name]]).T
            middle.plot(strengths, value, **style)
            middle.fill_between(strengths, low, high, color=PALETTE[i], alpha=0.15, lw=0)
        left.set(xscale="log", ylim=(0, None), xlabel="strength of the penalty", ylabel="effective rank of the update")
        middle.set(xscale="log", xlabel="strength of the penalty", ylabel=ylabel)
        left.legend()
        for i, (strength, found) in enumerate(values.items()):
            falling = np.sort(np.asarray(found, dtype=float))[::-1]
            right.plot(1 + np.arange(len(falling)), falling, color=PALETTE[i % len(PALETTE)], label=f"{strength:g}")
        right.set(yscale="log", xlabel="direction, strongest first", ylabel="singular value")
        right.set_title(f"under the {next(iter(ranks))} penalty")
        right.legend(title="strength")
    return fig
