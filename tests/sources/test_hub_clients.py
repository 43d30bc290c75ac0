"""The local Hub: the real clients work through it, and what the course fetches is complete and checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub import catalog
from hub.cache import PHI, SNLI, damaged_blobs
from hub.client import Client
from hub.server import LocalHub

pytest_plugins = ["hub_cases"]

SEEING = ("qwen2_vl", "paligemma", "blip2")


def ok(client: Client, code: str) -> object:
    answer = client.cell(code)
    assert answer.error is None, answer.error
    return answer.value


# ---------- the clients themselves
def test_huggingface_hub_lists_and_downloads(hub: LocalHub, client: Client) -> None:
    repo = hub.repos["models", PHI]
    found = ok(
        client,
        f"""
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
api = HfApi()
info = api.model_info({PHI!r}, files_metadata=True)
sizes = {{s.rfilename: s.size for s in info.siblings}}
tree = sorted(e.path for e in api.list_repo_tree({PHI!r}, recursive=True))
paths = [(p.path, p.size, p.blob_id) for p in api.get_paths_info({PHI!r}, ["config.json"])]
branch = api.list_repo_refs({PHI!r}).branches[0].target_commit
one = hf_hub_download({PHI!r}, "config.json")
folder = snapshot_download({PHI!r})
exists = [api.file_exists({PHI!r}, name) for name in ("config.json", "nothing.json")]
with HfFileSystem().open({PHI!r} + "/model-00001-of-00002.safetensors", "rb", block_size=1000) as f:
    f.seek(5000)
    part = f.read(3000).hex()
value = dict(sha=info.sha, sizes=sizes, tree=tree, paths=paths, branch=branch, one=one, folder=folder, part=part,
             exists=exists)
""",
    )
    assert isinstance(found, dict)
    assert found["sha"] == found["branch"] == repo.commit and found["exists"] == [True, False]
    assert found["tree"] == sorted(repo.files)
    assert found["sizes"] == {path: len(file.data) for path, file in repo.files.items()}
    assert found["paths"] == [["config.json", len(repo.files["config.json"].data), repo.files["config.json"].oid]]
    assert Path(found["one"]).read_bytes() == repo.files["config.json"].data
    for path, file in repo.files.items():
        assert Path(found["folder"], path).read_bytes() == file.data
    assert bytes.fromhex(found["part"]) == repo.files["model-00001-of-00002.safetensors"].data[5000:8000]


@pytest.mark.parametrize("repo_id", catalog.MODELS)
def test_transformers_loads_every_model(hub: LocalHub, client: Client, repo_id: str) -> None:
    repo = hub.add(catalog.get(repo_id))
    hub.tokens["hf_good"] = {repo_id}
    token = "'hf_good'" if repo.gated else "False"
    kind = (
        "AutoModelForImageTextToText" if catalog.MODELS[repo_id] in ("qwen2_vl", "paligemma", "blip2") else "AutoModel"
    )
    found = ok(
        client,
        f"""
import os
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
from transformers import {kind}, AutoConfig, AutoTokenizer
config = AutoConfig.from_pretrained({repo_id!r}, token={token})
tokenizer = AutoTokenizer.from_pretrained({repo_id!r}, token={token})
model, info = {kind}.from_pretrained({repo_id!r}, token={token}, output_loading_info=True)
value = [config.model_type, len(tokenizer), sum(p.numel() for p in model.parameters()), list(info["missing_keys"])]
""",
    )
    assert isinstance(found, list)
    assert found[1] > 100 and found[2] > 100_000 and found[3] == []


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("repo_id", catalog.DATASETS)
def test_datasets_loads_every_data_set(hub: LocalHub, client: Client, repo_id: str, streaming: bool) -> None:
    hub.add(catalog.get(repo_id))
    found = ok(
        client,
        f"""
import datasets
datasets.config.USE_PARQUET_EXPORT = False  # asks another host name, which loopback cannot have
data = datasets.load_dataset({repo_id!r}, split="train", streaming={streaming})
rows = list(data)
types = data.features or {{}}  # of a stream of CSV nothing is known
value = [len(rows), sorted(rows[0]), str(types.get("label") or types.get("image"))]
""",
    )
    assert isinstance(found, list)
    columns = {
        SNLI: ["hypothesis", "label", "premise"],
        "knkarthick/dialogsum": ["dialogue", "id", "summary", "topic"],
        "corbt/all-recipes": ["input"],
    }
    assert found[0] >= 300 and found[1] == columns.get(repo_id, found[1])
    if repo_id == SNLI:
        assert "entailment" in found[2]
    if repo_id == "derek-thomas/ScienceQA":
        assert "Image" in found[2] and len(found[1]) == 13


# ---------- the course through it
@pytest.mark.parametrize("repo_id", [PHI, "NousResearch/Llama-2-7b-chat-hf", "HuggingFaceTB/SmolLM2-135M-Instruct"])
def test_the_course_loads_language_models_as_they_are(hub: LocalHub, client: Client, repo_id: str) -> None:
    hub.add(catalog.get(repo_id))
    tiny = f"tiny/{catalog.MODELS[repo_id]}"
    found = ok(
        client,
        f"""
