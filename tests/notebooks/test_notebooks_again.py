"""Notebooks under plain papermill; killed and resumed, to the same numbers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from papermill import inspect_notebook

from helpers.config.lessons import LESSONS
from helpers.config.parameters import PARAMETERS
from helpers.runs import headless
from helpers.runs.records import read_json, read_run
from helpers.training.checkpoints import is_complete

ROOT = Path(__file__).resolve().parents[2]
QLORA = "04_qlora_instruct"
FEW = {"n_train": 160, "n_text": 80, "n_eval": 60, "n_generate": 20}  # numbers are compared, not what is learned


def papermill(*words: str, cwd: Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "papermill", *words]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=timeout)


def test_plain_papermill_works_without_our_command_line(tmp_path: Path, empty_caches: None) -> None:
    """In a kernel that has imported nothing beforehand, as a reader's has: a lesson that plans, loads and trains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEFT_LAB_OUTPUT", str(tmp_path / "outputs"))
        words = ["notebooks/03_qlora_nli.ipynb", str(tmp_path / "out.ipynb"), "-p", "profile", "smoke"]
        done = papermill(*words, "-p", "seed", "1", "-p", "n_train", "160", "-p", "n_eval", "60", cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    (info,) = (tmp_path / "outputs").glob("*/*/run.json")
    record = read_json(info)
    assert record["status"] == "finished" and record["settings"]["seed"] == 1


def test_plain_papermill_stops_at_an_unknown_parameter(tmp_path: Path) -> None:
    words = ["notebooks/00_start_here.ipynb", str(tmp_path / "out.ipynb"), "-p", "profil", "smoke"]
    done = papermill(*words, "-p", "output_dir", str(tmp_path), cwd=ROOT)
    assert done.returncode != 0
    assert "unknown parameter 'profil' (did you mean 'profile'?)" in done.stderr


@pytest.mark.parametrize("notebook", LESSONS)
def test_papermill_lists_every_parameter_with_its_comment(notebook: str) -> None:
    listed = inspect_notebook(str(ROOT / "notebooks" / f"{notebook}.ipynb"))
    assert list(listed) == list(LESSONS[notebook].parameters)
    for name, entry in listed.items():
        assert entry["inferred_type_name"] == PARAMETERS[name].type.__name__ and entry["default"]
        assert len(entry["help"].strip()) > 3, entry


def kill_all(process: subprocess.Popen[str], kernel: int) -> None:
    """SIGKILL to a process, everything below it and a kernel: nothing gets to clean up."""
    top = psutil.Process(process.pid)
    family = [top, *top.children(recursive=True), psutil.Process(kernel)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=20)


def test_killed_in_training_and_resumed_on_a_new_machine_ends_in_the_same_metrics(
    tmp_path: Path, empty_caches: None, warm_kernels: None
) -> None:
    """As in a run without interruption, byte for byte, so that a second run gives the same numbers too. The machine's
    own disk is gone, the copies in checkpoint_dir are left."""
    outputs, drive = tmp_path / "outputs", tmp_path / "drive"
    words = [sys.executable, "-m", "helpers", "run", "04", "--profile", "smoke", "--output-dir", str(outputs)]
    words += ["-p", "checkpoint_dir", str(drive)]
    words += [word for name, value in FEW.items() for word in ("-p", name, str(value))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 300
    while not any(is_complete(path) for path in drive.glob("*/*/checkpoint-*")):
        assert process.poll() is None and time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.2)
    (folder,) = (path.parent for path in outputs.glob("*/*/run.json"))
    kill_all(process, read_json(folder / "run.json")["process"]["pid"])
    process.wait()
    killed = read_run(folder)
    assert killed.status == "interrupted"
    assert {"zero-shot", "zero-shot, other task", "few-shot", "best classical"} <= set(killed.systems), "it is kept"
    assert "qlora" not in killed.systems
    shutil.rmtree(outputs)

    whole = headless.plan([QLORA], FEW, profile="smoke", output_dir=tmp_path / "whole")
    with ThreadPoolExecutor() as beside:
        uninterrupted = beside.submit(headless.run_all, whole, say=lambda line: None)
        again = [*words, "-p", "resume", "True"]
        done = subprocess.run(again, cwd=ROOT, env=environment, capture_output=True, text=True)
        (outcome,) = uninterrupted.result()
    assert done.returncode == 0, done.stdout[-2000:]
    assert outcome.folder is not None
    record = read_run(folder)
    assert record.status == "finished" and record.info["notes"]["resumed_from"].startswith("checkpoint-")
    assert (folder / "metrics.json").read_bytes() == (outcome.folder / "metrics.json").read_bytes()
