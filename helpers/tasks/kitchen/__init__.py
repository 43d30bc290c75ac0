"""Task ``kitchen``: questions about pictures of food that need recognition and logic."""

from helpers.tasks.kitchen.task import KitchenTask

TASK = KitchenTask()
