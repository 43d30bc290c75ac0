"""The command ``plan``: does it fit, on one card or on several, and how long does it take."""

from __future__ import annotations

from typing import Annotated

import typer

from helpers.errors import ParameterError
from helpers.runs.options import given


def command(
    what: Annotated[str, typer.Argument(help="A lesson, or the id of a model.")],
    profile: Annotated[str, typer.Option(help="Of a lesson: smoke, cpu or full.")] = "full",
    card: Annotated[str | None, typer.Option(help="P100, T4, L4, A100-40, A100-80, H100 or cpu.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME VALUE", help="A parameter; repeat for more.")
    ] = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure this machine's CPU first.")] = False,
    units: Annotated[float | None, typer.Option(help="Colab units that this card takes in an hour.")] = None,
    megabytes: Annotated[float, typer.Option(min=0.1, help="MB a second of a download.")] = 50.0,
    cards: Annotated[str | None, typer.Option(help="Several: 2xT4; auto: the cheapest for each strategy.")] = None,
    strategy: Annotated[str | None, typer.Option(help="ddp, fsdp, grad-op, hybrid or offload; else all.")] = None,
    shard: Annotated[int | None, typer.Option(help="Cards of a group, for hybrid.")] = None,
    link: Annotated[str | None, typer.Option(help='Between cards: GB a second, or a name: "NVLink 3".')] = None,
    price: Annotated[list[str] | None, typer.Option(help="Of a card, for auto: T4=0.35; repeat for more.")] = None,
    lengths: Annotated[str | None, typer.Option(help="Tokens of a row, by number of cards: 512,1024,2048.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a lesson's or a model's training fits a GPU or several, and how long it takes. Loads no weights."""
    from helpers.duration.named import planned, planned_several
    from helpers.runs.records import to_json

    if cards is None:
        several = {"strategy": strategy, "shard": shard, "link": link, "price": price, "lengths": lengths}
        if stray := [name for name, value in several.items() if value is not None]:
            raise ParameterError(f"--{stray[0]} is for several cards", "Give --cards too, such as --cards 2xT4")
        found = planned(what, profile, given(parameter), card, calibrate=calibrate, units=units, megabytes=megabytes)
    else:
        if card is not None or calibrate:
            stray_one = "--card" if card is not None else "--calibrate"
            raise ParameterError(f"{stray_one} is for one card", "Leave it out, or leave --cards out")
        found = planned_several(
            what, profile, given(parameter), cards, strategy,
            shard=shard, link=link, prices=price or (), lengths=_whole_numbers(lengths),
        )  # fmt: skip
    typer.echo(to_json(found.values) if as_json else found.words)
    raise typer.Exit(0 if found.fits else 1)


def _whole_numbers(text: str | None) -> list[int]:
    """ "512,1024" as numbers."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if wrong := [part for part in parts if not part.isdigit() or int(part) < 2]:
        raise ParameterError(f"--lengths {wrong[0]!r} is no number of tokens", "Write --lengths 512,1024,2048")
    return [int(part) for part in parts]
