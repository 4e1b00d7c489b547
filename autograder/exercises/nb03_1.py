"""Exercise 3.1: the unbiased estimator of what best-of-n keeps, from N responses to one prompt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from autograder.checks import Agrees, Ideas, Learner, Quick, Refuses, Rng, Unchanged, graded
from autograder.exercise import CheckFailed, Exercise, Part, diagnose, numbers, same
from autograder.experiments.nb03 import with_replacement
from rslib import theory

IDEAS = Ideas("""
subsets (): This is not the mean, over all subsets of n of the N responses, of the best score in the subset.
    Write the subsets of a pool of four down by hand and count how often each score is the best.
at random (F45): The same pool gives another number each time: you draw subsets at random. Their exact mean
    has a short formula; no chance is needed.
duplicates lost: Equal scores are counted once. Each of them is a response of its own: a set loses some.
with replacement (F45): You draw with replacement: the same response can then stand in the subset twice, and
    the estimate comes out too low. A real best-of-n draws n different responses.
first n (F45): You look at the first n responses alone. That is unbiased but noisy: the other N - n responses
    were paid for and tell nothing. Use every subset.
blocks (F45): You cut the pool into blocks of n. Each block is a fair best-of-n, but most subsets are never
    looked at: in another order the same pool gives another number.
best of all (F45): You take the best of the whole pool. That is best-of-N: what would the best be if only n of
    the N were drawn?
mean (F02): You average the pool: nothing is selected. Best-of-n keeps one of n.
lowest (F03): You keep the lowest of each subset. Look at the direction of the sort, or at the sign.
in this order (F45): In another order the same pool gives another number: you count some of the subsets, by
    their place or by a fixed seed. Their exact mean has a short formula.
top share: You average the highest N / n scores of the pool, one for each block of n. Of how many subsets is
    each score the best?
quantile: This is a quantile of the pool, about where the best of n lies. Count subsets.
median: This is the median over the subsets. The mean of their best is asked for.
top-n: You average the n best of the pool. Best-of-n keeps one response of n, it does not keep n responses.
n-th best (top-n): You return the n-th best of the pool. Which score is the best of a subset?
rank above (rank off by one): Your weights belong to the neighbouring rank: the k-th lowest is the best of a
    subset if the other n - 1 come from the k - 1 below it. Do your weights sum to 1?
rank below (rank off by one): Your weights belong to the neighbouring rank: do they sum to 1, and does the
    highest score get n / N?
too many ways / too few ways / other subsets (rank off by one): Your weights do not sum to 1. Of how many
    subsets is the k-th lowest score the best, and how many subsets are there?
whole numbers (scale): The scores were rounded to whole numbers.
one fewer (n off by one): This is the best of n - 1: count again how many others come from below the best of a
    subset.
one more (n off by one): This is the best of n + 1: count again how many others come from below the best of a
    subset.

one of one (F45): Best of one is any response: the mean of the pool.
all drawn (F45): All N are drawn: only the highest score can be kept.
all equal (rank off by one): All scores are equal, so every choice is worth the same. Do your weights sum
    to 1?
enumeration: 22 scores take this long: do you list every subset? Each score more doubles the work, and 2,000
    would never end. Count how many subsets each score is the best of.
overflow: A factorial or binomial coefficient of this pool is larger than any float. Work with logarithms,
    with ratios of neighbouring weights, or with whole numbers that are divided by each other before they
    meet a float.
recursion: The function calls itself once for every score, and Python allows about a thousand calls. Make it a
    loop.
n > N: n is larger than the pool: no subset of that size exists. Raise a ValueError that says so.
n = 0 (n > N): The best of no response does not exist. Raise a ValueError that says so.
empty (n > N): An empty pool has no best. Raise a ValueError that says so.
NaN (F32): There is a NaN among the numbers, and no ValueError came. A NaN compares false with everything, so
    whether it is kept depends on where it stands.

values (): The scores choose the response, and the value of that response is averaged. Where scores tie, the
    tied responses share.
values ignored: You return the best score. With `values`, average the value of what is kept.
values choose (F16): You sort the values by themselves, so they choose. The scores choose.
values unsorted: The weights belong to ranks: bring the values into the order of the scores.
last / first (F31): Tied scores must share: here the place in the list decides, and another order changes the
    number.
luckiest / luckiest for all (F31): Among tied scores the higher value is kept: the scores cannot see it. Tied
    scores share.
poorest / poorest for all (F31): Among tied scores the lower value is kept: the scores cannot see it. Tied
    scores share.
