"""Figures: what was passed in is what is drawn, on labelled axes, and nothing stays open in pyplot."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers import plots
from helpers.evaluation import calibration, wilson
from helpers.plots.style import GREY, PALETTE

HISTORY = [
    {"step": 1, "loss": 3.0, "learning_rate": 1e-4},
    {"step": 2, "loss": 2.0, "learning_rate": 5e-5},
    {"step": 2, "eval_loss": 2.5},
    {"step": 3, "loss": float("nan"), "learning_rate": None},
]
SYSTEMS = {
    "base": {"accuracy": {"value": 0.3, "low": 0.2, "high": 0.4}},
    "tuned": {
        "accuracy": {"value": 0.7, "low": 0.6, "high": 0.8},
        "bleu": {"value": 0.1, "low": 0.0, "high": 0.2},
    },
}
TEST = {"a": "x", "b": "y", "metric": "bleu", "difference": 0.1, "low": 0.05, "high": 0.2, "p_value": 0.0004}
BALANCE = pd.DataFrame(
    [("train", "yes", 0.6, 0.5, 0.7), ("train", "no", 0.4, 0.3, 0.5), ("test", "yes", 0.5, 0.2, 0.8)],
    columns=["split", "label", "share", "low", "high"],
)
XY = np.arange(20.0).reshape(10, 2)

EVERY: dict[str, Callable[[], Figure]] = {
    "training_curves": lambda: plots.training_curves(HISTORY, "t"),
    "memory_and_speed": lambda: plots.memory_and_speed(
        [{"step": i, "loss": 1.0, "memory_gb": 2.0 + i, "tokens_per_s": 300.0} for i in (1, 2, 3)]
    ),
    "systems": lambda: plots.systems(SYSTEMS, reference={"accuracy": 0.25}),
    "differences": lambda: plots.differences([TEST]),
    "token_lengths": lambda: plots.token_lengths({"prompt": [1, 5, 9], "completion": [2, 2]}, max_length=6),
    "label_balance": lambda: plots.label_balance(BALANCE),
    "bars": lambda: plots.bars({"salt": 3, "sugar": 2}, "count"),
    "dots": lambda: plots.dots({"fp16": {"a": 1, "b": 90}}, "size (GB)", limit=(16, "a card"), log=True),
    "scatter_2d": lambda: plots.scatter_2d({"PCA": XY, "t-SNE": XY}, ["a"] * 5 + ["b"] * 5),
    "quantisation_error": lambda: plots.quantisation_error(XY, XY + 0.1),
    "confusion": lambda: plots.confusion([[5, 1], [0, 0]], ["yes", "no"]),
    "reliability": lambda: plots.reliability(calibration.reliability([0.2, 0.9, 1.0], [0, 1, 1])),
    "spectra": lambda: plots.spectra({"rank 2": [[1.0, 3.0]], "full": [[2.0, 1.0, 0.5, 0.0], [1.0]]}),
    "low_rank": lambda: plots.low_rank(
        [0.1, 1.0],
        {"nuclear": [9.0, 3.0]},
        {"nuclear": [wilson(4, 9), wilson(3, 9)]},
        {0.1: [[1.0, 2.0], [3.0, 4.0]], 1.0: [[0.5, 0.1]]},
        "accuracy",
        (8.0, wilson(5, 9)),
    ),
    "timeline": lambda: plots.timeline(
        [("card 0", "forward", 0.0, 1.5), ("card 1", "forward", 1.5, 3.0), ("card 1", "backward", 3.0, 5.0)], "ms"
    ),
    "gaps": lambda: plots.gaps({"as published": [0.1, 0.2], "repaired": [0.0, 1e-7], "equal": [0.0]}, "update", "gap"),
    "learning_curve": lambda: plots.learning_curve({"qlora": {9: wilson(4, 9), 100: wilson(80, 100)}}, "n", "acc"),
    "pareto": lambda: plots.pareto(
        {"a": {"train_seconds": 0, "value": 0.3, "low": 0.2, "high": 0.4}}, ["a"], "training (s)", "accuracy"
    ),
    "pictures": lambda: plots.pictures([np.zeros((8, 8, 3))] * 4, ["a", "b\nc", "d", "e"], 3, right=[True, False] * 2),
    "memory": lambda: plots.memory(
        {"a": [{"part": "weights", "GB": 2.0}, {"part": "activations", "GB": 1.0}]}, {"T4": 4}
    ),
    "curves": lambda: plots.curves([1, 2], {"a": [1, 2], "b": [wilson(4, 9), None]}, "length (tokens)", "memory (GB)"),
    "agreement": lambda: plots.agreement({"a": [(1.0, 1.1), (20.0, 18.0)], "b": []}, "measured", "planned", 0.07),
}


@pytest.mark.parametrize("name", EVERY)
def test_figure_renders_with_labelled_axes_and_leaves_nothing_open(name: str) -> None:
    before = dict(matplotlib.rcParams)
    fig = EVERY[name]()
    assert isinstance(fig, Figure)
    assert not plt.get_fignums()
    assert dict(matplotlib.rcParams) == before
    assert any(axis.get_xlabel() for axis in fig.axes)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_every_public_function_is_covered_here() -> None:
    public = {
        name
        for name, value in vars(plots).items()
        if callable(value) and getattr(value, "__module__", "").startswith(plots.__name__) and name[0] != "_"
    }
    assert public == set(EVERY)


def _line(fig: Figure, label: str) -> Any:
    return next(line for axis in fig.axes for line in axis.lines if line.get_label() == label)


def test_training_curve_draws_the_numbers_and_skips_missing_ones() -> None:
    fig = plots.training_curves(HISTORY)
    assert _line(fig, "training").get_ydata().tolist() == [3.0, 2.0]
    assert _line(fig, "validation").get_xdata().tolist() == [2.0]
    assert len(fig.axes) == 2
    assert len(plots.training_curves([{"step": 1, "loss": 1.0}]).axes) == 1
    with pytest.raises(ValueError, match="no loss"):
        plots.training_curves([{"step": 1}])


def test_systems_leaves_a_row_empty_where_a_metric_is_missing() -> None:
    fig = plots.systems(SYSTEMS)
    accuracy, bleu = fig.axes
    assert len(accuracy.lines) == 4 and len(bleu.lines) == 2  # an interval and a dot each
    assert [t.get_text() for t in accuracy.get_yticklabels()] == ["base", "tuned"]
    assert accuracy.lines[0].get_xdata().tolist() == [0.2, 0.4]


def test_length_titles_state_what_is_cut() -> None:
    fig = plots.token_lengths({"total": [10, 20, 30, 40]}, max_length=25)
    assert "50.0% beyond 25" in fig.axes[0].get_title(loc="left")
    with pytest.raises(ValueError, match="at least one"):
        plots.token_lengths({"total": []})


def test_scatter_keeps_every_point_and_groups_rare_categories() -> None:
    categories = list("aaabbbccde")
    fig = plots.scatter_2d({"PCA": XY}, categories, max_categories=2)
    drawn = sum(len(c.get_offsets()) for c in fig.axes[0].collections)
    assert drawn == len(XY)
    assert "other (4)" in [c.get_label() for c in fig.axes[0].collections]
    with pytest.raises(ValueError, match="shape"):
        plots.scatter_2d({"PCA": XY[:3]}, categories)


def test_quantisation_error_reports_the_relative_error() -> None:
    weights = np.array([3.0, 4.0])
    fig = plots.quantisation_error(weights, weights * 1.1)
    assert "= 10.0%" in fig.axes[1].get_title(loc="left")
    with pytest.raises(ValueError, match="entries"):
        plots.quantisation_error(weights, weights[:1])


def test_differences_colour_only_clear_ones() -> None:
    fig = plots.differences([TEST, {**TEST, "low": -0.1, "p_value": 0.2}])
    colours = [line.get_color() for line in fig.axes[0].lines if line.get_marker() == "o"]
    assert colours == [PALETTE[1], GREY]


def test_importing_plots_does_not_import_matplotlib() -> None:
    code = "import sys, helpers.plots; print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_confusion_shows_every_count_and_its_share_of_the_row() -> None:
    fig = plots.confusion([[5, 15], [0, 0]], ["yes", "no"])
    assert [t.get_text() for t in fig.axes[0].texts] == ["5\n25%", "15\n75%", "0\n0%", "0\n0%"]


def test_reliability_draws_each_bin_at_its_confidence_and_accuracy() -> None:
    bins = calibration.reliability([0.55, 0.56, 0.95, 0.96], [1, 0, 1, 1])
    lines = plots.reliability(bins).axes[0].lines
    points = [line.get_xydata()[0].tolist() for line in lines if line.get_marker() == "o"]
    assert points == [[pytest.approx(0.555), 0.5], [pytest.approx(0.955), 1.0]]
    with pytest.raises(ValueError, match="no bins"):
        plots.reliability([])


def test_spectra_fall_from_their_largest_value_and_are_means_over_layers() -> None:
    (axis,) = plots.spectra({"full": [[2.0, 0.0, 4.0, 1.0], [1.0, 10.0], [0.0]]}).axes
    assert axis.lines[0].get_ydata().tolist() == pytest.approx([1.0, 0.3, 0.25, 0.0]) and axis.get_yscale() == "log"


def test_low_rank_shows_rank_quality_and_singular_values() -> None:
    left, middle, right = EVERY["low_rank"]().axes
    assert left.lines[0].get_ydata().tolist() == [9.0, 3.0] and left.get_xscale() == "log"
    assert middle.lines[0].get_ydata().tolist() == [wilson(4, 9).value, wilson(3, 9).value]
    assert left.lines[1].get_ydata()[0] == 8.0 and middle.lines[1].get_ydata()[0] == wilson(5, 9).value
    assert [line.get_ydata().tolist() for line in right.lines] == [[3.0, 2.0], [0.5, 0.1]]


def test_curves_have_a_logarithmic_axis_where_asked_for() -> None:
    (axis,) = plots.curves([1e-3, 1e-2, 1e-1], {"a": [1.0, None, 2.0]}, "rate", "loss", log=True).axes
    assert axis.get_xscale() == "log" and np.isnan(axis.lines[0].get_ydata()[1])


def test_a_timeline_has_a_lane_for_each_card_and_a_bar_for_each_stretch() -> None:
    (axis,) = EVERY["timeline"]().axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["card 0", "card 1"]
    bars = sorted((bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in axis.patches)
    assert bars == [pytest.approx(row) for row in ((0, 0.0, 1.5), (1, 1.5, 1.5), (1, 3.0, 2.0))]


def test_gaps_leave_out_what_is_equal() -> None:
    (axis,) = EVERY["gaps"]().axes
    assert axis.get_yscale() == "log"
    assert list(_line(axis.figure, "repaired").get_xdata()) == [2] and not len(_line(axis.figure, "equal").get_xdata())
