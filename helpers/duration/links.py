"""Seconds of what several cards send each other, from the bandwidth of the link between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from helpers.duration.rates import sheet
from helpers.errors import ParameterError
from helpers.hints import did_you_mean
from helpers.memory.wire import DOWN, UP, Traffic


@dataclass(frozen=True)
class Link:
    """What connects a card with others, or with the machine's memory.

    Attributes:
        bandwidth: bytes a second that a card can send, in one direction.
        share: of it that is reached; assumed, not measured.
    """

    name: str
    bandwidth: float
    share: float

    def seconds(self, size: float) -> float:
        """Time of sending this many bytes."""
        return size / (self.bandwidth * self.share)


def link_of(card: str, given: str | None = None) -> Link:
    """The link between cards of a kind, by ``cards.toml``, or a given one.

    Args:
        given: the name of a link in ``cards.toml``, or GB a second, which are taken as reached.

    Raises:
        ParameterError: neither.
    """
    links = sheet()["links"]
    if given is None:
        return _named(sheet()[card]["link"])
    short = {"".join(name.lower().split()): name for name in links}
    if name := short.get("".join(given.lower().split())):
        return _named(name)
    try:
        bandwidth = float(given)
    except ValueError:
        near = did_you_mean(given, links)
        cure = f"Give GB a second, or one of {', '.join(links)}"
        raise ParameterError(f"link = {given!r} is not known{near}", cure) from None
    if not 0 < bandwidth < 1e5:
        raise ParameterError(f"link = {given!r} is no bandwidth", "Give GB a second, above 0")
    return Link(f"{bandwidth:g} GB/s", bandwidth * 1e9, 1.0)


def host_of(card: str) -> Link:
    """The link between a card and the machine's memory."""
    return _named(sheet()[card]["host"])


def _named(name: str) -> Link:
    return Link(name, sheet()["links"][name]["bandwidth"] * 1e9, sheet()["efficiency"]["link"]["share"])


def seconds(sent: Sequence[Traffic], link: Link, host: Link) -> float:
    """Time of one update's collectives and copies, one after the other; what a call itself takes is left out."""
    copied = sum(row.size for row in sent if row.kind in (UP, DOWN))
    return link.seconds(sum(row.sent for row in sent)) + host.seconds(copied)


def update_seconds(computing: float, sending: float) -> tuple[float, float]:
    """(least, most) that an update takes: where all of what is sent is hidden behind computing, and where none is."""
    return max(computing, sending), computing + sending
