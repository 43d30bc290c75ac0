"""What the Hugging Face Hub refuses or breaks off, in one line: what, why, what to type. Standard library only.

Errors are told by their type's name and by the HTTP status they carry, so that nothing is imported to read one and
those that transformers wraps into an OSError read the same.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from helpers.sources import tokens

TOKENS = "https://huggingface.co/settings/tokens"
STATUS = "https://status.huggingface.co"
BUSY = (408, 429, 500, 502, 503, 504)  # may pass: worth asking again

# Models of the published projects whose licence has to be accepted on the Hub first -> one to use meanwhile.
GATED = {
    "meta-llama/Llama-2-7b-chat-hf": "NousResearch/Llama-2-7b-chat-hf",
    "meta-llama/Llama-2-7b-hf": "NousResearch/Llama-2-7b-hf",
    "google/paligemma-3b-pt-224": "Qwen/Qwen2-VL-2B-Instruct",
}


def page(repo: str, kind: str) -> str:
    """Address of a repository's page, where its licence is accepted."""
    return f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def names(error: BaseException) -> set[str]:
    """Names of the classes of an error and of what led to it."""
    return {kind.__name__ for link in chain(error) for kind in type(link).__mro__}


def status_of(error: BaseException) -> int | None:
    """HTTP status that an error, or what led to it, carries."""
    for link in chain(error):
        status = getattr(getattr(link, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def asked_to_wait(error: BaseException) -> int | None:
    """Seconds of a Retry-After header, None where there is none."""
    for link in chain(error):
        value = getattr(getattr(link, "response", None), "headers", {}).get("Retry-After", "")
        if str(value).isdigit():
            return int(value)
    return None


def may_pass(error: BaseException) -> bool:
    """Whether the same request may work in a moment: the Hub is busy, or a connection broke."""
    if status_of(error) is not None:
        return status_of(error) in BUSY
    text = " ".join(str(link) for link in chain(error))
    return bool(names(error) & {"TransportError", "TimeoutException", "ConnectionError"}) or "Consistency" in text


def explain(error: BaseException, repo: str, kind: str = "model") -> tuple[str, str]:
    """What went wrong with a repository, and what to do about it.

    Args:
        kind: "model" or "dataset".
    """
    status, kinds = status_of(error), names(error)
    said = " ".join(" ".join(str(link) for link in chain(error)).split())
    noun = "data set" if kind == "dataset" else "model"
    if "OfflineModeIsEnabled" in kinds:
        return f"{noun} {repo} is not completely on this machine, and offline mode is set", (
            "connect and unset HF_HUB_OFFLINE and PEFT_LAB_OFFLINE"
        )
    if "Invalid credentials" in said or "InvalidToken" in kinds:
        return "the Hub does not accept this HF_TOKEN", f"make a new one at {TOKENS}, or unset HF_TOKEN"
    wrapped = "You are trying to access a gated repo" in said  # by transformers
    if "GatedRepoError" in kinds or wrapped:
        return _gated(repo, kind, said if status is None else str(status))
    if "RepositoryNotFoundError" in kinds or (status == 401 and "RevisionNotFoundError" not in kinds):
        here = ", and no file or folder of that name here" if kind == "dataset" else ""
        return f"there is no public {noun} {repo} on the Hub{here}", (
            f"check the spelling on {page(repo, kind)}; a private one needs HF_TOKEN"
        )
    if status == 404:
        return (
            f"{repo} on the Hub lacks a file that is needed (404)",
            f"see what it holds on {page(repo, kind)}/tree/main",
        )
    if status == 403:
        return f"the Hub refuses {noun} {repo} (403)", (
            f"check on {page(repo, kind)} that this account may read it, and the permissions of HF_TOKEN"
        )
    if status == 429:
        seconds = asked_to_wait(error)
        when = f"in {seconds} s" if seconds else "in some minutes"
        return f"the Hub gets too many requests from here (429): {repo} was not fetched", (
            f"run this again {when}; the limit is higher with HF_TOKEN"
        )
    if status is not None and status >= 500:
        return f"the Hub fails ({status}) and {repo} could not be fetched, also when asked again", (
            f"run this again later; {STATUS} says when it is up"
        )
    if _disk_full(error):
        place = os.environ.get("HF_HOME", "~/.cache/huggingface")
        return f"the disk is full: {repo} could not be stored in {place}", "free some space, or set HF_HOME elsewhere"
    if "TimeoutException" in kinds or "Timeout" in kinds:
        return f"the Hub stopped sending: {repo} was not fetched completely and is not used", (
            "run this again; a slow line needs HF_HUB_DOWNLOAD_TIMEOUT=60 (seconds) in the environment"
        )
    if kinds & {"TransportError", "NetworkError", "ConnectionError", "ProtocolError"} or "Consistency check" in said:
        return f"the connection to the Hub broke: {repo} was not fetched completely and is not used", (
            "check the connection and run this again; what has arrived whole is kept"
        )
    return f"{repo} could not be loaded: {said[:200]}", "check the name, or your connection to the Hub"


def in_short(error: BaseException) -> str:
    """Why the Hub did not answer, in a few words."""
    status = status_of(error)
    if status is not None:
        return "too many requests, 429" if status == 429 else f"it fails, {status}"
    return "no answer in time" if "TimeoutException" in names(error) else "no connection"


def _gated(repo: str, kind: str, status: str) -> tuple[str, str]:
    cure = (
        f"accept the licence on the page {page(repo, kind)}, make a token of that account ({TOKENS}) and set HF_TOKEN"
    )
    why = "this account has no access"
    if "403" in status:
        why = "the account of this HF_TOKEN has no access, or not yet"
        cure = f"accept the licence on the page {page(repo, kind)} and wait for the answer"
    elif not os.environ.get("HF_TOKEN"):
        why = "no HF_TOKEN is set"
        cure += f" ({tokens.how_to_set()})"
    stand_in = GATED.get(repo)
    return f"{repo} is gated and {why}", cure + (f"; or use the ungated model_id={stand_in!r}" if stand_in else "")


def _disk_full(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(isinstance(link, OSError) and link.errno in full for link in chain(error))
