"""Figures of the course, all in one restrained style.

Every function returns a closed ``matplotlib.figure.Figure``: it shows once when it is the last expression of
a cell, and goes to a file with ``run.save_figure(fig, name)``. Colours are those of Okabe and Ito (2008),
which people with the common kinds of colour blindness tell apart; series differ in their markers too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#8C8C8C"
STYLE: dict[str, Any] = {
    "figure.dpi": 100, "savefig.dpi": 150, "font.size": 10, "axes.titlesize": 10,
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#4D4D4D", "axes.grid": True, "axes.axisbelow": True, "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6, "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.6,
    "xtick.color": "#4D4D4D", "ytick.color": "#4D4D4D",
}  # fmt: skip
METRIC_LABELS = {
    "accuracy": "accuracy (0–1)", "macro_f1": "macro F1 (0–1)", "valid_rate": "valid answers (share)",
    "perplexity": "perplexity (lower is better)", "bleu": "BLEU (0–1)", "bleu1": "BLEU-1 (0–1)",
    "bleu4": "BLEU-4 (0–1)", "rouge1": "ROUGE-1 (0–1)", "rouge2": "ROUGE-2 (0–1)", "rougeL": "ROUGE-L (0–1)",
    "meteor": "METEOR (0–1)", "cosine": "embedding cosine", "clip_score": "CLIP score (0–1)",
    "slot_accuracy": "slot accuracy (0–1)",
}  # fmt: skip


def training_curves(history: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Loss on training and validation data per step, and the learning rate below where it was logged.

    Args:
        history: rows with ``step`` and any of ``loss``, ``eval_loss`` (nats per token), ``learning_rate``;
            absent, ``None`` and NaN entries are skipped.
    """
    train, held_out, rate = (_series(history, key) for key in ("loss", "eval_loss", "learning_rate"))
    if not train[0] and not held_out[0]:
        raise ValueError("history holds no loss: nothing to draw")
    with _style():
        fig, axes = _axes(2 if rate[0] else 1, 1, (6.4, 4.6 if rate[0] else 3.4), sharex=True, ratios=[3, 1])
        top = axes[0]
        if train[0]:
            top.plot(*train, color=PALETTE[0], label="training", marker="o" if len(train[0]) < 3 else None)
        if held_out[0]:
            top.plot(*held_out, color=PALETTE[1], marker="s", ms=4.5, label="validation")
        top.set_ylabel("loss (nats per token)")
        top.set_title(title)
        top.legend()
        if rate[0]:
            axes[1].plot(*rate, color=GREY)
            axes[1].set_ylabel("learning rate")
            axes[1].set_ylim(bottom=0)
            axes[1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axes[-1].set_xlabel("optimiser step")
    return fig


def systems(
    table: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[str] | None = None,
    reference: Mapping[str, float] | None = None,
    reference_name: str = "chance",
    title: str = "",
) -> Figure:
    """Forest plot: one row per system, one panel per metric, a dot with its 95% interval.

    Args:
        table: ``{system: {metric: estimate}}``; an estimate has ``value``, ``low``, ``high`` as attributes or
            keys. A system without a metric leaves its row empty in that panel.
        metrics: which metrics, in this order; default: all that occur.
        reference: ``{metric: value}`` drawn as a dashed line, called ``reference_name``.
    """
    names = list(table)
    chosen = list(metrics) if metrics else list(dict.fromkeys(m for row in table.values() for m in row))
    if not names or not chosen:
        raise ValueError("no systems or no metrics to draw")
    with _style():
        width = 2.4 + 2.6 * len(chosen)
        fig, axes = _axes(1, len(chosen), (min(width, 13.0), 1.5 + 0.34 * len(names)), sharey=True)
        for axis, metric in zip(axes, chosen, strict=True):
            for row, name in enumerate(names):
                if table[name].get(metric) is not None:
                    _dot(axis, row, *_bounds(table[name][metric]), PALETTE[0])
            if reference and metric in reference:
                axis.axvline(reference[metric], color=GREY, ls="--", lw=1)
                axis.set_title(f"dashed: {reference_name}", fontsize=9, color="#4D4D4D")
            axis.set_xlabel(METRIC_LABELS.get(metric, metric))
            axis.grid(axis="y", visible=False)
        _rows(axes[0], names)
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def differences(tests: Sequence[Any], title: str = "") -> Figure:
    """Paired differences a − b with 95% intervals and p-values; rows whose interval excludes 0 are coloured.

    Args:
        tests: objects or dicts with ``a, b, metric, difference, low, high, p_value``.
    """
    if not tests:
        raise ValueError("no tests to draw")
    rows = [t if isinstance(t, Mapping) else {k: getattr(t, k) for k in _TEST_KEYS} for t in tests]
    with _style():
        fig, axes = _axes(1, 1, (7.2, 1.3 + 0.34 * len(rows)))
        axis = axes[0]
        axis.axvline(0, color="#4D4D4D", lw=1)
        for i, row in enumerate(rows):
            clear = row["low"] > 0 or row["high"] < 0
            _dot(axis, i, row["difference"], row["low"], row["high"], PALETTE[1] if clear else GREY)
            p = row["p_value"]
            text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
            axis.annotate(text, (1.02, i), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        _rows(axis, [f"{r['a']} − {r['b']}: {r['metric']}" for r in rows])
        axis.set_xlabel("difference in the metric's own unit")
        axis.grid(axis="y", visible=False)
        axis.set_title(title)
    return fig


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
    with _style():
        fig, axes = _axes(len(arrays), 1, (6.4, 1.0 + 1.45 * len(arrays)), sharex=True)
        for i, (axis, (name, values)) in enumerate(zip(axes, arrays.items(), strict=True)):
            axis.hist(values, bins=bins.tolist(), color=PALETTE[i % len(PALETTE)], alpha=0.85)
            axis.set_ylabel("examples")
            label = f"{name}: median {np.median(values):.0f}, 95% below {np.percentile(values, 95):.0f}"
            if max_length:
                axis.axvline(max_length, color="#000000", ls="--", lw=1)
                label += f", {np.mean(values > max_length):.1%} beyond {max_length}"
            axis.set_title(label)
        axes[-1].set_xlabel("length (tokens)" + ("; dashed: max_length" if max_length else ""))
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def label_balance(table: DataFrame, title: str = "") -> Figure:
    """Share of each label in each split with its Wilson interval.

    Args:
        table: columns ``split, label, share, low, high`` as made by ``tasks.audit.label_balance``.
    """
    labels, splits = list(dict.fromkeys(table["label"])), list(dict.fromkeys(table["split"]))
    with _style():
        fig, axes = _axes(1, 1, (6.4, 1.2 + (0.16 + 0.16 * len(splits)) * len(labels)))
        axis = axes[0]
        for s, split in enumerate(splits):
            part = table[table["split"] == split]
            for row in part.itertuples():
                y = labels.index(row.label) + (s - (len(splits) - 1) / 2) * 0.2
                _dot(axis, y, row.share, row.low, row.high, PALETTE[s], MARKERS[s], size=4.5)
            axis.plot([], [], ls="", color=PALETTE[s], marker=MARKERS[s], ms=4.5, label=f"{split}")
        _rows(axis, labels)
        axis.set_xlim(left=0)
        axis.set_xlabel("share of examples, with 95% interval")
        axis.grid(axis="y", visible=False)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axis.set_title(title)
    return fig


def bars(values: Mapping[str, float], xlabel: str, title: str = "", color: str = PALETTE[0]) -> Figure:
    """Horizontal bars in the given order, first on top; ``xlabel`` names quantity and unit."""
    with _style():
        fig, axes = _axes(1, 1, (6.4, 1.0 + 0.24 * len(values)))
        axes[0].barh(range(len(values)), list(values.values()), color=color, height=0.7)
        _rows(axes[0], list(values))
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
    with _style():
        fig, axes = _axes(1, 1, (6.4, 1.2 + 0.36 * len(rows)))
        axis = axes[0]
        for i, (name, values) in enumerate(series.items()):
            y = [rows.index(row) for row in values]
            axis.plot(list(values.values()), y, ls="", marker=MARKERS[i], color=PALETTE[i], ms=6.5, label=name)
        if limit:
            axis.axvline(limit[0], color=GREY, ls="--", lw=1, label=limit[1])
        if log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _rows(axis, rows)
        axis.set_xlabel(xlabel)
        axis.grid(axis="y", visible=True)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axis.set_title(title)
    return fig


def scatter_2d(
    panels: Mapping[str, Any], categories: Sequence[str], title: str = "", max_categories: int = 6
) -> Figure:
    """One scatter panel per projection, points coloured and marked by category.

    Args:
        panels: ``{panel title: array (n, 2)}``.
        categories: n labels; the most frequent ``max_categories`` get a colour, the rest is grey "other".
    """
    counts = Counter(categories)
    shown = [c for c, _ in counts.most_common(min(max_categories, len(PALETTE)))]
    groups = np.array([shown.index(c) if c in shown else -1 for c in categories])
    with _style():
        fig, axes = _axes(1, len(panels), (4.2 * len(panels) + 1.6, 4.0))
        for axis, (name, xy) in zip(axes, panels.items(), strict=True):
            points = np.asarray(xy)
            if points.shape != (len(categories), 2):
                raise ValueError(f"panel {name!r} has shape {points.shape}, expected ({len(categories)}, 2)")
            for g in [-1, *range(len(shown))]:
                x, y = points[groups == g].T
                if len(x):
                    label = f"{shown[g] if g >= 0 else 'other'} ({len(x)})"
                    color, marker, alpha = (PALETTE[g], MARKERS[g], 0.75) if g >= 0 else (GREY, "o", 0.3)
                    axis.scatter(x, y, s=15, marker=marker, lw=0, label=label, color=color, alpha=alpha)
            axis.set_title(name)
            axis.set(xticks=[], yticks=[], xlabel="dimension 1 (no unit)", ylabel="dimension 2 (no unit)")
        handles, names = axes[0].get_legend_handles_labels()
        order = sorted(range(len(names)), key=lambda i: names[i].startswith("other ("))
        fig.legend([handles[i] for i in order], [names[i] for i in order], loc="outside right center")
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
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
    with _style():
        fig, axes = _axes(1, 2, (9.0, 3.2))
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


def curves(
    x: Sequence[float], series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, title: str = ""
) -> Figure:
    """Lines over a common axis (memory against length, time against batch, vocabulary against text read)."""
    with _style():
        fig, axes = _axes(1, 1, (6.4, 3.6))
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


# ---------------------------------------------------------------------------------------------- internals
_TEST_KEYS = ("a", "b", "metric", "difference", "low", "high", "p_value")


def _style() -> Any:
    import matplotlib.pyplot as plt

    return plt.rc_context(cast("Any", STYLE))


def _axes(
    rows: int,
    columns: int,
    size: tuple[float, float],
    sharex: bool = False,
    sharey: bool = False,
    ratios: list[int] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure that pyplot no longer tracks: else a notebook would draw it twice and keep it in memory."""
    import matplotlib.pyplot as plt

    heights = ratios if ratios and len(ratios) == rows else None
    fig, grid = plt.subplots(
        rows, columns, figsize=size, sharex=sharex, sharey=sharey, squeeze=False, layout="constrained",
        height_ratios=heights,
    )  # fmt: skip
    plt.close(fig)
    return fig, [axis for line in grid for axis in line]


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    pairs = [(float(r["step"]), float(r[key])) for r in history if r.get(key) not in (None, "")]
    pairs = [(x, y) for x, y in pairs if not math.isnan(y)]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _bounds(estimate: Any) -> tuple[float, float, float]:
    if isinstance(estimate, Mapping):
        return float(estimate["value"]), float(estimate["low"]), float(estimate["high"])
    return float(estimate.value), float(estimate.low), float(estimate.high)


def _dot(
    axis: Axes,
    y: float,
    value: float,
    low: float,
    high: float,
    color: str,
    marker: str = "o",
    size: float = 5.5,
) -> None:
    axis.plot([low, high], [y, y], color=color, lw=1.6, solid_capstyle="butt")
    axis.plot([value], [y], color=color, marker=marker, ms=size)


def _rows(axis: Axes, names: Sequence[str]) -> None:
    """Name the rows 0..n-1 on the y axis, first on top."""
    axis.set_yticks(range(len(names)), [str(n) for n in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
