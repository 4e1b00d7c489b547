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


# %% correct: chance of being the best, from the top down, in plain Python
def best_of_n_mean(scores, n, values=None):
    pairs = list(zip(map(float, scores), map(float, scores if values is None else values), strict=True))
    if n < 1 or n > len(pairs) or any(s != s or v != v for s, v in pairs):
        raise ValueError("no such n, or NaN")
    worth = {s: [v for t, v in pairs if t == s] for s, _ in pairs}
    total, none_yet = 0.0, 1.0
    for k, (s, _) in enumerate(sorted(pairs, reverse=True)):
        total += none_yet * n / (len(pairs) - k) * sum(worth[s]) / len(worth[s])
        none_yet *= max(0.0, 1 - n / (len(pairs) - k))
    return total


# %% correct: torch, in single precision
def best_of_n_mean(scores, n, values=None):
    import torch

    scores, values = (torch.tensor(x, dtype=torch.float32) for x in checked(scores, n, values))
    weights = torch.tensor(weights_of(len(scores), n), dtype=torch.float32)
    means = torch.stack([values[scores == s].mean() for s in scores])
    return (means[scores.argsort()] * weights).sum()


# %% correct: a table of the chance to be the best, row by row
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    order = np.argsort(scores)
    weight = np.full(len(scores), 1 / len(scores)) if n == 1 else None
    if weight is None:  # the k-th weight over the (k-1)-th is (k-1) / (k-n)
        k = np.arange(1, len(scores) + 1)
        steps = np.where(k > n, np.log(np.maximum(k - 1, 1) / np.maximum(k - n, 1)), 0.0)
        logs = np.where(k >= n, np.cumsum(steps), -np.inf)
        weight = np.exp(logs - logs.max())
        weight /= weight.sum()
    return shared(scores, values)[order] @ weight


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


# %% wrong: every window of n neighbours | idea: F45 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    starts = range(len(scores) - n + 1)
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


# %% wrong: factorials as floats | idea: overflow | fails at: copes with a large pool | points: 2
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


# %% wrong: overflow is raised | idea: overflow | fails at: copes with a large pool | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    size = len(scores)
    factor = [float(math.comb(k - 1, n - 1)) for k in range(1, size + 1)]
    return weighted(scores, n, values, np.array(factor) / float(math.comb(size, n)))


# %% wrong: every subset, one by one | idea: enumeration | fails at: copes with a large pool | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
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


# %% wrong: among ties the highest value | idea: F31 | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    pairs = sorted(zip(*checked(scores, n, values), strict=True))
    return float(sum(w * v for w, (_, v) in zip(weights_of(len(pairs), n), pairs, strict=True)))


# %% wrong: `or` on an array | fails at: runs | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values or scores)
    return weighted(scores, n, values, weights_of(len(scores), n))


# %% wrong: one call a score | idea: recursion | fails at: copes with a large pool | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    ranked = shared(scores, values)[np.argsort(-scores)].tolist()

    def best_from(k):
        if len(ranked) - k <= n:
            return ranked[k]
        chance = n / (len(ranked) - k)
        return chance * ranked[k] + (1 - chance) * best_from(k + 1)

    return best_from(0)


# %% wrong: the worst of the n best | idea: top-n | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(values[np.argsort(scores)[-n]])


# %% correct: whole numbers, as many comparisons as pairs
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    upto, below = (scores[None] <= scores[:, None]).sum(1), (scores[None] < scores[:, None]).sum(1)
    subsets = math.comb(len(scores), n)
    terms = zip(values, upto.tolist(), below.tolist(), strict=True)
    return sum(v * ((math.comb(u, n) - math.comb(b, n)) / subsets) / (u - b) for v, u, b in terms)


