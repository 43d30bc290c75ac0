"""The network: whether it may be asked, and questions to it with a limit of time. Standard library only."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def offline(hub: bool = False) -> bool:
    """Whether the user forbids downloads with ``PEFT_LAB_OFFLINE=1``; for the Hub also with ``HF_HUB_OFFLINE=1``."""
    names = ("PEFT_LAB_OFFLINE", "HF_HUB_OFFLINE") if hub else ("PEFT_LAB_OFFLINE",)
    return any(os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"} for name in names)


def in_time(questions: Sequence[Callable[[], T]], seconds: float) -> list[T | None]:
    """Answers of functions that run side by side; None for what is not there in time.

    Threads, because looking up a name on a dead network has no time limit of its own.
    """
    answers: list[T | None] = [None] * len(questions)

    def ask(place: int) -> None:
        answers[place] = questions[place]()

    threads = [threading.Thread(target=ask, args=(place,), daemon=True) for place in range(len(questions))]
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return list(answers)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect to the file's storage means that access is granted; there is no need to go there."""

    def redirect_request(self, *_: Any) -> None:
        return None


def hub_status(path: str = "", token: str = "", timeout: float = 3.0) -> int | None:
    """HTTP status of a HEAD request to the Hub, redirects not followed; None when it cannot be reached."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/") + f"/{path}"
    try:
        request = urllib.request.Request(address.rstrip("/"), method="HEAD")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.build_opener(_Stay).open(request, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
    except Exception:  # no route, no name, blocked sockets, nonsense for an answer: all mean "not reachable"
        return None


def hub_reachable(timeout: float = 2.0) -> bool:
    """Whether the Hub answers within ``timeout`` seconds; False when told to stay offline."""
    if offline(hub=True):
        return False
    (status,) = in_time([lambda: hub_status(timeout=timeout)], timeout + 0.5)
    # 403 and 407 are those of a proxy. A Hub that is busy or failing is there: fetching waits and tries again.
    return status not in (None, 403, 407)
