"""The flaws of the six panels of exercise 5.1, and what is told of a wrong diagnosis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autograder.exercise import CheckFailed, Variant, require
from autograder.handouts import nb05_panels as panels
from autograder.handouts.locked import entry
from autograder.handouts.nb05_1 import NAME
from autograder.handouts.nb05_panels import HEALTHY, STAGES, Run
from autograder.keys import nb05_panels as keys
from autograder.work import Work

FORM, FLAW, METRIC, ALARM = "names a flaw and a metric", "panel: flaw", "panel: metric", "spares the healthy"


@dataclass(frozen=True)
class Case:
    """One panel of the clinic, what was done to the run, and the seed that the healthy range leaves out."""

    flaw: str
    run: Run
    seed: str


def cases(variant: Variant) -> dict[str, Case]:
    """A learner's six panels with what was done to them.

    Whoever gets whichever flaws, the five stages are the same, and so is the work.
    """
    number, places = panels.drawn(variant)
    deck, flaws, seed = keys.dealt(number)
    return {letter: Case(flaws[k], panels.run_of(deck["runs"][k]), seed) for letter, k in places.items()}


def _diagnosis(work: Work, letter: str) -> tuple[str, str]:
    """The learner's diagnosis of a panel: (flaw, metric), the metric "" for a healthy run."""
    answer = entry(work, NAME, letter, f"entry for panel {letter}", blank=(..., ...))
    pair = (answer, "") if isinstance(answer, str) else answer
    good = isinstance(pair, tuple | list) and len(pair) in (1, 2) and all(isinstance(w, str) for w in pair)
    form = f'`{NAME}[{letter!r}]` is a pair, such as ("n1", "pool_rows"), or ("healthy", "").'
    require(good, FORM, form, got=answer)
    flaw, metric = (word.strip().lower() for word in (*pair, "")[:2])
    known = flaw in (HEALTHY, *panels.names()) and (flaw == HEALTHY or metric in (*panels.METRICS, ""))
    require(known, FORM, "Take the names from the two lists of the notebook.", got=answer)
    return flaw, metric


def grade_stage(stage: str, work: Work, rng: np.random.Generator) -> None:
    """The panel whose flaw sits in this stage."""
    letter, case = next((k, c) for k, c in cases(work.variant).items() if c.flaw in STAGES[stage])
    flaw, metric = _diagnosis(work, letter)
    if flaw == HEALTHY:
        message = f"Panel {letter} is called healthy, and some of its numbers are far from every healthy run."
        raise CheckFailed(FLAW, message, idea="missed", got=HEALTHY)
    if flaw != case.flaw:
        raise CheckFailed(FLAW, _against(flaw, letter, case.run), idea=panels.flaws()[flaw]["id"], got=flaw)
    if metric not in keys.decisive(flaw):
        raise CheckFailed(METRIC, _undecided(metric, letter, case.run), idea="metric", got=metric)


def _against(flaw: str, letter: str, run: Run) -> str:
    """Why a panel is not that of the flaw that was named: one of the flaw's own metrics speaks against it."""
    for metric in panels.METRICS:
        if metric in keys.decisive(flaw):
            low, high = keys.span(flaw, metric) or (0.0, 0.0)
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
    dealt = cases(work.variant)
    letter = next(k for k, case in dealt.items() if case.flaw == HEALTHY)
    flaws = {k: _diagnosis(work, k)[0] for k in dealt}
    message = (
        f"A false alarm: panel {letter} is healthy. A healthy run scatters too; look for a number that seeds "
        "cannot explain."
    )
    require(flaws[letter] == HEALTHY, ALARM, message, idea="F34", got=flaws[letter])
    free = sum(flaw == HEALTHY for flaw in flaws.values())
    message = "One panel of the six is healthy. Calling many healthy raises no false alarm, and sees nothing."
    require(free <= 2, ALARM, message, idea="missed", got=f"{free} panels called healthy")
