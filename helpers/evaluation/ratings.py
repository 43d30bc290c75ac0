"""Blind A/B ratings by people: who rates what, and what the ratings say.

Two systems' answers to the same question are shown side by side, in random order and on random sides, without
names. A rater says left, right or tie. The key that tells which side was which is kept apart from the sheet.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import DataError
from helpers.evaluation.intervals import LEVEL, Estimate, wilson
from helpers.evaluation.statistics import DRAWS, mcnemar_exact

if TYPE_CHECKING:
    import pandas as pd

CHOICES = ("left", "right", "tie")
SIMULATED = "simulated"  # how a rater that is no person is called


@dataclass(frozen=True)
class Item:
    """One comparison as a rater sees it."""

    id: str
    question: str
    left: str
    right: str
    reference: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the ratings say about two systems.

    Attributes:
        wins, losses, ties: of ``a`` against ``b``; an item rated by several people counts once, by its majority.
        win_rate: share of wins among items that are no tie, with Wilson's interval; None when all are ties.
        p_value: exact sign test of wins against losses.
        raters: how many people (or simulated raters).
        simulated: whether any rater was simulated.
    """

    a: str
    b: str
    wins: int
    losses: int
    ties: int
    win_rate: Estimate | None
    p_value: float
    raters: int
    simulated: bool

    def __str__(self) -> str:
        who = f"{self.raters} {'SIMULATED ' if self.simulated else ''}rater{'s' if self.raters != 1 else ''}"
        rate = "" if self.win_rate is None else f", win rate {self.win_rate} without ties"
        score = f"{self.wins} wins, {self.losses} losses, {self.ties} ties"
        return f"{self.a} against {self.b}: {score}{rate}, sign test p = {self.p_value:.3f} ({who})"


