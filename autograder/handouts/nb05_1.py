"""Exercise 5.1: six panels, one of them healthy; name each flaw and the one metric that decides."""

from __future__ import annotations

from types import ModuleType

from autograder.exercise import Exercise, Part, Variant, table
from autograder.handouts import nb05_panels as panels
from autograder.handouts.locked import locked
from autograder.handouts.nb05_panels import LETTERS, STAGES, Run

NAME = "diagnoses"


class Clinic:
    """The six panels as a learner sees them, beside the range of the other healthy runs.

    panels: the module of handouts with the notebook's metrics and decks.
    """

    panels: ModuleType = panels

    def __init__(self, variant: Variant) -> None:
        deck, places = self.panels.drawn(variant)
        known = self.panels.decks()[deck]
        self.runs: dict[str, Run] = {
            letter: self.panels.run_of(known["runs"][k]) for letter, k in places.items()
        }
        self._healthy = dict(zip(self.panels.METRICS, known["healthy"], strict=True))

    def healthy(self, metric: str) -> tuple[float, float]:
        """The lowest and the highest value of a metric in four other healthy runs."""
        low, high = self._healthy[metric] or (float("nan"), float("nan"))
        return low, high

    def lines(self) -> list[list[str]]:
        """A line for each metric: its name, the healthy range, the six values."""
        return [
            [metric, " to ".join(map(self.panels.shown, self.healthy(metric)))]
            + [panels.shown(run[metric]) for run in self.runs.values()]
            for metric in self.panels.METRICS
        ]

    def __repr__(self) -> str:
        head = ["metric", "healthy", *LETTERS]
        return "\n".join(
            f"{line[0]:<16} {line[1]:>18} " + " ".join(f"{cell:>9}" for cell in line[2:])
            for line in [head, *self.lines()]
        )

    def _repr_html_(self) -> str:
        return table(
            "Six runs, and the range of four healthy ones", self.lines(), ("metric", "healthy", *LETTERS)
        )


EXERCISE = Exercise(
    "5.1",
    "Six panels, one of them healthy",
    3,
    15,
    (NAME,),
    (
        *(
            Part(f"the flaw in `{stage}`", 0.5, locked(NAME, "nb05_1", "grade_stage", stage))
            for stage in STAGES
        ),
        Part("no false alarm", 1.0, locked(NAME, "nb05_1", "grade_healthy")),
    ),
    given=Clinic,
)
