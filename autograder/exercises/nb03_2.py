"""Exercise 3.2: the exact distribution of best-of-n on a finite set, and what its bounds mean."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from autograder.checks import Agrees, Corner, Finite, Ideas, Learner, Quick, Refuses, Rng, Unchanged, graded
from autograder.exercise import Exercise, Part, diagnose, numbers, require, same
from autograder.handouts import choice
from rslib import theory

IDEAS = Ideas("""
distribution (): This is not how often each response is kept when n are drawn and the best is kept. A response
    is kept if nothing better was drawn: the chance that all n draws are at most as good as it is F to the
    power n.
simulated: The same input gives other probabilities each time: you draw at random. They have a short formula;
    no chance is needed.
last (F31): Where rewards tie, the last response of the list is always kept. A tie is broken at random among
    the draws.
first (F31): Where rewards tie, the first response of the list is always kept. A tie is broken at random among
    the draws.
equal shares: Tied responses get equal shares here. The one that the policy draws more often is kept more
    often.
likeliest (F31): The likeliest response of a tie gets all that the tie gets. A tie is broken at random among
    the draws.
ties above one (ties counted twice): Each response of a tie counts as the only one of its reward: do your
    probabilities sum to 1?
ties counted twice: Every response of a tie gets F(level)^n - F(below)^n. They have to share it: do your
    probabilities sum to 1?
worst (F03): This is the worst of n. Look at the direction of the sort.
argmax: Everything goes to the best response. It is kept only if it is drawn.
policy unchanged: This is the policy itself: as if n were 1.
tilted (F38): This is p exp(r), scaled: the aim of a KL-penalised objective. Best-of-n knows no scale of r.
all alike: p^n is the chance that all n draws are this very response. The others may be any that is no
    better.
tilted by log n (F38): This is the policy times a power with the reward as exponent, scaled. It knows the
    scale of r; best-of-n only asks which is larger.
without replacement: This counts subsets, as of a pool. A policy can write a response twice, and writes some
    more often than others.
probabilities ignored: All responses count as equally likely. The policy draws some more often than others.
0 by 0: A response with probability 0 gives 0 / 0, which is NaN. It is never kept.
tilted by n (F38): This is p exp(n r), scaled. It knows the scale of r; best-of-n only asks which is larger.
weights F^n: You weigh each response by F^n and scale. The chance to be the best is a difference of two
    powers.
without subtraction: F(level)^n is the chance that nothing better was drawn; the response itself need not have
    been drawn.
sorted order: The numbers are right and stand in the order of the rewards. Give them in the order of the
    input.
one fewer (n off by one): This is the distribution of n - 1 draws: look at the exponent.
one more (n off by one): This is the distribution of n + 1 draws: look at the exponent.
density / scaled density: n p F^(n-1) is a density: it holds for rewards without steps. Here F jumps.
drawn at least once / drawn, scaled: 1 - (1 - p)^n is the chance to be drawn at least once. To be kept, a
    response must also be the best.

one draw (): Best of one is one draw.
enumeration: 5 responses and n = 8 take this long: do you go through every sequence of draws? Each draw more
    makes it five times as long, and n = 4,000 would never end. Use F to the power n.
scale (F38): A monotone change of the rewards changed your distribution. Best-of-n only asks which is larger.
place (F31): The same set in the reverse order gave another distribution.
rounds (): Best-of-4 of a best-of-4 policy must be best-of-16: F becomes F^4, and then F^16.
rounds add: Two rounds of 4 come out as one of 8.
never drawn (): A response that the policy never draws is never kept.
all equal (): All rewards are equal: nothing is selected.
alone (): One response alone is always kept.
thousands (): With thousands of draws the best response is certain.
NaN (F32): There is a NaN among the rewards, and no ValueError came. A NaN compares false with everything.
n < 1: The best of no draw does not exist. Raise a ValueError that says so.
""")
NAME, MEANING = "best_of_n_distribution", "meaning"
ENUMERATED, TIES, CERTAIN = (
    "agrees with enumeration",
    "lets ties share by probability",
    "is a probability distribution",
)
ORDER, ROUNDS = "uses the order of the rewards alone", "two rounds multiply"
ONE, QUICK = "gives the policy back at n = 1", "needs no list of all draws"
REFUSES = "refuses what has no answer"
CLOSE = 0.02
"""A probability that is off by less may come from a simulation."""
TOLERANCE = 1e-5  # single precision is enough
Case = tuple[list[float], list[float], int]


def by_enumeration(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    """The definition: every sequence of n draws; the kept one is any of the best draws, with equal chance."""
    distribution = np.zeros(len(probs))
    for drawn in itertools.product(range(len(probs)), repeat=n):
        top = max(rewards[i] for i in drawn)
        best = [i for i in drawn if rewards[i] == top]
        for i in best:
            distribution[i] += math.prod(probs[j] for j in drawn) / len(best)
    return np.round(distribution, 6).tolist()


def by_formula(probs: Sequence[float], rewards: Sequence[float], n: int) -> np.ndarray:
    """As by_enumeration, by the engine's formula: the wrong ideas need it a dozen times a case."""
    return theory.best_of_n_probs(np.asarray(probs), np.asarray(rewards), n)


