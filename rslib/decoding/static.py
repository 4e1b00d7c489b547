"""One decoding step in buffers that never move, so that a GPU can replay it without the host.

The prompts' keys and values (L, 2, P, H, Lp, D), the rows' own (L, 2, R, H, C, D), tokens, seeds, limits and
results are made once for a batch. Each row has a fixed place in a grid of prompts x responses: putting the
queries of a prompt together, so that one matrix product serves them all, is then an index. Nothing in a step
waits for the host, and every step of one size is the same list of kernels: `graphs` records it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rslib.config import SampleConfig
from rslib.decoding.attention import (
    HIDDEN,
    Part,
    attend_part,
    mask_prefix,
    merge,
    packed_hidden,
    packed_logits,
)
from rslib.decoding.passes import Cache, Ids
from rslib.decoding.sampler import choose_tokens, token_logprobs

ROWS = 16
"""Rows come in multiples of this."""
COLUMNS, PREFIX = 64, 64
"""Widths of the rows' own keys, and of the prompts', are multiples of these."""


def choose_and_weigh(
    logits: Tensor, seeds: Tensor, step: Tensor, rule: SampleConfig, eos: Tensor
) -> tuple[Tensor, Tensor]:
    """The next token (R,) of each row, and its log-probability (R,) under the policy itself, in nats."""
    chosen = choose_tokens(logits, seeds, step, rule, eos)
    return chosen, token_logprobs(logits, chosen)


def round_up(count: int, multiple: int) -> int:
    """The smallest multiple that is at least `count`.

    >>> round_up(65, 64), round_up(64, 64)
    (128, 64)
    """
    return -(-count // multiple) * multiple


@dataclass(frozen=True)
class Shape:
    """The sizes of the buffers: prompts, responses to each, rows, widths of prompts and of responses."""

    prompts: int
    per_prompt: int
    rows: int
    prefix: int
    columns: int

    @classmethod
    def of(cls, prompts: Sequence[Ids], owner: Ids, limits: Ids) -> Shape:
        """The sizes that a batch needs, rounded so that batches that are nearly alike share them."""
        per_prompt = max(sum(o == p for o in owner) for p in set(owner))
        prefix, columns = round_up(max(map(len, prompts)), PREFIX), round_up(max(limits), COLUMNS)
        return cls(len(prompts), per_prompt, round_up(len(owner), ROWS), prefix, columns)


@dataclass(frozen=True)
class Parts:
    """The three pure functions in which a step spends its time outside of matrix products."""

    attend: Callable[..., Part] = attend_part
    merge: Callable[..., Tensor] = merge
    choose: Callable[..., tuple[Tensor, Tensor]] = choose_and_weigh

    @classmethod
    def fused(cls) -> Parts:
        """The same, compiled: their many passes over float32 scores and logits become few."""
        return cls(*(torch.compile(part, dynamic=True) for part in (attend_part, merge, choose_and_weigh)))


class StaticStep:
    """One new token for each running row, in buffers that never move: the plan of a recorded step.

    `rows` and `columns` are how many of the rows, and of their own keys, the next step looks at.
    """

    def __init__(
        self, model: PreTrainedModel, shape: Shape, rule: SampleConfig, eos: Tensor, parts: Parts
    ) -> None:
        self.model, self.shape, self.rule, self.eos, self.parts = model, shape, rule, eos, parts
        config = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        layers, device = config.num_hidden_layers, model.device
        prompts = torch.zeros(
            layers, 2, shape.prompts, heads, shape.prefix, size, device=device, dtype=model.dtype
        )
        own = torch.zeros(layers, 2, shape.rows, heads, shape.columns, size, device=device, dtype=model.dtype)
        self.prompts, self.own, self.lengths = prompts, own, torch.zeros(shape.prompts, device=device).long()
        whole = torch.zeros(6, shape.rows, device=device).long()
        self.tokens, self.slot, self.start, self.seed, self.limit, self.place = whole
        self.done = torch.zeros(shape.rows, device=device, dtype=torch.bool)
        self.used = torch.zeros(1, device=device).long()
        self.drawn = torch.zeros(shape.rows, shape.columns, device=device).long()
        self.logprobs = torch.zeros(shape.rows, shape.columns, device=device)
        self.at = torch.arange(shape.columns, device=device)
        self.rows, self.columns, self.context = shape.rows, shape.columns, 0

    def fill(self, cache: Cache, lengths: Tensor, owner: Ids, seeds: Ids, limits: Ids, context: int) -> None:
        """Take in the prompts' keys and values and what is known of the rows; spare rows have finished."""
        for layer, pair in enumerate(cache):
            for kind, x in enumerate(pair):
                self.prompts[layer, kind, :, :, : x.shape[2]].copy_(x)
        count, device, per_prompt = len(owner), lengths.device, self.shape.per_prompt
        first = {prompt: row for row, prompt in reversed(list(enumerate(owner)))}
        slots = [prompt * per_prompt + row - first[prompt] for row, prompt in enumerate(owner)]
        known = torch.tensor([slots, list(seeds), list(limits)], device=device)
        self.lengths.copy_(lengths)
        self.slot[:count], self.seed[:count], self.limit[:count] = known
        self.start[:count] = lengths[torch.tensor(owner, device=device)]
        outside = self.shape.prompts * per_prompt
        for x, spare in ((self.slot, outside), (self.seed, 0), (self.limit, 1), (self.start, 1)):
            x[count:] = spare
        self.place.copy_(torch.arange(len(self.place), device=device))
        self.done.zero_()
        self.used.zero_()
        self.context = context

    def take(self, logits: Tensor) -> None:
        """Choose each row's next token from its logits, and note it."""
        rows, step = self.rows, self.used
        chosen, logprobs = self.parts.choose(logits, self.seed[:rows], step, self.rule, self.eos)
        column = (self.place[:rows], step.expand(rows))
        self.drawn.index_put_(column, chosen)
        self.logprobs.index_put_(column, logprobs)
        ends = (chosen[:, None] == self.eos).any(1)  # torch.isin asks the host where there are many ends
        self.done[:rows] |= ends | (self.limit[:rows] <= step + 1)
        self.tokens[:rows] = chosen

    def step(self) -> None:
        """One forward pass of the running rows, and their next tokens."""
        self._masks: dict[int, tuple[Tensor, Tensor]] = {}
        # A finished row that has not left yet may run past the context: what it writes is cut off later.
        self.positions = (self.start[: self.rows] + self.used).clamp(max=self.context - 1)
        hidden = packed_hidden(self.model, self.tokens[: self.rows], self.positions, self)
        self.used += 1
        self.take(packed_logits(self.model, hidden))

    def _mask(self, window: int) -> tuple[Tensor, Tensor]:
        """What is hidden of the row's own keys, and of its prompt's."""
        if window not in self._masks:
            at, shape = self.at[: self.columns], self.shape
            hidden = (at > self.used) | (self.used - at >= window) if window else at > self.used
            asked = self._grid(self.positions[:, None, None]).reshape(shape.prompts, 1, -1, 1)
            asked = asked if window else asked[:, :, :1]  # without a window all queries see the same keys
            self._masks[window] = (
                (hidden * HIDDEN)[None, None, None, None],
                mask_prefix(self.lengths, shape.prefix, asked, window),
            )
        return self._masks[window]

    def _grid(self, x: Tensor) -> Tensor:
        """(rows, heads, D) -> (prompts * per_prompt, heads, D): each row at its place, zeros in the gaps."""
        places = self.shape.prompts * self.shape.per_prompt
        grid = x.new_zeros(places + 1, *x.shape[1:])  # the last place takes the spare rows
        return grid.index_copy_(0, self.slot[: self.rows], x)[:places]

    def attend(self, layer: int, qkv: tuple[Tensor, Tensor, Tensor], softcap: float, window: int) -> Tensor:
        """See `Plan`. The queries of all rows of a prompt form one matrix, at fixed places."""
        query, key, value = qkv
        heads, size, (prompts, n) = key.shape[1], key.shape[2], (self.shape.prompts, self.shape.per_prompt)
        for kind, x in enumerate((key, value)):
            self.own[layer, kind, : self.rows].index_copy_(2, self.used, x[:, :, None])
        keys, values = self.own[layer, :, : self.rows, :, : self.columns]
        own_mask, prompt_mask = self._mask(window)
        own = self.parts.attend(query.unflatten(1, (heads, -1)), keys, values, own_mask, softcap)
        grid = self._grid(query).view(prompts, n, heads, -1, size).transpose(1, 2)
        keys, values = self.prompts[layer]
        shared = self.parts.attend(grid.reshape(prompts, heads, -1, size), keys, values, prompt_mask, softcap)
        return self.parts.merge(tuple(map(self._ungrid, shared)), own).flatten(1, 2)

    def _ungrid(self, x: Tensor) -> Tensor:
        """(prompts, H, per_prompt * G, D) -> (rows, H, G, D)."""
        rows = x.unflatten(2, (self.shape.per_prompt, -1)).transpose(1, 2).flatten(0, 1)
        return rows.index_select(0, self.slot[: self.rows].clamp(max=len(rows) - 1))

    def keep(self, count: int) -> None:
        """`count` rows stay, those that run among them, and move to the front of the buffers."""
        stay = self.done[: self.rows].to(torch.uint8).argsort(stable=True)[:count].sort().values
        for x in (self.tokens, self.slot, self.start, self.seed, self.limit, self.place, self.done):
            x[:count] = x[: self.rows][stay]
        for layer in self.own:  # one at a time: less memory
            layer[:, :count] = layer[:, : self.rows][:, stay]
        self.rows = count
