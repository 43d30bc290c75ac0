"""Files of the Hugging Face Hub: complete and equal to what the Hub says of them, or one clear error.

``fetch`` asks for the list of a repository's files with their sizes and checksums, has ``huggingface_hub`` download
what is wanted (it resumes and tries again by itself), compares each file with its checksum and only then names the
folder. Nothing is loaded from a repository that is not complete: not in this run and, as the list is kept, not in a
later one without a connection. Hashing happens once a file; a file that changed since is hashed again.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from helpers.errors import LabError
from helpers.sources.hub_cache import HubFile, Listing, Record, cache_folder, cached_lists
from helpers.sources.hub_errors import asked_to_wait, explain, in_short, may_pass, names
from helpers.sources.network import hub_reachable as hub_reachable
from helpers.sources.network import offline

WAITS = (1, 2, 4, 8)  # seconds before each further try
LONGEST_WAIT = 120  # seconds; a Hub that asks for more is reported instead
DAMAGED = 2  # times that a file may arrive with a wrong checksum before it is given up


Wanted = Callable[[list[str]], list[str]]
# After these errors of a download the client has already tried six times, up to a minute each.
SPENT = frozenset({"LocalEntryNotFoundError", "TimeoutException"})

_done: set[tuple[str, str, tuple[str, ...]]] = set()  # what this process has fetched and checked
_lists: dict[tuple[str, str], Listing] = {}


class Unreachable(Exception):
    """The Hub did not answer as it should; a complete copy on this machine may serve."""


def listing(repo: str, kind: str = "model", *, fail: type[LabError] = LabError) -> Listing:
    """What the Hub says a repository holds, asked once a process.

    Raises:
        fail: the Hub refuses: gated, no such repository, no access.
        Unreachable: offline, or the Hub fails again and again.
    """
    if (repo, kind) in _lists:
        return _lists[repo, kind]
    if offline(hub=True):
        raise Unreachable("offline mode is set")
    from huggingface_hub import HfApi, constants

    options: dict[str, Any] = {"repo_type": kind, "files_metadata": True, "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT}
    try:
        info = _patiently(lambda: HfApi().repo_info(repo, **options), repo)
    except Exception as error:  # the client's own errors and those of its transport share no base class
        if may_pass(error) or "OfflineModeIsEnabled" in type(error).__name__:
            raise Unreachable(f"the Hub could not be asked ({in_short(error)})") from error
        raise fail(*explain(error, repo, kind)) from error
    files = tuple(_described(sibling) for sibling in info.siblings or ())
    licence = str((getattr(info, "card_data", None) or {}).get("license") or "")
    return _lists.setdefault((repo, kind), Listing(repo, kind, str(info.sha), files, licence))


def fetch(repo: str, wanted: Wanted, kind: str = "model", *, fail: type[LabError] = LabError) -> Listing:
    """The wanted files of a repository, complete and checked in the ``folder`` of what is returned.

    Args:
        wanted: picks names out of all those that the repository holds.
        fail: class of the error to raise.

    Raises:
        fail: refused, not there, not to be fetched completely, or damaged again and again; or not complete on this
            machine while the Hub cannot be asked.
    """
    try:
        found = listing(repo, kind, fail=fail)
    except Unreachable as error:
        return _remembered(repo, wanted, kind, error, fail)
    chosen = found.pick(wanted)
    key = (repo, kind, tuple(file.name for file in chosen))
    if key not in _done:
        record = Record(repo, kind)
        with record.remembering():
            _collect(found, chosen, record, fail)
            if found.fresh:
                record.keep(found)
        _done.add(key)
    return found


def _described(sibling: Any) -> HubFile:
    lfs = sibling.lfs
    digest = f"sha256:{lfs.sha256}" if lfs else f"git:{sibling.blob_id}" if sibling.blob_id else ""
    return HubFile(sibling.rfilename, lfs.size if lfs else sibling.size, digest)


def _patiently(ask: Callable[[], Any], repo: str, spent: frozenset[str] = frozenset()) -> Any:
    """The answer, asked for again after a while where that may help (not after ``spent`` kinds of error)."""
    for wait in (*WAITS, None):
        try:
            return ask()
        except Exception as error:
            told = asked_to_wait(error)
            if wait is None or not may_pass(error) or names(error) & spent or (told or 0) > LONGEST_WAIT:
                raise
            if told:
                print(f"the Hub asks to wait {told} s before it gives {repo}")
            time.sleep(told or wait)
    raise AssertionError("the last try returns or raises")


def _collect(found: Listing, files: list[HubFile], record: Record, fail: type[LabError]) -> None:
    """Download and check each file."""
    if not files:
        raise fail(f"{found.repo} on the Hub holds none of the files that are needed", "check the name")
    _check_disk(found, [f for f in files if not (found.folder / f.name).exists()], fail)
    for file in files:
        try:
            _patiently(partial(_one, found, file, record, fail), f"{file.name} of {found.repo}", SPENT)
        except LabError:
            raise
        except Exception as error:  # as in ``listing``
            raise fail(*explain(error, found.repo, found.kind)) from error


def _one(found: Listing, file: HubFile, record: Record, fail: type[LabError]) -> None:
    """One file, from the client's cache or the Hub, as often as it may arrive damaged."""
    from huggingface_hub import hf_hub_download

    fault = ""
    for _ in range(DAMAGED):
        path = Path(hf_hub_download(found.repo, file.name, repo_type=found.kind, revision=found.commit))
        fault = record.fault(path, file)
        if not fault:
            return
        for part in {path.resolve(), path}:  # content and link, so that nobody finds it again
            part.unlink(missing_ok=True)
    what = f"{file.name} of {found.repo} arrived damaged {DAMAGED} times ({fault}); it is not used"
    raise fail(what, "run this again later; a proxy or mirror (HF_ENDPOINT) in between may change what it passes on")


