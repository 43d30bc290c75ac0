"""CLIP features of many pictures: in batches, in bounded memory, kept on disk as they are made.

Each batch becomes one file of the cache folder, complete or absent, named after the pictures it covers. A run that
was killed continues with the first picture that no file covers. A picture that cannot be read is counted and left out;
it does not end the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPModel

from helpers.adapters.compositional.features import ImageFeatures, image_features
from helpers.errors import DataError
from helpers.files import write_atomic
from helpers.machine.out_of_memory import explained
from helpers.models import fingerprint
from helpers.progress import each
from helpers.sources.pictures import as_rgb

SHOWN = 20  # names of unreadable pictures that are kept
INDEX = "cache.json"
# What decoders raise on broken files; anything else is a bug and is not taken for a broken picture.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)


@dataclass(frozen=True, eq=False)
class ImageEmbeddings:
    """Features of the pictures that could be read.

    Attributes:
        folder: where they are kept.
        rows: (n,) position of each among the sources, ascending.
        vectors: (n, d) float32, not normalised.
        unreadable: names of the first 20 pictures that could not be read, with the reason.
        n_unreadable: how many there are.
        n_embedded: pictures read and embedded in this run; the others came from the cache.
        seconds: what these took, reading and writing included.
    """

    folder: Path
    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    unreadable: list[str]
    n_unreadable: int
    n_embedded: int
    seconds: float
    files: list[Path] = field(repr=False, default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images_per_second(self) -> float | None:
        """Speed of this run; ``None`` if all came from the cache."""
        return self.n_embedded / self.seconds if self.n_embedded and self.seconds > 0 else None

    def features(self) -> ImageFeatures:
        """For ``CSP`` and ``Troika``, with patches where they were kept; those need (1 + patches) d numbers a picture.

        Rows are those of `rows`: pick labels by it.
        """
        from safetensors.numpy import load_file

        parts = [part["patches"] for part in map(load_file, self.files) if "patches" in part]
        patches = torch.from_numpy(np.concatenate(parts)) if parts else None
        return ImageFeatures(torch.from_numpy(self.vectors), patches)


@explained("embedding pictures")
def embed_images(
    clip: CLIPModel,
    processor: Any,
    sources: Sequence[Any],
    folder: Path | str,
    *,
    names: Sequence[str] | None = None,
    patches: bool = False,
    batch_size: int = 64,
) -> ImageEmbeddings:
    """Embed pictures, or read what of them is in `folder`; memory holds one batch and the vectors.

    Args:
        processor: the model's image processor, or the processor that holds it.
        sources: paths or PIL images; anything that yields one at a time when indexed, such as a column of a data set,
            whose reading may fail for single pictures.
        folder: the cache; made if absent. One model, one list of pictures.
        names: of the pictures, to recognise them by; may be left out for paths, which are told apart by path and size.
        patches: keep one vector a patch as well, in float16 (ViT-B/32: 51 KB a picture).
        batch_size: pictures a pass, and a file.

    Raises:
        DataError: the folder holds something else, another model's features or other pictures; a source is neither
            path nor picture; there is no picture, or none can be read.
        RunError: a file cannot be written; what is there stays, and the same call goes on.
    """
    folder, n = Path(folder), len(sources)
    keys = _keys(sources, names)
    if not n:
        raise DataError("there is no picture to embed", "check the path or the split")
    image_processor = getattr(processor, "image_processor", processor)
    _open(folder, clip, image_processor, patches)
    training = clip.training
    clip.eval()
    begun, embedded = time.monotonic(), 0
    files: list[Path] = []
    try:
        spans = _spans(folder, n, batch_size)
        for start, stop, file in each("embedding pictures", spans, n, lambda span: span[1] - span[0]):
            if file is None:
                file = folder / f"{start:08d}-{stop:08d}.safetensors"
                embedded += _embed(clip, image_processor, sources, keys, start, stop, patches, file)
            files.append(file)
    finally:
        clip.train(training)
    seconds = time.monotonic() - begun
    return _gather(folder, files, keys, embedded, seconds)


def _gather(folder: Path, files: list[Path], keys: list[str], embedded: int, seconds: float) -> ImageEmbeddings:
    """Read the files back, without their patches."""
    from safetensors import SafetensorError, safe_open

    rows, vectors, bad = [], [], []
    for file in files:
        start, stop = _span(file)
        try:
            with safe_open(str(file), framework="np") as saved:
                about = json.loads(saved.metadata()["about"])
                rows.append(saved.get_tensor("rows"))
                vectors.append(saved.get_tensor("vectors"))
        except (OSError, SafetensorError) as error:
            raise DataError(f"{file} cannot be read ({error})", "delete this file and run again") from error
        if about["pictures"] != _digest(keys[start:stop]):
            raise DataError(
                f"{folder} holds features of other pictures", "choose another folder, or delete this one to start anew"
            )
        bad += about["unreadable"]
    if not sum(map(len, rows)):
        raise DataError(
            f"none of {len(keys):,} pictures can be read ({bad[0]})",
            f"check the files, and delete {folder}, which remembers them, before the next try",
        )
    return ImageEmbeddings(
        folder, np.concatenate(rows), np.concatenate(vectors), bad[:SHOWN], len(bad), embedded, seconds, files
    )


def _embed(
    clip: CLIPModel, processor: Any, sources: Any, keys: list[str], start: int, stop: int, patches: bool, file: Path
) -> int:
    """Embed the pictures from `start` to before `stop` into `file`; how many could be read."""
    from safetensors.numpy import save

    rows, pixels, bad = [], [], []
    for i in range(start, stop):
        try:
            picture = _read(sources, i)
            pixels.append(processor(images=picture, return_tensors="pt")["pixel_values"])
            rows.append(i)
        except UNREADABLE as error:
            bad.append(f"{keys[i].partition(chr(0))[0]}: {type(error).__name__} {error}"[:300])
    width = clip.config.projection_dim
    tensors = {"rows": np.array(rows, dtype=np.int64), "vectors": np.empty((0, width), dtype=np.float32)}
    if rows:
        found = image_features(clip, torch.cat(pixels), patches=patches)
        # Contiguous: safetensors writes the memory behind a numpy view, not the view.
        tensors["vectors"] = np.ascontiguousarray(found.vectors.cpu().numpy())
        if found.patches is not None:
            tensors["patches"] = np.ascontiguousarray(found.patches.to(torch.float16).cpu().numpy())
    # One entry: safetensors writes several in any order, and equal runs should leave equal files.
    about = json.dumps({"pictures": _digest(keys[start:stop]), "unreadable": bad}, ensure_ascii=False)
    write_atomic(file, save(tensors, metadata={"about": about}))
    return len(rows)


def _read(sources: Sequence[Any], i: int) -> Any:
    """A decoded RGB picture.

    Raises:
        DataError: the source is neither a path nor a picture.
        OSError, ValueError, …: it cannot be read.
    """
    from PIL import Image

    try:
        source = sources[i]
        if isinstance(source, (str, os.PathLike)):
            with Image.open(source) as opened:
                return as_rgb(opened)
        if isinstance(source, Image.Image):
            return as_rgb(source)
    except Image.DecompressionBombError as error:  # a class of its own
        raise ValueError(str(error)) from error
    if source is None:
        raise ValueError("there is no picture")
    raise DataError(f"a {type(source).__name__} is neither a path nor a picture", "give paths or PIL images")


def _keys(sources: Sequence[Any], names: Sequence[str] | None) -> list[str]:
    """What each picture is recognised by: its name, or path and size."""
    if names is not None:
        if len(names) != len(sources):
            raise DataError(f"there are {len(sources):,} pictures and {len(names):,} names", "give one name a picture")
        return [str(name) for name in names]
    keys = []
    for source in sources:
        if not isinstance(source, (str, os.PathLike)):
            raise DataError("pictures that are not paths cannot be recognised again", "give their names")
        path = Path(source)
        keys.append(f"{path}\0{path.stat().st_size if path.is_file() else 'absent'}")
    return keys


def _digest(keys: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]


def _open(folder: Path, clip: CLIPModel, processor: Any, patches: bool) -> None:
    """Make the cache, or check that it is of the same model, processor and kind."""
    described = json.dumps(processor.to_dict(), sort_keys=True, default=str)
    wanted = {
        "model": fingerprint(clip),
        "processor": hashlib.sha256(described.encode()).hexdigest()[:16],
        "patches": patches,
    }
    index = folder / INDEX
    if not index.exists():
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise DataError(f"{folder} is not empty and no cache of features", "choose another folder")
        write_atomic(index, json.dumps(wanted).encode())
        return
    try:
        found = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{index} cannot be read ({error})", "delete the folder to start anew") from error
    other = [name for name, value in wanted.items() if found.get(name) != value]
    if other:
        raise DataError(
            f"{folder} holds features made otherwise ({', '.join(other)} differ)",
            "choose another folder, or delete this one to start anew",
        )


def _spans(folder: Path, n: int, batch_size: int) -> Iterator[tuple[int, int, Path | None]]:
    """Stretches of 0…n in order, with the file that covers each or ``None``."""
    covered: dict[int, tuple[int, Path]] = {}
    for file in sorted(folder.glob("*-*.safetensors")):
        start, stop = _span(file)
        covered[start] = (stop, file)  # of two with one start, the longer one comes last
    place = 0
    while place < n:
        if place in covered:
            stop, path = covered[place]
            yield place, stop, path
        else:
            stop = min([place + batch_size, n, *(start for start in covered if start > place)])
            yield place, stop, None
        place = stop


def _span(file: Path) -> tuple[int, int]:
    start, _, stop = file.stem.partition("-")
    return int(start), int(stop)
