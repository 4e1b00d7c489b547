"""Notebook 07: rejection sampling against RLHF at equal budget."""

from autograder.exercises import nb07_1, nb07_2, nb07_3, nb07_4

EXERCISES = [nb07_1.EXERCISE, nb07_2.EXERCISE, nb07_3.EXERCISE, nb07_4.EXERCISE]
