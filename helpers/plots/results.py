"""Results: training curves, systems with intervals, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.plots.style import GREY, METRIC_LABELS, PALETTE, bounds, dot, name_rows, panels, series_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_curves(
    history: Sequence[Mapping[str, Any]], title: str = "", ylabel: str = "loss (nats per token)"
) -> Figure:
    """Loss on training and validation data per step, and the learning rate below where it was logged.

    Args:
        history: rows with ``step`` and any of ``loss``, ``eval_loss`` (in the unit of ``ylabel``), ``learning_rate``;
            absent, ``None`` and NaN entries are skipped.
    """
    train, held_out, rate = (series_of(history, key) for key in ("loss", "eval_loss", "learning_rate"))
    if not train[0] and not held_out[0]:
        raise ValueError("history holds no loss: nothing to draw")
    ratios = [3, 1] if rate[0] else [1]
    with panels((6.4, 4.6 if rate[0] else 3.4), len(ratios), sharex=True, height_ratios=ratios) as (fig, axes):
        top = axes[0]
        if train[0]:
            top.plot(*train, color=PALETTE[0], label="training", marker="o" if len(train[0]) < 3 else None)
        if held_out[0]:
            top.plot(*held_out, color=PALETTE[1], marker="s", ms=4.5, label="validation")
        top.set(ylabel=ylabel, title=title)
        top.legend()
        if rate[0]:
            axes[1].plot(*rate, color=GREY)
            axes[1].set(ylabel="learning rate", ylim=(0, None))
            axes[1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axes[-1].set_xlabel("optimiser step")
    return fig


def memory_and_speed(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Memory and throughput against the step, one above the other.

    Args:
        history: rows with ``step``, ``memory_gb`` (GiB) and ``tokens_per_s`` or, where no tokens were counted,
            ``examples_per_s``.
    """
    memory, tokens, examples = (series_of(history, key) for key in ("memory_gb", "tokens_per_s", "examples_per_s"))
    speed, unit = (tokens, "tokens per second") if tokens[0] else (examples, "examples per second")
    if not memory[0] and not speed[0]:
        raise ValueError("history holds neither memory nor throughput: nothing to draw")
    with panels((6.4, 3.6), 2, sharex=True) as (fig, axes):
        for i, ((x, y), label) in enumerate([(memory, "memory (GiB)"), (speed, unit)]):
            axes[i].plot(x, y, color=PALETTE[i], marker="o" if len(x) < 3 else None)
            # A flat line would lie on the upper edge.
            axes[i].set(ylabel=label, ylim=(0, 1.12 * max(y, default=1.0) or 1.0))
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
    size = (min(2.4 + 2.6 * len(chosen), 13.0), 1.5 + 0.34 * len(names))
    with panels(size, 1, len(chosen), title, sharey=True) as (fig, axes):
        for axis, metric in zip(axes, chosen, strict=True):
            for row, name in enumerate(names):
                if table[name].get(metric) is not None:
                    dot(axis, row, *bounds(table[name][metric]), PALETTE[0])
            name_rows(axis, names, METRIC_LABELS.get(metric, metric))
            if reference and metric in reference:
                axis.axvline(reference[metric], color=GREY, ls="--", lw=1)
                axis.set_title(f"dashed: {reference_name}", fontsize=9, color="#4D4D4D")
    return fig


def differences(tests: Sequence[Any], title: str = "") -> Figure:
    """Paired differences a − b with 95% intervals and p-values; rows whose interval excludes 0 are coloured.

    Args:
        tests: objects or dicts with ``a, b, metric, difference, low, high, p_value``.
    """
    if not tests:
        raise ValueError("no tests to draw")
    rows = [test if isinstance(test, Mapping) else vars(test) for test in tests]
    with panels((7.2, 1.3 + 0.34 * len(rows))) as (fig, (axis,)):
        axis.axvline(0, color="#4D4D4D", lw=1)
        for i, row in enumerate(rows):
            clear = row["low"] > 0 or row["high"] < 0
            dot(axis, i, row["difference"], row["low"], row["high"], PALETTE[1] if clear else GREY)
            p = row["p_value"]
            text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
            axis.annotate(text, (1.02, i), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        labels = [f"{r['a']} − {r['b']}: {r['metric']}" for r in rows]
        name_rows(axis, labels, "difference in the metric's own unit", title)
    return fig


def pareto(
    points: Mapping[str, Mapping[str, Any]],
    front: Sequence[str],
    xlabel: str,
    ylabel: str,
    title: str = "",
    log: bool = False,
) -> Figure:
    """Quality with its interval against cost; the points that nothing beats are joined and named in colour.

    Args:
        points: ``{name: estimate}``, each with the key ``train_seconds``, its cost.
        front: names of the points that nothing beats, from ``compare_runs.pareto``.
        log: logarithmic costs, none of which may be 0.
    """
    if not points:
        raise ValueError("no points to draw")
    costs = {name: float(point["train_seconds"]) for name, point in points.items()}
    order = sorted(points, key=lambda name: (costs[name], name))
    with panels((8.4, 4.2)) as (fig, (axis,)):
        for number, name in enumerate(order, 1):
            value, low, high = bounds(points[name])
            x, color = costs[name], PALETTE[1] if name in front else GREY
            axis.plot([x, x], [low, high], color=color, lw=1.4, solid_capstyle="butt")
            axis.plot([x], [value], color=color, marker="o", ms=6, ls="", label=f"{number}  {name}")
            axis.annotate(str(number), (x, value), xytext=(5, 5), textcoords="offset points", fontsize=9)
        line = [name for name in order if name in front]
        ys = [bounds(points[name])[0] for name in line]
        axis.step([costs[name] for name in line], ys, where="post", color=PALETTE[1], lw=1, ls=":")
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
        if log:
            axis.set_xscale("log")
        else:  # from zero, with room for a point that costs nothing
            axis.set_xlim(left=-0.03 * max(costs.values()) or None)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.8)
    return fig
