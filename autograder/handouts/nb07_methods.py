"""The methods of exercise 7.2 with what was measured of them, as a learner gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.exercise import Variant
from autograder.handouts.nb07_results import METHODS, content

if TYPE_CHECKING:
    from rslib.arena import Arm

Evidence = tuple["Arm", list[dict[str, Any]], list[dict[str, Any]], np.ndarray]


def coefficients(arm: str) -> np.ndarray:
    """Gradient coefficients (B, T) of an arm on six scored responses of four tokens; (0, 4) untrained.

    The engine's unified view at the start of training: the policy is still its reference.
    """
    import torch

    from rslib.rl import advantages, unified

    rewards = torch.tensor([[0.3, -1.2, 2.1], [1.5, 0.4, -0.6]])
    logprobs = torch.full((6, 4), -1.0)
    gains = advantages.leave_one_out(rewards).reshape(-1, 1)
    scaled = advantages.group_normalised(rewards).reshape(-1, 1)
    best = (rewards == rewards.max(1, keepdim=True).values).reshape(-1)
    worst = (rewards == rewards.min(1, keepdim=True).values).reshape(-1)
    weight = unified.dpo(*(torch.zeros(1) for _ in range(4)), beta=0.1)
    pairs = weight * (best.float() - worst.float())[:, None]
    known = {
        "rs1": unified.rejection_sampling(logprobs, best),
        "dpo": pairs.expand(6, 4),
        "rloo": unified.policy_gradient(logprobs, gains),
        "grpo": unified.grpo(logprobs, logprobs, logprobs, scaled, 0.2, 0.04),
        "ppo": unified.ppo(logprobs, logprobs, advantages.whiten(gains.expand(6, 4), logprobs < 0), 0.2),
    }
    return np.round(known[arm].double().numpy(), 3) if arm in known else np.zeros((0, 4))


class Methods(dict[str, Evidence]):
    """Arm -> (arm, its runs, its trials at equal FLOPs, gradient coefficients) of the methods shown.

    rate_claims: what the large arena says of the learning rate, each claim with its interval and verdict.
    """

    @property
    def rate_claims(self) -> list[dict[str, Any]]:
        """Claims that PPO loses more gold than RS-1 when the learning rate is another."""
        return [claim for claim in content()["rates"] if "equal FLOPs" in claim["claim"]]


def given(variant: Variant) -> Methods:
    """What is measured of every method shown."""
    from rslib.arena import ARMS

    methods = Methods()
    for name in METHODS:
        runs, trials = ([row for row in content()[kind] if row["arm"] == name] for kind in ("runs", "trials"))
        methods[name] = (ARMS[name], list(runs), list(trials), coefficients(name))
    return methods
