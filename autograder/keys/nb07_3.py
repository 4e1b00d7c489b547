"""Which measurement tests which sentence of exercise 7.3, and what it says."""

from __future__ import annotations

import numpy as np

from autograder.exercise import require, short
from autograder.handouts import nb07_results
from autograder.handouts.locked import entry
from autograder.handouts.nb07_3 import LEVEL, VERDICTS, numbered
from autograder.handouts.nb07_results import Cell, interval, words
from autograder.work import Work
from rslib.intervals import verdict_of

FORM, EVIDENCE, VERDICT = "names a row and a verdict", "points at the evidence", "reads the interval"
CELLS = {cell.key: cell for cell in nb07_results.CELLS}
TESTED_BY = {
    "a": "best_of_n/ppo/gold/flops",
    "b": "ppo/rs1/gold/flops",
    "c": "ppo/rs/gold/",
    "d": "rs3/rs1/gold/cpu_seconds",
    "e": "ppo/dpo/flops/responses",
    "f": "ppo/dpo/models/responses",
    "g": "ppo/dpo/gold/flops",
    "h": "ppo_without_kl/base/gold/",
}
"""Statement -> the key of the cell that tests it."""


def measured(cell: Cell) -> str:
    """What the interval of a cell says of the claim that its first has more."""
    return verdict_of(interval(cell, LEVEL))


def grade_statement(id: str, work: Work, rng: np.random.Generator) -> None:
    """The row that tests the statement, and what its interval says."""
    answer = entry(work, "audit", id, f"entry for statement {id}", blank=(0, ""))
    known = numbered(work.variant)
    form = f"audit[{id!r}] is the number of a row and one of {', '.join(VERDICTS)}."
    number, verdict = answer if isinstance(answer, tuple | list) and len(answer) == 2 else (None, None)
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) in known
    verdict = str.strip(str.casefold(verdict)) if isinstance(verdict, str) else ""
    right = whole and verdict in VERDICTS
    require(right, FORM, form, got=short(answer))
    cell = known[int(number)]
    message = (
        f"Row {number} tests another sentence. Which arms are compared, in what, and what is held equal?"
    )
    idea = "F16" if cell.metric in ("proxy", "reward") else "F33" if cell.budget == "" else "evidence"
    require(cell == CELLS[TESTED_BY[id]], EVIDENCE, message, idea=idea, got=words(cell))
    message = (
        "An interval that has 0 in it does not decide, however far its middle lies from 0. One that has not "
        "does decide, for or against."
    )
    require(verdict == measured(cell), VERDICT, message, idea="F34", got=verdict)
