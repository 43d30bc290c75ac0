"""The nearest valid name to what somebody typed. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable


def closest(given: object, names: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The most similar of ``names``, in any case; None when none is similar.

    Args:
        cutoff: least similarity, 0 to 1, as in ``difflib``.
    """
    import difflib

    by_fold = {name.lower(): name for name in names}
    found = difflib.get_close_matches(str(given).lower(), list(by_fold), n=1, cutoff=cutoff)
    return by_fold[found[0]] if found else None


def did_you_mean(given: object, names: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" with the most similar of ``names``, or nothing."""
    found = closest(given, names)
    return f" (did you mean {found!r}?)" if found else ""


def nearest_and_all(given: object, names: Iterable[str], kind: str) -> str:
    """A cure line: the nearest valid name, then all of them: "Did you mean 'x'? The forms are x, y"."""
    allowed = sorted(names)
    found = closest(given, allowed, cutoff=0.6)
    return (f"Did you mean {found!r}? " if found else "") + f"The {kind}s are {', '.join(allowed)}"
