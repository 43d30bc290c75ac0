"""Tables of many runs for reading: seeds pooled, perplexity on other text, costs, published numbers, single answers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.reports import compare_runs
from helpers.runs.display import p_text
from helpers.runs.findings import PUBLISHED
from helpers.runs.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

SEED_METRICS = ("accuracy", "rougeL", "perplexity", "slot_accuracy", "harmonic_mean")
PROJECTS = {
    "A": "Llama-2 on recipes: a proposal without results",
    "B": "Qwen2-VL and PaliGemma on ScienceQA",
    "C": "BLIP-2 on UT-Zappos",
    "D": "Llama-2 with QLoRA: a proposal without results",
    "E": "phi-2 on SNLI",
}


def seeds_frame(records: Sequence[RunRecord], metrics: Sequence[str] = SEED_METRICS) -> pd.DataFrame:
    """One row for each system and metric with two seeds or more: mean, standard deviation, two intervals of the mean.

    Empty where no experiment was run with several seeds.
    """
    import pandas as pd

    from helpers.evaluation import pooling

    rows = []
    groups = compare_runs.by_seed(records)
    apart = compare_runs.told_apart([group[0] for group in groups], compare_runs.OF_A_SEED | {"task"})
    for group, which in zip(groups, apart, strict=True):
        label = " ".join(filter(None, (group[0].number, group[0].info["settings"].get("task"), which)))
        for metric, system in itertools.product(metrics, group[0].systems):
            found = [record.systems.get(system, {}).get(metric, {}).get("value") for record in group]
            values = [value for value in found if value is not None]
            if len(values) < len(group):  # not measured with every seed
                continue
            pooled = pooling.pool(values)
            rows.append({
                "run": label, "system": system, "metric": metric, "seeds": len(group),
                "mean": round(pooled.mean, 3), "spread (sd)": round(pooled.sd, 3),
                "t interval": f"[{pooled.low:.3f}, {pooled.high:.3f}]",
                "bootstrap over seeds": f"[{pooled.boot_low:.3f}, {pooled.boot_high:.3f}]",
            })  # fmt: skip
    return pd.DataFrame(rows)


def forgetting_frame(tests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Change of perplexity on text of another task, one row a comparison; empty where no run measured it.

    Args:
        tests: rows of ``compare_runs.tests``.
    """
    import pandas as pd

    rows = [
        {
            "run": test["run"], "compared": f"{test['a']} − {test['b']}",
            "change": f"{test['difference']:+.2f} [{test['low']:+.2f}, {test['high']:+.2f}]",
        }
        for test in tests
        if test["metric"] == "perplexity" and "other task" in test["a"]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def costs_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row for each run that trained: seconds of training, tokens/s, trainable share, peak memory; may be empty."""
    import pandas as pd

    rows = {}
    for label, record in compare_runs.labelled(records).items():
        if cost := record.notes.get("cost"):
            info, seconds, speed = record.info, cost["train_seconds"], cost["tokens_per_s"]
            memory = info["peak_rss_gb"] if info.get("peak_cuda_gb") is None else info["peak_cuda_gb"]
            rows[label] = {
                "task": info["settings"].get("task"), "training (s)": f"{seconds:,.0f}", "tokens/s": f"{speed:,.0f}",
                "trainable": f"{cost['trainable']:,}", "total": f"{cost['total']:,}",
                "trainable share": f"{cost['trainable'] / cost['total']:.2%}", "peak memory (GB)": f"{memory:.1f}",
            }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def published_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """What lessons noted with ``run.add_published``: project, run, and the four columns of the comparison."""
    import pandas as pd

    rows = [
        {"project": row["project"], "run": label} | {name: row[name] for name in PUBLISHED}
        for label, record in compare_runs.labelled(records).items()
        for row in record.notes.get("published", [])
    ]
    return pd.DataFrame(rows, columns=["project", "run", *PUBLISHED])


def projects_without_a_row(published: pd.DataFrame) -> dict[str, str]:
    """Letter → description of the projects that ``published_frame`` says nothing about.

    A row may stand for several projects: "A/D".
    """
    present = set("".join(published["project"]))
    return {letter: text for letter, text in PROJECTS.items() if letter not in present}


def choices(records: Sequence[RunRecord]) -> dict[tuple[str, str], pd.DataFrame]:
    """Chosen options before and after training: (run, form) → the table of ``failures.pair``.

    Runs that did not keep two systems' choices are left out.
    """
    from helpers.evaluation import failures, predictions

    found = {}
    for label, record in compare_runs.labelled(records).items():
        for name in compare_runs.paired_answers(record, "choice"):
            file, only = record.folder / "predictions.jsonl", {"form": name}
            before = predictions.read_predictions(file, prediction="baseline", score="baseline_score", where=only)
            found[label, name] = failures.pair(before, predictions.read_predictions(file, where=only))
    return found


def texts(records: Sequence[RunRecord]) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Written answers before and after training: (run, form) → rows with input, reference, baseline and prediction.

    Where a system wrote nothing, its answer is "".
    """
    names = ("input", "reference", "baseline", "prediction")
    return {
        (label, form): [{name: row[name] or "" for name in names} for row in rows]
        for label, record in compare_runs.labelled(records).items()
        for form, rows in compare_runs.paired_answers(record, "generation").items()
    }


def changes_frame(paired: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """One row for each (run, form) of ``choices``: the four outcomes, the number of examples, and the paired test."""
    import pandas as pd

    from helpers.evaluation import failures

    rows = {}
    for key, table in paired.items():
        test = failures.test_change(table)
        rows[" ".join(key)] = failures.counts(table) | {"n": len(table), "p": f"{test.p_value:.2g}", "test": test.test}
    return pd.DataFrame.from_dict(rows, orient="index")


def slices_frame(paired: pd.DataFrame) -> pd.DataFrame:
    """``failures.slices`` of questions about two sentences, rounded for reading."""
    from helpers.evaluation import failures

    found = failures.slices(paired, failures.pair_slices())
    accuracies = {name: [f"{estimate:.2f}" for estimate in found[name]] for name in ("before", "after")}
    return found.assign(**accuracies, **{name: found[name].map(p_text) for name in ("p", "p_holm")}).round(3)


def agrees_with_record(record: RunRecord, metric: str, value: float, within: float = 1e-4) -> bool:
    """Whether one of the run's systems has this value of the metric in metrics.json, or none has the metric."""
    values = [metrics[metric]["value"] for metrics in record.systems.values() if metric in metrics]
    return not values or any(abs(known - value) < within for known in values)
