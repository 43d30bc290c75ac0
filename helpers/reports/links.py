"""Where the course lives, in everything that has to know: one constant, and a command that rewrites the rest.

``REPO_URL`` in helpers/hosted.py is the constant. Made from it are the badges of README.md and of every notebook, the
setup cells, and README's line that clones. Only those are touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from helpers.errors import ParameterError, RunError
from helpers.files import repo_root
from helpers.hosted import REPO_URL, badges, setup_cell
from helpers.reports.documents import Document, with_sources

COMMAND = "python -m helpers address"
CONSTANT = re.compile(r'^REPO_URL = "[^"\n]*"$', re.MULTILINE)
SETUP_START = "# Setup. Colab and Kaggle:"  # how the setup cell of every version of the course begins
_OPEN = r"\[!\[Open in {}\]\([^()\s]*\)\]\([^()\s]*\)"
BADGES = re.compile(_OPEN.format("Colab") + r"[ \t]+" + _OPEN.format("Kaggle"))
NOTEBOOK = re.compile(r"/notebooks/(\w+)\.ipynb")
CLONE = re.compile(r"git clone https://github\.com/\S+ && cd [\w.-]+")
_GITHUB = re.compile(r"(?:https://github\.com/|git@github\.com:)([A-Za-z0-9][\w-]*)/([\w.-]+?)(?:\.git)?/?")


def clean(url: str | None) -> str:
    """``https://github.com/OWNER/REPO`` of any form GitHub shows; the present address for None.

    Raises:
        ParameterError: it is not an address on GitHub, whose notebooks Colab and Kaggle open.
    """
    if url is None:
        return REPO_URL
    match = _GITHUB.fullmatch(url.strip())
    if not match:
        raise ParameterError(
            f"{url!r} is not the address of a repository on GitHub", "Write https://github.com/OWNER/REPO"
        )
    return f"https://github.com/{match[1]}/{match[2]}"


def documents(url: str | None = None, root: Path | None = None) -> Iterator[Document]:
    """Each file with the address in it, pointing at ``url`` or again at the present address.

    Raises:
        ParameterError: see ``clean``. RunError: a file is missing or has another form.
    """
    address, root = clean(url), root or repo_root()
    constant = Document(root / "helpers" / "hosted.py")
    if len(CONSTANT.findall(constant.current)) != 1:
        raise RunError(f'{constant.path} has no single line REPO_URL = "..."', "Restore it from git")
    yield constant.but(CONSTANT.sub(f'REPO_URL = "{address}"', constant.current))
    readme = Document(root / "README.md")
    cloned = f"git clone {address} && cd {address.rpartition('/')[2]}"
    yield readme.but(CLONE.sub(cloned, _with_badges(readme.current, address)))
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = Document(path)
        yield notebook.but(notebook_text(notebook.current, address, path.name))


def notebook_text(raw: str, address: str, name: str) -> str:
    """A notebook's JSON text with the badges and the setup cell of ``address``, otherwise unchanged.

    Raises:
        RunError: the badges or the setup cell are not where every notebook has them.
    """
    cells = list(enumerate(json.loads(raw)["cells"]))
    first = {cell["cell_type"]: (index, "".join(cell["source"])) for index, cell in reversed(cells)}
    (title, text), (setup, code) = (first.get(kind, (0, "")) for kind in ("markdown", "code"))
    if not BADGES.search(text):
        raise RunError(f"the first text of {name} has no badges", "Copy the line from another notebook")
    if not code.startswith(SETUP_START):
        raise RunError(f"the first code cell of {name} is not the setup cell", "Copy it from another notebook")
    return with_sources(raw, {title: _with_badges(text, address), setup: setup_cell(address).rstrip("\n")})


def _with_badges(text: str, address: str) -> str:
    def made(match: re.Match[str]) -> str:
        notebook = NOTEBOOK.search(match[0])
        return badges(notebook[1], address) if notebook else match[0]

    return BADGES.sub(made, text)
