"""Two screens for risks in a data set: personal data, and groups of people tied to attributes.

Both find candidates for a person to read; neither proves that data are clean or fair.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.tasks.eda.audit import words

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame

_PII = {
    "e-mail": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,}"),
    # International with +, North American 3-3-4, or national with a leading 0 in groups. Amounts,
    # temperatures and time ranges ("350-400", "1 1/2", "10 000 g") match none of the three.
    "phone": re.compile(
        r"(?<![\w.,/+-])(?:\+\d{1,3}[ ./-]?(?:\(?\d{1,4}\)?[ ./-]?){2,5}\d{2,4}"
        r"|(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}"
        r"|0\d{2,4}[ /-]\d{3,4}(?:[ -]?\d{2,4}){1,2})(?![\w/]|[.,-]\d)"
        r"(?!\s?(?:k?g|mg|m?l|oz|lbs?|cups?|cm|mm|degrees?|calories|kcal|[CFW])\b|\s?°)"  # an amount
    ),
    "card": re.compile(
        r"(?<![\w.,/-])(?:[3-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{4}"  # 4-4-4-4
        r"|3[47]\d{2}([ -]?)\d{6}\2\d{5})(?![\w/]|[.,-]\d)"  # 4-6-5
    ),
}


def luhn(number: str) -> bool:
    """Check digit test of payment cards; non-digits are skipped."""
    digits = [int(c) for c in number if c.isdigit()][::-1]
    return bool(digits) and sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def mask(match: str) -> str:
    """A found item made safe to print: two characters at each end stay, letters and digits between do not."""
    return match[:2] + re.sub(r"\w", "*", match[2:-2]) + match[-2:]


def pii_scan(texts: Sequence[str]) -> DataFrame:
    """E-mail addresses, phone numbers and card-like numbers (with a valid check digit).

    A pattern search: it misses names and addresses, and what it finds may be a shop's hotline.

    Returns:
        columns ``kind, row, found`` (masked) and ``context`` (masked, about 30 characters on each side).
    """
    import pandas as pd

    rows = []
    for i, text in enumerate(texts):
        for kind, pattern in _PII.items():
            for match in pattern.finditer(text):
                if kind == "card" and not luhn(match.group()):
                    continue
                hidden = mask(match.group())
                before, behind = text[: match.start()][-30:], text[match.end() :][:30]
                rows.append((kind, i, hidden, f"{before}{hidden}{behind}".replace("\n", " ")))
    return pd.DataFrame(rows, columns=["kind", "row", "found", "context"])


_WORDS = tomllib.loads(Path(__file__).with_name("groups.toml").read_text(encoding="utf-8"))
GROUPS, TRAITS = ({name: terms.split() for name, terms in _WORDS[kind].items()} for kind in ("groups", "traits"))


def mentions(texts: Sequence[str], terms: Iterable[str]) -> np.ndarray:
    """Boolean mask (n,): does the text contain any of the terms as a whole word?"""
    import numpy as np

    wanted = {t.lower() for t in terms}
    return np.array([not wanted.isdisjoint(words(text)) for text in texts], dtype=bool)


def associations(groups: Mapping[str, Any], attributes: Mapping[str, Any], min_count: int = 5) -> DataFrame:
    """Which groups occur with which attributes more or less often than chance? Fisher's exact test, Holm.

    Args:
        groups, attributes: ``{name: boolean mask (n,)}`` over the same rows.
        min_count: pairs whose group or attribute has fewer rows are left out: no test could say anything.

    Returns:
        per pair ``group, attribute, group_rows, both, expected, odds_ratio, p_value, p_holm``, smallest p
        first; empty if nothing is frequent enough. An association is not yet an unfair one: read the rows.
    """
    import numpy as np
    import pandas as pd
    from scipy.stats import fisher_exact

    rows = []
    for (group, g), (name, a) in product(groups.items(), attributes.items()):
        g, a = np.asarray(g, dtype=bool), np.asarray(a, dtype=bool)
        if min(g.sum(), a.sum(), (~g).sum(), (~a).sum()) < min_count:
            continue
        table = [[int((g & a).sum()), int((g & ~a).sum())], [int((~g & a).sum()), int((~g & ~a).sum())]]
        odds, p = fisher_exact(table)
        rows.append((group, name, int(g.sum()), table[0][0], g.sum() * a.mean(), float(odds), float(p)))
    columns = ["group", "attribute", "group_rows", "both", "expected", "odds_ratio", "p_value"]
    result = pd.DataFrame(rows, columns=columns).sort_values("p_value", ignore_index=True)
    steps = result["p_value"] * (len(result) - result.index.to_numpy())
    result["p_holm"] = steps.cummax().clip(upper=1.0)
    return result
