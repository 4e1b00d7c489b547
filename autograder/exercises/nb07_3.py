"""Exercise 7.3: published sentences, and whether a measurement of ours bears them out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from autograder.exercise import ANSWERED, Exercise, Part, Variant, Wrong, require, table
from autograder.exercises.nb07_results import CELLS, interval, words
from autograder.work import Work
from rslib.arena.claims import CONTRADICTED, OPEN, SUPPORTED, verdict_of

VERDICTS = (SUPPORTED, CONTRADICTED, OPEN)
LEVEL = 1 - 0.05 / len(CELLS)
"""Of each interval, so that with 95 % certainty all of them hold."""
FORM, EVIDENCE, VERDICT = "names a cell and a verdict", "points at the evidence", "reads the interval"


@dataclass(frozen=True)
class Statement:
    """A sentence of the literature in our words, where it comes from, and the cell of ours that tests it."""

    id: str
    text: str
    source: str
    cell: str


STATEMENTS = (
    Statement(
        "a",
        "Serving the best of n gives better responses than a policy that was tuned by PPO within the "
        "computation of one round.",
        "WebGPT, arXiv 2112.09332",
        "served",
    ),
    Statement(
        "b",
        "For the same computation PPO makes a better policy than one round of rejection sampling.",
        "AlpacaFarm, arXiv 2305.14387",
        "expert",
    ),
    Statement(
        "c",
        "With all the steps that it wants, PPO ends above one round of rejection sampling.",
        "AlpacaFarm, arXiv 2305.14387",
        "expert_unequal",
    ),
    Statement(
        "d",
        "In the same time several small rounds make more of it than one.",
        "Llama 2 on fresh samples, arXiv 2307.09288, section 3.2.3",
        "rounds",
    ),
    Statement(
        "e",
        "From the same number of responses PPO needs more computation than DPO.",
        "Llama 3, arXiv 2407.21783, section 4.1",
        "compute",
    ),
    Statement(
        "f", "PPO keeps more models in memory than DPO does.", "RAFT on PPO, arXiv 2304.06767", "models"
    ),
    Statement(
        "g",
        "For the same computation PPO makes a better policy than DPO.",
        "PPO against DPO, arXiv 2406.09279",
        "ppo_dpo",
    ),
    Statement(
        "h",
        "Without its KL penalty, PPO still ends at a better policy than the one that it began with.",
        "what a reader of the reward alone would conclude",
        "no_kl",
    ),
)


def numbered(variant: Variant) -> dict[int, str]:
    """The measured cells under the numbers that this learner sees."""
    names = list(CELLS)
    return {k: names[at] for k, at in enumerate(variant.rng("cells").permutation(len(names)), start=1)}


def measured(name: str) -> str:
    """What the interval of a cell says of the claim that its first has more."""
    return verdict_of(interval(CELLS[name], LEVEL))


class Audit:
    """Statements and measured differences as a learner sees them; the verdicts are theirs to read."""

    def __init__(self, variant: Variant) -> None:
        self.cells = numbered(variant)

    def _lines(self) -> list[list[str]]:
        found = {number: interval(CELLS[name], LEVEL) for number, name in self.cells.items()}
        return [
            [str(number), words(CELLS[name]), *(f"{found[number][k]:.3g}" for k in ("mean", "low", "high"))]
            for number, name in self.cells.items()
        ]

    def __repr__(self) -> str:
        said = [f"({s.id}) {s.text} [{s.source}]" for s in STATEMENTS]
        return "\n".join([*said, "", *("  ".join(line) for line in self._lines())])

    def _repr_html_(self) -> str:
        said = [[f"({s.id})", s.text, s.source] for s in STATEMENTS]
        head = ("cell", "measured difference", "mean", "low", "high")
        return table("Statements", said, ("", "statement", "after")) + table("Cells", self._lines(), head)


def grade_statement(statement: Statement, work: Work, rng: np.random.Generator) -> None:
    """The cell that tests the statement, and what its interval says."""
    said = work.value("audit", dict).get(statement.id)
    if said is None or said is ... or said == "" or said == (0, ""):
        raise Wrong(ANSWERED, f"`audit` has no entry for statement {statement.id} yet.")
    known = numbered(work.variant)
    form = f"audit[{statement.id!r}] is the number of a cell and one of {', '.join(VERDICTS)}."
    number, verdict = said if isinstance(said, tuple | list) and len(said) == 2 else (None, None)
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) in known
    right = whole and isinstance(verdict, str) and verdict.strip().lower() in VERDICTS
    require(right, FORM, form, got=str(said))
    name = known[int(number)]
    message = (
        f"Cell {number} tests another sentence. Which arms are compared, in what, and what is held equal?"
    )
    idea = "F16" if name.endswith("_reward") else "F33" if CELLS[name].budget == "" else "evidence"
    require(name == statement.cell, EVIDENCE, message, idea=idea, got=words(CELLS[name]))
    message = (
        "An interval that has 0 in it does not decide, however far its middle lies from 0. One that has not "
        "does decide, for or against."
    )
    require(verdict.strip().lower() == measured(name), VERDICT, message, idea="F34", got=verdict)


EXERCISE = Exercise(
    "7.3",
    "Which sentences survive?",
    2,
    12,
    ("audit",),
    tuple(Part(f"statement {s.id}", 0.25, partial(grade_statement, s)) for s in STATEMENTS),
    given=Audit,
)
