"""The training loop that every tuned model shares: token-budget batches, AdamW, warm-up and cosine, one step.

What is left out on purpose: dropout (models train in eval mode, so a run has no hidden randomness),
several devices (see the `cluster` extra), and gradient checkpointing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rslib.config import FinetuneConfig
from rslib.errors import BudgetError, ModelError, is_out_of_memory
from rslib.models import hidden_states, logits_from_hidden
from rslib.progress import Progress, note

BUCKET = 16  # batches sorted by length together: long enough to avoid padding, short enough to stay random


@dataclass(frozen=True)
class TokenRow:
    """One token sequence; tokens from position `first_target` on are learned, the ones before only read."""

    ids: Sequence[int]
    first_target: int


@dataclass(frozen=True)
class Optimiser:
    """AdamW with warm-up and cosine decay to zero."""

    learning_rate: float
    batch_tokens: int
    epochs: int = 1
    warmup_steps: int = 5
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0

    @classmethod
    def of(cls, config: FinetuneConfig, parameters: int) -> Optimiser:
        """The settings of a fine-tune; a missing learning rate follows the model's size."""
        names = ("batch_tokens", "epochs", "warmup_steps", "weight_decay", "max_grad_norm", "seed")
        rate = config.learning_rate or (5e-4 if parameters < 10_000_000 else 1e-5)
        return cls(learning_rate=rate, **{name: getattr(config, name) for name in names})


def token_batches(lengths: Sequence[int], batch_tokens: int, rng: np.random.Generator) -> list[list[int]]:
    """Indices grouped so that rows x longest row <= batch_tokens; a longer row stands alone.

    Rows are shuffled, then sorted by length inside windows of a few batches, then the batches are shuffled:
    little padding, random order.
    """
    order = rng.permutation(len(lengths))
    mean = max(1.0, float(np.mean(lengths)))
    window = max(1, int(BUCKET * batch_tokens / mean))
    batches = []
    for start in range(0, len(order), window):
        ranked = sorted(order[start : start + window], key=lambda i: lengths[i])
        batches += _fill(ranked, lengths, batch_tokens)
    return [batches[i] for i in rng.permutation(len(batches))]


def _fill(ranked: list[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    batches: list[list[int]] = []
    batch: list[int] = []
    for i in ranked:  # ascending, so the newest row is the longest
        if batch and (len(batch) + 1) * lengths[i] > batch_tokens:
            batches, batch = [*batches, batch], []
        batch.append(int(i))
    return [*batches, batch]


def plan(lengths: Sequence[int], settings: Optimiser) -> list[list[int]]:
    """The batches of all epochs, in order; the same seed gives the same plan."""
    rng = np.random.default_rng(settings.seed)
    return [b for _ in range(settings.epochs) for b in token_batches(lengths, settings.batch_tokens, rng)]


def pad_right(rows: Sequence[Sequence[int]], pad_id: int, device: str) -> torch.Tensor:
    """Token ids (B, T). Under a causal mask no real token sees padding on its right, so no mask is needed."""
    width = max(len(row) for row in rows)
    filled = np.full((len(rows), width), pad_id, dtype=np.int64)
    for i, row in enumerate(rows):
        filled[i, : len(row)] = row
    return torch.from_numpy(filled).to(device)


def target_mask(sequences: Sequence[TokenRow], width: int) -> torch.Tensor:
    """(B, T - 1) booleans: position t is True where the model at t must predict a learned token t + 1."""
    at = torch.arange(1, width)
    first = torch.tensor([max(1, s.first_target) for s in sequences])[:, None]
    length = torch.tensor([len(s.ids) for s in sequences])[:, None]
    return (at >= first) & (at < length)


def next_token_nll(model: torch.nn.Module, sequences: Sequence[TokenRow], pad_id: int) -> torch.Tensor:
    """Negative log-likelihood in nats of every learned token, shape (targets,).

    Logits are computed only where there is a target, which is what saves memory on large vocabularies.
    """
    ids = pad_right([s.ids for s in sequences], pad_id, str(model.device))
    mask = target_mask(sequences, ids.shape[1]).to(ids.device)
    hidden = hidden_states(model, ids, use_cache=False)[:, :-1][mask]
    logits = logits_from_hidden(model, hidden).float()
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][mask], reduction="none")


def count_targets(sequences: Sequence[TokenRow]) -> int:
    """Learned tokens of a batch."""
    return sum(max(0, len(s.ids) - max(1, s.first_target)) for s in sequences)


