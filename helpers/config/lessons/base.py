"""What a lesson's record says: its parameters with what each profile sets, its tasks, its memory plan, its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers import tasks
from helpers.config.profiles import PROFILES, SMOLLM2

# Lessons that can be run on every task whose questions are texts, or can be.
TEXT_TASKS = "all tasks in words"


class _FromTask:
    """Stands for a default that the task knows: its main form, or a text and a choice to train together."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"the task's {self.name}"


MAIN_FORM, TRAINED_FORMS = _FromTask("main form"), _FromTask("text form and first choice form")

# Parts that the parameters of several lessons share, in the order of their parameters cells.
DATA: dict[str, Any] = {"dataset": "builtin", "columns": None, "labels": None, "splits": "official", "protocol": None}
PLACE: dict[str, Any] = {"seed": 0, "run_name": None, "output_dir": None}
RESUMABLE: dict[str, Any] = {"checkpoint_dir": None, "resume": False}
# Lessons about pictures on scenes of food: another tiny model has seen them, and proofs are longer than reasons.
ON_KITCHEN: dict[str, Any] = {
    "model_id": ("tiny/qwen2_vl_kitchen", SMOLLM2, "Qwen/Qwen2-VL-2B-Instruct"),
    "max_new_tokens": (64, 96, 256),
}
# Tokens of ScienceQA's questions as the generator writes them, with their solutions; see ``Work.tokens``.
QUESTIONS = (82, 88, 96, 101, 106)
VALIDATION = 1 / 3  # validation questions for a test question
ENDED = 0.65  # of the tokens that an answer may have, in runs of `smoke`; see ``Work.until``


@dataclass(frozen=True)
class Work:
    """One thing that a lesson does with its model, for the forecast of its time.

    Attributes:
        part: what it belongs to: "training", "other trainings", "before training", "after training".
        does: "train" (as many passes over the rows as there are epochs), "read" them without gradients, or "write" an
            answer to each.
        rows: parameters whose sum is how many rows there are.
        times: how often.
        tokens: of a row's text: the shortest, a quarter, half, three quarters of the rows, and the longest.
        grouped: a batch holds rows of about one length.
        share: of these rows, the validation questions say; or several, one for each option of a question.
        most: rows at most.
        at_once: answers that are written at once, as a multiple of ``MemoryStep.answer_batch``.
        until: share of the longest allowed answer after which all answers of a batch have ended; trained models end
            theirs, others may write on.
        shots: worked examples stand in front: rows are as long as all of them, and are not cut.
        pictures: only with a model that reads pictures.
        each_epoch: `times` is for an epoch.
        reasoner: done with the second model, ``reasoner_id``.
    """

    part: str
    does: str
    rows: tuple[str, ...]
    times: float = 1.0
    tokens: tuple[int, ...] = ()
    grouped: bool = True
    share: float = 1.0
    most: int | None = None
    at_once: float = 1.0
    until: float = 1.0
    shots: int = 0
    pictures: bool = False
    each_epoch: bool = False
    reasoner: bool = False


@dataclass(frozen=True)
class Shorter:
    """How far a size may go down in profile ``cpu`` where time is short, see ``runs.budget``.

    Attributes:
        least: with less the lesson would show too little; its claims should hold with it for every seed.
        share: of the lesson's time with its usual sizes that grows with this one.
    """

    least: int
    share: float


@dataclass(frozen=True)
class MemoryStep:
    """The largest steps of a lesson, for the memory plan.

    Attributes:
        step: what its training computes: "classify", "completion", "vision" or "contrast".
        prompt, completion: tokens of the longest text, where nobody has looked at the data.
        answer_batch: rows in a batch of answers, as a multiple of ``batch_size``.
        method: what is trained; "" where the parameter ``prefix`` says it.
        language_only: of a model that reads pictures, only the language half gets an adapter.
        shots: tokens of the worked examples in front of a question, as they usually are; 0: there are none.
        shots_batch: questions with them in one forward pass, as a multiple of ``batch_size``.
        rated: choices of a question, each of which is read as a whole answer; as many questions at once as answers.
        batch_is_fixed: the training step's rows do not follow ``batch_size``.
        usual_rows: how many they usually are then; memory is planned for more.
        faster: on a CPU it trains in ``training.faster_on_cpu``.
        work: all that the lesson does with the model and that takes long.
        besides: seconds of what it does without the model: data, classical models, figures, imports. Measured in
            `smoke` on two cores.
    """

    step: str
    prompt: int
    completion: int
    answer_batch: int = 4
    method: str = "lora"
    language_only: bool = False
    shots: int = 0
    shots_batch: int = 1
    rated: int = 0
    batch_is_fixed: bool = False
    usual_rows: int = 0
    faster: bool = False
    work: tuple[Work, ...] = ()
    besides: float = 0.0


@dataclass(frozen=True)
class Lesson:
    """One notebook, with everything that the code knows about it.

    Attributes:
        id: the file's name without its suffix.
        title: as in README.
        task_names: whose data it can run on, the usual one first; ``TEXT_TASKS`` for all in words; () for none.
        parameters: parameter → its default, in the order of the parameters cell. A tuple has one value for each
            profile, (smoke, cpu, full); anything else is the same in all three. None: nothing, or decided at the start.
        by_task: task → rows of ``parameters`` that are others for it.
        memory: what its training needs memory for; None when it trains nothing.
        figures: the two that its record keeps.
        result: the system whose numbers are the lesson's result, as its metrics name it; "" where there are several.
        shorter: sizes that may be smaller than usual where time is short.
        data: what it reads, in words, where no parameter says so.
        reads_runs: it works on what others have left behind, so it starts when they have ended.
    """

    id: str
    title: str
    parameters: Mapping[str, Any]
    task_names: tuple[str, ...] | str = ()
    by_task: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    memory: MemoryStep | None = None
    figures: tuple[str, ...] = ()
    result: str = ""
    shorter: Mapping[str, Shorter] = field(default_factory=dict)
    data: str = ""
    reads_runs: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it can run on, the usual one first."""
        if isinstance(self.task_names, tuple):
            return self.task_names
        return tuple(name for name, task in tasks.TASKS.items() if task.in_words or not task.reads_pictures)

    def default(self, name: str, profile: str, task: str | None = None) -> Any:
        """What a parameter is when a reader leaves it alone.

        Args:
            task: name of a task; the usual one when not given.
        """
        return self.default_and_origin(name, profile, task)[0]

    def default_and_origin(self, name: str, profile: str, task: str | None = None) -> tuple[Any, str]:
        """The default, and where it comes from: "lesson", "profile cpu", "task snli" or both."""
        task = task or (self.tasks[0] if self.tasks else "none")
        own = self.by_task.get(task, {})
        row = own.get(name, self.parameters[name])
        told = f"task {task}" if name in own else "lesson"
        if isinstance(row, _FromTask):
            known = tasks.TASKS[task]
            return (known.main_form if row is MAIN_FORM else known.trained_forms), f"task {task}"
        if isinstance(row, tuple):
            where = f"profile {profile}"
            return row[list(PROFILES).index(profile)], where if told == "lesson" else f"{where}, {told}"
        return row, told

    def defaults(self, profile: str, task: str | None = None) -> dict[str, Any]:
        """All parameters as they are when a reader leaves them alone."""
        return {name: self.default(name, profile, task) for name in self.parameters}

    def shared_default(self, name: str) -> Any:
        """The value that a parameter has in every profile and task, else None: what the parameters cell shows."""
        cases = [self.default(name, profile, task) for profile in PROFILES for task in self.tasks or (None,)]
        return cases[0] if all(case == cases[0] for case in cases) else None
