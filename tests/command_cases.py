"""The command line in this process, which has imported the libraries already."""

from __future__ import annotations

import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest import mock

from helpers import __main__ as command_line


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """``python -m helpers WORDS``: its exit code and what it printed, as of a process of its own."""
    out, err = StringIO(), StringIO()
    with mock.patch.object(sys, "argv", ["helpers", *words]), redirect_stdout(out), redirect_stderr(err):
        try:
            code = command_line.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(["helpers", *words], code, out.getvalue(), err.getvalue())
