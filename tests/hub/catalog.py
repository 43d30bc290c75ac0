"""The models and data sets that the lessons use, under their real ids and in their real files and schemas.

Models are the repository's tiny checkpoints, laid out as the published ones: parts of safetensors with an index, torch
files for CLIP, preprocessor_config.json, no chat format for phi-2. Rows come from the tasks' generators.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from helpers.models.load import TINY
from hub.repos import Repo

Row = Mapping[str, Any]
GATED = ("meta-llama/Llama-2-7b-chat-hf", "google/paligemma-3b-pt-224")
MODELS = {
    "microsoft/phi-2": "phi",
    "meta-llama/Llama-2-7b-chat-hf": "llama",
    "NousResearch/Llama-2-7b-chat-hf": "llama",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "llama",
    "HuggingFaceTB/SmolLM2-360M-Instruct": "llama",  # of lesson 12 there, which plans from the files: no kept sizes
    "Qwen/Qwen2-VL-2B-Instruct": "qwen2_vl",
    "Qwen/Qwen2-VL-7B-Instruct": "qwen2_vl_kitchen",  # of lesson 13 there; the smaller one stands for science
    "google/paligemma-3b-pt-224": "paligemma",
    "Salesforce/blip2-opt-2.7b": "blip2",
    "openai/clip-vit-base-patch32": "clip",
}
PARTS = {"HuggingFaceTB/SmolLM2-135M-Instruct": 1}  # files of weights; two for the others
TORCH = ("openai/clip-vit-base-patch32",)  # published before safetensors
SEED = 70  # of all rows and pictures; no lesson generates with it
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


# ---------- models
def model(repo_id: str, tiny: str, parts: int = 2) -> Repo:
    """A tiny checkpoint as the repository of a published model."""
    repo = Repo(repo_id, "models", gated=repo_id in GATED)
    for path in sorted((TINY / tiny).iterdir()):
        if path.suffix in (".json", ".jinja") and path.name not in ("training.json", "processor_config.json"):
            repo.put(path.name, path.read_bytes())
    processor = TINY / tiny / "processor_config.json"
    if processor.is_file():  # as written before transformers 4.50
        images = json.loads(processor.read_text())["image_processor"]
        repo.put("preprocessor_config.json", json.dumps(images, indent=2).encode())
    if tiny == "phi":
        del repo.files["chat_template.jinja"]
    repo.put("README.md", b"---\nlicense: other\n---\nA stand-in for tests.\n")
    _add_weights(repo, (TINY / tiny / "model.safetensors").read_bytes(), parts)
    return repo


def _add_weights(repo: Repo, data: bytes, parts: int) -> None:
    from safetensors.torch import load, save

    if repo.id in TORCH:
        import torch

        buffer = io.BytesIO()
        torch.save(load(data), buffer)
        return repo.put("pytorch_model.bin", buffer.getvalue())
    if parts == 1:
        return repo.put("model.safetensors", data)
    tensors = load(data)
    names = sorted(tensors)
    where = {name: f"model-{1 + i * parts // len(names):05}-of-{parts:05}.safetensors" for i, name in enumerate(names)}
    for file in sorted(set(where.values())):
        repo.put(file, save({n: tensors[n] for n in names if where[n] == file}, {"format": "pt"}))
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": where}
    repo.put("model.safetensors.index.json", json.dumps(index).encode())


def encoder() -> Repo:
    """A sentence encoder with random weights: what it says is nonsense, how it is read is not."""
    from transformers import BertConfig, BertModel, BertTokenizer, set_seed

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,?!'-/%():"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *[f"##{c}" for c in letters]]
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    repo = Repo(ENCODER, "models", licence="apache-2.0")
    with tempfile.TemporaryDirectory() as folder:
        set_seed(0)
        BertTokenizer(vocab={w: i for i, w in enumerate(words)}).save_pretrained(folder)
        BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
        for path in sorted(Path(folder).iterdir()):
            repo.put(path.name, path.read_bytes())
    return repo


# ---------- data sets
def dataset(repo_id: str, files: Mapping[str, bytes], card: str, licence: str = "other") -> Repo:
    """A data set from its files and the YAML of its card."""
    repo = Repo(repo_id, "datasets", licence=licence)
    for path, data in files.items():
        repo.put(path, data)
    repo.put("README.md", f"---\nlicense: {licence}\n{card}---\nA stand-in for tests.\n".encode())
    return repo


def parquet(rows: Sequence[Row], features: Any = None) -> bytes:
    from datasets import Dataset

    buffer = io.BytesIO()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    Dataset.from_dict(columns, features=features).to_parquet(buffer)
    return buffer.getvalue()


def table(rows: Sequence[Row]) -> bytes:
    """CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _cut(rows: Iterable[Row], *sizes: int) -> Iterator[list[Row]]:
    rows = iter(rows)
    yield from (list(islice(rows, size)) for size in sizes)


