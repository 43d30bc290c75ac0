"""What can go wrong between a client and the Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# status: an HTTP error. stall: some bytes, then silence. cut: some bytes, then the connection is closed.
# short: a complete answer with fewer bytes than the Hub announced. corrupt: a byte is another one.
# reset: some bytes, then a connection reset. vanish: some bytes, a reset, and from then on connections are refused.
KINDS = ("status", "stall", "cut", "short", "corrupt", "reset", "vanish")


@dataclass
class Fault:
    """One thing that goes wrong, ``times`` times (None: for ever).

    Args:
        path: a regular expression that the request's path matches from its start on.
        methods: HTTP methods that it hits.
        after: bytes of the body that still arrive.
        skip: matching requests that are served well first.
    """

    kind: str
    path: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = None
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    after: int = 1000
    skip: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}: {', '.join(KINDS)}")

    def strikes(self, method: str, path: str) -> bool:
        """Whether it hits this request; counts."""
        if method not in self.methods or not re.match(self.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True
