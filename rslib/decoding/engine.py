"""Prefill and decode: prompts in, responses out; rows that have finished leave the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from rslib.config import SampleConfig
from rslib.decoding.attention import packed_hidden, packed_logits, whole_rows
from rslib.decoding.passes import Cache, Ids, Step, Tree
from rslib.decoding.sampler import choose_tokens, token_logprobs
from rslib.models import check_finite

KEEP_ROWS = 0.9  # rows leave the batch once this share or less of it is still running
PREFILL_TOKENS = 4096  # prompt tokens in one forward pass
GPU_PATIENCE = 8  # steps between two questions whether rows have finished: each one makes a GPU wait


def prefill(model: PreTrainedModel, prompts: Sequence[Ids]) -> tuple[Cache, Tensor, Tensor]:
    """Keys and values per layer (P, H, Lp, D), prompt lengths (P,), and logits (P, V) after each prompt."""
    caches: list[Cache] = []
    ends: list[Tensor] = []
    for part in _within(prompts, PREFILL_TOKENS):
        tree = Tree(part, device=model.device, keep=True)
        hidden = packed_hidden(model, tree.tokens, tree.positions, tree)
        ends.append(hidden[tree.prefix.lengths.cumsum(0) - 1])
        caches.append(tree.cache)
    cache = [tuple(map(_stacked, zip(*layer, strict=True))) for layer in zip(*caches, strict=True)]
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    return cache, lengths, packed_logits(model, torch.cat(ends))


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Tensors (P, H, L, D) of several widths L as one, padded to the widest."""
    width = max(part.shape[2] for part in parts)
    return torch.cat([pad(part, (0, 0, 0, width - part.shape[2])) for part in parts])


def _within(prompts: Sequence[Ids], budget: int) -> Iterator[list[Ids]]:
    """Consecutive prompts whose padded size stays within `budget` tokens; at least one at a time."""
    part: list[Ids] = []
    for prompt in prompts:
        if part and (len(part) + 1) * max(map(len, [*part, prompt])) > budget:
            yield part
            part = []
        part.append(prompt)
    yield part


@dataclass(frozen=True)
class Drawn:
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
    """The rows still in the batch: place in the result, seed, limit, and whether they have finished."""

    place: Tensor
    seed: Tensor
    limit: Tensor
    done: Tensor

    def keep(self, rows: Tensor) -> None:
        for name in ("place", "seed", "limit", "done"):
            setattr(self, name, getattr(self, name)[rows])


def decode(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    owner: Ids,
    *,
    seeds: Ids,
    limits: Ids,
    rule: SampleConfig,
    eos_ids: Ids,
    context: int,
) -> Drawn:
    """Draw one response per row: row r continues prompts[owner[r]] by at most limits[r] tokens.

    `owner` never decreases; prompt and response fit into `context` together. To be called inside
    `shared_attention(model)`. A row depends on its prompt, its seed and the rule alone, not on its
    neighbours (on a GPU: up to rounding). Raises ModelError when logits are not finite.
    """
    device, width, count = model.device, max(limits), len(owner)
    spare = whole_rows(count, device) - count  # they finish at once, and their tokens are dropped
    owner, seeds = [*owner, *[owner[-1]] * spare], [*seeds, *[0] * spare]
    limits = [*limits, *[1] * spare]
    eos, seed, limit = (torch.tensor(list(x), device=device).long() for x in (eos_ids, seeds, limits))
    rows = _Running(torch.arange(len(owner), device=device), seed, limit, torch.zeros_like(limit).bool())
    tokens = torch.full((len(owner), width), -1, device=device)
    logprobs = torch.zeros(tokens.shape, device=device)
    cache, lengths, logits = prefill(model, prompts)
    step = Step(cache, lengths, torch.tensor(owner), context)
    logits = logits[step.owner.to(device)]
    for at in range(width):
        chosen = choose_tokens(logits, rows.seed, at, rule, eos)
        tokens[rows.place, at], logprobs[rows.place, at] = chosen, token_logprobs(logits, chosen)
        rows.done |= torch.isin(chosen, eos) | (rows.limit <= at + 1)
        if at + 1 == width:
            break
        if device.type == "cpu" or at % GPU_PATIENCE == 0:
            chosen = _leave(rows, step, chosen)
            if not len(chosen):
                break
        logits = packed_logits(model, packed_hidden(model, chosen, step.advance(), step))
    return cut(tokens[:count], logprobs[:count], limit[:count], eos)


def _leave(rows: _Running, step: Step, chosen: Tensor) -> Tensor:
    """Let finished rows leave once there are enough of them; returns the tokens of the rows that stay."""
    done = rows.done.cpu()
    running = int((~done).sum())
    size = whole_rows(running, chosen.device)  # a few finished ones may have to stay
    if not running or size > KEEP_ROWS * len(done):
        return chosen if running else chosen[:0]
    stay = done.to(torch.uint8).argsort(stable=True)[:size].sort().values
    step.keep(stay)
    stay = stay.to(chosen.device)
    rows.keep(stay)
    return chosen[stay]


def cut(tokens: Tensor, logprobs: Tensor, limit: Tensor, eos: Tensor) -> Drawn:
    """Rows end at their first EOS or at their limit; what a row wrote while it waited to leave is cut off."""
    at = torch.arange(tokens.shape[1], device=tokens.device)
    at_eos = torch.isin(tokens, eos) & (at < limit[:, None])
    ended = at_eos.any(1)
    lengths = torch.where(ended, at_eos.to(torch.uint8).argmax(1) + 1, limit)
    check_finite(logprobs[at < lengths[:, None]], where="sampling")
    return Drawn(tokens.cpu(), logprobs.cpu(), lengths.cpu(), ended.cpu())
