"""Task ``zappos``: what kind of shoe is in the picture, in which colour, of which material?"""

from __future__ import annotations

from helpers.tasks.zappos.pairs import compositional
from helpers.tasks.zappos.task import ZapposTask, slots_right
from helpers.tasks.zappos.words import caption

__all__ = ["ZapposTask", "caption", "compositional", "slots_right"]
