# %% given
import math
from collections import Counter

import numpy as np


def checked(correct, k):
    rows = np.asarray(correct, dtype=int)
    if not 1 <= k <= rows.shape[1]:
        raise ValueError("k must be 1 .. N")
    return rows


def pass_at_k(correct, k):
    rows = checked(correct, k)
    n = rows.shape[1]
    return np.array([1 - math.comb(n - int(c), k) / math.comb(n, k) for c in rows.sum(1)])


def tops(row):
    votes = Counter(answer for answer in row if answer is not None)
    return [answer for answer, count in votes.items() if count == max(votes.values())]


def majority_right(answers, references):
    found = []
    for row, reference in zip(answers, references):
        top = tops(row)
        found.append((reference in top) / len(top) if top else 0.0)
    return np.array(found)


def interval(values):
    values = np.asarray(values, float)
    if len(values) < 2:
        raise ValueError("one value has no spread")
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


# %% correct: binomials


# %% correct: products, lists and a mapping
def pass_at_k(correct, k):
    rows = [[bool(x) for x in row] for row in correct]
    if k < 1 or k > len(rows[0]):
        raise ValueError("no such k")
    found = []
    for row in rows:
        miss, wrong = 1.0, len(row) - sum(row)
        for drawn in range(k):
            miss *= max(0, wrong - drawn) / (len(row) - drawn)
        found.append(1 - miss)
    return found


def interval(values):
    import statistics

    if len(values) == 1:
        raise ValueError("one value")
    values = [float(v) for v in values]
    mean, error = statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5
    return {"mean": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}


# %% correct: logarithms of factorials
def pass_at_k(correct, k):
    rows = checked(correct, k)
    n, wrong = rows.shape[1], (1 - rows).sum(1)

    def logs(a):
        return math.lgamma(a + 1) - math.lgamma(k + 1) - math.lgamma(a - k + 1)

    return [1.0 if w < k else 1 - math.exp(logs(w) - logs(n)) for w in wrong.tolist()]


# %% correct: torch, in single precision
def pass_at_k(correct, k):
    import torch

    rows = torch.as_tensor(checked(correct, k), dtype=torch.float32)
    n, wrong = rows.shape[1], (1 - rows).sum(1)
    steps = torch.arange(k, dtype=torch.float32)
    return 1 - ((wrong[:, None] - steps).clamp(min=0) / (n - steps)).prod(1)


def majority_right(answers, references):
    import torch

    found = torch.zeros(len(answers))
    for i, (row, reference) in enumerate(zip(answers, references)):
        known = [a for a in row if a is not None]
        best = max((known.count(a) for a in known), default=0)
        winners = {a for a in known if known.count(a) == best}
        found[i] = 1 / len(winners) if reference in winners else 0.0
    return found


# %% wrong: with replacement | idea: F45 | fails at: counts subsets | points: 1.5
def pass_at_k(correct, k):
    return 1 - (1 - checked(correct, k).mean(1)) ** k


# %% wrong: the first k | idea: F45 | fails at: counts subsets | points: 1.5
def pass_at_k(correct, k):
    return checked(correct, k)[:, :k].max(1)


# %% wrong: blocks of k | idea: F45 | fails at: counts subsets | points: 1.5
def pass_at_k(correct, k):
    rows = checked(correct, k)
    starts = range(0, rows.shape[1] - k + 1, k)
    return np.mean([rows[:, s : s + k].max(1) for s in starts], axis=0)


# %% wrong: all k right | idea: all k right | fails at: counts subsets | points: 1.5
def pass_at_k(correct, k):
    rows = checked(correct, k)
    n = rows.shape[1]
    return [math.comb(int(c), k) / math.comb(n, k) for c in rows.sum(1)]


# %% wrong: the mean over problems | idea: one number | fails at: counts subsets | points: 1.5
def pass_at_k(correct, k):
    rows = checked(correct, k)
    n = rows.shape[1]
    return float(np.mean([1 - math.comb(n - int(c), k) / math.comb(n, k) for c in rows.sum(1)]))


# %% wrong: pass@1 for every k | idea: share | fails at: counts subsets | points: 1.5
def pass_at_k(correct, k):
    return checked(correct, k).mean(1)


# %% wrong: pass@N for every k | idea: any | fails at: counts subsets | points: 1.5
def pass_at_k(correct, k):
    return checked(correct, k).max(1)


# %% wrong: k > N is pass@N | idea: k > N | fails at: refuses what has no answer | points: 1.5
def pass_at_k(correct, k):
    rows = np.asarray(correct, dtype=int)
    k = min(k, rows.shape[1])
    n = rows.shape[1]
    return [1 - math.comb(n - int(c), k) / math.comb(n, k) for c in rows.sum(1)]


