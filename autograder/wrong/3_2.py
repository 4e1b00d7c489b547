# %% given
import itertools
import math

import numpy as np

from autograder.exercise import Variant
from autograder.keys.questions import given, pool

VARIANT, sheet, QUESTIONS = Variant("", "", "3.2"), given("3.2"), pool("3.2")
meaning = {q.id: q.label(VARIANT) for q in QUESTIONS}


def said(question, **tiers):
    [found] = [q for q in QUESTIONS if q.id == question]
    return meaning | {question: found.label(VARIANT, **tiers)}


def checked(probs, rewards, n):
    p, r = np.asarray(probs, float), np.asarray(rewards, float)
    if n < 1 or np.isnan(r).any():
        raise ValueError("n >= 1 and rewards that are numbers")
    return p, r


def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    level = np.array([p[r == x].sum() for x in r])
    upto, below = np.array([p[r <= x].sum() for x in r]), np.array([p[r < x].sum() for x in r])
    return np.divide(p * (upto**n - below**n), level, out=np.zeros_like(p), where=level > 0)


right = best_of_n_distribution


# %% correct: level by level
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution, below = [0.0] * len(p), 0.0
    for x in sorted(set(r.tolist())):
        here = [i for i in range(len(p)) if r[i] == x]
        mass = sum(p[i] for i in here)
        for i in here:
            distribution[i] = ((below + mass) ** n - below**n) * p[i] / mass if mass else 0.0
        below += mass
    return distribution


# %% correct: the draws one after the other
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution, steps, power = p.copy(), n - 1, p.copy()

    def best_of_both(a, b):
        above = (r[:, None] > r[None, :]).astype(float)
        # A tie of two best-ofs: both levels hold the same proportions, so either may stand for it.
        return a * (above @ b) + b * (above @ a) + a * ((r[:, None] == r[None, :]) @ b)

    while steps:
        distribution = best_of_both(distribution, power) if steps % 2 else distribution
        power, steps = best_of_both(power, power), steps // 2
    return distribution.tolist()


# %% correct: as a table
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    levels, where = np.unique(r, return_inverse=True)
    mass = np.bincount(where, p)
    gained = np.diff(np.append(0.0, np.cumsum(mass) ** n))
    return tuple((p * (gained / np.where(mass > 0, mass, 1.0))[where]).tolist())


# %% correct: logarithms
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.array([p[r == x].sum() for x in r])
        upto, below = np.log([p[r <= x].sum() for x in r]), np.log([p[r < x].sum() for x in r])
        distribution = np.exp(np.log(p) - np.log(level) + n * upto + np.log1p(-np.exp(n * (below - upto))))
    return np.nan_to_num(distribution)


# %% correct: torch, in single precision
def best_of_n_distribution(probs, rewards, n):
    import torch

    p, r = (torch.tensor(x, dtype=torch.float32) for x in checked(probs, rewards, n))
    below, level = (r[:, None] > r).float() @ p, (r[:, None] == r).float() @ p
    return torch.where(level > 0, p / level * ((below + level) ** n - below**n), torch.zeros_like(p))


# %% correct: by the number of draws on the level
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution = []
    for i in range(len(p)):
        mass, below = float(p[r == r[i]].sum()), float(p[r < r[i]].sum())
        chance = sum(mass * (below + mass) ** k * below ** (n - 1 - k) for k in range(n))
        distribution.append(chance * float(p[i]) / mass if mass else 0.0)
    return distribution


# %% wrong: every sequence of draws | idea: enumeration | fails at: needs no list of all draws | points: 4
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution = np.zeros(len(p))
    for drawn in itertools.product(range(len(p)), repeat=n):
        best = [i for i in drawn if r[i] == max(r[j] for j in drawn)]
        for i in best:
            distribution[i] += math.prod(p[j] for j in drawn) / len(best)
    return distribution


# %% wrong: simulated | idea: simulated | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    drawn = np.random.default_rng().choice(len(p), size=(5000, n), p=p)
    kept = drawn[np.arange(5000), r[drawn].argmax(axis=1)]
    return np.bincount(kept, minlength=len(p)) / 5000