# %% correct: the ends first, then chances by fractions
def best_of_n_mean(scores, n, values=None):
    from fractions import Fraction

    scores, values = checked(scores, n, values)
    if n == 1:
        return np.float64(values.mean())
    if n == len(scores):
        return np.array(values[scores == scores.max()].mean())
    weights = [float(Fraction(math.comb(k, n - 1), math.comb(len(scores), n))) for k in range(len(scores))]
    return np.dot(shared(scores, values)[np.argsort(scores)], np.clip(weights, 0.0, 1.0))


# %% wrong: sorts in place | idea: input changed | fails at: leaves its input as it was | points: 1
def best_of_n_mean(scores, n, values=None):
    checked(scores, n, values)
    if values is None:
        scores.sort()
        return float(np.dot(scores, weights_of(len(scores), n)))
    values[:] = np.asarray(values)[np.argsort(scores)]
    scores.sort()
    return weighted(np.asarray(scores, float), n, np.asarray(values, float), weights_of(len(scores), n))


# %% wrong: the best of n - 1 | idea: n off by one | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return weighted(scores, n, values, weights_of(len(scores), max(1, n - 1)))


# %% wrong: a set of scores | idea: duplicates lost | fails at: lets ties share
def best_of_n_mean(scores, n, values=None):
    scores, _ = checked(sorted(set(scores)), n)
    return weighted(scores, n, scores, weights_of(len(scores), n))


# %% wrong: random subsets of a fixed seed | idea: near | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(np.arange(len(scores)), (20_000, 1)), axis=1)[:, :n]
    return float(values[drawn[np.arange(len(drawn)), scores[drawn].argmax(axis=1)]].mean())


# %% wrong: among ties the lowest value | idea: F31 | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(values[np.lexsort((-values, scores))] @ weights_of(len(scores), n))


# %% correct: whole numbers divided by each other, in plain Python
def best_of_n_mean(scores, n, values=None):
    scores = [float(s) for s in scores]
    values = scores if values is None else [float(v) for v in values]
    if not 1 <= n <= len(scores) or any(x != x for x in (*scores, *values)):
        raise ValueError("n must be 1 .. N, and no NaN")
    shares = {}
    for score, value in zip(scores, values):
        shares.setdefault(score, []).append(value)
    total = 0.0
    for k, score in enumerate(sorted(scores)):
        total += math.comb(k, n - 1) / math.comb(len(scores), n) * (sum(shares[score]) / len(shares[score]))
    return total


# %% correct: every number in float32
def best_of_n_mean(scores, n, values=None):
    scores, values = (x.astype(np.float32) for x in checked(scores, n, values))
    weights = weights_of(len(scores), n).astype(np.float32)
    return np.float32(shared(scores, values).astype(np.float32)[np.argsort(scores)] @ weights)


# %% wrong: whole numbers times floats | idea: overflow | fails at: copes with a large pool | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    ranked = shared(scores, values)[np.argsort(scores)].tolist()
    return sum(v * math.comb(k, n - 1) for k, v in enumerate(ranked)) / math.comb(len(scores), n)


# %% wrong: the best of n + 1 | idea: n off by one | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return weighted(scores, n, values, weights_of(len(scores), min(len(scores), n + 1)))


# %% wrong: sorted downwards | idea: F03 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(shared(scores, values)[np.argsort(-scores)] @ weights_of(len(scores), n))


# %% wrong: the median of the subsets | idea: median | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    if len(scores) > 20:
        return weighted(scores, n, values, weights_of(len(scores), n))
    return float(np.median([max(s) for s in itertools.combinations(scores, n)]))


# %% wrong: n of zero is the mean | idea: n > N | fails at: refuses what has no answer | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, max(n, 1), values)
    return weighted(scores, max(n, 1), values, weights_of(len(scores), max(n, 1)))


# %% wrong: an empty pool is worth nothing | idea: n > N | fails at: refuses what has no answer | points: 2
def best_of_n_mean(scores, n, values=None):
    if len(scores) == 0:
        return 0.0
    scores, values = checked(scores, n, values)
    return weighted(scores, n, values, weights_of(len(scores), n))


