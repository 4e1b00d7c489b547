"""Closed forms of best-of-n, and intervals: what needs arrays alone and no model.

A *distribution* is a row of probabilities `(K,)` over K responses; KL is in nats. Rewards and values must be
finite. In estimates from a pool, a prompt is the unit: arrays are `(M,)` or `(M, N)`, M prompts.
"""

from __future__ import annotations

import math
import numbers
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from fractions import Fraction
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from rslib.errors import ConfigError, DataError, RewardError

# Best-of-n in general -----------------------------------------------------------------------------------


def kl_of_best_of_n(n: int) -> float:
    """Upper bound of KL(best-of-n || policy), nats: log n - (n - 1) / n.

    An equality when no two responses tie in reward and none has a probability worth speaking of; with few
    distinct responses the true KL can be far below it (`best_of_n_probs`). Source: Beirami et al.,
    arXiv 2401.01879, section 3 (equation 4, theorem 3.1). Raises ConfigError if n < 1.

    >>> round(kl_of_best_of_n(16), 3)
    1.835
    >>> kl_of_best_of_n(1)
    0.0
    """
    _check_count(n, "n")
    return math.log(n) - (n - 1) / n


def kl_of_best_of_n_estimate(logprobs: ArrayLike, n: int) -> np.ndarray:
    """Estimates of KL(best-of-n || policy), nats, one for each kept response, `(M,)`; their mean counts.

    `logprobs (M,)`: the log-probability, nats, under the policy of each response that best-of-n kept. So a
    real model will do. With p the probability and q = (1 - p)^n the chance that n draws miss it:
    q (log n + (n - 1) log(1 - p) - (n - 1) / n) + (1 - q) log((1 - q) / p). Where all p vanish that is
    `kl_of_best_of_n`; where the response hardly misses, -log p. Source: Beirami et al., arXiv 2401.01879,
    section 4 (equation 25).

    >>> kl_of_best_of_n_estimate(np.log([0.1, 0.5]), n=16).round(3).tolist()
    [1.756, 0.693]

    Raises ConfigError if n < 1, DataError for log-probabilities that are NaN, infinite or above 0.
    """
    _check_count(n, "n")
    logprobs = _numbers(logprobs, "logprobs")
    if (logprobs > 0).any():
        raise DataError("a log-probability is above 0", where="logprobs", fix="Give log-probabilities.")
    certain = logprobs == 0
    with np.errstate(divide="ignore"):  # certain: the logarithm of 0, whose weight is 0
        miss = np.log1p(-np.exp(logprobs))
    missed = np.exp(n * miss)
    inner = math.log(n) + (n - 1) * np.where(certain, 0.0, miss) - (n - 1) / n
    # log(1 - q) - log p; where p is below the smallest float, both vanish alike and log n is left.
    hit = -np.expm1(n * miss)
    ratio = np.where(hit > 0, np.log(np.where(hit > 0, hit, 1.0)) - logprobs, math.log(n))
    return missed * inner + hit * ratio


# Best-of-n estimated from a pool --------------------------------------------------------------------------


def best_of_n_estimate(rewards: ArrayLike, n: int, values: ArrayLike | None = None) -> np.ndarray:
    """Unbiased estimate, per prompt, of the expected value of the response that best-of-n keeps, `(M,)`.

    `rewards (M, N)` choose, `values (M, N)` are averaged (the rewards themselves unless given). The mean over
    all subsets of n of the N responses, drawn without replacement: with replacement, or from the first n
    alone, it would be biased or noisy. Tied responses share their weight equally, which is a random
    tie-break. `(N,)` arrays are one prompt and give `(1,)`.

    Of the pairs {1, 2}, {1, 4}, {2, 4} the best are 2, 4 and 4:

    >>> best_of_n_estimate([[4.0, 1.0, 2.0]], n=2)
    array([3.33333333])

    Raises ConfigError unless 1 <= n <= N, RewardError for NaN or infinite numbers, DataError for shapes
    that differ.
    """
    return best_of_n_curve(rewards, [n], values)[0]


