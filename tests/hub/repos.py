"""Repositories of the local Hub: files with the checksums that the Hub gives them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

LFS = (".safetensors", ".bin", ".parquet", ".csv", ".model")  # kept in LFS on the Hub, whatever their size


@dataclass(frozen=True)
class HubFile:
    """One file; in LFS it is known by its sha256, otherwise by the name that git gives its content."""

    path: str
    data: bytes

    @property
    def lfs(self) -> bool:
        return self.path.endswith(LFS)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def oid(self) -> str:
        """Git's name of what git stores: the content, or the pointer to LFS."""
        stored = self.data
        if self.lfs:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
            stored = pointer.encode()
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def sibling(self, blobs: bool) -> dict[str, object]:
        """As in the answer to a question for a repository."""
        row: dict[str, object] = {"rfilename": self.path}
        if blobs:
            row |= {"size": len(self.data), "blobId": self.oid}
            if self.lfs:
                row["lfs"] = {"sha256": self.sha256, "size": len(self.data), "pointerSize": 130}
        return row

    def entry(self) -> dict[str, object]:
        """As in a tree listing."""
        row: dict[str, object] = {"type": "file", "path": self.path, "size": len(self.data), "oid": self.oid}
        if self.lfs:
            row["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": 130}
        return row


@dataclass
class Repo:
    """A model or data set at one commit. ``kind``: "models" or "datasets"."""

    id: str
    kind: str
    files: dict[str, HubFile] = field(default_factory=dict)
    gated: bool = False
    licence: str = "other"
    private: bool = False

    @property
    def commit(self) -> str:
        content = "".join(f"{path}{file.oid}" for path, file in sorted(self.files.items()))
        return hashlib.sha1(f"{self.kind}/{self.id}{content}".encode()).hexdigest()

    @property
    def prefix(self) -> str:
        """Where its files are: /microsoft/phi-2, /datasets/stanfordnlp/snli."""
        return f"/{self.id}" if self.kind == "models" else f"/{self.kind}/{self.id}"

    def put(self, path: str, data: bytes) -> None:
        self.files[path] = HubFile(path, data)

    def info(self, blobs: bool) -> dict[str, object]:
        """The answer to /api/models/ID and /api/datasets/ID."""
        return {
            "_id": self.commit[:24],
            "id": self.id,
            "author": self.id.split("/")[0],
            "sha": self.commit,
            "private": self.private,
            "disabled": False,
            "gated": "manual" if self.gated else False,
            "lastModified": "2026-11-01T00:00:00.000Z",
            "createdAt": "2026-11-01T00:00:00.000Z",
            "downloads": 1,
            "likes": 1,
            "tags": [f"license:{self.licence}"],
            "cardData": {"license": self.licence},
            "siblings": [file.sibling(blobs) for _, file in sorted(self.files.items())],
        }

    def tree(self, folder: str, recursive: bool) -> list[dict[str, object]]:
        """Entries below a folder; one level only unless ``recursive``."""
        start = f"{folder}/" if folder else ""
        rows: list[dict[str, object]] = []
        folders: set[str] = set()
        for path, file in sorted(self.files.items()):
            if not path.startswith(start):
                continue
            inner = path[len(start) :].split("/")[:-1]
            depths = range(1, len(inner) + 1) if recursive else range(1, min(1, len(inner)) + 1)
            folders |= {start + "/".join(inner[:n]) for n in depths}
            if recursive or not inner:
                rows.append(file.entry())
        made = [{"type": "directory", "path": path, "size": 0, "oid": self.commit} for path in sorted(folders)]
        return [*made, *rows]
