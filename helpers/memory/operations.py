"""What the operations of a step do: how many sums and products, how many bytes, by kind and format.

A ``Tally`` is filled by ``fake.FakeRun``, or as a dispatch mode of its own on real tensors. Layers are alike, so a step
of thousands of operations is some hundred different ones and how often each comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten

# Kinds of operations, by what limits their speed.
PRODUCT, ATTENTION, UNPACK, OPTIMIZER, MOVE, VIEW = "product", "attention", "unpack", "optimizer", "move", "view"
KINDS = (PRODUCT, ATTENTION, UNPACK, OPTIMIZER, MOVE, VIEW)
# Where in a step it is called: by Python in a forward pass, by Python in one that is repeated for the backward pass, by
# autograd, by the optimizer.
FORWARD, AGAIN, BACKWARD, UPDATE = "forward", "again", "backward", "update"


class Sizes(NamedTuple):
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Described:
    """The arguments of a call, looked at once.

    Attributes:
        tensors: those among them, those in lists included.
        sizes: positional and named arguments with ``Sizes`` in place of tensors, lists as tuples.
        kinds: types of all that is no tensor, in order: 1 and 1.0 are equal, and mean different results.
    """

    __slots__ = ("tensors", "sizes", "kinds")

    def __init__(self, args: Any, kwargs: Any) -> None:
        self.tensors: list[torch.Tensor] = []
        kinds: list[type] = []
        self.sizes = (self._sized(args, kinds), self._sized(kwargs.items(), kinds))
        self.kinds = tuple(kinds)

    def _sized(self, values: Iterable[Any], kinds: list[type]) -> tuple[Any, ...]:
        found: list[Any] = []
        for value in values:
            if isinstance(value, torch.Tensor):
                self.tensors.append(value)
                found.append(Sizes(tuple(value.shape), value.stride(), value.dtype))
            elif isinstance(value, (list, tuple)):
                found.append(self._sized(value, kinds))
            else:
                kinds.append(type(value))
                found.append(value)
        return tuple(found)


@dataclass(frozen=True)
class Operation:
    """One kind of call: all calls with the same sizes are equal.

    Attributes:
        name: "aten.mm.default".
        kind: one of ``KINDS``.
        dtype: what is computed in, "bfloat16".
        flops: sums and products of numbers, a fused pair counted as two.
        moved: bytes read and written, each tensor once; what a view shares is not moved.
        arguments: positional and named arguments, with ``Sizes`` in place of tensors.
    """

    name: str
    kind: str
    dtype: str
    flops: int
    moved: int
    arguments: tuple[Any, ...] = field(repr=False)

    @property
    def key(self) -> str:
        """The same text for equal operations in every process."""
        return f"{self.name}{self.arguments!r}"


Counts = Counter[tuple[Operation, str]]  # (operation, where) -> how often


class Tally:
    """Counts operations: ``counts`` has how often each comes where."""

    def __init__(self) -> None:
        self.counts: Counts = Counter()
        self.last: tuple[Operation, str] = (_VIEW_OPERATION, FORWARD)  # what was counted last
        self._known: dict[Any, Operation] = {}

    def add(
        self, func: Any, args: Any, kwargs: Any, out: Any, where: str, call: Described, known: Operation | None = None
    ) -> Operation:
        """Count one call.

        Args:
            func: the ``OpOverload`` that ran, with its arguments and result.
            where: ``FORWARD``, ``BACKWARD`` or ``UPDATE``. What autograd has Python call again becomes ``AGAIN``.
            call: its arguments, described.
            known: what was returned for an equal call.
        """
        if where == BACKWARD and torch.is_grad_enabled():
            where = AGAIN
        found = known or self._operation(func, args, kwargs, out, where, call)
        self.last = found, where
        if func not in _FREE:
            self.counts[self.last] += 1
        return found

    def _operation(self, func: Any, args: Any, kwargs: Any, out: Any, where: str, call: Described) -> Operation:
        if func in _FREE or _is_view(func):
            return _VIEW_OPERATION
        key = (id(func), call.sizes, where == UPDATE)
        if key not in self._known:
            self._known[key] = operation(func, args, kwargs, out, where, call)
        return self._known[key]


class RealTally(TorchDispatchMode):
    """Within, operations on real tensors are computed and counted in ``tally``."""

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inside = torch._C._current_graph_task_id() != -1
        kwargs = kwargs or {}
        self.tally.add(func, args, kwargs, out, BACKWARD if inside else FORWARD, Described(args, kwargs))
        return out


def operation(func: Any, args: Any, kwargs: Any, out: Any, where: str, call: Described) -> Operation:
    """What one call does; see ``Tally.add``."""
    outs = [x for x in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(x, torch.Tensor)]
    read, written = _read_and_written(func, args, kwargs)
    storages = {x.untyped_storage()._cdata for x in (*read, *written)}
    fresh = [x for x in outs if x.untyped_storage()._cdata not in storages]
    if not fresh and not written:
        return _VIEW_OPERATION  # some are views although their schema does not say so
    flops = flops_of(func, args, kwargs, out)
    kind = _kind(func, flops)
    if where == UPDATE and kind == MOVE:
        kind = OPTIMIZER
    moved = 0 if func.overloadpacket.__name__ in _UNWRITTEN else _gathered(func, args, outs)
    if moved is None:
        moved = sum(map(_bytes, read)) + sum(map(_bytes, fresh)) + sum(map(_bytes, written))
    floats = [x for x in (*outs, *read, *written) if x.is_floating_point()]
    dtype = str((floats or outs or read or written)[0].dtype).removeprefix("torch.")
    return Operation(str(func), kind, dtype, flops, moved, call.sizes)


def flops_of(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Sums and products of a call: torch's formulas, and those it lacks. 0 for what is limited by memory alone."""
    packet = func.overloadpacket
    if packet in _FORMULAS:
        return int(_FORMULAS[packet](*args, **kwargs))
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=out))
    return 0