near ties / rounded: Scores that lie near each other were taken for tied. Only equal scores are.
""")
NAME = "best_of_n_mean"
EVERY, TIE, ENDS = "averages over every subset", "lets ties share", "is right at both ends"
LARGE, REFUSES, VALUES = "copes with a large pool", "refuses what has no answer", "averages the values"
SIMULATED = 0.03
"""So near to the right value comes what is simulated; scores have a spread of 3."""
Pool = tuple[list[float], int]


def by_enumeration(scores: Sequence[float], n: int, values: Sequence[float] | None = None) -> float:
    """The definition: the mean over all subsets of what the best of the subset is worth; ties share."""
    values = scores if values is None else values
    kept = []
    for subset in itertools.combinations(range(len(scores)), n):
        top = max(scores[i] for i in subset)
        kept.append(np.mean([values[i] for i in subset if scores[i] == top]))
    return round(float(np.mean(kept)), 6)


# Small pools ----------------------------------------------------------------------------------------------


def some_scores(rng: Rng, size: int = 6) -> list[float]:
    """Scores with a spread of 3, to three digits."""
    return [float(x) for x in np.round(rng.normal(0, 3, size), 3)]


def small_pool(rng: Rng, *, n: int) -> Pool:
    """Six or seven scores, all different; eight for n = 3, where fewer give one value to two ideas."""
    while True:
        scores = some_scores(rng, 8 if n == 3 else int(rng.integers(6, 8)))
        if len(set(scores)) == len(scores):
            return scores, n


def tied_pool(rng: Rng) -> Pool:
    """Six scores on three levels: one, two and three of them."""
    levels = some_scores(rng, 3)
    scores = [*levels, levels[2], levels[0], levels[2]]
    return [scores[k] for k in rng.permutation(6)], int(rng.integers(2, 4))


def subset_slips(scores: Sequence[float], n: int) -> dict[str, float]:
    """What wrong ideas give on a pool."""
    ascending, size, weights = np.sort(scores), len(scores), theory.rank_weights(len(scores), n)
    shifted = np.array([math.comb(k, n - 1) for k in range(1, size)], float) / math.comb(size, n)
    blocks = [max(scores[start : start + n]) for start in range(0, size - n + 1, n)]
    distinct = sorted(set(scores))
    duplicates = {"duplicates lost": by_enumeration(distinct, n)} if n <= len(distinct) < size else {}
    sizes = {"one fewer": n - 1, "one more": n + 1}
    # Of pairs, and with ties, it is one of the scores, as other ideas' values are.
    middle = (
        {"median": [max(s) for s in itertools.combinations(scores, n)]}
        if len(distinct) == size > n > 2
        else {}
    )
    return (
        duplicates
        | {name: float(np.median(best)) for name, best in middle.items()}
        | {
            "with replacement": with_replacement(scores, n),
            "first n": max(scores[:n]),
            "blocks": float(np.mean(blocks)),
            "best of all": ascending[-1],
            "mean": float(np.mean(scores)),
            "lowest": float(ascending @ weights[::-1]),
            "top-n": float(np.mean(ascending[-n:])),
            "top share": float(np.mean(ascending[-max(size // n, 1) :])),
            "quantile": float(np.quantile(ascending, n / (n + 1))),
            "n-th best": ascending[-n],
            "rank above": float(ascending[:-1] @ shifted),
            "rank below": float(ascending[1:] @ weights[:-1]),
            "whole numbers": by_enumeration(np.trunc(scores).tolist(), n),
        }
        | _miscounted(ascending, n)
        | {name: by_enumeration(scores, m) for name, m in sizes.items() if 1 < m < size}
    )


def _miscounted(ascending: np.ndarray, n: int) -> dict[str, float]:
    """What weights give that count too many subsets, or too few, and those over a wrong number of subsets."""
    size = len(ascending)
    over = {
        "too many ways": [math.comb(k, n - 1) / math.comb(size, n) for k in range(1, size + 1)],
        "too few ways": [math.comb(k - 1, n) / math.comb(size, n) for k in range(1, size + 1)],
        "other subsets": [math.comb(k - 1, n - 1) / math.comb(size - 1, n - 1) for k in range(1, size + 1)],
    }
    return {name: float(ascending @ weights) for name, weights in over.items()}


averages_subsets = partial(
    Agrees,
    right=by_enumeration,
    otherwise="subsets",
    slips=subset_slips,
    again="at random",
    turned="in this order",
    near=SIMULATED,
)


# Large pools ----------------------------------------------------------------------------------------------


def copes_with_large_pools(best_of_n_mean: Learner, rng: Rng) -> None:
    """Pools whose binomial coefficients overflow a float."""
    # Sorted, since the highest scores of a shuffled pool may fall into blocks of n as they should on average.
    for scores, n in ((sorted(some_scores(rng, 512), reverse=True), 256), (some_scores(rng, 2000), 600)):
        case = f"{len(scores)} scores, n = {n}"
        try:
            got = best_of_n_mean(scores, n)
        except CheckFailed as failed:
            if not isinstance(failed.__cause__, RecursionError | ArithmeticError | ValueError | TypeError):
                raise
            idea = IDEAS["recursion" if isinstance(failed.__cause__, RecursionError) else "overflow"]
            raise CheckFailed(LARGE, idea.message, idea=idea.id, case=case, got=str(failed)) from failed
        value = numbers(got)
        lost = value is not None and (not np.isfinite(value).all() or same(value, 0.0, 1e-6))
        right, otherwise = theory.best_of_n_estimate(scores, n)[0], IDEAS["overflow" if lost else "subsets"]
        diagnose(LARGE, got, float(right), otherwise=otherwise, tolerance=1e-2, case=case)


# Values ---------------------------------------------------------------------------------------------------


def valued_pool(rng: Rng) -> tuple[list[float], int, list[float]]:
    """Six scores and their values."""
    return some_scores(rng), int(rng.integers(2, 4)), some_scores(rng)


def tied_valued_pool(rng: Rng) -> tuple[np.ndarray, int, np.ndarray]:
    """Six scores on three levels and their values, as arrays."""
    scores, n, values = valued_pool(rng)
    return np.array([scores[k] for k in (0, 1, 2, 2, 0, 2)]), n, np.array(values)


def near_valued_pool(rng: Rng) -> tuple[list[float], int, list[float]]:
    """Six scores that a tolerance or rounding would take for tied, though not float32, and their values."""
    return [1 + 2**-22 * int(k) for k in rng.permutation(6)], int(rng.integers(2, 4)), some_scores(rng)


def tiny_valued_pool(rng: Rng) -> tuple[list[float], int, list[float]]:
    """Six scores below any tolerance, no two equal, and their values."""
    return [2.0**-99 * int(k) for k in rng.permutation(6)], int(rng.integers(2, 4)), some_scores(rng)


def all_tied(scores: Sequence[float], n: int, values: Sequence[float]) -> dict[str, float]:
    """What comes of scores that are all taken for tied."""
    return {"near ties": float(np.mean(values))}


def nearly_tied(scores: Sequence[float], n: int, values: Sequence[float]) -> dict[str, float]:
    """What comes of near scores that are taken for tied."""
    return all_tied(scores, n, values) | {"rounded": by_enumeration(np.round(scores, 6), n, values)}


def value_slips(scores: Sequence[float], n: int, values: Sequence[float]) -> dict[str, float]:
    """What wrong ideas give with values; those of ties where there are some."""
    scores, values = np.asarray(scores), np.asarray(values)
    orders = {
        "last": np.argsort(scores, kind="stable"),
        "first": len(scores) - 1 - np.argsort(scores[::-1], kind="stable"),
        "luckiest": np.lexsort((values, scores)),
        "poorest": np.lexsort((-values, scores)),
    }
    weights, tied = theory.rank_weights(len(scores), n), len(set(scores)) < len(scores)
    ties = [values[scores == score] for score in np.sort(scores)]
    shared = {"luckiest for all": max, "poorest for all": min} if tied else {}
    return {
        "values ignored": by_enumeration(scores, n),
        "values choose": by_enumeration(values, n),
        "values unsorted": float(values @ weights),
        **{name: float([of(tie) for tie in ties] @ weights) for name, of in shared.items()},
        **{name: float(values[order] @ weights) for name, order in orders.items() if tied},
    }


averages_values = partial(Agrees, VALUES, right=by_enumeration, otherwise="values", apart=0.002)


# The exercise ---------------------------------------------------------------------------------------------

EXERCISE = Exercise(
    "3.1",
    "What does the best of n give on average?",
    2,
    12,
    (NAME,),
    (
        Part(
            "every subset counts once",
            1.5,
            graded(
                NAME,
                IDEAS,
                # Of two, the median is the mean and all that is off by one is the pool's mean.
                *(averages_subsets(EVERY, partial(small_pool, n=n), apart=0.01) for n in (3, 2, 3)),
                averages_subsets(TIE, tied_pool, count=2),
                Unchanged(lambda rng: (some_scores(rng), 2)),
                Unchanged(lambda rng: (np.array(some_scores(rng)), 2)),
            ),
        ),
        Part(
            "the ends, large pools, and what is refused",
            1.0,
            graded(
                NAME,
                IDEAS,
                Agrees(ENDS, lambda rng: (some_scores(rng), 1), by_enumeration, "one of one"),
                Agrees(ENDS, lambda rng: (some_scores(rng), 6), by_enumeration, "all drawn"),
                Agrees(ENDS, lambda rng: (some_scores(rng, 1) * 5, 3), by_enumeration, "all equal"),
                Quick(LARGE, lambda rng: (some_scores(rng, 22), 11), "enumeration"),
                copes_with_large_pools,
                Refuses(REFUSES, lambda rng: (some_scores(rng), 7), "n > N"),
                Refuses(REFUSES, lambda rng: (some_scores(rng), 0), "n = 0"),
                Refuses(REFUSES, ([], 1), "empty"),
                Refuses(
                    REFUSES, lambda rng: ([*some_scores(rng, 3), math.nan, *some_scores(rng, 3)], 2), "NaN"
                ),
            ),
        ),
        Part(
            "values of what is kept",
            0.5,
            graded(
                NAME,
                IDEAS,
                averages_values(valued_pool, slips=value_slips),
                averages_values(tied_valued_pool, slips=value_slips),
                averages_values(near_valued_pool, slips=nearly_tied),
                averages_values(tiny_valued_pool, slips=all_tied),
                Refuses(REFUSES, ([0.5, 2.0, 1.0], 2, [3.0, math.nan, 4.0]), "NaN"),
                Unchanged(tied_valued_pool),
            ),
        ),
    ),
)
