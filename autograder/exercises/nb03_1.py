"""Exercise 3.1: the unbiased estimator of what best-of-n keeps, from N responses to one prompt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from autograder.checks import (
    NEAR,
    assert_deterministic,
    assert_inputs_unchanged,
    enumerates,
    refuses,
)
from autograder.exercise import (
    CheckFailed,
    Exercise,
    Misconception,
    Part,
    diagnose,
    numbers,
    require,
    same,
)
from autograder.experiments.nb03 import with_replacement
from autograder.work import Work
from rslib import theory

NAME = "best_of_n_mean"
EVERY, TIE, ENDS = "averages over every subset", "lets ties share", "is right at both ends"
LARGE, REFUSES, VALUES = "copes with a large pool", "refuses what has no answer", "averages the values"
TOLERANCE = 1e-5
"""Single precision is enough."""
CLOSE = 0.01
"""So near to the right value, in units of the spread of the scores, comes what is simulated."""
OTHERWISE = (
    "This is not the mean, over all subsets of n of the N responses, of the best score in the subset. Write "
    "the subsets of a pool of four down by hand and count how often each score is the best."
)


def by_enumeration(scores: Sequence[float], n: int, values: Sequence[float] | None = None) -> float:
    """The definition: the mean over all subsets of what the best of the subset is worth; ties share."""
    values = scores if values is None else values
    kept = []
    for subset in itertools.combinations(range(len(scores)), n):
        top = max(scores[i] for i in subset)
        kept.append(np.mean([values[i] for i in subset if scores[i] == top]))
    return round(float(np.mean(kept)), 6)


def weighted(scores: Sequence[float], weights: np.ndarray) -> float:
    """The ascending scores, averaged with these weights."""
    return float(np.sort(scores) @ weights)


def _wrong_values(scores: list[float], n: int) -> list[Misconception]:
    """What the known wrong ideas give on a pool."""
    ascending, size = sorted(scores), len(scores)
    blocks = [max(scores[at : at + n]) for at in range(0, size - n + 1, n)]
    shifted = np.array([math.comb(k, n - 1) if k < size else 0 for k in range(1, size + 1)], float)
    return [
        *_distinct_alone(scores, n),
        Misconception(
            "F45",
            "You draw with replacement: the same response can then stand in the subset twice, and the "
            "estimate comes out too low. A real best-of-n draws n different responses.",
            with_replacement(scores, n),
        ),
        Misconception(
            "F45",
            "You look at the first n responses alone. That is unbiased but noisy: the other N - n responses "
            "were paid for and tell nothing. Use every subset.",
            max(scores[:n]),
        ),
        Misconception(
            "F45",
            "You cut the pool into blocks of n. Each block is a fair best-of-n, but most subsets are never "
            "looked at: in another order the same pool gives another number.",
            float(np.mean(blocks)),
        ),
        Misconception(
            "F45",
            "You take the best of the whole pool. That is best-of-N: what would the best be if only n of "
            "the N were drawn?",
            ascending[-1],
        ),
        Misconception(
            "F02",
            "You average the pool: nothing is selected. Best-of-n keeps one of n.",
            float(np.mean(scores)),
        ),
        Misconception(
            "F03",
            "You keep the lowest of each subset. Look at the direction of the sort, or at the sign.",
            weighted(scores, theory.rank_weights(size, n)[::-1]),
        ),
        Misconception(
            "top-n",
            "You average the n best of the pool. Best-of-n keeps one response of n, it does not keep n "
            "responses.",
            float(np.mean(ascending[-n:])),
        ),
        Misconception(
            "top-n",
            "You return the n-th best of the pool. Which score is the best of a subset?",
            ascending[-n],
        ),
        Misconception(
            "rank off by one",
            "Your weights belong to the neighbouring rank: the k-th lowest is the best of a subset if the "
            "other n - 1 come from the k - 1 below it. Do your weights sum to 1?",
            weighted(scores, shifted / math.comb(size, n)),
        ),
        Misconception(
            "rank off by one",
            "Your weights belong to the neighbouring rank: do they sum to 1, and does the highest score get "
            "n / N?",
            weighted(scores, np.append(0.0, _weights(size, n)[:-1])),
        ),
        *_of_another_size(scores, n),
    ]


def _of_another_size(scores: list[float], n: int) -> list[Misconception]:
    """The best of n - 1 and of n + 1."""
    text = "This is the best of {}: count again how many others come from below the best of a subset."
    return [
        Misconception("n off by one", text.format(f"n {sign} 1"), by_enumeration(scores, m))
        for sign, m in (("-", n - 1), ("+", n + 1))
        if 1 < m < len(scores)
    ]


def _distinct_alone(scores: list[float], n: int) -> list[Misconception]:
    """The best of n distinct scores, where some are equal."""
    distinct = sorted(set(scores))
    if not n <= len(distinct) < len(scores):
        return []
    lost = "Equal scores are counted once. Each of them is a response of its own: a set loses some."
    return [Misconception("duplicates lost", lost, by_enumeration(distinct, n))]


def _weights(size: int, n: int) -> np.ndarray:
    return theory.rank_weights(size, n)


def _pool(rng: np.random.Generator, size: int) -> list[float]:
    return [float(x) for x in np.round(rng.normal(0, 3, size), 3)]


def separated(
    draw: Callable[[], tuple[list[float], int]],
    ideas: Callable[[list[float], int], list[Misconception]],
    right: Callable,
) -> tuple[list[float], int]:
    """A case on which no wrong idea gives the right value, nor two of them the same one."""
    while True:
        scores, n = draw()
        values = sorted([right(scores, n), *(i.value for i in ideas(scores, n))])
        if np.diff(values).min() > 1e-3 * (1 + np.abs(values).max()):
            return scores, n


def grade_subsets(work: Work, rng: np.random.Generator) -> None:
    """Small pools, without and with ties, against enumeration."""
    function = work.function(NAME)
    for n in (3, 2, 3):  # of two, the median is the mean and all that is off by one is the pool's mean
        scores, n = separated(
            lambda n=n: (_pool(rng, int(rng.integers(6, 8))), n), _wrong_values, by_enumeration
        )
        _compare(function, scores, n, EVERY)
    for _ in range(2):
        levels = _pool(rng, 3)
        scores = [*levels, levels[2], levels[0], levels[2]]
        _compare(function, [scores[k] for k in rng.permutation(6)], int(rng.integers(2, 4)), TIE)
    for kind in (list, np.array):
        assert_inputs_unchanged(work, NAME, kind(scores[::-1]), 2)


def _compare(function: Callable, scores: list[float], n: int, check: str) -> None:
    chance = (
        "The same pool gives another number each time: you draw subsets at random. Their exact mean has a "
        "short formula; no chance is needed."
    )
    got, expected = assert_deterministic(function, check, chance, "F45", scores, n), by_enumeration(scores, n)
    near = same(got, expected, CLOSE * float(np.std(scores)))
    diagnose(
        check,
        got,
        expected,
        ideas=_wrong_values(scores, n),
        otherwise=NEAR if near else OTHERWISE,
        tolerance=TOLERANCE,
        case=f"{NAME}({scores}, {n})",
    )


def grade_edges(work: Work, rng: np.random.Generator) -> None:
    """The ends n = 1 and n = N, all equal, pools that overflow factorials, and input without an answer."""
    function = work.function(NAME)
    scores = _pool(rng, 6)
    for n, expected, what in (
        (1, float(np.mean(scores)), "Best of one is any response: the mean of the pool."),
        (6, max(scores), "All N are drawn: only the highest score can be kept."),
    ):
        diagnose(
            ENDS,
            function(scores, n),
            expected,
            otherwise=Misconception("F45", what, None),
            tolerance=TOLERANCE,
            case=f"{NAME}({scores}, {n})",
        )
    equal = [scores[0]] * 5
    shares = "All scores are equal, so every choice is worth the same. Do your weights sum to 1?"
    diagnose(
        ENDS,
        function(equal, 3),
        scores[0],
        otherwise=Misconception("rank off by one", shares, None),
        tolerance=TOLERANCE,
        case=f"{NAME}({equal}, 3)",
    )
    _grade_large(work, function, rng)
    _grade_refusals(function, scores)


OVERFLOW = Misconception(
    "overflow",
    "A factorial or binomial coefficient of this pool is larger than any float. Work with logarithms, with "
    "ratios of neighbouring weights, or with Python's whole numbers (math.comb).",
    None,
)
RECURSION = Misconception(
    "recursion",
    "The function calls itself once for every score, and Python allows about a thousand calls. Make it a "
    "loop.",
    None,
)
ENUMERATES = (
    "22 scores take this long: do you list every subset? Each score more doubles the work, and 2,000 would "
    "never end. Count how many subsets each score is the best of."
)


def _grade_large(work: Work, function: Callable, rng: np.random.Generator) -> None:
    listed = enumerates(work, function, _pool(rng, 22), 11)
    require(not listed, LARGE, ENUMERATES, idea="enumeration", case="22 scores, n = 11, timed")
    # Sorted, since the highest scores of a shuffled pool may fall into blocks of n as they should on average.
    for scores, n in ((sorted(_pool(rng, 512), reverse=True), 256), (_pool(rng, 2000), 600)):
        case = f"{len(scores)} scores, n = {n}"
        try:
            got = function(scores, n)
        except CheckFailed as wrong:
            known = RECURSION if isinstance(wrong.__cause__, RecursionError) else OVERFLOW
            if not isinstance(wrong.__cause__, RecursionError | ArithmeticError | ValueError | TypeError):
                raise
            raise CheckFailed(LARGE, known.message, idea=known.id, case=case, got=str(wrong)) from wrong
        expected = float(theory.best_of_n_estimate(scores, n)[0])
        value = numbers(got)
        lost = value is not None and (not np.isfinite(value).all() or same(value, 0.0, 1e-6))
        otherwise = OVERFLOW if lost else OTHERWISE
        diagnose(LARGE, got, expected, otherwise=otherwise, tolerance=1e-2, case=case)


def _grade_refusals(function: Callable, scores: list[float]) -> None:
    cases = (
        (scores, 7, "n is larger than the pool: no subset of that size exists.", "n > N"),
        (scores, 0, "The best of no response does not exist.", "n > N"),
        ([], 1, "An empty pool has no best.", "n > N"),
        (
            [*scores[:3], math.nan, *scores[3:]],
            2,
            "A NaN compares false with everything and is kept silently.",
            "F32",
        ),
    )
    for pool, n, why, idea in cases:
        require(
            refuses(function, pool, n),
            REFUSES,
            f"{why} Raise a ValueError that says so.",
            idea=idea,
            case=f"{NAME}({pool}, {n})",
            expected="ValueError",
        )


def grade_values(work: Work, rng: np.random.Generator) -> None:
    """`values` are averaged over what the scores choose; a tie in the scores shares. Lists, then arrays."""
    function = work.function(NAME)
    for tied in (False, True):
        scores, values, n = _valued(rng, tied)
        kind = np.array if tied else list
        got = function(kind(scores), n, kind(values))
        diagnose(
            VALUES,
            got,
            by_enumeration(scores, n, values),
            ideas=_value_ideas(scores, values, n),
            otherwise="The scores choose the response, and the value of that response is averaged. Where "
            "scores tie, the tied responses share.",
            tolerance=TOLERANCE,
            case=f"{NAME}({scores}, {n}, values={values})",
        )
    assert_inputs_unchanged(work, NAME, np.array(scores), n, np.array(values))


def _valued(rng: np.random.Generator, tied: bool) -> tuple[list[float], list[float], int]:
    while True:
        scores, values, n = _pool(rng, 6), _pool(rng, 6), int(rng.integers(2, 4))
        scores = [scores[k] for k in (0, 1, 2, 2, 0, 2)] if tied else scores
        expected = by_enumeration(scores, n, values)
        if not any(same(i.value, expected, 1e-3) for i in _value_ideas(scores, values, n)):
            return scores, values, n


def _value_ideas(scores: list[float], values: list[float], n: int) -> list[Misconception]:
    weights = _weights(len(scores), n)
    stable = float(np.asarray(values)[np.argsort(scores, kind="stable")] @ weights)
    later = np.asarray(values)[::-1][np.argsort(scores[::-1], kind="stable")]
    luckiest, poorest = (
        np.asarray(values)[np.lexsort((sign * np.array(values), scores))] for sign in (1, -1)
    )
    tie = "Tied scores must share: here the place in the list decides, and another order changes the number."
    found = [
        Misconception(
            "values ignored",
            "You return the best score. With `values`, average the value of what is kept.",
            by_enumeration(scores, n),
        ),
        Misconception(
            "F16",
            "You sort the values by themselves, so they choose. The scores choose.",
            by_enumeration(values, n),
        ),
        Misconception(
            "values unsorted",
            "The weights belong to ranks: bring the values into the order of the scores.",
            float(np.asarray(values) @ weights),
        ),
    ]
    if len(set(scores)) < len(scores):
        found += [Misconception("F31", tie, stable), Misconception("F31", tie, float(later @ weights))]
        by_value = "Among tied scores the {} value is kept: the scores cannot see it. Tied scores share."
        found += [
            Misconception("F31", by_value.format(which), float(kept @ weights))
            for which, kept in (("higher", luckiest), ("lower", poorest))
        ]
    return found


EXERCISE = Exercise(
    "3.1",
    "What does the best of n give on average?",
    2,
    12,
    (NAME,),
    (
        Part("every subset counts once", 1.5, grade_subsets),
        Part("the ends, large pools, and what is refused", 1.0, grade_edges),
        Part("values of what is kept", 0.5, grade_values),
    ),
)
