"""What to read, and what a reader has settled about it: columns, codes, splits."""

from __future__ import annotations

from collections.abc import Mapping

from helpers.errors import DataError

SPLIT_CHOICES = ("official", "official-distinct", "random")


class Source(str):
    """The name of a data source, with what is not left to guessing.

    As text it is the name alone: ``generator``, a Hub id, a path. A plain ``str`` is a source with nothing settled.

    Attributes:
        columns: the task's name of a column → its name in the source.
        labels: how a label or an answer is written in the source → what it means to the task.
        splits: ``official`` keeps the splits that the source has; ``official-distinct`` also drops from train, then
            from validation, what is copied into a later split; ``random`` cuts all rows anew by seed.
        protocol: ``published`` chooses rows as the task's published project did; "" by size.
    """

    columns: Mapping[str, str]
    labels: Mapping[str, str]
    splits: str
    protocol: str

    def __new__(
        cls,
        name: str,
        columns: Mapping[str, str] | str | None = None,
        labels: Mapping[str, str] | str | None = None,
        splits: str = "official",
        protocol: str | None = None,
    ) -> Source:
        """Make a source; columns and labels may be written as ``own=theirs,own=theirs``.

        Raises:
            DataError: a pair that is none, a name that stands twice, or a choice that there is not.
        """
        if splits not in SPLIT_CHOICES:
            raise DataError(f"splits = {splits!r} is not allowed", f"Allowed: {', '.join(SPLIT_CHOICES)}")
        if protocol not in (None, "", "published"):
            raise DataError(f"protocol = {protocol!r} is not allowed", "Allowed: published, or leave it out")
        made = super().__new__(cls, name)
        made.columns = pairs("columns", columns)
        made.labels = pairs("labels", labels)
        made.splits, made.protocol = splits, protocol or ""
        return made

    def __getnewargs__(self) -> tuple[object, ...]:  # type: ignore[override]
        return str(self), self.columns, self.labels, self.splits, self.protocol

    def at(self, name: str) -> Source:
        """Another place with the same settled."""
        return Source(name, self.columns, self.labels, self.splits, self.protocol)

    @classmethod
    def of(cls, source: str) -> Source:
        """``source`` itself, or a plain name with nothing settled."""
        return source if isinstance(source, cls) else cls(source)


def pairs(parameter: str, written: Mapping[str, str] | str | None) -> dict[str, str]:
    """``"premise=text_a,hypothesis=text_b"`` as a mapping; a mapping as it is, {} for nothing.

    Raises:
        DataError: a part without ``=``, with an empty side, or a left side that stands twice.
    """
    if not written:
        return {}
    if isinstance(written, Mapping):
        return {str(left): str(right) for left, right in written.items()}
    found: dict[str, str] = {}
    for part in written.split(","):
        left, sign, right = (piece.strip() for piece in part.partition("="))
        if not (sign and left and right):
            raise DataError(
                f"{parameter} = {written!r}: {part.strip()!r} is no pair", "Write name=value,name=value, without quotes"
            )
        if left in found:
            raise DataError(f"{parameter} = {written!r} names {left!r} twice", "Keep one of them")
        found[left] = right
    return found
