"""A model card for a trained adapter, written from what its run recorded: nothing that was not measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from helpers.models.load import ASSET_COPIES
from helpers.reports import risks
from helpers.runs.adapters import SavedAdapter
from helpers.runs.display import duration, markdown_table, system_rows, test_row
from helpers.runs.records import RunRecord
from helpers.sources import assets
from helpers.sources.hub_cache import cached_lists

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

# Settings that say how an adapter came about, in the order of the card.
SETTINGS = (
    "epochs", "learning_rate", "batch_size", "grad_accumulation", "max_length", "lora_r", "lora_alpha",
    "lora_dropout", "lora_targets", "quant", "seed",
)  # fmt: skip
# Power that a card may draw, in watts (data sheets), and what a kWh emitted on average worldwide in 2024, in kg of CO2
# (IEA, Electricity 2025: 445 g).
WATTS = {"T4": 70, "P100": 250, "L4": 72, "A100": 400, "H100": 700, "H200": 700}
KG_A_KWH = 0.45
NOT_TESTED = (
    "other languages, other data than those above, and questions of another form",
    "whether its answers are safe, fair or free of personal data, beyond the few measurements above",
    "whether it keeps what the base model knew",
)


def model_card(run: RunRecord, adapter: SavedAdapter) -> ModelCard:
    """The card: base and data with their licences, settings, results with intervals, what fails, what is not tested.

    Its metadata are built and read back by ``huggingface_hub``'s own classes.
    """
    from huggingface_hub import ModelCard, ModelCardData

    settings, data = run.info["settings"], _data(run)
    title = f"{adapter.name} of {run.run_name}" if adapter.name != "default" else run.run_name
    public = "/" in adapter.base and not adapter.base.startswith(("tiny/", "/"))
    trained_on = {name: data[name] for name in _trained_on(adapter, data)}
    sources = sorted({str(each["source"]) for each in trained_on.values() if "/" in str(each.get("source", ""))})
    told = ModelCardData(
        base_model=adapter.base if public else None,
        library_name="peft",
        license="other",
        license_name="of-the-base-model-and-the-data",
        datasets=[source for source in sources if not source.startswith("/")] or None,
        tags=["lora", "peft-lab"],
        model_name=title,
        eval_results=_results(run, adapter) or None,
    )
    lines = [
        f"# {title}",
        f"An adapter for `{adapter.base}`, trained in lesson {run.number} of a course on fine-tuning. Only the adapter "
        "is here: it changes the base model, which has to be loaded first, then this folder or repository with "
        "`PeftModel.from_pretrained`.",
        "## Base model and data",
        *_bullets(_sources(adapter, data)),
        "## How it was trained",
        *_bullets(f"{name}: {settings[name]}" for name in SETTINGS if settings.get(name) is not None),
        *_bullets([_versions(run.info)]),
        "## Results",
        "Test examples were not trained on. Brackets are 95 % intervals.",
        markdown_table(system_rows(_systems(run, adapter))) if _systems(run, adapter) else "None were recorded.",
        "## Risks, as measured",
        *risks.section(run),
        "## Where it fails",
        *_bullets(_failures(run, adapter)),
        "## Not tested",
        *_bullets([*NOT_TESTED, *_untested(run)]),
        "## Time and energy",
        *_bullets(_cost(run.info)),
    ]
    text = "\n\n".join(lines).replace("\n\n- ", "\n- ")
    return ModelCard(f"---\n{told.to_yaml()}\n---\n\n{text}\n")


def _bullets(lines: Iterable[str]) -> Iterator[str]:
    return (f"- {line}" for line in lines)


def _data(run: RunRecord) -> dict[str, dict[str, Any]]:
    """Task → what was read for it; lessons with several tasks note one report for each."""
    noted = run.notes.get("data") or {}
    if "source" in noted:
        return {str(noted.get("task", "data")): noted}
    return {name: dict(report) for name, report in noted.items() if isinstance(report, Mapping)}


def _sources(adapter: SavedAdapter, data: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield f"Base: `{adapter.base}`, licence: {_licence(adapter.base)}"
    for name, report in data.items():
        trained = name in _trained_on(adapter, data)
        sizes = {part: size for part, size in (report.get("sizes") or {}).items() if trained or part == "test"}
        told = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
        what = "Data" if trained else "Tested only, not trained on"
        yield f"{what} ({name}): {report.get('source')}, {told}; licence: {report.get('licence') or 'see its source'}"


def _trained_on(adapter: SavedAdapter, data: Mapping[str, Any]) -> list[str]:
    """The tasks that the adapter has learned: the one it is named after, where a run has an adapter for each task."""
    return [adapter.name] if adapter.name in data else list(data)


def _licence(model_id: str) -> str:
    """What is known on this machine of a model's licence."""
    if model_id.startswith("tiny/"):
        return "Apache-2.0 (part of the course)"
    if (asset := ASSET_COPIES.get(model_id)) is not None:
        return assets.get(asset).licence
    known = (found.licence for found in cached_lists(model_id, "model") if found.licence)
    return next(known, "see its page")


