"""How long a lesson takes: its work in parts, each in batches of real lengths, each batch at a predicted speed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from helpers.config.lessons import LESSONS
from helpers.config.lessons.base import Work
from helpers.duration.predict import line, step_time
from helpers.duration.rates import Rates
from helpers.memory.jobs import Job
from helpers.memory.lessons import picture_tokens

# In the order of a lesson.
PARTS = ("download", "before training", "training", "other trainings", "after training", "all else")
PICTURE = 0.001  # seconds that a drawn picture takes to be prepared, on one core; a photograph takes longer
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
    seconds["all else"] = lesson.besides
    shown = picture_tokens(jobs["training"].model, jobs["training"].pixels)
    if lesson.usual_rows:
        jobs = {**jobs, "training": jobs["training"].but(batch_size=lesson.usual_rows)}
    clock = reasoner = _Clock(jobs, rates, shown, values)
    if "reasoner" in jobs and jobs["reasoner"].model != jobs["training"].model:
        own = {"training": jobs["reasoner"], "answers": jobs["reasoner's answers"]}
        reasoner = _Clock(own, rates, picture_tokens(own["training"].model, own["training"].pixels), values)
    own_rows = [(work, rows) for work, rows in _own_rows(lesson.work, values, lengths) if rows]
    of_clock: dict[_Clock, list[_Load]] = {clock: [], reasoner: []}
    for work, rows in own_rows:
        if shown or not work.pictures:
            own_clock = reasoner if work.reasoner else clock
            of_clock[own_clock].append(own_clock.load(work, rows))
    loads = [load for own_loads in of_clock.values() for load in own_loads]
    for (of, own_loads), does in product(of_clock.items(), ("train", "read", "write")):
        alike = [load for load in own_loads if load.work.does == does]
        if alike:
            of_a_batch = {"train": of.a_pass, "read": of.a_reading, "write": of.an_answering}[does]
            sums = line([length for load in alike for length in load.longest], of_a_batch)
            for load in alike:
                load.seconds = load.times * sums(load.longest) + load.updates * of.update + load.preparing
                seconds[load.work.part] += load.seconds
    main = [load for load in loads if load.work.part == "training" and load.work.does == "train"]
    updates, trained = sum(load.updates for load in main), sum(load.seconds for load in main)
    kept = {part: value for part, value in seconds.items() if value > 0}
    update = trained / updates if updates else 0.0
    return Duration(kept, rates.where, rates.measured, lengths is not None, update, updates, download_gb)


def _own_rows(
    work: Sequence[Work], values: Mapping[str, Any], lengths: Sequence[int] | None
) -> list[tuple[Work, list[int]]]:
    """Each kind of work with the tokens of its rows. Rows that are trained together are one work."""
    import numpy as np

    found: list[tuple[Work, list[int]]] = []
    trained = {item.tokens for item in work if item.part == "training" and item.does == "train"}
    for item in work:
        count = math.ceil(item.share * sum(int(values[name] or 0) for name in item.rows))
        count = count if item.most is None else min(count, item.most)
        if item.part == "training" and item.does == "train":
            rows = spread(item.tokens, count)
            earlier = next((pair for pair in found if (pair[0].part, pair[0].does) == (item.part, item.does)), None)
            if earlier is not None:
                if lengths is None:
                    earlier[1].extend(rows)
                continue
            found.append((item, list(lengths) if lengths is not None else rows))
        else:
            tokens: Sequence[float] = item.tokens
            if lengths and trained == {item.tokens}:  # rows like those that are trained on
                tokens = [float(q) for q in np.quantile(lengths, np.linspace(0, 1, len(item.tokens)))]
            found.append((item, spread(tokens, count)))
    return found


def spread(quantiles: Sequence[float], count: int) -> list[int]:
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


@dataclass
class _Load:
    """A kind of work in batches.

    Attributes:
        longest: tokens of the longest row of each batch.
        times: how often all of them are worked through; a last batch that is not full counts for less.
        updates: of a training.
        preparing: seconds that its pictures take.
        seconds: once they are known.
    """

    work: Work
    longest: list[int]
    times: float
    updates: int = 0
    preparing: float = 0.0
    seconds: float = 0.0


class _Clock:
    """A lesson's batches, and seconds of one."""

    def __init__(self, jobs: Mapping[str, Job], rates: Rates, shown: int, values: Mapping[str, Any]) -> None:
        self.training_job, self.answers = jobs["training"], jobs.get("answers", jobs["training"])
        self.rates, self.shown, self.values = rates, shown, values
        self.update = 0.0  # seconds, once a pass was looked at

    def load(self, work: Work, rows: Sequence[int]) -> _Load:
        """The batches of one kind of work on rows of these lengths, pictures not counted."""
        times = work.times * (float(self.values["epochs"]) if work.each_epoch or work.does == "train" else 1.0)
        job, preparing = self.training_job, times * len(rows) * (PICTURE if self.shown else 0.0)
        if work.does == "train":
            size = int(self.values["batch_size"])
            batches = padded_lengths(self._cut(rows), size, job.accumulation, work.grouped, self.values["seed"])
            return _Load(work, batches, times, math.ceil(times * math.ceil(len(batches) / job.accumulation)), preparing)
        ordered = [(1 + work.shots) * row + self.shown for row in rows] if work.shots else self._cut(rows)
        ordered.sort(reverse=True)
        if work.does == "write":  # a token takes about as long for a few rows as for a full batch
            size = max(1, round(work.at_once * self.answers.batch_size))
            return _Load(work, ordered[::size], times * work.until, preparing=preparing)
        longest = ordered[:: self.answers.batch_size]
        full = len(longest) * self.answers.batch_size
        return _Load(work, longest, times * len(rows) / full, preparing=preparing)

    def a_pass(self, length: int) -> float:
        """Seconds of a forward and a backward pass."""
        step = step_time(self._at(self.training_job.but(accumulation=1), length), self.rates)
        self.update = self.update or step.spent("update")
        return step.total - step.spent("update")

    def a_reading(self, length: int) -> float:
        """Seconds of a forward pass without gradients, with the likelihoods of an answer where there are such."""
        step = "generate" if self.training_job.step in ("classify", "contrast") else "rate"
        job = self.answers.but(step=step, new_tokens=1, labelled=self.training_job.labelled)
        return step_time(self._at(job, length), self.rates).reading

    def an_answering(self, length: int) -> float:
        """Seconds of answers as long as they may be, to prompts of this length less a usual answer."""
        new = self.answers.new_tokens
        prompt = self.answers.but(length=max(length, self.shown + 3), new_tokens=1)
        first = step_time(prompt, self.rates).reading
        if new < 2:
            return first
        middle = step_time(prompt.but(new_tokens=max(2, new // 2)), self.rates).reading
        return first + (new - 1) * max(0.0, middle - first)

    def _cut(self, rows: Sequence[int]) -> list[int]:
        """Tokens of rows with their pictures, as they are trained on."""
        most = self.training_job.length
        return [most if self.values.get("padding") == "max_length" else min(row + self.shown, most) for row in rows]

    def _at(self, job: Job, length: int) -> Job:
        length = max(length, self.shown + 3, 2)
        return dataclasses.replace(job, length=length, labelled=max(1, min(job.labelled, length // 2)))
