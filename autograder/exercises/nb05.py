"""Notebook 05: the flawed-pipeline clinic."""

from autograder.exercises import nb05_1, nb05_2, nb05_3, nb05_4

EXERCISES = [nb05_1.EXERCISE, nb05_2.EXERCISE, nb05_3.EXERCISE, nb05_4.EXERCISE]
