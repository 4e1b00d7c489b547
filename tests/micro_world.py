"""Oracles of the micro-world that tests alone need: policies of wished chances, win rates, the objective."""

import numpy as np
from numpy.typing import ArrayLike

from rslib.errors import DataError
from rslib.theory import best_of_n_probs, kl_divergence, tilted_optimum
from rslib.world.outcomes import (
    Outcomes,
    _row,
    _through,
    draw_outcomes,
    enumerate_outcomes,
    outcome_logprobs,
    outcome_probs,
    regularised_gradient,
    token_logprobs,
)

__all__ = [
    "best_of_n_win_rate",
    "draw_outcomes",
    "enumerate_outcomes",
    "logits_of",
    "outcome_logprobs",
    "outcome_probs",
    "regularised_gradient",
    "regularised_reward",
    "tilted_logits",
    "token_logprobs",
    "win_rate",
]


def logits_of(world: Outcomes, probs: ArrayLike) -> np.ndarray:
    """The policy `(P, V)` whose outcomes have `probs (K,)`: log of the chance of each next token.

    A tabular policy can have any distribution of outcomes, so best-of-n and the tilted optimum are policies
    too. A prefix that is never reached gets equal logits: its tokens play no part.

    >>> world = enumerate_outcomes(letters=1, longest=2)
    >>> outcome_probs(world, logits_of(world, [0.2, 0.7, 0.1])).round(6).tolist()
    [0.2, 0.7, 0.1]

    Raises DataError for a distribution of another length, or numbers below 0.
    """
    probs = _row(probs, len(world), "probs")
    if (probs < 0).any():
        raise DataError("probs hold numbers below 0", where="probs", fix="Give chances, one per outcome.")
    passing = _through(world, probs)
    reached = passing.sum(axis=1, keepdims=True)
    chance = np.divide(passing, reached, out=np.ones(world.shape), where=reached > 0)
    with np.errstate(divide="ignore"):
        return np.log(chance)


def tilted_logits(
    world: Outcomes, reference_logits: ArrayLike, rewards: ArrayLike, beta: float
) -> np.ndarray:
    """The policy `(P, V)` that maximises E[reward] - beta * KL(policy || reference).

    Its distribution is `theory.tilted_optimum` of the reference's; where that underflowed, logits are -inf.

    >>> world = enumerate_outcomes(letters=1, longest=1)
    >>> np.exp(tilted_logits(world, np.zeros((1, 2)), [0.0, np.log(3)], beta=1.0)).round(3).tolist()
    [[0.75, 0.25]]

    Raises as `token_logprobs` and `theory.tilted_optimum`.
    """
    return logits_of(world, tilted_optimum(outcome_probs(world, reference_logits), rewards, beta))


def win_rate(rewards: ArrayLike, probs: ArrayLike, rival: ArrayLike) -> float:
    """Chance that a draw from `probs (K,)` beats one from `rival (K,)` in reward; a tie is half a win.

    >>> win_rate([0.0, 1.0], [0.5, 0.5], [0.5, 0.5])
    0.5
    >>> round(win_rate([0.0, 1.0, 2.0], [0.0, 0.0, 1.0], [0.2, 0.2, 0.6]), 6)
    0.7

    Raises DataError unless all are rows of K finite numbers.
    """
    rewards = _row(rewards, np.size(rewards), "rewards")
    probs, rival = (_row(row, len(rewards), name) for row, name in ((probs, "probs"), (rival, "rival")))
    level = np.unique(rewards, return_inverse=True)[1]
    tied = np.bincount(level, rival)
    beaten = np.cumsum(tied) - tied / 2
    return float(probs @ beaten[level])


def best_of_n_win_rate(probs: ArrayLike, rewards: ArrayLike, n: int) -> float:
    """Chance that the best of n draws from `probs (K,)` beats one fresh draw; a tie is half a win.

    n / (n + 1) where no two outcomes tie and none has a probability worth speaking of; less in a small world.

    >>> best_of_n_win_rate([0.5, 0.5], [0.0, 1.0], n=2)  # the better one is kept 3 times of 4
    0.625

    Raises as `theory.best_of_n_probs`.
    """
    return win_rate(rewards, best_of_n_probs(probs, rewards, n), probs)


def regularised_reward(
    world: Outcomes, logits: ArrayLike, rewards: ArrayLike, reference_logits: ArrayLike, beta: float
) -> float:
    """E[reward] - beta * KL(policy || reference): what reinforcement learning maximises; beta 0: E[reward].

    -inf when the policy says what the reference cannot and beta > 0.

    >>> world = enumerate_outcomes(letters=1, longest=1)
    >>> regularised_reward(world, [[0.0, 0.0]], [0.0, 3.0], [[0.0, 0.0]], beta=0.1)
    1.5
    """
    probs = outcome_probs(world, logits)
    mean = float(probs @ _row(rewards, len(world), "rewards"))
    return mean - beta * kl_divergence(probs, outcome_probs(world, reference_logits)) if beta else mean
