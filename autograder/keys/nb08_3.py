"""Whether the memo of exercise 8.3 has its length, names what it advises, and advises what fits."""

from __future__ import annotations

import numpy as np

from autograder.exercise import require
from autograder.exercises.nb08_3 import CHOICE, FEWEST_WORDS, LENGTH, MOST_WORDS, NAMES, parts
from autograder.keys.nb08_2 import acceptable
from autograder.work import Work

WORDS = {
    "serve": ("best-of", "best of", "serv"),
    "rs": ("rejection sampling", "rejection-sampling", "best-of", "best of"),
    "dpo": ("dpo", "direct preference optimi"),
    "rloo": ("rloo", "leave-one-out"),
    "ppo": ("ppo", "proximal policy"),
}
"""One of these has to stand in a memo that advises the strategy."""


def grade_text(work: Work, rng: np.random.Generator) -> None:
    """Length, the strategy by name, and whether it fits; the numbers are another part's."""
    memo, _, team, strategy = parts(work)
    words = len(memo.split())
    message = f"A memo has {FEWEST_WORDS} to {MOST_WORDS} words: a team has to decide by it."
    require(FEWEST_WORDS <= words <= MOST_WORDS, LENGTH, message, idea="length", got=f"{words} words")
    named = any(word in memo.casefold() for word in WORDS[strategy])
    require(named, NAMES, "The memo does not name the strategy that it advises.", idea="not said")
    fits = strategy in acceptable(team) or acceptable(team) == {"none"}
    require(fits, CHOICE, "For this team the strategy is not acceptable (8.2).", idea="choice", got=strategy)
