"""Official splits: which part of a source is its train, validation or test set, by the names that sources use."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

TRAIN, VALIDATION, TEST = "train", "validation", "test"
OFFICIAL = (TRAIN, VALIDATION, TEST)
SPLIT = "official split"  # key of a row that says where it stands, where the source has splits
COLUMNS = (  # of a table that says it of every row
    "split", "partition", "semeval_set", "dataset_split", "data_split", "split_name", "fold", "subset", "set",
)  # fmt: skip
_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "validate", "dev", "development", "trial", "eval"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "heldout"), TEST),
}
_NAMES |= {name + end: split for name, split in _NAMES.items() for end in ("set", "data", "split")}  # trainset
_BESIDE = frozenset({  # a second set of the same kind, and what a system made of one
    "mismatched", "hard", "extra", "unlabeled", "unlabelled", "prediction", "predictions", "preds", "result", "results",
    "submission", "scores",
})  # fmt: skip
_USUAL = frozenset({"set", "data", "split", "matched"})  # around the name of a split, in a column of them


def split_of(name: str) -> str:
    """What a split, a file or a folder of that name holds: train, validation, test, or "" where it does not say.

    The name may have more parts: ``SICK_trial``, ``test-00000-of-00002``, ``xnli.dev.ko``, ``validation_matched``. A
    name with two of them, of a second set beside the usual one (``mismatched``), or of predictions, says nothing.
    """
    parts = _parts(name)
    found = {_NAMES[part] for part in parts if part in _NAMES}
    return found.pop() if len(found) == 1 and not _BESIDE & set(parts) else ""


def split_of_cell(cell: str) -> str:
    """``split_of`` a cell of a column of splits; of what has other words too ("training manual") it says nothing."""
    others = [part for part in _parts(cell) if part not in _NAMES]
    return split_of(cell) if _USUAL.issuperset(others) else ""


def _parts(name: str) -> list[str]:
    """The words of a name, in lower case; ``nliTrain`` has two."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name)
    return [part for part in re.split(r"[^a-z]+", apart.lower()) if part]


def split_of_path(path: str) -> str:
    """``split_of`` a file's name without its endings, else of the nearest folder that says it.

    Args:
        path: relative to the source, so that folders above it do not count.
    """
    *folders, file = PurePath(path).parts or ("",)
    # test.jsonl.gz: endings say nothing; xnli.dev.ko.tsv: what looks like one may.
    return next((found for name in (file, *reversed(folders)) if (found := split_of(name))), "")


def split_column(names: Iterable[str]) -> str:
    """The column that says of every row which split it is in, "" where there is none."""
    found = {name.lower(): name for name in names}
    return next((found[name] for name in COLUMNS if name in found), "")


def has_splits(found: Iterable[str]) -> bool:
    """Whether these are official splits: there are two parts at least, one to learn from and one to measure on."""
    return len(set(found) & set(OFFICIAL)) > 1
