"""What a person sees while notebooks run: titles, work, the time that is left, and no line twice."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from run_cases import notebook
from test_cli import ROOT

from helpers.progress import channel
from helpers.runs import cells, live
from helpers.runs.live import Lesson, Lines, roughly

SHOWN = """
import sys
from pathlib import Path
from helpers.runs import headless
place = Path(sys.argv[1])
jobs = headless.plan(sys.argv[2:], {}, profile="smoke", output_dir=place / "out", notebooks_dir=place / "nb")
outcomes = headless.run_all(jobs, parallel=len(jobs))
print(*(f"{o.notebook} {o.error}" for o in outcomes if o.error), sep=" | ", file=sys.stderr)
sys.exit(headless.exit_code(outcomes))
"""
WORKS = """
# Bake the bread. It takes a while.
import time
from helpers.progress import each
for _part in each("baking", range(40)):
    time.sleep(0.1)
"""
BREAKS = """
import os
from helpers.progress import channel
place = os.environ[channel.VARIABLE]
with open(place, "ab") as file:
    file.write(b'half a line {"event": \\n{"event": "work", "what": "x", "done": "many"}\\n')
    file.write(b'[1]\\n\\xff\\n{"event": "work"}\\n')
time.sleep(1)
os.remove(place)
channel.tell("washing up", done=1, total=2)
assert not os.path.exists(place)
run.finish()
"""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(command: list[str], interrupt_at: bytes | None = None) -> tuple[int, str]:
    """Exit code of a command and what it wrote into a terminal, where somebody types Ctrl-C after some text."""
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "110", "LINES": "30"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, start_new_session=True
    )
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # how a terminal says that its other end is closed
        while part := os.read(ours, 65536):
            text += part
            if interrupt_at is not None and interrupt_at in text:
                os.killpg(process.pid, signal.SIGINT)
                interrupt_at = None
    os.close(ours)
    return process.wait(60), text.decode()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, empty_caches: None, warm_kernels: None) -> Iterator[dict[str, str]]:
    """What two lessons printed: into a pipe, and then, run again, into a terminal."""
    if not hasattr(os, "openpty"):
        pytest.skip("no terminals to open here")
    place = tmp_path_factory.mktemp("seen")
    for name in ("00", "01"):
        path = notebook(place / "nb", name, WORKS.strip(), "# Wash up\n" + BREAKS.strip())
        node = nbformat.read(path, as_version=4)
        node.cells.insert(0, nbformat.v4.new_markdown_cell("# 00 · A `small` lesson\n\n[a link](x)"))
        nbformat.write(node, path)
    command = [sys.executable, "-c", SHOWN, str(place), "00", "01"]
    piped = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert piped.returncode == 0, piped.stdout + piped.stderr
    code, text = in_terminal(command)
    assert code == 0, text
    yield {"pipe": piped.stdout, "terminal": text}


def test_a_pipe_gets_plain_lines_with_titles_and_none_twice(seen: dict[str, str]) -> None:
    lines = seen["pipe"].splitlines()
    assert len(lines) == len(set(lines)), lines
    assert "\x1b" not in seen["pipe"] and "\r" not in seen["pipe"]
    for name in ("00_start_here", "01_eda"):
        own = [line for line in lines if line.startswith(name)]
        titles = [line.split(" · ")[1] for line in own if " · " in line]
        assert "Bake the bread" in titles
        assert re.fullmatch(rf"{name} +finished after .*", own[-1])
        assert not any(re.search(r"lesson \d", line) for line in own), "nothing is known of a first run"


def test_a_terminal_has_a_line_for_each_that_changes_and_is_left_clean(seen: dict[str, str]) -> None:
    text = seen["terminal"]
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is back"
    lines = [CONTROL.sub("", line).strip() for line in re.split(r"[\r\n]+", text)]
    lines = [line for line in lines if line]
    assert len(lines) == len(set(lines)), [line for line in lines if lines.count(line) > 1]
    assert all(len(line) < 110 for line in lines)
    for name in ("00_start_here", "01_eda"):
        baked = [line for line in lines if line.startswith(f"{name} · Bake the bread · ")]
        assert len(baked) >= 3
        told = re.compile(r"baking \d+ of 40 · [^·]+ left · lesson [^·]+ left · cell 5 of 6 · ")
        assert any(map(told.search, baked)), baked
        assert any(re.fullmatch(rf"{name} +finished after .*", line) for line in lines)
    last = CONTROL.sub("", text).strip().splitlines()[-1]
    assert "finished after" in last, "nothing of the lines is left below"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals to open here")
def test_ctrl_c_leaves_the_terminal_clean(tmp_path: Path) -> None:
    notebook(tmp_path / "nb", "00", "# Sleep long\nimport time\ntime.sleep(120)")
    command = [sys.executable, "-c", SHOWN, str(tmp_path), "00"]
    code, text = in_terminal(command, b"Sleep long")
    assert code == 130 and "Traceback" not in text, text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is back"
    lines = [line for line in CONTROL.sub("", text).splitlines() if line.strip()]
    assert re.match(r"00_start_here +interrupted after", lines[-2]) and lines[-1] == "00_start_here stopped"


class Hand:
    """A clock that somebody moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def cell(number: int, title: str, **more: Any) -> dict[str, Any]:
    return {"event": "cell", "k": number, "n": 9, "title": title, **more}


