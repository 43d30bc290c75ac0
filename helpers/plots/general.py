"""General forms: bars, dots, lines, pictures; what quantisation does to weights; what memory is for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plots.style import GREY, MARKERS, PALETTE, bounds, name_rows, panels
from helpers.sources.pictures import as_rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# One colour a part, the same in every figure: what is kept, what is trained, what passes by, what is nobody's.
PARTS = {
    "weights": PALETTE[0], "quantisation scales": PALETTE[5], "adapters": PALETTE[6], "gradients": PALETTE[3],
    "gathered weights": "#7FB2D9", "sent between cards": "#5A5A5A", "optimizer states": "#8A4F7D",
    "activations": PALETTE[4], "logits and loss": PALETTE[1], "workspace": PALETTE[2],
    "allocator": "#B3B3B3", "CUDA context": "#D9D9D9", "process": "#D9D9D9",
}  # fmt: skip


def bars(values: Mapping[str, float], xlabel: str, title: str = "", color: str = PALETTE[0]) -> Figure:
    """Horizontal bars in the given order, first on top; ``xlabel`` names quantity and unit."""
    with panels((6.4, 1.0 + 0.24 * len(values))) as (fig, (axis,)):
        axis.barh(range(len(values)), list(values.values()), color=color, height=0.7)
        name_rows(axis, list(values), xlabel, title)
    return fig


def dots(
    series: Mapping[str, Mapping[str, float]], xlabel: str, limit: tuple[float, str] | None = None, log: bool = False
) -> Figure:
    """One row per item, one dot per series: sizes of models in several formats, for example.

    Args:
        series: ``{series: {row: value}}``; rows in order of first appearance.
        limit: (value, name) of a dashed line, for example what a card holds.
        log: logarithmic axis, for values that span more than a factor of about 30.
    """
    rows = list(dict.fromkeys(row for values in series.values() for row in values))
    with panels((6.4, 1.2 + 0.36 * len(rows))) as (fig, (axis,)):
        for i, (name, values) in enumerate(series.items()):
            y = [rows.index(row) for row in values]
            axis.plot(list(values.values()), y, ls="", marker=MARKERS[i], color=PALETTE[i], ms=6.5, label=name)
        if limit:
            axis.axvline(limit[0], color=GREY, ls="--", lw=1, label=limit[1])
        if log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        name_rows(axis, rows, xlabel, legend=True)
        axis.grid(axis="y", visible=True)
    return fig


def curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[Any]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    log: bool = False,
) -> Figure:
    """Lines over a common axis (memory against length, time against batch, vocabulary against text read).

    Args:
        series: name → one number, or one estimate with its interval, for each ``x``; None and NaN leave a gap.
            Intervals are shaded.
        log: the common axis is logarithmic.
    """
    with panels((6.4, 3.6)) as (fig, (axis,)):
        axis.set_xscale("log" if log else "linear")
        for i, (name, values) in enumerate(series.items()):
            marker = None if len(x) > 25 else MARKERS[i % len(MARKERS)]
            value, low, high = np.array([_bounds_or_number(v) for v in values], dtype=float).T
            axis.plot(x, value, color=PALETTE[i % len(PALETTE)], marker=marker, ms=4.5, label=name)
            if (low < high).any():
                axis.fill_between(x, low, high, color=PALETTE[i % len(PALETTE)], alpha=0.15, lw=0)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axis.set_ylim(bottom=0)
        if not log and all(float(value).is_integer() for value in x):  # blocks and epochs have no halves
            axis.xaxis.get_major_locator().set_params(integer=True)
        if len(series) > 1:
            axis.legend()
    return fig


def _bounds_or_number(value: Any) -> tuple[float, float, float]:
    if hasattr(value, "low"):
        return bounds(value)
    return (math.nan if value is None else float(value),) * 3


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
    with panels((9.0, 3.2), 1, 2) as (fig, (left, right)):
        bins = np.linspace(-span, span, 121).tolist()
        left.hist(w, bins=bins, density=True, color=PALETTE[0], alpha=0.6, label="original")
        left.hist(q, bins=bins, density=True, histtype="step", color=PALETTE[1], lw=1.1, label="read back")
        left.set(xlabel="weight", ylabel="density", title=f"{name}: {w.size:,} weights")
        left.legend()
        edge = float(np.quantile(np.abs(error), 0.999)) or 1.0
        narrow = np.linspace(-edge, edge, 81).tolist()
        right.hist(error, bins=narrow, density=True, color=PALETTE[2], alpha=0.85)
        right.set(xlabel="error (read back − original)", ylabel="density")
        right.set_title(f"relative error ‖error‖ / ‖weights‖ = {relative:.1%}")
    return fig


def memory(
    plans: Mapping[str, Sequence[Mapping[str, Any]]], cards: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """A horizontal bar for each plan, first on top, cut into its parts.

    Args:
        plans: name -> rows with "part" and "GB", as ``Plan.rows`` gives them.
        cards: name -> GB, dashed lines.
    """
    with panels((6.8, 1.5 + 0.42 * len(plans))) as (fig, (axis,)):
        drawn = [part for part in PARTS if any(row["part"] == part for rows in plans.values() for row in rows)]
        starts = [0.0] * len(plans)
        for part in drawn:
            sizes = [sum(row["GB"] for row in rows if row["part"] == part) for rows in plans.values()]
            axis.barh(range(len(plans)), sizes, left=starts, height=0.62, color=PARTS[part], label=part)
            starts = [start + size for start, size in zip(starts, sizes, strict=True)]
        for name, size in (cards or {}).items():
            axis.axvline(size, color=GREY, ls="--", lw=1)
            place = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom"}
            axis.annotate(name, (size, 1.01), fontsize=8, color=GREY, **place)
        name_rows(axis, list(plans), "memory at the peak (GB)", legend=True)
        axis.set_title(title, pad=18 if cards else None)
    return fig


def agreement(series: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str, within: float) -> Figure:
    """Points beside the diagonal, both axes logarithmic and alike: predictions against measurements, for example.

    Args:
        series: name -> (x, y) of its points, all positive.
        within: relative distance from the diagonal that is shaded, 0.07 for 7 %.
    """
    points = [point for found in series.values() for point in found]
    if not points or min(min(point) for point in points) <= 0:
        raise ValueError("points on logarithmic axes have to be positive, and there has to be one")
    low, high = 0.85 * min(map(min, points)), 1.15 * max(map(max, points))
    with panels((5.2, 4.6)) as (fig, (axis,)):
        axis.plot([low, high], [low, high], color=GREY, lw=1)
        edges = [[edge * (1 + sign * within) for edge in (low, high)] for sign in (-1, 1)]
        axis.fill_between([low, high], *edges, color=GREY, alpha=0.18, lw=0, label=f"within {within:.0%}")
        for i, (name, found) in enumerate(series.items()):
            x, y = zip(*found, strict=True) if found else ((), ())
            axis.plot(x, y, ls="", marker=MARKERS[i], color=PALETTE[i], ms=5.5, label=f"{name} ({len(found)})")
        axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), xlabel=xlabel, ylabel=ylabel)
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_formatter(lambda value, _: f"{value:g}")
            one.set_minor_formatter(lambda value, _: "")
        axis.legend()
    return fig


def pictures(
    images: Sequence[Any], captions: Sequence[str], columns: int = 5, right: Sequence[bool] | None = None
) -> Figure:
    """Pictures in rows, each with its caption beneath.

    Args:
        images: PIL images or arrays.
        captions: one a picture; line breaks are kept.
        right: which captions are correct: the others get a frame and a cross, so that colour is not all that tells.
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"{len(images)} pictures and {len(captions)} captions")
    rows = -(-len(images) // columns)
    lines = 1 + max(caption.count("\n") for caption in captions)
    with panels((1.9 * columns, rows * (1.7 + 0.17 * lines)), rows, columns) as (fig, axes):
        for axis in axes[len(images) :]:
            axis.set_axis_off()
        for i, (axis, image, caption) in enumerate(zip(axes, images, captions, strict=False)):
            wrong = right is not None and not right[i]
            axis.imshow(as_rgb(image) if hasattr(image, "mode") else image)  # as a model sees it
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(f"✗ {caption}" if wrong else caption, fontsize=8)
            axis.grid(visible=False)
            axis.spines[:].set(visible=True, color=PALETTE[1] if wrong else GREY, linewidth=2.5 if wrong else 0.8)
    return fig
