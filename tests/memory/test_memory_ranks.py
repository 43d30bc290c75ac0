"""Several cards, planned, against real trainings on two and four gloo processes: bytes, collectives, peaks, losses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
from rank_cases import measured

from helpers.memory.jobs import Job
from helpers.memory.several import plan_rank
from helpers.memory.spread import Spread, spread_of
from helpers.memory.units import LAYER, held
from helpers.memory.wire import BROADCAST, GATHER, NORM, REDUCE, SCATTER

pytestmark = pytest.mark.slow
LLAMA = Job("tiny/llama", quant="none", batch_size=2, length=64, labelled=32, lora_r=6, device="cpu", dtype="float32")
PHI = LLAMA.but(model="tiny/phi", targets="q_proj+v_proj+fc1+fc2")
HALF: dict[str, Any] = {"dtype": "bfloat16"}


@dataclass(frozen=True)
class Case:
    job: Job
    strategy: str
    count: int
    peak: bool = False
    storage: str | None = None

    @property
    def spread(self) -> Spread:
        return spread_of(self.job, self.strategy, self.count, storage=self.storage)

    def __str__(self) -> str:
        kind = "full" if self.job.method == "full" else "lora" if self.job.quant == "none" else "qlora"
        parts = [self.job.model.removeprefix("tiny/"), kind, self.strategy, str(self.count)]
        parts += [self.job.dtype] * (self.job.dtype != "float32") + ["again"] * self.job.checkpointing
        return "-".join(parts + [self.storage or ""] * (self.storage is not None))


CASES = [
    Case(LLAMA, "fsdp", 2, peak=True),
    Case(PHI.but(checkpointing=True), "fsdp", 2, peak=True),
    Case(LLAMA.but(quant="nf4-double"), "fsdp", 2, peak=True),
    Case(PHI.but(quant="nf4", accumulation=2), "fsdp", 2),
    Case(LLAMA.but(quant="nf4-double", **HALF), "fsdp", 2, peak=True),
    Case(PHI.but(quant="nf4"), "fsdp", 2, storage="uint8"),
    Case(PHI.but(method="full"), "fsdp", 2, peak=True),
    Case(LLAMA.but(method="full"), "grad-op", 2, peak=True),
    Case(PHI.but(quant="nf4-double"), "offload", 2),
    Case(LLAMA.but(method="full"), "ddp", 2, peak=True),
    Case(PHI.but(quant="nf4-double", accumulation=2), "ddp", 2),
    Case(LLAMA, "fsdp", 4),
    Case(LLAMA.but(quant="nf4-double", accumulation=2), "fsdp", 4),
    Case(PHI, "hybrid", 4, peak=True),
    Case(PHI.but(quant="nf4-double"), "grad-op", 4),
    Case(LLAMA.but(quant="nf4"), "ddp", 4),
]
MISMATCH = {"job": LLAMA.but(quant="nf4", **HALF), "spread": Spread("fsdp", 2, 2, "float16")}
INT8 = {"job": LLAMA.but(quant="int8"), "spread": Spread("fsdp", 2, 2), "fails": True}


def _row(job: Job, spread: Spread, **more: Any) -> dict[str, Any]:
    return {"job": dataclasses.asdict(job), "spread": dataclasses.asdict(spread), **more}


@pytest.fixture(scope="module")
def ranks() -> list[list[dict[str, Any]]]:
    """What each rank of each case measured; all in one process that forks, about half a minute."""
    rows = [_row(case.job, case.spread, peak=case.peak) for case in CASES]
    return measured([*rows, _row(**MISMATCH), _row(**INT8)])  # type: ignore[arg-type]


def each(name: str, cases: list[Case] = CASES) -> Any:
    return pytest.mark.parametrize(name, cases, ids=str)


@each("case")
def test_every_rank_holds_what_the_formulas_say(case: Case, ranks: list[list[dict[str, Any]]]) -> None:
    """To the byte: local parts of parameters, gradients and optimizer states, also where they are uneven."""
    _, units = _planned(case)
    for rank, found in enumerate(ranks[CASES.index(case)]):
        expected = held(units, case.spread, rank % case.spread.shard)
        assert {name: found[name] for name in expected} == expected


@each("case")
def test_what_goes_over_the_wire_is_what_the_formulas_say(case: Case, ranks: list[list[dict[str, Any]]]) -> None:
    """Calls and bytes of each collective of one update, counted on each rank."""
    rows, _ = _planned(case)
    kinds = (GATHER, SCATTER, REDUCE, BROADCAST)
    expected = {row.kind: (row.calls, row.size) for row in rows if row.kind in kinds}
    norms = [(row.calls, row.size) for row in rows if row.kind == NORM]
    for found in ranks[CASES.index(case)]:
        assert {kind: tuple(sums) for kind, sums in found["wire"].items()} == expected
        assert [tuple(sums) for sums in found["norms"].values()] == norms


@each("case", [case for case in CASES if case.spread.sharded])
def test_units_are_those_that_accelerate_makes(case: Case, ranks: list[list[dict[str, Any]]]) -> None:
    _, units = _planned(case)
    expected = sorted(
        [
            len(cut),
            sum(m.numbers(case.spread) * m.stored(case.spread).itemsize for m in cut),
            case.spread.frees and not unit.keeps,
        ]
        for unit in units
        for cut in [unit.cut(case.spread)] * unit.count
        if cut
    )
    assert all(found["units"] == expected for found in ranks[CASES.index(case)])


@each("case", [case for case in CASES if case.peak])
def test_a_planned_peak_is_what_the_profiler_measures(case: Case, ranks: list[list[dict[str, Any]]]) -> None:
    """Of the first rank, whose part is the largest, from after the sharding on; nothing is really sent meanwhile."""
    planned = plan_rank(case.job, case.spread).plan.tensors
    measured = ranks[CASES.index(case)][0]["peak"]
    assert abs(planned / measured - 1) < 0.02, (planned, measured)


@each("case")
def test_a_sharded_model_computes_the_same(case: Case, ranks: list[list[dict[str, Any]]]) -> None:
    """The packed weights survive: the first loss is that of the whole model, and training goes on from there."""
    for found in ranks[CASES.index(case)]:
        assert found["loss"][0] == pytest.approx(
            found["loss before"], rel=1e-2 if case.job.dtype != "float32" else 1e-5
        )
        assert found["loss"][-1] < found["loss"][0]


def test_why_4_bit_weights_have_to_be_kept_in_the_dtype_of_the_policy(ranks: list[list[dict[str, Any]]]) -> None:
    """float16 under a bfloat16 policy: no error, and another model."""
    for found in ranks[len(CASES)]:
        assert abs(found["loss"][0] / found["loss before"] - 1) > 0.1, found


def test_why_int8_is_refused(ranks: list[list[dict[str, Any]]]) -> None:
    assert all("no attribute 'CB'" in found["error"] for found in ranks[len(CASES) + 1])


def _planned(case: Case) -> tuple[Any, Any]:
    found = plan_rank(case.job, case.spread)
    assert any(unit.name == LAYER and unit.count == 4 for unit in found.units)
    return found.sent, found.units