# Agreement with the definition ----------------------------------------------------------------------------


def some_policy(rng: Rng, *, size: int = 5, n: int = 3, tied: bool = True) -> Case:
    """A policy, rewards and n on which no wrong idea is right by chance; `tied`: two rewards are equal."""
    while True:
        probs = np.round(rng.dirichlet(np.full(size, 2.0)), 2)
        probs[-1] = round(1 - probs[:-1].sum(), 2)
        if probs.min() <= 0.03:  # where the others are rounded upwards, the last can fall below 0
            continue
        rewards = [float(x) for x in np.round(rng.normal(0, 1.5, size), 2)]
        if tied:
            rewards[int(rng.integers(1, size))] = rewards[0]
        right, slips = by_formula(probs, rewards, n), distribution_slips(probs, rewards, n)
        if not any(same(slip, right, 1e-3) for slip in slips.values()):
            return probs.tolist(), rewards, n


def distribution_slips(probs: Sequence[float], rewards: Sequence[float], n: int) -> dict[str, np.ndarray]:
    """What wrong ideas give; those of ties where there are some."""
    p, r = np.asarray(probs), np.asarray(rewards)
    distribution, best, tilted = by_formula(p, r, n), p * (r == r.max()), p * np.exp(r)
    by_n = p * np.exp(n * r)
    upto = np.array([p[r <= x].sum() for x in r])
    density, drawn = n * p * upto ** (n - 1), 1 - (1 - p) ** n
    others = {
        "worst": by_formula(p, -r, n),
        "argmax": best / best.sum(),
        "policy unchanged": p,
        "all alike": p**n / (p**n).sum(),
        "probabilities ignored": by_formula(np.full(len(p), 1 / len(p)), r, n),
        "without replacement": _of_subsets(r, n),
        "tilted by log n": p * n**r / (p * n**r).sum(),
        "tilted": tilted / tilted.sum(),
        "tilted by n": by_n / by_n.sum(),
        "weights F^n": upto**n / (upto**n).sum(),
        "without subtraction": upto**n,
        "sorted order": distribution[np.argsort(r, kind="stable")],
        "one more": by_formula(p, r, n + 1),
        "density": density,
        "scaled density": density / density.sum(),
        "drawn at least once": drawn,
        "drawn, scaled": drawn / drawn.sum(),
    }
    ties = tie_slips(p, r, n) if len(set(rewards)) < len(rewards) else {}
    fewer = {"one fewer": by_formula(p, r, n - 1)} if n > 2 else {}  # of one draw it is the policy unchanged
    return ties | others | fewer


def _of_subsets(r: np.ndarray, n: int) -> np.ndarray:
    """The share of the subsets of n in which each response is the best; where it ties, of those it shares."""
    ways = [math.comb(int((r <= x).sum()), n) - math.comb(int((r < x).sum()), n) for x in r]
    tied = np.array([(r == x).sum() for x in r])
    return np.array(ways) / tied / max(1, math.comb(len(r), n))


