"""What is known of repositories of the Hub on this machine: lists of their files, and which files were found right."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.errors import LabError
from helpers.files import write_atomic
from helpers.sources import assets

KEPT_LISTS = 3  # of a repository's commits, the newest first
_MIB = 1 << 20


@dataclass(frozen=True)
class HubFile:
    """One file as the Hub describes it; ``digest`` is "sha256:…" (large files), "git:…" (small ones) or ""."""

    name: str
    size: int | None
    digest: str


@dataclass(frozen=True)
class Listing:
    """A repository at one commit. ``fresh``: the Hub said so just now; otherwise it is remembered."""

    repo: str
    kind: str
    commit: str
    files: tuple[HubFile, ...]
    licence: str = ""
    fresh: bool = True


def cache_folder(repo: str, kind: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"{kind}s--{repo.replace('/', '--')}"


def cached_lists(repo: str, kind: str) -> list[Listing]:
    """What another program has left in the client's cache: blobs are named by their checksum.

    Whether files are missing can only be told for weights, where an index names the parts.
    """
    cache = cache_folder(repo, kind)
    found = []
    for ref in sorted(cache.glob("refs/*")):
        snapshot = cache / "snapshots" / ref.read_text().strip()
        files = []
        for path in sorted(p for p in snapshot.rglob("*") if p.is_file()):
            name, blob = path.relative_to(snapshot).as_posix(), path.resolve().name
            digest = f"sha256:{blob}" if len(blob) == 64 else f"git:{blob}" if len(blob) == 40 else ""
            files.append(HubFile(name, None, digest))
            if name.endswith(".index.json"):
                with contextlib.suppress(ValueError, KeyError, OSError):
                    parts = set(json.loads(path.read_text())["weight_map"].values())
                    files += [HubFile(part, None, "") for part in parts if not (snapshot / part).exists()]
        if files:
            found.append(Listing(repo, kind, snapshot.name, tuple(files), fresh=False))
    return found


class Record:
    """What is known of a repository, in a file: lists of its commits, and which files were found to be right."""

    def __init__(self, repo: str, kind: str) -> None:
        self._repo, self._kind = repo, kind
        self._file = assets.cache_dir() / "hub" / f"{kind}s--{repo.replace('/', '--')}.json"
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
            self._lists, self._right = list(data["lists"]), dict(data["right"])
        except (OSError, ValueError, KeyError, TypeError):
            self._lists, self._right = [], {}
        self._before = json.dumps([self._lists, self._right])

    def lists(self) -> list[Listing]:
        return [
            Listing(
                self._repo, self._kind, row["commit"], tuple(HubFile(*f) for f in row["files"]), row["licence"], False
            )
            for row in self._lists
        ]

    def keep(self, found: Listing) -> None:
        files = [[file.name, file.size, file.digest] for file in found.files]
        others = [row for row in self._lists if row["commit"] != found.commit]
        self._lists = [{"commit": found.commit, "licence": found.licence, "files": files}, *others][:KEPT_LISTS]

    def fault(self, path: Path, file: HubFile) -> str:
        """What is wrong with a file on this machine; "" when it is what the Hub says."""
        try:
            stat = path.stat()
        except OSError:
            return "it is not there"
        if file.size is not None and stat.st_size != file.size:
            return f"{stat.st_size:,} bytes, expected {file.size:,}"
        stamp = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, file.digest]
        if not file.digest or self._right.get(file.name) == stamp:
            return ""
        kind, _, expected = file.digest.partition(":")
        actual = checksum(path, kind)
        if actual != expected:
            return f"{'sha256' if kind == 'sha256' else 'git hash'} {actual[:12]}…, expected {expected[:12]}…"
        self._right[file.name] = stamp
        return ""

    @contextlib.contextmanager
    def remembering(self) -> Iterator[None]:
        """Write the record when the block ends, also with an error: what was checked stays checked."""
        try:
            yield
        finally:
            now = json.dumps([self._lists, self._right])
            if now != self._before:
                self._before = now
                with contextlib.suppress(LabError):  # a record that cannot be written costs time, not truth
                    data: Mapping[str, Any] = {"lists": self._lists, "right": self._right}
                    write_atomic(self._file, json.dumps(data, indent=1) + "\n")


def checksum(path: Path, kind: str = "sha256") -> str:
    """Hex digest of a file: "sha256", or "git" (SHA-1 of a blob, the name that git gives its content)."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size) if kind == "git" else hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_MIB):
            digest.update(block)
    return digest.hexdigest()