def best_of_n_curve(rewards: ArrayLike, ns: Sequence[int], values: ArrayLike | None = None) -> np.ndarray:
    """`best_of_n_estimate` for each n of `ns`, `(len(ns), M)`; the mean over the prompts is the curve.

    >>> best_of_n_curve([[4.0, 1.0, 2.0]], ns=[1, 2, 3]).round(3).ravel().tolist()
    [2.333, 3.333, 4.0]

    Raises as `best_of_n_estimate`.
    """
    rewards = np.atleast_2d(_finite(rewards, "rewards"))
    values = rewards if values is None else np.atleast_2d(_finite(values, "values"))
    if values.shape != rewards.shape or rewards.ndim != 2 or not rewards.size:
        what = f"rewards have the shape {rewards.shape}, values {values.shape}"
        raise DataError(what, where="best_of_n_curve", fix="Give both as (prompts, responses), not empty.")
    order = np.argsort(rewards, axis=1)
    level = _levels(np.take_along_axis(rewards, order, axis=1))
    shared = _mean_by(level, np.take_along_axis(values, order, axis=1))
    return np.stack([shared @ rank_weights(rewards.shape[1], n) for n in ns])


def pass_at_k(correct: ArrayLike, k: int) -> np.ndarray:
    """Chance, per prompt, that at least one of k responses is right, estimated from N of them, `(M,)`.

    `correct (M, N)` holds 0 and 1, or False and True. It is best-of-n on rewards of 0 and 1:
    1 - C(N - c, k) / C(N, k) with c right ones. `bootstrap_interval` of it is the interval over prompts.
    Source: Chen et al., arXiv 2107.03374, equation 1.

    >>> pass_at_k([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], k=2).round(3).tolist()
    [0.5, 0.0, 1.0]

    Raises ConfigError unless 1 <= k <= N, DataError for other numbers than 0 and 1.
    """
    return best_of_n_estimate(_right_or_wrong(correct), k)


def majority_at_k(conclusions: Sequence[Sequence[Hashable]], correct: ArrayLike, k: int) -> np.ndarray:
    """Chance, per prompt, that the most frequent conclusion of k responses is right, `(M,)`; ties at random.

    `conclusions (M, N)`: what each response comes to, equal where they agree; `correct (M, N)` 0 or 1, the
    same for equal conclusions. The mean over all subsets of k of the N, counted exactly. Source: Wang et al.,
    arXiv 2203.11171 (self-consistency); the estimator is unbiased as that of `pass_at_k`.

    Of {a, a}, {a, b}, {a, b} with a right, the first is won, the others are ties:

    >>> majority_at_k([["a", "a", "b"]], [[1, 1, 0]], k=2).round(4).tolist()
    [0.6667]

    Raises ConfigError if k < 1, DataError for other shapes, k > N, or a conclusion both right and wrong.
    """
    _check_count(k, "k")
    right = np.atleast_2d(_right_or_wrong(correct))
    if [len(row) for row in conclusions] != [right.shape[1]] * len(right) or k > right.shape[1]:
        shape = f"conclusions of {len(conclusions)} prompts, correct {right.shape}, k = {k}"
        raise DataError("the shapes do not fit", where=shape, fix="Give (M, N) of both, and k <= N.")
    return np.array([_majority(list(row), wins, k) for row, wins in zip(conclusions, right, strict=True)])


def _majority(conclusions: Sequence[Hashable], right: np.ndarray, k: int) -> float:
    counts = Counter(conclusions)
    wins = {conclusion for conclusion, good in zip(conclusions, right, strict=True) if good}
    if any(conclusion in wins and not good for conclusion, good in zip(conclusions, right, strict=True)):
        raise DataError("a conclusion is right in one place and wrong in another", where="majority_at_k")
    won = Fraction(0)
    for conclusion in wins:
        others = list((counts - Counter({conclusion: counts[conclusion]})).values())
        for votes in range(1, min(counts[conclusion], k) + 1):
            ways = _ways_below(others, k - votes, votes)
            shared = sum(Fraction(ways[ties], ties + 1) for ties in ways)
            won += math.comb(counts[conclusion], votes) * shared
    return float(won / math.comb(len(conclusions), k))


