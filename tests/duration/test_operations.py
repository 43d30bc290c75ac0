"""What the operations of a step do, counted, against torch's own counter, formulas by hand and loops."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers.duration.predict import counted_once
from helpers.memory import steps
from helpers.memory.batches import batch
from helpers.memory.jobs import Job
from helpers.memory.measure import load
from helpers.memory.operations import (
    AGAIN,
    ATTENTION,
    BACKWARD,
    FORWARD,
    MOVE,
    OPTIMIZER,
    PRODUCT,
    UNPACK,
    UPDATE,
    VIEW,
    Counts,
    RealTally,
    Sizes,
)  # fmt: skip
from helpers.models.skeletons import configuration

WHOLE = Job("tiny/llama", quant="none", dtype="float32", device="cpu", batch_size=3, length=40, labelled=10)


def flops(counts: Counts, *kinds: str) -> int:
    return sum(n * op.flops for (op, _), n in counts.items() if op.kind in kinds)


def counted(call: Any) -> Counter[Any]:
    """Operations of a call on real tensors, views left out."""
    with RealTally() as run:
        call()
    return Counter({op: n for (op, _), n in run.tally.counts.items() if op.kind != VIEW})


def touches(operation: Any, size: int) -> bool:
    """Whether a tensor of the operation has an axis of this size."""
    return any(isinstance(x, Sizes) and size in x.shape for x in operation.arguments[0])


def only(call: Any) -> Any:
    """The one operation of a call."""
    (operation,) = counted(call)
    return operation


@pytest.mark.parametrize(
    "job",
    [
        WHOLE,
        WHOLE.but(checkpointing=True),
        WHOLE.but(model="tiny/phi", step="classify", targets="q_proj+v_proj+fc1+fc2"),
        WHOLE.but(model="tiny/qwen2_vl", step="vision", targets="q_proj+v_proj", length=120, pixels=48 * 48),
    ],
    ids=lambda job: f"{job.model}-{job.checkpointing}",
)
def test_products_of_a_step_are_those_that_torch_counts_on_real_tensors(job: Job) -> None:
    model, inputs = load(job), batch(job, configuration(job.model))
    with FlopCounterMode(display=False) as counter, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steps.loss_of(job, model, inputs).backward()
    # Of attention on a CPU torch has no formula.
    assert flops(counted_once(job), PRODUCT) == counter.get_total_flops() > 0


def test_products_of_a_forward_pass_follow_from_the_layers() -> None:
    config = configuration(WHOLE.model)
    tokens, hidden, r = WHOLE.batch_size * WHOLE.length, config.hidden_size, WHOLE.lora_r
    keys = hidden * config.num_key_value_heads // config.num_attention_heads
    shapes = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden)]
    shapes += [(hidden, config.intermediate_size)] * 2 + [(config.intermediate_size, hidden)]
    a_layer = sum(2 * tokens * (i * o + r * (i + o)) for i, o in shapes)
    forward = Counter({k: n for k, n in counted_once(WHOLE).items() if k[1] == FORWARD})
    heads = sum(n * op.flops for (op, _), n in forward.items() if op.kind == PRODUCT and touches(op, config.vocab_size))
    # The head runs where some row has a label.
    a_place = 2 * WHOLE.batch_size * hidden * config.vocab_size
    assert heads in {a_place * places for places in (WHOLE.labelled - 1, WHOLE.labelled)}
    rotary = sum(n * op.flops for (op, _), n in forward.items() if op.name == "aten.bmm.default")
    assert flops(forward, PRODUCT) == config.num_hidden_layers * a_layer + heads + rotary


def test_attention_on_a_cpu_has_two_products_forward_and_five_backward() -> None:
    config = configuration(WHOLE.model)
    a_product = 2 * WHOLE.batch_size * config.hidden_size * WHOLE.length**2
    found = dict.fromkeys((FORWARD, BACKWARD), 0)
    for (operation, where), times in counted_once(WHOLE).items():
        if operation.kind == ATTENTION:
            found[where] += times * operation.flops
    layers = config.num_hidden_layers
    assert found == {FORWARD: layers * 2 * a_product, BACKWARD: layers * 5 * a_product}


def test_bytes_that_are_moved() -> None:
    a, b, out = torch.ones(30, 50), torch.ones(50), torch.ones(30, 50)
    size = 30 * 50 * 4
    assert only(lambda: a + b).moved == 2 * size + 50 * 4
    assert only(lambda: a.add_(b)).moved == 2 * size + 50 * 4  # read and written
    assert only(lambda: out.copy_(a)).moved == 2 * size  # what is overwritten is not read
    assert only(lambda: out.zero_()).moved == size
    assert only(lambda: a.expand(9, 30, 50).clone()).moved == size + 9 * size  # a repetition is read once
    assert only(lambda: a.bfloat16()).moved == size + size // 2
    rows = torch.tensor([3, 3, 5])
    assert only(lambda: torch.nn.functional.embedding(rows, a)).moved == 3 * 8 + 2 * 3 * 50 * 4
    assert counted(lambda: (a.t(), a[2:], a.view(-1), a.detach(), a.reshape(50, 30))) == Counter()
    assert only(lambda: torch.empty(9)).moved == 0


def test_moved_bytes_of_a_product_by_a_loop() -> None:
    for rows, inner, columns in ((3, 4, 5), (1, 7, 2), (8, 1, 8)):
        a, b = torch.ones(rows, inner), torch.ones(inner, columns)
        touched, done = set(), 0
        for i in range(rows):
            for j in range(columns):
                touched.add(("out", i, j))
                for k in range(inner):
                    touched |= {("a", i, k), ("b", k, j)}
                    done += 2
        operation = only(lambda a=a, b=b: torch.mm(a, b))
        assert (operation.kind, operation.flops, operation.moved) == (PRODUCT, done, 4 * len(touched))


def test_where_in_a_step_an_operation_comes() -> None:
    plain, again = counted_once(WHOLE), counted_once(WHOLE.but(checkpointing=True))

    def products(counts: Counts, where: str) -> int:
        return sum(n * op.flops for (op, place), n in counts.items() if place == where and op.kind == PRODUCT)

    size = configuration(WHOLE.model).vocab_size
    layers = sum(
        n * op.flops
        for (op, place), n in plain.items()
        if place == FORWARD and op.kind == PRODUCT and not touches(op, size) and op.name != "aten.bmm.default"
    )
    # What comes after the last tensor that is kept is not computed again.
    assert products(plain, AGAIN) == 0 and 0.5 * layers < products(again, AGAIN) <= layers
    assert products(plain, FORWARD) == products(again, FORWARD)
    # With checkpointing the first layer's input has a gradient too.
    assert products(plain, BACKWARD) <= products(again, BACKWARD) < 1.1 * products(plain, BACKWARD)
    kinds = {op.kind for (op, place) in plain if place == UPDATE}
    assert OPTIMIZER in kinds and not kinds & {PRODUCT, ATTENTION, MOVE}


def test_packed_weights_are_unpacked_once_in_each_direction() -> None:
    job = WHOLE.but(quant="nf4")
    config = configuration(job.model)
    times = Counter(dict.fromkeys((FORWARD, BACKWARD), 0))
    for (operation, where), n in counted_once(job).items():
        if operation.kind == UNPACK:
            times[where] += n
    layers = 7 * config.num_hidden_layers
    # The first layer's input wants no gradient, so three of its weights are not needed on the way back.
    assert times == {FORWARD: layers, BACKWARD: layers - 3}
