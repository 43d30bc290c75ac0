"""Which rows of an update each of several processes reads, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import BatchSampler, Dataset, Sampler

from helpers.machine import ranks

if TYPE_CHECKING:
    from helpers.training.sharing import Shared


def shares(rows: int, batch: int, processes: int) -> tuple[int, int]:
    """How an update of ``rows`` is shared out.

    Args:
        rows: of one update.
        batch: rows in one forward pass at most.
        processes: that share them.

    Returns:
        Forward passes of each process, and rows in one of them. The product with ``processes`` may be larger than
        ``rows``: some then have less to do.
    """
    passes = max(1, math.ceil(rows / (batch * processes)))
    return passes, math.ceil(rows / (processes * passes))


class Order(Sampler[int]):
    """The order of length groups, which an epoch that is continued has again.

    It is drawn from torch's random numbers as they are when an epoch begins. ``Trainer`` puts a checkpoint's random
    numbers back only after it has drawn an order for the epoch to be continued, which would be another one.

    Args:
        drawn: sampler that draws an order.
        trainer: whose ``order_state`` keeps what the order of this epoch was drawn from.
        updates: of an epoch.
    """

    def __init__(self, drawn: Sampler[int], trainer: Shared, updates: int) -> None:
        self.drawn, self.trainer, self.updates = drawn, trainer, updates

    def __len__(self) -> int:
        return len(self.drawn)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        within = self.trainer.state.global_step % self.updates > 0
        if self.trainer.order_state is None or not within:
            self.trainer.order_state = torch.get_rng_state()
            return iter(list(self.drawn))
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.trainer.order_state)
            return iter(list(self.drawn))


class Share(BatchSampler):
    """The batches of this process; each is a list of (row, whether it counts).

    All processes do equally many forward passes. One that has no row left in a pass reads one that does not count.

    Args:
        order: of all rows, as one process would read them; that of process 0 is used.
        rows: of an update.
        batch: most rows of a forward pass.
        begin: called when an epoch begins.
    """

    def __init__(self, order: Sampler[int], rows: int, batch: int, begin: Callable[[], None]) -> None:
        self.order, self.rows, self.begin = order, rows, begin
        self.world, self.rank = ranks.world(), ranks.rank()
        self.passes, self.batch_size = shares(rows, batch, self.world)
        self.drop_last = False

    def _passes(self, rows: int) -> int:
        return math.ceil(rows / (self.batch_size * self.world))

    def __len__(self) -> int:
        whole, rest = divmod(len(self.order), self.rows)  # type: ignore[arg-type]
        return whole * self.passes + self._passes(rest)

    def __iter__(self) -> Iterator[Any]:
        self.begin()
        drawn = list(self.order)
        order = ranks.from_first(lambda: drawn)
        for start in range(0, len(order), self.rows):
            update = order[start : start + self.rows]
            for number in range(self._passes(len(update))):
                at = (number * self.world + self.rank) * self.batch_size
                own = [(row, True) for row in update[at : at + self.batch_size]]
                yield own or [(update[0], False)]


class Marked(Dataset[Any]):
    """Rows with the mark that ``Share`` gives them."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, marked: tuple[int, bool]) -> tuple[Any, bool]:
        row, counts = marked
        return self.rows[row], counts


class Every(BatchSampler):
    """Every n-th batch of an evaluation, for process k of n; who runs out reads one once more that does not count.

    Attributes:
        counts: whether a batch does.
    """

    def __init__(self, order: Iterable[int], batch: int) -> None:
        rows = list(order)
        batches = [rows[start : start + batch] for start in range(0, len(rows), batch)]
        places = range(ranks.rank(), ranks.world() * math.ceil(len(batches) / ranks.world()), ranks.world())
        self.counts = [place < len(batches) for place in places]
        self._own = [
            batches[place] if counts else batches[0] for place, counts in zip(places, self.counts, strict=True)
        ]
        self.batch_size, self.drop_last = batch, False

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._own)
