"""Several cards: which of them works when, and how far a training on them is from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.plots.style import MARKERS, PALETTE, name_rows, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def timeline(stretches: Sequence[tuple[str, str, float, float]], xlabel: str, title: str = "") -> Figure:
    """A lane for each card, first on top, with what it does when; empty is idle.

    Args:
        stretches: (lane, what is done, beginning, end), in the unit of ``xlabel``.
    """
    lanes = list(dict.fromkeys(lane for lane, *_ in stretches))
    kinds = list(dict.fromkeys(kind for _, kind, *_ in stretches))
    with panels((6.8, 1.3 + 0.4 * len(lanes))) as (fig, (axis,)):
        for kind, color in zip(kinds, PALETTE, strict=False):
            found = [(lanes.index(lane), begin, end) for lane, what, begin, end in stretches if what == kind]
            places, begins, ends = zip(*found, strict=True)
            widths = [end - begin for begin, end in zip(begins, ends, strict=True)]
            axis.barh(places, widths, left=begins, height=0.62, color=color, label=kind, edgecolor="white", lw=0.5)
        name_rows(axis, lanes, xlabel, title, legend=True)
    return fig


def gaps(series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, title: str = "") -> Figure:
    """Sizes of differences from step to step, on a logarithmic axis; differences of 0 are left out.

    Args:
        series: name → a difference, at least 0, for each step from 1 on.
    """
    with panels((6.4, 3.4)) as (fig, (axis,)):
        for i, (name, values) in enumerate(series.items()):
            points = [(step, value) for step, value in enumerate(values, 1) if value > 0]
            x, y = zip(*points, strict=True) if points else ((), ())
            axis.plot(x, y, color=PALETTE[i], marker=MARKERS[i], ms=4.5, label=name)
        axis.set(yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    return fig
