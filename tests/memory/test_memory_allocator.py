"""The allocator's rules on sequences worked out by hand, and what must hold on any sequence."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.memory.allocator import Reserved, _Allocator, replay

KB, MB = 2**10, 2**20


def test_sizes_are_rounded_to_512_bytes_and_small_ones_share_two_megabytes() -> None:
    assert replay([(1, 1), (2, 513)]) == Reserved(512 + 1024, 2 * MB, None)
    assert replay([(1, MB), (2, MB), (3, 1)]) == Reserved(2 * MB + 512, 4 * MB, None)


def test_a_middling_tensor_takes_its_part_of_twenty_megabytes() -> None:
    assert replay([(1, 3 * MB), (2, 9 * MB)]) == Reserved(12 * MB, 20 * MB, None)


def test_a_large_tensor_gets_a_segment_rounded_to_two_megabytes() -> None:
    # What is left of it is split off when it is more than a megabyte, else it counts as used.
    assert replay([(1, 11 * MB + KB)]) == Reserved(12 * MB, 12 * MB, None)
    assert replay([(1, 10 * MB + 512 * KB)]) == Reserved(10 * MB + 512 * KB, 12 * MB, None)


def test_a_freed_block_is_used_again_the_smallest_that_fits_first() -> None:
    events = [(1, 12 * MB), (2, 30 * MB), (1, -12 * MB), (2, -30 * MB), (3, 12 * MB), (4, 30 * MB)]
    assert replay(events).reserved == 42 * MB


def test_neighbours_that_are_free_become_one() -> None:
    events = [(1, 6 * MB), (2, 6 * MB), (1, -6 * MB), (2, -6 * MB), (3, 9 * MB), (4, 9 * MB)]
    assert replay(events).reserved == 20 * MB


def test_a_gap_that_is_too_small_costs_a_new_segment() -> None:
    # 4 and 4 free, but not beside each other.
    events = [(1, 6 * MB), (2, 6 * MB), (3, 6 * MB), (1, -6 * MB), (3, -6 * MB), (4, 9 * MB)]
    found = replay(events)
    assert (found.allocated, found.reserved) == (18 * MB, 40 * MB)


def test_where_memory_runs_out_unused_segments_are_given_back_first() -> None:
    events = [(1, 30 * MB), (1, -30 * MB), (2, 40 * MB)]
    assert replay(events) == Reserved(40 * MB, 70 * MB, None)
    assert replay(events, capacity=45 * MB) == Reserved(40 * MB, 40 * MB, None)
    assert replay(events, capacity=35 * MB).failed_at == 2


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40 * MB), st.integers(0, 10)), max_size=60))
def test_blocks_never_overlap_and_everything_is_given_back(sizes: list[tuple[int, int]]) -> None:
    allocator = _Allocator(None)
    held = []
    for size, which in sizes:
        held.append((size, allocator.take(size)))
        if which < len(held):
            allocator.give(held.pop(which)[1])
        taken = sorted((b.segment, b.start, b.start + b.size) for b in allocator.blocks.values())
        for (s1, _, end), (s2, start, _) in zip(taken, taken[1:], strict=False):
            assert s1 != s2 or end == start, "blocks of a segment lie end to end"
        used = [b for b in allocator.blocks.values() if not b.free]
        assert sum(b.size for b in used) == allocator.allocated
        assert all(block.size >= wanted for wanted, block in held)
        waiting = sum(size for pool in allocator.free for size, _, _ in pool)
        assert allocator.allocated + waiting == allocator.reserved
    for _, block in held:
        allocator.give(block)
    assert allocator.allocated == 0
    assert len(allocator.blocks) == allocator.segments, "each segment is one free block again"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30 * MB), min_size=1, max_size=40), st.integers(0, 2**32))
def test_more_capacity_never_hurts_and_the_sum_is_a_lower_bound(sizes: list[int], seed: int) -> None:
    import random

    order = random.Random(seed)
    events: list[tuple[int, int]] = []
    alive: list[int] = []
    for key, size in enumerate(sizes):
        events.append((key, size))
        alive.append(key)
        if order.random() < 0.5:
            gone = alive.pop(order.randrange(len(alive)))
            events.append((gone, -sizes[gone]))
    free = replay(events)
    running = highest = 0
    for _, size in events:
        running += size
        highest = max(highest, running)
    assert highest <= free.allocated <= free.reserved
    assert replay(events, free.reserved).failed_at is None
