"""Whatever goes wrong between here and the Hub ends in one clear line and a failed run, or in success after tries.

What arrived in part or damaged is used neither by this run nor by a later one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hub import catalog
from hub.cache import PHI, SNLI, damaged_blobs
from hub.client import Client
from hub.server import LocalHub

pytest_plugins = ["hub_cases"]

LLAMA, GEMMA = "meta-llama/Llama-2-7b-chat-hf", "google/paligemma-3b-pt-224"
MODEL = f"from helpers import models\nvalue = models.fingerprint(models.load({PHI!r}, dtype='float32').model)"
DATA = f"from helpers import tasks\nvalue = tasks.get('snli').load(60, 20, {SNLI!r}).report.fingerprint"
CODE = {"model": MODEL, "data set": DATA}
ASKED = {"model": f"/api/models/{PHI}$", "data set": f"/api/datasets/{SNLI}$"}
HEAD = {"model": f"/{PHI}/resolve/.*safetensors", "data set": f"/datasets/{SNLI}/resolve/.*parquet"}
BYTES = {"model": f"/cdn/{PHI}/.*00002-of", "data set": f"/cdn/datasets/{SNLI}/"}


@dataclass(frozen=True)
class Case:
    """A fault, where it strikes, and the line it ends in ("" for success after tries)."""

    name: str
    kind: str
    where: dict[str, str]
    line: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def once(name: str, kind: str, where: dict[str, str], **options: Any) -> Case:
    """A fault that passes: tries lead to success."""
    return Case(name, kind, where, "", {"times": 2} | options)


BUSY = {"status": 429, "headers": {"Retry-After": "30"}}
CASES = [
    once("the list fails twice", "status", ASKED, status=503),
    once("the list stalls once", "stall", ASKED, times=1),
    once("the list is cut short", "cut", ASKED, after=100),
    once("too many requests for the list", "status", ASKED, **BUSY),
    once("too many requests for a file", "status", HEAD, **BUSY),
    once("too many requests for its bytes", "status", BYTES, **BUSY),
    once("a file's address fails twice", "status", HEAD, status=500),
    once("its bytes fail twice", "status", BYTES, status=502),
    once("its bytes stall once", "stall", BYTES, times=1),
    once("its bytes are cut twice", "cut", BYTES),
    once("it is shorter than announced, once", "short", BYTES, times=1),
    once("one byte is wrong, once", "corrupt", BYTES, times=1),
    once("the connection is reset twice", "reset", BYTES),
    Case("not allowed", "status", ASKED, r"the Hub refuses .* \(403\)", {"status": 403}),
    Case("the list fails for ever", "status", ASKED, r"the Hub fails \(500\)"),
    Case("a long wait is asked for", "status", ASKED, r"\(429\).*run this again in 3600 s",
         {"status": 429, "headers": {"Retry-After": "3600"}}),
    Case("the list stalls for ever", "stall", ASKED, "stopped sending"),
    Case("a file's address fails for ever", "status", HEAD, r"the Hub fails \(503\)", {"status": 503}),
    Case("its bytes are not there", "status", BYTES, r"lacks a file that is needed \(404\)", {"status": 404}),
    Case("its bytes fail for ever", "status", BYTES, r"the Hub fails \(500\)"),
    Case("its bytes stall for ever", "stall", BYTES, "stopped sending", {"after": 0}),
    Case("its bytes are cut for ever", "cut", BYTES, "the connection to the Hub broke", {"after": 0}),
    Case("it is shorter than announced", "short", BYTES, "the connection to the Hub broke"),
    Case("one byte is wrong, always", "corrupt", BYTES, "arrived damaged 2 times .*expected"),
    Case("the connection is always reset", "reset", BYTES, "the connection to the Hub broke"),
    Case("the Hub goes away midway", "vanish", BYTES, "the connection to the Hub broke"),
]  # fmt: skip


def run_info(client: Client, code: str) -> tuple[Any, dict[str, Any]]:
    """Run a lesson's first cell and then ``code``: what that answered, and the run folder's record."""
    begun = client.cell(
        "from helpers import start\n"
        "run = start('03_qlora_nli', {'profile': 'full', 'run_name': 'hub'})\nvalue = str(run.folder)"
    )
    assert begun.error is None, begun.error
    answer = client.cell(code)
    return answer, json.loads(Path(begun.value, "run.json").read_text())


def check_line(error: str | None, line: str) -> str:
    """The error as a reader sees it: one line of ours that matches."""
    import re

    assert error is not None and "\n" not in error and len(error) < 500
    assert error.startswith(("ModelError: ", "DataError: ")) and re.search(line, error), error
    assert error.count(". ") >= 1, "says what to do, too"
    return error


@pytest.fixture(scope="module")
def right(started: Any) -> dict[str, str]:
    """What comes out without a fault."""
    server, process = started
    for repo_id in (PHI, SNLI):
        server.add(catalog.get(repo_id))
    process.forget()
    answers = {kind: process.cell(code) for kind, code in CODE.items()}
    assert not [answer.error for answer in answers.values() if answer.error]
    return {kind: answer.value for kind, answer in answers.items()}


@pytest.mark.parametrize("kind", CODE)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_fault(hub: LocalHub, client: Client, right: dict[str, str], case: Case, kind: str) -> None:
    cache = client.forget()
    fault = hub.inject(case.kind, case.where[kind], **case.options)
    answer, info = run_info(client, CODE[kind])
    assert fault.hits > 0, "the fault struck"
    assert not damaged_blobs(cache)
    if not case.line:
        assert answer.error is None and answer.value == right[kind], answer.error
        assert info["status"] == "running"
        return
    line = check_line(answer.error, case.line)
    assert (info["status"], info["error"]) == ("failed", line.partition(": ")[2])
    assert not list(cache.rglob("*.incomplete"))
    # Later all is well again: what has arrived before is right, and the rest comes.
    fault.times = 0
    if hub._server is None:
        hub.come_back()
    client.restart()
    again = client.cell(CODE[kind])
    assert again.error is None and again.value == right[kind], again.error


# ---------- rights
@pytest.mark.parametrize("repo_id", [LLAMA, GEMMA])
def test_a_gated_model_says_where_and_what_instead(hub: LocalHub, client: Client, repo_id: str) -> None:
    hub.add(catalog.get(repo_id))
    hub.tokens |= {"hf_stranger": set(), "hf_member": {repo_id}}
    code = "import os\nos.environ.pop('HF_TOKEN', None)\n{}\nfrom helpers import models\n"
    code += f"models.load_tokenizer({repo_id!r})"
    answer, info = run_info(client, code.format(""))
    line = check_line(answer.error, "is gated and no HF_TOKEN is set")
    instead = {LLAMA: "NousResearch/Llama-2-7b-chat-hf", GEMMA: "Qwen/Qwen2-VL-2B-Instruct"}[repo_id]
    for part in (f"https://huggingface.co/{repo_id}", "set HF_TOKEN", f"model_id={instead!r}"):
        assert part in line
    assert info["status"] == "failed" and info["error"] in line
    for token, expected in (
        ("hf_stranger", "is gated and the account of this HF_TOKEN has no access, or not yet.*wait for the answer"),
        ("hf_forged", "the Hub does not accept this HF_TOKEN.*settings/tokens"),
    ):
        client.restart()
        check_line(client.cell(code.format(f"os.environ['HF_TOKEN'] = {token!r}")).error, expected)
    client.restart()
    member = client.cell(code.format("os.environ['HF_TOKEN'] = 'hf_member'"))
    client.cell("os.environ.pop('HF_TOKEN')")
    assert member.error is None


def test_a_gated_data_set(hub: LocalHub, client: Client) -> None:
    repo = catalog.dataset("someone/secret", {"train.csv": b"premise,hypothesis,label\na,b,0\n"}, "")
    repo.gated = True
    hub.add(repo)
    answer, info = run_info(client, "from helpers import tasks\ntasks.get('snli').load(60, 20, 'someone/secret')")
    line = check_line(answer.error, "someone/secret is gated and no HF_TOKEN is set")
    assert "https://huggingface.co/datasets/someone/secret" in line and info["status"] == "failed"


def test_what_is_not_on_the_hub(hub: LocalHub, client: Client) -> None:
    error = client.cell("from helpers import models; models.load('microsoft/phi-9')").error
    check_line(error, "there is no public model microsoft/phi-9 on the Hub.*check the spelling")
    error = client.cell("from helpers import tasks; tasks.get('snli').load(60, 20, 'stanfordnlp/snly')").error
    check_line(
        error, "there is no public data set stanfordnlp/snly on the Hub, and no file or folder of that name here"
    )


def test_a_disk_that_is_too_small_is_said_before_the_first_byte(hub: LocalHub, client: Client) -> None:
    code = f"""
