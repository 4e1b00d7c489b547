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
from rslib.rl import losses
from rslib.rl.advantages import group_normalised, mixed_groups
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

    The ratio is the geometric mean of the tokens' (Zheng et al. 2025, arXiv 2507.18071).
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


# From rejection sampling to GRPO and beyond: rewards of a checker, 0 or 1, as `Loop(normalise_rewards=False,
# missing_eos_penalty=0)` leaves them


def best_of_group(rollouts: Rollouts) -> Tensor:
    """Which responses (B,) have the highest reward of their prompt; none where all are equal and not > 0."""
    rewards = rollouts.grouped
    kept = (rewards == rewards.amax(1, keepdim=True)) & (mixed_groups(rewards)[:, None] | (rewards > 0))
    return kept.flatten()


def _advantages(rollouts: Rollouts, rows: list[int], by: str = "std") -> Tensor:
    return group_normalised(rollouts.grouped, by=by).flatten()[rows][:, None]


def _raft(rollouts: Rollouts, rows: list[int], now: Tensor, kl_coefficient: float) -> Tensor:
    return rejection_sampling(now, best_of_group(rollouts)[rows])


def _raft_pp(rollouts: Rollouts, rows: list[int], now: Tensor, kl_coefficient: float) -> Tensor:
    return ppo(now, rollouts.logprobs[rows], best_of_group(rollouts)[rows][:, None].to(now.dtype), 0.2)


def _reinforce_rej(rollouts: Rollouts, rows: list[int], now: Tensor, kl_coefficient: float) -> Tensor:
    learned = rollouts.grouped * mixed_groups(rollouts.grouped)[:, None]
    return ppo(now, rollouts.logprobs[rows], learned.flatten()[rows][:, None], 0.2)


def _clip_higher(rollouts: Rollouts, rows: list[int], now: Tensor, kl_coefficient: float) -> Tensor:
    return ppo(now, rollouts.logprobs[rows], _advantages(rollouts, rows), 0.2, 0.28)


def _dr_grpo(rollouts: Rollouts, rows: list[int], now: Tensor, kl_coefficient: float) -> Tensor:
    return ppo(now, rollouts.logprobs[rows], _advantages(rollouts, rows, "none"), 0.2)


def _gspo(rollouts: Rollouts, rows: list[int], now: Tensor, kl_coefficient: float) -> Tensor:
    old, mask = rollouts.logprobs[rows], rollouts.mask[rows]
    return gspo(now, old, mask, _advantages(rollouts, rows), 3e-4, 4e-4)


def _maxrl(rollouts: Rollouts, rows: list[int], now: Tensor, kl_coefficient: float) -> Tensor:
    return policy_gradient(now, _advantages(rollouts, rows, "mean"))


VARIANTS: dict[str, Unified] = {
    "raft": Unified(_raft, "sequences"),
    "raft_pp": Unified(_raft_pp, "sequences"),
    "reinforce_rej": Unified(_reinforce_rej, "sequences"),
    "clip_higher": Unified(_clip_higher, "tokens"),
    "dr_grpo": Unified(_dr_grpo, "rows"),
    "gspo": Unified(_gspo, "sequences"),
    "maxrl": Unified(_maxrl, "rows"),
}
"""Methods by name, without KL: RAFT and RAFT++ (arXiv 2504.11343) keep the best of each prompt, the second
with a clipped ratio; Reinforce-Rej (there) weighs by the reward and leaves out prompts of equal rewards;
clip_higher is DAPO's loss (2503.14476); dr_grpo (2503.20783) up to its constant length, a factor of the
learning rate; gspo (2507.18071) with the clips that its authors use; maxrl (2602.02710) on fresh samples.
`Loop(mixed_groups=True)` adds dynamic sampling to each."""
