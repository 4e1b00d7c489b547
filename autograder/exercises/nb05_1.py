"""Exercise 5.1: six panels, one of them healthy; name each flaw and the one metric that decides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from autograder.exercise import ANSWERED, Exercise, Part, Variant, Wrong, require, table
from autograder.exercises import nb05_panels as panels
from autograder.exercises.nb05_panels import HEALTHY, STAGES, Run
from autograder.work import Work
from rslib.flaws import FLAWS

LETTERS = "ABCDEF"
NAME = "diagnoses"
FORM, FLAW, METRIC, ALARM = "names a flaw and a metric", "panel: flaw", "panel: metric", "spares the healthy"


@dataclass(frozen=True)
class Case:
    """One panel of the clinic: what was done to the run, and the seed that was measured."""

    flaw: str
    seed: str

    @property
    def run(self) -> Run:
        """Its panel."""
        return panels.rows()[self.flaw][self.seed]


def cases(variant: Variant) -> dict[str, Case]:
    """A learner's six panels: a healthy one, and one flaw of every stage, all of one seed, in some order.

    Whoever gets whichever flaws, the five stages are the same, and so is the work.
    """
    rng = variant.rng("panels")
    flaws = [HEALTHY, *(str(rng.choice(flaws)) for flaws in STAGES.values())]
    seed = str(rng.choice(panels.SEEDS))
    return {letter: Case(flaws[k], seed) for letter, k in zip(LETTERS, rng.permutation(6), strict=True)}


class Clinic:
    """The six panels as a learner sees them, beside the range of the other healthy runs."""

    def __init__(self, variant: Variant) -> None:
        found = cases(variant)
        seed = found["A"].seed
        self.runs: dict[str, Run] = {letter: case.run for letter, case in found.items()}
        self.others = [s for s in panels.SEEDS if s != seed]

    def healthy(self, metric: str) -> tuple[float, float]:
        """The lowest and the highest value of a metric in four other healthy runs."""
        low_and_high = panels.span(HEALTHY, metric, self.others)
        return low_and_high or (float("nan"), float("nan"))

    def lines(self) -> list[list[str]]:
        """A line for each metric: its name, the healthy range, the six values."""
        return [
            [metric, " to ".join(map(panels.shown, self.healthy(metric)))]
            + [panels.shown(run[metric]) for run in self.runs.values()]
            for metric in panels.METRICS
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


def _said(work: Work, letter: str) -> tuple[str, str]:
    """What the learner says of a panel: (flaw, metric), the metric "" for a healthy run."""
    found = work.value(NAME, dict).get(letter)
    if found is None or found is ... or found == "" or found == (..., ...):
        raise Wrong(ANSWERED, f"`{NAME}` has no entry for panel {letter} yet.")
    pair = (found, "") if isinstance(found, str) else found
    good = isinstance(pair, tuple | list) and len(pair) in (1, 2) and all(isinstance(w, str) for w in pair)
    form = f'`{NAME}[{letter!r}]` is a pair, such as ("n1", "pool_rows"), or ("healthy", "").'
    require(good, FORM, form, got=found)
    flaw, metric = (word.strip().lower() for word in (*pair, "")[:2])
    known = flaw in (HEALTHY, *panels.names()) and (flaw == HEALTHY or metric in (*panels.METRICS, ""))
    require(known, FORM, "Take the names from the two lists of the notebook.", got=found)
    return flaw, metric


def grade_stage(stage: str, work: Work, rng: np.random.Generator) -> None:
    """The panel whose flaw sits in this stage."""
    letter, case = next((k, c) for k, c in cases(work.variant).items() if c.flaw in STAGES[stage])
    flaw, metric = _said(work, letter)
    if flaw == HEALTHY:
        message = f"Panel {letter} is called healthy, and some of its numbers are far from every healthy run."
        raise Wrong(FLAW, message, idea="missed", got=HEALTHY)
    if flaw != case.flaw:
        raise Wrong(FLAW, _against(flaw, letter, case.run), idea=FLAWS[flaw].id, got=flaw)
    if metric not in panels.decisive(flaw):
        raise Wrong(METRIC, _undecided(metric, letter, case.run), idea="metric", got=metric)


def _against(flaw: str, letter: str, run: Run) -> str:
    """Why a panel is not that of the flaw that was named: one of the flaw's own metrics speaks against it."""
    for metric in panels.METRICS:
        if metric in panels.decisive(flaw):
            low, high = panels.span(flaw, metric) or (0.0, 0.0)
            value = run[metric]
            if value is None or not low <= value <= high:
                return (
                    f"Panel {letter} is not a run with `{flaw}`: there `{metric}` lies between "
                    f"{panels.shown(low)} and {panels.shown(high)}, here it is {panels.shown(value)}."
                )
    return f"Panel {letter} is not a run with `{flaw}`."


def _undecided(metric: str, letter: str, run: Run) -> str:
    if not metric:
        return f"Panel {letter}: which metric decides? Name one."
    if metric not in panels.outside(run):
        return (
            f"In panel {letter} `{metric}` lies inside the healthy range, so it cannot be what gave it away."
        )
    return (
        f"In panel {letter} `{metric}` is off, but another flaw would move it as well. Which number can only "
        "this flaw explain?"
    )


def grade_healthy(work: Work, rng: np.random.Generator) -> None:
    """The healthy run is let go; whoever lets everything go has not looked."""
    found = cases(work.variant)
    letter = next(k for k, case in found.items() if case.flaw == HEALTHY)
    said = {k: _said(work, k)[0] for k in found}
    message = (
        f"A false alarm: panel {letter} is healthy. A healthy run scatters too; look for a number that seeds "
        "cannot explain."
    )
    require(said[letter] == HEALTHY, ALARM, message, idea="F34", got=said[letter])
    free = sum(flaw == HEALTHY for flaw in said.values())
    message = "One panel of the six is healthy. Calling many healthy raises no false alarm, and sees nothing."
    require(free <= 2, ALARM, message, idea="missed", got=f"{free} panels called healthy")


EXERCISE = Exercise(
    "5.1",
    "Six panels, one of them healthy",
    3,
    15,
    (NAME,),
    (
        *(Part(f"the flaw in `{stage}`", 0.5, partial(grade_stage, stage)) for stage in STAGES),
        Part("no false alarm", 1.0, grade_healthy),
    ),
    given=Clinic,
)
