"""When each storage of a step begins and ends, what for, and how much there is at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

MARK = "mark"  # cause of an event of no bytes that says where in the step it stands


@dataclass
class Ledger:
    """Births and deaths of storages, in order.

    Attributes:
        events: (key, bytes) where a storage begins, (key, -bytes) where it ends.
        causes: key -> what the storage is for; the latest word counts.
        shapes: key -> (shape, dtype, operation) of the tensor that it was made for; a mark's words are its operation.
    """

    events: list[tuple[int, int]] = field(default_factory=list)
    causes: dict[int, str] = field(default_factory=dict)
    shapes: dict[int, tuple[tuple[int, ...], torch.dtype, str]] = field(default_factory=dict)

    def peak(self) -> tuple[int, int]:
        """(bytes, index of the event that reaches them)."""
        held = highest = where = 0
        for index, (_, size) in enumerate(self.events):
            held += size
            if held > highest:
                highest, where = held, index
        return highest, where

    def live(self, index: int) -> dict[int, int]:
        """key -> bytes of the storages that are there after event ``index``."""
        found: dict[int, int] = {}
        for key, size in self.events[: index + 1]:
            if size >= 0:
                found[key] = size
            else:
                found.pop(key, None)
        return found