def _ways_below(counts: Sequence[int], total: int, most: int) -> dict[int, int]:
    """Ways to take `total` of groups of these sizes, at most `most` of each, by how many reach `most`."""
    ways = {(0, 0): 1}
    for count in counts:
        longer: dict[tuple[int, int], int] = defaultdict(int)
        for (taken, ties), number in ways.items():
            for more in range(min(count, most, total - taken) + 1):
                longer[taken + more, ties + (more == most)] += number * math.comb(count, more)
        ways = longer
    return {ties: number for (taken, ties), number in ways.items() if taken == total}


def best_of_poisson_estimate(rewards: ArrayLike, mu: float, values: ArrayLike | None = None) -> np.ndarray:
    """Expected value, per prompt, of the best of 1 + Poisson(mu) responses, estimated from N, `(M,)`.

    `best_of_n_estimate` averaged over n; what Poisson puts beyond N counts as N, which `mu` well below N
    keeps rare. Its distribution comes close to the tilted optimum. Source: Khalaf et al., arXiv 2506.19248
    (Best-of-Poisson, algorithm 3).

    >>> best_of_poisson_estimate([[4.0, 1.0, 2.0]], mu=0.0).round(3).tolist()
    [2.333]

    Raises ConfigError unless mu is finite and >= 0, else as `best_of_n_estimate`.
    """
    rewards = np.atleast_2d(_finite(rewards, "rewards"))
    curve = best_of_n_curve(rewards, range(1, rewards.shape[-1] + 1), values)
    return poisson_probs(mu, len(curve)) @ curve


def poisson_probs(mu: float, size: int) -> np.ndarray:
    """Poisson chances of 0 to size - 1 at mean `mu`, `(size,)`; the last holds all from there on.

    >>> poisson_probs(1.0, 3).round(3).tolist()
    [0.368, 0.368, 0.264]

    Raises ConfigError unless mu is finite and >= 0.
    """
    if not (math.isfinite(mu) and mu >= 0):
        raise ConfigError(f"mu is {mu}", where="Poisson distribution", fix="Use a finite number >= 0.")
    counts = np.arange(size)
    logs = counts * math.log(mu) - mu if mu else np.where(counts == 0, 0.0, -np.inf)
    chances = np.exp(logs - np.array([math.lgamma(count + 1) for count in counts]))
    chances[-1] = max(0.0, 1 - chances[:-1].sum())
    return chances


def tuned_n(rewards: ArrayLike, values: ArrayLike, ns: Sequence[int]) -> int:
    """The n of `ns` whose best response by `rewards` has the highest mean value; of equal ones the first.

    To be called on a validation pool whose `values (M, N)` are known (gold, a judge), and judged on other
    prompts: beyond this n a reward model's errors are what is selected. Source: Khalaf et al., arXiv
    2506.19248 (HedgeTune, algorithm 4), by trying instead of by a root.

    >>> tuned_n([[1.0, 2.0, 3.0]], [[0.0, 5.0, 1.0]], ns=[1, 2, 3])
    2

    Raises as `best_of_n_curve`; ConfigError where `ns` is empty.
    """
    if not len(ns):
        raise ConfigError("there is no n to try", where="tuned_n", fix="Give at least one n in `ns`.")
    return int(ns[int(np.argmax(best_of_n_curve(rewards, ns, values).mean(axis=1)))])


