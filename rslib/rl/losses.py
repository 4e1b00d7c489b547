"""The losses of the textbook, one number per element; `total` and `weight` make them one number per batch.

All take tensors of equal shape: per token (B, T), or per response (B,) where a ratio is meant of whole
responses. `logprobs` carry the gradient, everything else is a constant. Units: nats for log-probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rslib.config import unknown_name
from rslib.rl.advantages import kl_estimate

_MEANS = ("tokens", "sequences", "rows")
"""How the losses of a batch are averaged: see `total`."""


def policy_gradient(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """-A log pi: its gradient is minus the policy gradient (Williams 1992). For fresh samples only.

    >>> policy_gradient(torch.tensor([-2.0]), torch.tensor([0.5])).tolist()
    [1.0]
    """
    return -advantages * logprobs


def clipped_policy(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float, clip_high: float | None = None
) -> Tensor:
    """PPO's loss: -min(ratio A, clip(ratio, 1 - clip, 1 + clip) A), ratio = exp(logprobs - old_logprobs).

    Once a ratio has moved beyond the clip to the side that its advantage asks for, the gradient is 0
    (Schulman et al. 2017, arXiv 1707.06347, eq. 7). `clip_high`: another clip above 1, as DAPO's clip-higher
    (Yu et al. 2025, arXiv 2503.14476, eq. 8, 10). Of mean log-probabilities of whole responses
    (`masked_mean`) this is GSPO, whose ratio is the tokens' geometric mean (Zheng et al. 2025, arXiv
    2507.18071, eq. 5, 7).

    >>> clipped_policy(torch.tensor([0.0, 0.0]), torch.tensor([-1.0, -1.0]), torch.tensor([1.0, -1.0]), 0.2)
    tensor([-1.2000,  2.7183])
    """
    ratio = torch.exp(logprobs - old_logprobs)
    high = clip if clip_high is None else clip_high
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + high) * advantages)


def clipped_value(values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the larger of two squared errors: of the value, and of the value held within `clip` of the old.

    Huang et al. 2024, "The N implementation details of RLHF with PPO", value clipping.

    >>> clipped_value(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([2.0]), 0.5).tolist()
    [1.125]
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (near - returns).square())


def grpo(
    logprobs: Tensor,
    old_logprobs: Tensor,
    reference_logprobs: Tensor,
    advantages: Tensor,
    clip: float,
    kl_coefficient: float,
) -> Tensor:
    """The clipped loss plus kl_coefficient * k3, per token (Shao et al. 2024, arXiv 2402.03300, eq. 3, 4).

    >>> same = torch.tensor([-1.0])
    >>> grpo(same, same, same, torch.tensor([0.7]), 0.2, 0.1).tolist()
    [-0.699999988079071]
    """
    kl = kl_estimate(logprobs, reference_logprobs, "k3")
    return clipped_policy(logprobs, old_logprobs, advantages, clip) + kl_coefficient * kl


def dpo(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Tensor:
    """-log sigmoid(beta * margin) per pair, of log-probabilities (pairs,) of whole responses.

    The margin is how much more the policy prefers the chosen response than the reference does
    (Rafailov et al. 2023, arXiv 2305.18290, eq. 7).

    >>> zero = torch.zeros(1)
    >>> round(float(dpo(zero, zero, zero, zero, 0.1)), 4)  # log 2: no preference yet
    0.6931
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -torch.nn.functional.logsigmoid(beta * margin)


def masked_mean(values: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """The mean of the values at masked places along `dim` (None: over all); 0 where no place is masked.

    >>> masked_mean(torch.tensor([[1.0, 3.0], [5.0, 9.0]]), torch.tensor([[True, True], [True, False]]), 1)
    tensor([2., 5.])
    """
    axes = tuple(range(values.ndim)) if dim is None else dim
    return torch.where(mask, values, torch.zeros_like(values)).sum(axes) / mask.sum(axes).clamp(min=1)


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats (...) of the distributions that logits (..., vocabulary) give; -inf is probability 0.

    >>> round(float(entropy(torch.tensor([0.0, 0.0, -torch.inf])).exp()), 4)
    2.0
    """
    return torch.special.entr(logits.softmax(-1)).sum(-1)


def total(losses: Tensor, mask: Tensor, mean: str) -> Tensor:
    """The sum of masked losses (B, T) that `weight` divides, so that parts of a batch can be added up.

    "tokens": mean over all response tokens, so long responses count more. "sequences": mean over rows of each
    row's mean, so a token of a long response counts less. "rows": sum over tokens, mean over rows, which is
    what an expectation over responses asks for. A batch without tokens gives 0.
    Raises ConfigError for another mean.

    >>> losses = torch.tensor([[1.0, 1.0, 4.0], [6.0, 0.0, 0.0]])
    >>> mask = torch.tensor([[True, True, True], [True, False, False]])
    >>> [float(total(losses, mask, mean) / weight(mask, mean)) for mean in _MEANS]
    [3.0, 4.0, 6.0]
    """
    masked = torch.where(mask, losses, torch.zeros_like(losses))
    if mean == "sequences":
        masked = masked / mask.sum(1, keepdim=True).clamp(min=1)
    elif mean not in _MEANS:
        raise unknown_name("mean", mean, _MEANS, "losses.total")
    return masked.sum()


def weight(mask: Tensor, mean: str) -> float:
    """What `total` is divided by: the tokens of the batch for "tokens", else its rows; never less than 1."""
    return float(max(1, int(mask.sum()) if mean == "tokens" else mask.shape[0]))
