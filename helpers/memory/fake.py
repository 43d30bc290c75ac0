"""Run a real step without memory: floats are fake, integers are real, and every storage is on record.

``FakeTensorMode`` gives each tensor a shape and a dtype and no numbers, so a step of a 7B model costs neither memory
nor a GPU. Models, however, also look at numbers: which token is a picture, how long a row is, where a label stands.
``FakeRun`` therefore computes everything that is made of integers for real (it is small) and fakes the rest. It sees
every operation, so it also knows when each storage begins and ends: that record is what a plan is made of. What the
operations compute is counted in ``tally``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from helpers.memory.composed import MADE_OF_OTHERS
from helpers.memory.operations import BACKWARD, FORWARD, UPDATE, Tally

aten = torch.ops.aten
# Causes of a step whose operations are counted; what comes before it is not part of it.
COUNTED = {"activations": FORWARD, "backward": BACKWARD, "update": UPDATE}
# Floats made of integers alone, up to this many, are computed too: a count, a step number, a learning rate.
FEW = 64
CPU = torch.device("cpu")


@dataclass
class Ledger:
    """Births and deaths of storages, in order.

    Attributes:
        events: (key, bytes) where a storage begins, (key, -bytes) where it ends.
        causes: key -> what the storage is for; the latest word counts.
        shapes: key -> (shape, dtype, operation) of the tensor that it was made for.
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


