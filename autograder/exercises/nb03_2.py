"""Exercise 3.2: the exact law of best-of-n on a finite set, and what its bounds mean."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from autograder.checks import NEAR, assert_deterministic, assert_inputs_unchanged, enumerates, refuses
from autograder.exercise import Exercise, Misconception, Part, diagnose, require, same
from autograder.handouts import choice
from autograder.work import Work
from rslib import theory

NAME, MEANING = "best_of_n_law", "meaning"
ENUMERATED, TIES, CERTAIN = "agrees with enumeration", "lets ties share by probability", "is a law"
ORDER, ROUNDS, ONE = (
    "uses the order of the rewards alone",
    "two rounds multiply",
    "gives the policy back at n = 1",
)
REFUSES, QUICK = "refuses what has no answer", "needs no list of all draws"
CLOSE = 0.02
"""A probability that is off by less may come from a simulation."""
TOLERANCE = 1e-5
"""Single precision is enough."""
SIMULATED = (
    "The same input gives another law each time: you draw at random. The law has a short formula; no chance "
    "is needed."
)
ENUMERATES = (
    "5 responses and n = 8 take this long: do you go through every sequence of draws? Each draw more makes "
    "it five times as long, and n = 4,000 would never end. Use F to the power n."
)
OTHERWISE = (
    "This is not how often each response is kept when n are drawn and the best is kept. A response is kept "
    "if nothing better was drawn: the chance that all n draws are at most as good as it is F to the power "
    "n."
)


def by_enumeration(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    """The definition: every sequence of n draws; the kept one is any of the best draws, with equal chance."""
    law = np.zeros(len(probs))
    for drawn in itertools.product(range(len(probs)), repeat=n):
        top = max(rewards[i] for i in drawn)
        best = [i for i in drawn if rewards[i] == top]
        for i in best:
            law[i] += math.prod(probs[j] for j in drawn) / len(best)
    return np.round(law, 6).tolist()


def _by_index(probs: Sequence[float], rewards: Sequence[float], n: int, *, last: bool) -> list[float]:
    """Ties go to the first, or the last, response of the list."""
    order = np.argsort(rewards, kind="stable")
    if not last:
        order = len(probs) - 1 - np.argsort(np.asarray(rewards)[::-1], kind="stable")
    law = np.zeros(len(probs))
    law[order] = np.diff(np.append(0.0, np.cumsum(np.asarray(probs)[order])) ** n)
    return law.tolist()


def _law(probs: Sequence[float], rewards: Sequence[float], n: int) -> np.ndarray:
    """As by_enumeration, by the engine's formula: the wrong ideas need it a dozen times a case."""
    return theory.exact_best_of_n_law(np.asarray(probs), np.asarray(rewards), n)


