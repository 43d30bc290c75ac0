"""Every known way in which a machine cannot run the course: what is said, and what to type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from machine_cases import CU128, NAMES, WHEEL, fresh, machine, only, p100, ready, serious, t4
from packaging.requirements import Requirement

from helpers.machine import problems
from helpers.machine.hardware import describe, find_problems
from helpers.machine.versions import satisfies, version_tuple


def test_p100_without_kernels_computes_on_the_cpu() -> None:
    described = describe(p100(CU128))
    assert (described.device, described.dtype, described.capability) == ("cpu", "float32", None)
    problem = only(p100(CU128))
    assert problem.severity == "error" and "sm_60" in problem.what
    assert "pick a T4" in problem.cure and "os.environ['PEFT_LAB_P100'] = 'install'" in problem.cure
    assert f"run: pip install torch==2.10.0 {WHEEL}/cu126" in only(p100(CU128, platform="local")).cure
    assert described.problems == (problem,)


def test_gpu_too_old_for_four_bits() -> None:
    record = t4(gpu_name="GTX 970", capability=[5, 2], arch_list=["sm_50"])
    assert describe(record).device == "cpu"
    assert "need 6.0" in only(record).what


@pytest.mark.parametrize(
    ("capability", "arch", "runs"),
    [
        ((7, 5), ["sm_75"], True),
        ((8, 9), ["sm_80", "sm_86"], True),  # same major version, lower minor one
        ((8, 0), ["sm_86"], False),
        ((6, 0), CU128, False),
        ((12, 0), ["sm_90", "compute_90"], True),  # portable code
        ((7, 5), ["compute_80"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_100"], True),
        ((9, 4), ["gfx942"], True),  # ROCm names its architectures otherwise
        ((7, 5), [], True),
    ],
)
def test_kernels(capability: tuple[int, int], arch: list[str], runs: bool) -> None:
    assert problems.has_kernels(capability, arch) is runs


def test_two_gpus() -> None:
    problem = only(ready("kaggle_t4x2", gpu_count=2))
    assert problem.severity == "warning" and "os.environ['CUDA_VISIBLE_DEVICES'] = '0'" in problem.cure
    assert "export CUDA_VISIBLE_DEVICES=0" in only(t4(gpu_count=2, platform="local")).cure
    assert describe(t4(gpu_count=2)).supports()["multi_gpu"]


def test_small_gpu() -> None:
    assert "16 GB" in only(t4(gpu_name="RTX 3060", capability=[8, 6], gpu_memory_gb=12.5)).what


def test_old_torchao_blocks_lora() -> None:
    problem = only(t4(versions={"torchao": "0.10.0"}))
    assert problem.severity == "error" and problem.cure == "run in a cell: !pip uninstall -y torchao"
    assert only(machine(versions={"torchao": "0.10.0"})).cure == "run: pip uninstall -y torchao"
    assert serious(t4(versions={"torchao": "0.16.0"})) == []


def test_datasets_and_pyarrow() -> None:
    problem = only(machine(versions={"pyarrow": "18.1.0"}))
    assert problem.severity == "error" and "pyarrow 24" in problem.what and "restart" in problem.cure
    assert serious(machine(versions={"pyarrow": "18.1.0", "datasets": "4.7.0"})) == []


def test_module_replaced_while_in_memory() -> None:
    problem = only(machine(loaded={"pyarrow": "18.1.0", "torch": "2.13.0+cu128"}))
    assert "pyarrow 18.1.0 is in memory, but 26.0.1" in problem.what and "restart" in problem.cure


def test_no_bitsandbytes() -> None:
    problem = only(machine(versions={"bitsandbytes": None}))
    assert problem.severity == "warning" and "4 bits" in problem.what
    assert not describe(machine(versions={"bitsandbytes": None})).supports()["nf4"]


def test_missing_packages_are_named_together() -> None:
    problem = only(machine(versions={"trl": None, "evaluate": None}))
    assert problem.severity == "error" and "trl, evaluate" in problem.what


@pytest.mark.parametrize(
    ("changes", "severity", "says"),
    [
        ({"disk_free_gb": 0.4}, "error", "0.4 GB of disk left for outputs"),
        ({"disk_free_gb": 2.0}, "warning", "for outputs"),
        ({"cache_free_gb": 0.2}, "error", "for assets"),
        ({"ram_gb": 2.0}, "error", "too little"),
        ({"ram_gb": 4.0}, "warning", "profile cpu"),
        ({"cpu_count": 1}, "warning", "one CPU core"),
        ({"python": "3.10.12"}, "error", "too old"),
        ({"python": "3.14.0"}, "warning", "not been tried"),
        ({"versions": {"torch": "2.5.1"}}, "error", "torch 2.5.1 is too old"),
        ({"versions": {"torch": "2.14.0+cu130"}}, "warning", "newer than what was tried"),
        ({"versions": {"transformers": "4.57.6"}}, "error", "transformers 4.57.6 is too old"),
        ({"platform": "colab"}, "warning", "no GPU in this runtime"),
        ({"platform": "kaggle"}, "warning", "no GPU in this session"),
        ({"ram_free_gb": 0.9}, "warning", "only 0.9 GB of RAM is free"),
        ({"internet": False}, "warning", "Hub cannot be reached"),
    ],
)
def test_one_problem_each(changes: dict[str, Any], severity: str, says: str) -> None:
    problem = only(machine(**changes))
    assert problem.severity == severity and says in problem.what


def test_full_profile_wants_disk() -> None:
    assert "12.0 GB of disk left for models, profile full may need 30" in only(t4(hub_free_gb=12.0)).what
    assert "7.0 GB of disk left for outputs, profile full may need 8" in only(t4(disk_free_gb=7.0)).what
    assert serious(machine(hub_free_gb=12.0, disk_free_gb=7.0)) == []


def test_a_service_keeps_its_torch() -> None:
    """constraints.txt pins another torch than the one that Colab built for its driver."""
    for name in NAMES:
        for record in (fresh(name), fresh(name, versions={"transformers": "4.57.6", "trl": None})):
            for problem in serious(record):
                hosted = record["platform"] != "local"
                assert not (hosted and "constraints" in problem.cure), problem
                assert hosted or "cell" not in problem.cure, problem


def test_errors_come_first() -> None:
    found = serious(machine(cpu_count=1, ram_gb=2.0, versions={"bitsandbytes": None}))
    assert [problem.severity for problem in found] == ["error", "warning", "warning"]


def test_no_floor_differs_from_the_requirements(root: Path) -> None:
    lines = [line.partition("#")[0].strip() for line in (root / "requirements.txt").read_text().splitlines()]
    wanted = {r.name: r for r in map(Requirement, filter(None, lines))}

    def bound(name: str, operator: str) -> str:
        return next(spec.version for spec in wanted[name].specifier if spec.operator == operator)

    for name, least in problems.MINIMUM.items():
        assert version_tuple(bound(name, ">=")) == least, name
    assert version_tuple(bound("torch", ">=")) == problems.TORCH_MIN
    assert version_tuple(bound("torch", "<")) == problems.TORCH_BELOW
    assert set(problems.REQUIRED) <= set(wanted)


@pytest.mark.parametrize(
    ("version", "specifier", "fits"),
    [
        ("2.11.0+cu128", ">=2.6,<2.14", True),
        ("2.14", ">=2.6,<2.14", False),
        ("5", ">=5.0,<6", True),
        ("4.57.6", ">=5.15,<6", False),
        ("", ">=5", False),
        ("24.1", ">=24", True),
        ("1.0", "==1.0", True),
    ],
)
def test_ranges(version: str, specifier: str, fits: bool) -> None:
    assert satisfies(version, specifier) is fits


def test_kaggle_without_internet() -> None:
    problem = only(ready("kaggle_t4x2", internet=False))
    assert "no Internet" in problem.what and "Settings > Internet on" in problem.cure
    assert serious(ready("kaggle_t4x2", internet=True)) == []


def test_gated_models() -> None:
    llama, gemma = "meta-llama/Llama-2-7b-chat-hf", "google/paligemma-3b-pt-224"

    def said(platform: str, **access: str) -> list[problems.Problem]:
        states = {llama: access.get("llama", "granted"), gemma: access.get("gemma", "granted")}
        found = find_problems(ready(platform, hub_access=states))
        return [problem for problem in found if "bfloat16" not in problem.what]

    assert said("colab_t4") == []
    assert said("colab_t4", llama="unknown") == []
    (problem,) = said("colab_t4", llama="no token", gemma="no token")
    assert problem.severity == "note" and llama in problem.what and gemma in problem.what
    assert "Add new secret HF_TOKEN" in problem.cure
    (problem,) = said("kaggle_t4x2", gemma="no token")
    assert "Add-ons > Secrets > add HF_TOKEN" in problem.cure
    (problem,) = said("colab_t4", llama="bad token", gemma="bad token")
    assert problem.severity == "warning" and "does not accept HF_TOKEN" in problem.what
    first, second = said("colab_t4", llama="no licence", gemma="no licence")
    assert f"https://huggingface.co/{llama}" in first.cure and "NousResearch/Llama-2-7b-chat-hf" in first.cure
    assert gemma in second.what and "export HF_TOKEN" not in second.cure
