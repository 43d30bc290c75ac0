"""Captions as they are written, read back and counted: what lessons do with many of them at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.tasks.zappos.rows import picture_file
from helpers.tasks.zappos.task import slots_right
from helpers.tasks.zappos.words import SLOTS, caption

if TYPE_CHECKING:  # pragma: no cover
    import pandas as pd
    from datasets import Dataset

Reading = Callable[[str, Mapping[str, Any]], dict[str, bool]]  # caption, row -> slot -> is its word right?


def slots_named(text: str, row: Mapping[str, Any]) -> dict[str, bool]:
    """For each slot that the row fills, whether its word occurs anywhere in the text: the lenient reading.

    ``slots_right`` is the strict one.
    """
    patterns = {slot: rf"\b{re.escape(row[slot])}\b" for slot in SLOTS if row[slot]}
    return {slot: bool(re.search(pattern, text, re.IGNORECASE)) for slot, pattern in patterns.items()}


def slot_hits(
    texts: Sequence[str], rows: Sequence[Mapping[str, Any]], reading: Reading = slots_right
) -> dict[str, list[bool]]:
    """Slot -> whether its word is right, for each row that fills the slot; slots that no row fills are absent.

    Args:
        texts: one caption a row.
        rows: with type, colour and material.
        reading: ``slots_right`` or ``slots_named``.
    """
    right = [reading(text, row) for text, row in zip(texts, rows, strict=True)]
    hits = {slot: [found[slot] for found in right if slot in found] for slot in SLOTS}
    return {slot: values for slot, values in hits.items() if values}


def slot_shares(texts: Sequence[str], rows: Sequence[Mapping[str, Any]], reading: Reading = slots_right) -> list[float]:
    """For each caption, the share of its row's filled slots that are right; 0 where the row fills none.

    Arguments as ``slot_hits``.
    """
    right = [list(reading(text, row).values()) for text, row in zip(texts, rows, strict=True)]
    return [sum(found) / len(found) if found else 0.0 for found in right]


def all_right(texts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """For each caption, whether every slot that its row fills is right."""
    return [all(slots_right(text, row).values()) for text, row in zip(texts, rows, strict=True)]


def caption_lines(text: str) -> str:
    """A caption as two or three short lines, to stand beneath a small picture."""
    return text.replace("A photo of ", "").replace(" with ", "\n").replace(" and ", "\n")


def word_outcomes(words: Iterable[str], truths: Iterable[str]) -> dict[str, int]:
    """How many words of one slot are right, wrong, or unspecified (""); rows without a truth do not count."""
    pairs = [(word, truth) for word, truth in zip(words, truths, strict=True) if truth]
    right, unspecified = sum(word == truth for word, truth in pairs), sum(not word for word, _ in pairs)
    return {"right": right, "wrong": len(pairs) - right - unspecified, "unspecified": unspecified}


def write_captions(
    rows: Dataset,
    words: Mapping[str, Sequence[str]],
    probability: Mapping[str, Sequence[float]],
    folder: Path,
) -> pd.DataFrame:
    """Write a caption for each picture to ``folder/captions.csv``, which the task reads as its ``dataset``.

    Pictures that are not files yet are written to ``folder/pictures``.

    Args:
        rows: of the task, n of them.
        words: colour and material of each picture, n each; "" becomes "an unspecified".
        probability: slot -> probability of the likeliest word, n each; a column ``p_<slot>`` for each.

    Returns:
        What the file holds: image_path (from ``folder``), new_prompt (the caption), shoe_type, colour, material,
        split, id and probabilities. ``split`` is empty where rows have no such column.

    Raises:
        DataError: a column is not as long as ``rows``.
    """
    import pandas as pd
    from datasets import Image

    for name, values in (*words.items(), *probability.items()):
        if len(values) != len(rows):
            raise DataError(f"{len(values):,} values of {name} for {len(rows):,} pictures", "Give one for each picture")
    files = rows.cast_column("image", Image(decode=False))["image"]  # as they are: nothing is compressed again
    lines = []
    for i, row in enumerate(rows.remove_columns("image")):
        path = picture_file(files[i], folder / "pictures", f"{i:05d}")
        colour, material = words["colour"][i], words["material"][i]
        line = {
            "image_path": os.path.relpath(path, folder),
            "new_prompt": caption(row["type"], colour, material),
            "shoe_type": row["type"],
            "colour": colour,
            "material": material,
            "split": row.get("split", ""),
            "id": row["id"],
        }
        lines.append(line | {f"p_{slot}": round(float(values[i]), 4) for slot, values in probability.items()})
    table = pd.DataFrame(lines)
    table.to_csv(folder / "captions.csv", index=False)
    return table
