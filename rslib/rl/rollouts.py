"""The scored responses of one step with their log-probabilities, and the policy that learns from them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rslib.config import FinetuneConfig
from rslib.decoding import cores_for, fitting_threads, on_cores
from rslib.finetuning import (
    TokenRow,
    next_token_nll,
    pad_right,
    target_mask,
    trainable_copy,
    training_rows,
)
from rslib.models import Policy, hidden_states
from rslib.optimization import Optimizer

if TYPE_CHECKING:
    from datasets import Dataset

_READ_TOKENS = {"cpu": 1024}
"""Tokens in one forward pass without gradient; _GPU_READ_TOKENS elsewhere."""
_GPU_READ_TOKENS = 32768


@dataclass(frozen=True)
class Rollouts:
    """Scored responses to M prompts, prompt-major: B = M * n rows, at most T response tokens.

    table: the scored responses. rows: their tokens. mask (B, T): True on response tokens. rewards (B,): what
    the method maximises, in its units (see `loop.shaped`). logprobs, reference (B, T): nats per token under
    the policy that was sampled and under the reference, 0 where there is no token.
    """

    table: Dataset
    n: int
    rows: Sequence[TokenRow]
    mask: Tensor
    rewards: Tensor
    logprobs: Tensor
    reference: Tensor

    @classmethod
    def of(cls, policy: Policy, reference: Policy, scored: Dataset, n: int, rewards: np.ndarray) -> Rollouts:
        """The rollouts of a scored table that `policy` was sampled for, prompt-major with n rows a prompt."""
        device = torch.device(policy.device.name)
        rows = training_rows(policy, scored)
        mask = response_mask(rows, device)

        def logprobs_under(model: torch.nn.Module) -> Tensor:
            read = partial(response_logprobs, model, pad_id=policy.pad_id)
            return measure(model, read, rows, mask, policy.device.dtype)

        logprobs = logprobs_under(policy.model)
        reference_logprobs = logprobs if reference is policy else logprobs_under(reference.model)
        shaped = torch.tensor(rewards, device=device).float()
        return cls(scored, n, rows, mask, shaped, logprobs, reference_logprobs)

    @property
    def kl(self) -> Tensor:
        """Log pi - log reference of each response (B,), nats; its mean estimates KL(policy || reference)."""
        return (self.logprobs - self.reference).sum(1)

    @property
    def grouped(self) -> Tensor:
        """Rewards (M, n)."""
        return self.rewards.view(-1, self.n)

    def tokens(self, rows: Sequence[int] | None = None) -> int:
        """Tokens of some rows (None: of all), prompts included."""
        return sum(len(self.rows[i].ids) for i in (range(len(self.rows)) if rows is None else rows))

    def prompt_tokens(self) -> int:
        """Tokens of the prompts, each prompt once."""
        return sum(row.first_target for row in self.rows[:: self.n])


def response_mask(rows: Sequence[TokenRow], device: torch.device | str = "cpu") -> Tensor:
    """(B, T) booleans: the response tokens of each row, from the left.

    >>> response_mask([TokenRow([1, 2, 3], 1), TokenRow([1, 2], 1)]).tolist()
    [[True, True], [True, False]]
    """
    lengths = torch.tensor([len(row.ids) - row.first_target for row in rows], device=device)
    return torch.arange(int(lengths.max()), device=device) < lengths[:, None]


def response_logprobs(model: torch.nn.Module, rows: Sequence[TokenRow], mask: Tensor, pad_id: int) -> Tensor:
    """Log-probabilities (B, T) in nats of the response tokens of `rows`, with gradient; 0 off the mask."""
    flat = -next_token_nll(model, rows, pad_id)
    return torch.zeros(mask.shape, device=flat.device, dtype=flat.dtype).masked_scatter(mask, flat)


def measure(
    model: torch.nn.Module,
    read: Callable[[Sequence[TokenRow], Tensor], Tensor],
    rows: Sequence[TokenRow],
    mask: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """`read(rows, mask)` (B, T) of all rows, without gradient, in `dtype`, in pieces of bounded size.

    `model` is what `read` asks: of a small one each core reads pieces of its own.
    """
    device = mask.device.type
    values = torch.zeros(mask.shape, device=mask.device)

    def fill(piece: list[int]) -> None:
        with torch.no_grad(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            values[piece] = read([rows[i] for i in piece], mask[piece]).float()

    cores = cores_for(model)
    with fitting_threads(model):
        on_cores(cores, fill, list(_pieces(rows, _READ_TOKENS.get(device, _GPU_READ_TOKENS))))
    return values


def _pieces(rows: Sequence[TokenRow], budget: int) -> Iterator[list[int]]:
    """Row numbers, by length, so that rows times the longest stays within the budget."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids), reverse=True)
    while order:
        size = max(1, budget // len(rows[order[0]].ids))
        yield order[:size]
        order = order[size:]


# The learner ----------------------------------------------------------------------------------------------


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
