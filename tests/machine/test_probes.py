"""Looking at a machine and at the network: quick, whatever is broken there."""

from __future__ import annotations

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
from command_cases import command
from machine_cases import WHEEL, fresh, ready

from helpers.machine import probes
from helpers.machine.hardware import describe


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


def test_doctor_asks_the_driver_why_torch_sees_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command, with an nvidia-smi that tells of an old driver."""
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{SMI}\nEND\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = command("doctor")
    assert "Tesla T4 is here, but torch" in done.stdout or "driver 460.32.03 (CUDA 11.2) is too old" in done.stdout
    assert f"pip install torch==2.7.1 {WHEEL}/cu118, then restart" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "isa"),
    [
        ("flags\t\t: fpu sse4_1 avx avx2 avx512f avx512bw avx512_bf16", "avx512_bf16"),
        ("flags\t\t: fpu sse4_1 avx avx2 avx512bw avx512_bf16 amx_bf16 amx_tile", "amx_bf16"),
        ("flags\t\t: fpu sse4_1 avx avx2 avx512f avx512bw avx512vl", "avx512"),
        ("flags\t\t: fpu sse4_1 avx f16c avx2", "avx2"),
        ("Features\t: fp asimd evtstrm aes", "neon"),
        ("flags\t\t: fpu mmx", None),
        ("", None),
    ],
)
def test_the_widest_instruction_set(
    flags: str, isa: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nmodel name\t: Some CPU\n{flags}\nbogomips\t: 1\n")
    monkeypatch.setattr(probes, "CPU_INFO", info)
    monkeypatch.setattr(probes.platform, "machine", lambda: "x86_64")
    record = probes.gather()
    assert record["cpu_isa"] == isa and record["cpu_name"] == "Some CPU"
    assert (describe(record).dtype == "bfloat16") == (isa in ("avx512_bf16", "amx_bf16")) or record["cuda_available"]
    monkeypatch.setattr(probes.platform, "machine", lambda: "arm64")  # of a Mac, which has no /proc/cpuinfo
    monkeypatch.setattr(probes, "CPU_INFO", tmp_path / "none")
    assert probes.cpu_isa() == "neon"


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
    code = "from helpers.machine import probes; print(probes.torch_cuda(), probes.bnb_libraries())"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "12.8 ['11.8', '12.6']"
    assert probes.bnb_libraries()[-1] > "12"  # the wheel that is installed here carries them too
