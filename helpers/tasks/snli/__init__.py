"""Task ``snli``: does a premise make a hypothesis certain, leave it open or rule it out?"""

from __future__ import annotations

from helpers.tasks.snli.task import VERBALISERS, SnliTask

TASK = SnliTask()
