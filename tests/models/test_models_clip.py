"""CLIP: its tokenizer, loading, and vectors equal to the model's own, whatever the batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, CLIPModel

from helpers.errors import DataError, ModelError
from helpers.models.clip import CLIP, LoadedClip, image_features, load_clip, text_features
from tools.tiny import architectures_clip, build

CAPTIONS = [
    f"A photo of {kind} with {colour} color and {material} material"
    for kind in ("ankle boots", "oxfords", "sandals", "loafers")
    for colour in ("black", "white", "brown", "red")
    for material in ("leather", "fabric", "rubber", "synthetic")
]


def noise(width: int = 64, height: int = 64, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, large enough for clear differences between texts."""
    tokenizer = architectures_clip.clip_tokenizer(CAPTIONS, 640)
    torch.manual_seed(0)
    model = architectures_clip.clip(tokenizer)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3 if "embedding" in name else 0.1)
    place = tmp_path_factory.mktemp("clip")
    model.save_pretrained(place)
    architectures_clip.clip_processor(tokenizer).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def clip(folder: Path) -> LoadedClip:
    return load_clip(str(folder), dtype="float32")


# ---------- the tiny architecture
def test_it_fits_into_the_repository(tmp_path: Path) -> None:
    tokenizer = architectures_clip.clip_tokenizer(CAPTIONS, 1024)
    done = build.save(architectures_clip.clip(tokenizer), architectures_clip.clip_processor(tokenizer), [1.0], tmp_path)
    assert 800_000 < done["parameters"] < 900_000
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * 2**20
    model = architectures_clip.clip(Sized(1024))
    assert sum(p.numel() for p in model.parameters()) < 900_000  # whatever the captions


class Sized:
    """A tokenizer of a given size, for the shapes that follow from it."""

    bos_token_id, eos_token_id, pad_token_id = 1022, 1023, 1023

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


# ---------- tokenizer
def test_texts_begin_and_end_and_the_end_has_the_highest_id(clip: LoadedClip) -> None:
    tokenizer = clip.processor.tokenizer
    size = len(tokenizer)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (size - 2, size - 1, size - 1)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|startoftext|>", "<|endoftext|>")
    batch = tokenizer(CAPTIONS[:2] + ["red"], padding=True)
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        written = sum(mask)
        assert ids[0] == size - 2 and ids[written - 1] == size - 1
        assert all(0 <= i < size - 2 for i in ids[1 : written - 1]) and set(ids[written:]) <= {size - 1}
    assert sorted(tokenizer.get_vocab().values()) == list(range(size)) and size <= 640


def test_every_text_can_be_written(clip: LoadedClip) -> None:
    tokenizer = clip.processor.tokenizer
    for text in ("zürich, 7 & café ☂ don't", "ANKLE  Boots\nwith LEATHER", "日本語 ﬁne", "x" * 40):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.eos_token_id not in ids[:-1]  # the end is also what an unknown symbol would be
        assert tokenizer.decode(ids[1:-1]).replace(" ", "") == "".join(text.lower().split())
    assert tokenizer("Ankle Boots")["input_ids"] == tokenizer("ankle   boots")["input_ids"]
    assert len(tokenizer.tokenize("ankle boots with leather")) == 4  # what the captions say is learnt as words


def test_a_saved_tokenizer_is_the_same(clip: LoadedClip) -> None:
    made = architectures_clip.clip_tokenizer(CAPTIONS, 640)
    assert made(CAPTIONS)["input_ids"] == clip.processor.tokenizer(CAPTIONS)["input_ids"]
    assert type(clip.processor.tokenizer).__name__ == "CLIPTokenizer"


def test_both_ways_of_finding_the_end_agree(clip: LoadedClip) -> None:
    """Published configurations say end token 2, which means: the highest id of a row."""
    tokenizer = clip.processor.tokenizer
    assert clip.model.config.text_config.eos_token_id == tokenizer.eos_token_id != 2
    batch = tokenizer(CAPTIONS[:8] + ["red"], padding=True, return_tensors="pt")
    config = clip.model.config.__class__.from_dict(clip.model.config.to_dict())
    config.text_config.eos_token_id = 2
    older = CLIPModel(config).eval()
    older.load_state_dict(clip.model.state_dict())
    with torch.no_grad():
        new, old = (model.get_text_features(**batch).pooler_output for model in (clip.model, older))
        alone = clip.model.get_text_features(**tokenizer(["red"], return_tensors="pt")).pooler_output
    assert torch.equal(new, old)
    assert torch.allclose(new[-1:], alone, atol=1e-5)  # padding with end tokens changes nothing


