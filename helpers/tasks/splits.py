"""The DatasetDict that ``Task.load`` returns; apart, so that ``datasets`` is imported only when needed."""

from __future__ import annotations

from datasets import DatasetDict

from helpers.tasks.report import LoadReport


class TaskSplits(DatasetDict):
    """train, validation and test, with ``report`` saying how they came about."""

    report: LoadReport