from helpers import models
from_hub, here = models.load({repo_id!r}, dtype="float32"), models.load({tiny!r}, dtype="float32")
chat = [{{"role": "user", "content": "a"}}, {{"role": "assistant", "content": "b"}}]
texts = [from_hub.tokenizer.apply_chat_template(chat[:n], tokenize=False, add_generation_prompt=n == 1) for n in (1, 2)]
value = [from_hub.source.origin, models.fingerprint(from_hub.model) == models.fingerprint(here.model),
         from_hub.model.config._name_or_path, texts[1].startswith(texts[0]),
         len(set(models.label_token_ids(from_hub.tokenizer, ("yes", "maybe", "no"))))]
""",
    )
    assert found == ["hub", True, repo_id, True, 3]


def test_a_llama_without_a_chat_format_gets_that_of_llama_2(hub: LocalHub, client: Client) -> None:
    repo = hub.add(catalog.model("someone/llama", "llama"))
    del repo.files["chat_template.jinja"]
    found = ok(
        client,
        """
from helpers import models
tokenizer = models.load_tokenizer("someone/llama")
turns = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "maybe"}]
ids = [tokenizer.apply_chat_template(turns[:n], return_dict=True)["input_ids"] for n in (1, 2)]
value = [tokenizer.apply_chat_template(turns, tokenize=False), ids[1][: len(ids[0])] == ids[0]]
""",
    )
    assert found == ["<|im_start|>[INST] Is it? [/INST] maybe <|im_end|>", True]


def test_the_course_loads_models_that_see(hub: LocalHub, client: Client) -> None:
    for repo_id in ("Qwen/Qwen2-VL-2B-Instruct", "Salesforce/blip2-opt-2.7b", "openai/clip-vit-base-patch32"):
        hub.add(catalog.get(repo_id))
    found = ok(
        client,
        """
from helpers.models import clip, vision
qwen = vision.load_reader("Qwen/Qwen2-VL-2B-Instruct", max_pixels=256 * 28 * 28)
value = [qwen.sees, str(vision.load_blip2(quant="none").source), str(clip.load_clip().source)]
""",
    )
    assert found == [True, "Salesforce/blip2-opt-2.7b (hub)", "openai/clip-vit-base-patch32 (hub)"]


def test_weights_are_not_fetched_for_a_tokenizer(hub: LocalHub, client: Client) -> None:
    ok(client, f"from helpers import models; models.load_tokenizer({PHI!r})")
    assert not [path for _, path in hub.requests if "safetensors" in path]
    before = len(hub.requests)
    ok(client, f"models.load_tokenizer({PHI!r})")
    assert len(hub.requests) == before, "asked once a process"


def test_one_tensor_is_found_in_its_part(hub: LocalHub, client: Client) -> None:
    name = "model.layers.3.mlp.fc1.weight"
    found = ok(client, f"from helpers import models; value = list(models.read_weight({PHI!r}, {name!r}).shape)")
    assert found == [448, 128]


def test_the_sentence_encoder_comes_from_the_hub_where_no_asset_is(hub: LocalHub, client: Client) -> None:
    hub.add(catalog.get(catalog.ENCODER))
    found = ok(
        client,
        "from helpers.evaluation import embeddings; embeddings.get_embedder.cache_clear()\n"
        "value = list(embeddings.get_embedder('minilm')(['a', 'b']).shape)",
    )
    assert found == [2, 32]


def test_a_seeded_sample_of_rows(hub: LocalHub, client: Client) -> None:
    found = ok(
        client,
        f"""
