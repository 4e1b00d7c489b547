"""The methods of the loop, as textbooks agree: REINFORCE, RLOO, GRPO, online RFT, PPO, distillation.

What is left out. REINFORCE and RLOO neither weight nor clip by a ratio: on fresh samples it is 1, as in
Ahmadian et al. (2024). Where rollouts are split into minibatches, or passed over more than once, all steps
but the first are slightly off-policy, and nothing corrects for that: keep the learning rate small. GRPO is
the one of DeepSeekMath, with outcome rewards only and its KL not weighted by the ratio, as some libraries now
do. Online RFT tunes on the best response to each prompt of each step, without the filters that a checker of
results would allow. PPO has a value model, a frozen reference, generalised advantage estimates, clipped ratio
and clipped value, a KL penalty on every token and whitened advantages; the loop adds normalised rewards and
the penalty for a missing end of sequence. It has no adaptive KL coefficient, no entropy bonus, no value model
that starts from the reward model (its tokens may be another tokenizer's) or shares a trunk with the policy
(it saves memory and couples two losses), and no reward clipping (Ouyang et al. 2022, arXiv 2203.02155,
appendix C; Huang et al. 2024, "The N implementation details of RLHF with PPO").
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from rslib import tables
from rslib.config import require
from rslib.errors import DataError
from rslib.optimization import Objective
from rslib.rl import losses
from rslib.rl.advantages import (
    gae,
    group_normalised,
    kl_estimate,
    leave_one_out,
    token_rewards,
    whiten,
)
from rslib.rl.rollouts import Learner, Rollouts
from rslib.theory import best_of_n_log_ratio

if TYPE_CHECKING:
    from datasets import Dataset


class Method(ABC):
    """A policy-gradient method; subclasses are frozen dataclasses whose fields are their hyper-parameters."""

    needs_values: ClassVar[bool] = False
    """Whether the learner trains a value model."""

    def rows(self, rollouts: Rollouts) -> list[int]:
        """The numbers of the rows that are trained on; all of them unless said otherwise."""
        return list(range(len(rollouts.rows)))

    @abstractmethod
    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        """The loss of the rollouts under the learner's current weights."""


def averaged(rollouts: Rollouts, mean: str, per_token: Callable[[list[int]], Tensor]) -> Objective:
    """The objective whose losses (rows, T) are `per_token(rows)`, averaged over a batch as `mean` says."""
    return Objective(
        lambda rows: losses.total(per_token(rows), rollouts.mask[rows], mean),
        lambda rows: losses.weight(rollouts.mask[rows], mean),
        rollouts.mask.sum(1).tolist(),
    )