def _linear(x: Any, weight: Any, bias: Any = None) -> int:
    return 2 * x.numel() * weight.shape[0]


def _matmul(a: Any, b: Any) -> int:
    rows = b.shape[-1] if b.dim() > 1 else 1
    batch = b.shape[:-2] if b.dim() > a.dim() else ()
    times = 1
    for size in batch[: b.dim() - a.dim()]:
        times *= size
    return 2 * a.numel() * rows * times


def _attention(query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
    return sdpa_flop_count(query.shape, _repeated(key, query), _repeated(value, query))


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
    return sdpa_backward_flop_count(grad.shape, query.shape, _repeated(key, query), _repeated(value, query))


def _repeated(key: Any, query: Any) -> tuple[int, ...]:
    """Shape of keys or values as if every head had its own: sharing them saves memory, no product."""
    return (key.shape[0], query.shape[1], *key.shape[2:])


_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.linear: _linear,
    aten.matmul: _matmul,
    aten.scaled_dot_product_attention: _attention,
    aten._scaled_dot_product_attention_math: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
_FREE = {aten.detach.default, aten.lift_fresh.default, aten.alias.default}
_UNPACKING = ("dequantize_4bit", "dequantize_blockwise")
_UNWRITTEN = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
_OTHER_PRODUCTS = ("int8_linear_matmul",)
_VIEW_OPERATION = Operation("view", VIEW, "", 0, 0, ())
_views: dict[Any, bool] = {}


def _is_view(func: Any) -> bool:
    """Whether the schema says that the result is its argument, seen otherwise."""
    if func not in _views:
        aliases = [r.alias_info for r in func._schema.returns]
        _views[func] = bool(aliases) and all(a is not None and not a.is_write for a in aliases)
    return _views[func]


def _kind(func: Any, flops: int) -> str:
    name = func.overloadpacket.__name__
    if "attention" in name:
        return ATTENTION
    if flops or name in _OTHER_PRODUCTS:
        return PRODUCT
    return UNPACK if name in _UNPACKING else MOVE


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _read_and_written(func: Any, args: Any, kwargs: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Tensors that are read, and given ones that are written; what is overwritten as a whole is not read."""
    read: list[torch.Tensor] = []
    written: list[torch.Tensor] = []
    overwrites = func.overloadpacket.__name__ in ("copy_", "fill_", "zero_")
    for index, argument in enumerate(func._schema.arguments):
        value = args[index] if index < len(args) else kwargs.get(argument.name)
        tensors = list(_tensors(value))
        if argument.alias_info is not None and argument.alias_info.is_write:
            written += tensors
            if overwrites:
                continue
        read += tensors
    return read, written


def _bytes(tensor: torch.Tensor) -> int:
    """Bytes of the different numbers of a tensor: what is only repeated, with a stride of 0, is there once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride or size == 0 else 1
    return count * tensor.element_size()


def _gathered(func: Any, args: Any, outs: list[torch.Tensor]) -> int | None:
    """Bytes of an operation that reads some rows of a table, else ``None``."""
    if func.overloadpacket not in (aten.embedding, aten.index, aten.index_select, aten.gather):
        return None
    return sum(map(_bytes, _tensors(args[1:]))) + 2 * sum(map(_bytes, outs))
