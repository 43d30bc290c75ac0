"""Machines as records (a T4, a P100 without kernels, a laptop …), judged without owning one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from machine_cases import NAMES, fresh, read, ready
from packaging.requirements import Requirement

from helpers import hardware, probes, problems, tokens
from helpers.hardware import Machine, describe, find_problems
from helpers.versions import satisfies, version_tuple

CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CU128 = ready("colab_t4")["arch_list"]
WHEEL = "--index-url https://download.pytorch.org/whl"


def machine(**changes: Any) -> dict[str, Any]:
    """A healthy laptop, with changes."""
    return ready("laptop", **changes)


def with_gpu(**changes: Any) -> dict[str, Any]:
    """That laptop with a driver for a GPU, and with what torch did not say of it."""
    known = {"gpu_present": True, "torch_cuda": "12.6", "gpu_names": ["NVIDIA GeForce RTX 4080"], "driver": "580.82.07"}
    return machine(**{**known, "driver_cuda": "13.0", **changes})


def t4(**changes: Any) -> dict[str, Any]:
    return ready("colab_t4", **changes)


def p100(arch: list[str], **changes: Any) -> dict[str, Any]:
    return ready("kaggle_p100", arch_list=arch, **changes)


def serious(record: dict[str, Any]) -> list[problems.Problem]:
    """What is wrong, without what is only worth knowing; every problem is one tidy line."""
    found = find_problems(record)
    for problem in found:
        assert "\n" not in str(problem) and ".." not in str(problem) and problem.what and problem.cure
        assert problem.severity in {"error", "warning", "note"}
    return [problem for problem in found if problem.severity != "note"]


def only(record: dict[str, Any]) -> problems.Problem:
    """The one serious problem of a record."""
    found = serious(record)
    assert len(found) == 1, found
    return found[0]


def told(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.severity, problem.what) for problem in find_problems(record)]


# What doctor says of each recorded machine, before and after the setup cell. Words of each problem, in their order.
BF16 = ("note", "only emulates bfloat16")
COLAB = [
    ("error", "not installed: trl, evaluate, papermill"),
    ("error", "datasets 4.0.0 is too old"),
    ("error", "torchao 0.10.0 makes PEFT refuse every LoRA"),
    ("warning", "bitsandbytes is not installed"),
]
KAGGLE = [
    ("error", "not installed: trl, evaluate"),
    ("error", "transformers 5.2.0 is too old"),
    ("error", "peft 0.18.1 is too old"),
    ("error", "torchao 0.10.0"),
    ("warning", "bitsandbytes is not installed"),
]
NO_KERNELS = ("error", "this torch has no kernels for Tesla P100-PCIE-16GB (sm_60;")
SAID: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "colab_t4": ([*COLAB, BF16], [BF16]),
    "colab_l4": (COLAB, []),
    "colab_a100": (COLAB, []),
    "kaggle_p100": ([*KAGGLE[:4], NO_KERNELS, KAGGLE[4]], [NO_KERNELS]),
    "kaggle_t4x2": ([*KAGGLE, ("warning", "2 GPUs are visible"), BF16], [BF16]),
    "laptop": ([], []),
    "ci": ([], []),
}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_machines(name: str) -> None:
    assert len(read(name)["about"]) > 20
    for record, expected in zip((fresh(name), ready(name)), SAID[name], strict=True):
        found = told(record)
        assert len(found) == len(expected), found
        for (severity, what), (wanted, words) in zip(found, expected, strict=True):
            assert severity == wanted and words in what, found
        serious(record)  # tidy lines
        assert json.loads(json.dumps(describe(record).as_dict()))["platform"] == record["platform"]


def test_the_records_hold_what_is_gathered() -> None:
    """A key that gather no longer writes, or newly writes, is a record out of date."""
    keys = set(probes.gather()) - {"gpu_error"}
    seen = {"gpu_name", "gpu_memory_gb", "capability", "arch_list", "bnb_libraries", "bnb_override"}
    for name in NAMES:
        record = read(name)["record"]
        assert set(record) == (keys | seen if record["cuda_available"] else keys - {"driver", "gpu_names"}), name


def test_healthy_laptop() -> None:
    laptop = describe(machine())
    assert laptop.problems == ()
    assert (laptop.device, laptop.dtype, laptop.capability) == ("cpu", "float32", None)
    assert laptop.device_name == "Some laptop CPU" and laptop.gpu_memory_gb == 0
    assert laptop.supports()["nf4"] and not laptop.supports()["bfloat16"]


@pytest.mark.parametrize(
    ("record", "dtype"),
    [
        (t4(), "float16"),
        (p100(CU126), "float16"),
        (ready("kaggle_t4x2"), "float16"),
        (ready("colab_a100"), "bfloat16"),
        (ready("colab_l4"), "bfloat16"),
        (ready("colab_a100", gpu_name="NVIDIA H100", capability=[9, 0], gpu_memory_gb=85.0), "bfloat16"),
    ],
)
def test_compute_type_of_gpus(record: dict[str, Any], dtype: str) -> None:
    described = describe(record)
    assert (described.device, described.dtype) == ("cuda", dtype)
    assert described.device_name == record["gpu_name"] and serious(record) == []
    emulated = [p.what for p in described.problems if "emulates bfloat16" in p.what]
    assert len(emulated) == (dtype == "float16") and described.supports()["bfloat16"] == (dtype == "bfloat16")
    assert described.capability == tuple(record["capability"])


def test_p100_without_kernels_computes_on_the_cpu() -> None:
    described = describe(p100(CU128))
    assert (described.device, described.dtype, described.capability) == ("cpu", "float32", None)
    problem = only(p100(CU128))
    assert problem.severity == "error" and "sm_60" in problem.what
    assert f"pip install torch==2.10.0 {WHEEL}/cu126, then restart the runtime" in problem.cure
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


# -- torch sees no GPU: one cause is named, and what to type


@pytest.mark.parametrize(
    ("changes", "severity", "says", "cure"),
    [
        ({"cuda_visible": ""}, "warning", "CUDA_VISIBLE_DEVICES='' hides it", "unset CUDA_VISIBLE_DEVICES"),
        ({"cuda_visible": "-1"}, "warning", "CUDA_VISIBLE_DEVICES='-1' hides it", "unset CUDA_VISIBLE_DEVICES"),
        (
            {"torch_cuda": None, "versions": {"torch": "2.12.1+cpu"}},
            "warning",
            "NVIDIA GeForce RTX 4080 is here, but torch 2.12.1+cpu cannot use it: it is a build for the CPU",
            f"run: pip install torch==2.12.1 {WHEEL}/cu126, then restart the runtime",
        ),
        ({"gpu_names": ["T4", "T4"], "torch_cuda": None}, "warning", "2 x T4 is here", "cu126"),
        ({"gpu_names": [], "torch_cuda": None, "driver": None}, "warning", "a GPU is here", "cu126"),
        (
            {"driver": "470.256.02", "driver_cuda": "11.4"},
            "error",
            "NVIDIA's driver 470.256.02 (CUDA 11.4) is too old for torch 2.13.0, which is built for CUDA 12.6",
            f"update the driver to 525 or newer, or run: pip install torch==2.7.1 {WHEEL}/cu118, then restart",
        ),
        (
            {"driver": "550.54.15", "driver_cuda": "12.4", "torch_cuda": "13.0", "gpu_error": "driver too old"},
            "error",
            "built for CUDA 13.0",
            f"update the driver to 580 or newer, or run: pip install torch==2.13.0 {WHEEL}/cu126",
        ),
        ({"driver": "390.157", "driver_cuda": None}, "error", "driver 390.157 is too old", "update the driver to 525"),
        ({"gpu_error": "CUDA unknown error"}, "error", "(CUDA unknown error)", "update the GPU driver"),
        ({}, "warning", "torch 2.13.0 cannot use it", "nvidia-smi"),
    ],
)
def test_why_torch_sees_no_gpu(changes: dict[str, Any], severity: str, says: str, cure: str) -> None:
    problem = only(with_gpu(**changes))
    assert problem.severity == severity and says in problem.what and cure in problem.cure
    assert describe(with_gpu(**changes)).device == "cpu"


def test_a_driver_of_the_same_major_version_is_new_enough() -> None:
    """CUDA 12.8 runs on a driver of 12.4, and everything on a newer one."""
    for driver, cuda in (("550.54.15", "12.8"), ("525.60.13", "12.1"), ("580.82.07", "11.8"), ("580.65.06", "13.0")):
        assert "too old" not in only(with_gpu(driver=driver, torch_cuda=cuda)).what


@pytest.mark.parametrize(
    ("capability", "driver", "torch", "command"),
    [
        ([6, 0], "560.35.03", "2.10.0+cu128", "torch==2.10.0 {}/cu126"),
        ([12, 0], "580.82.07", "2.13.0+cpu", "torch==2.13.0 {}/cu130"),
        ([12, 0], "580.82.07", "2.7.0", "torch==2.13.0 {}/cu130"),  # cu130 begins with 2.9
        ([7, 5], "470.256.02", "2.6.0+cu124", "torch==2.6.0 {}/cu118"),
        ([7, 5], "525.60.13", "2.20.0", "torch==2.13.0 {}/cu126"),
        ([12, 0], "550.54.15", "2.13.0", ""),  # this GPU needs a newer driver first
    ],
)
def test_which_torch_to_install(capability: list[int], driver: str, torch: str, command: str) -> None:
    record = with_gpu(capability=capability, driver=driver, versions={"torch": torch})
    wanted = f"pip install {command.format(WHEEL)}" if command else ""
    assert problems.gpu.torch_command(record) == wanted


# -- bitsandbytes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"torch_cuda": "12.9"}, ""),  # takes the library for 12.8
        ({"torch_cuda": "12.0"}, ""),
        (
            {"torch_cuda": "14.0"},
            "no library for CUDA 14.0 of torch 2.11.0+cu128 (libbitsandbytes_cuda140; it has CUDA",
        ),
        ({"bnb_libraries": ["11.8"]}, "it has CUDA 11.8)"),
        ({"bnb_libraries": []}, ""),  # not known
        ({"bnb_override": "126"}, ""),
        ({"bnb_override": "125"}, "BNB_CUDA_VERSION=125 asks for a library that bitsandbytes 0.50.2 has not"),
    ],
)
def test_cuda_library_of_bitsandbytes(changes: dict[str, Any], says: str) -> None:
    record = t4(**changes)
    if not says:
        assert serious(record) == []
        return
    problem = only(record)
    assert problem.severity == "error" and says in problem.what
    cure = "unset BNB_CUDA_VERSION" if "bnb_override" in changes else "pip install -U bitsandbytes, then restart"
    assert cure in problem.cure


# -- network


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


def test_one_list_of_gated_models() -> None:
    from helpers.defaults import GATED
    from helpers.models.load import GATED as loaded

    assert loaded == GATED


class Hub(BaseHTTPRequestHandler):
    """Answers HEAD requests as the Hub does for gated files."""

    asked: list[tuple[str, str]] = []
    wait = 0.0

    def do_HEAD(self) -> None:
        token = self.headers.get("Authorization", "")
        self.asked.append((self.path, token))
        time.sleep(self.wait)
        status = 200
        if "/resolve/" in self.path:
            status = {"": 401, "Bearer good": 302, "Bearer new": 403}.get(token, 401)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://192.0.2.1/elsewhere")  # following it would leave this machine
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Hub.asked, Hub.wait = [], 0.0
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_HUB_OFFLINE", "PEFT_LAB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("token", "access"), [("", "no token"), ("good", "granted"), ("new", "no licence"), ("old", "bad token")]
)
def test_asking_the_hub(token: str, access: str, hub: type[Hub], tmp_path: Path) -> None:
    if token:
        (tmp_path / "token").write_text(token + "\n")
    found = probes.ask_network(ready("colab_t4"))
    assert found["internet"] is True and set(found["hub_access"].values()) == {access}
    assert {path for path, _ in hub.asked if "resolve" in path} == {
        f"/{model}/resolve/main/config.json" for model in found["hub_access"]
    }
    assert all("Bearer" not in sent for path, sent in hub.asked if "resolve" not in path)


def test_the_network_is_asked_only_where_it_matters(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    assert probes.ask_network(ready("laptop")) == {} and hub.asked == []
    assert probes.ask_network(fresh("kaggle_t4x2", cuda_available=False)) == {"internet": True}
    for name in ("HF_HUB_OFFLINE", "PEFT_LAB_OFFLINE"):
        monkeypatch.setenv(name, "1")
        assert probes.ask_network(ready("colab_t4")) == {}
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    assert probes.ask_network(ready("colab_t4")) == {"internet": False}
    assert probes.ask_network(ready("kaggle_p100")) == {"internet": False}


def test_a_hub_that_stalls_is_left_after_seconds(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub.wait = 4.0
    began = time.monotonic()
    assert probes.ask_network(ready("colab_t4")) == {"internet": False}
    assert time.monotonic() - began < 3.5


# -- looking at the machine


SMI = """
==============NVSMI LOG==============