def _parameter_groups(model: torch.nn.Module, decay: float) -> list[dict]:
    trainable = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trainable if p.dim() >= 2]
    vectors = [p for p in trainable if p.dim() < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def _schedule(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if not steps:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@dataclass(frozen=True)
class Objective:
    """What is minimised: sum of `loss_sum(rows)` over a batch, divided by `weight(rows)` of the whole batch.

    Both are additive over rows, so a batch can be split into parts without changing the step.
    """

    loss_sum: Callable[[list[int]], torch.Tensor]
    weight: Callable[[list[int]], float]


def language_model_objective(model: torch.nn.Module, rows: Sequence[TokenRow], pad_id: int) -> Objective:
    """Mean negative log-likelihood of the learned tokens (nats per token)."""
    return Objective(
        loss_sum=lambda batch: next_token_nll(model, [rows[i] for i in batch], pad_id).sum(),
        weight=lambda batch: max(1, count_targets([rows[i] for i in batch])),
    )


@dataclass
class _Backward:
    """Accumulates the gradient of one batch after another, in `parts` pieces where memory is short."""

    model: torch.nn.Module
    scaler: torch.amp.GradScaler
    dtype: torch.dtype
    device: str
    parts: int = 1

    def run(self, objective: Objective, batch: list[int]) -> float:
        """The loss of a batch; when memory runs out, say so, halve the pieces and start the batch again."""
        while True:
            try:
                return self._in_parts(objective, batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._halve(batch)

    def _in_parts(self, objective: Objective, batch: list[int]) -> float:
        total, weight = 0.0, objective.weight(batch)
        size = math.ceil(len(batch) / self.parts)
        for at in range(0, len(batch), size):
            with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
                loss = objective.loss_sum(batch[at : at + size]) / weight
            self.scaler.scale(loss).backward()
            total += float(loss.detach())
        return total

    def _halve(self, batch: list[int]) -> None:
        self.model.zero_grad(set_to_none=True)
        if self.parts >= len(batch):
            raise BudgetError(
                "memory ran out on a single row while fine-tuning",
                where=f"a batch of {len(batch)} rows",
                fix="Use a smaller model, shorter responses, or a larger device.",
            )
        self.parts *= 2
        note(f"memory ran out: batches now run in {self.parts} parts (same steps, same result)", show=True)


def _check_finite(loss: float, step: int, batch: list[int]) -> None:
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} at step {step}",
            where=f"rows {batch[:8]}",
            fix="Lower the learning rate; on float16 load the model with dtype='float32'.",
        )


class Stepper:
    """AdamW with clipping on `model`, one optimiser step a call: at most `steps` of them, as `settings` say.

    Models train in eval mode (no dropout). `decay`: cosine to zero over `steps`; without it the rate stays
    where the warm-up ends, as reinforcement learning wants it, whose last step is not known beforehand.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        settings: Optimiser,
        steps: int,
        *,
        compute_dtype: torch.dtype = torch.float32,
        decay: bool = True,
    ) -> None:
        groups = _parameter_groups(model, settings.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))
        warmup = min(settings.warmup_steps, steps // 4)
        factors = [_schedule(step, steps if decay else 0, warmup) for step in range(steps + 1)]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda step: factors[step])
        device = next(model.parameters()).device.type
        self.scaler = torch.amp.GradScaler(device, enabled=compute_dtype == torch.float16)
        self.backward = _Backward(model.eval(), self.scaler, compute_dtype, device)
        self.max_grad_norm, self.done = settings.max_grad_norm, 0

    def step(self, objective: Objective, batch: list[int]) -> float:
        """One optimiser step on the rows of `batch`; the loss before it."""
        loss = self.backward.run(objective, batch)
        _check_finite(loss, self.done, batch)
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.backward.model.parameters(), self.max_grad_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self.scheduler.step()
        self.done += 1
        return loss


def fit(
    model: torch.nn.Module,
    batches: list[list[int]],
    objective: Objective,
    settings: Optimiser,
    *,
    compute_dtype: torch.dtype = torch.float32,
    label: str = "fine-tune",
    show_progress: bool = True,
) -> list[float]:
    """Train `model` in place on `batches` of row indices; returns the loss of every step.

    When memory runs out the batch is computed in smaller parts whose gradients add up to the same step.
    Raises ModelError on a loss that is not finite (naming the rows), BudgetError when one row is too much.
    """
    stepper = Stepper(model, settings, len(batches), compute_dtype=compute_dtype)
    losses = []
    with Progress(len(batches), label, unit="steps", show=show_progress) as progress:
        for batch in batches:
            losses.append(stepper.step(objective, batch))
            progress.advance()
    return losses
