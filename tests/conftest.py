"""Every test: no network, outputs in a temporary folder, two threads or two workers, no window.

Set here, at import, because libraries read these variables when they are imported.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from helpers.models.vision import LoadedVision

ROOT = Path(__file__).resolve().parent.parent
GUARD = ROOT / "tests" / "nonet"
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
LONGEST = (
    "test_notebooks_smoke.py", "test_notebooks_full.py", "test_cells_again.py", "test_notebooks_again.py",
    "test_own_data.py", "test_kill_points.py", "test_contributing.py", "test_benchmarks.py",
    "test_training.py", "test_sharing.py",
)  # fmt: skip  # begun first, so that no worker waits for them at the end

_scratch = tempfile.TemporaryDirectory(prefix="peft-lab-tests-", ignore_cleanup_errors=True)
NET_LOG = Path(_scratch.name, "network.log")

os.environ.update(
    PEFT_LAB_OUTPUT=str(Path(_scratch.name, "outputs")),
    PEFT_LAB_OFFLINE="1",
    PEFT_LAB_NET_LOG=str(NET_LOG),
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    # Caches of their own: nothing of the user's home decides whether a test passes.
    HF_HOME=str(Path(_scratch.name, "huggingface")),
    IPYTHONDIR=str(Path(_scratch.name, "ipython")),
    MPLCONFIGDIR=str(Path(_scratch.name, "matplotlib")),
    MPLBACKEND="Agg",
    TOKENIZERS_PARALLELISM="false",
    # Of two workers of pytest-xdist each has a core to itself.
    OMP_NUM_THREADS="1" if WORKER else os.environ.get("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1))),
    CUDA_VISIBLE_DEVICES=os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
    # Subprocesses (notebook kernels, the CLI) run the same code under the same guard.
    PYTHONPATH=os.pathsep.join([str(GUARD), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
)
for _variable in ("PEFT_LAB_FORCE", "PEFT_LAB_DTYPE", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
    os.environ.pop(_variable, None)
for _folder in (str(GUARD), str(ROOT)):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

_loaded = sys.modules.get("sitecustomize")
if not Path(str(getattr(_loaded, "__file__", ""))).is_relative_to(GUARD):  # a worker has started with ours already
    sys.modules.pop("sitecustomize", None)  # the system's own, if any, has done its work
import sitecustomize  # noqa: E402  (tests/nonet: installs the socket guard in this process)
from warm_kernels import serving  # noqa: E402

from helpers.models.families import FAMILIES  # noqa: E402

_imported = 0  # modules, when garbage was last put aside
NetworkForbidden = sitecustomize.NetworkForbidden


def attempts() -> list[str]:
    """What has tried to leave the machine so far, in this process and in those it started."""
    return NET_LOG.read_text(encoding="utf-8").splitlines() if NET_LOG.is_file() else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all else in its order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_runtest_setup() -> None:
    """Each training collects garbage: what libraries made when they were imported need not be looked at again."""
    global _imported
    if len(sys.modules) > _imported + 300:
        gc.collect()
        gc.freeze()
        _imported = len(sys.modules)


@pytest.fixture(autouse=True)
def forbid_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that tried to leave the machine, even where a library swallowed the refusal."""
    sitecustomize.install()  # again: pytest-socket, where installed, restores the original functions
    before = len(attempts())
    yield
    tried = attempts()[before:]
    if tried and not request.node.get_closest_marker("offline_attempt"):
        pytest.fail("the network was tried (mark offline_attempt if that is the point): " + "; ".join(tried[:5]))


@pytest.fixture
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="module")
def empty_caches() -> Iterator[None]:
    """Caches without anything in them: smoke needs no asset, and finds nothing that an earlier run left.

    Always the same folder, so that the same process is forked for all kernels.
    """
    folder = Path(_scratch.name, "caches")
    shutil.rmtree(folder, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEFT_LAB_CACHE", str(folder / "cache"))
        patch.setenv("HF_HOME", str(folder / "hf"))
        yield


@pytest.fixture(scope="module")
def warm_kernels() -> Iterator[None]:
    """Notebooks run in kernels that begin with their libraries imported, under the environment of this moment."""
    with serving():
        yield


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty outputs folder, which PEFT_LAB_OUTPUT names for this test."""
    folder = tmp_path / "outputs"
    monkeypatch.setenv("PEFT_LAB_OUTPUT", str(folder))
    return folder


@pytest.fixture(scope="session")
def questions() -> Any:
    """Sixty generated science questions, about half with a picture."""
    from helpers import tasks

    return tasks.get("scienceqa").load(n_train=60, n_eval=10)["train"]


@pytest.fixture(scope="session", params=[kind for kind in FAMILIES if kind != "blip-2"])
def vision_folder(request: pytest.FixtureRequest, questions: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vision-language model whose random weights are large enough for clear preferences, and its processor.

    Of every family but BLIP-2, which answers no question without a picture and has tests of its own.
    """
    import idefics3_cases
    import torch
    from vision_cases import randomise

    from helpers import tasks
    from tools.tiny import architectures
    from tools.tiny.build import train_tokenizer

    examples = tasks.get("scienceqa").examples(questions, "QTCHLS")
    tokenizer = train_tokenizer([f"{e['prompt']}\n{e['completion']}" for e in examples], 640)
    shapes = idefics3_cases if request.param == "idefics3" else architectures
    processor = getattr(shapes, f"{request.param}_processor")(tokenizer)
    torch.manual_seed(0)
    model = getattr(shapes, request.param)(tokenizer)
    randomise(model, tokenizer.eos_token_id, processor.image_token_id, stop=3)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vision(vision_folder: Path) -> LoadedVision:
    """That model, loaded in float32; whoever changes it loads another."""
    from helpers.models.vision import load_vision

    return load_vision(str(vision_folder), dtype="float32")
