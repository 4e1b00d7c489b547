"""Exercise 9.2: pass@k, the majority's answer and their intervals, from N responses to each problem."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from autograder.checks import Agrees, Corner, Ideas, Quick, Refuses, Rng, Unchanged, as_list, graded
from autograder.exercise import Exercise, Part

IDEAS = Ideas("""
pass (): This is not the share of subsets of k of the N responses that hold at least one right one.
plug-in (F45): 1 - (1 - c/N)^k draws with replacement: the same response can stand in the subset twice,
    and the estimate comes out too low. k different responses are drawn.
all k right: This is the chance that all k are right. One right one is enough.
first k (F45): You look at the first k responses alone. The other N - k were paid for and tell nothing.
blocks (F45): You cut the N responses into blocks of k. Most subsets are never looked at.
share: This is the share of right responses, whatever k is.
none of k (all k right): This is the chance that none of the k is right.
axis: These are numbers of the columns. A problem is a row.
any: This is whether any of the N is right: pass@N. Only k of them are drawn.
one number: A number for each problem is asked for, not their mean.
k > N: There is no subset of more responses than were drawn. Raise a ValueError that says so.
k = 0 (k > N): Nothing is drawn with k = 0. Raise a ValueError that says so.
enumeration: 22 responses take this long: do you list every subset? Count them instead.

majority (): This is not whether the most frequent answer of each problem is the right one.
none counts: None is no answer. However often it comes, it cannot win the vote.
first tie: Where several answers are equally frequent, the place in the list decides. Let them share: one
    right among two gives 0.5.
lucky tie: Where several answers are equally frequent, the right one always wins. Let them share.
lost tie: Where several answers are equally frequent, the right one always loses. Let them share.
more than half: The most frequent answer need not have more than half of the votes.
any right: This is whether any answer is right. The most frequent one counts.
share right: This is the share of right answers. The most frequent one alone counts.
share of all (share right): The winner counts with its share of the responses. It counts 1, or shares with
    the answers that are tied with it.
median: This asks whether the median is right. The most frequent answer counts.
nobody: Where nobody answers, nothing wins the vote: that is 0.

interval (): This is not the mean and 1.96 standard errors to both sides.
of responses: The standard error is that of the problems' values: their standard deviation (with M - 1)
    over the root of M.