Timestamp                                 : Sun Dec 11 17:03:37 2022
Driver Version                            : 460.32.03
CUDA Version                              : 11.2

Attached GPUs                             : 1
GPU 00000000:00:04.0
    Product Name                          : Tesla T4
    Product Brand                         : Tesla
"""


def test_what_nvidia_smi_says() -> None:
    assert probes.parse_smi(SMI) == {"driver": "460.32.03", "driver_cuda": "11.2", "gpu_names": ["Tesla T4"]}
    newer = SMI.replace("CUDA Version    ", "CUDA UMD Version")
    assert probes.parse_smi(newer)["driver_cuda"] == "11.2"
    assert probes.parse_smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.") == {}


@pytest.mark.parametrize("script", ["sleep 60", "exit 9", "printf '\\377'"])
def test_a_broken_nvidia_smi_is_left_alone(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(
        f"#!/bin/sh\nexec {script}\n" if "sleep" in script else f"#!/bin/sh\n{script}\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(probes, "SMI_TIMEOUT", 0.5)
    began = time.monotonic()
    assert probes.gpu_present() and probes.driver() == {}
    assert time.monotonic() - began < 5


def test_builds_are_read_without_importing_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "torch/version.py": "from typing import Optional\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n",
        "torch/__init__.py": "raise OSError('imported')",
        "bitsandbytes/__init__.py": "raise OSError('imported')",
        "bitsandbytes/libbitsandbytes_cuda118.so": "",
        "bitsandbytes/libbitsandbytes_cuda130_nocublaslt.dll": "",
        "bitsandbytes/libbitsandbytes_cuda126.so": "",
        "bitsandbytes/libbitsandbytes_cpu.so": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    code = "from helpers import probes; print(probes.torch_cuda(), probes.bnb_libraries())"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "12.8 ['11.8', '12.6']"
    assert probes.bnb_libraries()[-1] > "12"  # the wheel that is installed here carries them too


@pytest.mark.parametrize(
    ("version", "specifier", "fits"),
    [
        ("2.11.0+cu128", ">=2.6,<2.14", True),
        ("2.14", ">=2.6,<2.14", False),
        ("5", ">=5.0,<6", True),
        ("4.57.6", ">=5.15,<6", False),
        ("", ">=5", False),
        ("24.1", ">=24", True),
        ("1.0", "==1.0", False),
    ],
)
def test_ranges(version: str, specifier: str, fits: bool) -> None:
    assert satisfies(version, specifier) is fits


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
    ("environment", "platform"),
    [
        ({}, ""),
        ({"COLAB_RELEASE_TAG": "release-colab-external_2026"}, "colab"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "kaggle"),
        (
            {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "COLAB_RELEASE_TAG": "x"},
            "kaggle",
        ),  # Kaggle's image is Colab's
        ({"COLAB_RELEASE_TAG": ""}, ""),
    ],
)
def test_platform(environment: dict[str, str], platform: str) -> None:
    assert tokens.hosted_on(environment) == platform


def test_this_machine() -> None:
    here = hardware.probe()
    assert isinstance(here, Machine) and hardware.probe() is here
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert here.cpu_count >= 1 and here.ram_gb > 0.5 and here.disk_free_gb >= 0
    assert 0 < here.ram_free_gb <= here.ram_gb
    assert here.device == "cpu" or here.capability is not None
    assert json.loads(json.dumps(here.as_dict()))["versions"]["torch"] == here.versions["torch"]
    assert "\n" not in str(here) and here.dtype in str(here)


def test_probe_on_a_cpu_build_imports_no_torch() -> None:
    code = (
        "import sys; from helpers import hardware; m = hardware.probe(); "
        "print(m.versions['torch'].endswith('+cpu'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"True False", "False True", "False False"}


def test_broken_torch_does_not_stop_the_probe(tmp_path: Path) -> None:
    """A torch whose import fails (say, a missing CUDA library) becomes a problem with a cure."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open')")
    code = (
        "from helpers import hardware, probes; "
        "r = {**probes.gather(), 'gpu_present': True, 'torch_cuda': '12.6', **probes.gpu(True, '2.13.0')}; "
        "r['versions']['torch'] = '2.13.0'; "
        "print(*hardware.describe(r).problems, sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "libcudart.so.12" in done.stdout and "Traceback" not in done.stderr


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    free = probes.disk_free(tmp_path / "not" / "yet")
    assert free is not None and free > 0
