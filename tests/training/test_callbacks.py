"""Memory that training frees goes back to the system."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from helpers.training import callbacks

# Large tensors freed between small ones that stay: a heap cannot shrink below the last of these. How much a process
# keeps without the callback depends on its allocator's state, so only what it keeps with it is promised.
PROGRAM = """
import json, psutil, torch
from transformers import TrainerControl, TrainerState
from helpers.training.callbacks import ReturnFreedMemory

def resident():
    return psutil.Process().memory_info().rss / 2**20

callback = ReturnFreedMemory()
callback.on_train_begin(None, TrainerState(), TrainerControl())
before = resident()
pairs = [(torch.ones(6 * 2**18), torch.ones(2**14)) for _ in range(40)]
full = resident() - before
small = [pair[1] for pair in pairs]
del pairs
callback.on_step_end(None, TrainerState(global_step=callback.every), TrainerControl())
print(json.dumps({"full": full, "kept": resident() - before}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told what to do")
def test_large_tensors_go_back_after_some_updates() -> None:
    """240 MiB in large tensors, allocated and freed while training."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["full"] > 200 and found["kept"] < 20


def test_the_heap_is_trimmed_every_few_updates_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, int]] = []
    step = 0
    monkeypatch.setattr(callbacks, "_libc", lambda name, *arguments: called.append((name, step)))
    callback, state = callbacks.ReturnFreedMemory(every=4), SimpleNamespace(global_step=0)
    callback.on_train_begin(None, state, None)  # type: ignore[arg-type]
    for step in range(1, 10):
        state.global_step = step
        callback.on_step_end(None, state, None)  # type: ignore[arg-type]
    callback.on_train_end(None, state, None)  # type: ignore[arg-type]
    trims = [("malloc_trim", 4), ("malloc_trim", 8)]
    assert called == [("mallopt", 0), ("mallopt", 0), *trims, ("mallopt", 9), ("mallopt", 9), ("malloc_trim", 9)]


def test_a_function_that_libc_does_not_have_is_no_error() -> None:
    callbacks._libc("no_such_function_anywhere", 1)
