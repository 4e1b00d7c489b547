"""Exercise 2.4: a gate that asks for evidence, and how much evidence it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from autograder.checks import Agrees, Ideas, Learner, Refuses, Rng, graded
from autograder.exercise import Exercise, Part, diagnose, require, same

IDEAS = Ideas("""
form (): `gate` returns two things: the lower end of the interval, and True or False.
order (): The lower end comes first and is a number; then the decision, True or False.
lower end (): Not the lower end of the interval in the task. Work three of three out by hand first.
accuracy (F34): This is the accuracy itself. With few pairs it can be far off.
upper-end: This is the upper end: the hopeful reading.
wald: This interval is p - 1.96 sqrt(p(1 - p) / n). Its width is 0 where all pairs are right, so three lucky
    pairs would pass any floor.
one-z: One standard error is taken here, not 1.96.
other-z: The z of a one-sided interval is taken here, not 1.96.
no division (formula): The division at the end, by 1 + z²/n, is missing.
no second term (formula): The second term under the root, z²/4n², is missing.
z once (formula): In z²/2n the z is not squared.
n once (formula): In z²/4n² the n is not squared.
root of z once (formula): In z²/4n² the z is not squared.
rounded: The lower end is rounded. A gate that compares rounded numbers opens where it should not.
at the floor (off-by-one): The gate opens where the lower end equals the floor. It is to lie above it.
one fewer (formula): This is the lower end for n - 1 pairs.
floor ignored: Every decision is made against 0.6. The floor is an argument of the gate.
turned (F03): The gate opens where the lower end lies below the floor, and closes where it lies above.
decision (F34): The decision does not follow from the lower end. A reward model passes if even the cautious
    reading of its accuracy lies above the floor.

pairs (): Not the smallest number of pairs for which the gate opens at this accuracy.
one pair (F34): One pair is enough for the accuracy, not for its lower end.
pairs by wald (wald): This follows from p - 1.96 sqrt(p(1 - p) / n).
one too few (off-by-one): One too few: there the lower end has not passed the floor.
one too many (off-by-one): One too many: one pair fewer is enough.
not whole (off-by-one): The number of pairs is whole. Which is the first one whose lower end lies above the
    floor?
doubled: The number is twice that of the last try. Between the two lie fewer pairs that are enough.
steps (off-by-one): Only some numbers of pairs are tried: between this one and the one before lie fewer that
    are enough.
other floor (floor ignored): This is for a floor of 0.6. The floor is an argument.
limit: The search stopped at a limit of its own, before the gate opened.
whole accuracy: Only numbers of pairs are tried of which this accuracy gives a whole number of right ones. An
    accuracy is handed in; take every n.
whole right ones (whole accuracy): The accuracy is rounded to a whole number of right pairs first, so the gate
    opens at another number. Use the accuracy that is handed in.
pairs by one z (one-z): This is for an interval of one standard error.
more-is-proof: An accuracy at or below the floor never passes, however many pairs are labelled. The docstring
    asks for a ValueError.
endless: The search did not end. Does the gate ever open at this accuracy, however many pairs there are? Ask
    that before the loop.
""")
Z = 1.96
EXACT_Z = 1.959964
"""What 1.96 stands for; whoever computes it shall not fail by a pair."""
SINGLE = 2e-7
"""So far off may a lower end in single precision be."""
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


# The gate -------------------------------------------------------------------------------------------------


def gate_slips(accuracy: float, pairs: int) -> dict[str, float]:
    """What wrong readings of the interval give for its lower end."""
    return {
        "accuracy": accuracy,
        "upper-end": wilson(accuracy, pairs, 1),
        "wald": wald(accuracy, pairs),
        "one-z": wilson(accuracy, pairs, z=1.0),
        "other-z": wilson(accuracy, pairs, z=1.645),
        "no division": wilson(accuracy, pairs) * (1 + Z**2 / pairs),
        "no second term": _end(accuracy, pairs, Z**2 / (2 * pairs), 0.0),
        "z once": _end(accuracy, pairs, Z / (2 * pairs), Z**2 / (4 * pairs**2)),
        "n once": _end(accuracy, pairs, Z**2 / (2 * pairs), Z**2 / (4 * pairs)),
        "root of z once": _end(accuracy, pairs, Z**2 / (2 * pairs), Z / (4 * pairs**2)),
        "one fewer": wilson(accuracy, pairs - 1),
    }


def _end(accuracy: float, pairs: int, shift: float, inside: float) -> float:
    """Wilson's lower end with these two terms in the place of z²/2n and z²/4n²."""
    root = np.sqrt(accuracy * (1 - accuracy) / pairs + inside)
    return float((accuracy + shift - Z * root) / (1 + Z**2 / pairs))


def opens_on_evidence(gate: Learner, rng: Rng) -> None:
    """The lower end and the decision, for few pairs, many pairs, and three of three."""
    tries, decisions = [], []
    for pairs in (int(rng.integers(15, 40)), int(rng.integers(150, 400)), 3):
        right = pairs if pairs == 3 else round(pairs * float(rng.uniform(0.66, 0.8)))
        lower = wilson(right / pairs, pairs)
        for floor in (round(lower - 0.03, 4), round(lower + 0.03, 4)):
            tries.append((right / pairs, pairs, floor))
            decisions.append(_decision(gate, right, pairs, floor)[1])
    lowers = [wilson(accuracy, pairs) for accuracy, pairs, _ in tries]
    opens = [low > floor for low, (_, _, floor) in zip(lowers, tries, strict=True)]
    words = "; ".join(f"accuracy {a:.3f}, {pairs} pairs, floor {floor}" for a, pairs, floor in tries)
    slips = {"floor ignored": [low > 0.6 for low in lowers], "turned": [not is_open for is_open in opens]}
    diagnose(
        "decides by the lower end",
        decisions,
        opens,
        ideas=IDEAS.of(slips),
        otherwise=IDEAS["decision"],
        case=words,
    )


