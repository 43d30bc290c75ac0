"""The command line and the notebook runner: what is refused, how runs end, what is kept."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from command_cases import command as in_process
from run_cases import notebook
from typer.testing import CliRunner
from warm_kernels import serving

from helpers.__main__ import app
from helpers.errors import ParameterError, RunError
from helpers.runs import headless
from helpers.runs.records import read_run, read_runs

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("empty_caches")  # the surroundings of the process that is forked for kernels


def launch(tmp_path: Path, names: list[str], parallel: int = 1, **options: Any) -> list[headless.Outcome]:
    jobs = headless.plan(
        names,
        options.pop("parameters", {}),
        profile="smoke",
        output_dir=tmp_path / "out",
        notebooks_dir=tmp_path / "nb",
        **options,
    )
    with serving():
        return headless.run_all(jobs, parallel=parallel, say=lambda line: None)


def command(*words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "helpers", *words]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=timeout)


def test_every_way_to_end_is_told_apart(tmp_path: Path) -> None:
    place = tmp_path / "nb"
    notebook(place, "00", "print('hello', 6 * 7)\nrun.finish()")
    notebook(place, "01", "run.note('got', 'this far')", "1 / 0")
    notebook(place, "02", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    notebook(place, "04", "import time\ntime.sleep(90)")
    outcomes = launch(tmp_path, ["00", "01", "02", "04"], parallel=2, cell_timeout=15)
    by_number = {outcome.notebook[:2]: outcome for outcome in outcomes}
    assert [outcome.notebook[:2] for outcome in outcomes] == ["00", "01", "02", "04"]
    expected = {"00": "finished", "01": "failed", "02": "kernel died", "04": "timed out"}
    assert {number: outcome.status for number, outcome in by_number.items()} == expected
    assert by_number["01"].error == "ZeroDivisionError: division by zero in cell 5 of 01_eda.ipynb"
    assert "in cell 4 of 02_zero_shot_baselines.ipynb" in (by_number["02"].error or "")
    assert "no end after 15 s in cell 4" in (by_number["04"].error or "")

    # the records say the same, and each run keeps its executed notebook and page
    assert {r.notebook[:2]: r.status for r in read_runs(tmp_path / "out")} == expected
    for outcome in outcomes:
        assert outcome.folder is not None
        assert (outcome.folder / "notebook.ipynb").is_file() and (outcome.folder / "notebook.html").is_file()
    page = (tmp_path / "out" / "00_start_here" / "smoke" / "notebook.html").read_text(encoding="utf-8")
    assert "hello 42" in page
    assert (by_number["00"].cell, by_number["00"].cells) == (4, 4)  # three cells and the injected one

    text = headless.summary(outcomes)
    assert all(status in text for status in expected.values())
    assert headless.exit_code(outcomes) != 0 and headless.exit_code(outcomes[:1]) == 0
    assert not list(tmp_path.glob("nb/*.html"))


def test_a_notebook_that_reads_runs_waits_for_the_others(tmp_path: Path) -> None:
    notebook(tmp_path / "nb", "00", "import time\ntime.sleep(3)\nrun.finish()")
    found = "[r.status for r in read_runs(run.settings.output_dir) if r.notebook == '00_start_here']"
    notebook(
        tmp_path / "nb",
        "09",
        f"from helpers.runs.records import read_runs\nassert {found} == ['finished']\nrun.finish()",
    )
    outcomes = launch(tmp_path, ["09", "00"], parallel=2)
    assert [(o.notebook[:2], o.status) for o in outcomes] == [("09", "finished"), ("00", "finished")]


def test_errors_on_purpose_are_one_line_and_an_unfinished_run_is_no_success(tmp_path: Path) -> None:
    notebook(tmp_path / "nb", "00", "x = 1")
    notebook(tmp_path / "nb", "01", begin=False)
    source = nbformat.read(tmp_path / "nb" / "01_eda.ipynb", as_version=4)
    source.cells.append(nbformat.v4.new_code_cell("from helpers import start\nstart('01_eda', globals())"))
    source.cells[0].source += "\nn_trains: int = 8  # a slip"
    nbformat.write(source, tmp_path / "nb" / "01_eda.ipynb")
    unfinished, refused = launch(tmp_path, ["00", "01"], parallel=2)
    assert unfinished.status == "failed" and unfinished.error == "the notebook ended without run.finish()"
    assert unfinished.folder is not None and read_run(unfinished.folder).status == "failed"
    assert refused.status == "failed" and refused.folder is None
    assert (refused.error or "").startswith("ParameterError: unknown parameter 'n_trains' (did you mean 'n_train'?)")
    kept = tmp_path / "out" / "01_eda" / "_not_started" / "notebook.ipynb"
    outputs = [o for c in nbformat.read(kept, as_version=4).cells for o in c.get("outputs", [])]
    (error,) = [o for o in outputs if o.output_type == "error"]
    assert len(error.traceback) == 1  # a reader sees one line, not the inside of helpers


def test_a_failed_cell_is_recorded_and_a_repaired_one_takes_it_back(tmp_path: Path) -> None:
    cells = (
        "import json\nread = lambda: json.loads((run.folder / 'run.json').read_text())",
        "from IPython import get_ipython\nshell = get_ipython()",
        "def hook(error):\n    class R: error_before_exec = None; error_in_exec = error\n"
        "    shell.events.trigger('post_run_cell', R)\n    return read()['status'], read()['error']",
        "assert hook(ValueError('a\\nb')) == ('failed', 'ValueError: a b')",
        "assert read()['status'] == 'running'",
        "assert hook(KeyboardInterrupt())[0] == 'interrupted'",
        "run.finish()",
        "assert read()['status'] == 'finished'",
    )
    notebook(tmp_path / "nb", "00", *cells)
    (outcome,) = launch(tmp_path, ["00"])
    assert outcome.error is None and outcome.status == "finished"


def test_parameters_reach_the_notebooks_that_have_them(tmp_path: Path) -> None:
    notebook(tmp_path / "nb", "00", "run.finish()")
    notebook(tmp_path / "nb", "04", "run.finish()")
    (tmp_path / "mine.csv").write_text("a\n")
    jobs = headless.plan(
        ["4", "00"],
        {"lora_r": 4, "seed": 7, "dataset": os.path.relpath(tmp_path / "mine.csv")},
        profile="smoke",
        output_dir=tmp_path / "out",
        notebooks_dir=tmp_path / "nb",
    )
    assert [job.spec.id for job in jobs] == ["04_qlora_instruct", "00_start_here"]
    assert jobs[0].parameters["lora_r"] == 4 and jobs[0].parameters["dataset"] == str(tmp_path / "mine.csv")
    assert set(jobs[1].parameters) == {"profile", "output_dir"}
    with serving():
        (outcome,) = headless.run_all(jobs[:1], say=lambda line: None)
    assert outcome.folder is not None
    assert re.fullmatch(r"smoke-recipes-seed7-dataset=mine\.csv-lora_r=4-[0-9a-f]{6}", outcome.folder.name)
    assert read_run(outcome.folder).info["settings"]["lora_r"] == 4


@pytest.mark.parametrize(
    ("names", "parameters", "says"),
    [
        (["04"], {"lora_rank": 8}, "'lora_r'"),
        (["00"], {"lora_r": 8}, "none of these notebooks"),
        (["04"], {"lora_r": 0}, "out of range"),
        (["04"], {"lora_r": "eight"}, "whole number"),
        (["04"], {"task": "snlii"}, "task"),
        (["99"], {}, "no notebook '99'"),
    ],
)
def test_bad_requests_are_refused_before_anything_starts(
    tmp_path: Path, names: list[str], parameters: dict[str, Any], says: str
) -> None:
    for name in ("00", "04"):
        notebook(tmp_path / "nb", name)
    with pytest.raises(ParameterError) as caught:
        launch(tmp_path, names, parameters=parameters)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_missing_notebook_and_unwritable_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        launch(tmp_path, ["00"])
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        headless.plan(["00"], {}, output_dir=tmp_path / "file" / "x", notebooks_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lora_r", "8", 8),
        ("epochs", "1e-1", 0.1),
        ("resume", "True", True),
        ("n_train", "None", None),
        ("run_name", "12", "12"),
        ("run_name", "None", None),
        ("lora_r", "eight", "eight"),
    ],
)
def test_values_are_read_as_papermill_reads_them(name: str, text: str, value: Any) -> None:
    parsed = headless.parse_value(name, text)
    assert parsed == value and type(parsed) is type(value)


def test_a_name_and_its_value_are_two_words_as_with_papermill() -> None:
    result = CliRunner().invoke(app, ["run", "04", "-p", "lora_r", "8", "-p", "lora_rank=9"])
    assert isinstance(result.exception, ParameterError) and "lora_rank" in str(result.exception)
    result = CliRunner().invoke(app, ["run", "04", "-p", "lora_r"])
    assert isinstance(result.exception, ParameterError) and "-p NAME VALUE" in str(result.exception)


def test_help_is_quick_and_lists_the_commands() -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = command("--help")
        times.append(time.perf_counter() - began)
    assert done.returncode == 0 and min(times) < 1.0
    for name in ("run", "doctor", "assets", "results"):
        assert re.search(rf"^\s+{name}\s", done.stdout, re.MULTILINE)


def test_a_mistake_on_the_command_line_is_one_line_and_a_code() -> None:
    done = command("run", "04", "-p", "lora_rank", "8")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("ParameterError: unknown parameter 'lora_rank'")


def test_doctor() -> None:
    done = in_process("doctor", "--json")
    record = json.loads(done.stdout)
    assert record["device"] in ("cpu", "cuda") and record["versions"]["torch"]
    assert {row["name"] for row in record["assets"]} >= {"minilm", "wikibooks-recipes"}
    assert done.returncode == (1 if any(p["severity"] == "error" for p in record["problems"]) else 0)
    text = in_process("doctor").stdout
    assert all(problem["what"].rstrip(".") in text for problem in record["problems"])


def test_assets_offline_check_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFT_LAB_CACHE", str(tmp_path))
    done = in_process("assets", "--offline")
    assert done.returncode == 1 and done.stdout.count("missing") >= 3
    rows = json.loads(in_process("assets", "--list", "--json").stdout)
    assert {row["state"] for row in rows} == {"missing"}
    assert list(tmp_path.iterdir()) == []
    done = in_process("assets", "minilmm", "--offline")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "minilm" in done.stderr


def test_results(tmp_path: Path) -> None:
    from helpers import start
    from helpers.evaluation.intervals import Estimate
    from helpers.evaluation.statistics import TestResult

    empty = in_process("results", "-o", str(tmp_path))
    assert empty.returncode == 0 and "no runs yet" in empty.stdout
    run = start("01_eda", {"profile": "smoke", "output_dir": str(tmp_path)})
    run.add_system("majority", {"accuracy": Estimate(0.25, 0.2, 0.3, 99)})
    run.add_tests([TestResult("qlora", "zero-shot", "accuracy", 0.52, 0.4, 0.6, 1e-9, "exact McNemar")])
    run.note("outcomes", {"fixed": 60, "broken": 8, "wrong both times": 7, "right both times": 25})
    run.finish()
    done = in_process("results", "-o", str(tmp_path))
    gain = next(line for line in done.stdout.splitlines() if "60 / 8 / 7" in line)
    assert "+0.520 [+0.400, +0.600]" in gain and "< 0.001" in gain
    assert "0.25 [0.20, 0.30]" in done.stdout and (tmp_path / "index.html").is_file()
    (row,) = json.loads(in_process("results", "-o", str(tmp_path), "--json").stdout)
    assert row["system"] == "majority" and row["metrics"]["accuracy"]["n"] == 99
    assert in_process("results", "-o", str(tmp_path), "--metrics", "acuracy").returncode == 2


@pytest.mark.parametrize(("asked", "most"), [(None, 1), ("64", 1), ("1", 1), ("none", 1)])
def test_parallel_notebooks_share_the_cores(asked: str | None, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headless.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert headless._environment(2)["OMP_NUM_THREADS"] == str(most)
    assert headless._environment(1).get("OMP_NUM_THREADS") == asked


STOPPED = """
import sys
from pathlib import Path
from helpers.runs import headless as execute
place = Path(sys.argv[1])
jobs = execute.plan(["01", "02"], {}, profile="smoke", output_dir=place / "out", notebooks_dir=place / "nb")
outcomes = execute.run_all(jobs, say=lambda line: None)
print(execute.summary(outcomes))
sys.exit(execute.exit_code(outcomes))
"""


@pytest.mark.parametrize("whom", ["the runner", "everybody, as a terminal does"])
def test_ctrl_c_leaves_a_valid_run_that_can_be_continued(whom: str, tmp_path: Path) -> None:
    waiting = "import os, time\nrun.note('kernel', {'pid': os.getpid()})\ntime.sleep(120)"
    notebook(tmp_path / "nb", "01", waiting)
    notebook(tmp_path / "nb", "02", "run.finish()")
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    folder = tmp_path / "out" / "01_eda" / "smoke-recipes-seed0"
    deadline = time.monotonic() + 120
    while not (folder / "run.json").exists() or "kernel" not in read_run(folder).info["notes"]:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    assert read_run(folder).status == "running"
    if whom == "the runner":
        process.send_signal(signal.SIGINT)
    else:
        os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said and "not started" in said
    record = read_run(folder)
    assert record.status == "interrupted" and json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "out" / "02_zero_shot_baselines").exists()
    kernel = record.info["notes"]["kernel"]["pid"]
    while psutil.pid_exists(kernel) and psutil.Process(kernel).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the kernel goes on without anybody"
        time.sleep(0.1)
