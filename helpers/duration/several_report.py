"""Plans for several cards in words, and ready for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from helpers.duration.links import Link, seconds, update_seconds
from helpers.duration.named import Planned
from helpers.errors import ParameterError
from helpers.memory.fit import assignments
from helpers.memory.jobs import Job
from helpers.memory.planner import CARDS, CLOSE, FITS, GB, TOO_LARGE, Plan
from helpers.memory.report import table
from helpers.memory.search import Change
from helpers.memory.several import COUNTS, CardSet, RankPlan
from helpers.memory.spread import gathered_in
from helpers.memory.units import LAYER, held

NOT_MEASURED = "speeds from data sheets with assumed efficiency; not measured on several cards"


def one(
    found: RankPlan, card: str, link: Link, host: Link, computing: float, change: Change | None,
    names: Mapping[str, str],
) -> Planned:  # fmt: skip
    """One strategy: where a card's memory goes, what it sends, how long that takes.

    Args:
        computing: seconds of one update on one card.
        change: what makes it fit, where it does not.
        names: field of a job -> what the reader calls it.
    """
    size, spread, job = CARDS[card][0], found.spread, found.job
    sending = seconds(found.sent, link, host)
    least, most = update_seconds(computing, sending)
    verdict = found.plan.verdict(size)
    lines = [
        f"{_what(job)} on each card",
        f"{spread}, {card} each; the card with the largest part:",
        table(found.plan),
        "",
        *_held(found),
        f"planned peak: {found.plan.total / GB:.1f} GB; {size / GB:.1f} GB are on a {card.split()[0]}: {verdict}",
    ]
    if verdict != FITS and change is not None:
        renamed = {names.get(field, field): value for field, value in change.changed.items()}
        lines.append(f"cheapest change: {assignments(renamed)}")
    elif verdict == TOO_LARGE:
        lines.append("cheapest change: nothing that was tried makes it fit")
    lines += [*_loading(found, size), "", *_sent(found), ""]
    tokens = spread.count * job.batch_size * job.accumulation * job.length
    lines += [
        f"one update: {computing:.3g} s of computing; {sending:.3g} s of sending over {link.name}",
        f"  together {least:.3g} s where all of it is hidden behind computing, {most:.3g} s where none is: "
        f"{tokens / most:,.0f} to {tokens / least:,.0f} tokens a second on all cards",
        f"  ({NOT_MEASURED})",
    ]
    return Planned(_values(found, card) | _timed(computing, sending), "\n".join(lines), verdict != TOO_LARGE)


def _what(job: Job) -> str:
    kind = f"{job.method}, {job.quant} weights, {job.dtype}" + (", checkpointing" if job.checkpointing else "")
    passes = f", {job.accumulation} passes an update" if job.accumulation > 1 else ""
    return f"{job.model}: {kind}; {job.batch_size} rows of {job.length} tokens{passes}"


def _held(found: RankPlan) -> list[str]:
    kept = held(found.units, found.spread)
    place = "in the machine's memory" if found.spread.offloads else "each card"
    shown = ", ".join(f"{name} {size / GB:.2f} GB" for name, size in kept.items())
    lines = [f"kept, {place}: {shown}"]
    if found.spread.sharded:
        layer = next((unit for unit in found.units if unit.name == LAYER), None)
        if layer is not None:
            whole = layer.whole_bytes(found.job, found.spread) / GB
            lines.append(f"gathered: {whole:.2f} GB a layer, and the next one while it is computed")
        if found.job.quant.startswith("nf4"):
            lines.append(_storage(found))
    if found.spread.offloads:
        lines.append(f"RAM: {found.host / GB:.1f} GB a process, {found.host * found.spread.count / GB:.1f} GB in all")
    return lines


def _storage(found: RankPlan) -> str:
    """What 4-bit weights have to be kept in."""
    name = found.spread.storage
    if name == "uint8":
        cure = gathered_in(found.job) or found.job.dtype
        return f"4-bit weights in whole numbers stay whole on every card: set bnb_4bit_quant_storage = {cure!r}"
    return f"4-bit weights are sharded with bnb_4bit_quant_storage = {name!r}; their scales are whole on every card"


def _loading(found: RankPlan, size: float) -> list[str]:
    if not found.spread.sharded:
        return []
    if not found.loading:
        size_of = f"{found.whole / GB:.1f} GB of RAM in the first process"
        return [f"while it is loaded: {size_of} with cpu_ram_efficient_loading, in every process without"]
    line = f"while it is loaded: {found.loading / GB:.1f} GB on each card, before it is sharded"
    if found.loading <= size:
        return [line]
    ram = found.whole * found.spread.count / GB
    return [f"{line}: does not fit. Load it on the CPU first; that takes {ram:.0f} GB of RAM"]


def _sent(found: RankPlan) -> list[str]:
    if not found.sent:
        return ["sent: nothing"]
    lines = ["in one update, each card:", f"  {'':<22} {'cards':>5} {'calls':>6} {'GB':>9} {'GB sent':>9}"]
    for row in found.sent:
        calls = str(row.calls or "")
        lines.append(f"  {row.kind:<22} {row.cards:>5} {calls:>6} {row.size / GB:>9.4f} {row.sent / GB:>9.4f}")
    return lines


def strategies(
    job: Job, count: int, card: str, found: Mapping[str, RankPlan | ParameterError], link: Link, host: Link
) -> Planned:
    """All strategies side by side on the same cards."""
    size = CARDS[card][0]
    lines = [f"{_what(job)} on each of {count} × {card}", ""]
    lines.append(f"  {'strategy':<10} {'GB a card':>9}  {'':<12} {'GB sent':>8} {'s sending':>9}")
    values: dict[str, Any] = {}
    verdicts = []
    for name, rank in found.items():
        if isinstance(rank, ParameterError):
            lines.append(f"  {name:<10} {rank.what}")
            values[name] = {"error": rank.what}
            continue
        verdicts.append(rank.plan.verdict(size))
        sent, took = sum(row.sent for row in rank.sent) / GB, seconds(rank.sent, link, host)
        needed = rank.plan.total / GB
        lines.append(f"  {name:<10} {needed:>9.2f}  {verdicts[-1]:<12} {sent:>8.3f} {took:>9.3g}")
        values[name] = _values(rank, card) | {"sending_seconds": round(took, 4)}
    lines += ["", f"sent in one update by each card, over {link.name}, if nothing hides it; {NOT_MEASURED}"]
    fits = any(verdict in (FITS, CLOSE) for verdict in verdicts)
    return Planned({"job": dataclasses.asdict(job), "strategies": values}, "\n".join(lines), fits)


def lengths(job: Job, strategy: str, card: str, found: Mapping[tuple[int, int], Plan | None]) -> Planned:
    """GB of a card by length of a row and number of cards."""
    size = CARDS[card][0]
    counts = sorted({count for _, count in found})
    lines = [f"{_what(job)}; {strategy}, GB of each {card} by tokens of a row and number of cards", ""]
    lines.append("  tokens " + "".join(f"{count:>10}" for count in counts))
    values: list[dict[str, Any]] = []
    for length in sorted({length for length, _ in found}):
        cells = []
        for count in counts:
            plan = found[length, count]
            if plan is None:
                cells.append(f"{'':>10}")
                continue
            verdict = plan.verdict(size)
            cells.append(f"{plan.total / GB:>9.1f}" + {FITS: " ", CLOSE: "~", TOO_LARGE: "-"}[verdict])
            gb = round(plan.total / GB, 3)
            values.append({"length": length, "cards": count, "needed_gb": gb, "verdict": verdict})
        lines.append(f"  {length:<7}" + "".join(cells))
    lines += ["", "~ close, - does not fit; one card: without sharding"]
    return Planned({"strategy": strategy, "card": card, "lengths": values}, "\n".join(lines), True)


def sets(
    rows: Sequence[tuple[str, str, Mapping[str, CardSet | None]]], given: Mapping[str, Any],
    prices: Mapping[str, float] | None,
) -> Planned:  # fmt: skip
    """A table of the cheapest sets, in Markdown."""
    names = list(rows[0][2])
    lines = [f"| model | training | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    values = []
    for model, kind, found in rows:
        lines.append(f"| {model} | {kind} | {' | '.join(map(_cell, found.values()))} |")
        chosen = {name: None if one is None else _values(one.found, one.card) for name, one in found.items()}
        values.append({"model": model, "training": kind, "sets": chosen})
    by = "prices as given" if prices else "least memory in all, then fewest cards"
    lines += ["", f"each: cards, and GB that each needs; up to {COUNTS[-1]} cards of one kind; cheapest: {by}"]
    lines.append(f"on each card: {assignments(dict(given))}; RAM: of the whole machine; ddp: any number of these cards")
    if any("*" in line for line in lines[2:]):
        lines.append("* does not fit while 4-bit weights are loaded onto each card whole: load them on the CPU first")
    return Planned({"given": dict(given), "rows": values}, "\n".join(lines), True)


def _cell(chosen: CardSet | None) -> str:
    if chosen is None:
        return "none"
    mark = "*" if chosen.found.loading > CARDS[chosen.card][0] else ""
    ram = chosen.found.host * chosen.found.spread.count / GB
    return f"{chosen}{mark}, {chosen.found.plan.total / GB:.1f}" + (f" + {ram:.0f} RAM" if ram else "")


def _values(found: RankPlan, card: str) -> dict[str, Any]:
    rows = [{"kind": r.kind, "cards": r.cards, "calls": r.calls, "bytes": r.size, "sent": r.sent} for r in found.sent]
    return {
        "card": card,
        "spread": dataclasses.asdict(found.spread),
        "needed_gb": round(found.plan.total / GB, 3),
        "verdict": found.plan.verdict(CARDS[card][0]),
        "parts_gb": {row["part"]: round(row["GB"], 3) for row in found.plan.rows()},
        "held_bytes": held(found.units, found.spread),
        "host_bytes": found.host,
        "loading_gb": round(found.loading / GB, 3),
        "sent": rows,
    }


def _timed(computing: float, sending: float) -> dict[str, Any]:
    least, most = update_seconds(computing, sending)
    return {
        "computing_seconds": round(computing, 4), "sending_seconds": round(sending, 4),
        "update_seconds": [round(least, 4), round(most, 4)],
    }  # fmt: skip
