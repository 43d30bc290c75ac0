"""What is known of repositories of the Hub on this machine: lists of their files, and which files were found right."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from helpers.errors import LabError
from helpers.files import sha256, write_atomic
from helpers.sources import assets

KEPT_LISTS = 3  # of a repository's commits, the newest first


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

    @property
    def folder(self) -> Path:
        """Folder of this commit in the client's cache; it need not be there."""
        return cache_folder(self.repo, self.kind) / "snapshots" / self.commit

    def pick(self, wanted: Callable[[list[str]], list[str]]) -> list[HubFile]:
        """The files that ``wanted`` picks out of all names."""
        names = set(wanted([file.name for file in self.files]))
        return [file for file in self.files if file.name in names]


def cache_folder(repo: str, kind: str) -> Path:
    """Where the client keeps a repository."""
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
        self._file = assets.cache_dir() / "hub" / f"{cache_folder(repo, kind).name}.json"
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
            self._lists, self._right = list(data["lists"]), dict(data["right"])
        except (OSError, ValueError, KeyError, TypeError):
            self._lists, self._right = [], {}
        self._before = json.dumps([self._lists, self._right])

    def lists(self) -> list[Listing]:
        """The kept lists, the newest first."""
        rows = [(row, tuple(HubFile(*file) for file in row["files"])) for row in self._lists]
        return [Listing(self._repo, self._kind, row["commit"], files, row["licence"], False) for row, files in rows]

    def keep(self, found: Listing) -> None:
        """Put a list before the others; the oldest goes."""
        files = [list(astuple(file)) for file in found.files]
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
        if kind == "sha256":
            name, actual = kind, sha256(path)
        else:  # the name that git gives the content; the Hub keeps small files under it
            name, actual = "git hash", hashlib.sha1(b"blob %d\0" % stat.st_size + path.read_bytes()).hexdigest()
        if actual != expected:
            return f"{name} {actual[:12]}…, expected {expected[:12]}…"
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
                    write_atomic(self._file, json.dumps({"lists": self._lists, "right": self._right}, indent=1) + "\n")
