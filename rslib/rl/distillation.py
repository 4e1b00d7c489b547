"""Best-of-n distillation: a policy that writes with one draw what the best of n of its reference would be.

Two divergences lead to the distribution of best-of-n. Forward, KL(best-of-n || policy), is the next-token
loss on kept responses: rejection sampling fine-tuning, which `finetune` does. Backward, KL(policy ||
best-of-n), is variational best-of-n (Amini et al. 2024, arXiv 2407.06057), here: RLOO on a reward that reads
ranks alone, so that no scale of the reward model matters. BOND (Sessa et al. 2024, arXiv 2407.14622, eq. 11)
mixes the two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rslib import tables
from rslib.config import require
from rslib.errors import DataError
from rslib.rl.methods import RLOO
from rslib.rl.rollouts import Rollouts
from rslib.theory import best_of_n_log_ratio

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class VariationalBestOfN(RLOO):
    """RLOO on the log-ratio of best-of-n to the reference, with the KL to the reference at weight 1.

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
