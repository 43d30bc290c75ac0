"""The DatasetDict that ``Task.load`` returns; apart, so that ``datasets`` is imported only when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datasets import DatasetDict

if TYPE_CHECKING:
    from helpers.tasks.base import LoadReport


class TaskSplits(DatasetDict):
    """train, validation and test, with ``report`` saying how they came about."""

    report: LoadReport
