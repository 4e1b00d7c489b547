"""Exercise 6.5: six runs of PPO, one of them healthy; name each flaw and the one metric that decides."""

from __future__ import annotations

from autograder.exercise import Exercise, Part
from autograder.handouts import nb05_1
from autograder.handouts import nb06_panels as panels
from autograder.handouts.locked import locked

NAME = "found_flaws"


class Clinic(nb05_1.Clinic):
    """As in 5.1, of runs of PPO."""

    panels = panels


EXERCISE = Exercise(
    "6.5",
    "Six runs of PPO, one of them healthy",
    3,
    20,
    (NAME,),
    (
        *(
            Part(f"the flaw in `{stage}`", 0.5, locked(NAME, "nb06_5", "grade_stage", stage))
            for stage in panels.STAGES
        ),
        Part("no false alarm", 1.0, locked(NAME, "nb06_5", "grade_healthy")),
    ),
    given=Clinic,
)
