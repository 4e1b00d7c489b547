"""Notebook 06: RLHF from scratch."""

from autograder.exercises import nb06_1, nb06_2, nb06_3, nb06_4

EXERCISES = [nb06_1.EXERCISE, nb06_2.EXERCISE, nb06_3.EXERCISE, nb06_4.EXERCISE]
