"""Inputs on both sides of PPO's clip, and the gradient of a loss: what 6.2 and 6.3 look at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from autograder.checks import Rng, tensor


def ratios(rng: Rng) -> tuple[Tensor, Tensor, Tensor, float]:
    """Log-probabilities, old ones and advantages (3, 4), and the clip.

    The ratios lie inside of the clip and far outside, on both sides, for advantages of both signs.
    """
    clip = float(rng.uniform(0.1, 0.3))
    ranges = ((1.5, 2.5), (0.3, 0.6), (0.95, 1.05))
    ratio = tensor(np.concatenate([rng.uniform(low, high, 4) for low, high in ranges]))
    advantages = tensor(rng.uniform(0.5, 2, 12) * np.tile([1, -1], 6))
    old = tensor(rng.uniform(-3, -1, 12))
    logprobs, old, advantages = (values.reshape(3, 4) for values in (old + ratio.log(), old, advantages))
    return logprobs, old, advantages, clip


def descent(loss: Callable[[Tensor], Tensor], logprobs: Tensor) -> Tensor:
    """Minus the gradient of a loss with respect to the log-probabilities: the coefficient behind it."""
    leaf = logprobs.clone().requires_grad_(True)
    loss(leaf).sum().backward()
    return -leaf.grad
