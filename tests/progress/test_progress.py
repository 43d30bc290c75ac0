"""How far work is: what a runner hears, the time that is left, and bars for long work only."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from helpers.progress import Remaining, Work, bars, channel, each

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> channel.Listener:
    """A runner that wants to know."""
    monkeypatch.setenv(channel.VARIABLE, str(tmp_path / "progress.jsonl"))
    return channel.Listener(tmp_path / "progress.jsonl")


class Hand:
    """A clock that somebody moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_written_where_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(channel.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    channel.tell("x", done=1)
    assert not channel.listening()
    monkeypatch.setenv(channel.VARIABLE, str(tmp_path / "progress.jsonl"))  # named, and not made
    channel.tell("x", done=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["absent/progress.jsonl", ".", "\0"])
def test_a_channel_that_cannot_be_written_does_no_harm(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place != "\0":  # no environment holds one
        monkeypatch.setenv(channel.VARIABLE, str(tmp_path / place))
    channel.tell("x", done=1, loss=object())
    assert list(each("x", [1, 2])) == [1, 2]


def test_what_is_told_is_heard_once_whole_and_in_order(listener: channel.Listener, tmp_path: Path) -> None:
    channel.tell("a", done=1, total=None, loss=float("nan"))
    channel.tell("é", ended=True)
    first, second = listener.events()
    assert first["what"] == "a" and np.isnan(first["loss"]) and second == {"event": "work", "what": "é", "ended": True}
    assert listener.events() == []
    file = tmp_path / "progress.jsonl"
    with file.open("ab") as written:
        written.write(b'no event\n[1]\n"text"\n{"event": "end"}\n{"event": "work", "what": 3}\n\xff\n{"event": "wo')
    assert listener.events() == []
    with file.open("ab") as written:
        written.write(b'rk", "what": "b"}\n')
    assert [event["what"] for event in listener.events()] == ["b"]
    file.unlink()
    assert listener.events() == []


def test_a_process_that_was_forked_or_started_tells_as_well(listener: channel.Listener) -> None:
    code = "from helpers.progress import channel; [channel.tell('child', done=i) for i in range(200)]"
    children = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    told = [event["done"] for event in listener.events()]
    assert sorted(told) == sorted([*range(200)] * 3), "no line is torn"


def test_work_tells_once_a_second_and_what_is_left(listener: channel.Listener) -> None:
    work = Work("reading", 100, clock=(clock := Hand()))
    for _ in range(40):
        clock.now += 0.125
        work.advance(2)
    told = listener.events()
    assert [event["done"] for event in told] == [16, 32, 48, 64, 80] and told[0]["total"] == 100
    assert told[-1]["left"] == pytest.approx([20 * 5 / 80] * 2, abs=0.051), "in tenths"
    work.close()
    assert [event.get("ended") for event in listener.events()] == [True]
    short = Work("reading", 3, clock=clock)
    short.advance(3)
    short.close()
    assert listener.events() == [], "short work is not heard of"


def test_each_gives_every_item_and_ends_where_its_reader_does(listener: channel.Listener) -> None:
    assert list(each("x", iter("abc"))) == ["a", "b", "c"] and list(each("x", [])) == []
    batches = each("x", [[1, 2], [3]], 3, len)
    assert next(batches) == [1, 2]
    batches.close()  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        for item in each("x", [1, 0]):
            1 / item


# -- what is left of a training -----------------------------------------------------------------------


def test_the_median_of_recent_steps_times_the_steps_left() -> None:
    remaining = Remaining(1000)
    draw = random.Random(0)
    seconds = [draw.uniform(0.5, 1.5) for _ in range(200)]
    for step, took in enumerate([60.0, *seconds], start=1):  # the first one compiles, say
        remaining.add(step, took)
    low, high, whole = remaining.seconds() or (0, 0, False)
    quarter, three_quarters = np.quantile(seconds[-50:], [0.25, 0.75])
    assert low == pytest.approx(799 * quarter) and high == pytest.approx(799 * three_quarters) and whole
    assert low < 799 * float(np.median(seconds[-50:])) < high


def test_a_machine_that_becomes_slower_is_followed() -> None:
    remaining = Remaining(400)
    for step in range(1, 201):
        remaining.add(step, 1.0 if step <= 100 else 3.0)
    assert remaining.seconds() == (600.0, 600.0, True)


def test_nothing_is_said_before_enough_is_known() -> None:
    remaining = Remaining(100)
    assert remaining.seconds() is None
    for step in range(1, 5):
        remaining.add(step, 1.0)
        assert remaining.seconds() is None
    remaining.add(5, 1.0)
    assert remaining.seconds() == (95.0, 95.0, True)


def test_pauses_to_come_are_counted_as_soon_as_one_was_seen() -> None:
    """Against a loop over every step of the same training."""
    steps, validated = 60, (20, 40, 60)  # a validation takes 30 s and lies in the seconds of the next step
    remaining = Remaining(steps, {step + 1 for step in validated})
    seconds = {step: 2.0 + 30.0 * (step - 1 in validated) for step in range(1, steps + 2)}
    for step in range(1, steps + 1):
        remaining.add(step, seconds[step])
        if step >= 6:
            to_come = sum(seconds[later] for later in range(step + 1, steps + 2)) - 2.0  # the last one is a pause alone
            pauses = 30.0 * sum(step < later + 1 for later in validated)
            known = step > 20
            expected = to_come if known else to_come - pauses
            assert remaining.seconds() == (expected, expected, known)


def test_a_pause_at_every_step_is_the_step() -> None:
    remaining = Remaining(10, range(2, 12))
    for step in range(1, 7):
        remaining.add(step, 4.0)
    assert remaining.seconds() == (16.0, 16.0, True)


# -- bars ---------------------------------------------------------------------------------------------

FIRST = """
import os, time
from IPython import get_ipython
from helpers.progress import bars, each
from helpers.inference import generate
from helpers import models
kernel = get_ipython().kernel
prompts = [[{"role": "user", "content": f"Which {i}?"}] for i in range(6)]
model = models.load("tiny/llama", quant="none")
def ask(): return generate(model.model, model.tokenizer, prompts, max_new_tokens=2, batch_size=2)
ask()  # what libraries say the first time
"""
SHORT = "for part in each('short', range(5)): time.sleep(0.01)"
LONG = "bars.DELAY = 0.05\nfor part in each('long', range(400)): time.sleep(0.001)"
WATCHED = "kernel._allow_stdin = True\n"


def shown(outputs: list[Any]) -> list[str]:
    return [o.data["text/plain"] for o in outputs if o.output_type == "display_data"]


def test_bars_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_caches: None, warm_kernels: None
) -> None:
    """Short work leaves nothing; long work one line of text, or a widget where somebody watches who has them."""
    monkeypatch.delenv("PEFT_LAB_LIVE", raising=False)
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as the runner does for the bars of libraries
    sources = (
        FIRST,
        SHORT,
        LONG,
        "bars.DELAY = 10.0\nquick = ask()",
        "bars.DELAY = 0.0\nassert ask() == quick",
        LONG.replace("range(400)", "(x for x in range(400))"),
        "os.environ['PEFT_LAB_LIVE'] = '0'\n" + LONG,
        "os.environ.pop('PEFT_LAB_LIVE')\n" + WATCHED + LONG,
        "os.environ['COLAB_RELEASE_TAG'] = 'x'\nbars.headless = lambda: False\n" + LONG,
        "bars._InPlace.write = lambda *_: 1 / 0\n" + LONG,
    )
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    updates = 0

    class Client(NotebookClient):
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            nonlocal updates
            updates += msg["msg_type"] == "update_display_data"
            return super().process_message(msg, cell, cell_index)

    Client(node, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    _, short, long, quick, slow, unknown, quiet, watched, colab, broken = (cell.outputs for cell in node.cells)
    assert short == quick == quiet == broken == []
    (line,) = shown(long)
    assert line.startswith("long: 100%|██") and "400/400" in line and len(line) <= 100 and len(long) == 1
    assert updates >= 2, "it was replaced in place"
    assert [text.split(":")[0] for text in shown(slow)] == ["tokenising", "generating"] and "6/6" in shown(slow)[1]
    assert len(slow) == 2 and "400it" in shown(unknown)[0] and len(unknown) == 1
    (widget,) = watched
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    assert "400/400" in shown(colab)[0] and len(colab) == 1 and set(colab[0].data) == {"text/plain"}


def test_outside_of_a_notebook_there_is_no_bar(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(bars, "DELAY", 0.0)
    assert list(each("x", range(3))) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")
    code = "import sys; from helpers.progress import each; list(each('x', [1])); print('tqdm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=dict(os.environ))
    assert done.stdout == "False\n", done.stderr


def test_events_are_one_line_of_json(listener: channel.Listener, tmp_path: Path) -> None:
    channel.tell("a\nb", done=1)
    text = (tmp_path / "progress.jsonl").read_text()
    assert text.count("\n") == 1 and json.loads(text)["what"] == "a\nb"
