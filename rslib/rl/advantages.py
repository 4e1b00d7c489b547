"""From rewards to advantages: how much better a response, or a token, was than expected.

Shapes: M prompts, n responses a prompt, B = M * n rows, T tokens of the longest response. `mask` (B, T) is
True on response tokens; values elsewhere are ignored and come back as 0. Rewards and KL are in the reward's
units and in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rslib.config import require, unknown_name

_WHITEN_EPSILON = 1e-8


def leave_one_out(rewards: Tensor) -> Tensor:
    """Each reward (M, n) minus the mean of the other n - 1 rewards of its prompt.

    The baseline does not depend on the response that it judges, so the policy gradient stays unbiased
    (Ahmadian et al. 2024, arXiv 2402.14740, eq. 6). With n = 1 there is nothing to compare with: the baseline
    is 0. Equal rewards give 0 throughout.

    >>> leave_one_out(torch.tensor([[1.0, 2.0, 6.0]])).tolist()
    [[-3.0, -1.5, 4.5]]
    """
    n = rewards.shape[-1]
    if n == 1:
        return rewards.clone()
    rewards = rewards - rewards[..., :1]  # so that equal rewards cancel to the last bit
    others = (rewards.sum(-1, keepdim=True) - rewards) / (n - 1)
    return rewards - others


def group_normalised(rewards: Tensor, epsilon: float = 1e-4, by: str = "std") -> Tensor:
    """Each reward (M, n) minus its prompt's mean, over what `by` says of the prompt's rewards, plus epsilon.

    "std": their standard deviation (ddof 1), as in GRPO (Shao et al. 2024, arXiv 2402.03300, section 4.1.2).
    "none": nothing, as in Dr. GRPO (Liu et al. 2025, arXiv 2503.20783, section 3.2), so that prompts on which
    the policy is nearly always right or wrong weigh no more. "mean": their mean, as in MaxRL (Tajwar et al.
    2026, arXiv 2602.02710, algorithm 1): of rewards 0 and 1 this climbs the log of the chance of a right
    response, and hard prompts weigh most. Equal rewards and n = 1 give 0, thanks to epsilon.
    Raises ConfigError for another `by`, and for "mean" of rewards below 0.

    >>> group_normalised(torch.tensor([[0.0, 2.0], [5.0, 5.0]])).round(decimals=2).tolist()
    [[-0.7099999785423279, 0.7099999785423279], [0.0, 0.0]]
    >>> group_normalised(torch.tensor([[0.0, 0.0, 0.0, 1.0]]), 0.0, "mean").tolist()
    [[-1.0, -1.0, -1.0, 3.0]]
    """
    shifted = rewards - rewards[..., :1]  # so that equal rewards cancel to the last bit
    centred, mean = shifted - shifted.mean(-1, keepdim=True), rewards.mean(-1, keepdim=True)
    if by not in ("std", "none", "mean"):
        raise unknown_name("way to normalise", by, ("std", "none", "mean"), "group_normalised")
    fix = "Give rewards of a checker, as they are: Loop(normalise_rewards=False, missing_eos_penalty=0)."
    require(by != "mean" or bool((rewards >= 0).all()), "rewards below 0", "group_normalised", fix)
    if by == "none" or rewards.shape[-1] == 1:
        return centred
    return centred / ((shifted.std(-1, keepdim=True) if by == "std" else mean) + epsilon)


def mixed_groups(rewards: Tensor) -> Tensor:
    """Which prompts (M,) have unequal rewards (M, n): from the others no comparison within them learns.

    Reinforce-Rej leaves the others out (Xiong et al. 2025, arXiv 2504.11343), dynamic sampling draws new ones
    for them (DAPO, Yu et al. 2025, arXiv 2503.14476).

    >>> mixed_groups(torch.tensor([[0.0, 1.0], [1.0, 1.0]])).tolist()
    [True, False]
    """
    return (rewards != rewards[..., :1]).any(-1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Values (B, T) shifted and scaled to mean 0 and variance 1 over the masked places.

    The variance is that of the places themselves (ddof 0), with 1e-8 under the root (Huang et al. 2024,
    "The N implementation details of RLHF with PPO"). Equal values give 0; no masked place gives 0 throughout.

    >>> mask = torch.tensor([[True, True, False]])
    >>> whiten(torch.tensor([[1.0, 3.0, 9.0]]), mask).round(decimals=3).tolist()
    [[-1.0, 1.0, 0.0]]
    """
    exact = _masked(values, mask).double()  # in float32 equal values would not cancel
    count = mask.sum().clamp(min=1)
    mean = exact.sum() / count
    variance = _masked((exact - mean).square(), mask).sum() / count
    scaled = (exact - mean) * torch.rsqrt(variance + _WHITEN_EPSILON)
    return _masked(scaled, mask).to(values.dtype)


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    """The values, and 0 off the mask, whatever stands there."""
    return torch.where(mask, values, torch.zeros_like(values))


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float = 1.0, smoothing: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and returns, both (B, T); a row ends with its last masked token.

    delta_t = r_t + discount * V_(t+1) - V_t, A_t = delta_t + discount * smoothing * A_(t+1), return = A + V
    (Schulman et al. 2016, arXiv 1506.02438, eq. 16). V behind the last token is 0: the response is over.

    >>> mask = torch.tensor([[True, True]])
    >>> gae(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]]), mask, 1.0, 1.0)
    (tensor([[0.5000, 0.5000]]), tensor([[1., 1.]]))
    """
    rewards, values, weights = _masked(rewards, mask), _masked(values, mask), mask.to(values.dtype)
    advantages = torch.zeros_like(values)
    ahead = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        following = values[:, t + 1] if t + 1 < values.shape[1] else torch.zeros_like(ahead)
        delta = rewards[:, t] + discount * following - values[:, t]
        ahead = (delta + discount * smoothing * ahead) * weights[:, t]
        advantages[:, t] = ahead
    return advantages, advantages + values


def kl_estimate(logprobs: Tensor, reference_logprobs: Tensor, kind: str = "k1") -> Tensor:
    """Estimates of KL(policy || reference) in nats per token, elementwise, for tokens drawn from the policy.

    With d = reference - policy: k1 = -d (unbiased, any sign), k2 = d^2 / 2 (biased, small variance),
    k3 = exp(d) - 1 - d (unbiased and never negative). Schulman 2020, "Approximating KL divergence".
    Raises ConfigError for another kind.

    >>> [round(float(kl_estimate(torch.tensor(-1.0), torch.tensor(-1.5), k)), 4) for k in ("k1", "k2", "k3")]
    [0.5, 0.125, 0.1065]
    """
    gap = reference_logprobs - logprobs
    kinds = {"k1": lambda: -gap, "k2": lambda: gap.square() / 2, "k3": lambda: torch.expm1(gap) - gap}
    if kind not in kinds:
        raise unknown_name("estimate of KL", kind, kinds, "kl_estimate")
    return kinds[kind]()


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """Rewards per token (B, T): -coefficient * kl everywhere, plus the score (B,) on the last token.

    Stiennon et al. 2020, arXiv 2009.01325, section 3.4. A row without tokens stays 0 and loses its score.

    >>> mask = torch.tensor([[True, True, False]])
    >>> token_rewards(torch.tensor([2.0]), torch.tensor([[0.1, 0.3, 9.0]]), mask, 1.0)
    tensor([[-0.1000,  1.7000,  0.0000]])
    """
    weights = mask.to(kl.dtype)
    rewards = -coefficient * _masked(kl, mask)
    last = weights.cumsum(1).eq(weights.sum(1, keepdim=True)) & mask
    return rewards + last.to(kl.dtype) * scores[:, None]
