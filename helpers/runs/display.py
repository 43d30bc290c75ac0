"""What a reader sees of a run: the screen at its start, and tables of metrics and tests."""

from __future__ import annotations

import logging
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.config.parameters import PARAMETERS, Settings
from helpers.evaluation.metrics import METRICS
from helpers.files import repo_root
from helpers.runs.provenance import torch_on_cpu

if TYPE_CHECKING:
    import pandas as pd

    from helpers.machine.hardware import Machine

Row = dict[str, str]  # heading → cell: every table of results, in any form, is made of such rows
_WIDTH = 100
# Shown on lines of their own, so left out of the list of settings.
_PLACED = frozenset(
    {"profile", "task", "model_id", "dataset", "seed", "run_name", "output_dir", "checkpoint_dir", "resume"}
)


def start_screen(settings: Settings, machine: Machine, folder: Path) -> str:
    """The screen a run begins with: profile and why, machine, model, data, settings, folder, problems."""
    values = settings.as_dict()
    lines = [f"{settings.notebook} · profile {settings.profile} ({settings.profile_reason})"]
    lines += _entry("machine", _machine_line(machine))
    mark = dict.fromkeys(settings.given, "*")
    if "model_id" in values:
        lines += _entry("model", f"{values['model_id']}{mark.get('model_id', '')}")
    if "task" in values:
        lines += _entry("data", f"{values['task']} from {short_path(Path(values['dataset']))}")
    names = [*(n for n in PARAMETERS if values.get(n) is not None and n not in _PLACED), "seed"]
    plain = {n: f"{v:g}" if isinstance(v, float) else str(v) for n, v in values.items()}
    shown = ", ".join(f"{n} {plain[n]}{mark.get(n, '')}" for n in names)
    lines += _entry("settings", shown + ("  (* set by you)" if "*" in shown else ""))
    lines += _entry("folder", short_path(folder) + ("  (resuming)" if values.get("resume") else ""))
    if values.get("checkpoint_dir"):
        lines += _entry("copies", f"of its checkpoints in {values['checkpoint_dir']}")
    for problem in getattr(machine, "problems", ()):
        if problem.severity != "note":
            lines += _entry(problem.severity, f"{problem.what}. {problem.cure}".rstrip(". ") + ".")
    return "\n".join(lines)


def system_rows(systems: Mapping[str, Mapping[str, Any]], metrics: Iterable[str] | None = None) -> list[Row]:
    """One row a system: its name, and "value [low, high]" of each metric or "".

    Args:
        systems: name → metric → entry of metrics.json.
        metrics: which, in this order; default: those of ``METRICS`` that any system has.
    """
    present = {metric for row in systems.values() for metric in row}
    chosen = [m for m in METRICS if m in present] if metrics is None else list(metrics)
    return [{"system": name} | {m: interval(row.get(m), m) for m in chosen} for name, row in systems.items()]


def test_row(test: Mapping[str, Any]) -> Row:
    """A paired test of metrics.json: pair, metric, difference a − b with its interval, p, name of the test."""
    difference = f"{signed(test['difference'])} [{signed(test['low'])}, {signed(test['high'])}]"
    cells = {"comparison": f"{test['a']} − {test['b']}", "metric": test["metric"], "difference": difference}
    return cells | {"p": p_text(test["p_value"]), "test": test["test"]}


def text_table(rows: Sequence[Row]) -> str:
    """Columns for a terminal below a ruled head; one row at least."""
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    sizes = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, sizes)).rstrip() for row in table]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def markdown_table(rows: Sequence[Row]) -> str:
    """A GitHub table of one row at least; bars inside cells are escaped."""
    table = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return "\n".join([lines[0], lines[1].replace(" ", ""), *lines[2:]])


def systems_frame(systems: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """``system_rows`` as systems × metrics."""
    import pandas as pd

    rows = system_rows(systems)
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["system"]).set_index("system")


def interval(entry: Mapping[str, Any] | None, metric: str) -> str:
    """ "0.43 [0.38, 0.48]"; perplexities get one digit less as they grow."""
    if not entry:
        return ""
    parts = [number(entry[key], metric) for key in ("value", "low", "high")]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]"


def number(value: float | None, metric: str = "") -> str:
    """A metric's value for a table; "–" where it does not exist."""
    if value is None:
        return "–"
    if metric == "perplexity":
        return f"{value:.2f}" if value < 100 else f"{value:.0f}" if value < 1e5 else f"{value:.1e}"
    return f"{value:.2f}" if metric in ("accuracy", "macro_f1", "valid_rate") else f"{value:.3f}"


def signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}" if abs(value) < 1000 else f"{value:+.0f}"


def p_text(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def short_path(path: Path) -> str:
    """``path`` relative to the repository when it lies inside."""
    try:
        return str(path.relative_to(repo_root()))
    except ValueError:
        return str(path)


def peak_memory(info: Mapping[str, Any]) -> str:
    """ "14.2 GB GPU, 5.1 GB RAM" of a run.json; without a GPU only the latter."""
    found = {kind: info.get(f"peak_{key}_gb") for kind, key in (("GPU", "cuda"), ("RAM", "rss"))}
    return ", ".join(f"{gb:.1f} GB {kind}" for kind, gb in found.items() if gb is not None)


def energy_text(energy: Mapping[str, Any] | None) -> str:
    """ " and 0.012 kWh of the GPU" of the energy in a run.json; "" where none was measured."""
    joules = (energy or {}).get("joules")
    return "" if not energy or joules is None else f" and {joules / 3.6e6:.2g} kWh of the {energy['of']}"


def computed_in(hardware: Mapping[str, Any]) -> str:
    """ "bfloat16, AVX512-BF16, 2 threads" of the hardware in a run.json: what moves a result's last digits on a CPU.

    Of a GPU the number format alone. What an older record does not hold is named.
    """
    names = {"dtype": "number format", "cpu_isa": "instruction set", "torch_threads": "threads"}
    if hardware.get("device") == "cuda":
        names = {"dtype": "number format"}
    threads = hardware.get("torch_threads")
    said = {
        "dtype": hardware.get("dtype"),
        "cpu_isa": (hardware.get("cpu_isa") or "").upper().replace("_", "-"),
        "torch_threads": threads and f"{threads} thread{'s' if threads > 1 else ''}",
    }
    known = ", ".join(str(said[name]) for name in names if said[name])
    missing = ", ".join(word for name, word in names.items() if name not in hardware)
    return f"{known or 'unknown'} ({missing} not recorded)" if missing else known


def duration(seconds: float) -> str:
    """12.3 s, 4 min 05 s, 2 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def labelled_texts(texts: Mapping[str, str], width: int = _WIDTH, longest: int = 420) -> str:
    """Texts below each other, each with its label in front: one example as several systems answered it.

    Args:
        texts: label → text; an empty one is shown as "(empty)".
        width: of a line, in characters.
        longest: characters of a text that are shown; line breaks and repeated spaces become one space.
    """
    indent = max(map(len, texts), default=0) + 2
    blocks = []
    for label, text in texts.items():
        text = " ".join(text.split())
        text = text[:longest] + (" …" if len(text) > longest else "")
        blocks.append(textwrap.fill(f"{label:{indent}}{text or '(empty)'}", width, subsequent_indent=" " * indent))
    return "\n".join(blocks)


def quieten() -> None:
    """Drop messages that say nothing to a reader of the course."""
    # That an optional kernel is missing, which the course does without; that 8-bit layers multiply in float16.
    for name in ("backends.cpu.ops", "autograd._functions"):
        logging.getLogger(f"bitsandbytes.{name}").setLevel(logging.ERROR)
    for part in ("IProgress not found", "gradient_checkpointing` is deprecated", "pin_memory.*no accelerator"):
        warnings.filterwarnings("ignore", message=f".*{part}.*")


def _entry(label: str, text: str) -> list[str]:
    indent = " " * 10
    wrapped = textwrap.wrap(text, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    return [(f"{label:<10}" if i == 0 else indent) + line for i, line in enumerate(wrapped or [""])]


def _machine_line(machine: Machine) -> str:
    parts = [machine.platform, machine.device]
    if machine.device == "cuda":
        one = f", the one of {machine.gpu_devices} GPUs that is used" if machine.gpu_count < machine.gpu_devices else ""
        parts.append(f"{machine.device_name} with {machine.gpu_memory_gb:.0f} GB{one}")
    parts += [f"{machine.cpu_count} cores", f"{machine.ram_gb:.0f} GB RAM", f"{machine.disk_free_gb:.0f} GB disk"]
    torch = machine.versions.get("torch")
    here = {"device": machine.device, "dtype": machine.dtype} | torch_on_cpu(machine.cpu_isa)
    parts[-1] += f"; computes in {computed_in(here)}"
    return ", ".join(parts) + f"; Python {machine.python}" + (f", torch {torch}" if torch else "")
