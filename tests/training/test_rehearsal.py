"""Functions in several processes: what they are given, what they give back, and how they fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.errors import ParameterError, RunError
from helpers.training import rehearsal
from helpers.training.rehearsal import on_ranks

WRITTEN_IN_A_NOTEBOOK = '''
def shown(number):
    """A helper of the next one."""
    return 10 * number


def added(number):
    import torch
    import torch.distributed as dist

    together = torch.tensor([shown(number) + dist.get_rank()])
    dist.all_reduce(together)
    return {"rank": dist.get_rank(), "together": together.item(), "gpus": torch.cuda.device_count()}


def failing(number):
    import torch.distributed as dist

    if dist.get_rank() == number:
        raise ValueError("this rank will not")
    dist.barrier()


def waiting(seconds):
    import os
    import time

    time.sleep(seconds)
    return [os.getppid(), os.environ.get("SAID_LATER")]


def alone(number):
    import torch.distributed as dist

    return [number, dist.is_initialized()]
'''


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Functions as a notebook has them: their module is ``__main__``, their source is at hand."""
    file = tmp_path / "cell.py"
    file.write_text(WRITTEN_IN_A_NOTEBOOK)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(WRITTEN_IN_A_NOTEBOOK, str(file), "exec"), names)
    return names


def test_ranks_speak_to_each_other_case_by_case(written: dict[str, Any]) -> None:
    found = on_ranks(written["added"], [{"number": 1}, {"number": 2}], 3, uses=[written["shown"]])
    sums = [[{"rank": r, "together": 3 * 10 * n + 3, "gpus": 0} for r in range(3)] for n in (1, 2)]
    assert found == sums


def test_one_process_is_a_plain_one(written: dict[str, Any]) -> None:
    assert on_ranks(written["alone"], [{"number": 7}], 1) == [[[7, False]]]


def test_a_function_of_a_module_is_imported() -> None:
    assert on_ranks(os.path.basename, [{"p": "a/b"}], 1) == [["b"]]


def test_a_rank_that_fails_ends_all_of_them_with_its_line(written: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="one of 2 processes failed: .*this rank will not"):
        on_ranks(written["failing"], [{"number": 1}], 2)


def test_one_process_starts_them_until_time_runs_out(written: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAID_LATER", raising=False)
    (first,), (second,) = (on_ranks(written["waiting"], [{"seconds": 0}], 1)[0] for _ in range(2))
    assert first == second and first[1] is None
    with pytest.raises(RunError, match="1 processes had not ended after 1 s"):
        on_ranks(written["waiting"], [{"seconds": 60}], 1, seconds=1)
    with pytest.raises(ProcessLookupError):
        os.kill(first[0], 0)
    monkeypatch.setenv("SAID_LATER", "yes")
    ((third,),) = on_ranks(written["waiting"], [{"seconds": 0}], 1)
    assert third[1] == "yes" and third[0] != first[0]


def test_a_server_that_cannot_start_says_why(
    written: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(RunError, match="the process that starts them has ended"):
        on_ranks(written["alone"], [{"number": 7}], 1)
    assert "No module named 'encodings'" in capsys.readouterr().out


def test_a_system_without_fork_is_told(written: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(rehearsal.os, "fork")
    with pytest.raises(ParameterError, match="cannot"):
        on_ranks(written["alone"], [{"number": 7}], 1)


def test_processes_share_the_cores_and_see_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal.os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = {n: rehearsal.surroundings(n)["OMP_NUM_THREADS"] for n in (1, 2, 3, 16)}
    assert threads == {1: "8", 2: "4", 3: "2", 16: "1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [rehearsal.surroundings(n)["OMP_NUM_THREADS"] for n in (1, 2, 4)] == ["3", "3", "2"], "never more than that"
    assert rehearsal.surroundings(2)["CUDA_VISIBLE_DEVICES"] == ""