class FakeRun(TorchDispatchMode):
    """Under it floating-point tensors are fake, integers real, and ``ledger`` records the storages of both.

    Args:
        workspace: operation -> function of its arguments and result that gives bytes which the operation allocates
            inside, for as long as it runs, and which no one else sees.
    """

    def __init__(self, workspace: dict[Any, Callable[..., int]] | None = None) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.ledger = Ledger()
        self.cause = "setup"
        self.workspace = workspace or {}
        self.tally = Tally()
        self._slow: set[Any] = set()  # operations that need FakeTensorMode
        self._makes_new: dict[Any, bool] = {}  # operation -> whether its result is a tensor of its own
        self._seen: dict[Any, Any] = {}  # operation and sizes of its arguments -> sizes of its result
        self._keys: dict[int, int] = {}  # address of a live storage -> its key
        self._watched: dict[int, Any] = {}  # key -> weak reference, which says when a storage ends
        self._next = 0

    @contextmanager
    def because(self, cause: str) -> Iterator[None]:
        """What begins in this block is for ``cause``."""
        before, self.cause = self.cause, cause
        try:
            yield
        finally:
            self.cause = before

    def label(self, tensor: Any, cause: str) -> None:
        """Say what a tensor's storage is for, afterwards."""
        self.ledger.causes[self.record(tensor, "given")] = cause

    def record(self, tensor: Any, operation: str) -> int:
        """Key of a tensor's storage; a new one begins here."""
        storage = tensor.untyped_storage()
        address = storage._cdata
        key = self._keys.get(address)
        if key is None:
            key, size = self._next, storage.nbytes()
            self._next += 1
            self._keys[address] = key
            self.ledger.events.append((key, size))
            self.ledger.causes[key] = self.cause
            self.ledger.shapes[key] = (tuple(tensor.shape), tensor.dtype, operation)
            self._watched[key] = weakref.ref(storage, partial(self._ended, address, key, size))
        return key

    def _ended(self, address: int, key: int, size: int, _storage: Any) -> None:
        del self._watched[key]
        if self._keys.get(address) == key:
            del self._keys[address]
        self.ledger.events.append((key, -size))

    def _inside(self, size: int) -> None:
        """A storage that begins and ends within one operation."""
        key, self._next = self._next, self._next + 1
        self.ledger.causes[key] = self.cause
        self.ledger.shapes[key] = ((size,), torch.uint8, "workspace")
        self.ledger.events += [(key, size), (key, -size)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return args[0].fake_device if isinstance(args[0], FakeTensor) else torch.device("cpu")
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and isinstance(args[0], FakeTensor) and args[0].is_floating_point():
            return 1.0  # a number that no plan depends on
        if func in MADE_OF_OTHERS:
            with self:
                return MADE_OF_OTHERS[func](*args, **kwargs)
        tensors = list(_tensors(args))
        tensors += _tensors(kwargs.values())
        fakes = sum(isinstance(item, FakeTensor) for item in tensors)
        if not fakes:
            out = self._real(func, args, kwargs, bool(tensors))
        else:
            if fakes < len(tensors):
                if func._schema.is_mutable and tensors[0].dim() == 0 and not isinstance(tensors[0], FakeTensor):
                    return tensors[0]  # a number becomes another number
                if func in _INDEXING:
                    args = (args[0], _as_positions(args[1]), *args[2:])
                flat, spec = tree_flatten((args, kwargs))
                flat = [self.pretend(x) if isinstance(x, torch.Tensor) else x for x in flat]
                args, kwargs = tree_unflatten(flat, spec)
            out = self._faked(func, args, kwargs)
        name = func.overloadpacket.__name__
        for item in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(item, torch.Tensor):
                self.record(item, name)
        if self.cause in COUNTED:
            self.count(func, args, kwargs, out, COUNTED[self.cause])
        if func in self.workspace:  # it is there while the results are
            self._inside(self.workspace[func](out, *args, **kwargs))
        return out

    def count(self, func: Any, args: Any, kwargs: Any, out: Any, where: str) -> None:
        """Called after each operation of a step; see ``Tally.add``."""
        self.tally.add(func, args, kwargs, out, where)

    def _faked(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operation on fake tensors: straight to the kernel that computes shapes, where that is all there is to it.

        ``FakeTensorMode`` does the same with much more care, which takes three times as long. Layers are alike, so an
        operation is mostly one that was there before: what came out of it then is made again.
        """
        key = self._key(func, args, kwargs)
        if key in self._seen:
            kind, sizes = self._seen[key]
            made = [None if size is None else self._fresh(*size) for size in sizes]
            return made[0] if kind is None else kind(made)
        out = self._computed(func, args, kwargs)
        if key is not None:
            several = isinstance(out, (tuple, list))
            outs = out if several else (out,)
            given = {x.untyped_storage()._cdata for x in (*_tensors(args), *_tensors(kwargs.values()))}
            if any(isinstance(x, torch.Tensor) and x.untyped_storage()._cdata in given for x in outs):
                self._makes_new[func] = False  # some are views although they do not say so
            elif all(x is None or isinstance(x, FakeTensor) for x in outs):
                sizes = [None if x is None else (tuple(x.shape), x.stride(), x.dtype) for x in outs]
                self._seen[key] = (type(out) if several else None, sizes)
        return out

    def _key(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What an operation's result depends on; ``None`` where it is not a tensor of its own."""
        fresh = self._makes_new.get(func)
        if fresh is None:
            schema = func._schema
            fresh = not schema.is_mutable and all(r.alias_info is None for r in schema.returns)
            fresh = fresh and func.namespace in ("aten", "bitsandbytes") and func not in _LOOKED_AT
            self._makes_new[func] = fresh
        return (func, _described(args), _described(kwargs.items())) if fresh else None

    def _fresh(self, shape: Any, stride: Any, dtype: torch.dtype) -> torch.Tensor:
        return FakeTensor(self.fake, torch.empty_strided(shape, stride, dtype=dtype, device="meta"), CPU)

    def _computed(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func not in self._slow and func.namespace in ("aten", "bitsandbytes"):
            try:
                own = {name: value for name, value in kwargs.items() if name != "device"}
                with in_kernel_invocation_manager(self.fake):
                    out = func(*args, **own)
                if isinstance(out, torch.Tensor):
                    return self._wrapped(out)
                return type(out)(self._wrapped(x) if isinstance(x, torch.Tensor) else x for x in out)
            except (NotImplementedError, RuntimeError, TypeError):
                self._slow.add(func)
        with self.fake:
            return func(*args, **kwargs)

    def _wrapped(self, tensor: torch.Tensor) -> torch.Tensor:
        """A fake tensor of what a kernel gave; itself where the kernel gave back what it got."""
        return tensor if isinstance(tensor, FakeTensor) else FakeTensor(self.fake, tensor, CPU)

    def _real(self, func: Any, args: Any, kwargs: Any, given: bool) -> Any:
        """An operation on numbers that are known: computed, unless it makes many floats."""
        if not given:  # a factory: look at what it would make first
            with self.fake:
                out = func(*args, **kwargs)
            if not isinstance(out, torch.Tensor) or (out.is_floating_point() and out.dim()):
                return out
        out = func(*args, **kwargs)
        if func is aten.lift_fresh.default:
            return out
        return tree_map_only(
            torch.Tensor, lambda x: self.pretend(x) if x.is_floating_point() and x.numel() > FEW else x, out
        )

    def pretend(self, tensor: torch.Tensor) -> torch.Tensor:
        """A fake tensor of the same shape, strides and device."""
        return tensor if isinstance(tensor, FakeTensor) else self._fresh(tensor.shape, tensor.stride(), tensor.dtype)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The tensors among an operation's arguments, those in lists included."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _described(values: Iterable[Any]) -> tuple[Any, ...]:
    """Arguments as something that can be compared: of a tensor its size and format."""
    found: list[Any] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append((tuple(value.shape), value.stride(), value.dtype))
        elif isinstance(value, (list, tuple)):
            found.append(_described(value))
        else:
            found.append((type(value), value))
    return tuple(found)


_LOOKED_AT = {aten.index.Tensor, aten._unsafe_index.Tensor, aten.nonzero.default, aten._local_scalar_dense.default}
_INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor}


def _as_positions(indices: Any) -> list[Any]:
    """Indices with every mask written as the positions where it is true."""
    found: list[Any] = []
    for index in indices:
        if isinstance(index, torch.Tensor) and index.dtype == torch.bool and not isinstance(index, FakeTensor):
            found += list(index.nonzero(as_tuple=True))
        else:
            found.append(index)
    return found