# %% wrong: without replacement | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution = np.zeros(len(p))
    for drawn in itertools.permutations(range(len(p)), min(n, len(p))):
        chance, left = 1.0, 1.0
        for i in drawn:
            chance, left = chance * p[i] / max(left, 1e-12), left - p[i]
        distribution[max(drawn, key=lambda i: r[i])] += chance
    return distribution


# %% wrong: a level of probability 0 | idea: 0 by 0 | fails at: is a probability distribution | points: 4
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    level = np.array([p[r == x].sum() for x in r])
    upto, below = np.array([p[r <= x].sum() for x in r]), np.array([p[r < x].sum() for x in r])
    with np.errstate(invalid="ignore"):
        return p * (upto**n - below**n) / level


# %% wrong: the last of a tie | idea: F31 | fails at: lets ties share by probability | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    order, distribution = np.argsort(r, kind="stable"), np.zeros(len(p))
    distribution[order] = np.diff(np.append(0.0, np.cumsum(p[order])) ** n)
    return distribution


# %% wrong: the first of a tie | idea: F31 | fails at: lets ties share by probability | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    order, distribution = np.lexsort((-np.arange(len(p)), r)), np.zeros(len(p))
    distribution[order] = np.diff(np.append(0.0, np.cumsum(p[order])) ** n)
    return distribution


# %% wrong: a tie shares equally | idea: equal shares | fails at: lets ties share by probability | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    upto, below = np.array([p[r <= x].sum() for x in r]), np.array([p[r < x].sum() for x in r])
    return (upto**n - below**n) / np.array([(r == x).sum() for x in r])


# %% wrong: all get it | idea: ties counted twice | fails at: lets ties share by probability | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    return np.array([p[r <= x].sum() ** n - p[r < x].sum() ** n for x in r])


# %% wrong: the worst of n | idea: F03 | fails at: agrees with enumeration | points: 3
right = best_of_n_distribution


def best_of_n_distribution(probs, rewards, n):
    return right(probs, -np.asarray(rewards), n)


# %% wrong: all to the best | idea: argmax | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    return p * (r == r.max()) / p[r == r.max()].sum()


# %% wrong: the tilted distribution | idea: F38 | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution = p * np.exp(r)
    return distribution / distribution.sum()


# %% wrong: weights F^n | idea: weights F^n | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution = np.array([p[r <= x].sum() for x in r]) ** n
    return distribution / distribution.sum()


# %% wrong: nothing subtracted | idea: without subtraction | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    return np.array([p[r <= x].sum() for x in r]) ** n


# %% wrong: the policy unchanged | idea: policy unchanged | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    return checked(probs, rewards, n)[0]


# %% wrong: in the order of the rewards | idea: sorted order | fails at: agrees with enumeration | points: 3
right = best_of_n_distribution


def best_of_n_distribution(probs, rewards, n):
    return right(probs, rewards, n)[np.argsort(rewards)]


# %% wrong: NaN kept | idea: F32 | fails at: refuses what has no answer | points: 4
right = best_of_n_distribution


def best_of_n_distribution(probs, rewards, n):
    if n < 1:
        raise ValueError("n >= 1")
    return right(probs, np.nan_to_num(np.asarray(rewards, float)), n)


# %% wrong: n = 0 gives something | idea: n < 1 | fails at: refuses what has no answer | points: 4
right = best_of_n_distribution


def best_of_n_distribution(probs, rewards, n):
    return right(probs, rewards, max(n, 1))


# %% wrong: KL equals the formula | idea: F39 | fails at: question a: answer | points: 4.5
meaning = said("a", answer=1)

# %% wrong: right KL, wrong reason | idea: F39 | fails at: question a: reason | points: 4.5
meaning = said("a", reason=1)

# %% wrong: gain in proportion to n | idea: F14 | fails at: question b: answer | points: 4.5
meaning = said("b", answer=1)

