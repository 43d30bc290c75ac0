"""What a step's memory is for, as stacked bars beside what cards have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.plots.style import GREY, PALETTE, name_rows, one_axis, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# One colour a part, the same in every figure: what is kept, what is trained, what passes by, what is nobody's.
PARTS = {
    "weights": PALETTE[0], "quantisation scales": PALETTE[5], "adapters": PALETTE[6], "gradients": PALETTE[3],
    "optimizer states": "#8A4F7D", "activations": PALETTE[4], "logits and loss": PALETTE[1], "workspace": PALETTE[2],
    "allocator": "#B3B3B3", "CUDA context": "#D9D9D9", "process": "#D9D9D9",
}  # fmt: skip


def memory(
    plans: Mapping[str, Sequence[Mapping[str, Any]]], cards: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """A horizontal bar for each plan, first on top, cut into its parts.

    Args:
        plans: name -> rows with "part" and "GB", as ``Plan.rows`` gives them.
        cards: name -> GB, dashed lines.
    """
    with style():
        fig, axis = one_axis((6.8, 1.5 + 0.42 * len(plans)))
        drawn = [part for part in PARTS if any(row["part"] == part for rows in plans.values() for row in rows)]
        starts = [0.0] * len(plans)
        for part in drawn:
            sizes = [sum(row["GB"] for row in rows if row["part"] == part) for rows in plans.values()]
            axis.barh(range(len(plans)), sizes, left=starts, height=0.62, color=PARTS[part], label=part)
            starts = [start + size for start, size in zip(starts, sizes, strict=True)]
        for name, size in (cards or {}).items():
            axis.axvline(size, color=GREY, ls="--", lw=1)
            axis.annotate(
                name, (size, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8, color=GREY
            )
        name_rows(axis, list(plans), "memory at the peak (GB)", legend=True)
        axis.set_title(title, pad=18 if cards else None)
    return fig
