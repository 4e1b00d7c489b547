"""How `check_run` of exercise 5.3 is marked: on hidden runs, flawed and healthy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from autograder.exercise import CheckFailed, of_pandas, require
from autograder.handouts import nb05_panels as panels
from autograder.handouts.nb05_3 import NAME, SHOWN_SEEDS
from autograder.handouts.nb05_panels import HEALTHY, STAGES, Run
from autograder.keys import nb05_panels as keys
from autograder.work import Work

DRAWS = 3
"""Hidden runs of each class."""
FORM, ALARM = "returns a list of stages", "raises no false alarm"


def _flags(work: Work, run: Run) -> list[str]:
    result = work.function(NAME)(run)
    if isinstance(result, set | frozenset) and result <= set(STAGES):  # no order: that of the pipeline
        result = [stage for stage in STAGES if stage in result]
    if isinstance(result, np.ndarray) or of_pandas(result):
        result = result.tolist() if hasattr(result, "tolist") else result
    good = isinstance(result, list | tuple) and all(isinstance(flag, str) for flag in result)
    message = f"`{NAME}` returns a list of stages, the most suspicious first; [] for a healthy run."
    require(good, FORM, message + _instead(result), got=result)
    flags = [flag.strip().lower() for flag in result]
    unknown = [flag for flag in flags if flag not in STAGES]
    require(not unknown, FORM, f"Stages are {', '.join(STAGES)}.{_kind(unknown)}", got=result)
    return flags


def _instead(result: object) -> str:
    """What came in the place of a list, as a sentence after a blank."""
    if isinstance(result, str):
        return f" This is a text; a list with it is [{result!r}]."
    return " This gives one after the other: make a list of it." if hasattr(result, "__next__") else ""


def _kind(unknown: list[str]) -> str:
    """What the first of the unknown flags is, as a sentence after a blank."""
    for flag in unknown[:1]:
        if flag == HEALTHY:
            return " For a healthy run the list is empty."
        if flag in panels.names():
            return f" `{flag}` is a flaw: name the stage in which it sits."
        if flag in panels.METRICS:
            return f" `{flag}` is a metric: name the stage that it asks."
    return ""


def _told(run: Run) -> dict[str, str]:
    """A panel for a message: only what lies outside the healthy runs that the learner has."""
    return {name: panels.shown(value) for name, value in panels.outside(run, SHOWN_SEEDS).items()}


def grade_stage(stage: str, work: Work, rng: np.random.Generator) -> None:
    """Healthy runs go free, and the first flag of every run with a flaw in this stage is this stage."""
    for _ in range(DRAWS):
        run = keys.between(HEALTHY, rng)
        flags = _flags(work, run)
        message = (
            f"A healthy run got the flag {flags[0] if flags else ''!r}. Healthy runs scatter from seed to "
            "seed, and the next one lies a little outside those that you have seen: leave room."
        )
        if len(flags) == len(STAGES):
            message = "Every stage of a healthy run got a flag. A check that always rings says nothing."
        case = f"beyond your three healthy runs: {_told(run) or 'nothing'}"
        require(not flags, ALARM, message, idea="F34", case=case, got=flags)
    for flaw in STAGES[stage]:
        for _ in range(DRAWS):
            _judge(stage, flaw, work, keys.between(flaw, rng))


def _judge(stage: str, flaw: str, work: Work, run: Run) -> None:
    """The first flag of a run with this flaw."""
    flags = _flags(work, run)
    if flags[:1] == [stage]:
        return
    case, idea = f"beyond your three healthy runs: {_told(run)}", panels.flaws()[flaw]["id"]
    if _reads(work, run, panels.GROUPS["outcome"], flags):
        message = (
            "With the outcomes of a healthy run in their place the same run gets other flags. Outcomes are "
            "moved by every stage: ask each stage by a number of its own."
        )
    elif not flags:
        message = "A broken run went through without a flag. These are its numbers outside the healthy range:"
    elif stage in flags:
        message = (
            "The stage is among the flags, and not the first. What is broken early moves what comes later: "
            "ask the stages in the order of the pipeline, each by a number of its own."
        )
    elif _reads(work, run, [name for name, value in run.items() if value is None], flags):
        message = (
            f"The run is flagged {flags[0]!r} for a value that is None. Where there was nothing to measure, "
            "nothing is known of that stage: ask the others."
        )
    else:
        message = f"The run is flagged {flags[0]!r}, and it was broken elsewhere."
    raise CheckFailed(
        f"finds what is wrong in {stage}", message, idea=idea, case=case, got=", ".join(flags) or "[]"
    )


def _reads(work: Work, run: Run, names: Iterable[str], flags: list[str]) -> bool:
    """Whether the flags of a run change where these metrics alone are those of a healthy run."""
    healthy = panels.rows()[HEALTHY][SHOWN_SEEDS[0]]
    return _flags(work, {**run, **{name: healthy[name] for name in names}}) != flags
