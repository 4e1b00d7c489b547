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
    tables = [_rewards(n, rng) for n in (5, 7, 16, 1)]
    for rewards in [*tables, *_stumbles(rng)]:
        found, right = _place(best(rewards), rewards), int(np.argmax(rewards))
        ideas = [
            Misconception(
                "F03", "That is the lowest reward: the worst response is kept.", int(np.argmin(rewards))
            ),
            Misconception("off by one", "Places start at 0 in Python.", right + 1),
            Misconception("last", "That is the last response, whatever its reward.", len(rewards) - 1),
            Misconception("from the end", "Count the places from the beginning.", right - len(rewards)),
            *_slips(rewards),
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


def _stumbles(rng: np.random.Generator) -> list[list[float]]:
    """Rewards that differ behind the point, rewards below 0, and such of which the last is the highest."""
    shift = float(rng.integers(5)) / 20  # too little to carry a reward over a whole number
    near = [9.25, 10.25, 9.5, 10.75, 10.5, 9.3]  # as texts, those that begin with a 9 are the highest
    below = [-2.75, -4.75, -3.25, -1.25, -2.25, -3.75]
    return [[round(reward + shift, 2) for reward in rewards] for rewards in (near, below, sorted(below))]


def _slips(rewards: list[float]) -> list[Misconception]:
    """Ideas whose value lies apart from others' on some rewards only."""
    whole, texts = [int(reward) for reward in rewards], [str(reward) for reward in rewards]
    ideas = [
        Misconception("digits", "What stands behind the point counts as well.", whole.index(max(whole))),
        Misconception("text", "As texts, 9 comes after 10. Rewards are numbers.", texts.index(max(texts))),
    ]
    if max(rewards) < 0:
        message = "Every reward here lies below 0. Where does your search begin?"
        ideas.insert(0, Misconception("zero", message, 0))
    if len(rewards) > 1:
        message = "The last response was not looked at."
        ideas.append(Misconception("one too few", message, int(np.argmax(rewards[:-1]))))
    return ideas


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
