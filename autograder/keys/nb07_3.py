"""Which measurement tests which sentence of exercise 7.3, and what it says."""

from __future__ import annotations

import re

import numpy as np

from autograder.exercise import CheckFailed, require, short
from autograder.exercises.artefacts import word_of
from autograder.handouts import nb07_results
from autograder.handouts.locked import entry
from autograder.handouts.nb07_3 import LEVEL, VERDICTS, numbered
from autograder.handouts.nb07_results import NAMES, Cell, interval, words
from autograder.keys.written import fields
from autograder.work import Work
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED, verdict_of

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
    pair = fields(answer, "row", "verdict")
    number, verdict = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
    written = (
        re.fullmatch(r"\s*(?:row\s*)?(\d{1,2})\s*", number, re.IGNORECASE)
        if isinstance(number, str)
        else None
    )
    if written or (isinstance(number, float) and number.is_integer()):
        number = int(written[1] if written else number)
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) in known
    verdict = word_of(verdict)
    right = whole and verdict in VERDICTS
    require(right, FORM, form, got=short(answer))
    cell, asked = known[int(number)], CELLS[TESTED_BY[id]]
    if cell != asked:
        idea, message = _beside(cell, asked)
        raise CheckFailed(
            EVIDENCE, f"Row {number} tests another sentence: {message}", idea=idea, got=words(cell)
        )
    message = (
        "An interval that has 0 in it does not decide, however far its middle lies from 0. One that has not "
        "does decide, for or against."
    )
    middle = interval(cell, LEVEL)["mean"]
    if measured(cell) == OPEN and verdict == SUPPORTED and middle < 0:
        message = (
            "An interval that has 0 in it does not decide, and the middle of this one speaks against the "
            "statement. Read the row, and not the sentence of the paper."
        )
    if measured(cell) == OPEN and verdict == CONTRADICTED and middle > 0:
        message = "An interval that has 0 in it does not decide: what is not shown is not refuted either."
    if OPEN not in (verdict, measured(cell)):
        message = (
            "The interval decides, and not this way. Which of the two does the row take from which, and "
            "which does the statement say has more?"
        )
    require(verdict == measured(cell), VERDICT, message, idea="F34", got=verdict)


def _beside(cell: Cell, asked: Cell) -> tuple[str, str]:
    """The idea and the sentence of a row that differs from the one that is asked for: in what it differs."""
    if {NAMES[cell.first], NAMES[cell.second]} != {NAMES[asked.first], NAMES[asked.second]}:
        return "evidence", "it compares other arms than the statement does."
    if cell.metric in ("proxy", "reward"):
        return "F16", "it is a difference in reward, what the arms were selected for or trained on."
    if cell.metric != asked.metric:
        return "evidence", "its difference is of another quantity than the statement speaks of."
    return "F33", "it holds another thing equal than the statement does, or nothing."
