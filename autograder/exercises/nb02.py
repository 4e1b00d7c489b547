"""The exercises of notebook 02, what a reward model is for."""

from __future__ import annotations

from autograder.exercises import nb02_2, nb02_3, nb02_4
from autograder.handouts import choice

SIX_TEAMS = choice.exercise("2.1", "Six teams", name="answers", difficulty=1, minutes=12)
EXERCISES = (SIX_TEAMS, nb02_2.EXERCISE, nb02_3.EXERCISE, nb02_4.EXERCISE)
