"""What a run has found, and how it is kept: metrics.json, facts for run.json, and the files beside them.

Everything is on disk as soon as it is given: whatever breaks later, what was measured is kept.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import ParameterError
from helpers.evaluation.metrics import METRICS
from helpers.files import replace_folder, write_atomic
from helpers.hints import did_you_mean
from helpers.runs import claims, records, risks
from helpers.runs.display import systems_frame, test_row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from helpers.evaluation.before_after import BeforeAfter
    from helpers.evaluation.intervals import Estimate
    from helpers.evaluation.metrics import Scores
    from helpers.evaluation.statistics import TestResult

PUBLISHED = ("what", "published", "reproduced", "repaired")


class Findings:
    """The results of one run: the half of ``Run`` that lessons write into.

    Args:
        folder: of the run; results that a run to be continued has left there are kept until they are measured again.
        seed: of the bootstrap.
        as_recorded: the run is the course's own, so that the lesson's claims have to hold.
    """

    def __init__(self, folder: Path, seed: int, as_recorded: bool = True) -> None:
        self.folder = folder
        self._seed = seed
        self._as_recorded = as_recorded
        earlier = records.read_json(folder / "metrics.json")
        self._systems: dict[str, dict[str, Any]] = dict(earlier.get("systems", {}))
        self._tests: list[dict[str, Any]] = list(earlier.get("tests", []))
        self._risks: list[risks.Row] = list(earlier.get("risks", []))
        self._how: dict[str, dict[str, str]] = {}
        self._claims: dict[str, claims.Claim] = {}

    def note(self, key: str, value: Any) -> None:
        """Keep a fact about the run in run.json."""
        raise NotImplementedError

    def add_system(
        self, name: str, scores: Scores | Mapping[str, Estimate], metrics: Iterable[str] | None = None
    ) -> None:
        """Record one system's metrics, each with its interval, and how they were computed; a later call adds to it.

        Args:
            name: e.g. "zero-shot", "qlora"; the name that tables and tests use.
            scores: of ``helpers.evaluation``, or metric → Estimate; names as in ``METRICS``, on a 0–1 scale but
                perplexity and clip_score.
            metrics: which of them; all when not given.

        Raises:
            ParameterError: a metric is not one of ``METRICS``.
        """
        if notes := {} if isinstance(scores, Mapping) else scores.notes:
            self._how[name] = self._how.get(name, {}) | notes
            self.note("how", self._how)
        estimates = scores if isinstance(scores, Mapping) else scores.estimates(seed=self._seed)
        wanted = set(estimates if metrics is None else metrics)
        known = self._systems.get(name, {})
        for metric, estimate in estimates.items():
            if metric in wanted and metric not in METRICS:
                hint = did_you_mean(metric, METRICS)
                raise ParameterError(f"unknown metric {metric!r}{hint}", f"Metrics: {', '.join(METRICS)}")
            if metric in wanted:
                entry = {key: records.rounded(getattr(estimate, key)) for key in ("value", "low", "high")}
                entry |= {"n": int(estimate.n)}
                if groups := 0 if isinstance(scores, Mapping) else scores.parts[metric].n_groups:
                    entry |= {"groups": groups}  # what was drawn for the interval, in place of examples
                known = known | {metric: entry}
        self._systems[name] = {m: known[m] for m in METRICS if m in known}
        self._write_metrics()

    def add_tests(self, results: Iterable[TestResult]) -> None:
        """Record paired comparisons; one of the same pair, metric and kind replaces the earlier one."""
        for result in results:
            row: dict[str, Any] = {"a": result.a, "b": result.b, "metric": result.metric}
            row |= {key: records.rounded(getattr(result, key)) for key in ("difference", "low", "high", "p_value")}
            row |= {"test": result.test}
            same = ("a", "b", "metric", "test")
            self._tests = [t for t in self._tests if any(t[k] != row[k] for k in same)] + [row]
        self._write_metrics()

    def add_risk(self, risk: str, measure: str, found: BeforeAfter | Estimate) -> None:
        """Record and print a measurement of a risk; one of the same name replaces the earlier one.

        Args:
            risk: of ``risks.RISKS``.
            measure: what was measured, with its unit.
            found: with its interval; before and after training with a paired test.

        Raises:
            ParameterError: a risk that is not known.
        """
        row = risks.row(risk, measure, found)
        self._risks = [r for r in self._risks if (r["risk"], r["measure"]) != (risk, measure)] + [row]
        print(risks.line(row))
        self._write_metrics()

    def _write_metrics(self) -> None:
        metrics = {"systems": self._systems, "tests": self._tests} | ({"risks": self._risks} if self._risks else {})
        write_atomic(self.folder / "metrics.json", records.to_json(metrics) + "\n")

    def claim(self, sentence: str, holds: bool | None, found: str = "") -> None:
        """Say what the lesson has found on its own data, and whether it is so here; prints and keeps the answer.

        On the course's data and settings a claim that does not hold is an error, raised by ``Run.finish`` when all
        have been heard. On other data it is a finding like any other.

        Args:
            sentence: what should hold, without a full stop.
            holds: whether it does; None where this data has not got the figures that it needs.
            found: the figures; without them, why there are none.
        """
        known = None if holds is None else bool(holds)
        self._hear(claims.Claim(sentence, known, found, self._as_recorded))

    def not_tested(self, sentence: str, why: str) -> None:
        """Say that this run cannot test a claim, such as one about pictures with a model that reads text only.

        It counts neither as holding nor, on the course's own data, as an error.

        Args:
            sentence: as for ``claim``.
            why: what it would need.
        """
        self._hear(claims.Claim(sentence, None, why, checked=False))

    def _hear(self, claim: claims.Claim) -> None:
        self._claims[claim.sentence] = claim
        print(claim)
        self.note("claims", list(self._claims.values()))

    def claim_difference(
        self, sentence: str, test: TestResult | None, below: float = 0.01, falls: bool = False
    ) -> None:
        """``claim`` that a paired test shows a clear difference.

        Args:
            test: of the two systems; None where they could not be compared.
            below: p has to be smaller than this.
            falls: the first system has to have the lower value, not the higher.
        """
        self.claim(sentence, *claims.of_difference(test, below, falls))

    def add_cost(self, seconds: float, tokens: float, *, trainable: int, total: int) -> dict[str, Any]:
        """Keep what the training cost; lesson 09 draws quality against it.

        Args:
            seconds: of training alone.
            tokens: that the model read in that time.
            trainable, total: parameters.
        """
        rates = {"train_seconds": round(seconds, 1), "tokens_per_s": round(tokens / seconds, 1)}
        self.note("cost", cost := rates | {"trainable": trainable, "total": total})
        return cost

    def add_points(self, points: Mapping[str, tuple[Scores, float]], metric: str = "accuracy") -> None:
        """Keep each system's ``metric`` beside its seconds of training, for lesson 09's cost figure.

        Args:
            points: system → (its scores, seconds of training).
        """
        rows = [
            {"name": name, "metric": metric, "train_seconds": seconds}
            | scores.estimates(seed=self._seed)[metric].as_dict()
            for name, (scores, seconds) in points.items()
        ]
        self.note("points", rows)

    def add_outcomes(self, before: Sequence[bool], after: Sequence[bool]) -> dict[str, int]:
        """Keep how many examples training fixed, broke, left wrong or left right; returns and prints the counts.

        Args:
            before, after: whether each example was answered rightly.
        """
        from helpers.evaluation.failures import outcomes

        found = outcomes(before, after)
        self.note("outcomes", found)
        print(", ".join(f"{count} {outcome}" for outcome, count in found.items()) + f", of {len(before)}")
        return found

    def add_published(self, project: str, rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
        """Keep the lesson's comparison with a published project; returns it as a table.

        Args:
            project: its letter.
            rows: (what, published, reproduced, repaired) as texts.
        """
        import pandas as pd

        table = [dict(zip(PUBLISHED, row, strict=True)) for row in rows]
        self.note("published", [{"project": project} | row for row in table])
        return pd.DataFrame(table).set_index("what")

    def save_predictions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """predictions.jsonl, one object a line: input, reference, prediction, score, and what else helps."""
        lines = [records.to_json(row, indent=None) + "\n" for row in rows]
        write_atomic(self.folder / "predictions.jsonl", "".join(lines))

    def save_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """history.csv, one row a logged step; columns in order of first appearance."""
        write_atomic(self.folder / "history.csv", records.to_csv(rows))

    def save_figure(self, figure: Figure, name: str) -> Figure:
        """figures/<name>.png. Returns the figure: as a cell's last line it is shown, once."""
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None})
        write_atomic(self.folder / "figures" / f"{name}.png", picture.getvalue())
        import matplotlib.pyplot as plt

        plt.close(figure)  # otherwise the notebook shows it a second time at the end of the cell
        return figure

    def save_adapter(self, model: Any, tokenizer: Any = None) -> Path:
        """adapter/, through ``save_pretrained``; complete or not there at all.

        Raises:
            RunError: the disk is full or not writable; an earlier adapter is untouched.
        """

        from helpers.training.sharding import save_adapter

        def write(folder: Path) -> None:
            save_adapter(model, folder)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)

        return replace_folder(self.folder / "adapter", write)

    def table(self) -> pd.DataFrame:
        """Systems × metrics, each cell "value [low, high]"."""
        return systems_frame(self._systems)

    def tests_table(self) -> pd.DataFrame:
        """One row a comparison: a − b, metric, difference with interval, p, test."""
        import pandas as pd

        return pd.DataFrame([test_row(test) for test in self._tests])
