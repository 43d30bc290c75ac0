"""Out of memory: recognised on any device, told in one line, and cleared away so that a smaller try works."""

from __future__ import annotations

import functools
import gc
import sys
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from helpers.errors import OutOfMemory

# What the allocators of the CPU (Linux, Windows), CUDA and cuBLAS say in a plain RuntimeError.
_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "cublas_status_alloc_failed")

_P = ParamSpec("_P")
_T = TypeVar("_T")


def is_shortage(error: BaseException) -> bool:
    """Whether ``error`` means that memory ran out."""
    told = isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)
    return told or isinstance(error, MemoryError)


def torch_on_gpu() -> Any:
    """torch, where it is imported and has started CUDA; None elsewhere."""
    torch = sys.modules.get("torch")
    return torch if torch and torch.cuda.is_available() and torch.cuda.is_initialized() else None


def in_use() -> str:
    """How much memory is taken at this moment: of the GPU where torch uses one, else of the computer."""
    if torch := torch_on_gpu():
        held, (_, total) = torch.cuda.memory_allocated(), torch.cuda.mem_get_info()
        return f"{held / 2**30:.1f} of the GPU's {total / 2**30:.1f} GiB in use"
    import psutil

    memory, held = psutil.virtual_memory(), psutil.Process().memory_info().rss
    return f"{held / 2**30:.1f} GiB in use, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"


def release() -> None:
    """Give back what nothing refers to any more, to the GPU too."""
    gc.collect()
    if torch := torch_on_gpu():
        torch.cuda.empty_cache()


def forget(error: BaseException) -> None:
    """Empty the frames that an error came through: their variables are the failed step's tensors."""
    for link in filter(None, (error, error.__cause__, error.__context__)):
        traceback.clear_frames(link.__traceback__)


def explained(doing: str, cure: str = "halve batch_size") -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Decorator: a function that runs out of memory while ``doing`` this ("generating") raises ``OutOfMemory``."""

    def around(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return function(*args, **kwargs)
            except (MemoryError, RuntimeError) as error:
                if not is_shortage(error):
                    raise
                what = f"out of memory while {doing} ({in_use()})"
                forget(error)
            # Outside of the handler the error is gone, and with it all that its frames held.
            release()
            raise OutOfMemory(what, cure)

        return call

    return around
