"""Notebook 04: fine-tune on the best of 16."""

from autograder.exercises import nb04_1, nb04_2, nb04_3, nb04_5
from autograder.handouts import choice

RECIPE = choice.exercise(
    "4.4", "The team's recipe, judged", name="verdicts", difficulty=2, minutes=15, points=0.5
)
EXERCISES = [nb04_1.EXERCISE, nb04_2.EXERCISE, nb04_3.EXERCISE, RECIPE, nb04_5.EXERCISE]
