"""Prefill and decode: prompts in, responses out; finished rows leave; batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from rslib.config import SampleConfig
from rslib.decoding.attention import check_finite, packed_hidden, packed_logits, round_up, row_multiple
from rslib.decoding.forks import forked
from rslib.decoding.passes import Cache, DecodeStep, Ids, SharedPrefixPass
from rslib.decoding.sampler import sample_tokens
from rslib.errors import BudgetError, is_out_of_memory
from rslib.progress import note

_Found = TypeVar("_Found")

_KEEP_ROWS = 0.9  # rows leave the batch once this share or less of it is still running
_PREFILL_TOKENS, _GPU_PREFILL_TOKENS = 4096, 32768  # prompt tokens in one forward pass
_GPU_STEPS = 8  # steps between two questions whether rows have finished: each one makes a GPU wait


def prefill(model: PreTrainedModel, prompts: Sequence[Ids]) -> tuple[Cache, Tensor, Tensor]:
    """Keys and values per layer (P, H, Lp, D), prompt lengths (P,), and logits (P, V) after each prompt."""
    caches: list[Cache] = []
    last_hidden: list[Tensor] = []
    budget = _PREFILL_TOKENS if model.device.type == "cpu" else _GPU_PREFILL_TOKENS
    for part in _within_budget(prompts, budget):
        plan = SharedPrefixPass(part, device=model.device, keep=True)
        hidden = packed_hidden(model, plan.tokens, plan.positions, plan)
        last_hidden.append(hidden[plan.prefix.lengths.cumsum(0) - 1])
        caches.append(plan.cache)
    cache = [tuple(map(_stacked, zip(*layer, strict=True))) for layer in zip(*caches, strict=True)]
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    return cache, lengths, packed_logits(model, torch.cat(last_hidden))


def _within_budget(prompts: Sequence[Ids], budget: int) -> Iterator[list[Ids]]:
    """Consecutive prompts whose padded size stays within `budget` tokens; at least one at a time."""
    part: list[Ids] = []
    for prompt in prompts:
        if part and (len(part) + 1) * max(map(len, [*part, prompt])) > budget:
            yield part
            part = []
        part.append(prompt)
    yield part


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Tensors (P, H, L, D) of several widths L as one, padded to the widest."""
    width = max(part.shape[2] for part in parts)
    return torch.cat([pad(part, (0, 0, 0, width - part.shape[2])) for part in parts])


@dataclass(frozen=True)
class SampleOutput:
    """Responses as they were drawn, on the CPU.

    tokens (int64) and logprobs (float32, nats) are (R, width); the first lengths (R,) of a row count.
    ended (R,) says whether an EOS token ended it; if not, its limit did.
    """

    tokens: Tensor
    logprobs: Tensor
    lengths: Tensor
    ended: Tensor


@dataclass
class _Running:
    """The rows still in the batch: index in the result, seed, limit, and whether they have finished."""

    index: Tensor
    seed: Tensor
    limit: Tensor
    done: Tensor

    def select(self, rows: Tensor) -> _Running:
        return _Running(self.index[rows], self.seed[rows], self.limit[rows], self.done[rows])


def decode(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    owner: Ids,
    *,
    seeds: Ids,
    limits: Ids,
    config: SampleConfig,
    eos_ids: Ids,
    context: int,
) -> SampleOutput:
    """Draw one response per row: row r continues prompts[owner[r]] by at most limits[r] tokens.

    `owner` never decreases; prompt and response fit into `context` together. To be called inside
    `shared_attention(model)`. A row depends on its prompt, its seed and the config alone, not on its
    neighbours (on a GPU: up to rounding). Raises ModelError when logits are not finite.
    """
    device, width, count = model.device, max(limits), len(owner)
    # Whole groups of rows round alike (see `row_multiple`). Spare rows continue the last prompt, finish at
    # once, and their tokens are dropped.
    spare = round_up(count, row_multiple(device)) - count
    owner, seeds = [*owner, *[owner[-1]] * spare], [*seeds, *[0] * spare]
    limits = [*limits, *[1] * spare]
    eos, seed, limit = (torch.tensor(list(ids), device=device).long() for ids in (eos_ids, seeds, limits))
    rows = _Running(torch.arange(len(owner), device=device), seed, limit, torch.zeros_like(limit).bool())
    tokens = torch.full((len(owner), width), -1, device=device)
    logprobs = torch.zeros(tokens.shape, device=device)
    # Each distinct prompt is read once; its logits choose the first token of all of its rows.
    cache, lengths, logits = prefill(model, prompts)
    plan = DecodeStep(cache, lengths, torch.tensor(owner), context)
    logits = logits[plan.owner.to(device)]
    for step in range(width):
        chosen, weights = sample_tokens(logits, rows.seed, step, config, eos)
        tokens[rows.index, step], logprobs[rows.index, step] = chosen, weights
        rows.done |= torch.isin(chosen, eos) | (rows.limit <= step + 1)
        if step + 1 == width:
            break
        # Rows leave before the forward pass, which is where the time goes.
        if device.type == "cpu" or step % _GPU_STEPS == 0:
            rows, chosen = _drop_finished(rows, plan, chosen)
            if not len(chosen):
                break
        logits = packed_logits(model, packed_hidden(model, chosen, plan.advance(), plan))
    return trim(tokens[:count], logprobs[:count], limit[:count], eos)