def _decision(gate: Learner, right: int, pairs: int, floor: float) -> tuple[float, bool]:
    """The learner's lower end, once it is right, and decision."""
    accuracy, case = right / pairs, f"{right} of {pairs} pairs in the right order, floor {floor}"
    got, form = gate(accuracy, pairs, floor), "returns the lower end and the decision"
    two = isinstance(got, tuple | list) and len(got) == 2
    require(two, form, IDEAS["form"], case=case, got=got)
    in_order = not isinstance(got[0], bool | np.bool_) and np.ndim(got[1]) == 0 and got[1] in (0, 1)
    require(in_order, form, IDEAS["order"], case=case, got=got)
    lower = wilson(accuracy, pairs)
    check = "finds the lower end" if right < pairs else "does not take three of three for proof"
    exact = same(got[0], lower, 1e-4) or not _is_rounded(got[0], lower)
    require(exact, check, IDEAS["rounded"], case=case, got=got[0])
    diagnose(
        check,
        got[0],
        lower,
        ideas=IDEAS.of(gate_slips(accuracy, pairs)),
        otherwise=IDEAS["lower end"],
        tolerance=1e-4,
        case=case,
    )
    return float(got[0]), bool(got[1])


def _is_rounded(got: Any, right: float) -> bool:
    """Whether a lower end is the right one with one to three digits behind the point."""
    return any(same(got, round(right, digits), 1e-9) for digits in (1, 2, 3))


def opens_above_the_floor(gate: Learner, rng: Rng) -> None:
    """Where the lower end is the floor itself the gate is closed.

    The floor is the learner's own number. Who returns a rounded end and compares the exact one opens above
    the floor too, and who computes in single precision cannot tell the next number from it.
    """
    right = int(rng.integers(30, 120))
    pairs = right * 4 // 3
    lower, _ = _decision(gate, right, pairs, 0.5)
    floors = lower, float(np.nextafter(lower, 1.0))
    at, above = (_decision(gate, right, pairs, floor)[1] for floor in floors)
    case = f"{right} of {pairs} pairs in the right order, the floor is the lower end"
    require(not at or above, "decides by the lower end", IDEAS["at the floor"], case=case)


# The fewest pairs -----------------------------------------------------------------------------------------


def pairs_needed(accuracy: float, floor: float, z: float = Z) -> int:
    """The fewest pairs for which the gate opens."""
    return fewest(partial(wilson, z=z), accuracy, floor)


def needed_slips(accuracy: float, floor: float) -> dict[str, float]:
    """What wrong readings give for the fewest pairs."""
    right = pairs_needed(accuracy, floor)
    whole = next(n for n in range(right, right + 1001) if (n * round(1000 * accuracy)) % 1000 == 0)
    others = {"whole accuracy": whole, "limit": 1000 if right > 1000 else right}
    others |= {"whole right ones": next(n for n in count(1) if wilson(round(accuracy * n) / n, n) > floor)}
    others |= {"other floor": pairs_needed(accuracy, 0.6)} if accuracy > 0.6 else {}
    return others | {
        "one pair": 1,
        "pairs by wald": fewest(wald, accuracy, floor),
        "one too few": right - 1,
        "one too many": right + 1,
        "pairs by one z": pairs_needed(accuracy, floor, 1.0),
        "not whole": Z**2 * floor * (1 - floor) / (accuracy - floor) ** 2,
        "steps": 10 * math.ceil(right / 10),
        "doubled": 2 ** math.ceil(math.log2(right)),
    }


def above_floor(rng: Rng, *, gap: float) -> tuple[float, float]:
    """Accuracy and a floor below it for which neither the exact z nor single precision changes the answer."""
    while True:
        floor = round(float(rng.uniform(0.55, 0.65)), 3)
        accuracy = round(floor + gap, 3)
        right = pairs_needed(accuracy, floor)
        others = [pairs_needed(accuracy, floor, EXACT_Z)]
        others += [pairs_needed(accuracy, floor + off) for off in (-SINGLE, SINGLE)]
        if all(other == right for other in others):
            return accuracy, floor


def not_above_floor(rng: Rng, *, below: float) -> tuple[float, float]:
    """Accuracy and the floor that it lies `below`, or at."""
    floor = round(float(rng.uniform(0.55, 0.65)), 3)
    return round(floor - below, 3), floor


def enough_for(gap: float) -> Agrees:
    """The check of the fewest pairs for an accuracy so far above its floor."""
    draw, name = partial(above_floor, gap=gap), "counts the pairs that are enough"
    return Agrees(name, draw, pairs_needed, "pairs", needed_slips, tolerance=0.0, reveal=False)


NEVER = "refuses what cannot be shown"
EXERCISE = Exercise(
    "2.4",
    "How many comparisons are enough?",
    2,
    8,
    ("gate", "pairs_needed"),
    (
        Part("the gate", 1.0, graded("gate", IDEAS, opens_on_evidence, opens_above_the_floor)),
        Part(
            "the fewest pairs",
            1.0,
            graded(
                "pairs_needed",
                IDEAS,
                *map(enough_for, (0.06, 0.01, 0.2, 0.1)),
                Refuses(NEVER, partial(not_above_floor, below=0.0), "more-is-proof"),
                Refuses(NEVER, partial(not_above_floor, below=0.05), "more-is-proof"),
                seconds=PATIENCE,
            ),
        ),
    ),
)
