"""The risks of a model card: what this run measured, and what the lessons beside it did."""

from __future__ import annotations

from helpers.runs import risks
from helpers.runs.display import markdown_table
from helpers.runs.records import FINISHED, RunRecord, read_runs

# The lesson that measures a risk.
LESSONS = {"bias": "04", "overfitting": "03", "privacy": "04", "misalignment": "10", "opacity": "11"}
FOREIGN = (
    "Numbers of other lessons are of the adapters that were trained there, with the model and data of that run: they "
    "say what such a training did, not what this adapter does. p-values are not corrected for the number of tests."
)


def beside(run: RunRecord) -> list[RunRecord]:
    """This run, and the newest finished one of each other lesson in the same outputs folder and profile.

    Only runs that have measured a risk.
    """
    profile = run.info.get("settings", {}).get("profile")
    newest: dict[str, RunRecord] = {}
    for other in sorted(read_runs(run.folder.parent.parent), key=lambda r: str(r.info.get("finished"))):
        same = other.status == FINISHED and other.info.get("settings", {}).get("profile") == profile
        if same and other.notebook != run.notebook:
            newest[other.notebook] = other
    found = [run, *(newest[name] for name in sorted(newest))]
    return [record for record in found if record.metrics.get("risks")]


def rows(run: RunRecord) -> list[dict[str, str]]:
    """One row a measurement: risk, measure, what was found, the change with its test, and the lesson with its model."""
    made = []
    for record in beside(run):
        where = f"{record.number}, {record.info['settings'].get('model_id', 'no model')}"
        made += [risks.cells(row) | {"lesson": where} for row in record.metrics["risks"]]
    order = list(risks.RISKS)
    return sorted(made, key=lambda row: order.index(row["risk"]))


def section(run: RunRecord) -> list[str]:
    """The lines of a card: the table, what it does not say, and which risks nobody has measured."""
    table = rows(run)
    measured = {row["risk"] for row in table}
    lines = [markdown_table(table), FOREIGN] if table else []
    missing = [
        f"{risk} ({asked}): lesson {LESSONS[risk]}" for risk, asked in risks.RISKS.items() if risk not in measured
    ]
    return lines + ([f"Not measured by any finished run beside this one: {'; '.join(missing)}."] if missing else [])