def rank_weights(pool: int, n: int) -> np.ndarray:
    """Chance that the k-th lowest of `pool` responses is the best of n drawn without replacement, `(pool,)`.

    C(k - 1, n - 1) / C(pool, n), from its logarithm, so that pools of thousands neither overflow nor lose
    digits. Sums to 1.

    >>> rank_weights(4, 2).round(4).tolist()
    [0.0, 0.1667, 0.3333, 0.5]

    Raises ConfigError unless 1 <= n <= pool.
    """
    _check_count(n, "n")
    if n > pool:
        fix = f"Use n <= {pool}, or draw more responses."
        raise ConfigError(f"n is {n}", where=f"best-of-n from {pool} responses", fix=fix)
    rank = np.arange(n, pool)  # weight[rank] / weight[rank + 1], ranks from 1, is (rank + 1 - n) / rank
    steps = np.log((rank + 1 - n) / rank)
    logs = math.log(n / pool) + np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    return np.concatenate([np.zeros(n - 1), np.exp(logs)])


def _levels(ascending: np.ndarray) -> np.ndarray:
    """Number of the tie that each entry of the sorted rows `(M, N)` belongs to, counted over all rows."""
    starts = np.ones(ascending.shape, dtype=bool)
    starts[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    return (np.cumsum(starts) - 1).reshape(ascending.shape)


def _mean_by(level: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean of its level; untied values stay as they are, to the last bit."""
    sums = np.bincount(level.ravel(), values.ravel())
    return (sums / np.bincount(level.ravel()))[level]


# Best-of-n and its rival on a finite set --------------------------------------------------------------------


def best_of_n_probs(probs: ArrayLike, rewards: ArrayLike, n: int) -> np.ndarray:
    """The probabilities of the best of n independent draws from `probs (K,)`, ties broken at random, `(K,)`.

    A level of equal rewards is kept with F(level)^n - F(below)^n, and its responses share that in proportion
    to their probabilities. Source: Sessa et al., arXiv 2407.14622, theorem 1 (equation 4; ties are broken
    there by some strict order, here at random).

    >>> best_of_n_probs([0.5, 0.25, 0.25], [0.0, 1.0, 1.0], n=2).tolist()
    [0.25, 0.375, 0.375]

    Raises ConfigError if n < 1, DataError if `probs` is no distribution or the shapes differ, RewardError
    for NaN or infinite rewards.
    """
    _check_count(n, "n")
    probs, rewards = _distribution(probs, "probs"), _finite(rewards, "rewards")
    _check_same_shape(probs, rewards, "best_of_n_probs")
    level = np.unique(rewards, return_inverse=True)[1]
    mass = np.bincount(level, probs)
    below_or_here = np.maximum(np.cumsum(mass), mass)
    share = np.divide(mass, below_or_here, out=np.zeros_like(mass), where=mass > 0)
    with np.errstate(divide="ignore"):  # the lowest level: log 0, whose power is rightly 0
        gained = below_or_here**n * -np.expm1(n * np.log1p(-np.minimum(share, 1.0)))
    per_mass = np.divide(gained, mass, out=np.zeros_like(mass), where=mass > 0)
    best = probs * per_mass[level]
    return best / best.sum()


def best_of_n_log_ratio(up_to: ArrayLike, level: ArrayLike, n: int) -> np.ndarray:
    """Log of how much more often best-of-n keeps a response than the policy writes it, `(K,)` nats.

    up_to: the policy's chance of a reward at most as high as the response's; level: of one just as high,
    above 0. A level is kept with up_to^n - (up_to - level)^n, and ties share it. It is the reward whose
    optimum, at a KL coefficient of 1, is that of best-of-n (`tilted_optimum`), so reinforcement learning on
    it minimises KL(policy || best-of-n): Amini et al., arXiv 2407.06057, section 3. Without ties it is n - 1
    times the reward of Sessa et al., arXiv 2407.14622, equation 8.

    >>> best_of_n_log_ratio([0.5, 1.0], [0.5, 0.5], n=2).round(3).tolist()  # kept with 1/4 and 3/4
    [-0.693, 0.405]

    Raises ConfigError if n < 1, DataError unless 0 < level <= up_to <= 1, up to rounding, and alike in shape.
    """
    _check_count(n, "n")
    up_to, level = _numbers(up_to, "up_to"), _numbers(level, "level")
    _check_same_shape(up_to, level, "best_of_n_log_ratio")
    if not ((level > 0) & (level <= up_to + 1e-9) & (up_to <= 1 + 1e-9)).all():
        raise DataError(
            "these are no chances of a level and of all up to it",
            where="best_of_n_log_ratio",
            fix="Give 0 < level <= up_to <= 1.",
        )
    with np.errstate(divide="ignore"):  # the lowest level: log 0, and nothing lies below
        below = np.exp(n * np.log1p(-np.minimum(level / up_to, 1.0)))
    return n * np.log(up_to) + np.log1p(-below) - np.log(level)


def tilted_optimum(probs: ArrayLike, rewards: ArrayLike, beta: float) -> np.ndarray:
    """The q `(K,)` that maximises mean reward - beta * KL(q || probs): probs * exp(rewards / beta).

    What reinforcement learning with a KL penalty aims at. It is not the distribution of best-of-n.

    >>> tilted_optimum([0.5, 0.5], [0.0, math.log(3)], beta=1.0).round(3).tolist()
    [0.25, 0.75]

    Raises ConfigError unless beta is finite and > 0, else as `best_of_n_probs`.
    """
    probs, rewards = _penalised(probs, rewards, beta, "tilted_optimum")
    best = rewards[probs > 0].max()  # keeps every exponent <= 0
    tilted = probs * np.exp(np.minimum((rewards - best) / beta, 0.0))
    return tilted / tilted.sum()


def pessimistic_optimum(probs: ArrayLike, rewards: ArrayLike, beta: float) -> np.ndarray:
    """The q `(K,)` that maximises mean reward - beta / 2 * chi-squared(q || probs).

    probs * max(0, rewards - level) / beta, with the level at which it sums to 1. Unlike the tilted optimum it
    never weighs a response more than (range of rewards) / beta + 1 times as the policy does, so a reward
    model that errs on rare responses is trusted less. Source: Huang et al., arXiv 2503.21878
    (inference-time pessimism; number not checked against the paper).

    >>> pessimistic_optimum([0.5, 0.5], [0.0, 1.0], beta=2.0).tolist()
    [0.375, 0.625]

    Raises as `tilted_optimum`.
    """
    probs, rewards = _penalised(probs, rewards, beta, "pessimistic_optimum")
    order = np.argsort(-rewards, kind="stable")
    mass, gained = np.cumsum(probs[order]), np.cumsum((probs * rewards)[order])
    with np.errstate(divide="ignore", invalid="ignore"):  # of probability 0 until here: no level yet
        levels = (gained - beta) / mass
    # With the k highest in, the level must lie below the k-th reward; the last such k has all that belong in.
    level = levels[np.flatnonzero((mass > 0) & (levels < rewards[order]))[-1]]
    best = probs * np.maximum(rewards - level, 0.0)
    return best / best.sum()


def _penalised(
    probs: ArrayLike, rewards: ArrayLike, beta: float, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and rewards of an optimum with a penalty, checked."""
    if not (math.isfinite(beta) and beta > 0):
        raise ConfigError(f"beta is {beta}", where=where, fix="Use a finite number > 0.")
    probs, rewards = _distribution(probs, "probs"), _finite(rewards, "rewards")
    _check_same_shape(probs, rewards, where)
    return probs, rewards


def kl_divergence(p: ArrayLike, q: ArrayLike) -> float:
    """KL(p || q) of two distributions `(K,)`, nats; infinite when p puts mass where q has none.

    >>> round(kl_divergence([1.0, 0.0], [0.5, 0.5]), 4)
    0.6931
    >>> kl_divergence([0.5, 0.5], [1.0, 0.0])
    inf

    Raises DataError when one of them is no distribution or the shapes differ.
    """
    p, q = _distribution(p, "p"), _distribution(q, "q")
    _check_same_shape(p, q, "kl_divergence")
    support = p > 0
    if (q[support] == 0).any():
        return math.inf
    return max(0.0, float(np.sum(p[support] * np.log(p[support] / q[support]))))


# Uncertainty --------------------------------------------------------------------------------------------


_ANGLES = 20_001
"""Angles at which the density of Student's distribution is summed."""


def standard_error(values: ArrayLike, *, clusters: ArrayLike | None = None) -> float:
    """Standard error of the mean of `values (M,)`; NaN when there is one prompt, or one cluster, alone.

    `clusters (M,)` names prompts that rise and fall together (they share an intent): the sums over clusters,
    not the prompts, are then taken as independent (the sandwich estimate with its K / (K - 1) correction).

    >>> standard_error([1.0, 3.0])
    1.0
    >>> standard_error([1.0, 1.0, 3.0, 3.0], clusters=[0, 0, 1, 1])
    1.0

    Raises DataError for NaN or infinite values, no values, or shapes that differ.
    """
    sums, counts, mean = _by_cluster(values, clusters)
    if len(counts) < 2:
        return math.nan
    spread = float(((sums - counts * mean) ** 2).sum())
    return math.sqrt(spread * len(counts) / (len(counts) - 1)) / float(counts.sum())


def bootstrap_interval(
    values: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 4000,
) -> tuple[float, float]:
    """(low, high) of the mean of per-prompt `values (M,)`: bootstrap over prompts, or over `clusters (M,)`.

    Percentiles of the resampled means. The plain ones are too narrow for few clusters, so they are moved
    outwards as a Student interval would be (Hesterberg, "What Teachers Should Know About the Bootstrap",
    2015, section 4.3). Equal values give an interval without width; one prompt, or one cluster,
    alone gives (NaN, NaN): it tells nothing about the spread.

    >>> bootstrap_interval([2.0, 2.0, 2.0])
    (2.0, 2.0)
    >>> low, high = bootstrap_interval(np.arange(100.0), seed=1)
    >>> low < 49.5 < high
    True

    Raises ConfigError for a level outside (0, 1) or draws < 100, else as `standard_error`.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}", where="bootstrap_interval", fix="Use a share such as 0.95.")
    if draws < 100:
        raise ConfigError(f"draws is {draws}", where="bootstrap_interval", fix="Use at least 100.")
    sums, counts, mean = _by_cluster(values, clusters)
    if len(counts) < 2:
        return math.nan, math.nan
    tail = _widened_tail((1 - level) / 2, len(counts))
    moves = _resampled_moves(sums - counts * mean, counts, draws, np.random.default_rng(seed))
    low, high = np.quantile(moves, [tail, 1 - tail])
    return mean + float(low), mean + float(high)


def paired_interval(
    a: ArrayLike,
    b: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 4000,
) -> tuple[float, float]:
    """(low, high) of the mean of `a - b`, two arms on the same prompts, each `(M,)`.

    A `bootstrap_interval` of the differences. Pairing takes out what both arms share: prompts that are hard
    for one are hard for the other.

    >>> paired_interval([1.0, 12.0, 103.0], [0.0, 11.0, 102.0])
    (1.0, 1.0)
    """
    a, b = _numbers(a, "a"), _numbers(b, "b")
    _check_same_shape(a, b, "paired_interval")
    return bootstrap_interval(a - b, clusters=clusters, level=level, seed=seed, draws=draws)


def student_quantile(tail: float, degrees: float) -> float:
    """The t that Student's distribution with `degrees` (real, > 0) exceeds with probability `tail` < 0.5.

    By integrating cos^(degrees - 1) over the angle atan(t / sqrt(degrees)), and bisection.

    >>> round(student_quantile(0.025, 4), 3), round(student_quantile(0.025, 1e4), 2)
    (2.776, 1.96)
    """
    # The angle from the far end, so that the tail keeps its digits: cos of it is sin of what is left.
    angles = np.linspace(0, math.pi / 2, _ANGLES) ** 2 / (math.pi / 2)
    density = np.sin(angles) ** (degrees - 1) if degrees != 1 else np.ones(_ANGLES)
    steps = (density[1:] + density[:-1]) / 2 * np.diff(angles)
    share = np.concatenate([[0.0], np.cumsum(steps)]) / (2 * steps.sum())
    angle = float(np.interp(tail, share, angles))
    return math.sqrt(degrees) / math.tan(angle)


def _by_cluster(values: ArrayLike, clusters: ArrayLike | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Sum and number of the values of each cluster, and the mean of all values."""
    values = _numbers(values, "values")
    if not values.size:
        raise DataError("there are no values", where="values", fix="Give at least one prompt.")
    names = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    _check_same_shape(values, names, "values and clusters")
    member = np.unique(names, return_inverse=True)[1]
    return np.bincount(member, values), np.bincount(member), float(values.mean())


def _resampled_moves(
    centred: np.ndarray, counts: np.ndarray, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """`draws` resampled means minus the mean, from centred cluster sums `(K,)`; memory stays bounded."""
    size = len(counts)
    at_once = max(1, 2_000_000 // size)
    moves = []
    for start in range(0, draws, at_once):
        picks = rng.integers(size, size=(min(at_once, draws - start), size))
        moves.append(centred[picks].sum(axis=1) / counts[picks].sum(axis=1))
    return np.concatenate(moves)


def _widened_tail(tail: float, clusters: int) -> float:
    """The normal tail as far out as Student's with K - 1 degrees, and as sqrt(K / (K - 1)) beyond."""
    z, degrees = NormalDist().inv_cdf(tail), clusters - 1
    first = (z**3 + z) / 4  # Cornish and Fisher's expansion of Student's quantile
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    student = z + first / degrees + second / degrees**2
    return NormalDist().cdf(math.sqrt(clusters / degrees) * student)


# Checks -------------------------------------------------------------------------------------------------


def _check_count(value: int, name: str) -> None:
    number = isinstance(value, numbers.Real) and math.isfinite(value)
    if not number or value < 1 or value != int(value):
        raise ConfigError(f"{name} is {value}", where=name, fix="Use a whole number >= 1.")


def _numbers(values: ArrayLike, name: str) -> np.ndarray:
    given = _floats(values, name)
    if bad := int((~np.isfinite(given)).sum()):
        what = f"{bad} of {given.size} {name} are NaN or infinite"
        raise DataError(what, where=name, fix="Mend them first.")
    return given


def _floats(values: ArrayLike, name: str) -> np.ndarray:
    """The values as an array; rows of unequal length, and what is no number, are refused in a sentence."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as err:
        what = f"{name} are not numbers in rows of one length: {err}"
        raise DataError(what, where=name, fix="Give as many numbers for every prompt.") from err


def _finite(rewards: ArrayLike, name: str) -> np.ndarray:
    given = _floats(rewards, name)
    bad = np.argwhere(~np.isfinite(given))
    if len(bad):
        what = f"{len(bad)} of {given.size} {name} are NaN or infinite"
        first = ", ".join(map(str, bad[0].tolist()))
        raise RewardError(what, where=f"{name}[{first}]", fix="Check the reward model's dtype, or drop them.")
    return given


def _right_or_wrong(correct: ArrayLike) -> np.ndarray:
    given = _numbers(correct, "correct")
    if not np.isin(given, (0, 1)).all():
        raise DataError("correct holds other numbers than 0 and 1", where="correct", fix="Give 0 or 1.")
    return given


def _distribution(probs: ArrayLike, name: str) -> np.ndarray:
    """The probabilities, scaled to sum to 1 exactly, which they must do to 1e-6."""
    row = _floats(probs, name)
    if row.ndim != 1 or not (row >= 0).all() or not abs(row.sum() - 1) <= 1e-6:
        what = f"{name} is no distribution: it must be one row of numbers >= 0 that sum to 1"
        raise DataError(what, where=name, fix=f"They sum to {row.sum()}; divide by the sum.")
    return row / row.sum()


def _check_same_shape(first: np.ndarray, second: np.ndarray, where: str) -> None:
    if first.shape != second.shape or first.ndim != 1:
        what = f"the shapes are {first.shape} and {second.shape}"
        raise DataError(what, where=where, fix="Give one row of numbers each, equally long.")
