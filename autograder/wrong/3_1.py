# %% given
import itertools
import math

import numpy as np


def checked(scores, n, values=None):
    scores = np.asarray(scores, float)
    values = scores if values is None else np.asarray(values, float)
    if not 1 <= n <= len(scores) or np.isnan(scores).any() or np.isnan(values).any():
        raise ValueError("n must be 1 .. N and the scores numbers")
    return scores, values


def shared(scores, values):
    return np.array([values[scores == s].mean() for s in scores])


def weighted(scores, n, values, weights):
    values = shared(scores, values)
    return float(values[np.argsort(scores)] @ weights)


def weights_of(size, n):
    return np.array([math.comb(k - 1, n - 1) / math.comb(size, n) for k in range(1, size + 1)])


# %% correct: whole numbers
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return weighted(scores, n, values, weights_of(len(scores), n))


# %% correct: logarithms of factorials
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    size = len(scores)
    total = 0.0
    for k, i in enumerate(np.argsort(scores), start=1):
        if k >= n:
            log_weight = math.lgamma(k) - math.lgamma(n) - math.lgamma(k - n + 1)
            log_weight -= math.lgamma(size + 1) - math.lgamma(n + 1) - math.lgamma(size - n + 1)
            total += math.exp(log_weight) * values[scores == scores[i]].mean()
    return total


# %% correct: from the top down, by ratios
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    size, total, chance_of_rest = len(scores), 0.0, 1.0
    ranked = shared(scores, values)[np.argsort(-scores)]
    for k in range(size - n + 1):
        left = size - k
        total += chance_of_rest * n / left * ranked[k]
        chance_of_rest *= 1 - n / left
    return [total][0]


# %% correct: levels of equal scores, chance of reaching each
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    size, total, before = len(scores), 0.0, 0
    for level in np.unique(scores):
        upto = int((scores <= level).sum())
        chance = (math.comb(upto, n) - math.comb(before, n)) / math.comb(size, n)
        total, before = total + chance * values[scores == level].mean(), upto
    return total


# %% wrong: with replacement | idea: F45 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    ranks = np.arange(len(scores) + 1) / len(scores)
    return weighted(scores, n, values, np.diff(ranks**n))


# %% wrong: the first n | idea: F45 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(values[:n][scores[:n].argmax()])


# %% wrong: blocks of n | idea: F45 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    starts = range(0, len(scores) - n + 1, n)
    return float(np.mean([values[at : at + n][scores[at : at + n].argmax()] for at in starts]))


# %% wrong: random subsets | idea: F45 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    rng = np.random.default_rng()
    picks = [rng.choice(len(scores), n, replace=False) for _ in range(2000)]
    return float(np.mean([values[p][scores[p].argmax()] for p in picks]))


# %% wrong: the best of the whole pool | idea: F45 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(values[scores.argmax()])


# %% wrong: the mean of the pool | idea: F02 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(values.mean())


# %% wrong: the lowest of each subset | idea: F03 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return weighted(-scores, n, values, weights_of(len(scores), n))


# %% wrong: the mean of the n best | idea: top-n | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(values[np.argsort(scores)[-n:]].mean())


# %% wrong: ranks from zero | idea: rank off by one | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    weights = np.append(0.0, weights_of(len(scores), n)[:-1])
    return float(values[np.argsort(scores)] @ weights)


# %% wrong: factorials as floats | idea: overflow | fails at: stays finite in a large pool | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    with np.errstate(all="ignore"):
        factorial = np.cumprod(np.concatenate([[1.0], np.arange(1.0, len(scores) + 1)]))

    def comb(a, b):
        return factorial[a] / factorial[b] / factorial[a - b] if a >= b else 0.0

    with np.errstate(all="ignore"):
        size = len(scores)
        weights = np.array([comb(k - 1, n - 1) / comb(size, n) for k in range(1, size + 1)])
        return weighted(scores, n, values, weights)


# %% wrong: overflow is raised | idea: overflow | fails at: stays finite in a large pool | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    size = len(scores)
    factor = [float(math.comb(k - 1, n - 1)) for k in range(1, size + 1)]
    return weighted(scores, n, values, np.array(factor) / float(math.comb(size, n)))


# %% wrong: every subset, one by one | idea: overflow | fails at: stays finite in a large pool | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    if math.comb(len(scores), n) > 10**6:
        raise MemoryError("too many subsets")
    values = shared(scores, values)
    subsets = itertools.combinations(range(len(scores)), n)
    return float(np.mean([values[max(s, key=lambda i: scores[i])] for s in subsets]))


# %% wrong: n > N gives the maximum | idea: n > N | fails at: refuses what has no answer | points: 2
def best_of_n_mean(scores, n, values=None):
    return best_of_n(*checked(scores, min(n, len(scores)), values), min(n, len(scores)))


def best_of_n(scores, values, n):
    return weighted(scores, n, values, weights_of(len(scores), n))


# %% wrong: NaN kept | idea: F32 | fails at: refuses what has no answer | points: 2
def best_of_n_mean(scores, n, values=None):
    scores = np.nan_to_num(np.asarray(scores, float), nan=-1e9)
    scores, values = checked(scores, n, values)
    return weighted(scores, n, values, weights_of(len(scores), n))


# %% wrong: values ignored | idea: values ignored | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n)
    return weighted(scores, n, values, weights_of(len(scores), n))


# %% wrong: values choose | idea: F16 | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(np.sort(values) @ weights_of(len(scores), n))


# %% wrong: values in table order | idea: values unsorted | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    plain = values is None
    scores, values = checked(scores, n, values)
    return float((np.sort(scores) if plain else values) @ weights_of(len(scores), n))


# %% wrong: ties by place | idea: F31 | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(values[np.argsort(scores, kind="stable")] @ weights_of(len(scores), n))