# ---------- vectors
def test_cosines_are_the_models_own_logits(clip: LoadedClip) -> None:
    images = [noise(64 + 9 * i, 80, i) for i in range(7)]
    inputs: Any = clip.processor(images=images, text=CAPTIONS[:9], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = clip.model(**inputs).logits_per_image.numpy()
    for batch_size in (1, 4, 100):
        seen = image_features(clip, images, batch_size=batch_size)
        read = text_features(clip, CAPTIONS[:9], batch_size=batch_size)
        assert seen.shape == (7, 64) and read.shape == (9, 64) and seen.dtype == read.dtype == np.float32
        for rows in (seen, read):
            assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert np.allclose(seen @ read.T * clip.scale, expected, atol=1e-4)
    assert np.ptp(expected / clip.scale, axis=1).min() > 0.01  # texts mixed up would show
    assert np.ptp(expected / clip.scale, axis=0).min() > 0.005  # and pictures


def test_pictures_are_read_a_batch_at_a_time(clip: LoadedClip) -> None:
    opened, seen = [0], []

    def stream() -> Iterator[Image.Image]:
        for i in range(10):
            opened[0] += 1
            yield noise(seed=i)

    hook = clip.model.vision_model.register_forward_hook(lambda *_: seen.append(opened[0]))
    rows = image_features(clip, stream(), batch_size=4)
    hook.remove()
    assert seen == [4, 8, 10] and rows.shape == (10, clip.dimension)
    assert np.allclose(rows, image_features(clip, [noise(seed=i) for i in range(10)]), atol=1e-6)
    assert image_features(clip, []).shape == (0, 64) and text_features(clip, []).shape == (0, 64)


def test_every_kind_of_picture_is_read(clip: LoadedClip) -> None:
    picture = noise(100, 70)
    plain = image_features(clip, [picture])[0]
    assert np.allclose(image_features(clip, [picture.convert("RGBA")])[0], plain, atol=1e-6)
    grey, same = image_features(clip, [picture.convert("L"), picture.convert("L").convert("RGB")])
    assert np.allclose(grey, same, atol=1e-6) and not np.allclose(grey, plain, atol=1e-3)


def test_a_damaged_picture_says_which(clip: LoadedClip, tmp_path: Path) -> None:
    noise().save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    with Image.open(tmp_path / "cut.png") as cut, pytest.raises(DataError, match=r"picture 5 \(64 x 64") as caught:
        image_features(clip, [noise()] * 5 + [cut, noise()], batch_size=2)
    assert "\n" not in str(caught.value)


def test_an_empty_text_has_no_direction(clip: LoadedClip) -> None:
    rows = text_features(clip, ["red", "", " \n"])
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 0, 0])


def test_a_long_text_is_cut_and_keeps_its_end(clip: LoadedClip) -> None:
    tokenizer = clip.processor.tokenizer
    words = "boots oxfords sandals " * 60
    ids = tokenizer(words)["input_ids"]
    assert len(ids) > 150
    kept = torch.tensor([ids[:76] + [tokenizer.eos_token_id]])
    with torch.no_grad():
        expected = clip.model.get_text_features(input_ids=kept).pooler_output[0]
    expected = (expected / expected.norm()).numpy()
    assert np.allclose(text_features(clip, ["red", words])[1], expected, atol=1e-5)


# ---------- loading
def test_loaded_as_saved(clip: LoadedClip, folder: Path) -> None:
    assert not clip.model.training and clip.dtype == "float32" and clip.source.origin == "local"
    kept = load_file(folder / "model.safetensors")
    assert all(torch.equal(kept[name], weight) for name, weight in clip.model.state_dict().items())
    assert clip.scale == pytest.approx(1 / 0.07, rel=1e-3)
    processor = AutoProcessor.from_pretrained(folder)
    again = processor(images=noise(90, 70), text=CAPTIONS[0], return_tensors="pt")
    ours = clip.processor(images=noise(90, 70), text=CAPTIONS[0], return_tensors="pt")
    assert torch.equal(again["pixel_values"], ours["pixel_values"])
    assert torch.equal(again["input_ids"], ours["input_ids"])


def test_sixteen_bits_give_unit_rows_too(folder: Path, clip: LoadedClip) -> None:
    half = load_clip(str(folder), dtype="bfloat16")
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    for rows, plain in (
        (image_features(half, [noise()]), image_features(clip, [noise()])),
        (text_features(half, CAPTIONS[:3]), text_features(clip, CAPTIONS[:3])),
    ):
        assert rows.dtype == np.float32 and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert (rows * plain).sum(1).min() > 0.99


def test_files_of_the_older_form_are_read(folder: Path, clip: LoadedClip, tmp_path: Path) -> None:
    """As the Hub has them: sizes as single numbers, end token 2, the old name of the processor."""
    pictures = {
        "feature_extractor_type": "CLIPFeatureExtractor", "size": 64, "crop_size": 64, "do_center_crop": True,
        "do_normalize": True, "do_resize": True, "resample": 3, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    clip.processor.tokenizer.save_pretrained(tmp_path)
    for name, content in {"config.json": config, "preprocessor_config.json": pictures}.items():
        (tmp_path / name).write_text(json.dumps(content))
    save_file(clip.model.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    older = load_clip(str(tmp_path), dtype="float32")
    assert older.model.config.text_config.eos_token_id == 2
    images = [noise(90, 70), noise(30, 100)]
    assert np.allclose(image_features(older, images), image_features(clip, images), atol=1e-6)
    assert np.allclose(text_features(older, CAPTIONS[:5]), text_features(clip, CAPTIONS[:5]), atol=1e-6)


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(ModelError, match="tiny/llama is of kind 'llama', not a CLIP") as caught:
        load_clip("tiny/llama")
    assert CLIP in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="not on this machine and the Hub cannot be reached") as caught:
        load_clip()
    assert CLIP in str(caught.value)
