"""Notebook 00 is not graded. It shows what a check looks like, on an exercise that counts nowhere."""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np

from autograder.exercise import Exercise, Misconception, Part, Variant, diagnose, require
from autograder.verdict import Verdict, grade
from autograder.work import Work

HIGHEST, TIES = "gives the place of the highest reward", "gives the first of equals"


def grade_best(work: Work, rng: np.random.Generator) -> None:
    """The place of the highest reward, where there is one."""
    best = work.function("best_of")
    for n in (5, 7, 16, 1):
        rewards = _rewards(n, rng)
        found, right = _place(best(rewards), rewards), int(np.argmax(rewards))
        ideas = [
            Misconception(
                "F03", "That is the lowest reward: the worst response is kept.", int(np.argmin(rewards))
            ),
            Misconception("off by one", "Places start at 0 in Python.", right + 1),
            Misconception("last", "That is the last response, whatever its reward.", n - 1),
            Misconception("from the end", "Count the places from the beginning of the list.", right - n),
        ]
        other = "The response at this place does not have the highest reward."
        diagnose(
            HIGHEST,
            found,
            right,
            ideas=ideas,
            otherwise=Misconception("F04", other, None),
            case=rewards,
            reveal=False,
        )


def _place(found: Any, rewards: list[float]) -> int:
    """A place as a plain number; a number of numpy's or torch's is one too."""
    try:
        place = None if isinstance(found, bool) else operator.index(found)
    except TypeError:
        place = None
    message = "best_of returns a place in the list: a whole number, 0 for the first response."
    require(place is not None, HIGHEST, message, idea="value", case=rewards, got=found)
    return place


def _rewards(n: int, rng: np.random.Generator) -> list[float]:
    """Rewards for which every wrong idea gives a place of its own: first, last, lowest, right, beyond it.

    The lowest lies furthest from 0, so that who drops the sign takes it.
    """
    while True:
        rewards = rng.permutation(np.linspace(-5, 4, n)).round(3)
        lowest, right = int(np.argmin(rewards)), int(np.argmax(rewards))
        second = int(np.argsort(rewards)[-2:][0])
        if n == 1 or (len({0, n - 1, lowest, right, right + 1}) == 5 and second != right + 1):
            return rewards.tolist()


def grade_ties(work: Work, rng: np.random.Generator) -> None:
    """The first of several highest rewards."""
    first = int(rng.integers(1, 3))
    rewards = [5.0 if at >= first else -1.0 for at in range(first + 3)] + [2.0]
    other = "Several rewards are highest, and the first of them is asked for."
    found = _place(work.function("best_of")(rewards), rewards)
    diagnose(TIES, found, first, otherwise=Misconception("ties", other, None), case=rewards, reveal=False)


PRACTICE = Exercise(
    "0.1",
    "Which response is the best?",
    difficulty=1,
    minutes=1,
    names=("best_of",),
    parts=(Part("the highest reward", 1.0, grade_best), Part("several highest rewards", 1.0, grade_ties)),
)


def practise(best_of: Any, seed: int | None = None) -> Verdict:
    """The panel of a check, for a function that gives the place of the highest reward. It counts nowhere.

    seed: of the rewards it is tried on; by default others every time.
    """
    work = Work({"best_of": best_of}, Variant(exercise=PRACTICE.id))
    return grade(PRACTICE, work, int.from_bytes(os.urandom(4), "little") if seed is None else seed)
