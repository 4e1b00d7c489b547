"""Notebook 08: choosing a strategy for a startup."""

from autograder.exercises import nb08_1, nb08_2, nb08_3, nb08_4

EXERCISES = [nb08_1.EXERCISE, nb08_2.EXERCISE, nb08_3.EXERCISE, nb08_4.EXERCISE]