def work(done: int, **more: Any) -> dict[str, Any]:
    return {"event": channel.WORK, "what": channel.TRAINING, "done": done, "total": 400, **more}


def test_a_line_says_what_is_known() -> None:
    lesson = Lesson("04_qlora_instruct", clock := Hand())
    assert lesson.line() == "04_qlora_instruct · starting · 0 s"
    lesson.take(cell(3, "Training", here=600.0, later=120.0))
    lesson.take(work(120, loss=1.23456, left=[170.0, 290.0]))
    clock.now += 5
    assert lesson.line() == (
        "04_qlora_instruct · Training · step 120 of 400 · loss 1.235 · 3 to 5 min left · lesson 12 min left"
        " · cell 3 of 9 · 5 s"
    )
    clock.now += 700  # longer than the earlier run took: what the training says counts
    lesson.take(work(390, loss=float("nan"), left=[60.0, 60.0], more=True))
    assert "loss nan · more than 1 min left · lesson 3 min left" in lesson.line()
    lesson.take({"event": channel.WORK, "what": "validating", "done": 3, "total": None})
    assert "left · validating 3 · lesson" in lesson.line()
    lesson.take({"event": channel.WORK, "what": "validating", "ended": True})
    assert "validating" not in lesson.line()
    lesson.take(cell(4, "After training", here=3.0, later=60.0))
    clock.now += 2
    assert "After training · lesson 1 min left" in lesson.line()
    clock.now += 2
    assert "After training · lesson more than 1 min left" in lesson.line()
    lesson.take(cell(4, "After training"))
    assert lesson.line() == "04_qlora_instruct · After training · cell 4 of 9 · 11 min 49 s"
    clock.now += 4000
    assert lesson.line().endswith(" · 1:18:29")
    lesson.take({"event": "end", "status": "finished"})
    assert len(lesson.line(40).split(" · ")[1]) == live._SHORTEST and lesson.line(40).split(" · ")[1].endswith("…")
    assert len(lesson.line(70)) <= 70


@pytest.mark.parametrize("bad", [{"done": "many"}, {"done": 1, "left": 3}, {"done": 1, "loss": "x"}, {}])
def test_what_a_kernel_garbles_is_refused_before_it_is_shown(bad: dict[str, Any]) -> None:
    lesson = Lesson("x", Hand())
    with pytest.raises((KeyError, TypeError, ValueError)):  # the reader of the worker's lines drops the event
        lesson.take({"event": channel.WORK, "what": "x"} | bad)
    assert lesson.line() == "x · starting · 0 s"


