"""The exercises of notebook 03, best-of-n: what selection buys."""

from autograder.exercises import nb03_1, nb03_2

EXERCISES = [nb03_1.EXERCISE, nb03_2.EXERCISE]
