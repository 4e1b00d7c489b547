"""The exercises of notebook 09, when a program is the judge."""

from autograder.exercises import nb09_1, nb09_2, nb09_3, nb09_4, nb09_5
from autograder.handouts import choice

JUDGED = choice.exercise(
    "9.6", "What a checker buys", name="conclusions", difficulty=2, minutes=10, points=0.75
)
EXERCISES = [nb09_1.EXERCISE, nb09_2.EXERCISE, nb09_3.EXERCISE, nb09_4.EXERCISE, nb09_5.EXERCISE, JUDGED]
