"""peft-lab: shared code of the course's notebooks.

``from helpers import start`` is what a notebook needs; everything heavy loads on first use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.runs.run import Run, start

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "start"]

# Libraries read these when they are imported, which is after this line: less chatter in notebooks.
for _name, _value in {
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "KINETO_LOG_LEVEL": "7",  # the profiler reports that it starts and stops
}.items():
    os.environ.setdefault(_name, _value)


def __getattr__(name: str) -> Any:
    if name in ("start", "Run"):
        from helpers.runs import run

        return getattr(run, name)
    raise AttributeError(f"module 'helpers' has no attribute {name!r}")