import collections, shutil
from helpers import models
usage, Usage = shutil.disk_usage, collections.namedtuple("Usage", "total used free")
shutil.disk_usage = lambda place: Usage(10**9, 10**9, 10**6)
try:
    models.load({PHI!r})
finally:
    shutil.disk_usage = usage
"""
    check_line(client.cell(code).error, r"microsoft/phi-2 takes 0.0 GB more, the disk of .* has 0.0 GB left.*HF_HOME")
    assert not [path for method, path in hub.requests if method == "GET" and path.startswith("/cdn")]


def test_what_is_cut_off_by_a_kill_is_not_used(hub: LocalHub, client: Client) -> None:
    """A process that dies while a file arrives leaves nothing that a later one takes for the file."""
    cache = client.forget()
    fault = hub.inject("stall", BYTES["model"])
    killed = client.cell(
        f"""
import os, signal, time
from helpers import models
models.load_tokenizer({PHI!r})
child = os.fork()
if child == 0:
    try:
        models.load({PHI!r})
    finally:
        os._exit(0)
began = time.monotonic()
while not list(__import__("pathlib").Path({str(cache)!r}).rglob("*.incomplete")) and time.monotonic() < began + 20:
    pass
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""
    )
    assert killed.error is None, killed.error
    assert list(cache.rglob("*.incomplete")), "it was killed midway"
    fault.times = 0
    client.restart()
    assert client.cell(MODEL).error is None and not damaged_blobs(cache)
