"""Every file of docs/results/ as a page of tables, made from its shape: a new file needs no code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from docs.site.pages import Page, part_of, rendered
from docs.studies.results import DOCS, RESULTS
from rslib.cache import read_json

_ROWS = 60
"""Rows of a table, and numbers of a list, beyond which the page shows the first and the count."""


def pages() -> Iterator[Page]:
    """The first page, which is the results' README, and one page a file."""
    readme = RESULTS / "README.md"
    text = rendered(readme.read_text(encoding="utf-8"), readme)
    front = DOCS.parent / "README.md"
    round_ = rendered("## One round\n" + part_of(front, "What one round does"), front)
    yield Page("results/index.html", "Results", text + round_, readme)
    for path in sorted(RESULTS.glob("*.json")):
        yield Page(f"results/files/{path.stem}.html", path.stem, body(path), path, "Files")


def body(path: Path) -> str:
    """The tables of a file, with the file itself to take along."""
    name = escape(path.name)
    take = f'<p><a href="file:docs/results/{name}" download>{name}</a>, the file itself.</p>'
    return f"<h1>{escape(path.stem)}</h1>{take}" + "".join(_shown(read_json(path), 2))


def _shown(value: Any, level: int, name: str = "") -> Iterator[str]:
    """A value as HTML: a table of its plain items, one of those that are alike, headings for the others."""
    listed = not isinstance(value, Mapping)
    items = [
        (f"{name} {key}" if listed else key, item)
        for key, item in (enumerate(value) if listed else value.items())
    ]
    plain = [(key, {"": item}) for key, item in items if _cell(item) is not None]
    nested = [(key, item) for key, item in items if _cell(item) is None]
    if plain:
        yield _table(plain)
    rows = [(key, row) for key, item in nested if (row := _row(item)) is not None]
    if nested and len(rows) == len(nested) and _alike([set(row) for _, row in rows]):
        yield _table(rows)
        return
    for key, item in nested[:_ROWS]:
        yield f"<h{min(level, 6)}>{escape(key)}</h{min(level, 6)}>"
        yield from _shown(item, level + 1, key)
    if len(nested) > _ROWS:
        yield f"<p>{len(nested) - _ROWS} more stand in the file.</p>"


def _alike(columns: list[set[str]]) -> bool:
    """Whether rows share most of their columns.

    >>> _alike([{"a", "b"}, {"a", "b", "c"}]), _alike([{"a"}, {"b"}])
    (True, False)
    """
    return len(set.union(*columns)) <= 1.5 * min(map(len, columns))


def _cell(value: Any) -> str | None:
    """The text of a table's cell; None for what needs a table of its own."""
    match value:
        case None:
            return ""
        case bool() | str():
            return str(value)
        case int() | float():
            return f"{value:.4g}" if abs(value) < 1e4 and isinstance(value, float) else f"{value:,.0f}"
        case list() if all(isinstance(item, int | float | str) for item in value):
            more = f" ... ({len(value)} in all)" if len(value) > 8 else ""
            return ", ".join(_cell(item) or "" for item in value[:8]) + more
        case {"low": low, "high": high, **rest} if len(rest) <= 1:
            middle = "".join(f"{_cell(item)} " for item in rest.values())
            return f"{middle}[{_cell(low)}, {_cell(high)}]"
    return None


def _row(value: Any, prefix: str = "") -> dict[str, Any] | None:
    """The cells of an entry by column, one level of nesting flattened; None where it holds more."""
    if not isinstance(value, Mapping):
        return None
    row: dict[str, Any] = {}
    for key, item in value.items():
        if _cell(item) is not None:
            row[f"{prefix}{key}"] = item
        elif prefix or (inner := _row(item, f"{key}, ")) is None:
            return None
        else:
            row |= inner
    return row


def _table(rows: list[tuple[str, dict[str, Any]]]) -> str:
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in columns)
    lines = "".join(_line(name, [row.get(column) for column in columns]) for name, row in rows[:_ROWS])
    more = f"<p>{len(rows) - _ROWS} more rows stand in the file.</p>" if len(rows) > _ROWS else ""
    top = f"<thead><tr><td></td>{head}</tr></thead>" if columns != [""] else ""
    table = f'<table class="data">{top}<tbody>{lines}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{table}</div>{more}'


def _line(name: str, cells: list[Any]) -> str:
    numbers = "".join(
        f"<td{' class=number' if isinstance(cell, int | float) else ''}>{escape(_cell(cell) or '')}</td>"
        for cell in cells
    )
    return f"<tr><th scope=row>{escape(name)}</th>{numbers}</tr>"