@dataclass(frozen=True)
class Reinforce(Method):
    """REINFORCE on whole responses; the baseline is the mean reward of the other responses of the step.

    KL is part of the reward: R = reward - kl_coefficient * (log pi - log reference), Ahmadian et al. 2024
    (arXiv 2402.14740), section 2.2.
    """

    def advantages(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        """(B,): reward with its KL, minus the mean of all others of the step."""
        return leave_one_out((rollouts.rewards - kl_coefficient * rollouts.kl)[None])[0]

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        """Sum over tokens, mean over rows: an unbiased estimate of the gradient of E[R]."""
        advantages = self.advantages(rollouts, kl_coefficient)[:, None]
        return averaged(
            rollouts,
            "rows",
            lambda rows: losses.policy_gradient(learner.logprobs(rollouts, rows), advantages[rows]),
        )


@dataclass(frozen=True)
class RLOO(Reinforce):
    """REINFORCE whose baseline is the mean reward of the other responses to the same prompt."""

    def advantages(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        """(B,): reward with its KL, minus the mean of the prompt's other responses."""
        rewards = rollouts.rewards - kl_coefficient * rollouts.kl
        return leave_one_out(rewards.view(-1, rollouts.n)).flatten()


@dataclass(frozen=True)
class GRPO(Method):
    """Group-relative advantages, a clipped ratio per token, KL to the reference in the loss.

    clip: of the ratio. epsilon: keeps groups of equal rewards finite. Source: `losses.grpo`.
    """

    clip: float = 0.2
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        require(self.clip > 0, f"clip is {self.clip}", "GRPO.clip", "Use a number > 0.")
        require(self.epsilon > 0, f"epsilon is {self.epsilon}", "GRPO.epsilon", "Use a number > 0.")

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,): normalised within each prompt's group."""
        return group_normalised(rollouts.grouped, self.epsilon).flatten()

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        """Mean over rows of each row's mean, as in the paper."""
        advantages = self.advantages(rollouts)[:, None]

        def per_token(rows: list[int]) -> Tensor:
            now = learner.logprobs(rollouts, rows)
            return losses.grpo(
                now,
                rollouts.logprobs[rows],
                rollouts.reference[rows],
                advantages[rows],
                self.clip,
                kl_coefficient,
            )

        return averaged(rollouts, "sequences", per_token)


@dataclass(frozen=True)
class OnlineRFT(Method):
    """Rejection sampling fine-tuning in small steps: next-token loss on the best of each fresh group.

    Shao et al. 2024, arXiv 2402.03300, section 5.2 (their responses are kept by a checker, ours by the
    reward). Neither the reference nor the KL coefficient plays a part.
    """

    def rows(self, rollouts: Rollouts) -> list[int]:
        """The best of each prompt; of a tie the first, since the responses to a prompt are in no order."""
        best = rollouts.grouped.argmax(1)
        return [prompt * rollouts.n + int(column) for prompt, column in enumerate(best)]

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        """Mean over the kept tokens of -log pi."""
        return averaged(rollouts, "tokens", lambda rows: -learner.logprobs(rollouts, rows))


@dataclass(frozen=True)
class PPO(Method):
    """clip, value_clip: of ratio and value; value_coefficient: of its loss; discount, smoothing: of GAE.

    Its four parts are methods, so that a subclass can put one of its own in the place of each.
    """

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

    def rewards(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        """Rewards per token (B, T): the KL penalty on every token, the score on the last."""
        kl = kl_estimate(rollouts.logprobs, rollouts.reference, "k1")
        return token_rewards(rollouts.rewards, kl, rollouts.mask, kl_coefficient)

    def advantages(self, rollouts: Rollouts, values: Tensor, kl_coefficient: float) -> tuple[Tensor, Tensor]:
        """Whitened advantages and returns, both (B, T)."""
        rewards = self.rewards(rollouts, kl_coefficient)
        advantages, returns = gae(rewards, values, rollouts.mask, self.discount, self.smoothing)
        return whiten(advantages, rollouts.mask), returns

    def policy_loss(self, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> Tensor:
        """The clipped loss of the policy, one number per token (rows, T)."""
        return losses.clipped_policy(logprobs, old_logprobs, advantages, self.clip)

    def value_loss(self, values: Tensor, old_values: Tensor, returns: Tensor) -> Tensor:
        """The clipped loss of the value model, one number per token (rows, T)."""
        return losses.clipped_value(values, old_values, returns, self.value_clip)

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        """Mean over tokens of the clipped policy loss plus the weighted value loss."""
        before = learner.all_values(rollouts)
        advantages, returns = self.advantages(rollouts, before, kl_coefficient)

        def per_token(rows: list[int]) -> Tensor:
            now = learner.logprobs(rollouts, rows)
            policy = self.policy_loss(now, rollouts.logprobs[rows], advantages[rows])
            value = self.value_loss(learner.values(rollouts, rows), before[rows], returns[rows])
            return policy + self.value_coefficient * value

        return averaged(rollouts, "tokens", per_token)


@dataclass(frozen=True)
class VariationalBestOfN(RLOO):
    """Best-of-n distillation: RLOO on the log-ratio of best-of-n to the reference, its KL at weight 1.

    Two divergences lead to the distribution of best-of-n. Forward, KL(best-of-n || policy), is the next-token
    loss on kept responses: rejection sampling fine-tuning, which `finetune` does. Backward, KL(policy ||
    best-of-n), is variational best-of-n (Amini et al. 2024, arXiv 2407.06057), here on a reward that reads
    ranks alone, so that no scale of the reward model matters. BOND (Sessa et al. 2024, arXiv 2407.14622, eq.
    11) mixes the two.

    n: of best-of-n. pool: rewards of the reference's own responses by prompt_id, the more of them the better
    the ranks. The optimum is the distribution of best-of-n. Raw rewards are ranked, so neither the loop's
    normalisation nor its penalty for a missing end nor its KL coefficient plays a part.
    """

    n: int
    pool: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        require(self.n >= 1, f"n is {self.n}", "VariationalBestOfN.n", "Use a number >= 1.")

    @classmethod
    def of(cls, scored: Dataset, n: int) -> VariationalBestOfN:
        """The method whose ranks are those of a scored table of the reference's responses.

        Raises as `tables.reward_matrix`.
        """
        ids, rewards, _ = tables.reward_matrix(scored)
        return cls(n, dict(zip(ids, map(tuple, rewards.tolist()), strict=True)))

    def advantages(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        """(B,): log-ratio with its KL, minus the mean of the prompt's other responses."""
        ids, rewards = rollouts.table["prompt_id"][:], tables.reward_column(rollouts.table)
        ratios = [self.log_ratio(name, reward) for name, reward in zip(ids, rewards, strict=True)]
        ranked = torch.tensor(ratios, device=rollouts.rewards.device, dtype=rollouts.rewards.dtype)
        return super().advantages(dataclasses.replace(rollouts, rewards=ranked), 1.0)

    def log_ratio(self, prompt_id: str, reward: float) -> float:
        """`theory.best_of_n_log_ratio` of a reward among the pool's of its prompt, itself counted in, nats.

        Counted in, it is finite for every reward; the error is of the order of one over the pool's size.

        >>> method = VariationalBestOfN(2, {"rice": (0.0,)})
        >>> round(method.log_ratio("rice", 1.0), 3), round(method.log_ratio("rice", 0.0), 3)
        (0.405, 0.0)

        Raises DataError where the pool has no such prompt.
        """
        if prompt_id not in self.pool:
            fix = "Draw the pool on all prompts that the loop trains on."
            raise DataError(
                "the pool has no response to this prompt", where=f"prompt_id {prompt_id!r}", fix=fix
            )
        known = np.append(self.pool[prompt_id], reward)
        up_to, level = np.mean([known <= reward, known == reward], axis=1)
        return float(best_of_n_log_ratio([up_to], [level], self.n)[0])