# %% wrong: every subset is listed | idea: enumeration | fails at: copes with many responses | points: 1.5
def pass_at_k(correct, k):
    import itertools

    rows = checked(correct, k)
    found = []
    for row in rows:
        hits = total = 0
        for subset in itertools.islice(itertools.combinations(row.tolist(), k), 3_000_000):
            hits, total = hits + any(subset), total + 1
        found.append(hits / total)
    return found


# %% wrong: None can win | idea: none counts | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    return [float(Counter(row).most_common(1)[0][0] == r) for row, r in zip(answers, references)]


# %% wrong: the first of tied answers | idea: first tie | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    return [float(bool(tops(row)) and tops(row)[0] == r) for row, r in zip(answers, references)]


# %% wrong: a tie is won | idea: lucky tie | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    return [float(r in tops(row)) for row, r in zip(answers, references)]


# %% wrong: a tie is lost | idea: lost tie | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    return [float(tops(row) == [r]) for row, r in zip(answers, references)]


# %% wrong: more than half of all | idea: more than half | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    return [float(2 * row.count(r) > len(row)) for row, r in zip(answers, references)]


# %% wrong: any right answer | idea: any right | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    return [float(r in row) for row, r in zip(answers, references)]


# %% wrong: the share of right answers | idea: share right | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    return [row.count(r) / len(row) for row, r in zip(answers, references)]


# %% wrong: one standard error | idea: one error | fails at: carries its interval | points: 2
def interval(values):
    values = np.asarray(values, float)
    half = values.std(ddof=1) / math.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


# %% wrong: the standard deviation | idea: deviation | fails at: carries its interval | points: 2
def interval(values):
    values = np.asarray(values, float)
    half = 1.96 * values.std(ddof=1)
    return values.mean(), values.mean() - half, values.mean() + half


# %% wrong: of a share | idea: of responses | fails at: carries its interval | points: 2
def interval(values):
    p = float(np.mean(values))
    half = 1.96 * math.sqrt(p * (1 - p) / len(values))
    return p, p - half, p + half


# %% wrong: divided by M | idea: population | fails at: carries its interval | points: 2
def interval(values):
    values = np.asarray(values, float)
    half = 1.96 * values.std() / math.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


# %% wrong: one value has no width | idea: alone | fails at: refuses what has no answer | points: 2
def interval(values):
    values = np.asarray(values, float)
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return values.mean(), values.mean() - half, values.mean() + half


# %% wrong: none of the k | idea: all k right | fails at: counts subsets | points: 1.5
right = pass_at_k


def pass_at_k(correct, k):
    return 1 - right(correct, k)


# %% wrong: the median | idea: median | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    known = [[answer for answer in row if answer is not None] for row in answers]
    return [float(bool(row) and np.median(row) == right) for row, right in zip(known, references)]


# %% wrong: over M, not over its root | idea: deviation | fails at: carries its interval | points: 2
def interval(values):
    values = np.asarray(values, float)
    half = 1.96 * values.std(ddof=1) / len(values)
    return values.mean(), values.mean() - half, values.mean() + half


# %% wrong: the low end first | idea: order | fails at: carries its interval | points: 2
right = interval


def interval(values):
    mean, low, high = right(values)
    return low, mean, high


# %% wrong: where the values lie | idea: deviation | fails at: carries its interval | points: 2
def interval(values):
    return np.mean(values), np.quantile(values, 0.025), np.quantile(values, 0.975)


# %% wrong: ends between 0 and 1 | idea: cut | fails at: carries its interval | points: 2
right = interval


def interval(values):
    mean, low, high = right(values)
    return mean, max(low, 0.0), min(high, 1.0)


# %% correct: pandas
import pandas as pd


def pass_at_k(correct, k):
    return pd.DataFrame(checked(correct, k)).apply(lambda row: none_missed(row.sum(), len(row), k), axis=1)


def none_missed(right, n, k):
    return 1 - math.prod((n - right - step) / (n - step) for step in range(k))


def majority_right(answers, references):
    def one(row, reference):
        votes = pd.Series([a for a in row if a is not None], dtype=object).value_counts()
        best = [a for a, count in votes.items() if count == votes.max()]
        return best.count(reference) / len(best) if best else 0.0

    return pd.Series([one(*pair) for pair in zip(answers, references)])


# %% wrong: a winner by its share | idea: share right | fails at: lets the majority decide | points: 1.5
def majority_right(answers, references):
    pairs = zip(answers, references)
    return [row.count(right) / len(row) if right in tops(row) else 0.0 for row, right in pairs]


# %% correct: fractions
def pass_at_k(correct, k):
    from fractions import Fraction

    rows = checked(correct, k)
    n = rows.shape[1]
    return [1 - Fraction(math.comb(n - int(c), k), math.comb(n, k)) for c in rows.sum(1)]
