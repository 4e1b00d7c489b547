"""The exercises of notebook 02, what a reward model is for."""

from __future__ import annotations

from autograder.exercises import nb02_1, nb02_2, nb02_3, nb02_4

EXERCISES = (*nb02_1.EXERCISES, *nb02_2.EXERCISES, *nb02_3.EXERCISES, *nb02_4.EXERCISES)
