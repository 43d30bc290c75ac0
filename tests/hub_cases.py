"""Fixtures, for ``pytest_plugins``: a local Hub with models and data sets, and a client process that talks to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hub import catalog
from hub.cache import PHI, SNLI
from hub.client import Client
from hub.server import LocalHub


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalHub, Client]]:
    """One server and one client for all tests: importing transformers takes seconds."""
    with LocalHub() as hub:
        client = Client(hub.environment(str(tmp_path_factory.mktemp("home"))))
        try:
            yield hub, client
        finally:
            hub.released.set()
            client.close()


@pytest.fixture
def hub(started: tuple[LocalHub, Client]) -> Iterator[LocalHub]:
    """The server without faults and without requests so far; PHI and SNLI are there, others are to be added."""
    server = started[0]
    server.faults.clear()
    server.requests.clear()
    server.repos.clear()
    server.tokens.clear()
    server.writers.clear()
    for repo_id in (PHI, SNLI):
        server.add(catalog.get(repo_id))
    yield server
    if server._server is None:
        server.come_back()


@pytest.fixture
def client(started: tuple[LocalHub, Client], hub: LocalHub) -> Client:
    """The client with empty caches."""
    started[1].forget()
    return started[1]
