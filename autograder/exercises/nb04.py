"""Notebook 04: fine-tune on the best of 16."""

from autograder.exercises import nb04_1, nb04_2, nb04_3, nb04_4, nb04_5

EXERCISES = [nb04_1.EXERCISE, nb04_2.EXERCISE, nb04_3.EXERCISE, nb04_4.EXERCISE, nb04_5.EXERCISE]
