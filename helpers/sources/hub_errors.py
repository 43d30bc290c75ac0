"""What the Hugging Face Hub refuses or breaks off, in one line: what, why, what to type. Standard library only.

Errors are told by their type's name and by the HTTP status they carry, so that nothing is imported to read one and
those that transformers wraps into an OSError read the same.
"""

from __future__ import annotations

import errno
import functools
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

from helpers.sources import tokens

BUSY = (408, 429, 500, 502, 503, 504)  # may pass: worth asking again

# Models of the published projects whose licence has to be accepted on the Hub first -> one to use meanwhile.
GATED = {
    "meta-llama/Llama-2-7b-chat-hf": "NousResearch/Llama-2-7b-chat-hf",
    "meta-llama/Llama-2-7b-hf": "NousResearch/Llama-2-7b-hf",
    "google/paligemma-3b-pt-224": "Qwen/Qwen2-VL-2B-Instruct",
}


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
    found = (getattr(getattr(link, "response", None), "status_code", None) for link in chain(error))
    return next((status for status in found if isinstance(status, int)), None)


def asked_to_wait(error: BaseException) -> int | None:
    """Seconds of a Retry-After header, None where there is none."""
    headers = (getattr(getattr(link, "response", None), "headers", {}) for link in chain(error))
    return next((int(value) for each in headers if (value := str(each.get("Retry-After", ""))).isdigit()), None)


def may_pass(error: BaseException) -> bool:
    """Whether the same request may work in a moment: the Hub is busy, or a connection broke."""
    if status_of(error) is not None:
        return status_of(error) in BUSY
    broke = names(error) & {"TransportError", "TimeoutException", "ConnectionError"}
    return bool(broke) or "Consistency" in _said(error)


def explain(error: BaseException, repo: str, kind: str = "model") -> tuple[str, str]:
    """What went wrong with a "model" or "dataset", and what to do about it, in the words of hub_errors.toml."""
    said, seconds = _said(error), asked_to_wait(error)
    facts = {
        "repo": repo,
        "noun": "data set" if kind == "dataset" else "model",
        "page": f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}",
        "nor_here": ", and no file or folder of that name here" if kind == "dataset" else "",
        "tokens": "https://huggingface.co/settings/tokens",
        "set_token": tokens.how_to_set(),
        "stand_in": f"; or use the ungated model_id={GATED[repo]!r}" if repo in GATED else "",
        "wait": f"{seconds} s" if seconds else "some minutes",
        "status": status_of(error),
        "place": os.environ.get("HF_HOME", "~/.cache/huggingface"),
        "said": said[:200],
    }
    words = _words()[_case(error, said)]
    return words["what"].format(**facts), words["cure"].format(**facts)


@functools.cache
def _words() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("hub_errors.toml").read_text(encoding="utf-8"))


def _said(error: BaseException) -> str:
    return " ".join(" ".join(str(link) for link in chain(error)).split())


def _case(error: BaseException, said: str) -> str:
    """Key of the words that fit an error."""
    status, kinds = status_of(error), names(error)
    if "OfflineModeIsEnabled" in kinds:
        return "offline"
    if "Invalid credentials" in said or "InvalidToken" in kinds:
        return "bad_token"
    if "GatedRepoError" in kinds or "You are trying to access a gated repo" in said:  # so wrapped by transformers
        if "403" in (said if status is None else str(status)):
            return "gated_not_yet"
        return "gated_no_access" if os.environ.get("HF_TOKEN") else "gated_without_token"
    if "RepositoryNotFoundError" in kinds or (status == 401 and "RevisionNotFoundError" not in kinds):
        return "unknown"
    if status in (403, 404, 429):
        return {403: "refused", 404: "no_file", 429: "too_many"}[status]
    if status is not None and status >= 500:
        return "fails"
    if any(isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT) for link in chain(error)):
        return "disk_full"
    if kinds & {"TimeoutException", "Timeout"}:
        return "stopped"
    broke = {"TransportError", "NetworkError", "ConnectionError", "ProtocolError"}
    return "broke" if kinds & broke or "Consistency check" in said else "other"


def in_short(error: BaseException) -> str:
    """Why the Hub did not answer, in a few words."""
    if status := status_of(error):
        return "too many requests, 429" if status == 429 else f"it fails, {status}"
    return "no answer in time" if "TimeoutException" in names(error) else "no connection"
