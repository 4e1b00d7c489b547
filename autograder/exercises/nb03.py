"""The exercises of notebook 03, best-of-n: what selection buys."""

from autograder.exercises import nb03_1, nb03_2, nb03_3, nb03_4

EXERCISES = [nb03_1.EXERCISE, nb03_2.EXERCISE, nb03_3.EXERCISE, nb03_4.EXERCISE]
