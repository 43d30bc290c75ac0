"""Cached embeddings of pictures: the model's own, resumed after a kill, in bounded memory, broken pictures counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import compositional_cases as cases
import numpy as np
import pytest
import torch
from PIL import Image

from helpers.adapters.compositional import embed_images
from helpers.adapters.compositional.embeddings import ImageEmbeddings
from helpers.adapters.compositional.features import image_features
from helpers.errors import DataError, RunError

TOKENIZER = cases.tokenizer(end=3)
CLIP = cases.clip(TOKENIZER)
PROCESSOR = cases.image_processor()
N = 23


class Pictures:
    """Pictures that are made when they are asked for; what was asked for is counted, and one may end the run."""

    def __init__(self, n: int = N, dies_at: int | None = None) -> None:
        self.n, self.dies_at = n, dies_at
        self.asked: Counter[int] = Counter()

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Image.Image:
        if i == self.dies_at:
            raise KeyboardInterrupt
        self.asked[i] += 1
        return cases.picture(i)


NAMES = [f"shoe {i}" for i in range(N)]


def embed(sources: Any, folder: Path, clip: Any = CLIP, **options: Any) -> ImageEmbeddings:
    settings = {"names": NAMES[: len(sources)], "batch_size": 5} | options
    return embed_images(clip, PROCESSOR, sources, folder, **settings)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_vectors_are_the_models_own(tmp_path: Path) -> None:
    found = embed(Pictures(), tmp_path / "cache")
    pixels = PROCESSOR(images=[cases.picture(i) for i in range(N)], return_tensors="pt")["pixel_values"]
    assert np.allclose(found.vectors, image_features(CLIP, pixels).vectors, atol=1e-5)
    assert found.vectors.dtype == np.float32 and found.rows.tolist() == list(range(N)) and len(found) == N
    assert (found.n_embedded, found.n_unreadable, found.unreadable) == (N, 0, [])
    assert found.images_per_second == pytest.approx(N / found.seconds)
    features = found.features()
    assert features.patches is None and torch.equal(features.vectors, torch.from_numpy(found.vectors))


def test_a_second_run_reads_no_picture(tmp_path: Path) -> None:
    first, again = embed(Pictures(), tmp_path / "cache"), Pictures()
    found = embed(again, tmp_path / "cache")
    assert not again.asked and np.array_equal(found.vectors, first.vectors)
    assert found.n_embedded == 0 and found.images_per_second is None


def test_patches_are_kept_beside_the_same_vectors(tmp_path: Path) -> None:
    found = embed(Pictures(), tmp_path / "cache", patches=True)
    pixels = PROCESSOR(images=[cases.picture(i) for i in range(N)], return_tensors="pt")["pixel_values"]
    own = image_features(CLIP, pixels, patches=True)
    kept = found.features()
    assert torch.allclose(kept.vectors, own.vectors, atol=1e-5)
    assert kept.patches is not None and kept.patches.dtype == torch.float16 and kept.patches.shape == own.patches.shape
    assert torch.allclose(kept.patches.float(), own.patches, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("patches", [False, True])
@pytest.mark.parametrize("dies_at", [0, 7, 22])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, dies_at: int, patches: bool) -> None:
    whole = embed(Pictures(), tmp_path / "whole", patches=patches)
    killed, rest = Pictures(dies_at=dies_at), Pictures()
    with pytest.raises(KeyboardInterrupt):
        embed(killed, tmp_path / "killed", patches=patches)
    found = embed(rest, tmp_path / "killed", patches=patches)
    assert np.array_equal(found.vectors, whole.vectors) and files(tmp_path / "killed") == files(tmp_path / "whole")
    assert found.n_embedded == N - dies_at // 5 * 5 == len(rest.asked)
    # Read in both runs: only what was waiting in the batch that never reached the model.
    assert set(killed.asked) & set(rest.asked) == set(range(dies_at // 5 * 5, dies_at))


def test_holes_and_another_batch_size(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    whole = embed(Pictures(), folder)
    (folder / "00000005-00000010.safetensors").unlink()
    (folder / "00000020-00000023.safetensors").unlink()
    again = Pictures()
    found = embed(again, folder, batch_size=4)
    assert set(again.asked) == {5, 6, 7, 8, 9, 20, 21, 22}
    assert np.allclose(found.vectors, whole.vectors, atol=1e-5) and found.rows.tolist() == list(range(N))


def written(folder: Path, n: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{i}.png" for i in range(n)]
    for i, path in enumerate(paths):
        cases.picture(i, 24).save(path)
    return paths


def test_broken_pictures_are_counted_and_left_out(tmp_path: Path) -> None:
    paths = written(tmp_path / "pictures", N)
    whole = embed(paths, tmp_path / "whole", names=None)
    paths[3].write_bytes(paths[3].read_bytes()[:60])  # cut off
    paths[4].write_text("no picture")
    paths[5].unlink()
    paths[6].write_bytes(b"")
    paths[8].write_bytes(paths[8].read_bytes()[:-30] + b"x" * 30)  # damaged near its end
    found = embed(paths, tmp_path / "cache", names=None)
    good = [i for i in range(N) if i not in (3, 4, 5, 6, 8)]
    assert found.rows.tolist() == good and found.n_unreadable == 5 and found.n_embedded == N - 5
    assert np.allclose(found.vectors, whole.vectors[good], atol=1e-5)
    assert [name.partition(":")[0] for name in found.unreadable] == [str(paths[i]) for i in (3, 4, 5, 6, 8)]
    assert "No such file" in found.unreadable[2]
    again = embed(paths, tmp_path / "cache", names=None)
    assert (again.n_unreadable, again.unreadable, again.n_embedded) == (5, found.unreadable, 0)


def test_a_column_with_broken_and_missing_pictures(tmp_path: Path) -> None:
    """As a data set gives them: decoded when read, so reading itself fails."""
    from io import BytesIO

    from datasets import Dataset, Features
    from datasets import Image as ImageFeature

    def encoded(i: int) -> dict[str, Any]:
        buffer = BytesIO()
        cases.picture(i).save(buffer, "png")
        return {"bytes": buffer.getvalue(), "path": None}

    rows: list[Any] = [encoded(i) for i in range(12)]
    rows[2], rows[7] = None, {"bytes": b"broken", "path": None}
    column = Dataset.from_dict({"image": rows}, features=Features({"image": ImageFeature()}))["image"]
    found = embed(column, tmp_path / "cache")
    assert found.n_unreadable == 2 and found.rows.tolist() == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
    assert found.unreadable[0].startswith("shoe 2: ") and found.unreadable[1].startswith("shoe 7: ")
    assert np.allclose(found.vectors, embed(Pictures(), tmp_path / "whole").vectors[found.rows], atol=1e-5)


def test_the_list_of_broken_pictures_is_capped(tmp_path: Path) -> None:
    found = embed([*[None] * 45, cases.picture(0)], tmp_path / "cache", names=[str(i) for i in range(46)])
    assert found.n_unreadable == 45 and len(found.unreadable) == 20 and found.rows.tolist() == [45]


def test_a_cache_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    embed(Pictures(), folder)
    before = files(folder)
    with pytest.raises(DataError, match="model differ"):
        embed(Pictures(), folder, clip=cases.clip(TOKENIZER, seed=1))
    with pytest.raises(DataError, match="patches differ"):
        embed(Pictures(), folder, patches=True)
    other = cases.image_processor()
    other.image_mean = [0.5, 0.5, 0.5]
    with pytest.raises(DataError, match="processor differ"):
        embed_images(CLIP, other, Pictures(), folder, names=NAMES)
    with pytest.raises(DataError, match="other pictures"):
        embed(Pictures(), folder, names=NAMES[::-1])
    with pytest.raises(DataError, match="other pictures"):
        embed(Pictures(21), folder)
    assert files(folder) == before
    more = embed(Pictures(N + 4), folder, names=[*NAMES, "a", "b", "c", "d"])  # new ones at the end are no matter
    assert more.n_embedded == 4 and len(more) == N + 4
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="no cache of features"):
        embed(Pictures(), strange)
    assert files(strange) == {"thesis.txt": b"mine"}


def test_a_picture_that_changed_is_noticed(tmp_path: Path) -> None:
    paths = written(tmp_path / "pictures", 6)
    embed(paths, tmp_path / "cache", names=None)
    cases.picture(9, 40).save(paths[2])
    with pytest.raises(DataError, match="other pictures"):
        embed(paths, tmp_path / "cache", names=None)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture to embed"):
        embed([], tmp_path / "a")
    with pytest.raises(DataError, match="give their names"):
        embed(Pictures(), tmp_path / "b", names=None)
    with pytest.raises(DataError, match="23 pictures and 22 names"):
        embed(Pictures(), tmp_path / "b", names=NAMES[1:])
    with pytest.raises(DataError, match="int is neither a path nor a picture"):
        embed([cases.picture(0), 3], tmp_path / "c")
    with pytest.raises(DataError, match="none of 2 pictures can be read .*absent"):
        embed([tmp_path / "absent", tmp_path / "gone"], tmp_path / "d", names=None)
    folder = tmp_path / "e"
    embed(Pictures(), folder)
    (folder / "00000005-00000010.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match="00000005-00000010.safetensors cannot be read.*delete this file"):
        embed(Pictures(), folder)
    (folder / "cache.json").write_text("{")
    with pytest.raises(DataError, match="cache.json cannot be read"):
        embed(Pictures(), folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be saved"):
        embed(Pictures(), tmp_path / "file" / "cache")


# A process of its own: its memory is measured, then it is killed without a chance to tidy up.
PROGRAM = """
import json, os, signal, sys
import psutil
sys.path.insert(0, sys.argv[1])
import test_compositional_embeddings as t

