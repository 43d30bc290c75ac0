"""The part of the Hub's HTTP API that ``huggingface_hub``, ``transformers`` and ``datasets`` use, on loopback.

Answered are questions for a model or data set, its tree, paths and refs, and its files: HEAD and GET with ETag,
X-Repo-Commit and X-Linked-*, byte ranges, and a redirect for large files. A gated repository shows what it holds and
keeps its files, as on the real Hub. A token in ``writers`` may make repositories in its account and commit files, and a
card is validated: its metadata have to be a mapping with a known kind of licence and results that are whole.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub.faults import Fault
from hub.repos import HubFile, Repo

LONGEST_STALL = 60.0  # seconds; a client waits much less


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    hub: LocalHub

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that has gone


class LocalHub:
    """Starts on entering a ``with`` block. ``requests`` lists what was asked: (method, path)."""

    def __init__(self, repos: Iterable[Repo] = ()) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: dict[str, set[str]] = {}  # token -> gated repositories that its account may read
        self.writers: dict[str, str] = {}  # token -> account that it may write to
        self.released = threading.Event()
        self._server: _Server | None = None
        self._port = 0
        for repo in repos:
            self.add(repo)

    def add(self, repo: Repo) -> Repo:
        self.repos[repo.kind, repo.id] = repo
        return repo

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> LocalHub:
        self.come_back()
        return self

    def __exit__(self, *_: Any) -> None:
        self.released.set()
        self.go_away()

    def come_back(self) -> None:
        """Listen, after ``go_away`` on the same port."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.hub = self
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def go_away(self) -> None:
        """Listen no more: connections are refused."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def inject(self, kind: str, path: str, **options: Any) -> Fault:
        """Let something go wrong; see ``Fault``."""
        fault = Fault(kind, path, **options)
        self.faults.append(fault)
        return fault

    def environment(self, home: str) -> dict[str, str]:
        """What a client needs to use this Hub and no other, with its caches in ``home``."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": home,
            "HF_TOKEN": "",  # the user's own is unknown here
            "HUGGING_FACE_HUB_TOKEN": "",
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "PEFT_LAB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # otherwise datasets counts its uses on another machine
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        hub = self.server.hub
        address = urlsplit(self.path)
        path, query = unquote(address.path), parse_qs(address.query)
        length = int(self.headers.get("Content-Length") or 0)
        body = self._body(length)
        form = parse_qs(body.decode()) if body and not body.startswith(b"{") else {"body": [body.decode()]}
        hub.requests.append((self.command, path))
        self._fault = next((fault for fault in hub.faults if fault.strikes(self.command, path)), None)
        if self._fault and self._fault.kind == "status":
            return self._error(self._fault.status, "", "injected", self._fault.headers)
        if path == "/":
            return self._send(200, b"", "text/html")
        for pattern, method in _ROUTES:
            match = pattern.fullmatch(path)
            if match:
                return getattr(self, method)(match, query, form)
        self._error(404, "", "no such address here")

    # -- questions -------------------------------------------------------------------------------------

    def _info(self, match: re.Match[str], query: Any, form: Any) -> None:
        repo = self._repo(match["kind"], match["id"], match["revision"])
        if repo:
            self._json(repo.info(blobs=_true(query, "blobs")))

    def _tree(self, match: re.Match[str], query: Any, form: Any) -> None:
        repo = self._repo(match["kind"], match["id"], match["revision"])
        if repo is None:
            return
        entries = repo.tree(match["path"] or "", _true(query, "recursive"))
        if match["path"] and not entries:
            return self._error(404, "EntryNotFound", f"{match['path']} does not exist", _commit(repo))
        self._json(entries)

    def _paths(self, match: re.Match[str], query: Any, form: dict[str, list[str]]) -> None:
        repo = self._repo(match["kind"], match["id"], match["revision"])
        if repo is None:
            return
        rows = []
        for path in form.get("paths", []):
            if path in repo.files:
                rows.append(repo.files[path].entry())
            elif repo.tree(path, False):
                rows.append({"type": "directory", "path": path, "size": 0, "oid": repo.commit})
        self._json(rows)

    def _refs(self, match: re.Match[str], query: Any, form: Any) -> None:
        repo = self._repo(match["kind"], match["id"], None)
        if repo:
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commit}
            self._json({"branches": [branch], "tags": [], "converts": []})

    # -- writing ---------------------------------------------------------------------------------------

    def _body(self, length: int) -> bytes:
        """What was sent; a commit comes in chunks whose number nobody knows beforehand."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(length)
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _validate(self, match: re.Match[str], query: Any, form: dict[str, list[str]]) -> None:
        import yaml

        card = json.loads(form["body"][0])["content"]
        found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
        data = yaml.safe_load(found[1]) if found else None
        if not isinstance(data, dict):
            return self._send(400, b"the card has no metadata", "text/plain")
        if data.get("license") == "other" and not data.get("license_name"):
            return self._send(400, b'"license_name" is required where license is "other"', "text/plain")
        for model in data.get("model-index", []):
            for result in model["results"]:
                if not {"task", "dataset", "metrics"} <= set(result):
                    return self._send(400, b'"model-index" has a result that is not whole', "text/plain")
        self._json({"errors": [], "warnings": []})

    def _create(self, match: re.Match[str], query: Any, form: dict[str, list[str]]) -> None:
        asked, account = json.loads(form["body"][0]), self._writer()
        if account is None:
            return
        if asked.get("organization") not in (None, account):
            return self._error(403, "", "You don't have the rights to create a model under this namespace")
        repo = Repo(f"{account}/{asked['name']}", "models", private=asked.get("visibility") == "private")
        if ("models", repo.id) in self.server.hub.repos:
            there = {"error": "You already created this model repo", "url": f"{self.server.hub.url}/{repo.id}"}
            return self._send(409, json.dumps(there).encode(), "application/json")
        self.server.hub.add(repo)
        self._json({"url": f"{self.server.hub.url}/{repo.id}", "name": repo.id, "id": repo.commit[:24]})

    def _preupload(self, match: re.Match[str], query: Any, form: dict[str, list[str]]) -> None:
        names = [file["path"] for file in json.loads(form["body"][0])["files"]]
        self._json({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})

    def _write(self, match: re.Match[str], query: Any, form: dict[str, list[str]]) -> None:
        account, repo = self._writer(), self.server.hub.repos.get((match["kind"], match["id"]))
        if account is None:
            return
        if repo is None or not repo.id.startswith(f"{account}/"):
            return self._error(403, "", "You don't have the rights to write here")
        for line in form["body"][0].splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                repo.put(entry["value"]["path"], base64.b64decode(entry["value"]["content"]))
        address = f"{self.server.hub.url}/{repo.id}/commit/{repo.commit}"
        self._json({"success": True, "commitOid": repo.commit, "commitUrl": address, "hookOutput": ""})

    def _writer(self) -> str | None:
        """The account that the token may write to; None after an error was sent."""
        account = self.server.hub.writers.get(self._token())
        if account is None:
            self._error(403 if self._known_token() else 401, "", "This token may not write")
        return account

    # -- files -----------------------------------------------------------------------------------------

    def _resolve(self, match: re.Match[str], query: Any, form: Any) -> None:
        repo = self._repo((match["kind"] or "models").strip("/"), match["id"], match["revision"])
        if repo is None or not self._may_read(repo):
            return
        file = repo.files.get(match["path"])
        if file is None:
            return self._error(404, "EntryNotFound", "Entry not found", _commit(repo))
        headers = {"ETag": f'"{file.etag}"', **_commit(repo)}
        if file.lfs:
            headers |= {"X-Linked-Size": str(len(file.data)), "X-Linked-ETag": f'"{file.sha256}"'}
            # Another host name, as that of the real store of large files: clients keep their token from it.
            store = self.server.hub.url.replace("127.0.0.1", "localhost")
            address = f"{store}/cdn{repo.prefix}/{file.sha256}/{file.path}"
            return self._send(302, b"", "text/plain", headers | {"Location": address})
        self._file(file, headers)

    def _cdn(self, match: re.Match[str], query: Any, form: Any) -> None:
        for repo in self.server.hub.repos.values():
            for file in repo.files.values():
                if match["address"] == f"{repo.prefix}/{file.sha256}/{file.path}":
                    return self._file(file, {"ETag": f'"{file.sha256}"'})
        self._error(404, "", "no such object")

    def _file(self, file: HubFile, headers: dict[str, str]) -> None:
        data, asked = file.data, self.headers.get("Range")
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
        if found is None:
            return self._send(200, data, "application/octet-stream", headers | {"Accept-Ranges": "bytes"})
        if found[1]:
            first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
        else:
            first, last = max(0, len(data) - int(found[2])), len(data) - 1
        if first > last:
            return self._error(416, "", "out of range", {"Content-Range": f"bytes */{len(data)}"})
        span = {"Content-Range": f"bytes {first}-{last}/{len(data)}", "Accept-Ranges": "bytes"}
        self._send(206, data[first : last + 1], "application/octet-stream", headers | span)

    # -- rights ----------------------------------------------------------------------------------------

    def _repo(self, kind: str, name: str, revision: str | None) -> Repo | None:
        """The repository, or None after an error was sent. Who is not signed in is told 401, as by the real Hub."""
        repo = self.server.hub.repos.get((kind, name))
        if not self._known_token():
            return None
        if repo is None:
            self._error(404 if self._token() else 401, "RepoNotFound", "Repository not found")
            return None
        if revision not in (None, "main", "refs/heads/main", repo.commit):
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()

    def _known_token(self) -> bool:
        if self._token() and self._token() not in (*self.server.hub.tokens, *self.server.hub.writers):
            self._error(401, "", "Invalid credentials in Authorization header")
            return False
        return True

    def _may_read(self, repo: Repo) -> bool:
        if not repo.gated or repo.id in self.server.hub.tokens.get(self._token(), ()):
            return True
        where = f"Access to {'model' if repo.kind == 'models' else 'dataset'} {repo.id} is restricted"
        if self._token():
            self._error(403, "GatedRepo", f"{where} and you are not in the authorized list.")
        else:
            self._error(401, "GatedRepo", f"{where}. You must have access to it and be authenticated.")
        return False

    # -- sending ---------------------------------------------------------------------------------------

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), "application/json")

    def _error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        named = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        body = json.dumps({"error": message}).encode()
        self._fault = None
        self._send(status, body, "application/json", named | (headers or {}))

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        fault = self._fault
        length = len(body)
        if fault and fault.kind == "corrupt" and body:
            body = body[:-1] + bytes([body[-1] ^ 0xFF])
        if fault and fault.kind == "short" and self.command == "GET":
            body = body[: fault.after]
            length = len(body)
        self.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(length)} | (headers or {})).items():
            self.send_header(name, value)
        if fault and fault.kind in ("stall", "cut", "reset", "vanish"):
            return self._break_off(fault, body)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _break_off(self, fault: Fault, body: bytes) -> None:
        hub = self.server.hub
        if self.command == "HEAD" or not body:
            self._headers_buffer = []  # nothing at all
        else:
            self.end_headers()
            self.wfile.write(body[: fault.after])
        self.wfile.flush()
        if fault.kind == "stall":
            hub.released.wait(LONGEST_STALL)
        if fault.kind == "vanish":
            threading.Thread(target=hub.go_away, daemon=True).start()
        if fault.kind in ("reset", "vanish"):
            with contextlib.suppress(OSError):  # closing now sends RST, not FIN
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        if fault.kind in ("reset", "vanish"):
            self.connection.close()


def _true(query: dict[str, list[str]], name: str) -> bool:
    return (query.get(name) or ["false"])[0].lower() in ("true", "1")


def _commit(repo: Repo) -> dict[str, str]:
    return {"X-Repo-Commit": repo.commit}


_ID = r"(?P<id>[^/]+/[^/]+?)"
_API = rf"/api/(?P<kind>models|datasets)/{_ID}"
_ROUTES = [
    (re.compile(pattern), method)
    for pattern, method in (
        (rf"{_API}(?:/revision/(?P<revision>.+))?", "_info"),
        (rf"{_API}/tree/(?P<revision>refs/[^/]+/[^/]+|[^/]+)(?:/(?P<path>.+))?", "_tree"),
        (rf"{_API}/paths-info/(?P<revision>refs/[^/]+/[^/]+|[^/]+)", "_paths"),
        (rf"{_API}/refs", "_refs"),
        (r"/api/validate-yaml", "_validate"),
        (r"/api/repos/create", "_create"),
        (rf"{_API}/preupload/main", "_preupload"),
        (rf"{_API}/commit/main", "_write"),
        (r"/cdn(?P<address>/.+)", "_cdn"),
        (rf"/(?P<kind>datasets/)?{_ID}/resolve/(?P<revision>refs/[^/]+/[^/]+|[^/]+)/(?P<path>.+)", "_resolve"),
    )
]
