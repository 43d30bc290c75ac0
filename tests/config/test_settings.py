"""Parameters are checked with one clear line; profiles are data; ``auto`` picks what can run."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from helpers import tasks
from helpers.config import settings
from helpers.config.checks import check_value
from helpers.config.lessons import LESSONS, Lesson, find_lesson
from helpers.config.parameters import PARAMETERS, Settings
from helpers.config.profiles import HIDDEN, PROFILES
from helpers.errors import HardwareError, ParameterError
from helpers.sources import assets
from helpers.sources.network import hub_reachable

QLORA = "04_qlora_instruct"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Facts:
    """The two facts that choosing a profile needs."""

    device: str = "cpu"
    gpu_memory_gb: float = 0.0


def resolve(given: dict[str, Any], notebook: str = QLORA, machine: Facts | None = None) -> Settings:
    return settings.resolve(notebook, {"profile": "smoke"} | given, machine or Facts())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lora_rank": 8}, ["unknown parameter 'lora_rank'", "'lora_r'"]),
        ({"n_trains": 8}, ["unknown parameter 'n_trains'", "'n_train'"]),
        ({"classifier": "head"}, ["04_qlora_instruct has no parameter 'classifier'"]),
        ({"lora_r": "8"}, ["lora_r must be a whole number", "Write lora_r = 8 without quotes"]),
        ({"lora_r": 8.0}, ["lora_r must be a whole number", "Write lora_r = 8"]),
        ({"lora_r": True}, ["lora_r must be a whole number", "not bool True"]),
        ({"epochs": "two"}, ["epochs must be a number", "without quotes"]),
        ({"epochs": False}, ["epochs must be a number"]),
        ({"resume": 1}, ["resume must be True or False", "Write resume = True"]),
        ({"resume": "no"}, ["Write resume = False"]),
        ({"run_name": 12}, ["run_name must be text", "run_name = '12'", "-r run_name 12"]),
        ({"n_train": [1]}, ["n_train must be a whole number"]),
        ({"lora_r": 0}, ["lora_r = 0 is out of range", "1 to 1,024"]),
        ({"lora_dropout": 1.5}, ["lora_dropout = 1.5 is out of range", "0 to 0.9"]),
        ({"epochs": float("nan")}, ["epochs = nan is out of range"]),
        ({"learning_rate": float("inf")}, ["learning_rate = inf is out of range"]),
        ({"seed": -1}, ["seed = -1 is out of range"]),
        ({"quant": "nf8"}, ["quant = 'nf8' is not allowed", "'nf4'"]),
        ({"profile": "smok"}, ["profile = 'smok' is not allowed", "'smoke'"]),
        ({"task": "recipe"}, ["task = 'recipe'", "'recipes'"]),
        ({"n_generate": 200, "n_eval": 100}, ["n_generate = 200 is more than n_eval = 100"]),
        ({"dataset": "./absent.jsonl"}, ["dataset = './absent.jsonl'", "no such file"]),
        ({"dataset": "bultin"}, ["dataset = 'bultin'", "'builtin'"]),
        ({"dataset": ""}, ["dataset is empty"]),
        ({"model_id": "./absent"}, ["model_id = './absent'", "no such folder"]),
        ({"task": "dialogsum", "forms": "topic"}, ["forms = 'topic' has no text to learn", "with a text: summary"]),
        ({"forms": "steps+mising"}, ["task 'recipes' has no form 'mising'", "'missing'", "Allowed"]),
        ({"forms": "steps+steps"}, ["names 'steps' twice"]),
        ({"run_name": "a/b"}, ["run_name = 'a/b' is not a folder name"]),
        ({"run_name": ".."}, ["run_name = '..' is not a folder name"]),
        ({"run_name": "a\n"}, ["is not a folder name"]),
    ],
)
def test_bad_parameters_get_one_clear_line(given: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        resolve(given)
    line = str(caught.value)
    assert "\n" not in line
    for part in says:
        assert part in line


def test_good_parameters_are_taken_and_marked_as_given() -> None:
    cfg = resolve({"lora_r": 4, "epochs": 1, "learning_rate": 1e-3, "quant": "none", "run_name": "mine"})
    assert (cfg.lora_r, cfg.epochs, cfg.quant, cfg.run_name) == (4, 1.0, "none", "mine")
    assert isinstance(cfg.epochs, float)
    assert set(cfg.given) == {"profile", "lora_r", "epochs", "learning_rate", "quant", "run_name"}


def test_none_means_the_default_and_a_usual_value_does_not_count_as_given() -> None:
    cfg = resolve({"lora_r": 16, "n_train": None, "seed": 0})
    assert cfg.given == ("profile",)
    assert cfg.n_train == LESSONS[QLORA].default("n_train", "smoke")
    assert cfg.run_name == "smoke-recipes-seed0"
    assert resolve({"seed": 3}).run_name == "smoke-recipes-seed3"


def test_a_text_alone_may_be_trained() -> None:
    assert resolve({"task": "dialogsum", "forms": "summary"}).forms == "summary"


def test_the_number_of_generated_answers_follows_a_smaller_test_set() -> None:
    assert resolve({"n_eval": 12}).n_generate == 12


def test_settings_are_frozen_and_hint_at_the_nearest_name() -> None:
    cfg = resolve({})
    with pytest.raises(AttributeError, match="fixed"):
        cfg.lora_r = 3
    with pytest.raises(AttributeError, match="lora_r"):
        _ = cfg.lora_rr
    assert Settings(cfg.as_dict()) == cfg


def test_notebook_globals_with_imports_functions_and_ipython_names_are_no_parameters() -> None:
    given: dict[str, Any] = {
        "__name__": "__main__",
        "_i1": "x",
        "In": [],
        "Out": {},
        "exit": None,
        "os": sys,
        "Path": Path,
    }
    assert resolve(given | {"f": lambda: None}).profile == "smoke"


def test_a_kernel_history_tells_parameters_from_other_variables() -> None:
    cell = "profile: str = 'smoke'\nlora_r: int = 8"
    after = {"profile": "smoke", "lora_r": 8, "loss": 0.3, "text": "abc"}
    history = ["", "%pip list", cell, "loss = 0.3; text = 'abc'"]
    assert resolve(after | {"In": history}).lora_r == 8
    # what papermill injects is checked
    injected = [*history, "# Parameters\nprofile = 'smoke'\nlora_rank = 8\n"]
    with pytest.raises(ParameterError, match="lora_rank"):
        resolve(after | {"lora_rank": 8, "In": injected})
    # so is a slip in the notebook's own cell, until the cell is corrected and run again
    slip = [*history, cell + "\nlora_rank: int = 4"]
    with pytest.raises(ParameterError, match="lora_rank"):
        resolve(after | {"lora_rank": 4, "In": slip})
    assert resolve(after | {"lora_rank": 4, "In": [*slip, cell]}).lora_r == 8


def test_full_without_a_gpu_is_refused_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEFT_LAB_FORCE", raising=False)
    with pytest.raises(HardwareError) as caught:
        resolve({"profile": "full"})
    assert "profile = 'full'" in str(caught.value) and "'cpu'" in str(caught.value)
    monkeypatch.setenv("PEFT_LAB_FORCE", "1")
    assert resolve({"profile": "full"}).profile == "full"


def test_auto_picks_the_richest_profile_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def auto(machine: Facts, *fetched: str) -> tuple[str, str]:
        monkeypatch.setattr(assets, "available", lambda name: name in fetched)
        cfg = settings.resolve(QLORA, {"profile": "auto"}, machine)
        return cfg.profile, cfg.profile_reason

    t4, small = Facts("cuda", 15.8), Facts("cuda", 8.0)
    assert auto(t4)[0] == "full" and "16 GB" in auto(t4)[1]
    both = ("smollm2-135m-instruct", "wikibooks-recipes")
    assert auto(Facts(), *both)[0] == "cpu"
    assert auto(small, *both)[0] == "cpu" and "8 GB" in auto(small, *both)[1]
    assert auto(Facts(), "smollm2-135m-instruct")[0] == "smoke"
    profile, why = auto(Facts(), "wikibooks-recipes")
    assert profile == "smoke" and "python -m helpers assets" in why


class _Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:  # noqa: N802
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def local_hub() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_only_when_allowed(local_hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "PEFT_LAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", local_hub)
    assert hub_reachable()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub_reachable()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    assert not hub_reachable()


def test_another_format_to_compute_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve({"profile": "cpu"}).dtype == "auto"
    monkeypatch.setenv("PEFT_LAB_DTYPE", "float32")
    assert resolve({"profile": "cpu"}).dtype == "float32"
    monkeypatch.setenv("PEFT_LAB_DTYPE", "fp32")
    with pytest.raises(ParameterError, match="PEFT_LAB_DTYPE = 'fp32' is not allowed. Allowed: float32, float16, bf"):
        resolve({"profile": "cpu"})


def test_a_hub_that_fails_is_there_and_a_proxy_that_refuses_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from hub.server import LocalHub

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_HUB_OFFLINE", "PEFT_LAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with LocalHub() as local:
        monkeypatch.setenv("HF_ENDPOINT", local.url)
        for status, there in ((503, True), (429, True), (407, False), (403, False)):
            fault = local.inject("status", "/", status=status, times=1)
            assert hub_reachable() is there and fault.hits == 1
        monkeypatch.setenv("PEFT_LAB_OFFLINE", "1")
        assert not hub_reachable()


def test_dataset_and_model_names_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.jsonl").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    assert resolve({}).dataset == "generator"
    assert resolve({"profile": "cpu"}).dataset == "wikibooks"
    assert resolve({"profile": "cpu", "task": "snli"}, "02_zero_shot_baselines").dataset == "generator"
    assert resolve({"dataset": "corbt/all-recipes"}).dataset == "corbt/all-recipes"
    assert resolve({"dataset": "mine.jsonl"}).dataset == str(tmp_path / "mine.jsonl")
    assert resolve({"model_id": str(tmp_path)}).model_id == str(tmp_path)


def test_smoke_stays_offline_unless_something_from_the_hub_is_asked_for() -> None:
    assert resolve({}).offline
    assert not resolve({"dataset": "corbt/all-recipes"}).offline
    assert not resolve({"model_id": "HuggingFaceTB/SmolLM2-135M-Instruct"}).offline


@pytest.mark.parametrize("name", ["4", "04", "04_qlora_instruct", "qlora_instruct", "x/04_qlora_instruct.ipynb"])
def test_notebooks_are_found_by_number_name_or_file(name: str) -> None:
    assert find_lesson(name).id == QLORA


def test_an_unknown_notebook_gets_a_hint() -> None:
    with pytest.raises(ParameterError, match="04_qlora_instruct"):
        find_lesson("04_qlora_instuct")


# The run's own, or none.
NOT_SET = (
    "adapters",
    "repo_id",
    "runs",
    "ratings",
    "max_pixels",
    "others",
    "checkpoint_dir",
    "columns",
    "labels",
    "protocol",
)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("notebook", LESSONS)
def test_every_default_exists_and_passes_its_own_check(
    notebook: str, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEFT_LAB_FORCE", "1")
    spec = LESSONS[notebook]
    for task in spec.tasks or ("",):
        cfg = settings.resolve(notebook, {"profile": profile} | ({"task": task} if task else {}), Facts())
        for name in spec.parameters:
            value = getattr(cfg, name)
            if name in NOT_SET and value is None:
                continue
            assert value is not None, name
            check_value(PARAMETERS[name], value)
        for name in HIDDEN:
            assert name in cfg.as_dict()


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=LESSONS)
def test_a_record_names_only_what_exists(lesson: Lesson) -> None:
    assert set(lesson.parameters) <= set(PARAMETERS)
    assert set(lesson.by_task) <= set(lesson.tasks) <= set(tasks.TASKS)
    for row in (lesson.parameters, *lesson.by_task.values()):
        assert set(row) <= set(lesson.parameters)
        for name, value in row.items():
            if isinstance(value, tuple):  # a row in which all are equal says it once
                assert len(value) == len(PROFILES) and (name in lesson.parameters and len(set(value)) > 1), name
    assert lesson.parameters.get("task", "none") == (lesson.tasks[0] if lesson.tasks else "none")


def test_every_task_has_a_source_in_every_profile() -> None:
    for task in tasks.TASKS.values():
        assert set(task.sources) == set(PROFILES) and task.sources["smoke"] in task.built_in


def test_every_setting_has_a_type_that_an_editor_can_read() -> None:
    cfg, hints = resolve({}), get_type_hints(Settings)
    assert all(row.type in (bool, int, float, str) for row in PARAMETERS.values())
    for name, value in cfg.as_dict().items():
        assert value is None or isinstance(value, hints[name]), name


def test_where_a_value_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = resolve({"task": "dialogsum", "profile": "cpu", "lora_r": 4, "n_eval": 12})
    said = {name: (getattr(cfg, name), cfg.origins[name]) for name in ("lora_r", "batch_size", "n_train", "quant")}
    assert said == {
        "lora_r": (4, "given"),
        "batch_size": (8, "profile cpu"),
        "n_train": (1000, "profile cpu, task dialogsum"),
        "quant": ("nf4-double", "lesson"),
    }
    assert (cfg.forms, cfg.origins["forms"]) == ("summary+topic", "task dialogsum")
    assert (cfg.n_generate, cfg.origins["n_generate"]) == (12, "lowered to n_eval")
    assert set(cfg.origins) == set(cfg.as_dict()) - {"notebook", "profile_reason"}
    monkeypatch.setenv("PEFT_LAB_DTYPE", "float32")
    assert resolve({}).origins["dtype"] == "PEFT_LAB_DTYPE"


def test_a_second_model_is_looked_for_like_the_first(tmp_path: Path) -> None:
    machine = Facts()
    with pytest.raises(ParameterError, match=r"reasoner_id = './absent': there is no such folder"):
        settings.resolve("13_llm_as_adapter", {"profile": "smoke", "reasoner_id": "./absent"}, machine)
    cfg = settings.resolve("13_llm_as_adapter", {"profile": "smoke", "reasoner_id": str(tmp_path)}, machine)
    assert cfg.reasoner_id == str(tmp_path) and cfg.offline
    assert not settings.resolve("13_llm_as_adapter", {"profile": "smoke", "reasoner_id": "a/b"}, machine).offline
    known = settings.resolve("13_llm_as_adapter", {"profile": "cpu"}, machine)
    assert (known.dataset, known.origins["dataset"]) == ("generator-small", "built in, profile cpu")
    given = settings.resolve("13_llm_as_adapter", {"profile": "cpu", "dataset": "generator"}, machine)
    assert (given.dataset, given.origins["dataset"]) == ("generator", "given")


def test_the_parameters_cell_states_what_all_profiles_share() -> None:
    lines = settings.parameters_cell("04").splitlines()
    assert "lora_r: int = 16  # rank of the update" in lines
    assert any(line.startswith("n_train: int = None  # ") for line in lines)
    assert [line.split(":")[0] for line in lines] == list(LESSONS[QLORA].parameters)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ranks": "1+eight"}, r"ranks = '1\+eight' is not a rising list of whole numbers from 1 on"),
        ({"ranks": "8+1"}, "is not a rising list"),
        ({"ranks": "0+8"}, "is not a rising list"),
        ({"ranks": "2.5"}, "is not a rising list"),
        ({"strengths": "0.1+0.1"}, r"strengths = '0.1\+0.1' is not a rising list of numbers above 0"),
        ({"strengths": "0.1+inf"}, "is not a rising list"),
        ({"strengths": "nan"}, "is not a rising list"),
        ({"penalties": "nuclear+nucleer"}, "there is no penalty 'nucleer'.*did you mean.*nuclear"),
    ],
)
def test_lists_that_are_none_are_refused(given: dict[str, str], says: str) -> None:
    machine = Facts()
    with pytest.raises(ParameterError, match=says):
        settings.resolve("11_low_rank", {"profile": "smoke"} | given, machine)
    fine = settings.resolve("11_low_rank", {"profile": "smoke", "ranks": "4", "strengths": "1e-3+2"}, machine)
    assert (fine.ranks, fine.strengths) == ("4", "1e-3+2")


def test_models_to_plan_for_are_sizes_or_ids() -> None:
    with pytest.raises(ParameterError, match="'8B' is neither a size nor the id of a model.*7B, 13B"):
        settings.resolve("12_scale_out", {"profile": "smoke", "plan_for": "7B+8B"}, Facts())
    fine = settings.resolve("12_scale_out", {"profile": "smoke", "plan_for": "7b+Qwen/Qwen2.5-7B-Instruct"}, Facts())
    assert fine.plan_for == "7b+Qwen/Qwen2.5-7B-Instruct"
