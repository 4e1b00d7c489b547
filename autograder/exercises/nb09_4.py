"""Exercise 9.4: problems that are all right or all wrong teach a group method nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograder.checks import Agrees, Corner, Finite, Ideas, Rng, Unchanged, as_list, graded, in_turn
from autograder.exercise import Exercise, Part

IDEAS = Ideas("""
advantages (): These are not the rewards minus their problem's mean, over their problem's standard
    deviation (with n - 1).
whole table (F06): The mean or the deviation is that of the whole table: each problem is its own group.
not centred: The mean of the group is not taken off.
not scaled: The deviation of the group is not divided by.
population: The deviation divides by n. Here it is with n - 1.
others' mean (own baseline): The mean of the others is taken off, and nothing is divided by: that is RLOO's.
others over deviation (own baseline): The mean of the others is taken off. GRPO takes off the mean of all.
added / added more (epsilon): A number is added to the deviation. Nothing is added here: where it is 0,
    choose.
variance: This is divided by the variance, not by its root.
turned (sign): The sign is turned.
columns (axis): Mean and deviation run over the problems. The responses of a problem stand in its row.
equal rewards: All rewards of a problem are equal: there is no deviation to divide by, and all advantages
    are 0. Choose before you divide.

silent (): This is not the chance that n responses are all right or all wrong.
all right: Only "all right" is counted. All wrong teaches as little.
all wrong: Only "all wrong" is counted. All right teaches as little.
product: Multiplied are the chances of all right and of all wrong. They are two ways to the same end: add.
mixed: This is the chance of a difference. That of none is asked for.
one less (off by one): The exponent is n - 1. All n have to be alike.
mean first (one number): This is the chance at the mean of the p. A number for each p is asked for.
pairs: This is the chance that two responses are equal, whatever n is.

drawn (): This is not the mean number of groups that are drawn until one is mixed.
chance: This is the chance that a group is mixed. If one in five is, how many are drawn for each?
silent groups: This is how many groups are thrown away. The mixed one was drawn too.
one over silent: This waits for a group that teaches nothing. The one that is waited for is mixed.
responses: This counts responses. Groups are asked for.
one number: A number for each p is asked for, not their mean.
sure / nearly sure (in all likelihood): So many groups are enough in 95 of 100 cases. The mean
    number is asked for.
never: With p = 0 or 1 no group is ever mixed: the mean number is infinite.
""")
ADVANTAGE, SILENT = "centres and scales each problem", "gives the chance"
DRAWN, EQUAL = "counts groups", "stays finite"


def advantages(rewards: Any) -> np.ndarray:
    """Each reward minus its row's mean over its row's standard deviation (n - 1); 0 where all are equal."""
    rewards = np.asarray(rewards, float)
    centred, spread = rewards - rewards.mean(1, keepdims=True), rewards.std(1, ddof=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def silent(p: Any, n: int) -> Any:
    """The chance that n responses, each right with chance p, are all right or all wrong."""
    p = np.asarray(p, float)
    return p**n + (1 - p) ** n


def groups_drawn(p: Any, n: int) -> Any:
    """The mean number of groups of n until one is mixed."""
    with np.errstate(divide="ignore"):
        return 1 / (1 - silent(p, n))


def mixed_rewards(rng: Rng) -> tuple[np.ndarray]:
    """Four problems with 6 responses each, none of them all equal, with different shares of right ones."""
    counts = rng.permutation([1, 2, 4, 5])
    return (np.array([rng.permutation([1.0] * c + [0.0] * (6 - c)) for c in counts]),)


def some_equal(rng: Rng) -> tuple[np.ndarray]:
    """Mixed problems beside one that is all right and one that is all wrong."""
    rows = np.concatenate([mixed_rewards(rng)[0], [[1.0] * 6], [[0.0] * 6]])
    return (rows[rng.permutation(len(rows))],)


def _advantage_slips(rewards: np.ndarray) -> dict[str, Any]:
    centred, size = rewards - rewards.mean(1, keepdims=True), rewards.shape[1]
    return {
        "others' mean": centred * size / (size - 1),
        "others over deviation": advantages(rewards) * size / (size - 1),
        "added": centred / (rewards.std(1, ddof=1, keepdims=True) + 0.01),
        "added more": centred / (rewards.std(1, ddof=1, keepdims=True) + 0.1),
        "variance": centred / rewards.var(1, ddof=1, keepdims=True),
        "turned": -advantages(rewards),
        "columns": advantages(rewards.T).T,
        "whole table": (rewards - rewards.mean()) / rewards.std(ddof=1),
        "not centred": rewards / rewards.std(1, ddof=1, keepdims=True),
        "not scaled": centred,
        "population": centred / rewards.std(1, keepdims=True),
    }


def chances(rng: Rng) -> tuple[np.ndarray, int]:
    """Chances of five problems, and a size of the group."""
    return np.round(rng.uniform(0.05, 0.95, 5), 2), int(rng.integers(3, 9))


def _silent_slips(p: np.ndarray, n: int) -> dict[str, Any]:
    pairs, none = p**2 + (1 - p) ** 2, silent(p, n)
    less = p ** (n - 1) + (1 - p) ** (n - 1)
    known = {"mixed": 1 - none, "one less": less} if n > 3 else {"mixed": 1 - none}
    return known | {
        "all right": p**n,
        "all wrong": (1 - p) ** n,
        "product": (p * (1 - p)) ** n,
        "pairs": pairs,
        "mean first": float(silent(p.mean(), n)),
    }


def _drawn_slips(p: np.ndarray, n: int) -> dict[str, Any]:
    none = silent(p, n)
    drawn = 1 / (1 - none)
    others = {"responses": n * drawn, "one number": float(np.mean(drawn))}
    enough = np.log(0.05) / np.log(none)
    others |= {"sure": np.ceil(enough), "nearly sure": enough}
    return others | {"chance": 1 - none, "silent groups": none / (1 - none), "one over silent": 1 / none}


_CHANCES = in_turn(
    graded(
        "silent",
        IDEAS,
        Agrees(SILENT, chances, silent, "silent", _silent_slips, 3, apart=1e-4, of=as_list),
        Corner(SILENT, (0.5, 2), 0.5, "silent", of=as_list),
        Unchanged(chances),
    ),
    graded(
        "groups_drawn",
        IDEAS,
        Agrees(DRAWN, chances, groups_drawn, "drawn", _drawn_slips, 3, apart=1e-4, of=as_list),
        Corner(DRAWN, (0.0, 4), np.inf, "never", of=as_list),
        Unchanged(chances),
    ),
)

EXERCISE = Exercise(
    "9.4",
    "Problems that teach nothing",
    2,
    10,
    ("advantages", "silent", "groups_drawn"),
    (
        Part(
            "advantages of a group",
            0.5,
            graded(
                "advantages",
                IDEAS,
                Agrees(ADVANTAGE, mixed_rewards, advantages, "advantages", _advantage_slips, 2, 2e-3, 0.01),
                Finite(EQUAL, some_equal, "equal rewards"),
                Agrees(EQUAL, some_equal, advantages, "equal rewards", tolerance=2e-3),
                Unchanged(mixed_rewards),
            ),
        ),
        Part(
            "how often, and what it costs",
            1.0,
            _CHANCES,
        ),
    ),
)
