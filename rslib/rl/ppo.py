"""PPO for language models, with all that the published recipes agree on and nothing more.

In: a value model, a frozen reference, generalised advantage estimates, clipped ratio and clipped value, a
KL penalty on every token, whitened advantages; the loop adds normalised rewards and the penalty for a
missing end of sequence. Out: an adaptive KL coefficient, an entropy bonus, a value model that starts from
the reward model (its tokens may be another tokenizer's), sharing one trunk between policy and value model
(it saves memory and couples two losses), and reward clipping. Source: Ouyang et al. 2022 (arXiv
2203.02155), appendix C; Huang et al. 2024, "The N implementation details of RLHF with PPO".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rslib.config import require
from rslib.optimization import Objective
from rslib.rl import losses
from rslib.rl.advantages import gae, kl_estimate, token_rewards, whiten
from rslib.rl.draws import Draw
from rslib.rl.learner import Learner
from rslib.rl.method import Method, averaged


@dataclass(frozen=True)
class PPO(Method):
    """clip, value_clip: of ratio and value; value_coefficient: of its loss; discount, smoothing: of GAE."""

    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.1
    discount: float = 1.0
    smoothing: float = 0.95
    needs_values: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("clip", "value_clip", "value_coefficient"):
            value = getattr(self, name)
            require(value > 0, f"{name} is {value}", f"PPO.{name}", "Use a number > 0.")
        for name in ("discount", "smoothing"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name} is {value}", f"PPO.{name}", "Use a number from 0 to 1.")

    def advantages(self, draw: Draw, values: Tensor, kl_coefficient: float) -> tuple[Tensor, Tensor]:
        """Whitened advantages and returns, both (B, T)."""
        kl = kl_estimate(draw.logprobs, draw.reference, "k1")
        rewards = token_rewards(draw.rewards, kl, draw.mask, kl_coefficient)
        advantages, returns = gae(rewards, values, draw.mask, self.discount, self.smoothing)
        return whiten(advantages, draw.mask), returns

    def objective(self, learner: Learner, draw: Draw, kl_coefficient: float) -> Objective:
        """Mean over tokens of the clipped policy loss plus the weighted value loss."""
        before = learner.all_values(draw)
        advantages, returns = self.advantages(draw, before, kl_coefficient)

        def per_token(rows: list[int]) -> Tensor:
            policy = losses.clipped_policy(
                learner.logprobs(draw, rows), draw.logprobs[rows], advantages[rows], self.clip
            )
            value = losses.clipped_value(
                learner.values(draw, rows), before[rows], returns[rows], self.value_clip
            )
            return policy + self.value_coefficient * value

        return averaged(draw, "tokens", per_token)
