"""Data sets on Kaggle as sources: ``kaggle:owner/name``, for every task.

Looked for in this order: attached to the notebook under /kaggle/input, which needs no Internet; fetched by Kaggle's
own client ``kagglehub``, which keeps a copy; that copy, when Kaggle cannot be reached. A version and a file may follow:
``kaggle:owner/name/versions/2/train.csv``. Which of the three it was stands in the load report.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.errors import DataError
from helpers.sources import tokens
from helpers.sources.network import offline

PREFIX = "kaggle:"
_FORM = re.compile(r"kaggle:(?P<owner>[\w-]+)/(?P<name>[\w.-]+?)(?:/versions/(?P<version>\d+))?(?:/(?P<file>[^/].*))?")
BY_HAND = "or download it from its page and give the folder"

# What kagglehub's errors say -> what to do; the first that fits.
CURES = (
    (("403", "401", "permission", "authenticat", "consent"), "accept its terms on {page}, {token}, " + BY_HAND),
    (("404", "not found", "does not exist"), "check the spelling on {page}; a private one needs a token: {token}"),
    (("",), "connect, {attach}" + BY_HAND),
)


@dataclass(frozen=True)
class Dataset:
    """One data set: ``version`` 0 is the newest, ``file`` "" the whole folder."""

    owner: str
    name: str
    version: int = 0
    file: str = ""

    @property
    def handle(self) -> str:
        """As kagglehub names it."""
        return f"{self.owner}/{self.name}" + (f"/versions/{self.version}" if self.version else "")

    @property
    def page(self) -> str:
        return f"https://www.kaggle.com/datasets/{self.owner}/{self.name}"


@dataclass(frozen=True)
class Located:
    """A file or folder on this machine, and where it came from, for the report."""

    path: Path
    note: str


def parse(source: str) -> Dataset:
    """The data set that ``kaggle:owner/name`` names; a DataError where it has another form."""
    match = _FORM.fullmatch(source)
    if not match or ".." in Path(match["file"] or "").parts:
        cure = f"Write {PREFIX}owner/name or {PREFIX}owner/name/file.csv"
        raise DataError(f"{source!r} names no data set on Kaggle", cure)
    return Dataset(match["owner"], match["name"], int(match["version"] or 0), match["file"] or "")


def is_source(source: str) -> bool:
    """Whether this means Kaggle at all; ``parse`` says whether it is well formed."""
    return source.startswith(PREFIX)


def attached(dataset: Dataset) -> Path | None:
    """Folder of a data set that is attached to this notebook; None when it is not.

    Inputs are mounted in $PEFT_LAB_INPUT or /kaggle/input, as ``<name>`` or ``datasets/<owner>/<name>``.
    """
    place = Path(os.environ.get("PEFT_LAB_INPUT") or "/kaggle/input")
    for folder in (place / "datasets" / dataset.owner / dataset.name, place / dataset.name):
        with contextlib.suppress(OSError):
            if folder.is_dir() and any(folder.iterdir()):
                return folder
    return None


def cached(dataset: Dataset) -> Path | None:
    """Folder of kagglehub's own copy, the newest version unless one is named; never one that is half fetched."""
    home = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser()
    place = home / "datasets" / dataset.owner / dataset.name
    found = [int(mark.stem) for mark in place.glob("*.complete") if mark.stem.isdigit()]
    complete = sorted(n for n in found if (place / "versions" / str(n)).is_dir() and dataset.version in (0, n))
    return place / "versions" / str(complete[-1]) if complete else None


def locate(source: str) -> Located:
    """The data set on this machine, fetched if need be.

    Args:
        source: ``kaggle:owner/name``, with ``/versions/N`` or ``/file`` or both behind it.

    Raises:
        DataError: malformed, not to be had (kagglehub missing, offline, refused, unknown), or it has no such file.
    """
    dataset = parse(source)
    if here := attached(dataset):
        unknown = f"; whether it is version {dataset.version} is not known" if dataset.version else ""
        return _within(here, dataset, f"attached to this notebook at {here}{unknown}")
    copy = cached(dataset)
    try:
        folder = _fetch(dataset)
    except DataError as error:
        if copy is None:
            raise
        return _within(copy, dataset, f"kagglehub's copy of version {copy.name} was used ({error.what})")
    return _within(folder, dataset, "fetched by kagglehub")


def _fetch(dataset: Dataset) -> Path:
    attach = "attach it to the notebook (Add Input), " if tokens.hosted_on() == "kaggle" else ""
    if offline():
        what = f"{dataset.handle} is neither attached nor in kagglehub's cache, and PEFT_LAB_OFFLINE=1 forbids fetching"
        raise DataError(what, f"unset PEFT_LAB_OFFLINE, {attach}{BY_HAND}")
    try:
        import kagglehub
    except ImportError as error:
        what = f"{PREFIX}{dataset.handle} needs kagglehub, which is not installed"
        raise DataError(what, f"pip install kagglehub, {attach}{BY_HAND}") from error
    try:
        with _no_waiting():
            return Path(kagglehub.dataset_download(dataset.handle))
    except Exception as error:  # its own errors, those of requests, of the disk: they share no base class
        text = " ".join(str(error).split())
        cure = next(cure for words, cure in CURES if any(word in text.lower() for word in words))
        cure = cure.format(page=dataset.page, token=tokens.how_to_set("KAGGLE_API_TOKEN"), attach=attach)
        what = f"cannot fetch {dataset.handle} from Kaggle: {type(error).__name__}: {text[:200]}"
        raise DataError(what, cure) from error


@contextlib.contextmanager
def _no_waiting() -> Iterator[None]:
    """kagglehub asks Colab's page for credentials, and waits for ever where there is no page."""
    if tokens.hosted_on() != "colab" or not tokens.headless():
        return (yield)
    before = {name: module for name, module in sys.modules.items() if name.startswith("google.colab")}
    sys.modules.update(dict.fromkeys([*before, "google.colab"]))  # type: ignore[arg-type]
    try:
        yield
    finally:
        del sys.modules["google.colab"]
        sys.modules.update(before)


def _within(folder: Path, dataset: Dataset, note: str) -> Located:
    path = folder / dataset.file
    if not path.exists():
        there = sorted(p.name for p in folder.iterdir())
        shown = ", ".join(there[:6]) + (", ..." if len(there) > 6 else "")
        raise DataError(f"{dataset.handle} has no {dataset.file}", f"It has {shown or 'nothing'}")
    return Located(path, note)
