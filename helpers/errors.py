"""Errors that a reader of the course can act on: one line with what, why and what to do, and values short enough."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence


def shown(value: object, width: int = 120) -> str:
    """A value in one line of at most ``width`` characters, for an error line."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = width
    short.maxdict = short.maxlist = 12
    text = " ".join(short.repr(value).split())
    return text if len(text) <= width else f"{text[: width - 2]} …"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names with commas, the first ``most`` of them: "a, b, c and 997 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(name if len(name) <= 60 else f"{name[:58]} …" for name in names[:most]) + more


class LabError(Exception):
    """Base of every error raised on purpose by ``helpers``.

    Args:
        what: what went wrong and why, one sentence without a trailing full stop.
        cure: what to type or change, one sentence; may be empty.
    """

    def __init__(self, what: str, cure: str = "") -> None:
        self.what = " ".join(what.split()).rstrip(".")
        self.cure = " ".join(cure.split()).rstrip(".")
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.what}. {self.cure}." if self.cure else f"{self.what}."

    def __reduce__(self) -> tuple[type[LabError], tuple[str, str]]:
        return type(self), (self.what, self.cure)

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(LabError):
    """A notebook parameter is unknown, of the wrong type or out of range."""


class DataError(LabError):
    """A data source is missing, unreadable, too small or wrongly shaped."""


class AssetError(LabError):
    """An asset is absent, cannot be fetched or fails its checksum."""


class HardwareError(LabError):
    """This machine cannot do what was asked."""


class ModelError(LabError):
    """A model cannot be found, loaded or used this way."""


class RunError(LabError):
    """A run folder cannot be written, read or resumed."""


class OutOfMemory(LabError):
    """The GPU or the computer has no memory left for the next step."""


class TrainingDiverged(LabError):
    """The loss became NaN or infinite."""
