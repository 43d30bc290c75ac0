"""Command line: ``python -m helpers run | train | settings | plan | doctor | assets | export | results …``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helpers.errors import LabError, ParameterError
from helpers.reports.export import command as export_command
from helpers.runs.options import PairsCommand
from helpers.runs.options import given as _given
from helpers.runs.plans import command as plan_command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from helpers.reports.documents import Document
    from helpers.runs.records import RunRecord

app = typer.Typer(
    help="peft-lab: run the course's notebooks and look at their results.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("export")(export_command)
app.command("plan", cls=PairsCommand)(plan_command)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Check = Annotated[bool, typer.Option("--check", help="Change nothing; fail when a file is out of date.")]
_Parameters = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", metavar="NAME VALUE", help="A parameter; repeat for more.")
]
_OutputDir = Annotated[Path | None, typer.Option("--output-dir", "-o", help="Folder of the run folders.")]


@app.command(cls=PairsCommand)
def run(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Numbers or names, or all.")] = None,
    profile: Annotated[str | None, typer.Option(help="auto, smoke, cpu or full.")] = None,
    parameter: _Parameters = None,
    output_dir: _OutputDir = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Notebooks at a time.")] = 1,
    cell_timeout: Annotated[
        int | None, typer.Option(min=1, help="Seconds one cell may take; the profile has a default.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="For all together, such as 15m: sizes go down for it.")] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="NAME=A,B,C", help="A run for each value; of several, for each combination."),
    ] = None,
) -> None:
    """Run notebooks headless; each keeps its executed copy and an HTML page in its run folder."""
    from helpers.runs import budget, headless, records

    if sweep:
        from helpers.reports import sweep_table
        from helpers.runs import sweep as sweeps

        if time is not None:
            raise ParameterError("--time would give each run of a sweep other sizes", "Leave it out; -p sets sizes")
        wanted = sweeps.plan(
            notebooks or ["all"], _given(parameter), sweeps.parse(sweep),
            profile=profile, output_dir=output_dir, cell_timeout=cell_timeout,
        )  # fmt: skip
        raise typer.Exit(sweep_table.run(wanted, jobs))
    planned = headless.plan(
        notebooks or ["all"], _given(parameter), profile=profile, output_dir=output_dir, cell_timeout=cell_timeout
    )
    if time is not None:
        planned = budget.within(planned, budget.seconds_of(time), typer.echo)
    outcomes = headless.run_all(planned, parallel=jobs)
    place = planned[0].output_dir
    typer.echo("\n" + headless.summary(outcomes) + "\n")
    if done := [records.read_run(outcome.folder) for outcome in outcomes if outcome.folder]:
        _tell_results(done, place)
    raise typer.Exit(headless.exit_code(outcomes))


@app.command(cls=PairsCommand)
def train(
    lesson: Annotated[str, typer.Argument(help="03, 04 or 06.")],
    profile: Annotated[str | None, typer.Option(help="auto, smoke, cpu or full.")] = None,
    parameter: _Parameters = None,
    output_dir: _OutputDir = None,
    processes: Annotated[int | None, typer.Option(min=1, help="One for each GPU, or on the CPU.")] = None,
    config: Annotated[Path | None, typer.Option(help="Of accelerate: a file in configs/accelerate.")] = None,
) -> None:
    """Train as a lesson does, without the rest of it; on several GPUs with --processes or accelerate launch."""
    from helpers.runs import training
    from helpers.training.launch import launch

    if processes is None and config is None:
        training.train(lesson, _given(parameter), profile=profile, output_dir=output_dir)
        return
    options: dict[str, list[Any]] = {"--profile": [profile], "--output-dir": [output_dir], "-p": [*(parameter or ())]}
    words = [word for name, values in options.items() for value in values if value for word in (name, str(value))]
    launch(["train", lesson, *words], processes, config, typer.echo)


@app.command("settings", cls=PairsCommand)
def show_settings(
    lesson: Annotated[str, typer.Argument(help="Number or name of a lesson.")],
    profile: Annotated[str, typer.Option(help="auto, smoke, cpu or full.")] = "auto",
    parameter: _Parameters = None,
    as_json: _AsJson = False,
) -> None:
    """Print what a run of a lesson would use, and where each value comes from. Starts nothing."""
    from types import SimpleNamespace

    from helpers.config.settings import resolve
    from helpers.machine import hardware
    from helpers.runs import records

    # Reading what profile full would use needs no GPU.
    machine = SimpleNamespace(device="cuda", gpu_memory_gb=16.0) if profile == "full" else hardware.probe()
    settings = resolve(lesson, {"profile": profile, **_given(parameter)}, machine)
    rows = [(name, value, settings.origins.get(name, "")) for name, value in settings.as_dict().items()]
    rows = [row for row in rows if row[0] not in ("notebook", "profile_reason")]
    if as_json:
        found = {name: {"value": value, "from": origin} for name, value, origin in rows}
        typer.echo(records.to_json({"notebook": settings.notebook, "settings": found}))
        return
    width = max(len(str(value)) for _, value, _ in rows)
    lines = [f"  {name:<24} {value!s:<{width}}  {origin}".rstrip() for name, value, origin in rows]
    typer.echo("\n".join([settings.notebook, *lines]))


@app.command()
def doctor(as_json: _AsJson = False) -> None:
    """Say what machine this is, what it supports and what should be mended, with the cure."""
    from helpers.machine import hardware
    from helpers.sources import assets

    machine = hardware.examine()
    listing = assets.listing()
    if as_json:
        states = [{"name": row.name, "state": row.state, "size_mb": round(row.size_mb, 1)} for row in listing]
        typer.echo(json.dumps(machine.as_dict() | {"assets": states}, indent=2))
    else:
        versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
        lines = [str(machine), f"Python {machine.python}; {versions}"]
        lines += [f"  {name:<14} {'yes' if works else 'no'}" for name, works in machine.supports().items()]
        lines += [f"  {row.name:<24} {row.state}" for row in listing]
        lines += [f"{p.severity}: {p.what}. {p.cure}".rstrip(". ") + "." for p in machine.problems]
        missing = [row for row in listing if row.state != "ready"]
        lines += [f"warning: asset {row.name} is {row.state}. Type: {assets.FETCH}." for row in missing]
        typer.echo("\n".join(lines))
    raise typer.Exit(1 if any(problem.severity == "error" for problem in machine.problems) else 0)


@app.command("assets")
def fetch_assets(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; all when none is named.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only compare checksums.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only list them.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only check; never download.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Fetch the real model, data and embeddings, once, into the user cache."""
    from helpers.sources import assets

    wanted = [assets.get(name).name for name in names or assets.ASSETS]
    if not (show or verify or offline):
        for name in wanted:
            assets.fetch(name, say=None if as_json else typer.echo)
    rows = [row for row in assets.listing(deep=not show) if row.name in wanted]
    if as_json:
        fields = ("name", "state", "licence", "description")
        table = [{f: getattr(row, f) for f in fields} | {"folder": str(row.folder)} for row in rows]
        typer.echo(json.dumps(table, indent=2))
    else:
        for row in rows:
            size = f"{row.size_mb:.0f} MB" if row.state == "ready" else ""
            typer.echo(f"{row.name:<24} {row.state:<8} {size:>7}  {row.licence:<13} {row.description}")
    raise typer.Exit(0 if show or all(row.state == "ready" for row in rows) else 1)


