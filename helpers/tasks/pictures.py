"""What tasks with pictures share."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.sources import reader
from helpers.sources.pictures import as_rgb, remarks

if TYPE_CHECKING:  # pragma: no cover
    from PIL.Image import Image

    from helpers.tasks.base import Row
    from helpers.tasks.report import LoadReport


ADDRESS = "image that is an address on the Web (download it, and name the file)"
_WEB = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)
# Base64 of the first bytes of PNG, JPEG, GIF and WebP; a path has a full stop, which base64 has not.
_BASE64 = re.compile(r"(?:data:image/[\w.+-]+;base64,|(?=iVBORw0KGgo|/9j/|R0lGOD|UklGR))([A-Za-z0-9+/\s]{64,}={0,2})")


class Unusable(Exception):
    """Why a row, or its picture, cannot be used."""


def is_address(cell: Any) -> bool:
    """Whether a cell names a picture on the Web, which is never fetched."""
    return isinstance(cell, str) and _WEB.match(cell.strip()) is not None


def written_out(cell: Any) -> bytes | None:
    """The picture that a cell spells in base64 or as a ``data:`` address; None for any other cell."""
    found = _BASE64.fullmatch(cell.strip()) if isinstance(cell, str) else None
    try:
        return base64.b64decode(found[1]) if found else None
    except binascii.Error:
        return None


def picture_digest(image: Any) -> str:
    """Hash of an encoded picture ``{"bytes": …}``, "" for none."""
    return hashlib.sha256(image["bytes"]).hexdigest()[:16] if image else ""


def check_picture(data: bytes, report: LoadReport) -> None:
    """Decode a picture once, to see that it can be, and count in the report what its conversion changes.

    Raises:
        Unusable: it is damaged, too large, or of a kind that cannot be converted.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            said = remarks(image)
            image.load()
            as_rgb(image)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Unusable("image unreadable") from error
    for remark in said:
        report.remarks[remark] = report.remarks.get(remark, 0) + 1


def image_bytes(value: Any, key: str, split: str, folders: Sequence[Path], report: LoadReport) -> bytes | None:
    """The encoded picture of a cell: bytes, ``{"bytes", "path"}``, a PIL image, a file's path; None for nothing.

    Args:
        key, split: the row's id and official split, see ``find_picture``.
        folders: where paths start.

    Raises:
        Unusable: it is on the Web, missing, damaged, or its path fits several files.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if value is None or value == "" or value != value:
        return None
    value = written_out(value) or value
    if is_address(value):
        raise Unusable(ADDRESS)
    if isinstance(value, str):
        try:
            value = find_picture(value, key, split, folders).read_bytes()
        except (OSError, ValueError) as error:  # not allowed to read it, or no file name at all
            raise Unusable("image unreadable") from error
    elif hasattr(value, "save"):  # a PIL image
        buffer = io.BytesIO()
        as_rgb(value).save(buffer, "PNG")
        value = buffer.getvalue()
    if not isinstance(value, bytes):
        raise Unusable("image unreadable")
    check_picture(value, report)
    return value


def find_picture(name: str, key: str, split: str, folders: Sequence[Path]) -> Path:
    """The file of a picture: its path from a folder of the data, or the release's ``<split>/<id>/<name>``."""
    names = dict.fromkeys((name, name.replace("\\", "/")))  # as Windows writes paths
    tails = [tail for name in names for tail in (Path(name), Path("images", name))]
    if split:
        tails += [Path(split, key, name), Path("images", split, key, name)]
    places = (folder / tail for folder in folders for tail in tails)
    found = {path.resolve() for path in places if path.is_file()}
    if not found:
        raise Unusable("image file missing")
    if len(found) > 1:
        raise Unusable("image path that fits several files")
    return found.pop()


def undecoded(rows: Any) -> list[Row]:
    """Rows with pictures still encoded, where they come from a Dataset."""
    return [dict(row) for row in (reader.encoded(rows) if hasattr(rows, "features") else rows)]


def vision_messages(example: Mapping[str, Any], images: Sequence[Image]) -> dict[str, Any]:
    """The example as chat turns for a model that sees: prompt (pictures, then words), completion, and ``images``."""
    content: list[dict[str, str]] = [{"type": "image"} for _ in images]
    if example["prompt"]:
        content.append({"type": "text", "text": example["prompt"]})
    return {
        "prompt": [{"role": "user", "content": content}],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": example["completion"]}]}],
        "images": list(images),
    }