class Watched(t.Pictures):
    most = 0
    def __getitem__(self, i):
        self.most = max(self.most, psutil.Process().memory_info().rss)
        return super().__getitem__(i)

class Dies(t.Pictures):
    def __getitem__(self, i):
        if i == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(i)

def peak(n, name):
    pictures = Watched(n)
    found = t.embed(pictures, t.Path(sys.argv[2]) / name, names=[str(i) for i in range(n)], batch_size=64)
    assert len(found) == n
    return max(pictures.most, psutil.Process().memory_info().rss) / 2**20

print(json.dumps({"few": peak(320, "few"), "many": peak(3200, "many")}), flush=True)
t.embed(Dies(), t.Path(sys.argv[2]) / "killed")
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], Path]:
    folder = tmp_path_factory.mktemp("process")
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1]), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr[-800:]
    return json.loads(done.stdout.splitlines()[-1]), folder / "killed"


def test_memory_does_not_grow_with_the_number_of_pictures(process: tuple[dict[str, float], Path]) -> None:
    """2,880 pictures more: 2 MB as pictures, 9 MB as pixels, more with what the tower makes of them; kept: 0.4 MB."""
    assert process[0]["many"] - process[0]["few"] < 6


def test_a_process_that_is_killed_loses_at_most_a_batch(process: tuple[dict[str, float], Path], tmp_path: Path) -> None:
    folder = process[1]
    done = sorted(path.name for path in folder.glob("*.safetensors"))
    assert done == ["00000000-00000005.safetensors", "00000005-00000010.safetensors"]
    rest = Pictures()
    found = embed(rest, folder)
    assert set(rest.asked) == set(range(10, N)) and set(rest.asked.values()) == {1}
    whole = embed(Pictures(), tmp_path / "whole")
    assert np.array_equal(found.vectors, whole.vectors) and files(folder) == files(tmp_path / "whole")