# %% wrong: a numpy integer overflows | idea: overflow | fails at: copes with a large pool | points: 2
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    size = len(scores)
    with np.errstate(all="ignore"):
        factorial = np.cumprod(np.arange(1, size + 1, dtype=np.int64))
        whole = np.concatenate([[1], factorial])

        def comb(a, b):
            return int(whole[a]) // max(1, int(whole[b] * whole[a - b])) if a >= b else 0

        weights = np.array([comb(k - 1, n - 1) / (comb(size, n) or 1) for k in range(1, size + 1)])
    return weighted(scores, n, values, weights)


# %% wrong: values rounded | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, None if values is None else np.round(values))
    return weighted(scores, n, values, weights_of(len(scores), n))


# %% correct: exact fractions, from the best downwards
def best_of_n_mean(scores, n, values=None):
    from fractions import Fraction

    scores, values = checked(scores, n, values)
    table, size, total, first = sorted(zip(scores, values, strict=True), reverse=True), len(scores), 0, 0
    while first < size:
        after = first
        while after < size and table[after][0] == table[first][0]:
            after += 1
        ways = math.comb(size - first, n) - math.comb(size - after, n)
        share = Fraction(ways, math.comb(size, n)) / (after - first)
        total += share * sum(Fraction(float(value)) for _, value in table[first:after])
        first = after
    return float(total)


# %% wrong: near scores share | idea: near ties | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    shares = np.array([values[np.isclose(scores, s)].mean() for s in scores])
    return float(shares[np.argsort(scores)] @ weights_of(len(scores), n))


# %% wrong: NaN among the values | idea: F32 | fails at: refuses what has no answer | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, _ = checked(scores, n)
    values = scores if values is None else np.asarray(values, float)
    return weighted(scores, n, values, weights_of(len(scores), n))


# %% wrong: each counts itself | idea: rank off by one | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    ways = [math.comb(k, n - 1) / math.comb(len(scores), n) for k in range(1, len(scores) + 1)]
    return weighted(scores, n, values, np.array(ways))


# %% wrong: n of those below | idea: rank off by one | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    ways = [math.comb(k - 1, n) / math.comb(len(scores), n) for k in range(1, len(scores) + 1)]
    return weighted(scores, n, values, np.array(ways))


# %% wrong: subsets of the others | idea: rank off by one | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    size = len(scores)
    ways = [math.comb(k - 1, n - 1) / math.comb(size - 1, n - 1) for k in range(1, size + 1)]
    return weighted(scores, n, values, np.array(ways))


# %% wrong: whole numbers only | idea: scale | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values if values is None else np.asarray(values))
    scores = scores.astype(int)
    return weighted(scores, n, scores if values is None else values.astype(int), weights_of(len(scores), n))


# %% wrong: six digits decide what ties | idea: near ties | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    near = np.round(scores, 6)
    return weighted(near, n, values, weights_of(len(scores), n))


# %% wrong: the mean of the highest N / n | idea: top share | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(shared(scores, values)[np.argsort(scores)][-max(1, len(scores) // n) :].mean())


# %% wrong: the quantile n / (n + 1) | idea: quantile | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return float(np.quantile(shared(scores, values)[np.argsort(scores)], n / (n + 1)))


# %% wrong: ten subsets of a fixed seed | idea: F45 | fails at: averages over every subset
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    rng = np.random.default_rng(0)
    drawn = [rng.choice(len(scores), n, replace=False) for _ in range(10)]
    return float(np.mean([values[rows[scores[rows].argmax()]] for rows in drawn]))


# %% wrong: a tie is worth its highest value | idea: F31 | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return weighted(
        scores, n, np.array([values[scores == s].max() for s in scores]), weights_of(len(scores), n)
    )


# %% wrong: scores near 0 are tied | idea: near ties | fails at: averages the values | points: 2.5
def best_of_n_mean(scores, n, values=None):
    scores, values = checked(scores, n, values)
    return weighted(np.round(scores, 12), n, values, weights_of(len(scores), n))
