"""Write the README's tables from docs/results/: `make tables`. A test checks that they are in sync.

Between the markers `results:start` and `results:end` stands the table of docs/results/world.json, between
`bench:start` and `bench:end` the tables that rslib.bench makes of docs/results/bench-*.json. Without such files
the text between the markers stays as it is. docs/results/README.md describes the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
README = ROOT / "README.md"
Cell = str | float | int | Mapping[str, float] | None


def cell(value: Cell) -> str:
    """One cell as text: numbers with three digits, estimates with their interval.

    >>> cell({"mean": 3.9712, "low": 3.8, "high": 4.142}), cell(0.5), cell(None), cell("base")
    ('3.97 (3.80 to 4.14)', '0.500', '', 'base')
    """
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return f"{value['mean']:.3g} ({value['low']:#.3g} to {value['high']:#.3g})"
    return f"{value:#.3g}" if isinstance(value, float) else str(value)


def markdown(table: Mapping[str, Sequence]) -> str:
    """A markdown table of `head` (names) and `rows` (lists of cells), the first column to the left."""
    head, rows = table["head"], table["rows"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def results_text(path: Path = RESULTS / "world.json") -> str | None:
    """The table of the embedded world with its caption, or None when it has not been measured."""
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return f"{markdown(found['table'])}\n\n{found['caption']}"


def bench_text(folder: Path = RESULTS) -> str | None:
    """The benchmark tables of all devices, or None when none has been measured."""
    paths = sorted(folder.glob("bench-*.json"))
    if not paths:
        return None
    from rslib.bench import render

    return "\n\n".join(render(json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def filled(page: str, name: str, text: str | None) -> str:
    """`page` with `text` between the markers called `name`; unchanged when there is no text.

    >>> filled("<!-- a:start -->old<!-- a:end -->", "a", "new").split()
    ['<!--', 'a:start', '-->', 'new', '<!--', 'a:end', '-->']
    """
    if text is None:
        return page
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, rest = page.split(start)
    return f"{before}{start}\n{text.strip()}\n{end}{rest.split(end)[1]}"


def rendered(page: str) -> str:
    """The README as it should be."""
    return filled(filled(page, "results", results_text()), "bench", bench_text())


if __name__ == "__main__":
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