from helpers.sources import reader as sources
a, b, c = (sources.read_hub({SNLI!r}, 50, seed) for seed in (0, 0, 1))
value = [a.rows == b.rows, a.rows == c.rows, len(a.rows), a.columns, a.licence, a.notes]
""",
    )
    assert isinstance(found, list)
    assert found[:4] == [True, False, 50, ["premise", "hypothesis", "label"]] and found[4] == "cc-by-sa-4.0"
    assert "compared with the Hub's checksums" in found[5][0]
    assert not [path for _, path in hub.requests if "test-" in path], "only the split that is read"


def test_every_data_set_becomes_a_task(hub: LocalHub, client: Client) -> None:
    tasks = {
        SNLI: "snli",
        "knkarthick/dialogsum": "dialogsum",
        "derek-thomas/ScienceQA": "scienceqa",
        "corbt/all-recipes": "recipes",
        "AkashPS11/recipes_data_food.com": "recipes",
    }
    for repo_id, task in tasks.items():
        hub.add(catalog.get(repo_id))
        found = ok(
            client,
            f"from helpers import tasks; r = tasks.get({task!r}).load(60, 20, {repo_id!r}).report\n"
            "value = [r.sizes, r.dropped]",
        )
        assert isinstance(found, list) and found[0] == {"train": 60, "validation": 10, "test": 20}
        assert set(found[1]) == ({"without an agreed label"} if repo_id == SNLI else set())


def test_a_split_that_is_not_there(hub: LocalHub, client: Client) -> None:
    answer = client.cell(f"from helpers.sources import reader as sources; sources.read_hub({SNLI!r}, 50, 0, 'dev')")
    assert answer.error == (
        "DataError: cannot read split 'dev' of stanfordnlp/snli: there is none. Its splits are test, train, validation."
    )


def test_a_large_split_is_fetched_in_part(hub: LocalHub, client: Client) -> None:
    hub.add(catalog.get("corbt/all-recipes"))
    found = ok(
        client,
        """
from helpers.sources import hub_datasets as hub_files, reader as sources
hub_files.LARGE = 1000
try:
    raw = sources.read("corbt/all-recipes", 50, 0)
finally:
    hub_files.LARGE = 500_000_000
value = [len(raw.rows), raw.notes]
""",
    )
    assert isinstance(found, list) and found[0] == 50 and "1 of 2 files" in found[1][0]
    assert len({path for method, path in hub.requests if method == "GET" and ".parquet" in path}) == 1


# ---------- without a connection, later
def test_a_complete_copy_serves_when_the_hub_is_gone(hub: LocalHub, client: Client) -> None:
    code = f"""
from helpers import models, tasks
report = tasks.get("snli").load(60, 20, {SNLI!r}).report
loaded = models.load({PHI!r}, dtype="float32")
value = [report.fingerprint, report.licence, models.fingerprint(loaded.model)]
"""
    before = ok(client, code)
    hub.go_away()
    client.restart()
    answer = client.cell(code)
    assert answer.error is None and answer.value == before
    for repo_id in (PHI, SNLI):
        assert (
            f"note: the Hub could not be asked (no connection); the copy of {repo_id} on this machine" in answer.printed
        )
    client.restart()
    assert ok(client, "import os; os.environ['HF_HUB_OFFLINE'] = '1'\n" + code) == before
    ok(client, "os.environ['HF_HUB_OFFLINE'] = '0'")


def test_an_incomplete_copy_does_not(hub: LocalHub, client: Client) -> None:
    ok(client, f"from helpers import models; models.load_tokenizer({PHI!r})")
    hub.go_away()
    client.restart()
    answer = client.cell(f"models.load({PHI!r})")
    assert answer.error is not None and "model-00001-of-00002.safetensors is missing or damaged here" in answer.error
    assert ok(client, f"value = len(models.load_tokenizer({PHI!r}))") == 596


@pytest.mark.parametrize("harm", ["truncated", "changed"])
def test_a_file_that_was_damaged_on_the_disk_is_fetched_again(hub: LocalHub, client: Client, harm: str) -> None:
    cache = client.forget()
    code = f"from helpers import models; value = models.fingerprint(models.load({PHI!r}, dtype='float32').model)"
    before = ok(client, code)
    name = hub.repos["models", PHI].files["model-00002-of-00002.safetensors"].sha256
    (blob,) = cache.rglob(f"blobs/{name}")
    data = blob.read_bytes()
    blob.write_bytes(data[:-1000] if harm == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
    assert damaged_blobs(cache)
    client.restart()
    assert ok(client, code) == before
    assert not damaged_blobs(cache)
    blob.write_bytes(data[:-1000])
    hub.go_away()
    client.restart()
    error = client.cell(code).error
    assert error is not None and "model-00002-of-00002.safetensors is missing or damaged here" in error
