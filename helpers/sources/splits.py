"""Official splits: which part of a source is its train, validation or test set, by the names that sources use."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

TRAIN, VALIDATION, TEST = "train", "validation", "test"
OFFICIAL = (TRAIN, VALIDATION, TEST)
SPLIT = "official split"  # key of a row that says where it stands, where the source has splits
COLUMNS = ("split", "partition", "semeval_set", "fold", "subset")  # of a table that says it of every row
_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "validate", "dev", "development", "trial", "eval"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
}
_BESIDE = frozenset({"mismatched", "hard", "extra", "unlabeled", "unlabelled"})  # a second set of the same kind


def split_of(name: str) -> str:
    """What a split, a file or a folder of that name holds: train, validation, test, or "" where it does not say.

    The name may have more parts: ``SICK_trial``, ``test-00000-of-00002``, ``xnli.dev.ko``, ``validation_matched``. A
    name with two of them, or of a second set beside the usual one (``mismatched``), says nothing.
    """
    parts = [part for part in re.split(r"[^a-z]+", name.lower()) if part]
    found = {_NAMES[part] for part in parts if part in _NAMES}
    return found.pop() if len(found) == 1 and not _BESIDE & set(parts) else ""


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
