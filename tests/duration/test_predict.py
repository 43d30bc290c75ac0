"""Seconds from counted operations: identities, sheets, lines in the number of layers, programs that can be played."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from helpers.duration import calibrate, forecast, predict, rates, work
from helpers.duration.program import Program, operation_seconds
from helpers.memory.jobs import Job
from helpers.memory.operations import FORWARD, MOVE, PRODUCT, UPDATE, VIEW, Operation
from helpers.memory.planner import CARDS
from helpers.memory.recording import layers_of

JOB = Job("tiny/llama", quant="nf4-double", dtype="float32", device="cpu", batch_size=2, length=24, labelled=8)
SHEET = rates.of_processor(2)


def test_an_operation_takes_the_longer_of_computing_and_moving() -> None:
    sheet = rates.SheetRates("x", {"float32": 1e9, "float16": 4e9}, 1e8, {PRODUCT: 0.5, MOVE: 1.0}, {FORWARD: 1e-3})
    product = Operation("aten.mm.default", PRODUCT, "float32", 10**9, 10, ())
    assert sheet.device_seconds(product, FORWARD) == 2.0
    half = Operation("aten.mm.default", PRODUCT, "float16", 10**9, 10**8, ())
    assert sheet.device_seconds(half, FORWARD) == 2.0  # 1 s of moving at half of the bandwidth
    moved = Operation("aten.add.Tensor", MOVE, "float16", 0, 5 * 10**7, ())
    view = Operation("view", VIEW, "", 0, 0, ())
    counts = Counter({(product, FORWARD): 3, (moved, FORWARD): 2, (view, FORWARD): 10})
    found = predict.time_of(counts, sheet)
    assert found.device[FORWARD] == 3 * 2.0 + 2 * 0.5
    assert found.calls[FORWARD] == pytest.approx(5e-3 + 10e-3 * rates.VIEW_SHARE)
    assert found.total == found.device[FORWARD]  # calls are made meanwhile
    on_cpu = predict.StepTime(found.device, found.calls, found.kinds, overlaps=False)
    assert on_cpu.total == found.device[FORWARD] + found.calls[FORWARD]


@pytest.mark.parametrize(
    "job", [JOB, JOB.but(checkpointing=True, quant="none"), JOB.but(step="generate", method="none")]
)
def test_two_short_models_give_the_deep_one_exactly(job: Job) -> None:
    assert layers_of(job) > max(predict.depths(job)), "else nothing is tested"
    whole = predict.time_of(predict.counted_once(job), SHEET)
    line = predict.step_time(job, SHEET)
    assert line.total == pytest.approx(whole.total, rel=1e-9)
    assert line.kinds == pytest.approx(whole.kinds, rel=1e-9)


def test_an_update_has_its_passes_and_one_optimizer_step() -> None:
    one, four = (predict.step_time(JOB.but(accumulation=n), SHEET) for n in (1, 4))
    assert four.total - one.total == pytest.approx(3 * (one.total - one.spent(UPDATE)))


def test_a_sum_over_lengths_is_the_sum_of_a_line_and_close_to_that_of_a_curve() -> None:
    lengths = [10, 10, 17, 40, 41, 90, 200, 130]
    assert predict.summed(lengths, lambda n: 3.0 + 2 * n) == pytest.approx(sum(3.0 + 2 * n for n in lengths))
    exact = sum(n + n * n / 1000 for n in lengths)
    assert predict.summed(lengths, lambda n: n + n * n / 1000) == pytest.approx(exact, rel=0.05)
    assert len(predict.knots(range(1000))) == predict.KNOTS and predict.summed([], float) == 0.0


def test_every_card_has_a_sheet_with_a_source() -> None:
    for card in CARDS:
        assert rates.sheet()[card]["source"] and rates.of_card(card).bandwidth > 1e11
    named = {"Tesla T4": "T4 16 GB", "NVIDIA A100-SXM4-40GB": "A100 40 GB", "Tesla P100-PCIE-16GB": "P100 16 GB"}
    for name, card in named.items():
        size = CARDS[card][0] / 1e9
        assert forecast.card_of(SimpleNamespace(device_name=name, gpu_memory_gb=size)) == card
    assert forecast.card_of(SimpleNamespace(device_name="NVIDIA GeForce RTX 4090", gpu_memory_gb=24)) is None


def test_a_played_step_makes_every_counted_call() -> None:
    program = Program(JOB, 2)
    played = program.play()
    counted = {key for key in program.counts if key[0].kind != VIEW}
    assert set(played) == counted and not program._dead
    assert len(program.lines) == sum(n for key, n in program.counts.items() if key in counted)
    assert all(seconds > 0 for seconds in operation_seconds(program, times=1).values())


def test_what_was_measured_is_said_again_and_scales_to_other_sizes() -> None:
    measured = rates.MeasuredRates("here", {"float32": 1e11}, 1e10, dict.fromkeys((FORWARD, UPDATE), 1e-6))
    small = Operation("aten.mm.default", PRODUCT, "float32", 10**9, 10**6, (1,))
    large = Operation("aten.mm.default", PRODUCT, "float32", 10**10, 10**7, (2,))
    assert measured.device_seconds(small, FORWARD) == pytest.approx(1e-2)  # at the peak: nothing like it is known
    measured.add(small, FORWARD, 0.04)
    assert measured.device_seconds(small, FORWARD) == 0.04
    assert measured.device_seconds(large, FORWARD) == pytest.approx(0.4)
    assert measured.device_seconds(small, UPDATE) == 0.04  # at another place of the step it was not measured


def test_a_calibration_is_kept_and_read_again(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFT_LAB_CACHE", str(tmp_path))
    assert calibrate.kept() is None
    measured = rates.MeasuredRates("here", {"float32": 1e11}, 1e10, {FORWARD: 1e-6})
    measured.add(Operation("aten.mm.default", PRODUCT, "float32", 10, 10, (torch.float32,)), FORWARD, 0.5)
    file = calibrate.keep(measured)
    assert calibrate.kept() == measured
    assert json.loads(file.read_text())["bandwidth"] == 1e10


def test_rows_are_spread_over_their_quantiles_and_padded_as_batches_are() -> None:
    rows = work.spread((10, 20, 30, 40, 100), 1000)
    assert sorted(rows)[500] == pytest.approx(30, abs=1) and min(rows) == 10 and max(rows) == 100
    grouped = work.padded_lengths(rows, 8, 1, grouped=True)
    mixed = work.padded_lengths(rows, 8, 1, grouped=False)
    assert len(grouped) == len(mixed) == 125
    assert sum(rows) / 8 < sum(grouped) < sum(mixed)  # padding costs more where lengths are mixed
    assert work.padded_lengths([7] * 10, 4, 1, grouped=False) == [7, 7, 7]
