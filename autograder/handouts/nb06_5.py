"""Exercise 6.5: six runs of PPO, one of them healthy; name each flaw and the one metric that decides."""

from __future__ import annotations

from autograder.exercise import Exercise
from autograder.handouts import nb05_1
from autograder.handouts.nb06_panels import PANELS

NAME = "found_flaws"


class Clinic(nb05_1.Clinic):
    """As in 5.1, of runs of PPO."""

    panels = PANELS


EXERCISE = Exercise(
    "6.5",
    "Six runs of PPO, one of them healthy",
    3,
    20,
    (NAME,),
    nb05_1.parts(NAME, "nb06_panels", PANELS.stages),
    given=Clinic,
)
