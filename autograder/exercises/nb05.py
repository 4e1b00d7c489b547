"""Notebook 05: the flawed-pipeline clinic."""

from autograder.handouts import choice, nb05_1, nb05_2, nb05_3

OUTCOME = choice.exercise("5.4", "Outcome against signal", name="readings", difficulty=2, minutes=8)
EXERCISES = [nb05_1.EXERCISE, nb05_2.EXERCISE, nb05_3.EXERCISE, OUTCOME]
