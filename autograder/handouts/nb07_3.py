"""Exercise 7.3: published sentences, and whether a measurement of ours bears them out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from autograder.exercise import Exercise, Part, Variant, table
from autograder.handouts.locked import locked
from autograder.handouts.nb07_results import CELLS, Cell, interval, words
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED

VERDICTS = (SUPPORTED, CONTRADICTED, OPEN)
LEVEL = 1 - 0.05 / len(CELLS)
"""Of each interval, so that with 95 % certainty all of them hold."""


@dataclass(frozen=True)
class Statement:
    """What a paper says, in our words; what of it can be tested here; and where it comes from."""

    id: str
    text: str
    test: str
    source: str


FILE = Path(__file__).with_name("statements.txt")
STATEMENTS = tuple(
    Statement(*row)
    for row in re.findall(
        r"^(\w)\. (.+)\n +=\s(.+)\n +\[(.+)\]$", FILE.read_text(encoding="utf-8"), re.MULTILINE
    )
)


def numbered(variant: Variant) -> dict[int, Cell]:
    """The measured cells under the numbers that this learner sees."""
    return {k: CELLS[index] for k, index in enumerate(variant.rng("cells").permutation(len(CELLS)), start=1)}


def _readable(value: float) -> str:
    """A number with a sign, large ones in thousand millions.

    >>> _readable(1.234), _readable(2.1e12)
    ('+1.23', '+2,100 G')
    """
    return f"{value / 1e9:+,.0f} G" if abs(value) >= 1e9 else f"{value:+.2f}"


class Audit:
    """Statements and measured differences as a learner sees them; the verdicts are theirs to read."""

    def __init__(self, variant: Variant) -> None:
        self._cells = numbered(variant)
        self.cells = {number: words(cell) for number, cell in self._cells.items()}

    def _lines(self) -> list[list[str]]:
        intervals = {number: interval(cell, LEVEL) for number, cell in self._cells.items()}
        return [
            [str(number), text, *(_readable(intervals[number][k]) for k in ("mean", "low", "high"))]
            for number, text in self.cells.items()
        ]

    def __repr__(self) -> str:
        statements = [f"({s.id}) {s.text} [{s.source}]\n    tested here: {s.test}" for s in STATEMENTS]
        return "\n".join([*statements, "", *("  ".join(line) for line in self._lines())])

    def _repr_html_(self) -> str:
        statements = [[f"({s.id})", s.text, s.test, s.source] for s in STATEMENTS]
        head = ("row", "measured difference", "mean", "low", "high")
        columns = ("", "what the paper says", "what is tested here", "paper")
        return table("Statements", statements, columns) + table("Measured", self._lines(), head)


EXERCISE = Exercise(
    "7.3",
    "Which sentences survive?",
    2,
    12,
    ("audit",),
    tuple(
        Part(f"statement {s.id}", 0.25, locked("audit", "nb07_3", "grade_statement", s.id))
        for s in STATEMENTS
    ),
    given=Audit,
)
