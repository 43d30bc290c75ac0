"""The rating sheet: one HTML file that needs no server, and the same as widgets in a live notebook.

Both save CSV with the columns item, choice, rater, remark, which ``evaluation.ratings.read_ratings`` reads.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.errors import DataError
from helpers.evaluation.ratings import CHOICES, Item, items_json
from helpers.files import write_atomic
from helpers.reports.documents import write_page

INSTRUCTIONS = (
    "Two answers to the same question, in random order. Which one would you rather have been given? "
    "Judge what it says, not how long it is. If you cannot tell, say so."
)


def write_sheet(path: Path, items: Sequence[Item], title: str, instructions: str = INSTRUCTIONS) -> Path:
    """Write the sheet as one HTML file: nothing is loaded from elsewhere and nothing is sent.

    The page holds no system's name. Answers survive closing the browser; "Save" downloads a CSV file.

    Raises:
        DataError: there is nothing to rate.
        RunError: the file cannot be written.
    """
    if not items:
        raise DataError("there is nothing to rate", "Compare systems whose answers differ")
    data = items_json(items)
    store = f"ratings-{hashlib.sha256(data.encode()).hexdigest()[:12]}"  # another sheet, other answers
    page = {"title": title, "instructions": instructions, "store": store, "items": data}
    return write_page(path, "rating_sheet.html", **page)


class RatingWidget:
    """The sheet as ipywidgets. ``display(widget.box)`` shows it; ``save(path)`` writes the CSV."""

    def __init__(self, items: Sequence[Item], rater: str) -> None:
        """Args: items: what to rate. rater: name or initials, one per person.

        Raises:
            DataError: there is nothing to rate, or no name.
        """
        import ipywidgets

        if not items or not rater.strip():
            raise DataError("a rating needs items and a rater's name", "Pass both: RatingWidget(items, rater='AB')")
        self.items = list(items)
        self.rater = rater.strip()
        self.ratings: dict[str, str] = {}
        self.at = 0
        self._text = ipywidgets.HTML()
        self._state = ipywidgets.Label()
        names = {"left": "Left is better", "tie": "About the same", "right": "Right is better"}
        self.buttons: dict[str, Any] = {c: ipywidgets.Button(description=text) for c, text in names.items()}
        for choice, button in self.buttons.items():
            button.on_click(lambda _b, choice=choice: self.rate(choice))
        self.back = ipywidgets.Button(description="Back")
        self.back.on_click(lambda _b: self._go(-1))
        rows = [self._text, ipywidgets.HBox(list(self.buttons.values())), ipywidgets.HBox([self.back, self._state])]
        self.box = ipywidgets.VBox(rows)
        self._show()

    def rate(self, choice: str) -> None:
        """Rate the item that is shown and go to the next one."""
        if choice not in CHOICES:
            raise DataError(f"{choice!r} is no choice", f"Choices are {', '.join(CHOICES)}")
        self.ratings[self.items[self.at].id] = choice
        self._go(1)

    def save(self, path: Path) -> Path:
        """Write what has been rated so far."""
        import pandas as pd

        rows = [(item.id, self.ratings[item.id], self.rater, "") for item in self.items if item.id in self.ratings]
        table = pd.DataFrame(rows, columns=["item", "choice", "rater", "remark"])
        return write_atomic(path, table.to_csv(index=False, lineterminator="\n"))

    def _go(self, step: int) -> None:
        self.at = min(len(self.items) - 1, max(0, self.at + step))
        self._show()

    def _show(self) -> None:
        item = self.items[self.at]
        parts = (("Question", item.question), ("Left", item.left), ("Right", item.right))
        self._text.value = "".join(
            f"<b>{n}</b><pre style='white-space:pre-wrap'>{html.escape(t)}</pre>" for n, t in parts
        )
        self._state.value = f"item {self.at + 1} of {len(self.items)}, {len(self.ratings)} rated"
        chosen = self.ratings.get(item.id)
        for choice, button in self.buttons.items():
            button.button_style = "primary" if choice == chosen else ""
