"""Forbids every connection that would leave this machine, in this process and in every Python it starts.

``tests/conftest.py`` loads this file and puts its folder on PYTHONPATH, so notebook kernels run under it too.
Loopback and Unix sockets stay open: Jupyter kernels talk over them. Each attempt is written to the file named
by PEFT_LAB_NET_LOG, since a library may swallow the error; the test that caused it fails.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import sys
from typing import Any

LOG = "PEFT_LAB_NET_LOG"


class NetworkForbidden(OSError):
    """A test tried to reach another machine. An OSError: code made for offline use takes its course."""


def is_local(host: Any) -> bool:
    """True for loopback addresses and names, and for "" (any local address)."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not host or str(host).lower() in {"localhost", "localhost.localdomain", socket.gethostname().lower()}:
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(target: object) -> NetworkForbidden:
    log = os.environ.get(LOG)
    if log:
        with contextlib.suppress(OSError), open(log, "a", encoding="utf-8") as stream:
            stream.write(f"{target} by {' '.join(sys.argv[:2]) or sys.executable}\n")
    return NetworkForbidden(f"the tests forbid network connections: {target}")


def install() -> None:
    """Put the guard in place. Does nothing where it stands; puts it back where a test plugin took it away."""
    if getattr(socket.socket.connect, "guards", False):
        return
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    sendto, getaddrinfo = socket.socket.sendto, socket.getaddrinfo

    def check(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
            raise refuse(f"{address[0]}:{address[1]}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check(self, address)
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check(self, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        check(self, rest[-1])
        return sendto(self, data, *rest)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host is not None and not is_local(host):
            raise refuse(f"name look-up of {host}")
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign]
    socket.socket.sendto = guarded_sendto  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = guarded_getaddrinfo
    guarded_connect.guards = True  # type: ignore[attr-defined]


install()