population: The standard deviation divides by M. With M - 1 it is that of a sample.
one error: The ends lie one standard error away; 95 % needs 1.96 of them.
deviation: You take the standard deviation for the standard error: divide it by the root of M.
over M (deviation): The standard deviation is divided by M, not by its root.
ninety (one error): The ends lie 1.64 standard errors away, which is for 90 %.
order: The order is mean, low, high.
of the values (deviation): These are ends that hold 95 % of the values. The interval of the mean is narrower.
cut: The ends are cut at 0 and 1. Values may be differences of shares, and those lie below 0 as well.
alone: One value says nothing about the spread. Raise a ValueError that says so.
""")
PASS, MAJORITY, INTERVAL = (
    "counts subsets",
    "lets the majority decide",
    "carries its interval",
)
REFUSES, LARGE = "refuses what has no answer", "copes with many responses"


def pass_at_k(correct: Any, k: int) -> list[float]:
    """Of each problem the share of subsets of k with at least one right response."""
    rows = np.asarray(correct, dtype=int)
    size = rows.shape[1]
    return [1 - math.comb(size - int(c), k) / math.comb(size, k) for c in rows.sum(1)]


def right_or_wrong(rng: Rng) -> tuple[np.ndarray, int]:
    """Four problems with 7 responses each: some right in all and in none beside others; k of 2 or 3."""
    counts = rng.permutation([0, 2, 3, 5])
    rows = np.array([rng.permutation([1] * c + [0] * (7 - c)) for c in counts])
    return rows, int(rng.integers(2, 4))


def _pass_slips(correct: np.ndarray, k: int) -> dict[str, Any]:
    size, share = correct.shape[1], correct.mean(1)
    blocks = [correct[:, start : start + k].max(1) for start in range(0, size - k + 1, k)]
    return {
        "plug-in": 1 - (1 - share) ** k,
        "all k right": [math.comb(int(c), k) / math.comb(size, k) for c in correct.sum(1)],
        "first k": correct[:, :k].max(1),
        "blocks": np.mean(blocks, axis=0),
        "share": share,
        "any": correct.max(1),
        "none of k": 1 - np.array(pass_at_k(correct, k)),
        "axis": pass_at_k(correct.T, k),
        "one number": float(np.mean(pass_at_k(correct, k))),
    }


def _top(row: list[Any]) -> list[Any]:
    """The most frequent answers of a problem; None is none."""
    votes = Counter(answer for answer in row if answer is not None)
    return [answer for answer, count in votes.items() if count == max(votes.values())]


def majority_right(answers: Any, references: Any) -> list[float]:
    """Of each problem 1 where the most frequent answer is right; tied answers share; None is none."""
    values = []
    for row, reference in zip(answers, references, strict=True):
        top = _top(row)
        values.append((reference in top) / len(top) if top else 0.0)
    return values


def _row(rng: Rng, votes: Mapping[Any, int]) -> list[Any]:
    row = [answer for answer, count in votes.items() for _ in range(count)]
    return [row[place] for place in rng.permutation(len(row))]


def votes(rng: Rng) -> tuple[list[list[Any]], list[int]]:
    """Six problems with seven answers each: a clear majority, a narrow one, a minority, and no tie."""
    a, b, c = (int(x) for x in rng.permutation(np.arange(10, 60))[:3])
    kinds = [{a: 5, b: 2}, {a: 3, b: 2, c: 2}, {a: 2, b: 3, c: 2}, {b: 7}, {a: 2, None: 4, b: 1}]
    kinds += [{b: 4, a: 3}]
    order = rng.permutation(len(kinds))
    return [_row(rng, kinds[k]) for k in order], [a] * len(kinds)


def tied_votes(rng: Rng) -> tuple[list[list[Any]], list[int]]:
    """Problems on which two or three answers are equally frequent, the right one first and last."""
    a, b, c = (int(x) for x in rng.permutation(np.arange(10, 60))[:3])
    return [[a, b, a, b], [b, a, b, a], [a, b, c], [c, b, a], [b, c, b, c], [None, None, a, b]], [a] * 6


def _vote_slips(answers: list[list[Any]], references: list[int]) -> dict[str, Any]:
    def each(of: Any) -> list[float]:
        return [float(of(row, reference)) for row, reference in zip(answers, references, strict=True)]

    return {
        "none counts": each(lambda row, right: Counter(row).most_common(1)[0][0] == right),
        "first tie": each(lambda row, right: _top(row)[0] == right),
        "lucky tie": each(lambda row, right: right in _top(row)),
        "lost tie": each(lambda row, right: _top(row) == [right]),
        "more than half": each(lambda row, right: 2 * row.count(right) > len(row)),
        "any right": each(lambda row, right: right in row),
        "median": each(lambda row, right: _median(row) == right),
        "share of all": each(lambda row, right: (right in _top(row)) * row.count(right) / len(row)),
        "share right": each(lambda row, right: row.count(right) / len(row)),
    }


def _median(row: list[Any]) -> float:
    known = [answer for answer in row if answer is not None]
    return float(np.median(known)) if known else np.nan


def interval(values: Any) -> list[float]:
    """Mean, low and high: 1.96 standard errors of the mean to both sides."""
    values = np.asarray(values, float)
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    return [values.mean(), values.mean() - half, values.mean() + half]


def shares(rng: Rng) -> tuple[np.ndarray]:
    """Values of 8 to 11 problems."""
    return (np.round(rng.random(int(rng.integers(8, 12))), 3),)


def differences(rng: Rng) -> tuple[np.ndarray]:
    """Values of 8 to 11 problems on both sides of 0, such as differences of two policies' shares."""
    return (np.round(rng.uniform(-0.6, 0.7, int(rng.integers(8, 12))), 3),)


