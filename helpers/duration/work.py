"""How long a lesson takes: its work in parts, each in batches of real lengths, each batch at a predicted speed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.config.lessons import LESSONS
from helpers.config.lessons.base import Work
from helpers.duration.predict import step_time, summed
from helpers.duration.rates import Rates
from helpers.memory.jobs import Job
from helpers.memory.lessons import picture_tokens

PARTS = ("download", "before training", "training", "other trainings", "after training")  # in the order of a lesson
MEGABYTES = 50.0  # a second, of a download, where nobody says otherwise


@dataclass(frozen=True)
class Duration:
    """Seconds of a lesson's work, and how they are known.

    Attributes:
        seconds: part -> seconds; what has none is left out.
        where: the device in words.
        measured: the speeds were measured there, not taken from a data sheet.
        rows_known: lengths are those of the data, not what is usual for them.
        update: seconds of one update of the training, on average.
        updates: of the training.
        download_gb: what has to be fetched.
    """

    seconds: dict[str, float]
    where: str
    measured: bool
    rows_known: bool = False
    update: float = 0.0
    updates: int = 0
    download_gb: float = 0.0

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def duration_of(
    settings: Any,
    jobs: Mapping[str, Job],
    rates: Rates,
    lengths: Sequence[int] | None = None,
    download_gb: float = 0.0,
    megabytes: float = MEGABYTES,
) -> Duration | None:
    """How long the lesson of these settings takes with its jobs; ``None`` where its record lists no work.

    Args:
        jobs: from ``memory.lesson_jobs``.
        lengths: tokens of each training row, pictures not counted; without them the lesson's usual ones.
        megabytes: a second of the download.
    """
    values = settings.as_dict()
    lesson = LESSONS[values["notebook"]].memory
    if lesson is None or not lesson.work:
        return None
    seconds = dict.fromkeys(PARTS, 0.0)
    seconds["download"] = download_gb * 1000 / megabytes
    shown = picture_tokens(jobs["training"].model, jobs["training"].pixels)
    clock = _Clock(jobs, rates, shown, values)
    merged = _own_rows(lesson.work, values, lengths)
    updates, trained = 0, 0.0
    for work, rows in merged:
        if work.does == "train":
            took, count = clock.training(rows, work.grouped, float(values["epochs"]) * work.times)
            if work.part == "training":
                updates, trained = updates + count, trained + took
        else:
            took = work.times * (clock.reading(rows) if work.does == "read" else clock.writing(rows))
        seconds[work.part] += took
    kept = {part: value for part, value in seconds.items() if value > 0}
    update = trained / updates if updates else 0.0
    return Duration(kept, rates.where, rates.measured, lengths is not None, update, updates, download_gb)


def _own_rows(
    work: Sequence[Work], values: Mapping[str, Any], lengths: Sequence[int] | None
) -> list[tuple[Work, list[int]]]:
    """Each kind of work with the tokens of its rows. Rows that are trained together are one work."""
    found: list[tuple[Work, list[int]]] = []
    for item in work:
        count = sum(int(values[name] or 0) for name in item.rows)
        if item.part == "training" and item.does == "train":
            rows = spread(item.tokens, count)
            earlier = next((pair for pair in found if (pair[0].part, pair[0].does) == (item.part, item.does)), None)
            if earlier is not None:
                if lengths is None:
                    earlier[1].extend(rows)
                continue
            found.append((item, list(lengths) if lengths is not None else rows))
        else:
            found.append((item, spread(item.tokens, count)))
    return found


def spread(quantiles: Sequence[int], count: int) -> list[int]:
    """So many lengths that their quantiles are these, which are evenly apart; mixed as a file's rows are."""
    import numpy as np

    if count < 1:
        return []
    shares = np.linspace(0, 1, len(quantiles))
    lengths = np.interp((np.arange(count) + 0.5) / count, shares, quantiles).round().astype(int)
    return [int(length) for length in np.random.default_rng(0).permutation(lengths)]


def padded_lengths(lengths: Sequence[int], batch_size: int, passes: int, grouped: bool, seed: int = 0) -> list[int]:
    """The longest row of each batch of one epoch, in batches as ``Trainer`` draws them.

    Args:
        passes: batches an update; groups of one length are made for as many.
        grouped: by ``LengthGroupedSampler``, else in any order.
    """
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    generator = torch.Generator().manual_seed(seed)
    if grouped:
        order = list(LengthGroupedSampler(batch_size * passes, lengths=list(lengths), generator=generator))
    else:
        order = torch.randperm(len(lengths), generator=generator).tolist()
    return [max(lengths[i] for i in order[at : at + batch_size]) for at in range(0, len(order), batch_size)]


class _Clock:
    """Seconds of a lesson's batches."""

    def __init__(self, jobs: Mapping[str, Job], rates: Rates, shown: int, values: Mapping[str, Any]) -> None:
        self.training_job, self.answers = jobs["training"], jobs.get("answers", jobs["training"])
        self.rates, self.shown, self.values = rates, shown, values

    def training(self, rows: Sequence[int], grouped: bool, epochs: float) -> tuple[float, int]:
        """(seconds, updates) of a training on these rows."""
        job = self.training_job
        batches = padded_lengths(self._cut(rows), job.batch_size, job.accumulation, grouped, self.values["seed"])
        updates = math.ceil(epochs * math.ceil(len(batches) / job.accumulation))
        times = {}

        def a_pass(length: int) -> float:
            times[length] = step_time(self._at(job.but(accumulation=1), length), self.rates)
            return times[length].total - times[length].spent("update")

        passes = epochs * summed(batches, a_pass)
        update = next(iter(times.values())).spent("update") if times else 0.0
        return passes + updates * update, updates

    def reading(self, rows: Sequence[int]) -> float:
        """Seconds of forward passes over these rows, in batches of the answers' size, sorted by length."""
        size = self.answers.batch_size
        ordered = sorted(self._cut(rows), reverse=True)
        # The training's forward pass: it applies the head where the lesson reads likelihoods.
        job = self.training_job.but(batch_size=size, accumulation=1, checkpointing=False)
        return summed(ordered[::size], lambda length: step_time(self._at(job, length), self.rates).reading)

    def writing(self, rows: Sequence[int]) -> float:
        """Seconds of answers as long as they may be, to prompts of these rows less a usual answer."""
        size, new = self.answers.batch_size, self.answers.new_tokens
        ordered = sorted(self._cut(rows), reverse=True)

        def batch(length: int) -> float:
            prompt = self.answers.but(length=max(length, self.shown + 3), new_tokens=1)
            first = step_time(prompt, self.rates).reading
            if new < 2:
                return first
            middle = step_time(prompt.but(new_tokens=max(2, new // 2)), self.rates).reading
            return first + (new - 1) * max(0.0, middle - first)

        return summed(ordered[::size], batch)

    def _cut(self, rows: Sequence[int]) -> list[int]:
        most = self.training_job.length if self.values.get("padding") != "max_length" else None
        if most is None:
            return [self.training_job.length] * len(rows)
        return [min(row + self.shown, most) for row in rows]

    def _at(self, job: Job, length: int) -> Job:
        length = max(length, self.shown + 3, 2)
        return dataclasses.replace(job, length=length, labelled=max(1, min(job.labelled, length // 2)))
