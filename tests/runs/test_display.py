"""Texts that lessons print: one example as several systems answered it; the most memory held."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from machine_cases import ready

from helpers.config.settings import resolve
from helpers.machine.hardware import describe
from helpers.runs import provenance
from helpers.runs.display import computed_in, labelled_texts, start_screen


def test_texts_stand_below_each_other_behind_their_labels() -> None:
    shown = labelled_texts({"reference": "1. Chop.\n2.  Serve.", "qlora": ""}).splitlines()
    assert shown == ["reference  1. Chop. 2. Serve.", "qlora      (empty)"]


def test_long_texts_are_wrapped_and_cut() -> None:
    lines = labelled_texts({"a": "word " * 100}, width=30, longest=60).splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 30
    assert all(line.startswith("   ") for line in lines[1:]) and lines[-1].endswith("…")
    assert labelled_texts({}) == ""


CPU = {"device": "cpu", "dtype": "bfloat16", "cpu_isa": "avx512_bf16", "torch_threads": 2}


@pytest.mark.parametrize(
    ("hardware", "text"),
    [
        (CPU, "bfloat16, AVX512-BF16, 2 threads"),
        (CPU | {"dtype": "float32", "cpu_isa": "avx2", "torch_threads": 1}, "float32, AVX2, 1 thread"),
        (CPU | {"cpu_isa": None}, "bfloat16, 2 threads"),
        (CPU | {"device": "cuda", "dtype": "float16"}, "float16"),
        ({"device": "cpu", "dtype": "bfloat16"}, "bfloat16 (instruction set, threads not recorded)"),
        ({"device": "cuda", "dtype": "float16"}, "float16"),
        ({}, "unknown (number format, instruction set, threads not recorded)"),
    ],
)
def test_what_a_run_computed_in(hardware: dict[str, Any], text: str) -> None:
    assert computed_in(hardware) == text


@pytest.mark.parametrize(
    ("processor", "kernels", "isa"),
    [
        ("avx512_bf16", "AVX512", "avx512_bf16"),  # torch has no name for kernels that multiply bfloat16
        ("avx512_bf16", "AVX2", "avx2"),  # as with ATEN_CPU_CAPABILITY=avx2
        ("avx2", "AVX2", "avx2"),
        ("neon", "DEFAULT", "neon"),
        (None, "AVX512", "avx512"),  # on Windows, say
        (None, "DEFAULT", None),
    ],
)
def test_the_instruction_set_that_torch_uses(
    processor: str | None, kernels: str, isa: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: kernels)
    assert provenance.torch_on_cpu(processor) == {"cpu_isa": isa, "torch_threads": torch.get_num_threads()}


@pytest.mark.parametrize(("cuda", "text"), [(5.24, "5.2 GB GPU"), (None, None)])
def test_peak_memory_is_that_of_the_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, cuda: float | None, text: str | None
) -> None:
    monkeypatch.setattr(provenance, "peak_cuda_gb", lambda: cuda)
    found = provenance.peak_memory()
    assert found == text if text else re.fullmatch(r"\d+\.\d GB RAM", found)


def test_the_first_screen_says_that_one_of_two_gpus_is_used() -> None:
    for name, said in (("kaggle_t4x2", 1), ("colab_t4", 0)):
        machine = describe(ready(name))
        screen = start_screen(resolve("03_qlora_nli", {"profile": "full"}, machine), machine, Path("run"))
        assert " ".join(screen.split()).count("the one of 2 GPUs that is used") == said, screen
