"""Notebook 08: choosing a strategy for a startup."""

from autograder.exercises import nb08_1, nb08_3
from autograder.handouts import choice, nb08_2

ADVICE = choice.exercise("8.4", "Three that no calculator decides", name="advice", difficulty=2, minutes=8)
EXERCISES = [nb08_1.EXERCISE, nb08_2.EXERCISE, nb08_3.EXERCISE, ADVICE]
