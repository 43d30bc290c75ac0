"""The guard of conftest.py does forbid: here, in a subprocess, for names and for addresses."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request

import pytest
from sitecustomize import NetworkForbidden, is_local


@pytest.mark.offline_attempt
@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80), ("example.invalid", 80)])
def test_connections_that_leave_the_machine_are_refused(address: tuple[str, int]) -> None:
    with pytest.raises(NetworkForbidden):
        socket.create_connection(address, timeout=1)


@pytest.mark.offline_attempt
def test_direct_connect_and_datagrams_are_refused() -> None:
    with socket.socket() as stream, pytest.raises(NetworkForbidden):
        stream.connect(("192.0.2.1", 80))
    with socket.socket() as stream, pytest.raises(NetworkForbidden):
        stream.connect_ex(("192.0.2.1", 80))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, pytest.raises(NetworkForbidden):
        datagram.sendto(b"x", ("192.0.2.1", 53))
    with pytest.raises(OSError, match="forbid network"):
        urllib.request.urlopen("http://example.invalid/", timeout=1)


@pytest.mark.offline_attempt
def test_a_python_started_by_a_test_is_guarded_too() -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "NetworkForbidden" in done.stderr


def test_loopback_works() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        client.sendall(b"hello")
        peer, _ = server.accept()
        with peer:
            assert peer.recv(5) == b"hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "", None, b"localhost", "0.0.0.0"])
def test_local_hosts(host: object) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["192.0.2.1", "10.0.0.1", "example.invalid", "2001:db8::1", "localhost.example"])
def test_other_hosts(host: str) -> None:
    assert not is_local(host)
