"""The lessons: one record each. A new lesson is a file in this folder that defines ``LESSON``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from helpers.config.lessons.base import Lesson, MemoryStep
from helpers.errors import ParameterError
from helpers.hints import did_you_mean


def _records() -> dict[str, Lesson]:
    names = [module.name for module in iter_modules(__path__) if module.name != "base"]
    found = [import_module(f"{__name__}.{name}").LESSON for name in names]
    return {lesson.id: lesson for lesson in sorted(found, key=lambda lesson: lesson.id)}


LESSONS: dict[str, Lesson] = _records()


def find_lesson(name: str) -> Lesson:
    """The lesson called ``name``: its id, its number ("04", "4"), its name ("eda") or its file.

    Raises:
        ParameterError: there is none.
    """
    stem = Path(str(name)).name.removesuffix(".ipynb")
    if stem in LESSONS:
        return LESSONS[stem]
    number = stem.zfill(2) if stem.isdigit() else stem
    for key, lesson in LESSONS.items():
        if stem.lower() == key.split("_", 1)[1] or number == key.split("_", 1)[0]:
            return lesson
    near = did_you_mean(stem, [*LESSONS, *(key.split("_", 1)[1] for key in LESSONS)])
    raise ParameterError(f"there is no notebook {name!r}{near}", f"Notebooks: {', '.join(LESSONS)}")
