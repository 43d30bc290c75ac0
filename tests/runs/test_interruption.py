"""How a run ends when nobody calls finish: errors, signals, a killed process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from begun_cases import QLORA, begin

from helpers.errors import RunError
from helpers.files import write_atomic
from helpers.runs.records import read_run, read_runs

ROOT = Path(__file__).resolve().parents[2]


def _running_elsewhere(place: Path, **given: Any) -> subprocess.Popen[str]:
    values = {"profile": "smoke", "output_dir": str(place)} | given
    code = f"""
        import time
        from helpers import start
        run = start({QLORA!r}, {values!r})
        print("READY", flush=True)
        time.sleep(120)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("READY"):
            break
    return process


def test_a_killed_run_reads_as_interrupted_and_a_live_one_is_not_overwritten(tmp_path: Path) -> None:
    process = _running_elsewhere(tmp_path)
    folder = tmp_path / QLORA / "smoke-recipes-seed0"
    assert read_run(folder).status == "running"
    with pytest.raises(RunError, match=f"process {process.pid}"):
        begin(tmp_path)
    process.send_signal(signal.SIGKILL)
    # Not waited for yet: a dead process that is still in the table counts as dead.
    for _ in range(100):
        if read_run(folder).status == "interrupted":
            break
        time.sleep(0.1)
    assert [record.status for record in read_runs(tmp_path)] == ["interrupted"]
    process.wait()
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    run = begin(tmp_path, resume=True)
    assert run.folder == folder and read_run(folder).info["resumed"] is True


ENDS = {
    "an error": ("1 / 0", "failed", "ZeroDivisionError: division by zero", 1),
    "an error on purpose": ("raise RunError('no space', 'free some')", "failed", "no space. free some.", 1),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", "interrupted", "KeyboardInterrupt", -2),
    "no finish": ("pass", "interrupted", "the process ended before run.finish()", 0),
    "finish": ("run.finish()", "finished", None, 0),
    "a folder that is gone": ("import shutil; shutil.rmtree(run.folder)", None, None, 0),
    "terminated": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", "interrupted", None, -15),
}  # fmt: skip


@pytest.mark.parametrize("how", ENDS)
def test_a_script_writes_down_how_it_ended(how: str, tmp_path: Path) -> None:
    code, status, error, exit_code = ENDS[how]
    head = "import os, signal, sys, time\nfrom helpers import start\nfrom helpers.errors import RunError\n"
    head += f"run = start({QLORA!r}, {{'profile': 'smoke', 'run_name': 'r', 'output_dir': {str(tmp_path)!r}}})\n"
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == exit_code, done.stderr
    folder = tmp_path / QLORA / "r"
    if status is None:
        assert not folder.exists()
        return
    record = read_run(folder)
    assert (record.status, record.info["error"]) == (status, error)
    if how == "an error on purpose":
        assert done.stderr == "RunError: no space. free some.\n"
    if status != "finished":
        assert begin(tmp_path, run_name="r", resume=True).resume_from() is None  # it can be taken up again


def test_a_reused_pid_is_not_taken_for_the_run(tmp_path: Path) -> None:
    run = begin(tmp_path)
    info = json.loads((run.folder / "run.json").read_text())
    info["process"]["create_time"] -= 3600
    write_atomic(run.folder / "run.json", json.dumps(info))
    assert read_run(run.folder).status == "interrupted"
