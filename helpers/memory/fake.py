"""Run a real step without memory: floats are fake, integers are real, and every storage is on record.

``FakeTensorMode`` gives each tensor a shape and a dtype and no numbers, so a step of a 7B model costs neither memory
nor a GPU. Models, however, also look at numbers: which token is a picture, how long a row is, where a label stands.
``FakeRun`` therefore computes everything that is made of integers for real (it is small) and fakes the rest. It sees
every operation, so it also knows when each storage begins and ends: that record is what a plan is made of. What the
operations compute is counted in ``tally``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from helpers.memory.composed import MADE_OF_OTHERS
from helpers.memory.ledger import MARK, Ledger
from helpers.memory.operations import BACKWARD, FORWARD, UPDATE, Described, Operation, Tally

aten = torch.ops.aten
DEVICE, NUMBER = torch.ops.prim.device.default, aten._local_scalar_dense.default
# Causes of a step whose operations are counted; what comes before it is not part of it.
COUNTED = {"activations": FORWARD, "backward": BACKWARD, "update": UPDATE}
# Floats made of integers alone, up to this many, are computed too: a count, a step number, a learning rate.
FEW = 64
CPU = torch.device("cpu")


@dataclass
class _Seen:
    """What came out of an operation on arguments of certain sizes.

    Attributes:
        kind: tuple or list, ``None`` for one tensor.
        sizes: shape, strides and format of each tensor.
        operations: whether it is in the update -> how it is counted.
    """

    kind: Any
    sizes: list[Any]
    operations: dict[bool, Operation] = field(default_factory=dict)


class FakeRun(TorchDispatchMode):
    """Under it floating-point tensors are fake, integers real, and ``ledger`` records the storages of both.

    Args:
        workspace: operation -> function of its arguments and result that gives bytes which the operation allocates
            inside, for as long as it runs, and which no one else sees.
        counts: whether to count what operations compute.
    """

    def __init__(self, workspace: dict[Any, Callable[..., int]] | None = None, counts: bool = True) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        # What FakeTensor's constructor, which is slow, sets in every tensor.
        self._attributes = dict(vars(FakeTensor(self.fake, torch.empty(0, device="meta"), CPU)))
        self.ledger = Ledger()
        self.cause = "setup"
        self.workspace = workspace or {}
        self._counted = COUNTED if counts else {}
        self.tally = Tally()
        self._slow: set[Any] = set()  # operations that need FakeTensorMode
        self._makes_new: dict[Any, bool] = {}  # operation -> whether its result is a tensor of its own
        self._seen: dict[Any, _Seen] = {}  # operation and sizes of its arguments -> sizes of its result
        self._whole: set[Any] = set()  # factories of whole numbers and sizes
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

    def mark(self, what: str) -> None:
        """Put a word between the storages: an event of no bytes, with ``MARK`` for its cause."""
        key, self._next = self._next, self._next + 1
        self.ledger.events.append((key, 0))
        self.ledger.causes[key], self.ledger.shapes[key] = MARK, ((), torch.uint8, what)

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

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; torch would import its compiler and call through it every time

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is DEVICE:
            return args[0].fake_device if isinstance(args[0], FakeTensor) else CPU
        # A mode for functions, such as ``gpu.GpuNumerics``, would see every look at a tensor in here.
        with torch._C.DisableTorchFunction():
            return self._done(func, args, kwargs or {})

    def _done(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func is NUMBER and isinstance(args[0], FakeTensor) and args[0].is_floating_point():
            return 1.0  # a number that no plan depends on
        if func in MADE_OF_OTHERS:
            with self:
                return MADE_OF_OTHERS[func](*args, **kwargs)
        call = Described(args, kwargs)
        fakes = sum(isinstance(item, FakeTensor) for item in call.tensors)
        seen: _Seen | None = None
        if not fakes:
            out = self._real(func, args, kwargs, call)
        else:
            if fakes < len(call.tensors):
                first = call.tensors[0]
                if func._schema.is_mutable and first.dim() == 0 and not isinstance(first, FakeTensor):
                    return first  # a number becomes another number
                if func in _INDEXING:
                    args = (args[0], _as_positions(args[1]), *args[2:])
                flat, spec = tree_flatten((args, kwargs))
                flat = [self.pretend(x) if isinstance(x, torch.Tensor) else x for x in flat]
                args, kwargs = tree_unflatten(flat, spec)
                call = Described(args, kwargs)
            out, seen = self._faked(func, args, kwargs, call)
        name = func.overloadpacket.__name__
        for item in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(item, torch.Tensor):
                self.record(item, name)
        if where := self._counted.get(self.cause):
            known = seen.operations.get(where == UPDATE) if seen else None
            operation = self.count(func, args, kwargs, out, where, call, known)
            if seen:
                seen.operations[where == UPDATE] = operation
        if func in self.workspace:  # it is there while the results are
            self._inside(self.workspace[func](out, *args, **kwargs))
        return out

    def count(
        self, func: Any, args: Any, kwargs: Any, out: Any, where: str, call: Described, known: Operation | None
    ) -> Operation:
        """Called after each operation of a step; see ``Tally.add``."""
        return self.tally.add(func, args, kwargs, out, where, call, known)

    def _faked(self, func: Any, args: Any, kwargs: Any, call: Described) -> tuple[Any, _Seen | None]:
        """An operation on fake tensors: straight to the kernel that computes shapes, where that is all there is to it.

        ``FakeTensorMode`` does the same with much more care, which takes three times as long. Layers are alike, so an
        operation is mostly one that was there before: what came out of it then is made again.

        Returns:
            The result, and what is remembered of such calls.
        """
        if not self._new(func):
            return self._computed(func, args, kwargs), None
        key = (id(func), call.sizes, call.kinds)  # an operation is never deleted
        seen = self._seen.get(key)
        if seen is not None:
            made = [None if size is None else self._fresh(*size) for size in seen.sizes]
            return made[0] if seen.kind is None else seen.kind(made), seen
        out = self._computed(func, args, kwargs)
        several = isinstance(out, (tuple, list))
        outs = out if several else (out,)
        given = {x.untyped_storage()._cdata for x in call.tensors}
        if any(isinstance(x, torch.Tensor) and x.untyped_storage()._cdata in given for x in outs):
            self._makes_new[func] = False  # some are views although they do not say so
        elif all(x is None or isinstance(x, FakeTensor) for x in outs):
            sizes = [None if x is None else (tuple(x.shape), x.stride(), x.dtype) for x in outs]
            seen = self._seen[key] = _Seen(type(out) if several else None, sizes)
        return out, seen

    def _new(self, func: Any) -> bool:
        """Whether an operation's result is a tensor of its own that depends on sizes alone."""
        fresh = self._makes_new.get(func)
        if fresh is None:
            schema = func._schema
            fresh = not schema.is_mutable and all(r.alias_info is None for r in schema.returns)
            fresh = fresh and func.namespace in ("aten", "bitsandbytes") and func not in _LOOKED_AT
            self._makes_new[func] = fresh
        return fresh

    def _fresh(self, shape: Any, stride: Any, dtype: torch.dtype) -> torch.Tensor:
        return self._fake(torch.empty_strided(shape, stride, dtype=dtype, device="meta"))

    def _fake(self, tensor: torch.Tensor) -> FakeTensor:
        """A tensor without memory as a fake one on the CPU."""
        made: FakeTensor = torch.Tensor._make_subclass(
            FakeTensor, tensor, False, dispatch_device=True, device_for_backend_keys=CPU
        )
        vars(made).update(self._attributes)
        return made

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
        return tensor if isinstance(tensor, FakeTensor) else self._fake(tensor)

    def _real(self, func: Any, args: Any, kwargs: Any, call: Described) -> Any:
        """An operation on numbers that are known: computed, unless it makes many floats."""
        if not call.tensors:  # a factory: look at what it would make first
            key = (id(func), call.sizes, call.kinds)
            if seen := self._seen.get(key):
                return self._fresh(*seen.sizes[0])
            if key not in self._whole:
                with self.fake:
                    out = func(*args, **kwargs)
                if not isinstance(out, torch.Tensor):
                    return out
                if out.is_floating_point() and out.dim():
                    self._seen[key] = _Seen(None, [(tuple(out.shape), out.stride(), out.dtype)])
                    return out
                self._whole.add(key)
        out = func(*args, **kwargs)
        if func is aten.lift_fresh.default:
            return out
        return tree_map_only(
            torch.Tensor, lambda x: self.pretend(x) if x.is_floating_point() and x.numel() > FEW else x, out
        )

    def pretend(self, tensor: torch.Tensor) -> torch.Tensor:
        """A fake tensor of the same shape, strides and device."""
        if isinstance(tensor, FakeTensor):
            return tensor
        with no_dispatch():  # where a fake mode is on, what is made here would be fake already: too much for torch 2.6
            return self._fresh(tensor.shape, tensor.stride(), tensor.dtype)


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
