"""The policy that is being tuned: its trainable copy, and a value model where a method asks for one."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rslib.config import FinetuneConfig
from rslib.finetuning import trainable_copy
from rslib.ledger import Ledger
from rslib.models import Policy
from rslib.optimization import Objective, Optimizer
from rslib.rl.draws import Draw, ValueModel, measure, response_logprobs


class Learner:
    """A float32 copy of `start` with its optimizer; `start` stays as it is.

    `policy` draws: the trained copy itself in float32, elsewhere a copy in the policy's own dtype that
    `refresh` brings up to date. With `with_values` a value model is trained in the same steps.
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
        drawing = self.model if self.dtype == torch.float32 else copy.deepcopy(start.model)
        self.policy = dataclasses.replace(start, model=drawing)
        self.master = dataclasses.replace(start, model=self.model)

    def refresh(self) -> None:
        """Give the drawing copy the newest weights."""
        if self.policy.model is not self.model:
            self.policy.model.load_state_dict(self.model.state_dict())

    def logprobs(self, draw: Draw, rows: Sequence[int]) -> Tensor:
        """Log-probabilities (rows, T) in nats of the draw's tokens, with gradient."""
        picked = [draw.rows[i] for i in rows]
        return response_logprobs(self.model, picked, draw.mask[list(rows)], self.policy.pad_id)

    def values(self, draw: Draw, rows: Sequence[int]) -> Tensor:
        """Values (rows, T) of the draw's tokens, with gradient."""
        picked = [draw.rows[i] for i in rows]
        return self.value_model(picked, draw.mask[list(rows)], self.policy.pad_id)

    def all_values(self, draw: Draw) -> Tensor:
        """Values (B, T) of a whole draw, without gradient."""
        return measure(partial(self.value_model, pad_id=self.policy.pad_id), draw.rows, draw.mask, self.dtype)

    def step(self, objective: Objective, rows: list[int]) -> float:
        """One optimizer step; the loss before it."""
        return self.optimizer.step(objective, rows)

    def count_read(self, ledger: Ledger, draw: Draw) -> None:
        """The passes without gradient that a draw costs beside sampling and scoring."""
        tokens, values = draw.tokens(), self.value_model is not None
        ledger.read(self.policy.parameters, (2 + values) * tokens)
        ledger.held(3 + values)

    def count_trained(self, ledger: Ledger, draw: Draw, rows: Sequence[int]) -> None:
        """One optimizer step."""
        tokens = sum(len(draw.rows[i].ids) for i in rows)
        ledger.trained(self.policy.parameters * len(self.trained), tokens)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {"trained": self.trained.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.trained.load_state_dict(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