@app.command()
def wheels(
    image: Annotated[str, typer.Argument(help="colab or kaggle.")],
    to: Annotated[Path, typer.Option(help="A folder; setup cells find wheels/ in the course's.")] = Path("wheels"),
) -> None:
    """Fetch the packages that a session without Internet lacks, for the image's own Python, into a folder."""
    from helpers.machine import images

    fetched = images.download_wheels(images.read(image), to, typer.echo)
    size = sum(path.stat().st_size for path in fetched) / 1e6
    typer.echo("\n".join([*(f"  {path.name}" for path in fetched), f"{len(fetched)} wheels, {size:.0f} MB, in {to}/"]))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Which one; all are listed when none is named.")] = None,
) -> None:
    """Run a benchmark; what follows its name goes to it, --help too. A record and a picture are kept."""
    from helpers.runs import benchmarks

    if name is None:
        typer.echo("\n".join(f"{found:<18} {about}" for found, about in benchmarks.listing().items()))
        return
    raise typer.Exit(benchmarks.run(name, context.args))


@app.command()
def results(
    output_dir: _OutputDir = None,
    metrics: Annotated[str | None, typer.Option(help="Columns, separated by commas.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Table of all runs, and outputs/index.html."""
    from helpers.config import settings
    from helpers.evaluation.metrics import METRICS
    from helpers.reports import results
    from helpers.runs import records

    place = output_dir or settings.default_output_dir()
    runs = records.read_runs(place)
    if as_json:
        typer.echo(records.to_json(results.results_rows(runs)))
        return
    columns = [name.strip() for name in metrics.split(",")] if metrics else None
    if unknown := [name for name in columns or [] if name not in METRICS]:
        raise ParameterError(f"unknown metric {unknown[0]!r}", f"Metrics: {', '.join(METRICS)}")
    _tell_results(runs, place, columns)


@app.command()
def reference(output_dir: _OutputDir = None, check: _Check = False) -> None:
    """Keep small records of finished default runs and rewrite README's and the notebooks' tables from them."""
    from helpers.config import settings
    from helpers.reports import recorded
    from helpers.runs.display import short_path

    for folder in [] if check else recorded.collect(output_dir or settings.default_output_dir()):
        typer.echo(f"kept       {short_path(folder)}")
    _rewrite(recorded.documents(), check, f": its table is not what {recorded.FOLDER} says. Type: {recorded.COMMAND}.")
    for line in recorded.outdated():
        typer.echo(f"note: recorded with other settings than today's defaults: {line}")


@app.command()
def address(
    url: Annotated[
        str | None, typer.Argument(help="https://github.com/OWNER/REPO; the present one if left out.")
    ] = None,
    check: _Check = False,
) -> None:
    """Make badges and setup cells of all notebooks and of README point at this repository, or at a fork."""
    from helpers.reports import links

    _rewrite(links.documents(url), check, f" does not point at {links.clean(url)}. Type: {links.COMMAND}.")


def _rewrite(documents: Iterable[Document], check: bool, fault: str) -> None:
    """Write the files that are out of date and name them; with ``check`` only say what is wrong, and end."""
    from helpers.reports.documents import rewrite

    names = rewrite(documents, check)
    for name in names:
        typer.echo(f"{name}{fault}" if check else f"rewritten  {name}")
    if check:
        raise typer.Exit(1 if names else 0)


def _tell_results(runs: list[RunRecord], place: Path, columns: list[str] | None = None) -> None:
    """The tables of some runs, and the page of all in ``place``."""
    from helpers.reports import results
    from helpers.runs.display import short_path

    tables = (results.results_table(runs, columns), results.gains_table(runs), results.formats_lines(runs))
    typer.echo("\n\n".join(table for table in tables if table))
    if runs:
        typer.echo(f"\nresults page: {short_path(results.write_html(place))}")


def main() -> int:
    """Run the command line; an error that the user can mend is one line on stderr, exit code 2."""
    try:
        app()
    except LabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
