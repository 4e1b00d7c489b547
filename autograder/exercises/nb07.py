"""Notebook 07: rejection sampling against RLHF at equal budget."""

from autograder.exercises import nb07_1, nb07_2
from autograder.handouts import choice, nb07_3

ROADS = choice.exercise("7.4", "Two roads, one reward model", name="roads", difficulty=2, minutes=10)
EXERCISES = [nb07_1.EXERCISE, nb07_2.EXERCISE, nb07_3.EXERCISE, ROADS]
