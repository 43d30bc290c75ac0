"""Task ``dialogsum``: summarise a dialogue of two people in a sentence or two."""

from __future__ import annotations

from helpers.tasks.dialogsum.task import DialogsumTask

TASK = DialogsumTask()
