"""Exercise 5.3: `check_run(run)` names the broken stage; graded on hidden runs, flawed and healthy."""

from __future__ import annotations

from autograder.exercise import Exercise, Part, Variant
from autograder.handouts import nb05_panels as panels
from autograder.handouts.locked import locked
from autograder.handouts.nb05_panels import HEALTHY, STAGES, Run

NAME = "check_run"
SHOWN_SEEDS = ("0", "1", "2")
"""Seeds of the runs that the learner gets; hidden runs lie between the two others."""


def runs(variant: Variant) -> list[tuple[str, Run]]:
    """The runs to learn from, each with what was done to it: every class of three seeds."""
    return [
        (name, dict(panels.rows()[name][seed])) for name in (HEALTHY, *panels.names()) for seed in SHOWN_SEEDS
    ]


EXERCISE = Exercise(
    "5.3",
    "Write the checks",
    3,
    15,
    (NAME,),
    tuple(
        Part(f"flaws in `{stage}`", 0.75, locked(NAME, "nb05_3", "grade_stage", stage)) for stage in STAGES
    ),
    given=runs,
)
