"""What a step's memory is for, as stacked bars beside what cards have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.plots.style import GREY, PALETTE, name_rows, new_axes, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# One colour a part, the same in every figure.
PARTS = (
    "weights", "quantisation scales", "adapters", "gradients", "optimizer states", "activations", "logits and loss",
    "workspace", "allocator", "CUDA context", "process",
)  # fmt: skip


def memory(
    plans: Mapping[str, Sequence[Mapping[str, Any]]], cards: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """A horizontal bar for each plan, first on top, cut into its parts.

    Args:
        plans: name -> rows with "part" and "GB", as ``Plan.rows`` gives them.
        cards: name -> GB, dashed lines.
    """
    with style():
        fig, axes = new_axes(1, 1, (6.8, 1.5 + 0.42 * len(plans)))
        axis = axes[0]
        drawn = [part for part in PARTS if any(row["part"] == part for rows in plans.values() for row in rows)]
        starts = [0.0] * len(plans)
        for part in drawn:
            sizes = [sum(row["GB"] for row in rows if row["part"] == part) for rows in plans.values()]
            place = PARTS.index(part)
            colour = PALETTE[place % len(PALETTE)]
            alpha = 1.0 if place < len(PALETTE) else 0.45
            axis.barh(range(len(plans)), sizes, left=starts, height=0.62, color=colour, alpha=alpha, label=part)
            starts = [start + size for start, size in zip(starts, sizes, strict=True)]
        for name, size in (cards or {}).items():
            axis.axvline(size, color=GREY, ls="--", lw=1)
            axis.annotate(
                name, (size, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8, color=GREY
            )
        name_rows(axis, list(plans))
        axis.set_xlabel("memory at the peak (GB)")
        axis.grid(axis="y", visible=False)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axis.set_title(title, pad=18 if cards else None)
    return fig
