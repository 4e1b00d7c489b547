"""What all studies share: results files, runs that are not made twice, and text for pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rslib.cache import atomic_write, make_folder, read_json, versions
from rslib.progress import Progress

DOCS = Path(__file__).resolve().parents[1]
RESULTS, FIGURES = DOCS / "results", DOCS / "figures"
_Rows = dict[str, dict[str, Any]]


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """The content of a results file; an empty one where nothing has been measured yet."""
    path = folder / f"{name}.json"
    return read_json(path) if path.exists() else {}


def sorted_text(content: Mapping[str, Any]) -> str:
    """The content as JSON, one value a line. Raises ValueError for NaN."""
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def text_by_record(content: Mapping[str, Any]) -> str:
    """The content as JSON, one item of each list and of each object a line, for files with long lists.

    >>> print(text_by_record({"n": 2, "runs": [{"gold": [1, 2]}, {"gold": [3, 4]}]}), end="")
    {
     "n": 2,
     "runs": [
      {"gold": [1, 2]},
      {"gold": [3, 4]}
     ]
    }
    """

    def block(start: str, items: Iterable[str], end: str) -> str:
        return f"{start}\n  " + ",\n  ".join(items) + f"\n {end}"

    def text(value: Any) -> str:
        if isinstance(value, list):
            return block("[", (json.dumps(item, sort_keys=True) for item in value), "]")
        if isinstance(value, Mapping):
            pairs = ((json.dumps(key), json.dumps(item, sort_keys=True)) for key, item in value.items())
            return block("{", (f"{key}: {item}" for key, item in pairs), "}")
        return json.dumps(value)

    return "{\n " + ",\n ".join(f'"{name}": {text(value)}' for name, value in content.items()) + "\n}\n"


def write(
    name: str,
    content: Mapping[str, Any],
    folder: Path = RESULTS,
    text_of: Callable[[Mapping[str, Any]], str] = sorted_text,
) -> Path:
    """Write a results file whole or not at all; gives its path. Raises ValueError for NaN in the content."""
    path = make_folder(folder) / f"{name}.json"
    atomic_write(path, text_of(content))
    return path


def measure_rows(
    name: str,
    cells: Sequence[tuple[str, str]],
    measure: Callable[[str, str], Any],
    facts: Mapping[str, Any],
    column: str = "rows",
    folder: Path = RESULTS,
) -> None:
    """Fill `column` of a results file with `measure(first, second)` for every cell that it lacks.

    The file is written after each row, with `facts` and the versions beside it, so that a study that was
    stopped goes on where it was. What was computed from fewer rows is dropped.
    """
    rows: _Rows = read(name, folder).get(column, {})
    with Progress(len(cells), name, "rows") as progress:
        for first, second in cells:
            cached = second in rows.get(first, {})
            if not cached:
                rows.setdefault(first, {})[second] = measure(first, second)
                write(name, {**facts, "versions": versions(), column: rows}, folder)
            progress.advance(cached=cached)


def exponent(seconds: Mapping[float, float]) -> float:
    """How seconds grow with a size: the slope of their logarithm over its logarithm.

    >>> exponent({1: 2.0, 2: 4.0, 4: 8.0})
    1.0
    """
    return round(float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0]), 3)


# Pages ----------------------------------------------------------------------------------------------------


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "---:") -> str:
    """A Markdown table, the first column to the left, the others as `align` says ("---": to the left).

    >>> print(markdown(["n", "gold"], [["16", "4.93"]]))
    | n | gold |
    | --- | ---: |
    | 16 | 4.93 |
    """
    lines = [head, ["---", *[align] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def filled(page: str, name: str, text: str | None) -> str:
    """`page` with `text` between the markers called `name`; unchanged when there is no text.

    >>> filled("<!-- a:start -->old<!-- a:end -->", "a", "new").split()
    ['<!--', 'a:start', '-->', 'new', '<!--', 'a:end', '-->']
    """
    if not text:
        return page
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, rest = page.split(start)
    return f"{before}{start}\n{text.strip()}\n{end}{rest.split(end)[1]}"


def mean_and_range(values: Sequence[float | None]) -> str:
    """The mean of some runs and their range; empty when no run has a value.

    >>> mean_and_range([1.0, 2.0, 3.0]), mean_and_range([None])
    ('2.00 (1.00 to 3.00)', '')
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return f"{sum(known) / len(known):.2f} ({min(known):.2f} to {max(known):.2f})"


def signed_interval(difference: Mapping[str, float], name: str = "difference") -> str:
    """A difference with its ends.

    >>> signed_interval({"difference": 0.5, "low": -0.25, "high": 1.25})
    '+0.50 [-0.25, +1.25]'
    """
    return f"{difference[name]:+.2f} [{difference['low']:+.2f}, {difference['high']:+.2f}]"
