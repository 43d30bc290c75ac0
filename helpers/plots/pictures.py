"""Contact sheets: pictures with what is said about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from helpers.plots.style import GREY, PALETTE, new_axes, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(
    images: Sequence[Any],
    captions: Sequence[str],
    columns: int = 5,
    right: Sequence[bool] | None = None,
    title: str = "",
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
    with style():
        fig, axes = new_axes(rows, columns, (1.9 * columns, rows * (1.7 + 0.17 * lines)))
        for i, axis in enumerate(axes):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(visible=False)
            for spine in axis.spines.values():
                spine.set_visible(i < len(images))
                spine.set_color(GREY)
            if i >= len(images):
                continue
            axis.imshow(images[i])
            wrong = right is not None and not right[i]
            axis.set_xlabel(f"✗ {captions[i]}" if wrong else captions[i], fontsize=8)
            if wrong:
                for spine in axis.spines.values():
                    spine.set_color(PALETTE[1])
                    spine.set_linewidth(2.5)
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig
