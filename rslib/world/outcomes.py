"""The micro-world: a policy so small that all its responses can be listed, and what is exact because of it.

A policy is a table of logits (P, V): one row for each of the P prefixes that a response can have, one column
for each of V tokens, the last of them the end of sequence. An *outcome* is one whole response; there are K of
them, each with a reward. Every expectation is then a sum over outcomes, so code for best-of-n and for
reinforcement learning can be tested against mathematics instead of against samples. Distributions are rows
(K,) as in `rslib.theory`; KL is in nats.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rslib.errors import ConfigError, DataError

_MOST_OUTCOMES = 100_000


@dataclass(frozen=True, eq=False)
class Outcomes:
    """All responses of up to T tokens over `letters` letters and an end of sequence, shortest first.

    tokens (K, T): token ids; the end of sequence is the last id, and pads. mask (K, T): True on the tokens
    that are drawn, the end of sequence included. prefixes (K, T): the row of the logits that each token is
    drawn from, 0 off the mask. A response of T letters is cut: it has no end of sequence. shape: (P, V) of
    the logits. All arrays can be handed to torch as they are.
    """

    tokens: np.ndarray
    mask: np.ndarray
    prefixes: np.ndarray
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.tokens)


def enumerate_outcomes(letters: int, longest: int) -> Outcomes:
    """Every response of at most `longest` tokens; with 4 letters and 4 tokens there are 341.

    Without letters there is one outcome: the end of sequence alone.

    >>> world = enumerate_outcomes(letters=2, longest=2)
    >>> len(world), world.shape
    (7, (3, 3))
    >>> [row[keep].tolist() for row, keep in zip(world.tokens, world.mask)]
    [[2], [0, 2], [1, 2], [0, 0], [0, 1], [1, 0], [1, 1]]

    Raises ConfigError unless letters >= 0, longest >= 1 and there are at most 100 000 outcomes.
    """
    if letters < 0 or longest < 1:
        what = f"letters is {letters}, longest is {longest}"
        raise ConfigError(what, where="enumerate_outcomes", fix="Use letters >= 0 and longest >= 1.")
    if letters > 1 and (count := letters**longest) > _MOST_OUTCOMES:
        what = f"{letters} letters and {longest} tokens make more than {count} outcomes"
        raise ConfigError(what, where="enumerate_outcomes", fix=f"Stay below {_MOST_OUTCOMES}.")
    texts = [t for length in range(longest + 1) for t in itertools.product(range(letters), repeat=length)]
    number = {text: row for row, text in enumerate(texts)}
    tokens = np.full((len(texts), longest), letters)
    mask = np.zeros(tokens.shape, dtype=bool)
    prefixes = np.zeros(tokens.shape, dtype=int)
    for row, text in enumerate(texts):
        ids = (*text, letters)[:longest]
        tokens[row, : len(ids)], mask[row, : len(ids)] = ids, True
        prefixes[row, : len(ids)] = [number[text[:t]] for t in range(len(ids))]
    inner = sum(len(text) < longest for text in texts)
    return Outcomes(tokens, mask, prefixes, (inner, letters + 1))


def token_logprobs(world: Outcomes, logits: ArrayLike) -> np.ndarray:
    """Logprob of each token of each outcome under the policy `logits (P, V)`, `(K, T)`; 0 off the mask.

    >>> token_logprobs(enumerate_outcomes(1, 2), np.zeros((2, 2))).round(3).tolist()
    [[-0.693, 0.0], [-0.693, -0.693], [-0.693, -0.693]]

    A logit of -inf makes a token, and the outcomes with it, impossible. Raises DataError for logits of
    another shape, NaN, +inf, or a prefix all of whose tokens are impossible.
    """
    table = _log_softmax(world, logits)
    return np.where(world.mask, table[world.prefixes, world.tokens], 0.0)


def outcome_logprobs(world: Outcomes, logits: ArrayLike) -> np.ndarray:
    """Logprob of each outcome, `(K,)`; -inf for impossible ones. Raises as `token_logprobs`."""
    return token_logprobs(world, logits).sum(axis=1)


def outcome_probs(world: Outcomes, logits: ArrayLike) -> np.ndarray:
    """Probability of each outcome, `(K,)`; sums to 1. Raises as `token_logprobs`.

    >>> outcome_probs(enumerate_outcomes(letters=1, longest=2), np.zeros((2, 2))).tolist()
    [0.5, 0.25, 0.25]
    """
    return np.exp(outcome_logprobs(world, logits))


def regularised_gradient(
    world: Outcomes, logits: ArrayLike, rewards: ArrayLike, reference_logits: ArrayLike, beta: float
) -> np.ndarray:
    """The exact gradient `(P, V)` of E[reward] - beta * KL(policy || reference) with respect to the logits.

    What reinforcement learning follows. The sum over outcomes y of p(y) * (reward(y) - beta * log(p(y) /
    p_ref(y))) * grad log p(y) (Williams 1992); the gradient of the log p inside the KL has mean 0. grad log
    p(y) is, at each prefix on the way, 1 for the token drawn minus the chance of each. Rows sum to 0.

    >>> world = enumerate_outcomes(letters=1, longest=1)
    >>> regularised_gradient(world, [[0.0, 0.0]], [1.0, 0.0], [[0.0, 0.0]], beta=0.5).tolist()
    [[-0.25, 0.25]]

    Raises DataError where beta > 0 and the KL is infinite, else as `token_logprobs`.
    """
    logs, rewards = outcome_logprobs(world, logits), _row(rewards, len(world), "rewards")
    probs, shaped = np.exp(logs), rewards.copy()
    if beta:
        reference = outcome_logprobs(world, reference_logits)
        drawn = probs > 0
        if np.isneginf(reference[drawn]).any():
            what = "the policy has outcomes that the reference can never have, so KL is infinite"
            raise DataError(what, where="regularised_gradient", fix="Use beta = 0, or another reference.")
        shaped[drawn] -= beta * (logs[drawn] - reference[drawn])
    passing = _through(world, probs * shaped)
    return passing - passing.sum(axis=1, keepdims=True) * np.exp(_log_softmax(world, logits))


def draw_outcomes(probs: ArrayLike, size: int | tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Independent draws from the distribution `probs (K,)`: indices of outcomes, of shape `size`.

    >>> draw_outcomes([0.0, 1.0, 0.0], (1, 2), np.random.default_rng(0)).tolist()
    [[1, 1]]
    """
    probs = np.asarray(probs, dtype=float)
    return rng.choice(len(probs), size=size, p=probs / probs.sum())


def _through(world: Outcomes, weights: np.ndarray) -> np.ndarray:
    """Sum (P, V) of the weights (K,) of all outcomes that pass through each token of each prefix."""
    summed = np.zeros(world.shape)
    places = (world.prefixes[world.mask], world.tokens[world.mask])
    np.add.at(summed, places, np.broadcast_to(weights[:, None], world.mask.shape)[world.mask])
    return summed


def _log_softmax(world: Outcomes, logits: ArrayLike) -> np.ndarray:
    table = np.asarray(logits, dtype=float)
    if table.shape != world.shape:
        what = f"the logits have the shape {table.shape}, not {world.shape}"
        raise DataError(what, where="logits", fix="Give one row per prefix and one column per token.")
    highest = table.max(axis=1, keepdims=True)
    if not np.isfinite(highest).all():  # NaN and +inf show in the maximum, and so does a row of -inf
        where = f"logits[{int(np.argmax(~np.isfinite(highest)))}]"
        raise DataError(
            "a prefix has NaN, +inf, or no possible token",
            where=where,
            fix="Give each prefix a finite logit.",
        )
    shifted = table - highest
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _row(numbers: ArrayLike, count: int, name: str) -> np.ndarray:
    row = np.asarray(numbers, dtype=float)
    if row.shape != (count,) or not np.isfinite(row).all():
        what = f"{name} have the shape {row.shape}, or are NaN or infinite"
        raise DataError(what, where=name, fix=f"Give {count} finite numbers, one per outcome.")
    return row
