"""The training loop of every tuned model: batches of a token budget, accumulated gradients, AdamW; LoRA.

It knows nothing of tokens: a row is a number and a length, and an `Objective` says what is minimised.

What is left out on purpose: dropout (models train in eval mode, so a run has no hidden randomness),
and several devices (see the `cluster` extra).
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from rslib.config import LORA_INSTALL, FinetuneConfig, LoraSettings, require
from rslib.decoding import cores_for, fitting_threads, on_cores
from rslib.errors import BudgetError, ConfigError, ModelError, is_out_of_memory
from rslib.models import quiet
from rslib.progress import Progress, note

_LIKE = 4
"""Parts of like length that a batch of padded rows is computed in on a CPU."""
_BUCKET = 16
"""Batches sorted by length together: long enough to avoid padding, short enough to stay random."""

# Batches ------------------------------------------------------------------------------------------


def _epoch_batches(lengths: Sequence[int], config: FinetuneConfig) -> list[list[int]]:
    """Batches of row numbers for all of `config.epochs`, in order; the same seed gives the same batches."""
    rng = np.random.default_rng(config.seed)
    return [b for _ in range(config.epochs) for b in _token_batches(lengths, config.batch_tokens, rng)]


def _token_batches(lengths: Sequence[int], batch_tokens: int, rng: np.random.Generator) -> list[list[int]]:
    """Row numbers grouped so that rows x longest row <= batch_tokens; a longer row stands alone.

    Rows are shuffled, then sorted by length inside windows of a few batches, then the batches are shuffled:
    little padding, random order.
    """
    order = rng.permutation(len(lengths))
    mean = max(1.0, float(np.mean(lengths)))
    window = max(1, int(_BUCKET * batch_tokens / mean))
    batches = []
    for start in range(0, len(order), window):
        ascending = sorted(order[start : start + window], key=lambda i: lengths[i])
        batches += _filled(ascending, lengths, batch_tokens)
    return [batches[i] for i in rng.permutation(len(batches))]


def _filled(ascending: list[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    batches: list[list[int]] = []
    batch: list[int] = []
    for i in ascending:  # so the newest row is the longest, and sets the padded size of its batch
        if batch and (len(batch) + 1) * lengths[i] > batch_tokens:
            batches, batch = [*batches, batch], []
        batch.append(int(i))
    return [*batches, batch]


# What is minimised --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Objective:
    """What is minimised: sum of `loss_sum(rows)` over a batch, divided by `weight(rows)` of the whole batch.

    Both are additive over rows, so a batch can be split into parts without changing the step. lengths: where
    the rows of a batch are padded to the longest, their tokens by number: on a CPU a batch is then split into
    parts of like length, and of a small model `loss_sum` is asked by several threads at once.
    """

    loss_sum: Callable[[list[int]], torch.Tensor]
    weight: Callable[[list[int]], float]
    lengths: Sequence[int] | None = None


# Steps --------------------------------------------------------------------------------------------


class Masters:
    """Float32 weights behind a model whose passes run in a smaller dtype, as they do when it is sampled.

    While it is open the model's weights are in `dtype`; afterwards they are the float32 ones again. Steps
    smaller than a rounding of `dtype` are not lost, and no pass casts a weight, as it would under autocast:
    half the launches of a pass, which is what small batches on a GPU are bound by.
    """

    def __init__(self, model: torch.nn.Module, dtype: torch.dtype) -> None:
        self.low = [p for p in model.parameters() if p.requires_grad]
        self.weights = [p.detach().clone() for p in self.low]
        for p in self.low:
            p.data = p.data.to(dtype)

    def take_gradients(self) -> None:
        """Add the model's gradients to those of the float32 weights."""
        for p, weight in zip(self.low, self.weights, strict=True):
            if p.grad is not None:
                grad = p.grad.to(weight.dtype)
                weight.grad = grad if weight.grad is None else weight.grad.add_(grad)
                p.grad = None

    def hand_down(self) -> None:
        """Give the model the newest weights."""
        torch._foreach_copy_([p.data for p in self.low], self.weights)

    def close(self) -> None:
        """Put the float32 weights into the model; gradients that an error left over are dropped."""
        for p, weight in zip(self.low, self.weights, strict=True):
            p.data, p.grad = weight, None


