"""Memory that training frees goes back to the system."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Large tensors freed between small ones that stay: the heap cannot shrink below the last of these.
PROGRAM = """
import json, psutil, torch
from transformers import TrainerControl, TrainerState
from helpers.callbacks import ReturnFreedMemory

def resident():
    return psutil.Process().memory_info().rss / 2**20

def kept():
    before = resident()
    pairs = [(torch.ones(6 * 2**18), torch.ones(2**14)) for _ in range(40)]
    small = [pair[1] for pair in pairs]
    del pairs
    freed = resident() - before
    callback.on_step_end(None, state, TrainerControl())
    return freed, resident() - before

warm = torch.ones(8 * 2**18)
del warm  # from here on glibc takes tensors of this size from the heap
callback, state = ReturnFreedMemory(), TrainerState()
found = {"alone": kept()}
callback.on_train_begin(None, state, TrainerControl())
found["apart"] = kept()
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told what to do")
def test_freed_tensors_do_not_stay_with_the_process() -> None:
    """240 MiB in large tensors: a heap left alone keeps them, one that was trimmed or spared does not."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    freed, trimmed = found["alone"]
    assert freed > 120
    assert trimmed < 20
    assert max(found["apart"]) < 20