def _systems(run: RunRecord, adapter: SavedAdapter) -> dict[str, Any]:
    """The run's systems; of those named "adapter: task" only this adapter's and the base's."""
    own = {k: v for k, v in run.systems.items() if k.split(": ")[0] in (adapter.name, "base") and ": " in k}
    return own or run.systems


def _results(run: RunRecord, adapter: SavedAdapter) -> list[Any]:
    from huggingface_hub import EvalResult

    noted = _data(run)
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=str(next((r["source"] for n, r in noted.items() if system.endswith(f": {n}")), "see below")),
            dataset_name=system,
            dataset_config=system,  # results of one data set are told apart by it
            metric_type=metric,
            metric_value=entry["value"],
        )
        for system, metrics in _systems(run, adapter).items()
        for metric, entry in metrics.items()
        if entry.get("value") is not None
    ]


def _versions(info: Mapping[str, Any]) -> str:
    names = ("torch", "transformers", "peft", "trl", "bitsandbytes")
    return ", ".join(f"{name} {info['versions'][name]}" for name in names if name in info.get("versions", {}))


def _failures(run: RunRecord, adapter: SavedAdapter) -> list[str]:
    """What the run says against itself: claims that do not hold, answers that training broke, and where a test does
    not tell the adapter from the base on the task that it was trained for."""
    claims = run.notes.get("claims", [])
    found = [f"does not hold: {c['sentence']} ({c['found']})" for c in claims if c["holds"] is False]
    outcomes = run.notes.get("outcomes") or {}
    found += [f"{count} test answers: {outcome}" for outcome, count in outcomes.items() if "wrong" in outcome]
    found += [f"{count} test answers: {outcome}" for outcome, count in outcomes.items() if outcome == "broken"]
    own, base = (f"{system}: {adapter.name}" for system in (adapter.name, "base"))
    for row in (row for row in run.tests if (row["a"], row["b"]) == (own, base)):
        if row["p_value"] is not None and row["p_value"] < 0.05:
            continue
        test = test_row(row)
        found.append(f"no clear difference from the base in {test['metric']}: {test['difference']}, p = {test['p']}")
    return found or ["the run recorded no claim that failed; read its predictions before you rely on it"]


def _untested(run: RunRecord) -> list[str]:
    return [f"{c['sentence']}: {c['found']}" for c in run.notes.get("claims", []) if c["holds"] is None]


def _cost(info: Mapping[str, Any]) -> Iterator[str]:
    hardware, seconds = info.get("hardware", {}), info.get("wall_time_s") or 0.0
    device = hardware.get("device_name") or hardware.get("device", "an unknown machine")
    yield f"the whole run: {duration(seconds)} on {device}"
    energy = info.get("energy") or {}
    if (joules := energy.get("joules")) is not None:
        kwh, watts = joules / 3.6e6, energy["watts"]
        yield (
            f"energy of the {energy['of']}: {kwh:.3g} kWh ({energy['how']}, {energy['readings']} readings in "
            f"{duration(energy['measured_s'])}: {watts['mean']:.0f} W, 95 % of the time between {watts['low']:.0f} and "
            f"{watts['high']:.0f}), about {kwh * KG_A_KWH:.2g} kg of CO2 at {KG_A_KWH} kg a kWh; of the rest of the "
            "machine nothing is in it, and of what else ran all"
        )
        return
    watts = next((watts for card, watts in WATTS.items() if card in device.upper().split()), None)
    if hardware.get("device") != "cuda" or watts is None:
        yield "energy was not measured"
        return
    kwh = watts * seconds / 3.6e6
    yield (
        f"energy was not measured; {watts} W for all of that time would be {kwh:.2f} kWh, about "
        f"{kwh * KG_A_KWH:.2f} kg of CO2 at {KG_A_KWH} kg a kWh"
    )
