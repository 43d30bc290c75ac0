"""One JSON object that holds a whole table: which of the usual shapes it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from helpers.errors import listed, shown
from helpers.sources.files.base import Bad, File, Row

RECORDS = 'Give a list of objects, one for each row; with pandas: df.to_json(path, orient="records")'


def table(file: File, whole: Any, alone: bool = True) -> Iterable[Row | Bad] | None:
    """Rows of a JSON value. Known are a list of objects inside an object, objects by id, lists by column (as of
    ``Dataset.to_dict``), and pandas' orients columns, index, split and table.

    Args:
        alone: False where an object may also be a single row: None is returned where it is no table then.

    Raises:
        DataError: another shape, named with what was found.
    """
    if not isinstance(whole, dict):
        raise file.error(f"holds a single {type(whole).__name__}, not a list of rows", RECORDS)
    if not whole:
        return ()
    if "columns" in whole and isinstance(whole.get("data"), list) and set(whole) <= {"columns", "index", "data"}:
        return _split(file, whole)
    lists = {key: value for key, value in whole.items() if isinstance(value, list)}
    objects = {key: value for key, value in whole.items() if isinstance(value, dict)}
    tables = {key: value for key, value in lists.items() if value and all(isinstance(item, dict) for item in value)}
    if len(objects) == len(whole) and (alone or len(whole) > 1):
        return _nested(file, whole, alone)
    if len(lists) == len(whole) and not tables and (alone or len(whole) > 1):
        return _columns(file, lists, alone)
    if not alone and not ("data" in tables or len(whole) == 1):
        return None
    if len(tables) == 1:
        name, found = next(iter(tables.items()))
        others = [key for key in whole if key != name]
        if others and name != "data":
            file.notes.append(f"{file.name}: the list {name!r} was read, and not {listed(others)}")
        if whole.get("schema") and isinstance(whole["schema"], Mapping):  # pandas' orient table
            index = whole["schema"].get("primaryKey") or []
            if index == ["index"]:
                return [{key: value for key, value in row.items() if key != "index"} for row in found]
        return _only_objects(found)
    if len(tables) > 1:
        sizes = listed([f"{key} ({len(value):,})" for key, value in tables.items()])
        raise file.error(f"holds several lists of rows: {sizes}", "Give each of them as a file of its own")
    if len(objects) == 1 and _is_table(inner := next(iter(objects.values()))):
        return table(file, inner)
    if not alone:
        return None
    kinds = listed([f"{key}: {type(value).__name__}" for key, value in whole.items()])
    raise file.error(f"holds one object and no list of rows (found {kinds})", RECORDS)


def _only_objects(found: list[Any]) -> Iterable[Row | Bad]:
    for number, row in enumerate(found, 1):
        yield row if isinstance(row, dict) else Bad(number, f"not a JSON object but {shown(row, 60)}")


def _is_table(inner: Mapping[str, Any]) -> bool:
    values = list(inner.values())
    return bool(values) and (all(isinstance(v, dict) for v in values) or all(isinstance(v, list) for v in values))


def _split(file: File, whole: Mapping[str, Any]) -> list[Row]:
    names, found = whole["columns"], whole["data"]
    for number, cells in enumerate(found, 1):
        if not isinstance(cells, list) or len(cells) != len(names):
            what = f"has {len(names)} columns, but row {number:,} of its data is {shown(cells, 100)}"
            raise file.error(what, RECORDS)
    if len(set(map(str, names))) < len(names):
        raise file.error(f"has a column twice: {listed(list(map(str, names)))}", "Rename one of them")
    return [dict(zip(map(str, names), cells, strict=True)) for cells in found]


def _columns(file: File, lists: Mapping[str, list[Any]], alone: bool) -> list[Row] | None:
    """Columns as lists of equal length."""
    sizes = {len(value) for value in lists.values()}
    if len(sizes) > 1:
        if not alone:
            return None
        found = listed([f"{key} ({len(value):,})" for key, value in lists.items()])
        raise file.error(f"holds lists of different lengths: {found}", RECORDS)
    if not alone and sizes == {1}:
        return None
    file.notes.append(f"{file.name} has a list for each column: {listed(list(lists))}")
    return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]


def _nested(file: File, whole: Mapping[str, Mapping[str, Any]], alone: bool) -> Iterable[Row | Bad] | None:
    """Objects of objects: rows by id, or pandas' columns, which hold their cells by row."""
    inner = list(dict.fromkeys(key for value in whole.values() for key in value))
    same = all(len(value) == len(inner) for value in whole.values())
    numbered = bool(inner) and all(key.isdecimal() for key in inner)
    by_column = numbered or (len(inner) > max(20, 2 * len(whole)))
    if same and inner and by_column and not all(key.isdecimal() for key in whole):
        file.notes.append(f"{file.name} has an object for each column (pandas' orient columns): {listed(list(whole))}")
        return [{name: cells[key] for name, cells in whole.items()} for key in inner]
    if not alone:
        return None
    if len(whole) == 1 and _is_table(only := next(iter(whole.values()))):
        return table(file, only)
    if len(whole) == 1 and isinstance(only.get("data"), list):
        return table(file, only)
    return [{"id": key, **value} for key, value in whole.items()]
