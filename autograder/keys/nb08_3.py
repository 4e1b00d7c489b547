"""Whether the memo of exercise 8.3 advises what fits, and says nothing that the calculator contradicts."""

from __future__ import annotations

import numpy as np

from autograder.exercise import CheckFailed, require
from autograder.exercises.calculator import STRATEGIES, memory_gb
from autograder.exercises.nb08_3 import (
    AGREES,
    CHOICE,
    FEWEST_WORDS,
    LENGTH,
    MOST_WORDS,
    NAMES,
    near,
    parts,
    stated,
)
from autograder.handouts.nb08_2 import yearly_cost
from autograder.keys.nb08_2 import acceptable
from autograder.work import Work

WORDS = {
    "serve": ("best-of", "best of", "serv"),
    "rs": ("rejection sampling", "best-of", "best of"),
    "dpo": ("dpo",),
    "rloo": ("rloo",),
    "ppo": ("ppo",),
}
"""One of these has to stand in a memo that advises the strategy."""


def grade_text(work: Work, rng: np.random.Generator) -> None:
    """Length, the strategy by name and fit, and no sum or size that the calculator contradicts."""
    memo, _, team, strategy = parts(work)
    words = len(memo.split())
    message = f"A memo has {FEWEST_WORDS} to {MOST_WORDS} words: a team has to decide by it."
    require(FEWEST_WORDS <= words <= MOST_WORDS, LENGTH, message, idea="length", got=f"{words} words")
    named = any(word in memo.lower() for word in WORDS[strategy])
    require(named, NAMES, "The memo does not name the strategy that it advises.", idea="not said")
    fits = strategy in acceptable(team) or acceptable(team) == {"none"}
    require(fits, CHOICE, "For this team the strategy is not acceptable (8.2).", idea="choice", got=strategy)
    sizes = [memory_gb(team.parameters, other) for other in STRATEGIES] + [team.memory]
    sums = [yearly_cost(team, other) for other in STRATEGIES] + [team.budget]
    for value, kind in stated(memo):
        allowed = sizes if kind == "GB" else sums
        if kind and not any(near(value, other) for other in allowed):
            what = "size in GB" if kind == "GB" else "sum"
            message = f"The text states a {what} that no strategy has for this team, and no limit of theirs."
            raise CheckFailed(AGREES, message, idea="contradiction", got=f"{value:,.6g}")
