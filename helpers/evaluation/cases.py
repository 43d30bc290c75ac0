"""Tables of single cases for reading, with a column for a reader's explanation that survives a rerun."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.errors import DataError
from helpers.evaluation.failures import OUTCOMES
from helpers.evaluation.pairing import id_texts

if TYPE_CHECKING:
    import pandas as pd

NOTE = "explanation"  # the column that belongs to the reader


def cases(paired: pd.DataFrame, outcome: str, n: int = 10, notes: Path | None = None) -> pd.DataFrame:
    """The first ``n`` examples of one outcome, for reading.

    Args:
        notes: a file of ``save_cases``; its explanations are shown beside the cases.

    Raises:
        DataError: there is no such outcome.
    """
    if outcome not in OUTCOMES:
        raise DataError(f"there is no outcome {outcome!r}", f"The outcomes are {', '.join(OUTCOMES)}")
    part = paired[paired["outcome"] == outcome].head(n)
    table = part[["input", "reference", "before", "after"]].reset_index(drop=True)
    if notes is not None:
        known = _read_notes(notes)
        table[NOTE] = [known.get(key, "") for key in _keys(part)]
    return table


def save_cases(paired: pd.DataFrame, path: Path, outcomes: Sequence[str] = OUTCOMES[:3]) -> pd.DataFrame:
    """Write the cases to a CSV file with an empty column ``explanation`` for a reader; what one wrote is kept.

    A later call with other predictions keeps every explanation, also of examples that are right by now: it
    belongs to the example, not to the run.

    Raises:
        DataError: the file is there and is not one of these tables.
    """
    import pandas as pd

    known = _read_notes(path) if path.exists() else {}
    every = _keys(paired)
    kept = [o in outcomes or key in known for o, key in zip(paired["outcome"], every, strict=True)]
    part, keys = paired[kept], [key for key, keep in zip(every, kept, strict=True) if keep]
    table = part[["outcome", "input", "reference", "before", "after"]].reset_index(drop=True)
    table.insert(0, "key", keys)
    table[NOTE] = [known.pop(key, "") for key in keys]
    if known:  # explained earlier, not among these examples
        table = pd.concat([table, pd.DataFrame({"key": list(known), NOTE: list(known.values())})], ignore_index=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    table.fillna("").to_csv(temporary, index=False)
    temporary.replace(path)
    return table


def _keys(frame: pd.DataFrame) -> list[str]:
    """A name for each example that stays the same from run to run: of its question, and its id if it has no text."""
    ids = id_texts(list(frame["id"])) if "id" in frame else [""] * len(frame)
    parts = zip(frame["input"], frame["reference"], ids, strict=True)
    texts = ["\x1e".join((text, reference) if text else (text, reference, name)) for text, reference, name in parts]
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12] for text in texts]


def _read_notes(path: Path) -> dict[str, str]:
    import pandas as pd

    if not path.exists():
        return {}
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return {k: v for k, v in zip(table["key"], table[NOTE], strict=True) if v.strip()}
    except (KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is not a table of cases ({error})", "Keep its columns key and explanation, or move the file away"
        ) from None