def test_plain_lines_come_with_a_new_title_or_after_a_while_with_something_new() -> None:
    said: list[str] = []
    screen = Lines(said.append, clock := Hand())
    lesson = screen.begin("04")

    def later(seconds: float) -> list[str]:
        before = len(said)
        clock.now += seconds
        screen.tick()
        return said[before:]

    assert later(1) == [] and len(later(1)) == 1 and later(1) == []
    lesson.take(cell(1, "Imports"))
    lesson.take(cell(2, "Training"))
    assert later(1) == [], "a title that is there for a moment is none of anybody's business"
    assert [line.split(" · ")[1] for line in later(1)] == ["Training"]
    assert later(300) == [], "nothing is new but the time"
    lesson.take(work(3))
    (line,) = later(1)  # more than half a minute after the last
    assert "step 3 of 400" in line
    for step in range(4, 33):
        lesson.take(work(step))
        assert later(1) == []
    assert "step 32 of 400" in later(1)[0]
    lesson.take(cell(3, "Training"))
    assert later(20) == [], "the same title"
    screen.end(lesson, "04 finished")
    assert later(0) == ["04 finished"] and later(60) == []
    assert len(set(said)) == len(said)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0, None, "5 s"), (37, None, "35 s"), (58, None, "1 min"), (200, None, "3 min"), (3569, None, "59 min"),
        (3571, None, "1 h 00 min"), (4799, None, "1 h 20 min"), (170, 290, "3 to 5 min"), (40, 90, "40 s to 2 min"),
        (175, 185, "3 min"), (3000, 4800, "50 min to 1 h 20 min"), (3700, 9000, "1 h 00 min to 2 h 30 min"),
    ],
)  # fmt: skip
def test_a_time_to_come_is_told_roughly(low: float, high: float | None, text: str) -> None:
    assert roughly(low, high) == text


def markdown(text: str) -> Any:
    return nbformat.v4.new_markdown_cell(text)


def code(text: str) -> Any:
    return nbformat.v4.new_code_cell(text)


def test_titles() -> None:
    given = [
        (markdown("# 04 · QLoRA\n\ntext"), "QLoRA"),
        (code("# Setup. Colab and Kaggle: fetch"), "Setup"),
        (code("x = 1  # not a title"), "QLoRA"),
        (markdown("no heading\n```bash\n# a comment\n```"), "QLoRA"),
        (code("# fmt: skip\nx"), "QLoRA"),
        (markdown("## One\n### What `X` *saves*, see [here](a.md) ##"), "What X saves, see here"),
        (code("y"), "What X saves, see here"),
        (code(""), "What X saves, see here"),
        (code("# 2.5 times as fast"), "2.5 times as fast"),
    ]
    found = cells.titles([cell for cell, _ in given])
    assert [found[cell["id"]] for cell, _ in given] == [title for _, title in given]


def test_every_cell_of_every_lesson_has_a_title() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        node = nbformat.read(path, as_version=4)
        found = cells.titles(node.cells)
        assert all(found[cell.id] and len(found[cell.id]) < 80 for cell in node.cells), path.name
        assert not any(re.search(r"[`*\[#]", title) for title in found.values()), path.name


HARDWARE = {"device": "cpu", "dtype": "float32"}


def executed(folder: Path, source: list[Any], seconds: list[float], **info: Any) -> None:
    """An earlier run as the worker leaves it."""
    folder.mkdir(parents=True)
    node = nbformat.v4.new_notebook(cells=[nbformat.from_dict(dict(cell)) for cell in source])
    for cell, took in zip(node.cells, seconds, strict=True):
        cell.metadata["papermill"] = {"duration": took}
    injected = code("profile = 'smoke'")
    injected.metadata = {"tags": ["injected-parameters"], "papermill": {"duration": 99.0}}
    node.cells.insert(1, injected)
    nbformat.write(node, folder / "notebook.ipynb")
    run = {"status": "finished", "resumed": False, "finished": "2026-01-01", "hardware": HARDWARE}
    settings = {"profile": "smoke", "n_train": 8, "seed": 0, "run_name": folder.name}
    (folder / "run.json").write_text(json.dumps(run | {"settings": settings} | info))


