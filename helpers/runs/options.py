"""Parameters on the command line: ``-p NAME VALUE`` or ``-p NAME=VALUE``, as many as one likes; so with ``--sweep``."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

from helpers.errors import ParameterError


class PairsCommand(TyperCommand):
    """Accepts ``-p NAME VALUE``, as papermill does, besides ``-p NAME=VALUE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for i in range(len(args) - 2, 0, -1):
            if args[i - 1] in ("-p", "--parameter", "--sweep") and "=" not in args[i]:
                args[i : i + 2] = [f"{args[i]}={args[i + 1]}"]
        return super().parse_args(ctx, args)


def given(parameters: list[str] | None) -> dict[str, Any]:
    """Name → value of what was given as NAME=VALUE."""
    from helpers.runs.headless import parse_value

    found = {}
    for text in parameters or []:
        name, sign, value = text.partition("=")
        if not sign or not re.fullmatch(r"\w+", name):
            raise ParameterError(f"-p {text!r} is not a name and a value", "Write -p NAME VALUE")
        found[name] = parse_value(name, value)
    return found
