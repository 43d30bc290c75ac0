"""Uploads to the local Hub: private, validated, and never without a token."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub.client import Client
from hub.server import LocalHub

pytest_plugins = ["hub_cases"]

CARD = "---\nlibrary_name: peft\nlicense: other\nlicense_name: mine\n---\n\n# A card\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "snli").mkdir()
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "snli" / "adapter_config.json").write_text("{}")
    (tmp_path / "snli" / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 40)
    return tmp_path


def push(client: Client, folder: Path, token: str = "writes", repo_id: str = "me/adapters") -> str:
    """Upload in the client's process; returns the address, or the error's line."""
    answer = client.cell(
        f"""
import os
from pathlib import Path
from helpers.sources import publish
os.environ["HF_TOKEN"] = {token!r}
try:
    value = publish.upload(Path({str(folder)!r}), {repo_id!r})
finally:
    os.environ["HF_TOKEN"] = ""  # the client serves other tests too
"""
    )
    return str(answer.error or answer.value)


def test_a_folder_becomes_a_private_repository(hub: LocalHub, client: Client, folder: Path) -> None:
    hub.writers["writes"] = "me"
    assert push(client, folder) == f"{hub.url}/me/adapters"
    repo = hub.repos["models", "me/adapters"]
    assert repo.private
    sent = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert {name: file.data for name, file in repo.files.items()} == sent
    (folder / "README.md").write_text(CARD + "More.\n")
    assert push(client, folder).startswith(hub.url), "a later version goes into the same repository"
    assert repo.files["README.md"].data.endswith(b"More.\n")


def test_without_a_token_nothing_is_sent(hub: LocalHub, client: Client, folder: Path) -> None:
    hub.requests.clear()
    told = push(client, folder, token="")
    assert "ParameterError: push = True uploads" in told and "there is no token" in told and "HF_TOKEN" in told
    assert hub.requests == []


def test_a_token_that_may_only_read(hub: LocalHub, client: Client, folder: Path) -> None:
    hub.tokens["reads"] = set()
    told = push(client, folder, token="reads")
    assert "could not be uploaded to me/adapters: the token may not write there" in told
    assert ("models", "me/adapters") not in hub.repos


def test_somebody_elses_account(hub: LocalHub, client: Client, folder: Path) -> None:
    hub.writers["writes"] = "me"
    assert "the token may not write there" in push(client, folder, repo_id="you/adapters")


def test_a_card_that_is_not_valid_is_not_uploaded(hub: LocalHub, client: Client, folder: Path) -> None:
    hub.writers["writes"] = "me"
    (folder / "README.md").write_text(CARD.replace("license_name: mine\n", ""))
    told = push(client, folder)
    assert "the Hub does not accept" in told and "license_name" in told
    assert ("models", "me/adapters") not in hub.repos