# %% wrong: PPO aims at best-of-n | idea: F38 | fails at: question c: answer | points: 4.5
meaning = said("c", answer=1)

# %% wrong: breadth is the number of prompts | idea: breadth | fails at: question d: answer | points: 4.5
meaning = said("d", answer=1)

# %% wrong: rounds add | idea: rounds add | fails at: question e: answer | points: 4.5
meaning = said("e", answer=1)

# %% wrong: serving trains the policy | idea: F35 | fails at: question f: answer | points: 4.5
meaning = said("f", answer=2)


# %% correct: safe logarithms, level by level
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution = np.zeros(len(p))
    for x in np.unique(r):
        here, upto, below = r == x, p[r <= x].sum(), p[r < x].sum()
        if p[here].sum() > 0:
            ratio = (below / upto) ** n
            distribution[here] = (
                p[here] / p[here].sum() * math.exp(n * math.log(min(upto, 1.0))) * (1 - ratio)
            )
    return distribution


# %% correct: whole fractions, a tuple comes back
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    chance = {}
    for x in sorted(set(r.tolist()), reverse=True):
        above, mass = p[r > x].sum(), p[r == x].sum()
        chance[x] = ((1 - above) ** n - max(0.0, 1 - above - mass) ** n) / mass if mass else 0.0
    return tuple(float(q * chance[x]) for q, x in zip(p.tolist(), r.tolist(), strict=True))


# %% wrong: writes into its input | idea: input changed | fails at: leaves its input as it was | points: 4
def best_of_n_distribution(probs, rewards, n):
    distribution = right(probs, rewards, n)
    probs[:] = distribution
    return probs


# %% wrong: n - 1 draws | idea: n off by one | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    checked(probs, rewards, n)
    return right(probs, rewards, max(1, n - 1))


# %% wrong: a density | idea: density | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    return n * p * np.array([p[r <= x].sum() for x in r]) ** (n - 1)


# %% wrong: drawn at least once | idea: drawn at least once | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, _ = checked(probs, rewards, n)
    drawn = 1 - (1 - p) ** n
    return drawn / drawn.sum()


# %% wrong: a tie goes to its likeliest | idea: F31 | fails at: lets ties share by probability | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    distribution = np.array(right(probs, rewards, n))
    for x in set(r.tolist()):
        tied = np.flatnonzero(r == x)
        distribution[tied] = distribution[tied].sum() * (tied == tied[p[tied].argmax()])
    return distribution


# %% wrong: simulated with a fixed seed | idea: near | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    drawn = np.random.default_rng(0).choice(len(p), size=(20_000, n), p=p / p.sum())
    kept = drawn[np.arange(len(drawn)), r[drawn].argmax(axis=1)]
    return np.bincount(kept, minlength=len(p)) / len(drawn)


# %% wrong: more than 16 draws are 16 | fails at: is a probability distribution | points: 4
def best_of_n_distribution(probs, rewards, n):
    checked(probs, rewards, n)
    return right(probs, rewards, min(n, 16))


# %% correct: numpy in single precision
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    p = p.astype(np.float32)
    upto = (p[None] * (r[None] <= r[:, None])).sum(axis=1, dtype=np.float32)
    together = (p[None] * (r[None] == r[:, None])).sum(axis=1, dtype=np.float32)
    below = np.maximum(upto - together, np.float32(0))
    share = np.where(together > 0, p / np.where(together > 0, together, 1), 0)
    return ((np.minimum(upto, 1) ** n - below**n) * share).astype(np.float32)


# %% correct: plain Python, a dict of levels
def best_of_n_distribution(probs, rewards, n):
    if n < 1 or any(r != r for r in rewards):
        raise ValueError("n >= 1, and no NaN")
    mass, gained, below = {}, {}, 0.0
    for p, r in zip(probs, rewards, strict=True):
        mass[float(r)] = mass.get(float(r), 0.0) + float(p)
    for r in sorted(mass):
        gained[r] = (below + mass[r]) ** n - below**n
        below += mass[r]
    pairs = zip(probs, rewards, strict=True)
    return [float(p) / mass[float(r)] * gained[float(r)] if p > 0 else 0.0 for p, r in pairs]


