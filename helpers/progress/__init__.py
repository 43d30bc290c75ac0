"""How far long work is: a line to whoever runs the notebook headless, a bar in the notebook, the time that is left."""

from __future__ import annotations

from helpers.progress.bars import Work, each
from helpers.progress.remaining import Remaining