class Optimizer:
    """AdamW with clipping on `model`, one optimizer step a call: at most `steps` of them.

    `config` holds a learning rate (`FinetuneConfig.for_model`). Models train in eval mode (no dropout).
    `decay`: cosine to zero over `steps`; without it the rate stays where the warm-up ends, as reinforcement
    learning wants it, whose last step is not known beforehand.
    `masters`: whose float32 weights are stepped on (see `Masters`); without them the model's own.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: FinetuneConfig,
        steps: int,
        *,
        compute_dtype: torch.dtype = torch.float32,
        decay: bool = True,
        masters: Masters | None = None,
    ) -> None:
        self.model, self.compute_dtype, self.masters = model.eval(), compute_dtype, masters
        self.device = next(model.parameters()).device.type
        self.weights = masters.weights if masters else [p for p in model.parameters() if p.requires_grad]
        groups = _parameter_groups(self.weights, config.weight_decay)
        fused = self.device == "cuda"  # one launch instead of one a tensor
        self.adamw = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=fused)
        warmup = min(config.warmup_steps, steps // 4)
        factors = [_rate_factor(step, steps if decay else 0, warmup) for step in range(steps + 1)]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.adamw, lambda step: factors[step])
        self.scaler = torch.amp.GradScaler(self.device, enabled=compute_dtype == torch.float16)
        self.max_grad_norm, self.parts, self.done = config.max_grad_norm, 1, 0
        self.cores = cores_for(model)

    def step(self, objective: Objective, batch: list[int]) -> float:
        """The loss of `batch` (row numbers) before the step that is taken on it.

        Raises ModelError when it is not finite, BudgetError when memory runs out on a single row.
        """
        with fitting_threads(self.model):
            return self._step(objective, batch)

    def _step(self, objective: Objective, batch: list[int]) -> float:
        taken = False
        while not taken:  # where float16 overflows, the same batch is computed again with a smaller scale
            loss = self.accumulate_gradients(objective, batch)
            _check_finite(loss, self.done, batch)
            self.scaler.unscale_(self.adamw)  # so that the norm is that of the gradients themselves
            torch.nn.utils.clip_grad_norm_(self.weights, self.max_grad_norm)
            scale = self.scaler.get_scale()
            self.scaler.step(self.adamw)
            self.scaler.update()
            taken = self.scaler.get_scale() >= scale
            _check_finite(loss if taken or scale > 1 else math.inf, self.done, batch)
            self.adamw.zero_grad(set_to_none=True)
        if self.masters:
            self.masters.hand_down()
        self.scheduler.step()
        self.done += 1
        return loss

    def accumulate_gradients(self, objective: Objective, batch: list[int]) -> float:
        """The loss of `batch`, its gradient added to the weights' `.grad`.

        When memory runs out, that is said and the batch begins anew in twice as many parts, as do all later.
        """
        while True:
            try:
                return self._backward(objective, batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Behind the handler, whose traceback holds the tensors of the failed pass.
            self._halve(objective, batch)

    def _backward(self, objective: Objective, batch: list[int]) -> float:
        weight, parts = objective.weight(batch), self._parts(objective, batch)
        if self._several(objective):
            return self._side_by_side(lambda rows: objective.loss_sum(rows) / weight, parts)
        total = 0.0
        for rows in parts:
            low = self.compute_dtype != torch.float32 and not self.masters
            with torch.autocast(self.device, self.compute_dtype, enabled=low):
                loss = objective.loss_sum(rows) / weight
            self.scaler.scale(loss).backward()
            if self.masters:
                self.masters.take_gradients()
            total += float(loss.detach())
        return total

    def _several(self, objective: Objective) -> bool:
        """Whether several parts are in memory at once."""
        return self.cores > 1 and objective.lengths is not None and self.compute_dtype == torch.float32

    def _parts(self, objective: Objective, batch: list[int]) -> list[list[int]]:
        """The batch in parts that memory holds, on a CPU of like lengths where they are known."""
        count = self.parts
        if self.device == "cpu" and objective.lengths is not None:
            batch, count = sorted(batch, key=objective.lengths.__getitem__), max(count, _LIKE)
        size = math.ceil(len(batch) / count)
        return [batch[start : start + size] for start in range(0, len(batch), size)]

    def _side_by_side(self, loss_of: Callable[[list[int]], torch.Tensor], parts: list[list[int]]) -> float:
        """The loss of the parts, a thread a core; their gradients are added in order, as one thread does."""

        def gradients(rows: list[int]) -> tuple[float, Sequence[torch.Tensor | None]]:
            loss = loss_of(rows)
            return float(loss.detach()), torch.autograd.grad(loss, self.weights, allow_unused=True)

        # The longest first, so that no core is left alone with it at the end.
        found = on_cores(self.cores, gradients, parts[::-1])[::-1]
        for _, part in found:
            for weight, gradient in zip(self.weights, part, strict=True):
                if gradient is not None:
                    # Never in place: two weights that are only ever added have one gradient between them.
                    weight.grad = gradient.clone() if weight.grad is None else weight.grad + gradient
        return sum(loss for loss, _ in found)

    def _halve(self, objective: Objective, batch: list[int]) -> None:
        self.model.zero_grad(set_to_none=True)
        self.adamw.zero_grad(set_to_none=True)
        parts = len(self._parts(objective, batch))
        if parts >= len(batch) and not self._several(objective):
            raise BudgetError(
                "memory ran out on a single row while fine-tuning",
                where=f"a batch of {len(batch)} rows",
                fix="Use a smaller model, shorter responses, or a larger device.",
            )
        self.parts, self.cores = 2 * parts, 1
        note(f"memory ran out: batches now run in {self.parts} parts (same steps, same result)", show=True)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on beside the weights."""
        parts = {"adamw": self.adamw, "scheduler": self.scheduler, "scaler": self.scaler}
        return {name: part.state_dict() for name, part in parts.items()} | {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.adamw.load_state_dict(state["adamw"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.done = state["done"]


def _parameter_groups(weights: Sequence[torch.Tensor], decay: float) -> list[dict]:
    matrices, vectors = [p for p in weights if p.dim() >= 2], [p for p in weights if p.dim() < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def _rate_factor(step: int, steps: int, warmup: int) -> float:
    """The share of the learning rate at a step: linear warm-up, then cosine to zero (steps 0: constant)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if not steps:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _check_finite(loss: float, step: int, batch: list[int]) -> None:
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} at step {step}",
            where=f"rows {batch[:8]}",
            fix="Lower the learning rate; on float16 load the model with dtype='float32'.",
        )


def fit(
    model: torch.nn.Module,
    objective: Objective,
    lengths: Sequence[int],
    config: FinetuneConfig,
    *,
    compute_dtype: torch.dtype = torch.float32,
    label: str = "fine-tune",
    show_progress: bool = True,
    kind: type[Optimizer] = Optimizer,
) -> list[float]:
    """The loss before every step of training `model` in place on rows of these lengths (tokens).

    `config` holds a learning rate (`FinetuneConfig.for_model`). When memory runs out the batch is computed in
    smaller parts whose gradients add up to the same step.
    Raises ModelError on a loss that is not finite (naming the rows), BudgetError when one row is too much.
    """
    batches = _epoch_batches(lengths, config)
    layers = _forget_activations(model) if config.gradient_checkpointing else []
    masters = Masters(model, compute_dtype) if compute_dtype != torch.float32 else None
    losses = []
    try:
        optimizer = kind(model, config, len(batches), compute_dtype=compute_dtype, masters=masters)
        with Progress(len(batches), label, unit="steps", show=show_progress) as progress:
            for batch in batches:
                losses.append(optimizer.step(objective, batch))
                progress.advance()
    finally:
        for layer in layers:
            del layer.forward
        if masters:
            masters.close()
    return losses


def _forget_activations(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Let each layer keep its input alone for the backward pass, which computes the rest anew; the layers.

    transformers' own switch works in train mode alone, which would switch dropout on.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    fix = "Leave gradient checkpointing out."
    require(bool(layers), "this model has no layers to checkpoint", type(model).__name__, fix)
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    return layers


# Low-rank adapters ----------------------------------------------------------------------------------


class Adapted:
    """LoRA (extra `peft`): a copy of a model with float32 adapters, its own weights frozen in their dtype.

    A layer W becomes W + (alpha / rank) B A, of which A and B alone are trained (Hu et al. 2021, arXiv
    2106.09685), then merged into it. B starts at 0, so the first loss is that of the policy itself.

    `seed` draws the adapters. Raises ConfigError without peft, for layers that are not there or whose weight
    is another layer's too, BudgetError when memory runs out.
    """

    def __init__(self, model: PreTrainedModel, settings: LoraSettings, seed: int) -> None:
        try:
            from peft import LoraConfig
            from peft.tuners.lora import LoraModel
        except ImportError as err:
            raise ConfigError(
                f"peft cannot be imported ({err})", where="FinetuneConfig.lora", fix=LORA_INSTALL
            ) from err
        layers: Any = list(settings.layers) or "all-linear"
        asked = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=layers)
        self.model = copy.deepcopy(model).requires_grad_(False)
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                self._tuner = LoraModel(self.model, asked, "default")
            except ValueError as err:  # peft's sentence lists what is not there
                fix = "Name layers as model.named_modules() does, or leave `layers` out: all linear ones."
                raise ConfigError(
                    f"the layers cannot be adapted: {err}", where="LoraSettings.layers", fix=fix
                ) from err
            except (RuntimeError, MemoryError) as err:
                if not is_out_of_memory(err):
                    raise
                what = f"adapters of rank {settings.rank} do not fit into memory"
                fix = "Use a smaller rank: 8 to 64 are usual."
                raise BudgetError(what, where="LoraSettings.rank", fix=fix) from err
        self._refuse_shared_weights()
        self.adapters = [weight for weight in self.model.parameters() if weight.requires_grad]
        for weight in self.adapters:
            weight.data = weight.data.float()

    def _refuse_shared_weights(self) -> None:
        """Merged into a tied weight, an adapter of the one layer would act in the other, untrained."""
        named = list(self.model.named_parameters(remove_duplicate=False))
        owners = Counter(id(weight) for _, weight in named)
        shared = [name for name, weight in named if owners[id(weight)] > 1 and ".base_layer." in name]
        require(
            not shared,
            f"{shared[0].replace('.base_layer', '') if shared else ''} is the weight of another layer too",
            "LoraSettings.layers",
            "Name layers whose weights are theirs alone: tied embeddings and heads are not.",
        )

    def say(self, show: bool) -> None:
        """How much of the model is trained, as a line."""
        count, whole = (sum(w.numel() for w in some) for some in (self.adapters, self.model.parameters()))
        note(f"LoRA: {count:,} of {whole:,} weights are trained, the others are frozen", show)

    def merged(self) -> PreTrainedModel:
        """The model without adapters, their products added to its weights; `self` is used up."""
        with quiet():
            return self._tuner.merge_and_unload()
