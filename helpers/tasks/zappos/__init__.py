"""Task ``zappos``: what kind of shoe is in the picture, in which colour, of which material?"""

from __future__ import annotations

from helpers.tasks.zappos.task import ZapposTask, caption, compositional, slots_right

TASK = ZapposTask()

__all__ = ["TASK", "ZapposTask", "caption", "compositional", "slots_right"]
