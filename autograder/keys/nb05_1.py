"""The flaws of the panels of exercise 5.1, and what is told of a wrong diagnosis; 6.5 is marked alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autograder.exercise import CheckFailed, Variant, require
from autograder.exercises.artefacts import word_of
from autograder.handouts.locked import entry
from autograder.handouts.nb05_1 import NAME
from autograder.handouts.nb05_panels import HEALTHY, Panels, Run, shown
from autograder.keys.nb05_panels import KEYS, Keys
from autograder.keys.written import fields
from autograder.work import Work

FORM, FLAW, METRIC, ALARM = "names a flaw and a metric", "panel: flaw", "panel: metric", "spares the healthy"


@dataclass(frozen=True)
class Case:
    """One panel of the clinic, what was done to the run, and the seed that the healthy range leaves out."""

    flaw: str
    run: Run
    seed: str


@dataclass(frozen=True)
class Marking:
    """How diagnoses of panels are marked, which stand in the learner's dict `name`."""

    name: str
    keys: Keys

    @property
    def panels(self) -> Panels:
        """What learners have."""
        return self.keys.panels

    def cases(self, variant: Variant) -> dict[str, Case]:
        """A learner's panels with what was done to them.

        Whoever gets whichever flaws, the stages are the same, and so is the work.
        """
        number, places = self.panels.drawn(variant)
        deck, flaws, seed = self.keys.dealt(number)
        runs = deck["runs"]
        return {a: Case(flaws[k], self.panels.run_of(runs[k]), seed) for a, k in places.items()}

    def _diagnosis(self, work: Work, letter: str) -> tuple[str, str]:
        """The learner's diagnosis of a panel: (flaw, metric), the metric "" for a healthy run."""
        answer = entry(work, self.name, letter, f"entry for panel {letter}", blank=("", ""))
        pair = fields(answer, "flaw", "metric")
        if isinstance(pair, list):  # pandas writes NaN for None
            pair = [
                "" if word is None or (isinstance(word, float) and word != word) else word for word in pair
            ]
        texts = isinstance(pair, list) and all(isinstance(word, str) for word in pair)
        example = f'("{self.panels.names()[0]}", "{next(iter(self.panels.metrics))}")'
        form = f'`{self.name}[{letter!r}]` is a pair, such as {example}, or ("healthy", "").'
        require(texts and len(pair) in (1, 2), FORM, form, got=answer)
        flaw, metric = (word_of(word).replace(" ", "_") for word in (*pair, "")[:2])
        known = flaw in (HEALTHY, *self.panels.names())
        known = known and (flaw == HEALTHY or metric in (*self.panels.metrics, ""))
        require(known, FORM, self._unknown(flaw, metric), got=answer)
        return flaw, metric

    def _unknown(self, flaw: str, metric: str) -> str:
        """What to say of a pair that does not name a flaw and a metric."""
        if flaw in self.panels.metrics and metric in (HEALTHY, *self.panels.names()):
            return "The pair stands the other way round: first the flaw, then the metric."
        if flaw in self.panels.stages:
            return f"`{flaw}` is a stage. Name the flaw in it."
        if metric in self.panels.stages:
            return f"`{metric}` is a stage. Name the metric of it that decides."
        return "Take the names from the two lists of the notebook."

    def grade_stage(self, stage: str, work: Work, rng: np.random.Generator) -> None:
        """The panel whose flaw sits in this stage."""
        inside = self.panels.stages[stage]
        letter, case = next((k, c) for k, c in self.cases(work.variant).items() if c.flaw in inside)
        flaw, metric = self._diagnosis(work, letter)
        if flaw == HEALTHY:
            raise CheckFailed(FLAW, self._missed(letter, case.run), idea="missed", got=HEALTHY)
        if flaw != case.flaw:
            idea = self.panels.flaws()[flaw]["id"]
            raise CheckFailed(FLAW, self._against(flaw, metric, letter, case.run), idea=idea, got=flaw)
        if metric not in self.keys.decisive(flaw):
            message = self._undecided(metric, letter, case.run, stage)
            raise CheckFailed(METRIC, message, idea="metric", got=metric)

    def _missed(self, letter: str, run: Run) -> str:
        """What to say where a flawed run was called healthy."""
        message = f"Panel {letter} is called healthy, and some of its numbers are far from every healthy run."
        if all(self._within(HEALTHY, metric, run) for metric in self.panels.groups["outcome"]):
            message += " Its outcomes are not: a flaw may leave them where they are. Read the probes."
        return message

    def _against(self, flaw: str, named: str, letter: str, run: Run) -> str:
        """Why a panel is not that of the named flaw: one of the flaw's own metrics speaks against it.

        The metric that the learner named speaks first, where it is a probe.
        """
        probes = [m for stage in self.panels.stages for m in self.panels.groups[stage]]
        own = [metric for metric in self.panels.metrics if metric in self.keys.decisive(flaw)]
        own.sort(key=lambda metric: (metric != named, metric not in probes))
        for metric in [named] * (named in probes) + own:
            if self.keys.span(flaw, metric) and not self._within(flaw, metric, run):
                low, high = map(shown, self.keys.span(flaw, metric) or (0.0, 0.0))
                there = f"is {low}" if low == high else f"lies between {low} and {high}"
                return (
                    f"Panel {letter} is not a run with `{flaw}`: there `{metric}` {there}, here it is "
                    f"{shown(run[metric])}."
                )
        return f"Panel {letter} is not a run with `{flaw}`."

    def _within(self, name: str, metric: str, run: Run) -> bool:
        """Whether a panel's value lies where the measured runs of a class have theirs."""
        low, high = self.keys.span(name, metric) or (0.0, 0.0)
        return run[metric] is not None and low <= run[metric] <= high

    def _undecided(self, metric: str, letter: str, run: Run, stage: str) -> str:
        """Why a metric does not decide for the flaw of this stage."""
        if not metric:
            return f"Panel {letter}: which metric decides? Name one."
        if self._within(HEALTHY, metric, run):
            return (
                f"In panel {letter} `{metric}` lies inside the healthy range, so it cannot be what gave it "
                "away."
            )
        message = f"In panel {letter} `{metric}` is off, but another flaw would move it as well."
        group = next(name for name, metrics in self.panels.groups.items() if metric in metrics)
        order = list(self.panels.stages)
        if group not in order:
            message += " It is an outcome, and every stage moves those."
        elif order.index(group) > order.index(stage):
            message += f" It asks `{group}`, and what is broken earlier moves what comes later."
        return (
            f"{message} Which number can only this flaw explain, once the stages before it are found healthy?"
        )

    def grade_healthy(self, work: Work, rng: np.random.Generator) -> None:
        """The healthy run is let go; whoever lets everything go has not looked."""
        dealt = self.cases(work.variant)
        letter = next(k for k, case in dealt.items() if case.flaw == HEALTHY)
        flaws = {k: self._diagnosis(work, k)[0] for k in dealt}
        message = (
            f"A false alarm: panel {letter} is healthy. A healthy run scatters too; look for a number that "
            "seeds cannot explain."
        )
        require(flaws[letter] == HEALTHY, ALARM, message, idea="F34", got=flaws[letter])
        free = sum(flaw == HEALTHY for flaw in flaws.values())
        message = (
            f"One panel of the {len(flaws)} is healthy. Calling many healthy raises no false alarm, and sees "
            "nothing."
        )
        require(free <= 2, ALARM, message, idea="missed", got=f"{free} panels called healthy")


_MARKING = Marking(NAME, KEYS)
cases, grade_stage, grade_healthy = _MARKING.cases, _MARKING.grade_stage, _MARKING.grade_healthy
