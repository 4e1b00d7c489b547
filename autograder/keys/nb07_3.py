"""Which measurement tests which sentence of exercise 7.3, and what it says."""

from __future__ import annotations

import numpy as np

from autograder.exercise import ANSWERED, CheckFailed, require
from autograder.exercises.nb07_3 import LEVEL, VERDICTS, numbered
from autograder.exercises.nb07_results import Cell, interval, words
from autograder.work import Work
from rslib.intervals import verdict_of

FORM, EVIDENCE, VERDICT = "names a cell and a verdict", "points at the evidence", "reads the interval"
CELLS = {
    "served": Cell("best_of_n", "ppo", "gold", "flops"),
    "served_reward": Cell("best_of_n", "ppo", "proxy", "flops"),
    "expert": Cell("ppo", "rs1", "gold", "flops"),
    "expert_unequal": Cell("ppo", "rs", "gold", ""),
    "rounds": Cell("rs3", "rs1", "gold", "cpu_seconds"),
    "rounds_reward": Cell("rs3", "rs1", "proxy", "cpu_seconds"),
    "compute": Cell("ppo", "dpo", "flops", "responses"),
    "models": Cell("ppo", "dpo", "models", "responses"),
    "ppo_dpo": Cell("ppo", "dpo", "gold", "flops"),
    "no_kl": Cell("ppo_without_kl", "base", "gold", ""),
    "no_kl_reward": Cell("ppo_without_kl", "base", "reward", ""),
    "control": Cell("rs1", "random", "gold", "cpu_seconds"),
    "base": Cell("rs1", "base", "gold", "cpu_seconds"),
}
TESTED_BY = {
    "a": "served",
    "b": "expert",
    "c": "expert_unequal",
    "d": "rounds",
    "e": "compute",
    "f": "models",
    "g": "ppo_dpo",
    "h": "no_kl",
}
"""Statement -> the name of its cell."""


def measured(cell: Cell) -> str:
    """What the interval of a cell says of the claim that its first has more."""
    return verdict_of(interval(cell, LEVEL))


def grade_statement(id: str, work: Work, rng: np.random.Generator) -> None:
    """The cell that tests the statement, and what its interval says."""
    said = work.value("audit", dict).get(id)
    if said is None or said is ... or said == "" or said == (0, ""):
        raise CheckFailed(ANSWERED, f"`audit` has no entry for statement {id} yet.")
    known = numbered(work.variant)
    form = f"audit[{id!r}] is the number of a cell and one of {', '.join(VERDICTS)}."
    number, verdict = said if isinstance(said, tuple | list) and len(said) == 2 else (None, None)
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) in known
    right = whole and isinstance(verdict, str) and verdict.strip().lower() in VERDICTS
    require(right, FORM, form, got=str(said))
    cell = known[int(number)]
    message = (
        f"Cell {number} tests another sentence. Which arms are compared, in what, and what is held equal?"
    )
    idea = "F16" if cell.metric in ("proxy", "reward") else "F33" if cell.budget == "" else "evidence"
    require(cell == CELLS[TESTED_BY[id]], EVIDENCE, message, idea=idea, got=words(cell))
    message = (
        "An interval that has 0 in it does not decide, however far its middle lies from 0. One that has not "
        "does decide, for or against."
    )
    require(verdict.strip().lower() == measured(cell), VERDICT, message, idea="F34", got=verdict)