def _equal_shares(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    law, rewards = _law(probs, rewards, n), np.asarray(rewards)
    return [float(law[rewards == r].mean()) for r in rewards]


def _to_likeliest(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    """What the tied get together goes to the one of them that the policy draws most often."""
    law, p, r = _law(probs, rewards, n), np.asarray(probs), np.asarray(rewards)
    found = np.zeros(len(p))
    for reward in set(rewards):
        tied = np.flatnonzero(r == reward)
        found[tied[p[tied].argmax()]] = law[tied].sum()
    return found.tolist()


def _formulas(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[tuple[str, str, list[float]]]:
    """Laws that other formulas give: (idea, message, law)."""
    p, r = np.asarray(probs), np.asarray(rewards)
    upto = np.array([p[r <= x].sum() for x in r])
    density, drawn = n * p * upto ** (n - 1), 1 - (1 - p) ** n
    rare = "n p F^(n-1) is a density: it holds for rewards without steps. Here F jumps."
    seen = (
        "1 - (1 - p)^n is the chance to be drawn at least once. To be kept, a response must also be the best."
    )
    off = "This is the law of n {} 1 draws: look at the exponent."
    sizes = [
        ("n off by one", off.format(s), _law(probs, rewards, m).tolist())
        for s, m in (("-", n - 1), ("+", n + 1))
        if m > 1
    ]
    scaled = [("density", rare, f) for f in (density, density / density.sum())]
    scaled += [("drawn at least once", seen, f) for f in (drawn, drawn / drawn.sum())]
    return [*sizes, *((idea, text, law.tolist()) for idea, text, law in scaled)]


def _ideas(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[Misconception]:
    p, r = np.asarray(probs), np.asarray(rewards)
    upto = np.array([p[r <= x].sum() for x in r])
    tie = "Where rewards tie, {} is always kept. A tie is broken at random among the draws."
    own = (
        "Every response of a tie gets F(level)^n - F(below)^n. They have to share it: does your law sum to 1?"
    )
    by_hand = [
        ("F31", tie.format("the last response of the list"), _by_index(probs, rewards, n, last=True)),
        ("F31", tie.format("the first response of the list"), _by_index(probs, rewards, n, last=False)),
        (
            "equal shares",
            "Tied responses get equal shares here. The one that the policy draws more often is kept more "
            "often.",
            _equal_shares(probs, rewards, n),
        ),
        (
            "F31",
            "The likeliest response of a tie gets all that the tie gets. A tie is broken at random among the "
            "draws.",
            _to_likeliest(probs, rewards, n),
        ),
        ("ties counted twice", own, (upto**n - np.array([p[r < x].sum() for x in r]) ** n).tolist()),
        (
            "F03",
            "This is the worst of n. Look at the direction of the sort.",
            _law(probs, -r, n).tolist(),
        ),
        (
            "argmax",
            "Everything goes to the best response. It is kept only if it is drawn.",
            (p * (r == r.max()) / p[r == r.max()].sum()).tolist(),
        ),
        ("policy unchanged", "This is the policy itself: as if n were 1.", p.tolist()),
        (
            "F38",
            "This is p exp(r), scaled: the aim of a KL-penalised objective. Best-of-n knows no scale of r.",
            (p * np.exp(r) / (p * np.exp(r)).sum()).tolist(),
        ),
        (
            "weights F^n",
            "You weigh each response by F^n and scale. The chance to be the best is a difference of two "
            "powers.",
            (upto**n / (upto**n).sum()).tolist(),
        ),
        (
            "without subtraction",
            "F(level)^n is the chance that nothing better was drawn; the response itself need not have been "
            "drawn.",
            (upto**n).tolist(),
        ),
        (
            "sorted order",
            "The numbers are right and stand in the order of the rewards. Give them in the order of the "
            "input.",
            _law(probs, rewards, n)[np.argsort(r, kind="stable")].tolist(),
        ),
    ]
    return [Misconception(*idea) for idea in by_hand + _formulas(probs, rewards, n)]


def _case(rng: np.random.Generator, size: int, n: int, *, tied: bool) -> tuple[list[float], list[float], int]:
    """A law, rewards and n on which no wrong idea gives the right answer."""
    while True:
        probs = np.round(rng.dirichlet(np.full(size, 2.0)), 2)
        probs[-1] = round(1 - probs[:-1].sum(), 2)
        rewards = [float(x) for x in np.round(rng.normal(0, 1.5, size), 2)]
        if tied:
            rewards[int(rng.integers(1, size))] = rewards[0]
        found = probs.tolist(), rewards, n
        right, ideas = _law(*found), _ideas(*found)
        clear = [i for i in ideas if not same(i.value, right, 1e-3)]
        if probs.min() > 0.03 and len(clear) >= len(ideas) - (0 if tied else 5):
            return found


def grade_enumeration(work: Work, rng: np.random.Generator) -> None:
    """Small sets without and with a tie."""
    function = work.function(NAME)
    for tied, n in ((False, 3), (False, 2), (True, 2), (True, 3)):
        probs, rewards, n = _case(rng, 4, n, tied=tied)
        if not tied and list(rewards) == sorted(rewards):
            rewards, probs = rewards[::-1], probs[::-1]
        check, right = TIES if tied else ENUMERATED, by_enumeration(probs, rewards, n)
        got = assert_deterministic(function, check, SIMULATED, "simulated", probs, rewards, n)
        diagnose(
            check,
            got,
            right,
            ideas=_ideas(probs, rewards, n),
            otherwise=NEAR if same(got, right, CLOSE) else OTHERWISE,
            tolerance=TOLERANCE,
            case=f"{NAME}({probs}, {rewards}, {n})",
        )
        for kind in (list, np.array):
            assert_inputs_unchanged(work, NAME, kind(probs), kind(rewards), n)


def grade_rules(work: Work, rng: np.random.Generator) -> None:
    """The end n = 1, monotone transforms, permutations, two rounds, empty levels, and refusals."""
    function = work.function(NAME)
    probs, rewards, n = _case(rng, 5, int(rng.integers(2, 4)), tied=True)
    first = function(probs, rewards, n)
    diagnose(
        ONE, function(probs, rewards, 1), probs, otherwise="Best of one is one draw.", tolerance=TOLERANCE
    )
    listed = enumerates(work, function, probs, rewards, 8)
    require(not listed, QUICK, ENUMERATES, idea="enumeration", case="5 responses, n = 8, timed")
    _grade_order(function, probs, rewards, n, first)
    twice = function(np.asarray(function(probs, rewards, 4), float).tolist(), rewards, 4)
    diagnose(
        ROUNDS,
        twice,
        function(probs, rewards, 16),
        ideas=[
            Misconception("rounds add", "Two rounds of 4 come out as one of 8.", function(probs, rewards, 8))
        ],
        otherwise="Best-of-4 of a best-of-4 policy must be best-of-16: F becomes F^4, and then F^16.",
        tolerance=TOLERANCE,
        case=f"best-of-4 twice, {rewards}",
        reveal=False,
    )
    _grade_corners(function, rng)


def _grade_order(function: Callable, probs: list[float], rewards: list[float], n: int, first: object) -> None:
    stretched = [float(np.exp(r) + 3 * r) for r in rewards]
    diagnose(
        ORDER,
        function(probs, stretched, n),
        first,
        otherwise=Misconception(
            "F38",
            "A monotone change of the rewards changed your law. Best-of-n only asks which is larger.",
            None,
        ),
        tolerance=TOLERANCE,
        case=f"rewards {rewards}, then exp(r) + 3 r",
        reveal=False,
    )
    back = np.asarray(function(probs[::-1], rewards[::-1], n), float)[::-1]
    diagnose(
        ORDER,
        back.tolist(),
        first,
        otherwise=Misconception("F31", "The same set in the reverse order gave another law.", None),
        tolerance=TOLERANCE,
        case=f"{NAME}({probs}, {rewards}, {n}) and reversed",
        reveal=False,
    )


def _grade_corners(function: Callable, rng: np.random.Generator) -> None:
    p = float(rng.uniform(0.2, 0.6))
    for probs, rewards, n, expected, what in (
        (
            [p, 1 - p, 0.0],
            [0.0, 1.0, 2.0],
            3,
            [p**3, 1 - p**3, 0.0],
            "A response that the policy never draws is never kept.",
        ),
        ([p, 1 - p], [2.0, 2.0], 5, [p, 1 - p], "All rewards are equal: nothing is selected."),
        ([1.0], [0.5], 4, [1.0], "One response alone is always kept."),
        ([0.99, 0.01], [0.0, 1.0], 4000, [0.0, 1.0], "With thousands of draws the best response is certain."),
    ):
        diagnose(
            CERTAIN,
            function(probs, rewards, n),
            expected,
            otherwise=what,
            tolerance=TOLERANCE,
            case=f"{NAME}({probs}, {rewards}, {n})",
        )
    for rewards, n, why, idea in (
        ([0.0, math.nan], 2, "A NaN compares false with everything.", "F32"),
        ([0.0, 1.0], 0, "The best of no draw does not exist.", "n < 1"),
    ):
        require(
            refuses(function, [0.5, 0.5], rewards, n),
            REFUSES,
            f"{why} Raise a ValueError that says so.",
            idea=idea,
            case=f"{NAME}([0.5, 0.5], {rewards}, {n})",
            expected="ValueError",
        )


EXERCISE = Exercise(
    "3.2",
    "The law of best-of-n, and what its bounds mean",
    3,
    15,
    (MEANING, NAME),
    (
        *choice.parts("3.2", MEANING, 0.5),
        Part("agrees with enumeration", 1.0, grade_enumeration),
        Part("obeys its rules", 1.0, grade_rules),
    ),
    given=lambda variant: choice.sheet("3.2", variant),
)
