"""Task ``zappos``: what kind of shoe is in the picture, in which colour, of which material?"""

from helpers.tasks.zappos.captions import (
    all_right,
    caption_lines,
    slot_hits,
    slot_shares,
    slots_named,
    word_outcomes,
    write_captions,
)
from helpers.tasks.zappos.pairs import compositional
from helpers.tasks.zappos.task import ZapposTask, slots_right
from helpers.tasks.zappos.words import caption

TASK = ZapposTask()
