"""Merging file by file, against PEFT's own merge and the adapter beside its base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_cases import TINY, save_adapter, some_ids
from hub.catalog import model as laid_out
from safetensors.torch import load_file, save_file

from helpers import models
from helpers.adapters.merging import merge_into_base, read_updates
from helpers.errors import ModelError, RunError
from helpers.models.load import TINY as CHECKPOINTS

VARIANTS: list[dict[str, Any]] = [
    {},
    {"use_rslora": True},
    {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 5}, "target_modules": ["q_proj", "v_proj"]},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_merged_weights_answer_as_the_adapter_beside_its_base(tmp_path: Path, options: dict[str, Any]) -> None:
    model = save_adapter(tmp_path / "adapter", **options)
    changed = merge_into_base(TINY, tmp_path / "adapter", tmp_path / "merged", dtype="float32")
    assert changed == sum(hasattr(m, "lora_A") for m in model.modules())
    merged = models.load(str(tmp_path / "merged"), dtype="float32").model
    with torch.no_grad():
        beside, whole = (m(input_ids=some_ids()).logits for m in (model, merged))
    assert (beside - whole).abs().max() < 1e-3
    by_peft = model.merge_and_unload().state_dict()
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(weight, by_peft[name], rtol=1e-5, atol=1e-6)


def test_sums_are_rounded_once_to_the_files_own_format(tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter")
    merge_into_base(TINY, tmp_path / "adapter", tmp_path / "merged")
    merge_into_base(TINY, tmp_path / "adapter", tmp_path / "exact", dtype="float32")
    name = "model.layers.0.mlp.up_proj.weight"
    kept, exact = (models.read_weight(str(tmp_path / place), name) for place in ("merged", "exact"))
    assert kept.dtype == torch.float16 and torch.equal(kept, exact.half())
    tokenizer = models.load_tokenizer(str(tmp_path / "merged"))
    assert tokenizer.chat_template == models.load_tokenizer(TINY).chat_template


def test_a_checkpoint_in_parts(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for file in laid_out("some/model", "llama", parts=3).files.values():
        (base / file.path).write_bytes(file.data)
    for path in (CHECKPOINTS / "llama").iterdir():
        if path.suffix != ".safetensors" and not (base / path.name).exists():
            (base / path.name).write_bytes(path.read_bytes())
    save_adapter(tmp_path / "adapter")
    merge_into_base(str(base), tmp_path / "adapter", tmp_path / "merged")
    merge_into_base(TINY, tmp_path / "adapter", tmp_path / "whole")
    parts, whole = (models.load(str(tmp_path / n), dtype="float32").model for n in ("merged", "whole"))
    assert len(list((tmp_path / "merged").glob("*.safetensors"))) == 3
    assert all(torch.equal(a, b) for a, b in zip(parts.parameters(), whole.parameters(), strict=True))


def test_an_adapter_of_another_base(tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"another base than tiny/phi: it changes model\.layers\.0"):
        merge_into_base("tiny/phi", tmp_path / "adapter", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_base_that_is_stored_in_4_bits(tmp_path: Path) -> None:
    base = tmp_path / "base"
    models.load(TINY, quant="nf4").model.save_pretrained(base)
    models.load_tokenizer(TINY).save_pretrained(base)
    save_adapter(tmp_path / "adapter")
    with pytest.raises(ModelError, match="stored quantised.*Merge into the 16-bit model"):
        merge_into_base(str(base), tmp_path / "adapter", tmp_path / "merged")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter")
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine.txt").write_text("kept")
    with pytest.raises(RunError, match="exists, and nothing is overwritten"):
        merge_into_base(TINY, tmp_path / "adapter", tmp_path / "merged")
    assert (tmp_path / "merged" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "is PREFIX_TUNING, which is no sum"),
        ({"task_type": "SEQ_CLS"}, "for SEQ_CLS: it has a head of its own"),
        ({"use_dora": True}, r"more than W \+ α/r · B A \(use_dora\)"),
        ({"bias": "all"}, r"\(bias\)"),
        ({"init_lora_weights": "pissa_niter_4"}, "started by pissa_niter_4, which takes something out of the base"),
        ({"init_lora_weights": "loftq"}, "started by loftq"),
    ],
)
def test_other_adapters_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    save_adapter(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match=says):
        read_updates(tmp_path)


def test_an_adapter_with_more_than_factors_is_not_merged_in_part(tmp_path: Path) -> None:
    save_adapter(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    more = "base_model.model.model.embed_tokens.weight"
    save_file(tensors | {more: torch.zeros(2, 2)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=f"holds {more}, which is no factor"):
        read_updates(tmp_path)
    save_file({}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="holds nothing"):
        read_updates(tmp_path)


def test_why_adapters_that_change_the_base_are_refused(tmp_path: Path) -> None:
    """PiSSA: the sum of the published weights and the saved factors is another model."""
    model = save_adapter(tmp_path, init_lora_weights="pissa")
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"init_lora_weights": True}))
    merge_into_base(TINY, tmp_path, tmp_path / "merged", dtype="float32")
    merged = models.load(str(tmp_path / "merged"), dtype="float32").model
    with torch.no_grad():
        beside, whole = (m(input_ids=some_ids()).logits for m in (model, merged))
    assert (beside - whole).abs().max() > 0.1