def tie_slips(p: np.ndarray, r: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """What wrong ideas of ties give."""
    distribution, places = by_formula(p, r, n), np.arange(len(p))
    likeliest = np.zeros(len(p))
    for level in set(r.tolist()):
        tied = np.flatnonzero(r == level)
        likeliest[tied[p[tied].argmax()]] = distribution[tied].sum()
    upto, below = (
        np.array([p[chosen].sum() for chosen in rows]) for rows in (r <= r[:, None], r < r[:, None])
    )
    return {
        "last": by_formula(p, np.lexsort((places, r)).argsort(), n),
        "first": by_formula(p, np.lexsort((-places, r)).argsort(), n),
        "equal shares": np.array([distribution[r == level].mean() for level in r]),
        "likeliest": likeliest,
        "ties counted twice": upto**n - below**n,
        "ties above one": upto**n - (upto - p) ** n,
    }


def agrees(check: str, n: int, *, tied: bool) -> Agrees:
    """The check against enumeration on four responses."""
    draw, options = partial(some_policy, size=4, n=n, tied=tied), {"again": "simulated", "near": CLOSE}
    return Agrees(check, draw, by_enumeration, "distribution", distribution_slips, **options)


def as_arrays(rng: Rng) -> tuple[np.ndarray, np.ndarray, int]:
    """Arrays as arguments."""
    probs, rewards, n = some_policy(rng)
    return np.array(probs), np.array(rewards), n


# Rules ----------------------------------------------------------------------------------------------------


def _row(result: Any) -> list[float]:
    """The learner's distribution as a list."""
    values = numbers(result)
    message = "A probability for each response is asked for, in a list or an array."
    require(values is not None and values.ndim == 1, CERTAIN, message, got=result)
    return values.tolist()


def uses_the_order(best_of_n_distribution: Learner, rng: Rng) -> None:
    """A monotone change of the rewards changes nothing, and a permutation permutes."""
    probs, rewards, n = some_policy(rng, n=int(rng.integers(2, 4)))
    distribution = best_of_n_distribution(probs, rewards, n)
    stretched = best_of_n_distribution(probs, [float(np.exp(r) + 3 * r) for r in rewards], n)
    pressed = best_of_n_distribution(probs, [r / 1e30 for r in rewards], n)  # near, and no tie
    reverse = _row(best_of_n_distribution(probs[::-1], rewards[::-1], n))[::-1]
    case = best_of_n_distribution.call((probs, rewards, n))
    changes = ((stretched, "scale", "exp(r) + 3 r"), (pressed, "scale", "r / 1e30"))
    for got, idea, change in (*changes, (reverse, "place", "reversed")):
        diagnose(
            ORDER,
            got,
            distribution,
            otherwise=IDEAS[idea],
            tolerance=TOLERANCE,
            case=f"{case}, then {change}",
            reveal=False,
        )


def rounds_multiply(best_of_n_distribution: Learner, rng: Rng) -> None:
    """Best-of-4 of a best-of-4 policy is best-of-16."""
    probs, rewards, _ = some_policy(rng)
    after_one = _row(best_of_n_distribution(probs, rewards, 4))
    diagnose(
        ROUNDS,
        best_of_n_distribution(after_one, rewards, 4),
        best_of_n_distribution(probs, rewards, 16),
        ideas=IDEAS.of({"rounds add": best_of_n_distribution(probs, rewards, 8)}),
        otherwise=IDEAS["rounds"],
        tolerance=TOLERANCE,
        case=f"best-of-4 twice, {rewards}",
        reveal=False,
    )


# The exercise ---------------------------------------------------------------------------------------------

EXERCISE = Exercise(
    "3.2",
    "The distribution of best-of-n, and what its bounds mean",
    3,
    15,
    (MEANING, NAME),
    (
        *choice.parts("3.2", MEANING, 0.5),
        Part(
            "agrees with enumeration",
            1.0,
            graded(
                NAME,
                IDEAS,
                agrees(ENUMERATED, 3, tied=False),
                agrees(ENUMERATED, 2, tied=False),
                Unchanged(some_policy),
                Unchanged(as_arrays),
                agrees(TIES, 2, tied=True),
                agrees(TIES, 3, tied=True),
            ),
        ),
        Part(
            "obeys its rules",
            1.0,
            graded(
                NAME,
                IDEAS,
                Agrees(ONE, lambda rng: (*some_policy(rng)[:2], 1), by_formula, "one draw"),
                Quick(QUICK, lambda rng: (*some_policy(rng)[:2], 8), "enumeration"),
                uses_the_order,
                rounds_multiply,
                Finite(CERTAIN, ([0.3, 0.7, 0.0], [0.0, 1.0, 2.0], 3), "0 by 0"),
                Corner(CERTAIN, ([0.3, 0.7, 0.0], [0.0, 1.0, 2.0], 3), [0.027, 0.973, 0.0], "never drawn"),
                Corner(CERTAIN, ([0.3, 0.7], [2.0, 2.0], 5), [0.3, 0.7], "all equal"),
                Corner(CERTAIN, ([1.0], [0.5], 4), [1.0], "alone"),
                Corner(CERTAIN, ([0.99, 0.01], [0.0, 1.0], 4000), [0.0, 1.0], "thousands"),
                Refuses(REFUSES, ([0.5, 0.5], [0.0, math.nan], 2), "NaN"),
                Refuses(REFUSES, ([0.5, 0.5], [0.0, 1.0], 0), "n < 1"),
            ),
        ),
    ),
    given=lambda variant: choice.sheet("3.2", variant),
)