def _interval_slips(values: np.ndarray) -> dict[str, Any]:
    mean, size, deviation = values.mean(), len(values), values.std(ddof=1)
    halves = {
        "of responses": 1.96 * math.sqrt(max(mean * (1 - mean), 0.0) / size),
        "population": 1.96 * values.std() / math.sqrt(size),
        "one error": deviation / math.sqrt(size),
        "deviation": 1.96 * deviation,
        "over M": 1.96 * deviation / size,
        "ninety": 1.645 * deviation / math.sqrt(size),
    }
    right, ends = interval(values), np.quantile(values, (0.025, 0.975)).tolist()
    others = {"order": [right[1], mean, right[2]], "of the values": [mean, *ends]}
    if right[1] < 0:
        others["cut"] = [mean, 0.0, min(right[2], 1.0)]
    return {name: [mean, mean - half, mean + half] for name, half in halves.items()} | others


def three(result: Any, *_: Any) -> Any:
    """Mean, low and high from a tuple, a list, an array or a mapping with these names."""
    if isinstance(result, Mapping) and {"mean", "low", "high"} <= result.keys():
        result = [result["mean"], result["low"], result["high"]]
    return as_list(result)


counts = partial(Agrees, PASS, right=pass_at_k, otherwise="pass", slips=_pass_slips, of=as_list)
decides = partial(Agrees, MAJORITY, right=majority_right, otherwise="majority", slips=_vote_slips, of=as_list)


def _as_lists(rng: Rng) -> tuple[list[list[bool]], int]:
    rows, k = right_or_wrong(rng)
    return [[bool(x) for x in row] for row in rows], k


def _of_lists(rows: list[list[bool]], k: int) -> dict[str, Any]:
    return _pass_slips(np.array(rows, int), k)


EXERCISE = Exercise(
    "9.2",
    "pass@k, the majority, and how sure they are",
    2,
    15,
    ("pass_at_k", "majority_right", "interval"),
    (
        Part(
            "pass@k",
            1.0,
            graded(
                "pass_at_k",
                IDEAS,
                counts(draw=right_or_wrong, count=3, apart=0.01),
                counts(draw=_as_lists, slips=_of_lists),
                Corner(PASS, (np.array([[1, 0, 1], [0, 0, 0]]), 1), [2 / 3, 0.0], "pass", of=as_list),
                Corner(PASS, (np.array([[1, 0, 1], [0, 0, 0]]), 3), [1.0, 0.0], "pass", of=as_list),
                Quick(LARGE, lambda rng: (rng.integers(0, 2, (12, 22)), 11), "enumeration"),
                Refuses(REFUSES, lambda rng: (right_or_wrong(rng)[0], 8), "k > N"),
                Refuses(REFUSES, lambda rng: (right_or_wrong(rng)[0], 0), "k = 0"),
                Unchanged(right_or_wrong),
            ),
        ),
        Part(
            "the majority",
            1.0,
            graded(
                "majority_right",
                IDEAS,
                decides(draw=votes, count=3),
                decides(draw=tied_votes),
                Corner(MAJORITY, ([[None, None]], [7]), [0.0], "nobody", of=as_list),
                Unchanged(votes),
            ),
        ),
        Part(
            "the interval",
            0.5,
            graded(
                "interval",
                IDEAS,
                Agrees(INTERVAL, shares, interval, "interval", _interval_slips, 3, apart=0.002, of=three),
                Agrees(
                    INTERVAL, differences, interval, "interval", _interval_slips, 3, apart=0.002, of=three
                ),
                Corner(INTERVAL, ([0.5, 0.5, 0.5],), [0.5, 0.5, 0.5], "interval", of=three),
                Refuses(REFUSES, ([0.5],), "alone"),
                Unchanged(shares),
            ),
        ),
    ),
)
