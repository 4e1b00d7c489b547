"""REINFORCE, RLOO, GRPO and online RFT: methods that need no value model.

What is left out. REINFORCE and RLOO neither weigh nor clip by a ratio: on fresh samples it is 1, as in
Ahmadian et al. (2024). Where a draw is split into minibatches, or passed over more than once, all steps but
the first are slightly off-policy, and nothing corrects for that: keep the learning rate small. GRPO is the
one of DeepSeekMath, with outcome rewards only and its KL not weighed by the ratio, as some libraries now
do. Online RFT tunes on the best response to each prompt of each draw, without the filters that a checker of
results would allow.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rslib.config import require
from rslib.optimization import Objective
from rslib.rl import losses
from rslib.rl.advantages import group_normalised, leave_one_out
from rslib.rl.draws import Draw
from rslib.rl.learner import Learner
from rslib.rl.method import Method, averaged


@dataclass(frozen=True)
class Reinforce(Method):
    """REINFORCE on whole responses; the baseline is the mean reward of the other responses of the step.

    KL is part of the reward: R = reward - kl_coefficient * (log pi - log reference), Ahmadian et al. 2024
    (arXiv 2402.14740), section 2.2.
    """

    def advantages(self, draw: Draw, kl_coefficient: float) -> Tensor:
        """(B,): reward with its KL, minus the mean of all others of the step."""
        return leave_one_out((draw.rewards - kl_coefficient * draw.kl)[None])[0]

    def objective(self, learner: Learner, draw: Draw, kl_coefficient: float) -> Objective:
        """Sum over tokens, mean over rows: an unbiased estimate of the gradient of E[R]."""
        advantages = self.advantages(draw, kl_coefficient)[:, None]
        return averaged(
            draw,
            "rows",
            lambda rows: losses.policy_gradient(learner.logprobs(draw, rows), advantages[rows]),
        )


@dataclass(frozen=True)
class RLOO(Reinforce):
    """REINFORCE whose baseline is the mean reward of the other responses to the same prompt."""

    def advantages(self, draw: Draw, kl_coefficient: float) -> Tensor:
        """(B,): reward with its KL, minus the mean of the prompt's other responses."""
        rewards = draw.rewards - kl_coefficient * draw.kl
        return leave_one_out(rewards.view(-1, draw.n)).flatten()


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

    def advantages(self, draw: Draw) -> Tensor:
        """(B,): normalised within each prompt's group."""
        return group_normalised(draw.grouped, self.epsilon).flatten()

    def objective(self, learner: Learner, draw: Draw, kl_coefficient: float) -> Objective:
        """Mean over rows of each row's mean, as in the paper."""
        advantages = self.advantages(draw)[:, None]

        def per_token(rows: list[int]) -> Tensor:
            now = learner.logprobs(draw, rows)
            return losses.grpo(
                now, draw.logprobs[rows], draw.reference[rows], advantages[rows], self.clip, kl_coefficient
            )

        return averaged(draw, "sequences", per_token)


@dataclass(frozen=True)
class OnlineRFT(Method):
    """Rejection sampling fine-tuning in small steps: next-token loss on the best of each fresh group.

    Shao et al. 2024, arXiv 2402.03300, section 5.2 (their responses are kept by a checker, ours by the
    reward). Neither the reference nor the KL coefficient plays a part.
    """

    def rows(self, draw: Draw) -> list[int]:
        """The best of each prompt; of a tie the first, since the responses to a prompt are in no order."""
        best = draw.grouped.argmax(1)
        return [prompt * draw.n + int(column) for prompt, column in enumerate(best)]

    def objective(self, learner: Learner, draw: Draw, kl_coefficient: float) -> Objective:
        """Mean over the kept tokens of -log pi."""
        return averaged(draw, "tokens", lambda rows: -learner.logprobs(draw, rows))
