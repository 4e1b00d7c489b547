"""Exercise 2.4: a gate that asks for evidence, and how much evidence it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autograder.exercise import CheckFailed, Exercise, Misconception, Part, diagnose, require
from autograder.exercises.nb02_2 import refuses
from autograder.work import TimedOut, Work

Z = 1.96
EXACT_Z = 1.959964
"""What 1.96 stands for; whoever computes it shall not fail by a pair."""
PATIENCE = 6.0
"""Processor seconds after which a search is stopped; a million tries take two or three."""


def wilson(accuracy: float, pairs: int, side: int = -1, z: float = Z) -> float:
    """The lower (side=-1) or upper end of Wilson's 95 % interval of a share.

    >>> round(wilson(1.0, 3), 3), round(wilson(0.7, 100), 3)
    (0.438, 0.604)
    """
    centre = accuracy + z**2 / (2 * pairs)
    half = z * np.sqrt(accuracy * (1 - accuracy) / pairs + z**2 / (4 * pairs**2))
    return float((centre + side * half) / (1 + z**2 / pairs))


def wald(accuracy: float, pairs: int) -> float:
    """The lower end of the interval that schoolbooks give; its width is 0 at an accuracy of 1."""
    return accuracy - Z * float(np.sqrt(accuracy * (1 - accuracy) / pairs))


def fewest(lower: Callable[[float, int], float], accuracy: float, floor: float) -> int:
    """The smallest number of pairs whose lower end lies above the floor, for an accuracy above it.

    By doubling and bisection, since the lower end rises with the pairs.
    """
    low, high = 0, 1
    while lower(accuracy, high) <= floor:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if lower(accuracy, middle) > floor else (middle, high)
    return high


def patient(function: Callable[..., Any]) -> Callable[..., Any]:
    """The learner's function, stopped where its search never ends."""

    def stopped(accuracy: float, floor: float) -> Any:
        try:
            return function(accuracy, floor)
        except CheckFailed as wrong:
            if not isinstance(wrong.__cause__, TimedOut):
                raise
        message = (
            "The search did not end. Does the gate ever open at this accuracy, however many pairs there are? "
            "Ask that before the loop."
        )
        raise CheckFailed(
            "comes to an end", message, idea="endless", case=f"pairs_needed({accuracy}, {floor})"
        )

    return stopped


def grade_gate(work: Work, rng: np.random.Generator) -> None:
    """The lower end and the decision, for few pairs, many pairs, and three of three."""
    gate = work.function("gate")
    for pairs in (int(rng.integers(15, 40)), int(rng.integers(150, 400)), 3):
        right = pairs if pairs == 3 else round(pairs * float(rng.uniform(0.66, 0.8)))
        lower = wilson(right / pairs, pairs)
        for floor in (round(lower - 0.03, 4), round(lower + 0.03, 4)):
            _check_gate(gate, right, pairs, floor)


def _check_gate(gate: Callable[..., Any], right: int, pairs: int, floor: float) -> None:
    accuracy, case = right / pairs, f"{right} of {pairs} pairs in the right order, floor {floor}"
    got = gate(accuracy, pairs, floor)
    require(
        isinstance(got, tuple | list) and len(got) == 2,
        "returns the lower end and the decision",
        "`gate` returns two things: the lower end of the interval, and True or False.",
        case=case,
        got=got,
    )
    require(
        not isinstance(got[0], bool | np.bool_) and np.ndim(got[1]) == 0 and got[1] in (0, 1),
        "returns the lower end and the decision",
        "The lower end comes first and is a number; then the decision, True or False.",
        case=case,
        got=got,
    )
    lower = wilson(accuracy, pairs)
    diagnose(
        "finds the lower end" if right < pairs else "does not take three of three for proof",
        got[0],
        lower,
        ideas=_gate_ideas(accuracy, pairs),
        otherwise="Not the lower end of the interval in the task. Work three of three out by hand first.",
        tolerance=1e-4,
        case=case,
    )
    require(
        bool(got[1]) == (lower > floor),
        "decides by the lower end",
        "The decision does not follow from the lower end. A reward model passes if even the cautious "
        "reading of its accuracy lies above the floor.",
        idea="F34",
        case=case,
        got=got,
    )


def _gate_ideas(accuracy: float, pairs: int) -> list[Misconception]:
    return [
        Misconception("F34", "This is the accuracy itself. With few pairs it can be far off.", accuracy),
        Misconception("upper-end", "This is the upper end: the hopeful reading.", wilson(accuracy, pairs, 1)),
        Misconception(
            "wald",
            "This interval is p - 1.96 sqrt(p(1 - p) / n). Its width is 0 where all pairs are right, so "
            "three lucky pairs would pass any floor.",
            wald(accuracy, pairs),
        ),
        Misconception("one-z", "One standard error is taken here, not 1.96.", wilson(accuracy, pairs, z=1.0)),
        Misconception(
            "other-z",
            "The z of a one-sided interval is taken here, not 1.96.",
            wilson(accuracy, pairs, z=1.645),
        ),
    ]


def grade_pairs_needed(work: Work, rng: np.random.Generator) -> None:
    """The fewest pairs that prove an accuracy, and what no number of pairs proves."""
    needed = patient(work.function("pairs_needed", PATIENCE))
    for gap in rng.permutation([0.01, 0.06, 0.1, 0.2]):
        floor = _some_floor(rng, float(gap))
        _check_needed(needed, round(floor + float(gap), 3), floor)
    for accuracy in (floor, round(floor - 0.05, 3)):
        require(
            refuses(needed, accuracy, floor),
            "refuses what cannot be shown",
            "An accuracy at or below the floor never passes, however many pairs are labelled. "
            "The docstring asks for a ValueError.",
            idea="more-is-proof",
            case=f"pairs_needed({accuracy}, {floor})",
        )


def _some_floor(rng: np.random.Generator, gap: float) -> float:
    """A floor for which 1.96 and its exact value ask for the same number of pairs."""
    while True:
        floor = round(float(rng.uniform(0.55, 0.65)), 3)
        accuracy = round(floor + gap, 3)
        if fewest(wilson, accuracy, floor) == fewest(lambda p, n: wilson(p, n, z=EXACT_Z), accuracy, floor):
            return floor


def _check_needed(needed: Callable[..., Any], accuracy: float, floor: float) -> None:
    expected = fewest(wilson, accuracy, floor)
    diagnose(
        "counts the pairs that are enough",
        needed(accuracy, floor),
        expected,
        ideas=[
            Misconception("F34", "One pair is enough for the accuracy, not for its lower end.", 1),
            Misconception(
                "wald", "This follows from p - 1.96 sqrt(p(1 - p) / n).", fewest(wald, accuracy, floor)
            ),
            Misconception(
                "off-by-one", "One too few: there the lower end has not passed the floor.", expected - 1
            ),
            Misconception("off-by-one", "One too many: one pair fewer is enough.", expected + 1),
            Misconception(
                "one-z",
                "This is for an interval of one standard error.",
                fewest(lambda p, n: wilson(p, n, z=1.0), accuracy, floor),
            ),
        ],
        otherwise="Not the smallest number of pairs for which the gate opens at this accuracy.",
        case=f"accuracy {accuracy}, floor {floor}",
        reveal=False,
    )


EXERCISES = (
    Exercise(
        "2.4",
        "How many comparisons are enough?",
        2,
        8,
        ("gate", "pairs_needed"),
        (Part("the gate", 1.0, grade_gate), Part("the fewest pairs", 1.0, grade_pairs_needed)),
    ),
)
