"""Access tokens from where a reader keeps them: the environment, Colab's and Kaggle's secrets. Never printed.

A hosted service hands out a secret only when asked, Colab through the browser page: with nobody at the page that
call never returns, so it is made only where a page is attached. Standard library only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from helpers.sources.network import in_time

HUB = "HF_TOKEN"
WAIT = 10.0  # seconds; without Internet Kaggle's own client waits 40

# Where a secret is kept, and how to give one. "" is every other machine.
WHERE = {
    "colab": "Colab: the key symbol on the left > Add new secret {name}, switch Notebook access on, run the cell again",
    "kaggle": "Kaggle: Add-ons > Secrets > add {name} and tick it (Internet must be on), run the cell again",
    "": "type: export {name}=... before starting Python",
}


def hosted_on() -> str:
    """ "kaggle", "colab" or "" (neither), from the variables those services set for every notebook."""
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):  # first: Kaggle's image is made from Colab's
        return "kaggle"
    return "colab" if os.environ.get("COLAB_RELEASE_TAG") else ""


def headless() -> bool:
    """Nobody watches this kernel: a script, papermill, nbconvert, ``helpers run``.

    Those start Colab's own kernel too, so the shell's class is not enough: a client without a page forbids input.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    batch = os.environ.get("KAGGLE_KERNEL_RUN_TYPE") == "Batch"
    other = hosted_on() == "colab" and "google.colab" not in str(type(shell))  # no page answers such a kernel
    return batch or other or not getattr(getattr(shell, "kernel", None), "_allow_stdin", False)


def find(name: str = HUB) -> str:
    """The secret called ``name``, "" when there is none; found in a service's store it goes into the environment.

    Never raises, and never waits for a person: see ``headless``.
    """
    if os.environ.get(name):
        return os.environ[name]
    platform, value = hosted_on(), ""
    if platform == "kaggle":  # over the network, which may be off or slow
        value = in_time([lambda: _from_store(name, platform)], WAIT)[0] or ""
    elif platform == "colab" and not headless():
        value = _from_store(name, platform)
    if value:
        os.environ[name] = value
    return value


def how_to_set(name: str = HUB, platform: str | None = None) -> str:
    """What to do to set a secret on this platform, or on the one named."""
    place = hosted_on() if platform is None else platform
    return WHERE.get(place, WHERE[""]).format(name=name)


def stored_hub_token() -> str:
    """The Hub's token without asking anybody: from the environment, or where ``hf auth login`` leaves it."""
    for name in (HUB, "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return os.environ[name].strip()
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    try:
        return Path(os.environ.get("HF_TOKEN_PATH") or home / "token").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def settle_hub_token() -> None:
    """Find HF_TOKEN for the Hub's client, and keep that from waiting for an absent page on its own."""
    found = find(HUB)
    if hosted_on() == "colab" and not found and headless() and not stored_hub_token():
        os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


def _from_store(name: str, platform: str) -> str:
    """A secret of Kaggle or Colab, which asks its user; "" when it is absent or refused, or the network is off."""
    try:
        if platform == "kaggle":
            from kaggle_secrets import UserSecretsClient  # type: ignore[import-not-found]

            return str(UserSecretsClient().get_secret(name) or "")
        from google.colab import userdata  # type: ignore[import-not-found]

        return str(userdata.get(name) or "")
    except Exception:  # their own kinds and those of urllib share no base class
        return ""
