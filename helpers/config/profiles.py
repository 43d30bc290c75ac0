"""The three profiles: what each sets beside a lesson's own parameters, and which one can run here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

from helpers import tasks
from helpers.errors import HardwareError
from helpers.machine.problems.gpu import FULL_GPU_GB
from helpers.sources import assets
from helpers.sources.network import hub_reachable


@dataclass(frozen=True)
class Profile:
    """What a profile sets for every lesson.

    Attributes:
        language_model: of lessons that have no ``model_id``.
        embedder: of texts, for cosine scores and maps.
        scorer: the CLIP of CLIPScore.
        offline: no network is asked.
        dtype: what is computed in; "auto" is what the machine does fastest.
        cell_timeout: seconds that one cell may take when nobody watches; None for no limit.
    """

    language_model: str
    embedder: str
    scorer: str
    offline: bool
    dtype: str
    cell_timeout: int | None

    def hidden(self) -> dict[str, Any]:
        """The settings that no notebook can change."""
        return {name: getattr(self, name) for name in HIDDEN}


HIDDEN = ("embedder", "scorer", "offline", "dtype", "cell_timeout")
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
LLAMA2 = "NousResearch/Llama-2-7b-chat-hf"

PROFILES: dict[str, Profile] = {
    # tiny checkpoints, generated data, no network
    "smoke": Profile("tiny/llama", "hashing", "tiny/clip", offline=True, dtype="float32", cell_timeout=300),
    # a real pretrained model on two cores
    "cpu": Profile(SMOLLM2, "minilm", "tiny/clip", offline=False, dtype="auto", cell_timeout=2400),
    # one 16 GB GPU
    "full": Profile(LLAMA2, "minilm", "openai/clip-vit-base-patch32", offline=False, dtype="auto", cell_timeout=None),
}

# The asset that profile cpu wants; the model can also come from the Hub.
CPU_MODEL_ASSET = "smollm2-135m-instruct"


class MachineLike(Protocol):
    """The two facts about a machine that choosing a profile needs."""

    @property
    def device(self) -> str: ...
    @property
    def gpu_memory_gb(self) -> float | None: ...


def choose_profile(asked: str, task: str, dataset: str | None, machine: MachineLike) -> tuple[str, str]:
    """(profile, why). ``auto`` takes the richest one that can run on this machine.

    Raises:
        HardwareError: "full" was asked for and there is no usable GPU (PEFT_LAB_FORCE=1 overrides).
    """
    memory = machine.gpu_memory_gb or 0.0
    has_gpu = machine.device == "cuda"
    if asked == "full" and not has_gpu:
        if os.environ.get("PEFT_LAB_FORCE") != "1":
            raise HardwareError(
                "profile = 'full' needs a GPU with 16 GB, and no usable one was found here",
                "Use profile = 'cpu' or 'smoke', or switch the runtime to a GPU; PEFT_LAB_FORCE=1 tries it anyway",
            )
        return asked, "asked for; no GPU, forced by PEFT_LAB_FORCE=1"
    if asked != "auto":
        return asked, "asked for"
    if has_gpu and memory >= FULL_GPU_GB:
        return "full", f"auto: a GPU with {memory:.0f} GB"
    gpu = f"the GPU has {memory:.0f} GB, full wants 16" if has_gpu else "no GPU"
    known = tasks.TASKS.get(task)
    usual = known is not None and dataset in (None, "builtin", known.sources["cpu"])
    if known and usual and known.cpu_asset and not assets.available(known.cpu_asset):
        return "smoke", f"auto: {gpu}; the real data is not fetched (python -m helpers assets)"
    if assets.available(CPU_MODEL_ASSET):
        return "cpu", f"auto: {gpu}; the assets are in place"
    if hub_reachable():
        return "cpu", f"auto: {gpu}; the Hugging Face Hub is reachable"
    return "smoke", f"auto: {gpu}, no assets (python -m helpers assets) and no Hugging Face Hub"
