"""PyTorch's caching allocator for GPUs, played through: rounding, segments, splitting, and what no longer fits.

A GPU's memory is taken in segments that are cut into blocks. Blocks that were freed wait for a tensor that fits, so
more is reserved than tensors need, and a step can fail although the sum of its tensors would fit. Sizes and rules are
those of ``c10/cuda/CUDACachingAllocator`` with its default settings.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

ROUND = 512  # every block is a multiple of this
SMALL = 2**20  # up to this a tensor comes from the small pool
SMALL_SEGMENT, LARGE_SEGMENT = 2 * 2**20, 20 * 2**20
LARGE_FROM = 10 * 2**20  # from this on a tensor gets a segment of its own size
LARGE_ROUND = 2 * 2**20


@dataclass(frozen=True)
class Reserved:
    """How a sequence of tensors ended.

    Attributes:
        allocated: most bytes in blocks that tensors use, ``torch.cuda.max_memory_allocated``.
        reserved: most bytes in segments, ``torch.cuda.max_memory_reserved``.
        failed_at: index of the event that did not fit, ``None`` when all did.
    """

    allocated: int
    reserved: int
    failed_at: int | None


class _Block:
    __slots__ = ("segment", "start", "size", "free", "before", "after", "pool")

    def __init__(self, segment: int, start: int, size: int, pool: int) -> None:
        self.segment, self.start, self.size, self.pool = segment, start, size, pool
        self.free = True
        self.before: _Block | None = None
        self.after: _Block | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        return (self.size, self.segment, self.start)


class _Allocator:
    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        self.free: tuple[list[tuple[int, int, int]], ...] = ([], [])  # by pool, sorted: best fit is the first
        self.blocks: dict[tuple[int, int], _Block] = {}
        self.segments = 0
        self.allocated = self.reserved = 0
        self.most_allocated = self.most_reserved = 0

    def take(self, size: int) -> _Block | None:
        size = max(ROUND, -(-size // ROUND) * ROUND)
        pool = 0 if size <= SMALL else 1
        block = self._fitting(size, pool) or self._segment(size, pool)
        if block is None:
            return None
        rest = block.size - size
        if rest >= ROUND if pool == 0 else rest > SMALL:
            self._split(block, size, rest)
        block.free = False
        self.allocated += block.size
        self.most_allocated = max(self.most_allocated, self.allocated)
        return block

    def give(self, block: _Block) -> None:
        self.allocated -= block.size
        block.free = True
        for other in (block.before, block.after):
            if other is not None and other.free:
                self._drop(other)
                first, second = (other, block) if other is block.before else (block, other)
                first.size += second.size
                first.after = second.after
                if first.after is not None:
                    first.after.before = first
                del self.blocks[second.segment, second.start]
                block = first
        insort(self.free[block.pool], block.order)

    def _fitting(self, size: int, pool: int) -> _Block | None:
        waiting = self.free[pool]
        index = bisect_left(waiting, (size, -1, -1))
        if index == len(waiting):
            return None
        _, segment, start = waiting.pop(index)
        return self.blocks[segment, start]

    def _segment(self, size: int, pool: int) -> _Block | None:
        if pool == 0:
            wanted = SMALL_SEGMENT
        elif size < LARGE_FROM:
            wanted = LARGE_SEGMENT
        else:
            wanted = -(-size // LARGE_ROUND) * LARGE_ROUND
        if self.capacity is not None and self.reserved + wanted > self.capacity:
            self._return_unused()
            if self.reserved + wanted > self.capacity:
                return None
        self.reserved += wanted
        self.most_reserved = max(self.most_reserved, self.reserved)
        self.segments += 1
        block = _Block(self.segments, 0, wanted, pool)
        self.blocks[block.segment, 0] = block
        return block

    def _split(self, block: _Block, size: int, rest: int) -> None:
        other = _Block(block.segment, block.start + size, rest, block.pool)
        other.before, other.after = block, block.after
        if other.after is not None:
            other.after.before = other
        block.size, block.after = size, other
        self.blocks[other.segment, other.start] = other
        insort(self.free[block.pool], other.order)

    def _drop(self, block: _Block) -> None:
        waiting = self.free[block.pool]
        del waiting[bisect_left(waiting, block.order)]

    def _return_unused(self) -> None:
        """Whole segments that nothing uses go back to the driver."""
        for waiting in self.free:
            for size, segment, start in list(waiting):
                block = self.blocks[segment, start]
                if block.before is None and block.after is None:
                    self._drop(block)
                    del self.blocks[segment, start]
                    self.reserved -= size


def replay(events: Iterable[tuple[int, int]], capacity: int | None = None) -> Reserved:
    """Play births and deaths of storages through the allocator.

    Args:
        events: (key, bytes) where a storage begins, (key, -bytes) where it ends.
        capacity: bytes that may be reserved; ``None``: any number.
    """
    allocator = _Allocator(capacity)
    held: dict[int, _Block] = {}
    for index, (key, size) in enumerate(events):
        if size > 0:
            block = allocator.take(size)
            if block is None:
                return Reserved(allocator.most_allocated, allocator.most_reserved, index)
            held[key] = block
        elif key in held:
            allocator.give(held.pop(key))
    return Reserved(allocator.most_allocated, allocator.most_reserved, None)
