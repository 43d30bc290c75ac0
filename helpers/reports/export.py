"""What a run's adapter can be taken away as: merged weights, a GGUF file, a model card; and how to serve each."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from helpers.errors import ParameterError, RunError
from helpers.files import write_atomic

FORMS = ("merged", "gguf", "card")
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM takes for --max-lora-rank


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of an adapter.")],
    to: Annotated[str, typer.Option(help="merged, gguf or card.")] = "merged",
    adapter: Annotated[str | None, typer.Option(help="Which one, where there are several.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; default: exports/ in the run's folder.")] = None,
) -> None:
    """Write a run's adapter as merged weights, as a GGUF file or as a model card, and say how to use it."""
    typer.echo(export(run, to, adapter, out))


def export(folder: Path, to: str, name: str | None = None, out: Path | None = None) -> str:
    """Write one form of an adapter; returns what to tell: the path, and commands that use it.

    Args:
        folder: of a finished run, or one that ``save_pretrained`` wrote.
        to: one of ``FORMS``.
        name: which adapter, where there are several.
        out: folder to write into; default ``exports/`` beside the adapter.

    Raises:
        ParameterError: no such form, or several adapters and no name.
        RunError, ModelError: see ``runs.adapters.of_run`` and ``merge_into_base``; nothing is overwritten.
    """
    from helpers.runs.adapters import of_run

    if to not in FORMS:
        raise ParameterError(f"--to {to!r} is not known", f"Use one of {', '.join(FORMS)}")
    saved = of_run(folder, name)
    place = out or folder / "exports"
    if to == "card":
        return f"{write_card(folder, saved.name, place / f'{saved.name}.md')}"
    from helpers.adapters.merging import merge_into_base
    from helpers.models.to_gguf import write_gguf

    merged, file = place / f"{saved.name}-merged", place / f"{saved.name}.gguf"
    if to == "gguf" and file.exists():
        raise RunError(f"{file} exists, and nothing is overwritten", "Remove it, or give --out another folder")
    if to == "merged":
        merge_into_base(saved.base, saved.folder, merged)
        return "\n".join([str(merged), *commands(merged=merged)])
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".merged-") as temporary:
        between = Path(temporary) / "merged"
        merge_into_base(saved.base, saved.folder, between)
        write_gguf(between, file, f"{Path(saved.base).name} with {saved.name}")
    return "\n".join([str(file), *commands(gguf=file)])


def write_card(folder: Path, name: str | None, file: Path) -> Path:
    """The model card of a run's adapter as a file, README.md of a repository say.

    Raises:
        RunError: ``folder`` is not a run's, or ``file`` exists.
    """
    from helpers.reports.card import model_card
    from helpers.runs.adapters import of_run

    saved = of_run(folder, name)
    if saved.run is None:
        what = f"{folder} is no run's folder, so nothing is known of its data and results"
        raise RunError(what, "Give the folder with run.json and metrics.json")
    if file.exists():
        raise RunError(f"{file} exists, and nothing is overwritten", "Remove it, or give --out another folder")
    return write_atomic(file, str(model_card(saved.run, saved)))


def commands(
    base: str | None = None,
    adapters: dict[str, Path] | None = None,
    merged: Path | None = None,
    gguf: Path | None = None,
) -> list[str]:
    """Shell commands that serve what lies at these paths, each with the program's name before it.

    Args:
        base, adapters: the model and the folders of its adapters, for engines that swap adapters.

    Raises:
        ModelError: one of these folders holds no LoRA adapter.
    """
    from helpers.runs.adapters import rank_of

    found = []
    if base and adapters:
        modules = " ".join(f"{name}={folder.resolve()}" for name, folder in adapters.items())
        largest = max(map(rank_of, adapters.values()))
        limit = min((rank for rank in VLLM_RANKS if rank >= largest), default=largest)
        options = f"--enable-lora --max-loras {len(adapters)} --max-lora-rank {limit}"
        found.append(f"vLLM       vllm serve {base} {options} --lora-modules {modules}")
        some = next(iter(adapters.values())).resolve()
        found.append(f"LoRAX      lorax-launcher --model-id {base} --adapter-source local  # then adapter_id={some}")
    if merged:
        found.append(f"vLLM       vllm serve {merged.resolve()}")
    if gguf:
        path = gguf.resolve()
        found.append(f"llama.cpp  llama-server -m {path} --port 8080")
        found.append(f"Ollama     echo 'FROM {path}' > Modelfile && ollama create {gguf.stem} -f Modelfile")
    return found
