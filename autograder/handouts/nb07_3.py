"""Exercise 7.3: published sentences, and whether a measurement of ours bears them out."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.exercise import Exercise, Part, Variant, table
from autograder.handouts.locked import locked
from autograder.handouts.nb07_results import CELLS, Cell, interval, words
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED

VERDICTS = (SUPPORTED, CONTRADICTED, OPEN)
LEVEL = 1 - 0.05 / len(CELLS)
"""Of each interval, so that with 95 % certainty all of them hold."""


@dataclass(frozen=True)
class Statement:
    """A sentence of the literature in our words, and where it comes from."""

    id: str
    text: str
    source: str


STATEMENTS = (
    Statement(
        "a",
        "Serving the best of n gives better responses than a policy that was tuned by PPO within the "
        "computation of one round.",
        "WebGPT, arXiv 2112.09332",
    ),
    Statement(
        "b",
        "For the same computation PPO makes a better policy than one round of rejection sampling.",
        "AlpacaFarm, arXiv 2305.14387",
    ),
    Statement(
        "c",
        "With all the steps that it wants, PPO ends above one round of rejection sampling.",
        "AlpacaFarm, arXiv 2305.14387",
    ),
    Statement(
        "d",
        "In the same time several small rounds make more of it than one.",
        "Llama 2 on fresh samples, arXiv 2307.09288, section 3.2.3",
    ),
    Statement(
        "e",
        "From the same number of responses PPO needs more computation than DPO.",
        "Llama 3, arXiv 2407.21783, section 4.1",
    ),
    Statement("f", "PPO keeps more models in memory than DPO does.", "RAFT on PPO, arXiv 2304.06767"),
    Statement(
        "g",
        "For the same computation PPO makes a better policy than DPO.",
        "PPO against DPO, arXiv 2406.09279",
    ),
    Statement(
        "h",
        "Without its KL penalty, PPO still ends at a better policy than the one that it began with.",
        "what a reader of the reward alone would conclude",
    ),
)


def numbered(variant: Variant) -> dict[int, Cell]:
    """The measured cells under the numbers that this learner sees."""
    return {k: CELLS[index] for k, index in enumerate(variant.rng("cells").permutation(len(CELLS)), start=1)}


class Audit:
    """Statements and measured differences as a learner sees them; the verdicts are theirs to read."""

    def __init__(self, variant: Variant) -> None:
        self._cells = numbered(variant)
        self.cells = {number: words(cell) for number, cell in self._cells.items()}

    def _lines(self) -> list[list[str]]:
        intervals = {number: interval(cell, LEVEL) for number, cell in self._cells.items()}
        return [
            [str(number), text, *(f"{intervals[number][k]:.3g}" for k in ("mean", "low", "high"))]
            for number, text in self.cells.items()
        ]

    def __repr__(self) -> str:
        statements = [f"({s.id}) {s.text} [{s.source}]" for s in STATEMENTS]
        return "\n".join([*statements, "", *("  ".join(line) for line in self._lines())])

    def _repr_html_(self) -> str:
        statements = [[f"({s.id})", s.text, s.source] for s in STATEMENTS]
        head = ("cell", "measured difference", "mean", "low", "high")
        return table("Statements", statements, ("", "statement", "after")) + table(
            "Cells", self._lines(), head
        )


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
