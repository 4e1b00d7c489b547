"""One view of all methods: each multiplies grad log pi of every token by a number, its gradient coefficient.

    gradient = mean over rows and tokens of coefficient * grad log pi(token)

Methods differ in where the responses come from and in the coefficient (Shao et al. 2024, arXiv 2402.03300,
section 5.2 and appendix A.1). The functions below give it per token, for responses at hand; `surrogate` is
the loss whose gradient is exactly that, so the loop can run any of them: `Unified(coefficient)` is a method
like the others. Positive raises a token's probability. Nothing here carries a gradient but `logprobs` in
`surrogate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rslib.optimization import Objective
from rslib.rl.learner import Learner
from rslib.rl.methods import Method, averaged
from rslib.rl.rollouts import Rollouts


def sft(logprobs: Tensor) -> Tensor:
    """1 for each token of each response that was handed in (B, T).

    >>> sft(torch.tensor([[-1.0, -2.0]])).tolist()
    [[1.0, 1.0]]
    """
    return torch.ones_like(logprobs)


def rejection_sampling(logprobs: Tensor, kept: Tensor) -> Tensor:
    """1 for the tokens of kept responses, else 0 (B, T); kept (B,) booleans. Offline and online RFT alike."""
    return sft(logprobs) * kept[:, None].to(logprobs.dtype)


def policy_gradient(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """The advantage (B, T) or (B, 1) itself: REINFORCE and RLOO."""
    return sft(logprobs) * advantages


def ppo(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Ratio * advantage, and 0 where the ratio has passed the clip to the side that the advantage asks for.

    >>> ppo(torch.tensor([0.0, 0.5]), torch.tensor([0.0, 0.0]), torch.tensor([2.0, 2.0]), 0.2).tolist()
    [2.0, 0.0]
    """
    ratio = torch.exp(logprobs - old_logprobs)
    beyond = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return torch.where(beyond, torch.zeros_like(ratio), ratio * advantages)


def grpo(
    logprobs: Tensor,
    old_logprobs: Tensor,
    reference_logprobs: Tensor,
    advantages: Tensor,
    clip: float,
    kl_coefficient: float,
) -> Tensor:
    """PPO's coefficient plus kl_coefficient * (reference / policy - 1), the pull of k3 (eq. 21)."""
    pull = torch.expm1(reference_logprobs - logprobs)
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull


def dpo(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Tensor:
    """`beta * sigmoid(-beta * margin)` per pair: + on every token of the chosen response, - on the rejected.

    >>> dpo(torch.zeros(1), torch.zeros(1), torch.zeros(1), torch.zeros(1), 0.2).tolist()
    [0.10000000149011612]
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return beta * torch.sigmoid(-beta * margin)


def surrogate(logprobs: Tensor, coefficient: Tensor) -> Tensor:
    """-coefficient * log pi, the coefficient held constant: the loss whose gradient is the unified one."""
    return -coefficient.detach() * logprobs


@dataclass(frozen=True)
class Unified(Method):
    """A method of the loop made of a coefficient alone.

    coefficient(rollouts, rows, logprobs, kl_coefficient) gives (rows, T); `mean` averages, as in `losses`.
    """

    coefficient: Callable[[Rollouts, list[int], Tensor, float], Tensor]
    mean: str = "rows"

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        """The surrogate of the coefficient at the learner's current weights."""

        def per_token(rows: list[int]) -> Tensor:
            now = learner.logprobs(rollouts, rows)
            return surrogate(now, self.coefficient(rollouts, rows, now.detach(), kl_coefficient))

        return averaged(rollouts, self.mean, per_token)