def make_items(
    questions: Sequence[str],
    answers_a: Sequence[str],
    answers_b: Sequence[str],
    references: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[list[Item], dict[str, str]]:
    """Comparisons in random order, sides drawn by a coin, equal answers left out (nobody can prefer one).

    Returns:
        The items, and the key: item id → side of system ``a``, ``"left"`` or ``"right"``.

    Raises:
        DataError: lengths differ, or no question has two different answers.
    """
    lengths = {len(questions), len(answers_a), len(answers_b), len(references or questions)}
    if len(lengths) != 1:
        raise DataError(f"{len(questions)} questions, {len(answers_a)} and {len(answers_b)} answers do not match")
    rng = random.Random(f"ratings-{seed}")
    order = [i for i in range(len(questions)) if answers_a[i].strip() != answers_b[i].strip()]
    if not order:
        raise DataError("the two systems wrote the same everywhere", "There is nothing to rate: compare other systems")
    rng.shuffle(order)
    items, key = [], {}
    for number, i in enumerate(order, 1):
        side = rng.choice(("left", "right"))
        left, right = (answers_a[i], answers_b[i]) if side == "left" else (answers_b[i], answers_a[i])
        name = f"{number:03d}"
        items.append(Item(name, questions[i], left, right, references[i] if references else ""))
        key[name] = side
    return items, key


def save_key(path: Path, key: Mapping[str, str], a: str, b: str) -> Path:
    """The key as JSON, apart from the sheet, so that a rater does not see it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"a": a, "b": b, "side_of_a": dict(key)}, indent=1) + "\n", encoding="utf-8")
    return path


def read_ratings(files: Sequence[Path], key_file: Path) -> pd.DataFrame:
    """Ratings with the systems' names put back.

    Args:
        files: CSV files as the sheet saves them: ``item, choice, rater`` (and a remark).

    Returns:
        One row a rating: ``item, rater, choice, winner`` (``"a"``, ``"b"`` or ``"tie"``).

    Raises:
        DataError: a file is missing, has other columns, rates an unknown item, says something else than left,
            right or tie, or one rater rated an item twice.
    """
    import pandas as pd

    try:
        key = json.loads(key_file.read_text(encoding="utf-8"))["side_of_a"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{key_file} is not a key of a rating sheet ({error})", "Write the sheet and key anew"
        ) from None
    frames = []
    for file in files:
        try:
            frame = pd.read_csv(file, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{file} cannot be read ({error})", "Give the CSV file that the sheet saved") from None
        if missing := {"item", "choice", "rater"} - set(frame.columns):
            raise DataError(
                f"{file.name} has no column {sorted(missing)[0]!r}", "Give the CSV file that the sheet saved"
            )
        frames.append(frame[frame["choice"] != ""][["item", "rater", "choice"]])
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["item", "rater", "choice"])
    for column, allowed in (("choice", CHOICES), ("item", key)):
        if unknown := sorted(set(table[column]) - set(allowed)):
            raise DataError(f"the ratings have an unknown {column} {unknown[0]!r}", "They belong to another sheet")
    if table.duplicated(["item", "rater"]).any():
        raise DataError("one rater rated the same item twice", "Give each rater another name, each file once")
    table["winner"] = [
        "tie" if c == "tie" else "a" if c == key[i] else "b"
        for c, i in zip(table["choice"], table["item"], strict=True)
    ]
    return table


def verdict(ratings: pd.DataFrame, a: str, b: str, level: float = LEVEL) -> Verdict:
    """Wins, losses, ties, win rate and sign test of ``a`` against ``b``.

    Items are the unit, not ratings: two people who rate the same item do not make two examples. An item's winner
    is what most of its raters say; no majority is a tie.

    Raises:
        DataError: there are no ratings.
    """
    if not len(ratings):
        raise DataError("there are no ratings", "Open the sheet in a browser, rate, and give the CSV file it saves")
    signs = ratings["winner"].map({"a": 1, "b": -1, "tie": 0}).groupby(ratings["item"]).sum()
    wins, losses, ties = int((signs > 0).sum()), int((signs < 0).sum()), int((signs == 0).sum())
    decided = wins + losses
    # The sign test is McNemar's: among decided items each side is a fair coin under the null hypothesis.
    p = mcnemar_exact([1] * wins + [0] * losses, [0] * wins + [1] * losses).p_value if decided else 1.0
    raters = sorted(set(ratings["rater"]))
    return Verdict(
        a, b, wins, losses, ties, wilson(wins, decided, level) if decided else None, p,
        len(raters), any(name.startswith(SIMULATED) for name in raters),
    )  # fmt: skip


def agreement(
    ratings: pd.DataFrame, first: str, second: str, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Cohen's kappa (1960) of two raters on the items that both rated: 0 is what chance gives, 1 is full agreement.

    The interval is a percentile bootstrap over items. Where both raters always say the same one thing, kappa is
    undefined (NaN): there is nothing to agree about.

    Raises:
        DataError: the two raters share no item.
    """
    wide = ratings[ratings["rater"].isin([first, second])].pivot(index="item", columns="rater", values="winner")
    both = wide.dropna() if {first, second} <= set(wide.columns) else wide.head(0)
    if not len(both):
        raise DataError(f"{first!r} and {second!r} have no item in common", "Let two people rate the same sheet")
    code = {"a": 0, "b": 1, "tie": 2}
    x, y = (np.array([code[w] for w in both[name]]) for name in (first, second))
    n = len(x)
    picks = np.random.default_rng(seed).integers(0, n, size=(draws, n))
    drawn = np.array([_kappa(x[p], y[p]) for p in picks])
    drawn = drawn[np.isfinite(drawn)]
    value = _kappa(x, y)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(drawn) else (value, value)
    return Estimate(value, float(low), float(high), n)


def simulate(
    items: Sequence[Item], key: Mapping[str, str], preference: float, ties: float, raters: int = 2, seed: int = 0
) -> pd.DataFrame:
    """Made-up ratings, to show what the analysis looks like. Raters are called "simulated 1", "simulated 2" …

    Each item has a true winner, ``a`` with probability ``preference``, which a rater sees four times in five.
    """
    import pandas as pd

    rng = random.Random(f"simulated-{seed}")
    other = {"left": "right", "right": "left"}
    rows: list[dict[str, Any]] = []
    for item in items:
        better = key[item.id] if rng.random() < preference else other[key[item.id]]
        for number in range(1, raters + 1):
            seen = better if rng.random() < 0.8 else other[better]
            choice = "tie" if rng.random() < ties else seen
            winner = "tie" if choice == "tie" else "a" if choice == key[item.id] else "b"
            rows.append({"item": item.id, "rater": f"{SIMULATED} {number}", "choice": choice, "winner": winner})
    return pd.DataFrame(rows)


def items_json(items: Sequence[Item]) -> str:
    """The items as JSON that may stand inside a script element of a page."""
    return json.dumps([asdict(item) for item in items], ensure_ascii=False).replace("<", "\\u003c")


def _kappa(x: np.ndarray, y: np.ndarray) -> float:
    """(observed − expected agreement) / (1 − expected)."""
    observed = float((x == y).mean())
    expected = float(sum((x == c).mean() * (y == c).mean() for c in range(3)))
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")
