"""Pictures of every mode come out as a viewer shows them, the same in every lesson."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers import tasks
from helpers.adapters.compositional.embeddings import _read
from helpers.errors import DataError
from helpers.sources.pictures import as_rgb, remarks

RAMP = np.linspace(0, 255, 32 * 48).reshape(32, 48)
GRAY = RAMP.astype(np.uint8)
DEEP = np.linspace(0, 65535, 32 * 48).reshape(32, 48)


def reopened(image: Image.Image, kind: str, **how: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    buffer.seek(0)
    return Image.open(buffer)


def clear(mode: str) -> Image.Image:
    """The ramp, its upper half transparent."""
    image = Image.fromarray(GRAY).convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([0, 255], 16 * 48).reshape(32, 48).astype(np.uint8)))
    return image.convert(mode)


def still() -> dict[str, Any]:
    """What a writer of moving pictures needs."""
    return {"save_all": True, "append_images": [Image.new("L", (48, 32), 9).convert("RGB")]}


PICTURES = {
    "16 bits, PNG": lambda: reopened(Image.fromarray(DEEP.astype(np.uint16)), "PNG"),
    "16 bits, TIFF": lambda: reopened(Image.fromarray(DEEP.astype(np.uint16)), "TIFF"),
    "16 bits, other order": lambda: Image.frombytes("I;16B", (48, 32), DEEP.astype(">u2").tobytes()),
    "12 bits in 16": lambda: reopened(Image.fromarray((DEEP / 16).astype(np.uint16)), "TIFF"),
    "32 bits": lambda: reopened(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
    "32 bits, large": lambda: Image.fromarray((DEEP * 1000).astype(np.int32)),
    "32 bits, negative": lambda: Image.fromarray((DEEP - 1024).astype(np.int32)),
    "fractions": lambda: reopened(Image.fromarray((DEEP / 65535).astype(np.float32)), "TIFF"),
    "fractions to 255": lambda: reopened(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    "CMYK": lambda: Image.fromarray(GRAY).convert("CMYK"),
    "YCbCr": lambda: Image.fromarray(GRAY).convert("RGB").convert("YCbCr"),
    "palette": lambda: reopened(Image.fromarray(GRAY).convert("P"), "PNG"),
    "GIF": lambda: reopened(Image.fromarray(GRAY), "GIF", **still()),
    "WebP": lambda: reopened(Image.fromarray(GRAY).convert("RGB"), "WEBP", lossless=True, **still()),
    "TIFF of pages": lambda: reopened(Image.fromarray(GRAY).convert("RGB"), "TIFF", **still()),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_ramp_stays_a_ramp(kind: str) -> None:
    shown = np.asarray(as_rgb(PICTURES[kind]()), dtype=int)
    assert shown.shape == (32, 48, 3)
    assert np.abs(shown - GRAY[..., None].astype(int)).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La", "PA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    if mode == "PA":
        image = Image.fromarray(GRAY).convert("P").convert("PA")
        image.putalpha(clear("LA").getchannel("A"))
    else:
        image = clear({"RGBa": "RGBA", "La": "LA"}.get(mode, mode)).convert(mode)
    shown = np.asarray(as_rgb(image), dtype=int)
    assert (shown[:16] == 255).all() and np.abs(shown[16:] - GRAY[16:, :, None].astype(int)).max() <= 2


def test_transparent_colours_and_indices_become_white() -> None:
    for mode, how in (("P", 0), ("L", 0), ("RGB", (0, 0, 0)), ("1", 0), ("I;16", 0)):
        flat = Image.fromarray(np.repeat([0, 1000], 8).reshape(4, 4).astype(np.uint16)) if mode == "I;16" else None
        image = flat or Image.fromarray(np.repeat([0, 255], 8).reshape(4, 4).astype(np.uint8)).convert(mode)
        shown = np.asarray(as_rgb(reopened(image, "PNG", transparency=how)))
        assert (shown[0] == 255).all(), mode


def test_one_bit_lab_and_dark_pictures() -> None:
    assert np.asarray(as_rgb(Image.fromarray(GRAY).convert("1"))).max() == 255
    lab = Image.fromarray(np.dstack([GRAY, np.zeros_like(GRAY), np.zeros_like(GRAY)]), mode="LAB")
    shown = np.asarray(as_rgb(lab), dtype=int)
    assert shown[0, 0].max() < 5 and shown[-1, -1].min() > 245 and (np.diff(shown[..., 1].ravel()) >= -1).all()
    for dark in (np.zeros((4, 4), np.uint16), np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int32)):
        assert np.asarray(as_rgb(Image.fromarray(dark))).max() == 0
    half = np.full((4, 4), 0.5, np.float32)
    half[0, 0] = np.nan
    assert np.asarray(as_rgb(Image.fromarray(half)))[1, 1, 0] == 128


def test_a_picture_is_turned_as_its_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = as_rgb(reopened(Image.fromarray(GRAY).convert("RGB"), "PNG", exif=exif))
    assert turned.size == (32, 48)
    assert np.array_equal(np.asarray(turned)[..., 0], np.rot90(GRAY, -1))


def test_what_is_changed_is_said() -> None:
    assert remarks(PICTURES["GIF"]())[0].startswith("a picture of more than one frame")
    assert remarks(PICTURES["16 bits, PNG"]())[0].startswith("a picture of deep gray")
    assert remarks(Image.fromarray(GRAY)) == []


@pytest.mark.parametrize("kind", ["16 bits, PNG", "fractions", "cut-out", "turned"])
def test_one_file_gives_the_same_pixels_in_all_lessons(tmp_path: Path, kind: str) -> None:
    """Lesson 06 by its messages, 08 by its, 07 by the paths of its pictures and by what CLIP is given."""
    from helpers.models import clip

    path = tmp_path / "x.tiff"
    exif = Image.Exif()
    exif[0x0112] = 3
    made = {"cut-out": lambda: clear("RGBA"), "turned": lambda: Image.fromarray(GRAY).convert("RGB")} | PICTURES
    made[kind]().save(path, "TIFF", **({"exif": exif} if kind == "turned" else {}))
    wanted = np.asarray(as_rgb(Image.open(path)))
    assert len(np.unique(wanted)) > 100
    question = {"image": Image.open(path), "prompt": "What?", "completion": "This."}
    seen = [tasks.get(name).to_vision_messages(question)["images"][0] for name in ("scienceqa", "zappos")]
    seen += [_read([str(path)], 0), _read([Image.open(path)], 0)]
    given: list[Image.Image] = []
    processor = SimpleNamespace(image_processor=lambda image, **_: given.append(image) or {"pixel_values": [0]})
    clip._pixels(SimpleNamespace(processor=processor), Image.open(path), 0)  # type: ignore[arg-type]
    for picture in (*seen, *given):
        assert np.array_equal(np.asarray(picture), wanted)


def test_pictures_of_rows_are_checked_counted_and_noted(tmp_path: Path) -> None:
    import json

    rows = []
    for i in range(40):
        shifted = np.roll(DEEP, i, axis=1).astype(np.uint16)
        Image.fromarray(shifted).save(tmp_path / f"{i}.png")
        rows.append({"question": f"Is it {i}?", "choices": ["yes", "no"], "answer": i % 2, "image": f"{i}.png"})
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    bomb = Image.new("1", (20_000, 20_000))
    bomb.save(tmp_path / "2.png")
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = tasks.get("scienceqa").load(8, 8, str(tmp_path / "q.jsonl"))
    assert splits.report.dropped == {"image unreadable": 2}
    assert any(note.startswith("38 rows have a picture of deep gray") for note in splits.report.notes)
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"none")
    with pytest.raises(DataError, match="none of the 40 rows .* can be used: 40 image unreadable"):
        tasks.get("scienceqa").load(8, 8, str(tmp_path / "q.jsonl"))
