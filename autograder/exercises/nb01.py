"""Notebook 01: one pipeline, in order."""

from __future__ import annotations

from autograder.exercises import nb01_3
from autograder.handouts import nb01_2, nb01_4, ordering

EXERCISES = [ordering.EXERCISE, nb01_2.EXERCISE, nb01_3.EXERCISE, nb01_4.EXERCISE]
