"""Figures of the course, all in one restrained style.

Every function returns a closed ``matplotlib.figure.Figure``: it shows once when it is the last expression of
a cell, and goes to a file with ``run.save_figure(fig, name)``.
"""

from __future__ import annotations

from helpers.plots.classification import confusion, learning_curve, reliability
from helpers.plots.data import label_balance, scatter_2d, token_lengths
from helpers.plots.general import agreement, bars, curves, dots, memory, pictures, quantisation_error
from helpers.plots.low_rank import low_rank, spectra
from helpers.plots.results import differences, memory_and_speed, pareto, systems, training_curves
from helpers.plots.scale_out import gaps, timeline
