"""How long a job takes, before anything is downloaded; torch is imported on first use only."""

from __future__ import annotations
