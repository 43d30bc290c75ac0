"""Ranks of a test: forks of a process that has imported everything, so that this is paid for once."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def failed_ranks(world: int, work: Callable[[int], None]) -> list[int]:
    """Call ``work`` with its rank in each of ``world`` forks; the ranks that raised, with what they say on stderr."""
    children = [_forked(work, rank) for rank in range(world)]
    return [rank for rank, child in enumerate(children) if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


def _forked(work: Callable[[int], None], rank: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work(rank)
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)