def _check_disk(found: Listing, absent: list[HubFile], fail: type[LabError]) -> None:
    """Refuse a download that the disk cannot hold, before its first byte."""
    place = cache_folder(found.repo, found.kind)
    there = next(p for p in (place, *place.parents) if p.is_dir())
    need, free = sum(file.size or 0 for file in absent), shutil.disk_usage(there).free
    if need > free:
        what = f"{found.repo} takes {need / 1e9:.1f} GB more, the disk of {there} has {free / 1e9:.1f} GB left"
        raise fail(what, "free some space, or set HF_HOME to a folder on a larger disk")


def _remembered(repo: str, wanted: Wanted, kind: str, why: Unreachable, fail: type[LabError]) -> Listing:
    """A complete copy on this machine, as an earlier ``fetch`` or, failing that, the client's cache describes it."""
    record, missing = Record(repo, kind), ""
    for found in (*record.lists(), *cached_lists(repo, kind)):
        chosen = found.pick(wanted)
        with record.remembering():
            bad = next((f.name for f in chosen if record.fault(found.folder / f.name, f)), "")
        if chosen and not bad:
            _use_copy(found, why)
            return found
        missing = missing or bad
    left = f" ({missing} is missing or damaged here)" if missing else ""
    what = f"{'data set' if kind == 'dataset' else 'model'} {repo} is not completely on this machine{left}"
    what, cure = f"{what} and the Hub cannot be reached", "connect and unset HF_HUB_OFFLINE and PEFT_LAB_OFFLINE"
    if why.__cause__ is not None:
        what, cure = explain(why.__cause__, repo, kind)
        what += left
    raise fail(what, cure) from why.__cause__


def remembered(repo: str, kind: str, why: Unreachable) -> Listing:
    """The newest list of a repository that was kept with a complete copy, which counts from now on; else ``why``."""
    for found in Record(repo, kind).lists()[:1]:
        _use_copy(found, why)
        return found
    raise why


def _use_copy(found: Listing, why: Unreachable) -> None:
    """Nobody asks the Hub again in this process; says so where the Hub was asked and failed."""
    _lists[found.repo, found.kind] = found
    if why.__cause__ is not None:
        print(f"note: {why}; the copy of {found.repo} on this machine is used (commit {found.commit[:8]})")


def cached(repo: str, kind: str = "model") -> bool:
    """Whether the client's cache knows the repository; not whether it is complete."""
    return (cache_folder(repo, kind) / "refs").is_dir() or bool(Record(repo, kind).lists())


def small_files(files: list[str]) -> list[str]:
    """What tokenizers, processors and configurations are read from."""
    pattern = re.compile(r"(?:additional_chat_templates/.*|[^/]*)\.(?:json|jinja|txt|model|tiktoken)")
    return [name for name in files if pattern.fullmatch(name) and not name.endswith(".index.json")]


def model_files(files: list[str]) -> list[str]:
    """``small_files`` and the weights: safetensors where there are any, else torch's own format."""
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        parts = re.compile(rf"{stem}(-\d+-of-\d+)?\.{suffix}(\.index\.json)?")
        weights = [name for name in files if parts.fullmatch(name)]
        if any(name.endswith(suffix) for name in weights):
            return small_files(files) + weights
    return small_files(files)
