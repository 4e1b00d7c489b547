"""The learner: the policy that is being tuned, and a value model where a method asks for one."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rslib.config import FinetuneConfig
from rslib.finetuning import TokenRow, pad_right, target_mask, trainable_copy
from rslib.models import Policy, hidden_states
from rslib.optimization import Optimizer
from rslib.rl.rollouts import Rollouts, measure, response_logprobs


class ValueModel(torch.nn.Module):
    """A copy of a policy's trunk with one linear head: the reward still to come, before each response token.

    The head starts at 0, so the first values are 0. `trunk` is a causal language model whose own head is
    never used.
    """

    def __init__(self, trunk: torch.nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        width = trunk.get_input_embeddings().embedding_dim
        self.head = torch.nn.Linear(width, 1)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.to(next(trunk.parameters()).device)

    def forward(self, rows: Sequence[TokenRow], mask: Tensor, pad_id: int) -> Tensor:
        """Values (B, T), read where the token is predicted; 0 off the mask."""
        ids = pad_right([row.ids for row in rows], pad_id, str(self.trunk.device))
        hidden = hidden_states(self.trunk, ids, use_cache=False)[:, :-1]
        flat = self.head(hidden[target_mask(rows, ids.shape[1]).to(ids.device)]).float()[:, 0]
        return torch.zeros(mask.shape, device=flat.device).masked_scatter(mask, flat)


class Learner:
    """A float32 copy of `start` with its optimizer; `start` stays as it is.

    `policy` is sampled: the trained copy itself in float32, elsewhere a copy in the policy's own dtype that
    `refresh` brings up to date. `master` is always the trained copy: what is learned is measured with
    it. With `with_values` a value model is trained in the same steps.
    """

    def __init__(
        self, start: Policy, config: FinetuneConfig, steps: int, *, with_values: bool = False
    ) -> None:
        self.dtype = start.device.dtype
        self.model = trainable_copy(start)
        trunk = trainable_copy(start) if with_values else None
        self.value_model = ValueModel(trunk) if trunk is not None else None
        parts = [self.model, self.value_model] if self.value_model is not None else [self.model]
        self.trained = torch.nn.ModuleList(parts)
        self.optimizer = Optimizer(self.trained, config, steps, compute_dtype=self.dtype, decay=False)
        sampled = self.model if self.dtype == torch.float32 else copy.deepcopy(start.model)
        self.policy = dataclasses.replace(start, model=sampled)
        self.master = dataclasses.replace(start, model=self.model)

    def refresh(self) -> None:
        """Give the copy that is sampled the newest weights."""
        if self.policy.model is not self.model:
            self.policy.model.load_state_dict(self.model.state_dict())

    def logprobs(self, rollouts: Rollouts, rows: Sequence[int]) -> Tensor:
        """Log-probabilities (rows, T) in nats of the rollouts' tokens, with gradient."""
        picked = [rollouts.rows[i] for i in rows]
        return response_logprobs(self.model, picked, rollouts.mask[list(rows)], self.policy.pad_id)

    def values(self, rollouts: Rollouts, rows: Sequence[int]) -> Tensor:
        """Values (rows, T) of the rollouts' tokens, with gradient."""
        picked = [rollouts.rows[i] for i in rows]
        return self.value_model(picked, rollouts.mask[list(rows)], self.policy.pad_id)

    def all_values(self, rollouts: Rollouts) -> Tensor:
        """Values (B, T) of all rollouts, without gradient."""
        read = partial(self.value_model, pad_id=self.policy.pad_id)
        return measure(self.value_model, read, rollouts.rows, rollouts.mask, self.dtype)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {"trained": self.trained.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.trained.load_state_dict(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