def test_the_time_of_a_lesson_is_that_of_an_earlier_run_at_this_ones_speed(tmp_path: Path) -> None:
    source = [code("a"), code("b"), markdown("# c"), code("d")]
    settings = {"profile": "smoke", "n_train": 8}
    executed(tmp_path / "04" / "old", source, [1, 1, 0, 1], finished="2025-01-01")
    executed(tmp_path / "04" / "good", source, [10, 40, 0, 5])
    executed(tmp_path / "04" / "failed", source, [1, 1, 0, 1], status="failed", finished="2027")
    executed(tmp_path / "04" / "resumed", source, [1, 1, 0, 1], resumed=True, finished="2027")
    executed(tmp_path / "04" / "more", source, [7, 7, 0, 7], settings=settings | {"n_train": 9}, finished="2027")
    executed(tmp_path / "04" / "gpu", source, [3, 3, 0, 3], hardware=HARDWARE | {"device": "cuda"}, finished="2027")
    executed(tmp_path / "04" / "broken", source, [1, 1, 0, 1], finished="2027")
    (tmp_path / "04" / "broken" / "notebook.ipynb").write_text("{")
    executed(tmp_path / "04" / "odd", source, [1, 1, 0, 1], finished="2027")
    (tmp_path / "04" / "odd" / "run.json").write_text("[]")
    runs = cells.earlier_runs(tmp_path, "04")
    assert len(runs) == 4 and cells.earlier_runs(tmp_path, "05") == []
    mine = {"settings": settings | {"seed": 1, "run_name": "x"}, "hardware": HARDWARE | {"a": 1}, "resumed": False}
    info: dict[str, Any] = {}
    watch = cells.Clock(source, runs, lambda: info, clock := Hand())
    assert watch.begin(source[0]) is None, "the run has no settings yet"
    info |= mine
    clock.now += 20
    assert watch.begin(code("the parameters given")) is None
    assert watch.begin(source[1]) == (80.0, 10.0), "it took twice as long so far"
    clock.now += 20
    assert watch.begin(source[3]) == (5 * 40 / 50, 0.0)
    for other in (
        {"resumed": True},
        {"hardware": HARDWARE | {"dtype": "bfloat16"}},
        {"settings": settings | {"n_train": 7}},
    ):
        assert cells.Clock(source, runs, lambda other=other: mine | other).begin(source[0]) is None


def test_a_cell_that_is_new_has_no_time_and_those_after_it_have(tmp_path: Path) -> None:
    source = [code("a"), code("b"), code("c")]
    executed(tmp_path / "04" / "run", source, [10, 40, 5])
    settings = {"profile": "smoke", "n_train": 8}
    info = {"settings": settings, "hardware": HARDWARE}
    source[1].source = "b, and more"
    watch = cells.Clock(source, cells.earlier_runs(tmp_path, "04"), lambda: info, Hand())
    assert watch.begin(source[0]) is None and watch.begin(source[1]) is None
    assert watch.begin(source[2]) == (5.0, 0.0)


def test_a_record_of_another_machine_counts_once_this_ones_speed_is_known(tmp_path: Path) -> None:
    source = [code("a"), code("b"), code("c")]
    executed(tmp_path / "elsewhere", source, [10, 40, 5])
    settings = {"profile": "smoke", "n_train": 8}
    info = {"settings": settings, "hardware": HARDWARE}
    place = tmp_path / "recorded" / "smoke" / "04"
    place.mkdir(parents=True)
    seconds = cells.seconds_of_cells(tmp_path / "elsewhere" / "notebook.ipynb")
    assert sorted(seconds.values()) == [5, 10, 40], "without that of the parameters"
    (place / "run.json").write_text(json.dumps(info | {"cell_seconds": seconds}))
    (tmp_path / "recorded" / "cpu" / "04").mkdir(parents=True)
    (tmp_path / "recorded" / "cpu" / "04" / "run.json").write_text("{}")  # an older record, without seconds
    runs = cells.earlier_runs(tmp_path / "out", "04", tmp_path / "recorded")
    watch = cells.Clock(source, runs, lambda: info, clock := Hand())
    assert len(runs) == 1 and watch.begin(source[0]) is None
    clock.now += 30
    assert watch.begin(source[1]) == (120.0, 15.0)
