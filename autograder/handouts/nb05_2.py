"""Exercise 5.2: the pipeline of another team, with three flaws in it; the learner mends its functions."""

from __future__ import annotations

from pathlib import Path

from autograder.exercise import Exercise, Part, Variant
from autograder.handouts.locked import locked

FILE = Path(__file__).with_name("team.txt")
NAMES = ("seed_of", "draw", "score", "keep_best", "conversation", "turns", "example", "batch", "one_round")
PLANTED = 3


class Team:
    """The team's code as every learner gets it: `source`, which is also what is printed."""

    def __init__(self, variant: Variant) -> None:
        self.source = FILE.read_text(encoding="utf-8").removesuffix("\n")

    def __repr__(self) -> str:
        return self.source


EXERCISE = Exercise(
    "5.2",
    "Mend another team's pipeline",
    3,
    15,
    NAMES,
    tuple(
        Part(f"flaw {k + 1}", 1.0, locked("one_round", "nb05_2", "grade_plant", k)) for k in range(PLANTED)
    ),
    given=Team,
)
