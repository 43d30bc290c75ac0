"""Ingredients and steps as scrapers give them → lists of plain lines.

A cell may be a list, an object or text. A shape that is not known is refused with the cell shown; no line is ever
Python's spelling of a list or an object.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from helpers.tasks.cells import number_text, opened, plain_text, unknown_shape
from helpers.tasks.reading import text
from helpers.tasks.recipes.sentences import split_steps, unwrapped

# Keys without case, _ and -; "@type" is schema.org's.
WHOLE = (
    "text", "rawtext", "raw", "original", "originalstring", "originaltext", "displaytext", "display", "line",
    "sentence", "instructiontext", "ingredienttext",
)  # fmt: skip
WHOLE_STEP = ("step", "instruction", "direction", "description", *WHOLE)
NAME = ("name", "ingredient", "ingredientname", "item", "food", "product", "title")
AMOUNT = ("amount", "quantity", "qty", "measure", "measurement", "value", "count")
UNIT = ("unit", "units", "uom", "measureunit")
RANGE = (("min", "max"), ("amountmin", "amountmax"), ("quantitymin", "quantitymax"), ("minimum", "maximum"))
ORDER = ("position", "number", "order", "stepnumber", "index")
AFTER = ("preparation", "prep", "note", "notes", "comment", "modifier", "extra")
INSIDE = (
    "itemlistelement", "items", "ingredients", "ingredientlist", "steps", "instructions", "directions", "components",
    "lines", "list", "step", "recipeingredient", "recipeinstructions",
)  # fmt: skip
KNOWN = (
    "text with a line each, lists, lists of objects such as {amount, unit, name}, {quantity, name} or {text}, "
    "a mapping of name to amount, lists by section, and schema.org's HowToStep and HowToSection"
)
_BULLETS = "•‣◦●○∙·▪▫■□▢▣☐☑☒✓✔✅❏❑❒◆◇►▶➤➢→»★☆–—"
_INLINE_BULLET = re.compile(r"\s*[•‣●▪■□▢☐☑✓✔❏◆►➤]\s*")
_STEP = r"(?:step|schritt|étape|etape|paso|passo|passaggio|stap|steg|krok|шаг|步骤|手順|ステップ)"
_NUMBERED = re.compile(
    rf"^(?:{_STEP}\s*\d+\s*[:.)\-–—]?\s*|[(（]?\d{{1,2}}[)）]\s*|\d+\s*[.)]\s+|\d{{1,2}}\.(?:(?=[^\W\d_]))|[①-⑳]\s*)",
    re.IGNORECASE,
)
_PLAIN_BULLET = re.compile(rf"^(?:[{_BULLETS}]\s*|[-*]\s*|[+>#]+\s+|\[[ xX]?\]\s*)+")
_AMOUNT_FIRST = re.compile(r"[\d½¼¾⅓⅔⅛]")
# Not within "1,5 dl", nor within brackets; "、" is no decimal sign.
_COMMA = re.compile(r"(?:(?<!\d)[,،，]|[,،，](?!\d)|、)(?![^()]*\))")


def as_list(value: Any, kind: str, shapes: Counter[str] | None = None) -> list[str]:
    """A cell as a list of lines, without bullets, numbers and tags.

    Text is split at line breaks, list tags or bullets; without those, steps at their numbers or at sentence ends, and
    ingredients at ``;`` or, failing that, at ``,``.

    Args:
        kind: ``"ingredients"`` or ``"steps"``, also the column's name in the refusal.
        shapes: counts what the cell was, in words; a list of lines is not worth them.

    Raises:
        DataError: the shape is not known.
    """
    found = opened(value)
    if isinstance(found, str):
        parts, shape = _split_text(_bare(found, kind), kind)
    else:
        parts, shape = _flat(found, kind, value), _shape(found)
    lines = _clean(parts, kind)
    if shapes is not None and shape and lines:
        shapes[f"{kind}: {shape}"] += 1
    return lines


def _shape(found: Any) -> str:
    """What is not a list of lines, in words."""
    if isinstance(found, Mapping):
        return "an object: names with amounts, or sections, joined"
    inner = {type(item) for item in found} if isinstance(found, list) else set()
    if any(issubclass(kind, Mapping) for kind in inner):
        return "lists of objects, whose parts are joined"
    return "lists of lists, joined" if inner & {list, tuple} else ""


def _bare(written: str, kind: str) -> str:
    """Text that is text: a list cut off, or spelt in an unknown way, is refused; [flour, sugar] loses its brackets."""
    written = written.strip()
    if re.match(r"""^(?:\[\s*['"{\[]|\{\s*['"]|array\(|c\(")""", written):
        raise unknown_shape([written], kind, KNOWN)
    if written.startswith("[") and written.endswith("]") and written.count("[") == 1:
        return written[1:-1]
    return written


def _flat(found: Any, kind: str, cell: Any) -> list[str]:
    if found is None or found != found or found == "":  # None, NaN
        return []
    if isinstance(found, str):
        return plain_text(found).splitlines()
    if isinstance(found, list | tuple):
        joined = _amount_pairs(found) if kind == "ingredients" else []
        return joined or [line for item in _in_order(found) for line in _item(item, kind, cell)]
    if isinstance(found, Mapping):
        return _object(found, kind, cell)
    if isinstance(found, int | float):
        return [number_text(found)]
    raise unknown_shape(cell, kind, KNOWN)


def _in_order(found: Sequence[Any]) -> Sequence[Any]:
    """Objects that all say which place they have, by it; anything else as it is."""
    if not all(isinstance(item, Mapping) for item in found):
        return found
    plain = [{_plain_key(key): value for key, value in item.items()} for item in found]
    for key in ORDER:
        places = [item.get(key) for item in plain]
        if len(set(map(str, places))) == len(places) and all(type(place) is int for place in places):
            return [item for _, item in sorted(zip(places, found, strict=True), key=itemgetter(0))]
    return found


def _amount_pairs(found: Sequence[Any]) -> list[str]:
    """Lines of [amount, name] or [name, amount]; [] for other lists, such as those of sections."""
    pairs = [[number_text(part).strip() for part in item] for item in found
             if isinstance(item, list | tuple) and len(item) == 2
             and all(isinstance(part, str | int | float) or part is None for part in item)]  # fmt: skip
    if len(pairs) < len(found):
        return []
    for amount in (0, 1):
        begun = [[bool(_AMOUNT_FIRST.match(pair[side])) for pair in pairs] for side in (amount, 1 - amount)]
        empty = [pair[1 - amount] == "" for pair in pairs]
        if any(begun[0]) and not any(begun[1]) and not any(empty) and 2 * sum(begun[0]) > len(pairs):
            return [" ".join(filter(None, (pair[amount], pair[1 - amount]))) for pair in pairs]
    return []


def _item(item: Any, kind: str, cell: Any) -> list[str]:
    """Lines of one item of a list. An object in it is a line or a section; of mappings only {"flour": "2 cups"}."""
    found = item if isinstance(item, str) else opened(item)
    several = isinstance(found, Mapping) and len(found) > 1
    if several and not set(map(_plain_key, found)) & {*WHOLE_STEP, *NAME, *INSIDE} and not _sections(found):
        raise unknown_shape(cell, kind, KNOWN)
    return _flat(found, kind, cell)


def _sections(found: Any) -> bool:
    return isinstance(found, Mapping) and all(isinstance(value, list | Mapping) for value in found.values())


def _plain_key(key: Any) -> str:
    return re.sub(r"[\s_\-@]", "", str(key).lower())


def _object(found: Mapping[str, Any], kind: str, cell: Any) -> list[str]:
    """A line as an object, a section, or a mapping of names to amounts or of sections to lists."""
    plain = {_plain_key(key): value for key, value in found.items()}
    keys = WHOLE if kind == "ingredients" else WHOLE_STEP
    if whole := next((plain[key] for key in keys if isinstance(plain.get(key), str) and plain[key].strip()), ""):
        return plain_text(whole).splitlines()
    inside = next((plain[key] for key in INSIDE if isinstance(plain.get(key), list | Mapping)), None)
    if inside is not None:
        return _flat(inside, kind, cell)
    known = {*WHOLE_STEP, *NAME, *AMOUNT, *UNIT, *AFTER, *INSIDE}
    if name := next((plain[key] for key in NAME if key in plain and plain[key] is not None), None):
        others = [key for key in plain if key in known]
        if isinstance(name, str) and (len(others) > 1 or len(plain) == 1 or "type" in plain or "id" in plain):
            return [_line(_amount(plain), name, next((plain[key] for key in AFTER if plain.get(key)), ""))]
    if len(set(plain) & known) * 2 >= max(len(plain), 1):  # a line, but not one that can be read
        if any(str(value).strip() for value in plain.values() if value is not None and value != []):
            raise unknown_shape(cell, kind, KNOWN)
        return []
    lines = []
    numbers = all(re.fullmatch(r"(?:step|line|ingredient|item)?\d+", key) for key in plain)
    counted = sorted(found.items(), key=lambda item: int(re.sub(r"\D", "", str(item[0])))) if numbers else found.items()
    for key, value in counted:
        if numbers or isinstance(value, list | Mapping):
            lines += _flat(value, kind, cell)
        elif kind == "ingredients" and (value is None or isinstance(value, str | int | float)):
            lines.append(_line(number_text(value), str(key), ""))
        else:
            raise unknown_shape(cell, kind, KNOWN)
    return lines


def _amount(plain: Mapping[str, Any]) -> str:
    """Amount and unit of an object; an amount may be an object itself."""
    given = next((plain[key] for key in AMOUNT if plain.get(key) not in (None, "")), "")
    if isinstance(given, list):
        given = given[0] if given else ""
    if isinstance(given, Mapping):
        return _amount({re.sub(r"[\s_\-]", "", str(key).lower()): value for key, value in given.items()})
    if given == "":
        ends = next(([plain[end] for end in pair] for pair in RANGE if all(plain.get(end) for end in pair)), [])
        given = "-".join(dict.fromkeys(map(number_text, ends)))
    unit = next((plain[key] for key in UNIT if isinstance(plain.get(key), str)), "")
    return f"{number_text(given)} {unit}".strip()


def _line(amount: str, name: str, after: Any) -> str:
    name, after = name.strip(), text(after) if isinstance(after, str) else ""
    said = f"{amount} {name}".strip() if not (amount and name.startswith(amount)) else name
    return f"{said}, {after}" if after and name else said


def with_amounts(lines: list[str], amounts: Any, units: Any = None) -> list[str] | None:
    """Lines with the amounts of a column beside them in front; None where the columns do not go together.

    They do not when their lengths differ or the lines begin with amounts already.
    """
    beside = [opened(column) for column in (amounts, units)]
    columns = [[number_text(item) for item in column] for column in beside if isinstance(column, list)]
    begun = sum(bool(_AMOUNT_FIRST.match(line)) for line in lines)
    if not columns or any(len(column) != len(lines) for column in columns) or begun * 2 > len(lines):
        return None
    return [" ".join(filter(None, (*parts, line))) for *parts, line in zip(*columns, lines, strict=True)]


def _split_text(written: str, kind: str) -> tuple[list[str], str]:
    """The parts of a text, and where it was split, in words ("" for line breaks)."""
    written = plain_text(written).strip()
    if "\n" not in written and re.search(r"(?:\\r)?\\n", written):
        return re.split(r"(?:\\r)?\\n", written), "text, split at \\n written out"
    if "\n" in written:
        lines = written.splitlines()
        joined = unwrapped(lines, begins_item) if kind == "steps" else None
        if joined is None:
            return lines, ""
        parts = split_steps(joined[0]) if len(joined) == 1 else joined
        return parts, "text broken at a width, put together again"
    if len(parts := [part for part in _INLINE_BULLET.split(written) if part.strip()]) > 1:
        return parts, "text, split at bullets"
    if kind == "steps" and len(parts := [part for part in re.split(r"\s\|\s", written) if part.strip()]) > 1:
        return parts, "text of one line, split at |"
    if kind == "steps":
        return split_steps(written), "text of one line, split at numbers or sentence ends"
    for sign in ("[|]", "[;；]"):
        if re.search(sign, written):
            return re.split(sign, written), f"text of one line, split at {sign[1]}"
    return _COMMA.split(written), "text of one line, split at commas"


def _clean(lines: list[str], kind: str) -> list[str]:
    plain = [strip_bullet(line) for line in lines]
    # A number on a line of its own counts the step that follows.
    return [line for line in plain if line and not (kind == "steps" and re.fullmatch(r"\d{1,2}[.):]?", line))]


def begins_item(line: str) -> bool:
    """Whether a line starts with a bullet or a number of its own."""
    return bool(_PLAIN_BULLET.match(line) or _NUMBERED.match(line))


def strip_bullet(line: str) -> str:
    """Without "- ", "•", "☐ ", "1. ", "2) ", "Step 3:" in front; amounts such as "2 eggs" and "1.5 cups" stay."""
    line = " ".join(line.split())
    line = _PLAIN_BULLET.sub("", line)
    return _PLAIN_BULLET.sub("", _NUMBERED.sub("", line)).strip()