def _drop_finished(rows: _Running, plan: DecodeStep, chosen: Tensor) -> tuple[_Running, Tensor]:
    """The rows that stay and their tokens (none: all are done); finished rows leave once they are enough."""
    done = rows.done.cpu()
    running = int((~done).sum())
    size = round_up(running, row_multiple(chosen.device))  # a few finished ones may have to stay
    if not running or size > _KEEP_ROWS * len(done):
        return rows, chosen if running else chosen[:0]
    stay = running_first(done, size)
    plan.select_rows(stay)
    stay = stay.to(chosen.device)
    return rows.select(stay), chosen[stay]


def running_first(done: Tensor, size: int) -> Tensor:
    """Indices (size,), rising, of all rows that are not done, filled up with the first that are."""
    return done.to(torch.uint8).argsort(stable=True)[:size].sort().values


def trim(tokens: Tensor, logprobs: Tensor, limit: Tensor, eos: Tensor) -> SampleOutput:
    """Rows end at their first EOS or at their limit; what a row wrote while it waited to leave is cut off."""
    index = torch.arange(tokens.shape[1], device=tokens.device)
    at_eos = torch.isin(tokens, eos) & (index < limit[:, None])
    ended = at_eos.any(1)
    lengths = torch.where(ended, at_eos.to(torch.uint8).argmax(1) + 1, limit)
    check_finite(logprobs[index < lengths[:, None]], where="sampling")
    return SampleOutput(tokens.cpu(), logprobs.cpu(), lengths.cpu(), ended.cpu())


def decoder_for(
    model: PreTrainedModel, config: SampleConfig, eos_ids: Ids, context: int
) -> Callable[..., SampleOutput]:
    """What decodes on the model's device: recorded steps on a GPU, `decode` elsewhere.

    Where recording fails the eager engine goes on, and a note says why. To be called with prompts, owner,
    seeds and limits.
    """
    eager = partial(decode, model, config=config, eos_ids=eos_ids, context=context)
    if model.device.type != "cuda":
        return eager
    from rslib.decoding.graphs import recorded_or

    return recorded_or(eager, model, config, eos_ids, context)


def run_batches(
    run: Callable[[slice], _Found],
    owner: Ids,
    costs: Sequence[int],
    budget: int,
    *,
    entry: Sequence[int] | None = None,
    unit: str = "responses",
    forks: int = 1,
) -> Iterator[tuple[slice, _Found]]:
    """Slices of consecutive rows, which cost at most `budget` each, and what `run` gave for them.

    owner[r] is the prompt of row r (equal ones stand together), costs[r] what the row costs, entry[r] what
    its prompt costs once per batch; a single row may exceed the budget. `forks` processes work side by side
    (see `rslib.decoding.forks`), so that what `run` changes here is lost; one after another they come in
    order. When memory runs out the budget is halved, with a note, and the same rows are tried again;
    BudgetError when one row alone does not fit.
    """
    entry = entry or [0] * len(costs)
    left = _batches(owner, costs, entry, slice(0, len(owner)), budget)
    if forks > 1 and len(left) > 1:
        done = set()
        for number, found in forked(run, left, forks):
            done.add(number)
            yield left[number], found
        left = [rows for number, rows in enumerate(left) if number not in done]
        note(f"forks were lost: {len(left)} batches are done by this process", bool(left))
    while left:
        rows = left.pop(0)
        found, fits = _tried(run, rows)
        if fits:
            yield rows, found
            continue
        if rows.stop - rows.start == 1:
            fix = "Use a smaller model, shorter prompts or responses, a smaller dtype, or another device."
            raise BudgetError("memory runs out with a single response in the batch", fix=fix)
        budget = max(1, sum(costs[rows]) // 2)
        note(f"out of memory: going on with {budget} {unit} in a batch")
        left = [smaller for part in [rows, *left] for smaller in _batches(owner, costs, entry, part, budget)]


def _batches(owner: Ids, costs: Sequence[int], entry: Sequence[int], rows: slice, budget: int) -> list[slice]:
    """The rows in slices within the budget."""
    slices, start, owner = [], rows.start, owner[: rows.stop]
    while start < rows.stop:
        end = _batch_end(owner, costs, entry, start, budget)
        slices.append(slice(start, end))
        start = end
    return slices


def _batch_end(owner: Ids, costs: Sequence[int], entry: Sequence[int], start: int, budget: int) -> int:
    """Where the batch from `start` on ends: within the budget, and between two prompts where it can."""
    spent, end, boundary = 0, start, start
    while end < len(owner):
        first_of_prompt = end == start or owner[end] != owner[end - 1]
        spent += costs[end] + first_of_prompt * entry[end]
        if spent > budget and end > start:
            break
        boundary = end if first_of_prompt else boundary
        end += 1
    # A prompt that straddles two batches is computed twice: cut before it, unless that halves the batch.
    straddles = end < len(owner) and owner[end] == owner[end - 1]
    return boundary if straddles and 2 * (boundary - start) >= end - start else end


def _tried(run: Callable[[slice], _Found], rows: slice) -> tuple[_Found | None, bool]:
    """What `run` gives, and whether memory was enough. Other errors pass."""
    try:
        return run(rows), True
    except (RuntimeError, MemoryError) as err:
        if not is_out_of_memory(err):
            raise
    if torch.cuda.is_available():  # outside the handler, where the error no longer holds on to tensors
        torch.cuda.empty_cache()
    return None, False