def snli(n: int = 2700, seed: int = SEED) -> Repo:
    """premise, hypothesis, label; every fiftieth without an agreed label, as −1."""
    from datasets import ClassLabel, Features, Value

    from helpers.tasks.snli import generator as snli_generator

    rows = [row for triple in islice(snli_generator.triples(seed), n // 3) for row in triple]
    plain = [
        {"premise": r["premise"], "hypothesis": r["hypothesis"], "label": -1 if i % 50 == 49 else r["label"]}
        for i, r in enumerate(rows)
    ]
    names = ClassLabel(names=["entailment", "neutral", "contradiction"])
    types = Features({"premise": Value("string"), "hypothesis": Value("string"), "label": names})
    parts = dict(zip(("test", "validation", "train"), _cut(plain, 330, 120, n), strict=True))
    files = {f"plain_text/{name}-00000-of-00001.parquet": parquet(part, types) for name, part in parts.items()}
    paths = "".join(f"  - split: {name}\n    path: plain_text/{name}-*\n" for name in parts)
    card = f"configs:\n- config_name: plain_text\n  data_files:\n{paths}  default: true\n"
    return dataset("stanfordnlp/snli", files, card, "cc-by-sa-4.0")


def dialogsum(n: int = 1100, seed: int = SEED) -> Repo:
    """id, dialogue, summary, topic in three CSV files."""
    from helpers.tasks.dialogsum import generator as dialogsum_generator

    rows = (
        {"id": f"train_{i}", "dialogue": r["dialogue"], "summary": r["summary"], "topic": r["topic"]}
        for i, r in enumerate(dialogsum_generator.dialogues(seed))
    )
    parts = zip(("validation", "test", "train"), _cut(rows, 20, 60, n), strict=True)
    files = {f"{name}.csv": table(part) for name, part in parts}
    paths = "".join(f"  - split: {name.removesuffix('.csv')}\n    path: {name}\n" for name in files)
    card = f"configs:\n- config_name: default\n  data_files:\n{paths}"
    return dataset("knkarthick/dialogsum", files, card, "cc-by-nc-sa-4.0")


def scienceqa(n: int = 1100, seed: int = SEED) -> Repo:
    """The published columns with the picture as a struct of bytes and path; no card says which file is which split."""
    from datasets import Features, Image, List, Value

    from helpers.tasks.scienceqa import generator as scienceqa_generator

    columns = ("image", "question", "choices", "answer", "hint", "task", "grade", "subject", "topic", "category")
    columns += ("skill", "lecture", "solution")
    types = dict.fromkeys(columns, Value("string"))
    types |= {"image": Image(), "choices": List(Value("string")), "answer": Value("int8")}
    rows = ({name: row[name] for name in columns} for row in scienceqa_generator.rows(seed))
    parts = zip(("test", "validation", "train"), _cut(rows, 260, 90, n), strict=True)
    files = {
        f"data/{name}-00000-of-00001-{number:016x}.parquet": parquet(part, Features(types))
        for number, (name, part) in enumerate(parts)
    }
    return dataset("derek-thomas/ScienceQA", files, "", "cc-by-sa-4.0")


def all_recipes(n: int = 1400, seed: int = SEED) -> Repo:
    """One text column: title, ingredients, directions."""
    from helpers.tasks.recipes import generator as recipes_generator

    def text(row: Row) -> str:
        lists = [f"\n{head}:\n" + "\n".join(f"- {x}" for x in row[key]) for head, key in _HEADS]
        return f"{row['title']}\n{''.join(lists)}\n"

    rows = ({"input": text(row)} for row in recipes_generator.recipes(seed))
    (first, second) = _cut(rows, n // 2, n - n // 2)
    files = {f"data/train-{i:05}-of-00002.parquet": parquet(part) for i, part in enumerate((first, second))}
    return dataset("corbt/all-recipes", files, "")


_HEADS = (("\nIngredients", "ingredients"), ("\nDirections", "steps"))


def food_com(n: int = 300, seed: int = SEED) -> Repo:
    """CSV with R's lists: c("a", "b")."""
    from helpers.tasks.recipes import generator as recipes_generator

    def listed(items: Sequence[str]) -> str:
        return "c(" + ", ".join(json.dumps(item) for item in items) + ")"

    rows = [
        {
            "RecipeId": i,
            "Name": row["title"],
            "RecipeCategory": row["category"],
            "RecipeIngredientParts": listed(row["ingredients"]),
            "RecipeInstructions": listed(row["steps"]),
        }
        for i, row in enumerate(islice(recipes_generator.recipes(seed), n))
    ]
    return dataset("AkashPS11/recipes_data_food.com", {"recipes.csv": table(rows)}, "")


DATASETS: dict[str, Callable[[], Repo]] = {
    "stanfordnlp/snli": snli,
    "knkarthick/dialogsum": dialogsum,
    "derek-thomas/ScienceQA": scienceqa,
    "corbt/all-recipes": all_recipes,
    "AkashPS11/recipes_data_food.com": food_com,
}


@cache
def get(repo_id: str) -> Repo:
    """A repository of the catalogue, made once a process."""
    if repo_id in MODELS:
        return model(repo_id, MODELS[repo_id], PARTS.get(repo_id, 2))
    return encoder() if repo_id == ENCODER else DATASETS[repo_id]()


def everything() -> list[Repo]:
    """All of them."""
    return [get(repo_id) for repo_id in (*MODELS, ENCODER, *DATASETS)]
