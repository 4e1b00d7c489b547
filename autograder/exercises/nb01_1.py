"""Exercise 1.1: put the cards of one round in order; the order is executed."""

from __future__ import annotations

from autograder.exercise import Exercise, Part
from autograder.handouts import ordering
from autograder.handouts.locked import locked

EXERCISE = Exercise(
    "1.1",
    "One round, in order",
    difficulty=1,
    minutes=8,
    names=("order",),
    parts=(
        Part("the order runs", 1.0, locked("order", "nb01_1", "grade_runs")),
        Part("the order is the method", 2.0, locked("order", "nb01_1", "grade_method")),
    ),
    given=ordering.deck,
)
