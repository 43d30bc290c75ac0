"""What is planned on fake tensors is what the profiler measures on real ones, and what a real trainer takes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import memory
from helpers.errors import ModelError, ParameterError
from helpers.memory.batches import batch
from helpers.memory.build import build
from helpers.memory.fake import FakeRun
from helpers.memory.jobs import Job
from helpers.memory.measure import load, measure_cpu, profiled_peak, storages
from helpers.memory.planner import MARGIN, plan
from helpers.models.load import TINY
from helpers.models.skeletons import configuration
from helpers.runs.provenance import peak_rss_gb

CPU: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
PHI = {"targets": "q_proj+v_proj+fc1+fc2", "length": 96}
SEES = {"step": "vision", "quant": "none", "targets": "q_proj+v_proj", "labelled": 30, "batch_size": 4}

LLAMA = [
    Job("tiny/llama", quant=quant, batch_size=rows, length=length, labelled=32, checkpointing=again, **CPU)
    for quant, rows, length in (("none", 2, 64), ("none", 8, 128), ("nf4-double", 2, 64), ("nf4-double", 8, 128))
    for again in (False, True)
]
OTHERS = [
    Job("tiny/llama", batch_size=3, length=100, faster=True, kept_weights=True, **CPU),
    Job("tiny/llama", batch_size=3, length=100, faster=True, kept_weights=True, device="cpu", dtype="bfloat16"),
    Job("tiny/llama", batch_size=3, length=100, faster=True, lora_dropout=0.1, checkpointing=True, **CPU),
    Job("tiny/llama", quant="nf4", batch_size=3, length=100, lora_dropout=0.1, **CPU),
    Job("tiny/llama", quant="int8", batch_size=3, length=100, **CPU),
    Job("tiny/llama", quant="nf4", length=100, prepared=True, device="cpu", dtype="bfloat16", mixed=False),
    Job("tiny/clip", step="contrast", method="soft", quant="none", batch_size=24, length=12, **CPU),
    Job("tiny/llama", quant="none", method="full", length=128, **CPU),
    Job("tiny/llama", step="causal", quant="none", length=128, labelled=100, **CPU),
    Job("tiny/llama", quant="none", method="embedding", length=128, accumulation=2, **CPU),
    Job("tiny/llama", quant="nf4", method="key_value", length=128, prefix_hidden=16, **CPU),
    Job("tiny/llama", quant="none", method="peft", length=128, **CPU),
    Job("tiny/llama", step="generate", method="none", quant="none", length=128, new_tokens=40, **CPU),
    Job("tiny/llama", step="generate", method="none", length=128, new_tokens=40, **CPU),
    Job("tiny/llama", step="rate", quant="none", batch_size=6, length=90, labelled=25, **CPU),
    Job("tiny/qwen2_vl", length=120, pixels=48 * 48, **{**SEES, "step": "rate"}, **CPU),
    Job("tiny/phi", step="classify", quant="nf4", batch_size=8, **PHI, **CPU),
    Job("tiny/phi", step="classify", quant="int8", batch_size=8, padded=False, **PHI, **CPU),
    Job("tiny/phi", step="label_words", quant="nf4-double", batch_size=8, accumulation=2, **PHI, **CPU),
    Job("tiny/qwen2_vl", length=120, pixels=48 * 48, **SEES, **CPU),
    Job("tiny/qwen2_vl_kitchen", length=160, pixels=64 * 64, **SEES, **CPU),
    Job("tiny/qwen2_vl", length=120, pixels=24 * 24, method="key_value", **SEES, **CPU),
    Job("tiny/paligemma", length=160, **SEES, **CPU),
    Job("tiny/paligemma", length=160, checkpointing=True, **SEES, **CPU),
    Job("tiny/blip2", length=60, **SEES, **CPU),
    Job("tiny/blip2", length=60, method="key_value", **SEES, **CPU),
]


def _name(job: Job) -> str:
    parts = [job.model.removeprefix("tiny/"), job.step, job.method, job.quant, f"{job.batch_size}x{job.length}"]
    marks = ["again"] * job.checkpointing + ["faster"] * job.faster + [job.dtype] * (job.dtype != "float32")
    return "-".join(parts + marks)


@pytest.mark.parametrize("job", LLAMA + OTHERS, ids=_name)
def test_a_plan_is_what_the_profiler_measures(job: Job) -> None:
    planned, measured = plan(job).tensors, measure_cpu(job)
    assert abs(planned / measured - 1) < 0.02, (planned, measured)


def test_every_checkpoint_is_compared() -> None:
    taught = {f"tiny/{file.parent.name}" for file in TINY.glob("*/config.json")}
    assert {job.model for job in LLAMA + OTHERS} == taught


def test_a_plan_is_what_two_updates_of_the_real_trainer_take(tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    job = Job("tiny/phi", step="classify", quant="nf4", batch_size=8, padded=False, **PHI, **CPU)
    model = load(job)
    rows = [{"input_ids": [7] * job.length, "attention_mask": [1] * job.length, "labels": 0}] * 32
    arguments = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=8, max_steps=3, report_to="none", disable_tqdm=True,
        save_strategy="no", use_cpu=True, dataloader_pin_memory=False, logging_strategy="no", max_grad_norm=1.0,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=Dataset.from_list(rows))
    held = sum(storages(model, {}).values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measured = held + profiled_peak(trainer.train)
    planned = plan(job).tensors
    assert abs(planned / measured - 1) < 0.02, (planned, measured)


def test_a_seven_billion_model_is_planned_without_its_weights() -> None:
    job = Job("meta-llama/Llama-2-7b-chat-hf", length=1024, labelled=512, checkpointing=True, accumulation=4)
    before = peak_rss_gb()
    found = plan(job)
    assert peak_rss_gb() - before < 1  # its weights in 4 bits take 3.9 GB
    assert found.tensors < found.allocated < found.total
    rows = {row["part"]: row["GB"] for row in found.rows()}
    assert sum(rows.values()) == pytest.approx(found.total / 1e9, rel=0.01)
    assert found.cards()["A100 80 GB"] == "fits" and found.verdict(found.allocated) == "does not fit"
    assert found.verdict(found.total) == "close" and found.fits(found.total * (1 + MARGIN) + 1)


def test_parts_are_the_sizes_that_follow_from_the_architecture() -> None:
    job = Job("llama-2-7b", batch_size=1, length=64, labelled=16, quant="nf4")
    parts = plan(job).parts
    packed = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    rest = 2 * 32000 * 4096 + 65 * 4096  # embeddings, head, norms
    assert parts["weights"] == packed // 2 + 2 * rest
    assert parts["quantisation scales"] == packed // 64 * 4 + 224 * 16 * 4  # a float32 for 64 weights, 16 levels each
    adapter = 32 * 16 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    assert parts["adapters"] == 4 * adapter
    assert parts["optimizer states"] == pytest.approx(8 * adapter, rel=1e-3)


def test_eight_bit_states_take_a_quarter_and_paged_ones_nothing() -> None:
    job = Job("tiny/llama", method="full", quant="none", dtype="float32", length=64)
    sizes = {name: plan(job.but(optimizer=name)).parts["optimizer states"] for name in memory.jobs.OPTIMIZERS}
    assert sizes["adamw_bnb_8bit"] < 0.4 * sizes["adamw_torch"]
    assert sizes["paged_adamw_8bit"] < sizes["adamw_bnb_8bit"]


def test_integers_stay_real_and_floats_take_no_memory() -> None:
    run = FakeRun()
    with run:
        ids = torch.arange(6).view(2, 3)
        huge = torch.empty(10**6, 10**6)
        assert (ids == 4).nonzero().tolist() == [[1, 1]]
        picked = torch.empty(2, 3, 5)[ids > 2]
    assert picked.shape == (3, 5) and huge.shape == (10**6, 10**6)
    assert run.ledger.peak()[0] > 4e12


def test_a_plan_is_the_same_every_time() -> None:
    job = Job("tiny/llama", length=64, lora_dropout=0.1, checkpointing=True)
    first, second = plan(job), plan.__wrapped__(job)
    assert (first.tensors, first.parts, first.largest) == (second.tensors, second.parts, second.largest)
    assert first.total == second.total
    assert sorted(size for _, size in first.events) == sorted(size for _, size in second.events)


def test_numbers_that_are_equal_but_of_another_kind_are_told_apart() -> None:
    """What is remembered of one call must not stand for the other: 1 and 1.0 give different formats."""
    run = FakeRun()
    with run:
        whole = torch.ones(300, dtype=torch.float32).to(torch.float64)
        filled = [torch.full((300,), value) for value in (1, 1.0, True, 1.0, 1)]
        added = [torch.add(whole, whole, alpha=alpha) for alpha in (1, 1.0)]
    assert [x.dtype for x in filled] == [torch.int64, torch.float32, torch.bool, torch.float32, torch.int64]
    assert all(x.dtype == torch.float64 and x.shape == (300,) for x in added)


def test_what_is_remembered_of_a_call_is_what_torch_gives() -> None:
    """Shapes, strides and formats under a run, the first time and again, against real tensors."""

    def calls() -> list[torch.Tensor]:
        x, table = torch.zeros(2, 3, 40), torch.zeros(7, 40)
        y = x.transpose(1, 2)
        return [
            x + 1, y * 2, y.contiguous(), x.half(), y.clone(), x @ y, torch.cat([x, x], 1), x.sum(-1), x.mean((0, 2)),
            table[torch.tensor([[1, 2], [3, 3]])], x.softmax(-1), *x.max(-1), *torch.var_mean(x, 1), x.new_zeros(5),
            torch.nn.functional.layer_norm(x, (40,)), torch.empty_like(y), x.expand(4, 2, 3, 40) + 0,
        ]  # fmt: skip

    run = FakeRun()
    with run:
        first, again = calls(), calls()
    for fake, same, real in zip(first, again, calls(), strict=True):
        expected = (real.shape, real.stride(), real.dtype, real.device)
        assert (fake.shape, fake.stride(), fake.dtype, fake.device) == expected
        assert (same.shape, same.stride(), same.dtype, same.device) == expected
        assert same.untyped_storage()._cdata != fake.untyped_storage()._cdata


def test_a_storage_ends_when_the_last_view_of_it_does() -> None:
    run = FakeRun()
    with run:
        whole = torch.empty(1000)
        view = whole[10:20]
        del whole
        before = run.ledger.live(len(run.ledger.events) - 1)
        del view
        after = run.ledger.live(len(run.ledger.events) - 1)
    assert list(before.values()) == [4000] and not after


def test_nothing_stays_behind_in_torch() -> None:
    plan(Job("tiny/llama", length=64))
    assert not torch.is_autocast_enabled("cuda") and not torch.is_autocast_enabled("cpu")
    assert torch.ones(2).sum().item() == 2.0
    assert torch.nn.Linear(1, 1).to("cpu").weight.device.type == "cpu"


def test_the_whole_model_is_fake() -> None:
    run = FakeRun()
    model = build(Job("tiny/phi", quant="nf4-double"), run)
    assert all(type(p).__name__ == "FakeTensor" for p in model.parameters())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"quant": "nf3"}, "did you mean 'nf4'"),
        ({"step": "train"}, "Allowed: completion"),
        ({"batch_size": 0}, "at least 1"),
        ({"method": "full"}, "cannot be trained"),
        ({"method": "key_value", "checkpointing": True}, "drops"),
    ],
)
def test_an_impossible_job_is_one_clear_line(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        Job("tiny/llama", **fields)


def test_a_picture_that_does_not_fit_into_a_row_is_one_clear_line() -> None:
    job = Job("Qwen/Qwen2-VL-2B-Instruct", step="vision", length=200, pixels=256 * 784)
    with pytest.raises(ParameterError, match="too short for a picture of 256 tokens"):
        batch(job, configuration(job.model))


def test_an_unknown_model_is_one_clear_line() -> None:
    with pytest.raises(ModelError, match="not on this machine"):
        plan(Job("nobody/nothing"))