# %% wrong: the exponent forgotten | idea: policy unchanged | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    return [p[r <= x].sum() - p[r < x].sum() for x in r]


# %% wrong: n + 1 draws | idea: n off by one | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    checked(probs, rewards, n)
    return right(probs, rewards, n + 1)


# %% wrong: powers of p, scaled | idea: all alike | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, _ = checked(probs, rewards, n)
    return p**n / (p**n).sum()


# %% wrong: p times the rank, scaled | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    weight = p * np.array([(r <= x).sum() for x in r]) ** (n - 1)
    return weight / weight.sum()


# %% wrong: rounded to two digits | idea: near | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    return np.round(right(*checked(probs, rewards, n), n), 2)


# %% wrong: powers of F alone | idea: without subtraction | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    return [float(p[r <= x].sum()) ** n for x in r]


# %% wrong: n = 0 is the policy | idea: n < 1 | fails at: refuses what has no answer | points: 4
def best_of_n_distribution(probs, rewards, n):
    return right(probs, rewards, n) if n else list(probs)


# %% wrong: 0 nats for two rewards | idea: F42 | fails at: question a: answer | points: 4.5
meaning = said("a", answer=3)

# %% wrong: the reward grows with n | idea: F14 | fails at: question b: reason | points: 4.5
meaning = said("b", reason=1)

# %% wrong: best-of-n has the higher mean | idea: F38 | fails at: question c: answer | points: 4.5
meaning = said("c", answer=2)

# %% wrong: stale responses count | idea: F19 | fails at: question e: answer | points: 4.5
meaning = said("e", answer=2)


# %% correct: groups in a dict, upwards
def best_of_n_distribution(probs, rewards, n):
    checked(probs, rewards, n)
    groups, result, below = {}, [0.0] * len(probs), 0.0
    for k, reward in enumerate(rewards):
        groups.setdefault(float(reward), []).append(k)
    for reward in sorted(groups):
        mass = math.fsum(probs[k] for k in groups[reward])
        for k in groups[reward]:
            result[k] = probs[k] / mass * ((below + mass) ** n - below**n) if mass else 0.0
        below += mass
    return tuple(result)


# %% wrong: rewards rounded | idea: F38 | fails at: uses the order of the rewards alone | points: 4
def best_of_n_distribution(probs, rewards, n):
    checked(probs, rewards, n)
    return right(probs, np.round(np.asarray(rewards, float), 6), n)


# %% wrong: tilted by n | idea: F38 | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    tilted = p * np.exp(np.clip(n * (r - r.max()), -700, 0))
    return tilted / tilted.sum()


# %% correct: pairs of a letter and a number
meaning = {id: (label[0], int(label[1])) for id, label in meaning.items()}


# %% wrong: a power with the reward as exponent | idea: F38 | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    scaled = p * np.exp((r - r.max()) * math.log(n))
    return scaled / scaled.sum()


# %% wrong: subsets of a pool | idea: without replacement | fails at: agrees with enumeration | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    if n > len(p):
        return right(probs, rewards, n)
    ways = [math.comb(int((r <= a).sum()), n) - math.comb(int((r < a).sum()), n) for a in r]
    return np.array(ways) / math.comb(len(p), n) / np.array([(r == a).sum() for a in r])


# %% wrong: own p off F | idea: ties counted twice | fails at: lets ties share by probability | points: 3
def best_of_n_distribution(probs, rewards, n):
    p, r = checked(probs, rewards, n)
    upto = np.array([p[r <= x].sum() for x in r])
    return np.clip(upto, 0, 1) ** n - np.clip(upto - p, 0, 1) ** n


# %% wrong: rewards near 0 are tied | idea: F38 | fails at: uses the order of the rewards alone | points: 4
def best_of_n_distribution(probs, rewards, n):
    return right(probs, np.round(np.asarray(rewards, float), 12), n)
