"""The flaws of the panels of exercise 6.5; marked as those of 5.1 are."""

from autograder.handouts import nb06_panels as panels
from autograder.handouts.nb06_5 import NAME
from autograder.keys import nb06_panels as keys
from autograder.keys.nb05_1 import Marking

_MARKING = Marking(NAME, panels, keys)
cases, grade_stage, grade_healthy = _MARKING.cases, _MARKING.grade_stage, _MARKING.grade_healthy
