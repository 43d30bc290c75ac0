"""The course's parameters, notebooks and profile defaults, as plain data.

Profiles differ in this table and nowhere else: same code, other models, sample sizes and epochs.
``helpers.config.settings`` reads it; nothing here computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PROFILES = ("smoke", "cpu", "full")
STORAGE = ("nf4", "nf4-double", "int8", "none")  # of the base weights


@dataclass(frozen=True)
class Parameter:
    """One notebook parameter: its type, default and what is allowed.

    ``default`` None means that the profile's table decides. ``low`` and ``high`` are inclusive.
    """

    name: str
    type: type
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None
    help: str


@dataclass(frozen=True)
class NotebookSpec:
    """One notebook: its id (file name without suffix), title, parameters and the tasks it can run.

    ``reads_runs``: it works on what others have left behind, so it starts when they have ended.
    """

    id: str
    title: str
    parameters: tuple[str, ...]
    tasks: tuple[str, ...]
    reads_runs: bool = False


def _rows() -> tuple[Parameter, ...]:
    p = Parameter
    return (
        p("profile", str, "auto", None, None, ("auto", *PROFILES), "auto, smoke, cpu or full"),
        p("task", str, "recipes", None, None, None, "which task's data"),
        p("model_id", str, None, None, None, None, "Hub id, local folder or tiny/llama"),
        p("dataset", str, "builtin", None, None, None, "builtin, a Hub id, a local file or folder"),
        p("seed", int, 0, 0, 2**31 - 1, None, "seed of every random choice"),
        p("run_name", str, None, None, None, None, "folder name of this run"),
        p("output_dir", str, None, None, None, None, "where run folders go"),
        p(
            "checkpoint_dir",
            str,
            None,
            None,
            None,
            None,
            "where copies of checkpoints go, e.g. a mounted Drive; default: nowhere",
        ),
        p("form", str, None, None, None, None, "which question is asked about each row"),
        p("forms", str, None, None, None, None, "questions trained together, joined by +: a text and a choice"),
        p("n_train", int, None, 8, 10_000_000, None, "training examples"),
        p("n_eval", int, None, 8, 1_000_000, None, "test examples"),
        p("n_text", int, None, 1, 10_000_000, None, "how many of them also give a text to learn"),
        p("n_generate", int, None, 1, 1_000_000, None, "test examples that get a generated answer"),
        p("n_shots", int, None, 0, 64, None, "worked examples in a few-shot prompt"),
        p("epochs", float, None, 0.01, 1000, None, "passes over the training examples"),
        p("learning_rate", float, None, 1e-8, 1, None, "peak learning rate"),
        p("batch_size", int, None, 1, 1024, None, "examples in one forward pass"),
        p("grad_accumulation", int, None, 1, 1024, None, "forward passes per weight update"),
        p("max_length", int, None, 16, 131_072, None, "longest example, in tokens"),
        p("max_new_tokens", int, None, 1, 8192, None, "longest generated answer, in tokens"),
        p("lora_r", int, None, 1, 1024, None, "rank of the update"),
        p("lora_alpha", int, None, 1, 4096, None, "the update is scaled by lora_alpha / lora_r"),
        p("lora_dropout", float, None, 0, 0.9, None, "dropout in front of the adapter"),
        p("lora_targets", str, None, None, None, None, "layers that get an update: all-linear, or names joined by +"),
        p("quant", str, None, None, None, STORAGE, "base weights as nf4-double, nf4, int8 or none (16 or 32 bit)"),
        p("classifier", str, None, None, None, ("head", "label_words"), "a new head, or the model's own words"),
        p("head", str, None, None, None, ("trained", "frozen"), "whether the new head is trained and saved"),
        p("padding", str, None, None, None, ("dynamic", "max_length"), "pad to the longest of a batch, or always"),
        p(
            "prefix",
            str,
            None,
            None,
            None,
            ("key_value", "embedding", "peft"),
            "what is learned: keys and values, embeddings, or PEFT's",
        ),
        p("prefix_tokens", int, None, 1, 512, None, "length of the prefix"),
        p("prefix_hidden", int, None, 0, 65_536, None, "width of the network behind the prefix; 0 for none"),
        p("prefix_init", str, None, None, None, ("random", "zeros", "text"), "what the prefix starts from"),
        p("max_pixels", int, None, 64, 16_777_216, None, "pictures with more pixels are shrunk to this"),
        p("teacher", str, None, None, None, None, "simulated, a teacher's file (TSV), or a model that answers"),
        p("others", str, None, None, None, None, "another model's answers to the test questions, to be scored too"),
        p("runs", str, None, None, None, None, "folder of the runs to compare; default: output_dir"),
        p("n_rate", int, None, 1, 1000, None, "comparisons on the rating sheet"),
        p("ratings", str, None, None, None, None, "folder of the CSV files that raters saved; default: the run's own"),
        p("gradient_checkpointing", bool, None, None, None, None, "compute activations twice rather than keep them"),
        p("check_memory", bool, True, None, None, None, "stop before loading what would not fit"),
        p("resume", bool, False, None, None, None, "continue an interrupted run of this name"),
    )


PARAMETERS: dict[str, Parameter] = {row.name: row for row in _rows()}

_COMMON = ("profile", "task", "model_id", "dataset")
_PLACE = ("seed", "run_name", "output_dir")
_RESUMED = ("checkpoint_dir", "resume")  # of notebooks that train

NOTEBOOKS: dict[str, NotebookSpec] = {
    spec.id: spec
    for spec in (
        NotebookSpec("00_start_here", "Start here", ("profile", "run_name", "output_dir"), ()),
        NotebookSpec(
            "01_eda",
            "Know the data",
            (*_COMMON, "form", "n_train", "n_eval", "max_length", *_PLACE),
            ("recipes", "snli", "dialogsum"),
        ),
        NotebookSpec(
            "02_zero_shot_baselines",
            "The bar to beat",
            (*_COMMON, "n_train", "n_eval", "n_generate", "n_shots", "batch_size", "max_length")
            + ("max_new_tokens", "quant", *_PLACE),
            ("recipes", "snli", "dialogsum"),
        ),
        NotebookSpec(
            "03_qlora_nli",
            "QLoRA for classification",
            (*_COMMON, "classifier", "head", "padding", "n_train", "n_eval", "epochs", "learning_rate", "batch_size")
            + ("grad_accumulation", "gradient_checkpointing", "max_length", "lora_r", "lora_alpha", "lora_dropout")
            + ("lora_targets", "quant", "check_memory", *_PLACE, *_RESUMED),
            ("snli",),
        ),
        NotebookSpec(
            "04_qlora_instruct",
            "QLoRA instruction tuning",
            (*_COMMON, "forms", "n_train", "n_text", "n_eval", "n_generate", "epochs", "learning_rate", "batch_size")
            + ("grad_accumulation", "gradient_checkpointing", "max_length", "max_new_tokens", "lora_r", "lora_alpha")
            + ("lora_dropout", "quant", "check_memory", *_PLACE, *_RESUMED),
            ("recipes", "dialogsum"),
        ),
        NotebookSpec(
            "05_prefix_tuning",
            "Prefix tuning",
            (*_COMMON, "form", "n_train", "n_eval", "epochs", "learning_rate", "batch_size", "grad_accumulation")
            + ("max_new_tokens", "max_pixels", "prefix", "prefix_tokens", "prefix_hidden", "prefix_init", "quant")
            + ("check_memory", *_PLACE, *_RESUMED),
            ("scienceqa",),
        ),
        NotebookSpec(
            "06_lora_vlm",
            "LoRA on a vision-language model",
            (*_COMMON, "form", "teacher", "others", "n_train", "n_eval", "epochs", "learning_rate", "batch_size")
            + ("grad_accumulation", "gradient_checkpointing", "max_new_tokens", "max_pixels", "lora_r", "lora_alpha")
            + ("lora_dropout", "lora_targets", "quant", "check_memory", *_PLACE, *_RESUMED),
            ("scienceqa",),
        ),
        NotebookSpec(
            "07_compositional_prompts",
            "Compositional prompts",
            (
                *_COMMON,
                "n_train",
                "n_eval",
                "epochs",
                "learning_rate",
                "batch_size",
                "check_memory",
                *_PLACE,
                *_RESUMED,
            ),
            ("zappos",),
        ),
        NotebookSpec(
            "08_blip2_captioning",
            "BLIP-2 captions",
            (*_COMMON, "n_train", "n_eval", "epochs", "learning_rate", "batch_size", "grad_accumulation")
            + ("gradient_checkpointing", "max_new_tokens", "lora_r", "lora_alpha", "lora_dropout", "lora_targets")
            + ("quant", "check_memory", *_PLACE, *_RESUMED),
            ("zappos",),
        ),
        NotebookSpec(
            "09_evaluation",
            "All runs side by side",
            ("profile", "runs", "ratings", "n_rate", *_PLACE),
            (),
            reads_runs=True,
        ),
    )
}

# Forms of each task, the first is the one a notebook takes when ``form`` is None.
FORMS: dict[str, tuple[str, ...]] = {
    "recipes": ("steps", "ingredients", "missing", "substitute"),
    "snli": ("nli",),
    "dialogsum": ("summary", "topic"),
    "scienceqa": ("QTCH", "QTCHL", "QTCHLS", "QTCHS"),
    "zappos": ("caption", "type", "colour", "material"),
}

# What ``dataset="builtin"`` means: (profile, task) -> source.
BUILTIN: dict[tuple[str, str], str] = {
    ("smoke", "recipes"): "generator",
    ("smoke", "snli"): "generator",
    ("cpu", "recipes"): "wikibooks",
    ("cpu", "snli"): "generator",
    ("full", "recipes"): "corbt/all-recipes",
    ("full", "snli"): "stanfordnlp/snli",
    ("smoke", "dialogsum"): "generator",
    ("cpu", "dialogsum"): "generator",
    ("full", "dialogsum"): "knkarthick/dialogsum",
    ("smoke", "scienceqa"): "generator",
    ("cpu", "scienceqa"): "generator",
    ("full", "scienceqa"): "derek-thomas/ScienceQA",
    ("smoke", "zappos"): "generator",
    ("cpu", "zappos"): "generator",
    ("full", "zappos"): "kaggle:steer01/ut-zap50k-images",
}

# Source names that are neither a Hub id nor a path.
NAMED_SOURCES = ("builtin", "generator", "wikibooks")

# Settings that only this table decides. dtype "auto" is what the machine computes in fastest.
HIDDEN = ("embedder", "scorer", "offline", "dtype", "cell_timeout")

# (profile, notebook, task, values); "*" matches everything; later rows win.
# Not settable from a notebook: see HIDDEN. cell_timeout (seconds one cell may take, None = no limit).
DEFAULTS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    # Drawing dropout masks takes a fifth of a training step on a CPU; one epoch does not need them.
    ("*", "*", "*", {"quant": "nf4-double", "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.0}),
    ("*", "*", "*", {"grad_accumulation": 1, "n_shots": 3}),
    ("*", "*", "*", {"gradient_checkpointing": False, "dtype": "auto"}),
    ("*", "*", "recipes", {"form": "steps", "forms": "steps+missing"}),
    ("*", "*", "snli", {"form": "nli"}),
    ("*", "*", "dialogsum", {"form": "summary", "forms": "summary+topic"}),
    ("*", "*", "scienceqa", {"form": "QTCH"}),
    ("*", "*", "zappos", {"form": "caption"}),
    # Project E's settings, but for what was wrong in them.
    ("*", "03_qlora_nli", "*", {"classifier": "head", "head": "trained", "padding": "dynamic", "quant": "nf4"}),
    ("*", "03_qlora_nli", "*", {"lora_alpha": 64, "lora_targets": "q_proj+v_proj+fc1+fc2", "max_length": 128}),
    # Project B's, but for what was wrong in them: keys and values, a start from a text, a rate that moves them.
    ("*", "05_prefix_tuning", "*", {"prefix": "key_value", "prefix_tokens": 20, "prefix_hidden": 0}),
    ("*", "05_prefix_tuning", "*", {"prefix_init": "text", "max_new_tokens": 64}),
    ("*", "06_lora_vlm", "*", {"lora_targets": "q_proj+v_proj", "teacher": "simulated", "max_new_tokens": 64}),
    # Project C's, but for what was wrong in them.
    ("*", "08_blip2_captioning", "*", {"lora_targets": "q_proj+v_proj"}),
    ("*", "09_evaluation", "*", {"n_rate": 30}),
    # smoke: tiny checkpoint, generated data, no network
    ("smoke", "*", "*", {"model_id": "tiny/llama", "embedder": "hashing", "scorer": "tiny/clip", "offline": True}),
    ("smoke", "*", "*", {"dtype": "float32"}),
    ("smoke", "*", "*", {"n_train": 400, "n_eval": 120, "n_generate": 40, "batch_size": 8}),
    ("smoke", "*", "*", {"max_length": 192, "max_new_tokens": 80, "cell_timeout": 300}),
    ("smoke", "02_zero_shot_baselines", "*", {"quant": "none"}),
    ("smoke", "03_qlora_nli", "*", {"model_id": "tiny/phi", "max_length": 128, "n_train": 900, "n_eval": 300}),
    ("smoke", "03_qlora_nli", "*", {"epochs": 3.0, "learning_rate": 2e-3, "batch_size": 16}),
    ("smoke", "04_qlora_instruct", "*", {"n_train": 600, "n_text": 600}),
    ("smoke", "04_qlora_instruct", "*", {"epochs": 2.0, "learning_rate": 5e-3}),
    ("smoke", "*", "dialogsum", {"max_length": 256}),
    ("smoke", "*", "scienceqa", {"model_id": "tiny/qwen2_vl", "quant": "none", "n_train": 480, "n_eval": 240}),
    ("smoke", "*", "scienceqa", {"batch_size": 16, "max_new_tokens": 48}),
    ("smoke", "05_prefix_tuning", "*", {"n_train": 400, "epochs": 2.0, "learning_rate": 5e-2}),
    ("smoke", "06_lora_vlm", "*", {"n_train": 600, "epochs": 2.0, "learning_rate": 5e-3}),
    ("smoke", "07_compositional_prompts", "*", {"model_id": "tiny/clip", "n_train": 1200, "n_eval": 300}),
    ("smoke", "07_compositional_prompts", "*", {"batch_size": 64, "epochs": 6.0, "learning_rate": 5e-3}),
    ("smoke", "08_blip2_captioning", "*", {"model_id": "tiny/blip2", "quant": "none", "n_train": 300, "n_eval": 240}),
    ("smoke", "08_blip2_captioning", "*", {"batch_size": 8, "epochs": 4.0}),
    ("smoke", "08_blip2_captioning", "*", {"learning_rate": 5e-3, "max_new_tokens": 32}),
    # cpu: a real pretrained model on two cores
    ("cpu", "*", "*", {"model_id": "HuggingFaceTB/SmolLM2-135M-Instruct", "embedder": "minilm", "scorer": "tiny/clip"}),
    ("cpu", "*", "*", {"offline": False, "n_train": 2000, "n_eval": 300, "n_generate": 150, "batch_size": 8}),
    ("cpu", "*", "*", {"max_length": 256, "max_new_tokens": 96, "cell_timeout": 2400}),
    ("cpu", "01_eda", "*", {"n_train": 2000, "n_eval": 300}),
    ("cpu", "02_zero_shot_baselines", "*", {"quant": "none", "n_eval": 120, "n_generate": 40}),
    ("cpu", "03_qlora_nli", "*", {"n_train": 1000, "n_eval": 300, "epochs": 3.0, "learning_rate": 5e-4}),
    ("cpu", "03_qlora_nli", "*", {"max_length": 128, "batch_size": 16, "lora_targets": "all-linear"}),
    # 224 tokens rather than 256 keep a batch of the longest texts below 6 GB.
    ("cpu", "04_qlora_instruct", "*", {"n_train": 1900, "n_eval": 800, "n_text": 100, "n_generate": 160}),
    ("cpu", "04_qlora_instruct", "*", {"max_length": 224}),
    ("cpu", "04_qlora_instruct", "*", {"epochs": 1.0, "learning_rate": 1e-3}),
    # No vision-language model ships in a package; a language model gets the half of the questions that is in words.
    ("cpu", "*", "scienceqa", {"n_train": 240, "n_eval": 100, "max_new_tokens": 48, "quant": "none"}),
    ("cpu", "05_prefix_tuning", "*", {"n_train": 160, "epochs": 2.0, "learning_rate": 5e-2}),
    ("cpu", "06_lora_vlm", "*", {"epochs": 2.0, "learning_rate": 5e-3}),
    ("cpu", "*", "dialogsum", {"n_train": 1000, "n_eval": 150}),  # the generator has about 1,450 to give
    # Neither a CLIP nor a BLIP-2 ships in a package: the tiny ones, with more pictures.
    ("cpu", "07_compositional_prompts", "*", {"model_id": "tiny/clip", "n_train": 6000, "n_eval": 1000}),
    ("cpu", "07_compositional_prompts", "*", {"batch_size": 64, "epochs": 15.0, "learning_rate": 5e-3}),
    ("cpu", "08_blip2_captioning", "*", {"model_id": "tiny/blip2", "quant": "none", "n_train": 2000, "n_eval": 500}),
    ("cpu", "08_blip2_captioning", "*", {"epochs": 4.0, "learning_rate": 5e-3}),
    ("cpu", "08_blip2_captioning", "*", {"max_new_tokens": 32}),
    # full: one 16 GB GPU
    ("full", "*", "*", {"model_id": "NousResearch/Llama-2-7b-chat-hf", "embedder": "minilm"}),
    ("full", "*", "*", {"scorer": "openai/clip-vit-base-patch32"}),
    ("full", "*", "*", {"offline": False, "n_train": 2000, "n_eval": 300, "n_generate": 150}),
    ("full", "*", "*", {"batch_size": 4, "grad_accumulation": 4, "cell_timeout": None}),
    ("full", "*", "*", {"max_length": 1024, "max_new_tokens": 256}),
    ("full", "*", "*", {"gradient_checkpointing": True}),
    ("full", "01_eda", "*", {"n_train": 5000, "n_eval": 1000}),
    ("full", "*", "*", {"lora_dropout": 0.05}),
    ("full", "03_qlora_nli", "*", {"model_id": "microsoft/phi-2", "n_train": 1000, "n_eval": 100}),
    # As published an update sees 16 pairs; in one pass they would take 20 GB, in two 11 (python -m helpers plan 03).
    ("full", "03_qlora_nli", "*", {"epochs": 5.0, "learning_rate": 1e-4, "batch_size": 8, "max_length": 128}),
    ("full", "03_qlora_nli", "*", {"grad_accumulation": 2, "gradient_checkpointing": False}),
    ("full", "*", "scienceqa", {"model_id": "Qwen/Qwen2-VL-2B-Instruct", "quant": "nf4", "n_train": 3000}),
    ("full", "*", "scienceqa", {"n_eval": 500, "max_pixels": 256 * 28 * 28, "batch_size": 4}),
    ("full", "*", "scienceqa", {"grad_accumulation": 8, "gradient_checkpointing": True}),
    ("full", "05_prefix_tuning", "*", {"prefix_tokens": 50, "epochs": 2.0, "learning_rate": 5e-3}),
    # Checkpointing would drop the cache, and the prefix with it: fewer questions a pass, as many an update.
    ("full", "05_prefix_tuning", "*", {"gradient_checkpointing": False, "batch_size": 2, "grad_accumulation": 16}),
    ("full", "06_lora_vlm", "*", {"epochs": 2.0, "learning_rate": 2e-4, "lora_r": 8, "lora_alpha": 16}),
    ("full", "04_qlora_instruct", "*", {"n_text": 2000, "epochs": 1.0, "learning_rate": 2e-4}),
    ("full", "07_compositional_prompts", "*", {"model_id": "openai/clip-vit-base-patch32", "n_train": 20667}),
    ("full", "07_compositional_prompts", "*", {"n_eval": 2500, "batch_size": 128, "epochs": 15.0}),
    ("full", "07_compositional_prompts", "*", {"learning_rate": 5e-4}),
    ("full", "08_blip2_captioning", "*", {"model_id": "Salesforce/blip2-opt-2.7b", "quant": "nf4", "n_train": 800}),
    ("full", "08_blip2_captioning", "*", {"n_eval": 200, "batch_size": 3, "grad_accumulation": 5, "epochs": 15.0}),
    ("full", "08_blip2_captioning", "*", {"learning_rate": 5e-4, "lora_dropout": 0.1}),
    ("full", "08_blip2_captioning", "*", {"gradient_checkpointing": False, "max_new_tokens": 32}),
)

# Assets that the cpu profile wants; the model can also come from the Hub.
CPU_MODEL_ASSET = "smollm2-135m-instruct"
CPU_DATA_ASSETS = {"recipes": "wikibooks-recipes"}
