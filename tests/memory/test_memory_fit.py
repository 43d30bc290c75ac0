"""The cheapest change, against trying everything; lessons on recorded machines; the command line."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import machine_cases
import pytest

from helpers import memory
from helpers.config.lessons import LESSONS
from helpers.config.settings import resolve
from helpers.errors import HardwareError, ParameterError
from helpers.machine import free, hardware
from helpers.memory import planner, report, search
from helpers.memory.fit import Fit, check, check_named
from helpers.memory.jobs import Job
from helpers.memory.lessons import lesson_jobs, tokens_of
from helpers.memory.planner import CARDS, Plan
from helpers.runs.run import start

GB = 10**9


PLANNED = [name for name, lesson in LESSONS.items() if lesson.memory]


def formula(job: Job) -> Any:
    """A stand-in for a plan whose size is a formula, so that all combinations can be tried."""
    weights = {"none": 14, "int8": 7, "nf4": 4, "nf4-double": 4}[job.quant]
    picture = (job.pixels or 0) / 10**6
    rows = job.batch_size * (job.length / 1000 + picture) * (0.4 if job.checkpointing else 2)
    size = weights + rows + (8 if job.method == "full" and job.optimizer == "adamw_torch" else 2)
    return SimpleNamespace(fits=lambda available: size * GB <= available, total=size * GB)


def cost(job: Job, given: Job) -> float:
    """What a changed job costs, the batch left out."""
    import math

    bits = search.FOUR_BITS if given.quant in ("none", "int8") else search.DOUBLE
    return (
        search.CHECKPOINTED * (job.checkpointing and not given.checkpointing)
        + search.SMALL_STATES * (job.optimizer != given.optimizer)
        + bits * (job.quant != given.quant)
        + (search.FEWER_PIXELS * round(math.log2(given.pixels / job.pixels)) if given.pixels and job.pixels else 0)
        + search.SHORTER * round(math.log(job.length / given.length, 0.75))
    )


@pytest.mark.parametrize("available", [5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 40])
@pytest.mark.parametrize(
    "job",
    [
        Job("m", batch_size=16, length=1024, quant="none"),
        Job("m", batch_size=6, length=2048, pixels=2**20, quant="int8", step="vision"),
        Job("m", batch_size=8, length=512, method="full", quant="none"),
        Job("m", batch_size=8, length=512, method="key_value", quant="nf4"),
    ],
)
def test_the_cheapest_change_is_what_trying_everything_finds(job: Job, available: int) -> None:
    found = search.cheapest(job, available * GB, formula)
    cheapest = None
    steps = range(4)
    for again, quant, optimizer, pixels, shorter in itertools.product(
        {job.checkpointing, job.method in ("lora", "full")}, {job.quant, "nf4-double"},
        {job.optimizer, "adamw_bnb_8bit"}, steps if job.pixels else [0], steps,
    ):  # fmt: skip
        if job.method == "full" and quant != job.quant or optimizer != job.optimizer and job.method != "full":
            continue
        option = job.but(
            checkpointing=again, quant=quant, optimizer=optimizer, length=int(job.length * 0.75**shorter),
            pixels=job.pixels >> pixels if job.pixels else None, batch_size=1,
        )  # fmt: skip
        if formula(option).fits(available * GB) and (cheapest is None or cost(option, job) < cheapest):
            cheapest = cost(option, job)
    if cheapest is None:
        assert found is None
        return
    assert found is not None and formula(found.job).fits(available * GB)
    assert cost(found.job, job) == cheapest
    assert found.job.batch_size * found.job.accumulation >= job.batch_size
    larger = min(job.batch_size, 2 * found.job.batch_size)
    assert larger == found.job.batch_size or not formula(found.job.but(batch_size=larger)).fits(available * GB)


def _machine(card: str = "T4 16 GB", **changes: Any) -> Any:
    return dataclasses.replace(report.machine_with(card, hardware.probe()), **changes)


def test_every_training_lesson_is_planned_and_no_other() -> None:
    assert set(PLANNED) == {name for name, spec in LESSONS.items() if "epochs" in spec.parameters}
    assert all("check_memory" in LESSONS[name].parameters for name in PLANNED)


@pytest.mark.parametrize("notebook", PLANNED)
def test_jobs_are_what_the_settings_say(notebook: str) -> None:
    machine = _machine()
    settings = resolve(notebook, {"profile": "full"}, machine)
    jobs = lesson_jobs(settings, machine, prompt=40, completion=10)
    job = jobs["training"]
    assert (job.dtype, job.capability, job.device) == ("float16", (7, 5), "cuda")
    assert job.model == settings.model_id
    if notebook != "07_compositional_prompts":
        assert job.batch_size == settings.batch_size and jobs["answers"].batch_size > job.batch_size
        assert not jobs["answers"].trains and jobs["answers"].length <= job.length


@pytest.mark.parametrize(("reasoner", "sees"), [("tiny/llama", False), ("tiny/qwen2_vl", True)])
def test_a_second_model_is_planned_with_room_for_what_it_reads(reasoner: str, sees: bool) -> None:
    machine = _machine()
    settings = resolve("13_llm_as_adapter", {"profile": "full", "reasoner_id": reasoner}, machine)
    jobs = lesson_jobs(settings, machine, prompt=40, completion=10)
    learned, answers = jobs["reasoner"], jobs["reasoner's answers"]
    assert learned.model == answers.model == reasoner and jobs["training"].model == settings.model_id
    assert learned.trains and not answers.trains and answers.batch_size > learned.batch_size == settings.batch_size
    assert learned.length - answers.length == learned.labelled == 10
    assert (answers.length == 40) is not sees and answers.length >= 40
    assert learned.language_only is sees and (learned.pixels is None) is not sees
    assert set(check(settings, machine, 40, 10).plans) == set(jobs)


def test_what_does_not_fit_says_by_how_much_and_what_to_change() -> None:
    machine = _machine(gpu_free_gb=0.615)
    given = {"profile": "smoke", "max_length": 512, "padding": "max_length", "batch_size": 16}
    fit = check(resolve("03_qlora_nli", given, machine), machine)
    assert not fit.fits and fit.change
    says = r"training would take .* GB, .* CUDA context, and 0\.\d GB are free on T4 16 GB.*Set batch_size = \d"
    with pytest.raises(HardwareError, match=says):
        fit.require()
    again = check(resolve("03_qlora_nli", given | fit.change, machine), machine)
    assert again.fits, "the change that is named makes it fit"


@pytest.mark.parametrize(
    ("spare", "verdict"),
    [(0.0, "close"), (0.5 * planner.MARGIN, "close"), (1.01 * planner.MARGIN, "fits"), (-0.001, "does not fit")],
)
def test_cells_command_line_and_search_judge_alike(spare: float, verdict: str) -> None:
    """Within the margin it runs, and is told what would be safe; what is told fits with the margin."""
    given = {"profile": "smoke", "max_length": 256, "padding": "max_length", "batch_size": 8}
    machine = _machine()
    settings = resolve("03_qlora_nli", given, machine)
    needed = check(settings, machine).largest.total
    tight = dataclasses.replace(machine, gpu_free_gb=needed * (1 + spare) / GB)
    fit = check(settings, tight)
    assert (fit.verdict, fit.largest.verdict(fit.available), fit.fits) == (verdict, verdict, verdict == "fits")
    assert report.as_dict(fit)["verdict"] == verdict and verdict in report.describe(fit)
    assert bool(fit.change) == (verdict != "fits")
    found = search.cheapest(fit.largest.job, fit.available)
    assert found is not None and found.plan.total * (1 + planner.MARGIN) <= fit.available
    assert (found.changed == {}) == (verdict == "fits")
    if verdict == "does not fit":
        with pytest.raises(HardwareError):
            fit.require()
        return
    fit.require()
    assert ("To be safe set" in str(fit)) == (verdict == "close")


def test_a_card_is_judged_by_what_is_free_on_it() -> None:
    """The same lesson on a recorded T4: empty, nearly all taken by another notebook, and where nobody says."""
    t4 = hardware.describe(machine_cases.ready("colab_t4"))
    settings = resolve("05_prefix_tuning", {"profile": "smoke"}, t4)
    verdicts = []
    for left in (t4.gpu_memory_gb, 0.51, None):
        fit = check(settings, dataclasses.replace(t4, gpu_free_gb=left))
        verdicts.append(fit.verdict)
        assert ("what is free cannot be read" in str(fit)) == (left is None)
    assert verdicts == ["fits", "does not fit", "fits"]


def test_a_model_that_no_change_makes_fit_is_said_so() -> None:
    job = Job("meta-llama/Llama-2-70b-chat-hf", batch_size=1, length=64)
    plan = SimpleNamespace(
        job=job, total=40 * GB, fits=lambda size: False, rows=lambda: [{"part": "weights", "GB": 35.0, "share": 0.9}]
    )
    fit = Fit({"training": plan}, 16 * GB, "Tesla T4", None)  # type: ignore[dict-item]
    with pytest.raises(HardwareError, match="Use a smaller model_id"):
        fit.require()


def test_advice_is_the_next_step() -> None:
    def advice(job: Job) -> str:
        return Fit({"training": Plan(job, 0, {}, 0, [])}, 1.0, "x", {}).advice

    assert advice(Job("m", batch_size=8, accumulation=2)) == "batch_size = 4, grad_accumulation = 4"
    assert advice(Job("m", batch_size=1)) == "gradient_checkpointing = True"
    assert "smaller model_id" in advice(Job("m", batch_size=1, checkpointing=True))


def test_tokens_are_rather_too_many() -> None:
    from helpers import models

    texts = ["Two women carry a red umbrella across the wet street.", "x" * 30]
    tokenizer = models.load_tokenizer("tiny/llama")
    assert tokens_of(texts) >= max(len(tokenizer(t)["input_ids"]) for t in texts)


def test_a_run_stops_before_anything_is_loaded_unless_told_not_to(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(free, "memory", lambda: (16.0, 0.5))
    run = start("03_qlora_nli", {"profile": "smoke", "run_name": "poor"})
    with pytest.raises(HardwareError, match="check_memory = False"):
        run.check_memory()
    assert "does not fit" in capsys.readouterr().out
    run = start("03_qlora_nli", {"profile": "smoke", "run_name": "brave", "check_memory": False})
    assert run.check_memory().advice == "" and "not planned" in capsys.readouterr().out
    run.finish()
    info = json.loads((run.folder / "run.json").read_text())
    assert info["status"] == "finished" and "memory" not in info["notes"]


@pytest.mark.parametrize(
    ("what", "given", "says"),
    [
        ("03", {"lenght": 3}, "did you mean 'max_length'"),
        ("01", {}, "trains nothing"),
        ("tiny/llama", {"stp": "classify"}, "did you mean 'step'"),
        ("tiny/llama", {"method": "none"}, "trains nothing"),
        ("tiny/llama", {"batch_size": "four"}, "whole number"),
        ("tiny/llama", {"targets": "nope"}, "targets = 'nope'"),
    ],
)
def test_a_mistake_is_one_clear_line(what: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        check_named(what, "full", given, _machine())


def test_a_model_that_sees_is_planned_with_pictures_and_clip_with_prompts() -> None:
    steps = {name: check_named(f"tiny/{name}", "full", {"length": 70}, _machine()) for name in ("blip2", "clip", "phi")}
    kinds = {name: fit.largest.job.step for name, fit in steps.items()}
    assert kinds == {"blip2": "vision", "clip": "contrast", "phi": "completion"}


def test_only_what_a_lesson_has_a_parameter_for_is_changed() -> None:
    poor = _machine(gpu_free_gb=0.51)
    fit = check(resolve("05_prefix_tuning", {"profile": "smoke"}, poor), poor)
    assert not fit.fits
    assert set(fit.change or {}) <= set(LESSONS["05_prefix_tuning"].parameters)


def test_pictures_are_as_large_as_the_models_own_files_say() -> None:
    machine = report.without_card(hardware.probe())
    settings = resolve("06_lora_vlm", {"profile": "smoke"}, machine)
    job = lesson_jobs(settings, machine, prompt=40, completion=10)["training"]
    assert (job.pixels, job.length) == (4096, 16 + 50)  # 64 x 64 pixels, a token for 16 x 16 of them


def test_cards_by_short_names() -> None:
    assert report.card_named("t4") == "T4 16 GB" and report.card_named("A100-80") == "A100 80 GB"
    with pytest.raises(ParameterError, match="2 cards"):
        report.card_named("A100")
    assert all(memory.CARDS[name] == CARDS[name] for name in CARDS)


def test_the_command_line_plans_a_lesson() -> None:
    command = [sys.executable, "-m", "helpers", "plan", "08", "--profile", "smoke", "--card", "cpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fits"] and found["plans"]["training"]["needed_gb"] > 0.7
    assert done.stderr == ""


def test_on_a_cpu_weights_stay_dequantised_while_there_is_room_and_on_a_gpu_never() -> None:
    machine = dataclasses.replace(report.without_card(hardware.probe()), ram_free_gb=100.0)
    settings = resolve("03_qlora_nli", {"profile": "smoke"}, machine)
    roomy = check(settings, machine)
    job = roomy.plans["training"].job
    assert roomy.keeps_weights is True and job.faster and not roomy.plans["answers"].job.faster
    packed = planner.plan(job.but(kept_weights=False))
    needed = (1 + planner.MARGIN) * (packed.total + roomy.plans["training"].total) / 2
    tight = check(settings, dataclasses.replace(machine, ram_free_gb=needed / GB))
    assert tight.keeps_weights is False and tight.plans["training"].total == packed.total
    planned = lesson_jobs(resolve("03_qlora_nli", {"profile": "full"}, _machine()), _machine())["training"]
    assert not planned.faster and not planned.kept_weights


def _longest_prompt(name: str, settings: Any) -> tuple[int, list[str], list[str], int]:
    """Of a lesson's generated questions with three worked examples in front, read by the real tokenizer: tokens of the
    longest; then all prompts and completions, and an upper bound for the examples, as the notebook gives it."""
    from helpers import models, tasks
    from helpers.inference import encode
    from helpers.models.vision import load_processor
    from helpers.models.vision_inputs import encode_vision

    task = tasks.get(settings.task)
    parts = task.load(n_train=60, n_eval=30, source="generator", seed=0)
    form = settings.form if name in ("05_prefix_tuning", "06_lora_vlm") else task.main_form
    examples = {part: list(task.examples(rows, form)) for part, rows in parts.items()}
    solved = [e for e in examples["train"] if e.get("image") is None][:3]
    everything = [e for rows in examples.values() for e in rows]
    if name in ("05_prefix_tuning", "06_lora_vlm"):
        processor = load_processor(settings.model_id)
        talks = [task.to_vision_messages(e) for e in solved]
        front = [turn for talk in talks for turn in talk["prompt"] + talk["completion"]]
        asked = [task.to_vision_messages(e) for e in everything]
        lengths = [len(encode_vision(processor, {**c, "prompt": [*front, *c["prompt"]]}).prompt_ids) for c in asked]
    else:
        tokenizer = models.load_tokenizer(settings.model_id)
        turns = [task.to_messages(e) for e in solved]
        front = [turn for talk in turns for turn in talk["prompt"] + talk["completion"]]
        talks = [task.to_messages(e) for e in everything]
        lengths = [len(encode(tokenizer, {**c, "prompt": [*front, *c["prompt"]]})[0]) for c in talks]
    prompts, completions = ([e[side] for e in everything] for side in ("prompt", "completion"))
    shown = sum(tokens_of([e[side]]) for e in solved for side in ("prompt", "completion"))
    return max(lengths), prompts, completions, shown


@pytest.mark.parametrize("notebook", ["03_qlora_nli", "04_qlora_instruct", "05_prefix_tuning", "06_lora_vlm"])
def test_the_longest_prompts_with_worked_examples_are_planned(notebook: str) -> None:
    machine = report.without_card(hardware.probe())
    settings = resolve(notebook, {"profile": "smoke"}, machine)
    longest, prompts, completions, shown = _longest_prompt(notebook, settings)
    jobs = lesson_jobs(settings, machine, tokens_of(prompts), tokens_of(completions), shown)
    few_shot, training = jobs["worked examples"], jobs["training"]
    if notebook == "04_qlora_instruct":  # shows as many examples as the tiny model has room for, with the answer
        longest = min(longest, 512 - settings.max_new_tokens)
    assert longest <= few_shot.length < 2 * longest
    assert few_shot.method == "none" and not few_shot.trains
    assert few_shot.batch_size >= training.batch_size and few_shot.length > training.length
    plans = check(settings, machine, tokens_of(prompts), tokens_of(completions), shown).plans
    assert set(plans) == set(jobs)


def test_choices_are_rated_in_rows_of_their_own() -> None:
    machine = _machine()
    settings = resolve("06_lora_vlm", {"profile": "full"}, machine)
    jobs = lesson_jobs(settings, machine, prompt=300, completion=100)
    rated = jobs["choices"]
    assert rated.step == "rate" and rated.batch_size == 5 * jobs["answers"].batch_size
    assert rated.length == jobs["training"].length and rated.labelled == 100


def test_what_does_not_fit_may_be_the_worked_examples() -> None:
    """Half of the memory that they take: the advice is a batch with which they fit too."""
    machine = report.without_card(hardware.probe())
    settings = resolve("05_prefix_tuning", {"profile": "smoke", "batch_size": 32}, machine)
    roomy = check(settings, machine, 90, 40, 4000)
    assert roomy.largest is roomy.plans["worked examples"]
    tight = dataclasses.replace(machine, ram_free_gb=0.7 * roomy.largest.total / GB)
    fit = check(settings, tight, 90, 40, 4000)
    assert fit.verdict == "does not fit" and fit.change is not None and fit.change["batch_size"] < 32
    changed = resolve("05_prefix_tuning", {"profile": "smoke", **fit.change}, machine)
    assert check(changed, tight, 90, 40, 4000).fits


def test_tokens_of_rows_are_those_of_the_model(model: str = "tiny/llama") -> None:
    from helpers import models, tasks
    from helpers.inference import encode

    task = tasks.get("recipes")
    rows = list(task.examples(task.load(n_train=40, n_eval=20, source="generator", seed=0)["train"]))
    tokenizer = models.load_tokenizer(model)
    expected = [sum(map(len, encode(tokenizer, task.to_messages(e)))) for e in rows]
    counted = memory.row_tokens(model, [e["prompt"] for e in rows], [e["completion"] for e in rows])
    assert max(abs(a - b) for a, b in zip(expected, counted, strict=True)) <= 2
    pairs = [e["prompt"] for e in rows]
    assert memory.row_tokens(model, pairs, chat=False) == [len(ids) for ids in tokenizer(pairs)["input_ids"]]


def test_tokens_of_questions_about_pictures_are_those_of_their_texts() -> None:
    from helpers import tasks
    from helpers.models.vision import load_processor
    from helpers.models.vision_inputs import encode_vision

    task = tasks.get("scienceqa")
    parts = task.load(n_train=40, n_eval=20, source="generator", seed=0)
    rows = [e for e in task.examples(parts["train"], "QTCH") if e["image"] is None]
    processor = load_processor("tiny/qwen2_vl")
    expected = [len(encode_vision(processor, task.to_vision_messages(e))) for e in rows]
    counted = memory.row_tokens("tiny/qwen2_vl", [e["prompt"] for e in rows], [e["completion"] for e in rows])
    assert max(abs(a - b) for a, b in zip(expected, counted, strict=True)) <= 2
