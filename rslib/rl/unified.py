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
from functools import partial

import torch
from torch import Tensor

from rslib.optimization import Objective
from rslib.rl import losses
from rslib.rl.advantages import group_normalised, mixed_groups
from rslib.rl.methods import Method, averaged
from rslib.rl.rollouts import Learner, Rollouts


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


def ppo(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float, clip_high: float | None = None
) -> Tensor:
    """Ratio * advantage, and 0 where the ratio has passed the clip to the side that the advantage asks for.

    `clip_high`: as of `losses.clipped_policy`. With advantages 1 of kept responses, else 0: RAFT++.

    >>> ppo(torch.tensor([0.0, 0.5]), torch.tensor([0.0, 0.0]), torch.tensor([2.0, 2.0]), 0.2).tolist()
    [2.0, 0.0]
    """
    ratio = torch.exp(logprobs - old_logprobs)
    high = clip if clip_high is None else clip_high
    beyond = torch.where(advantages > 0, ratio > 1 + high, ratio < 1 - clip)
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


def gspo(
    logprobs: Tensor,
    old_logprobs: Tensor,
    mask: Tensor,
    advantages: Tensor,
    clip: float,
    clip_high: float | None = None,
) -> Tensor:
    """PPO's coefficient of whole responses on each of their tokens; advantages (B, 1), the mean "sequences".

    The ratio is the geometric mean of the tokens' (Zheng et al. 2025, arXiv 2507.18071, eq. 5, 7).
    """
    now, old = (losses.masked_mean(values, mask, 1)[:, None] for values in (logprobs, old_logprobs))
    return sft(logprobs) * ppo(now, old, advantages, clip, clip_high)


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
    """-coefficient * log pi, the coefficient held constant (booleans too): the unified gradient's loss."""
    return -coefficient.detach().to(logprobs.dtype) * logprobs


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


# From rejection sampling to GRPO and beyond, for the rewards of a checker, 0 or 1


def best_of_group(rewards: Tensor) -> Tensor:
    """1 for the highest rewards (M, n) of each prompt, else 0; all 0 where all are equal and not above 0.

    >>> best_of_group(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])).tolist()
    [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    best = rewards == rewards.amax(1, keepdim=True)
    return (best & (mixed_groups(rewards)[:, None] | (rewards > 0))).to(rewards.dtype)


def _variant(
    advantages: Callable[[Tensor], Tensor],
    mean: str,
    clip: float | None = 0.2,
    clip_high: float | None = None,
    *,
    whole: bool = False,
) -> Unified:
    """`advantages` (M, n) of rewards (M, n) with clipped ratios, of `whole` responses or of tokens."""

    def coefficient(rollouts: Rollouts, rows: list[int], now: Tensor, kl_coefficient: float) -> Tensor:
        gains, old = advantages(rollouts.grouped).flatten()[rows][:, None], rollouts.logprobs[rows]
        if clip is None:
            return policy_gradient(now, gains)
        if whole:
            return gspo(now, old, rollouts.mask[rows], gains, clip, clip_high)
        return ppo(now, old, gains, clip, clip_high)

    return Unified(coefficient, mean)


VARIANTS: dict[str, Unified] = {
    "raft": _variant(best_of_group, "sequences", None),
    "raft_pp": _variant(best_of_group, "sequences"),
    "reinforce_rej": _variant(lambda rewards: rewards * mixed_groups(rewards)[:, None], "sequences"),
    "clip_higher": _variant(group_normalised, "tokens", 0.2, 0.28),
    "dr_grpo": _variant(partial(group_normalised, by="none"), "rows"),
    "gspo": _variant(group_normalised, "sequences", 3e-4, 4e-4, whole=True),
    "maxrl": _variant(partial(group_normalised, by="mean"), "rows", None),
}
"""Methods by name, without KL, of rewards as in `Loop(normalise_rewards=False, missing_eos_penalty=0)`.

RAFT and RAFT++ (arXiv 2504.11343, eq. 1 and 6) keep the best of each prompt, the second with a clipped ratio;
Reinforce-Rej (there, eq. 5) weighs by the reward and leaves out prompts of equal rewards; clip_higher is
DAPO's loss (2503.14476, eq. 8, 10), with `Loop(mixed_groups=True)` its dynamic sampling too; dr_grpo
(2503.20783, section 3.2) up to its constant length, a factor of the learning rate; gspo (2507.18071, eq. 5 to
7, clips of section 5.1); maxrl (2602.02710, algorithm 1) on fresh samples."""
