"""Marks in the record of a step where a sharded model's units are gathered, given back and summed, as FSDP2 does it.

The step that is recorded is that of one card with the whole model. FSDP2 hooks into a unit's first forward and last
backward operation; here the same hooks put a mark, and ``shards`` makes of the marks what a strategy does there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map_only

from helpers.memory.units import modules_of

FORWARD, DONE, BACKWARD, AFTER = "forward", "done", "backward", "after"  # followed by the unit's name
END = "end"  # of a backward pass


def put_marks(run: Any, model: Any) -> None:
    """Hook into a model's units so that each step puts its marks into ``run``, a ``FakeRun``."""
    ends: list[bool] = []  # not empty: the end of this backward pass is waited for
    for name, modules, _ in modules_of(model):
        _Marks(run, name, modules, ends)


class _Marks:
    """The hooks of one unit."""

    def __init__(self, run: Any, name: str, modules: list[Any], ends: list[bool]) -> None:
        self.run, self.name, self.modules, self.ends = run, name, modules, ends
        self.waiting: set[Any] = set()  # modules whose forward pass is still to come
        self.backward = False
        for module in modules:
            module.register_forward_pre_hook(self._before, prepend=True, with_kwargs=True)
            module.register_forward_hook(self._behind)

    def _before(self, module: Any, args: Any, kwargs: Any) -> Any:
        if self.backward or self.waiting:  # a checkpointed layer once more; another module of a unit that has begun
            return None
        self.waiting = set(self.modules)
        self.run.mark(f"{FORWARD} {self.name}")
        return tree_map_only(torch.Tensor, self._watched, (args, kwargs))

    def _watched(self, tensor: torch.Tensor) -> torch.Tensor:
        watched = tensor.requires_grad and torch.is_grad_enabled()
        return _After.apply(self, tensor) if watched else tensor

    def _behind(self, module: Any, args: Any, output: Any) -> None:
        self.waiting.discard(module)
        if self.backward or self.waiting:
            return
        self.run.mark(f"{DONE} {self.name}")
        for tensor in tree_flatten(output)[0]:
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                tensor.register_hook(self._begin)

    def _begin(self, gradient: torch.Tensor) -> None:
        if self.backward:
            return
        self.backward = True
        if not self.ends:
            self.ends.append(True)
            torch.autograd.Variable._execution_engine.queue_callback(self._end)
        self.run.mark(f"{BACKWARD} {self.name}")

    def after(self) -> None:
        """All gradients of the unit's inputs are there."""
        if self.backward:
            self.backward = False
            self.run.mark(f"{AFTER} {self.name}")

    def _end(self) -> None:
        self.ends.clear()
        self.run.mark(END)


class _After(torch.autograd.Function):
    """The tensor itself; its gradient passes when a unit's backward pass is over."""

    @staticmethod
    def forward(ctx: Any, marks: _Marks, tensor: torch.Tensor) -> torch.Tensor:
        ctx.marks = marks
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        ctx.marks.after()
        return None, *gradients
