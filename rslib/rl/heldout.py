"""Looks at held-out prompts while a policy is tuned: the best weights are kept, a clear fall ends the run."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rslib.config import SampleConfig
from rslib.evaluation import compare, verdict
from rslib.models import Policy, RewardModel
from rslib.sampling import sample_table
from rslib.scoring import score
from rslib.stages import with_gold

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLES = 2
"""Responses to each held-out prompt at a look."""
SEED = 2_000_003
"""Kept apart from the seeds of training and of evaluations."""


class Watch:
    """Gold (the reward, where no gold is known) of each look, the best weights, and whether it has fallen."""

    def __init__(self, heldout: Dataset, reward_model: RewardModel, seed: int) -> None:
        self.heldout, self.reward_model, self.seed = heldout, reward_model, seed
        self.looks: list[float] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.falling, self.column = False, "gold"
        self._table: Dataset | None = None

    def look(self, policy: Policy, model: torch.nn.Module) -> None:
        """Judge the policy; keep `model`'s weights if they are the best so far."""
        drawn = sample_table(policy, self.heldout, SampleConfig(n=SAMPLES, seed=SEED + self.seed))
        table = with_gold(score(self.reward_model, drawn, show_progress=False))
        self.column = "gold" if "gold" in table.column_names else "reward"
        mean = float(np.mean(table[self.column][:]))
        if not self.looks or mean > max(self.looks):
            self._table, self.best = table, copy.deepcopy(model.state_dict())
        else:
            self.falling = verdict(compare(table, self._table, self.column)) == "lower"
        self.looks.append(mean)

    def state(self) -> dict[str, Any]:
        """Everything that the next look depends on."""
        table = self._table.to_dict() if self._table is not None else None
        return {"looks": self.looks, "best": self.best, "falling": self.falling, "table": table}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        from datasets import Dataset

        self.looks, self.best, self.falling = state["looks"], state["best"], state["falling"]
        self._table = Dataset.from_dict(state["table"]) if state["table"] is not None else None
