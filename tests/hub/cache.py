"""What the tests of the Hub ask about a client's cache, and of which repositories."""

from __future__ import annotations

from pathlib import Path

from hub.repos import HubFile

PHI, SNLI = "microsoft/phi-2", "stanfordnlp/snli"


def damaged_blobs(cache: Path) -> list[str]:
    """Files of the client's cache that are not what their name says."""
    found = []
    for path in cache.rglob("blobs/*"):
        if path.is_file() and not path.name.endswith(".incomplete"):
            made = HubFile("x.bin" if len(path.name) == 64 else "x", path.read_bytes())
            if made.etag != path.name:
                found.append(path.name)
    return found
