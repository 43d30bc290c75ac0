"""Data: lengths, labels, points in two dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plots.style import GREY, MARKERS, PALETTE, dot, name_rows, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def token_lengths(lengths: Mapping[str, Sequence[int]], max_length: int | None = None, title: str = "") -> Figure:
    """Histogram of lengths in tokens, one panel per series, with the truncation limit.

    Args:
        lengths: ``{series: lengths in tokens}``; all panels share one axis, so that they can be compared.
        max_length: tokens that fit; what lies to the right of the line is cut.
    """
    arrays = {name: np.asarray(values, dtype=float) for name, values in lengths.items()}
    if not arrays or any(a.size == 0 for a in arrays.values()):
        raise ValueError("every series needs at least one length")
    limit = max(max(a.max() for a in arrays.values()), max_length or 0)
    bins = np.linspace(0, limit * 1.02, 41)
    with panels((6.4, 1.0 + 1.45 * len(arrays)), len(arrays), title=title, sharex=True) as (fig, axes):
        for i, (axis, (name, values)) in enumerate(zip(axes, arrays.items(), strict=True)):
            axis.hist(values, bins=bins.tolist(), color=PALETTE[i % len(PALETTE)], alpha=0.85)
            axis.set_ylabel("examples")
            label = f"{name}: median {np.median(values):.0f}, 95% below {np.percentile(values, 95):.0f}"
            if max_length:
                axis.axvline(max_length, color="#000000", ls="--", lw=1)
                label += f", {np.mean(values > max_length):.1%} beyond {max_length}"
            axis.set_title(label)
        axes[-1].set_xlabel("length (tokens)" + ("; dashed: max_length" if max_length else ""))
    return fig


def label_balance(table: DataFrame, title: str = "") -> Figure:
    """Share of each label in each split with its Wilson interval.

    Args:
        table: columns ``split, label, share, low, high`` as made by ``tasks.audit.label_balance``.
    """
    labels, splits = list(dict.fromkeys(table["label"])), list(dict.fromkeys(table["split"]))
    with panels((6.4, 1.2 + (0.16 + 0.16 * len(splits)) * len(labels))) as (fig, (axis,)):
        for s, split in enumerate(splits):
            for row in table[table["split"] == split].itertuples():
                y = labels.index(row.label) + (s - (len(splits) - 1) / 2) * 0.2
                dot(axis, y, row.share, row.low, row.high, PALETTE[s], MARKERS[s], size=4.5)
            axis.plot([], [], ls="", color=PALETTE[s], marker=MARKERS[s], ms=4.5, label=f"{split}")
        axis.set_xlim(left=0)
        name_rows(axis, labels, "share of examples, with 95% interval", title, legend=True)
    return fig


def scatter_2d(
    projections: Mapping[str, Any], categories: Sequence[str], title: str = "", max_categories: int = 6
) -> Figure:
    """One scatter panel per projection, points coloured and marked by category.

    Args:
        projections: ``{panel title: array (n, 2)}``.
        categories: n labels; the most frequent ``max_categories`` get a colour, the rest is grey "other".
    """
    counts = Counter(categories)
    shown = [c for c, _ in counts.most_common(min(max_categories, len(PALETTE)))]
    groups = np.array([shown.index(c) if c in shown else -1 for c in categories])
    with panels((4.2 * len(projections) + 1.6, 4.0), 1, len(projections), title) as (fig, axes):
        for axis, (name, xy) in zip(axes, projections.items(), strict=True):
            points = np.asarray(xy)
            if points.shape != (len(categories), 2):
                raise ValueError(f"panel {name!r} has shape {points.shape}, expected ({len(categories)}, 2)")
            for g in [-1, *range(len(shown))]:
                x, y = points[groups == g].T
                if len(x):
                    label = f"{shown[g] if g >= 0 else 'other'} ({len(x)})"
                    color, marker, alpha = (PALETTE[g], MARKERS[g], 0.75) if g >= 0 else (GREY, "o", 0.3)
                    axis.scatter(x, y, s=15, marker=marker, lw=0, label=label, color=color, alpha=alpha)
            axis.set(xticks=[], yticks=[], title=name)
            axis.set(xlabel="dimension 1 (no unit)", ylabel="dimension 2 (no unit)")
        handles, names = axes[0].get_legend_handles_labels()
        order = sorted(range(len(names)), key=lambda i: names[i].startswith("other ("))
        fig.legend([handles[i] for i in order], [names[i] for i in order], loc="outside right center")
    return fig
