"""Decoding on a GPU without waiting for the host: a step is recorded as a CUDA graph and replayed.

The eager engine launches some two thousand kernels a step and is bound by that. A `StaticStep` is the same
list of kernels each time, in buffers that never move; a graph of it is replayed _STEPS times between two
questions of the host: who has finished? Rows that have leave in coarse sizes, because every size, and every
width of the rows' own keys, is a graph of its own.

The prompts' keys and values (L, 2, P, H, Lp, D), the rows' own (L, 2, R, H, C, D), tokens, seeds, limits and
results are made once for a batch. Each row has a fixed slot in a grid of prompts x responses: putting the
queries of a prompt together, so that one matrix product serves them all, is then an index. Nothing in a step
waits for the host.

Same contract as `engine.decode`: in float32 the same tokens, but where rounding turns one, and
log-probabilities equal up to rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rslib.config import SampleConfig
from rslib.decoding import attention
from rslib.decoding.attention import (
    HIDDEN,
    QKV,
    attend_part,
    mask_prefix,
    merge,
    packed_hidden,
    packed_logits,
    round_up,
)
from rslib.decoding.engine import SampleOutput, prefill, running_first, trim
from rslib.decoding.passes import Cache, Ids
from rslib.decoding.sampler import sample_in_one_pass
from rslib.errors import is_out_of_memory
from rslib.progress import note

ROWS = 16
"""Rows come in multiples of this."""
_COLUMNS, _PREFIX = 64, 64
"""Widths of the rows' own keys, and of the prompts', are multiples of these."""
_STEPS = 8  # replays between two questions to the GPU: each one makes the host wait
_SHRINK = 0.75  # rows leave where at most this share of them is left
_MEMORY = 0.6  # share of the free memory that rows in flight may take
_MOST_TOKENS = 131_072  # in one pass: more are no faster
_WORKING = 24  # bytes that choosing takes per token of the vocabulary: float32 logits, softmax, running sums

# One step -------------------------------------------------------------------------------------------------


def _cache_shape(model: PreTrainedModel) -> tuple[int, int, int]:
    """Layers, key/value heads and head size: what one token adds to the keys, and to the values."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, size


@dataclass(frozen=True)
class BatchShape:
    """The sizes of the buffers: prompts, responses to each, rows, widths of prompts and of responses."""

    prompts: int
    per_prompt: int
    rows: int
    prefix: int
    columns: int

    @classmethod
    def of(cls, prompts: Sequence[Ids], owner: Ids, limits: Ids) -> BatchShape:
        """The sizes that a batch needs, rounded so that batches that are nearly alike share them."""
        per_prompt = max(Counter(owner).values())
        prefix, columns = round_up(max(map(len, prompts)), _PREFIX), round_up(max(limits), _COLUMNS)
        return cls(len(prompts), per_prompt, round_up(len(owner), ROWS), prefix, columns)


class StaticStep:
    """One new token for each running row, in buffers that never move: the plan of a recorded step.

    `rows` and `columns` are how many of the rows, and of their own keys, the next step looks at.
    """

    def __init__(self, model: PreTrainedModel, shape: BatchShape, config: SampleConfig, eos: Tensor) -> None:
        self.model, self.shape, self.config, self.eos = model, shape, config, eos
        (layers, heads, size), device = _cache_shape(model), model.device
        floats = {"device": device, "dtype": model.dtype}
        # The context of all rows, and what each has added to it so far (`used` tokens each). In memory the
        # tokens of a row stand together for flash kernels, those of a head for products of matrices.
        self.uses_flash = attention.flash_usable(torch.empty(1, heads, size, **floats), softcap=0.0)

        def buffer(rows: int, width: int) -> Tensor:
            if self.uses_flash:
                return torch.zeros(layers, 2, rows, width, heads, size, **floats).transpose(3, 4)
            return torch.zeros(layers, 2, rows, heads, width, size, **floats)

        self.prompts, self.suffix = buffer(shape.prompts, shape.prefix), buffer(shape.rows, shape.columns)
        self.lengths = torch.zeros(shape.prompts, device=device).long()
        self.used = torch.zeros(1, device=device).long()
        # One number a row: last token, slot in the grid, prompt length, seed, limit, and index in the result,
        # which tells where a row's tokens go after rows have moved to the front.
        numbers = torch.zeros(6, shape.rows, device=device).long()
        self.tokens, self.slot, self.start, self.seed, self.limit, self.index = numbers
        self.done = torch.zeros(shape.rows, device=device, dtype=torch.bool)
        # The result.
        self.drawn = torch.zeros(shape.rows, shape.columns, device=device).long()
        self.logprobs = torch.zeros(shape.rows, shape.columns, device=device)
        self.column = torch.arange(shape.columns, device=device)
        self.rows, self.columns, self.context = shape.rows, shape.columns, 0
        self._spans()

    def _spans(self) -> None:
        """What flash kernels ask: where rows, prompts, and the rows of each prompt begin in the buffers.

        Query heads that share keys become queries of one sequence, so that their keys are read once.
        """
        shape, device, heads = self.shape, self.used.device, self.model.config.get_text_config()
        self.group = heads.num_attention_heads // self.suffix.shape[3]
        count = torch.arange(max(shape.rows, shape.prompts) + 1, device=device, dtype=torch.int32)
        rows, prompts = count[: shape.rows + 1], count[: shape.prompts + 1]
        self.each_row = attention.Spans(rows * self.group, self.group)
        self.own_keys = attention.Spans(rows * shape.columns, shape.columns)
        self.prompt_keys = attention.Spans(prompts * shape.prefix, shape.prefix)
        # Spare rows count as rows of the last prompt.
        self.of_prompt = attention.Spans(torch.zeros_like(prompts), self.group * (shape.per_prompt + ROWS))
        self.own_used, self.prompt_used = rows[1:].clone(), prompts[1:].clone()

    def _regroup(self) -> None:
        """Take note of which of the running rows belong to which prompt; they stand in the prompts' order."""
        prompt = self.slot[: self.rows] // self.shape.per_prompt
        first = torch.searchsorted(prompt, torch.arange(self.shape.prompts, device=prompt.device))
        self.of_prompt.bounds[:-1] = first * self.group
        self.of_prompt.bounds[-1] = self.rows * self.group

    def fill(self, cache: Cache, lengths: Tensor, owner: Ids, seeds: Ids, limits: Ids, context: int) -> None:
        """Take in the prompts' keys and values and what is known of the rows; spare rows have finished."""
        for layer, pair in enumerate(cache):
            for kind, x in enumerate(pair):
                self.prompts[layer, kind, :, :, : x.shape[2]].copy_(x)
        count, device, per_prompt = len(owner), lengths.device, self.shape.per_prompt
        first_row = {prompt: row for row, prompt in reversed(list(enumerate(owner)))}
        slots = [prompt * per_prompt + row - first_row[prompt] for row, prompt in enumerate(owner)]
        self.lengths.copy_(lengths)
        known = torch.tensor([slots, list(seeds), list(limits)], device=device)
        self.slot[:count], self.seed[:count], self.limit[:count] = known
        self.start[:count] = lengths[torch.tensor(owner, device=device)]
        outside = self.shape.prompts * per_prompt
        for x, spare in ((self.slot, outside), (self.seed, 0), (self.limit, 1), (self.start, 1)):
            x[count:] = spare
        self.index.copy_(torch.arange(len(self.index), device=device))
        self.done.zero_()
        self.used.zero_()
        self.rows, self.context = self.shape.rows, context
        self.prompt_used.copy_(lengths)
        self._regroup()

    def sample(self, logits: Tensor) -> None:
        """Choose each row's next token from its logits, and write it down."""
        rows, step = self.rows, self.used
        chosen, logprobs = sample_in_one_pass(logits, self.seed[:rows], step, self.config, self.eos)
        cell = (self.index[:rows], step.expand(rows))
        self.drawn.index_put_(cell, chosen)
        self.logprobs.index_put_(cell, logprobs)
        ends = (chosen[:, None] == self.eos).any(1)  # torch.isin asks the host where there are many ends
        self.done[:rows] |= ends | (self.limit[:rows] <= step + 1)
        self.tokens[:rows] = chosen

    def step(self) -> None:
        """One forward pass of the running rows, and their next tokens."""
        self._masks: dict[int, tuple[Tensor, Tensor]] = {}
        # A finished row that has not left yet may run past the context: what it writes is cut off later.
        self.positions = (self.start[: self.rows] + self.used).clamp(max=self.context - 1)
        self.own_used.copy_((self.used + 1).expand_as(self.own_used))
        hidden = packed_hidden(self.model, self.tokens[: self.rows], self.positions, self)
        self.used += 1
        self.sample(packed_logits(self.model, hidden))

    def _mask(self, window: int) -> tuple[Tensor, Tensor]:
        """What is hidden of the row's own keys, and of its prompt's."""
        if window not in self._masks:
            column, shape = self.column[: self.columns], self.shape
            hidden = column > self.used
            hidden = hidden | (self.used - column >= window) if window else hidden
            asked = self._grid(self.positions[:, None, None]).reshape(shape.prompts, 1, -1, 1)
            asked = asked if window else asked[:, :, :1]  # without a window all queries see the same keys
            self._masks[window] = (
                (hidden * HIDDEN)[None, None, None, None],
                mask_prefix(self.lengths, shape.prefix, asked, window),
            )
        return self._masks[window]

    def _grid(self, x: Tensor) -> Tensor:
        """(rows, heads, D) -> (prompts * per_prompt, heads, D): each row in its slot, zeros in the gaps."""
        slots = self.shape.prompts * self.shape.per_prompt
        grid = x.new_zeros(slots + 1, *x.shape[1:])  # the last slot takes the spare rows
        return grid.index_copy_(0, self.slot[: self.rows], x)[:slots]

    def attend(self, layer: int, qkv: QKV, softcap: float, window: int, sink: Tensor | None = None) -> Tensor:
        """See `AttentionPlan`. The queries of all rows of a prompt form one matrix, in fixed slots."""
        query, key, value = qkv
        heads, size, (prompts, n) = key.shape[1], key.shape[2], (self.shape.prompts, self.shape.per_prompt)
        for kind, x in enumerate((key, value)):
            self.suffix[layer, kind, : self.rows].index_copy_(2, self.used, x[:, :, None])
        moves = 0 < window < self.shape.prefix + self.shape.columns
        if self.uses_flash and sink is None and not softcap and not moves:
            return self._attend_flash(layer, query)
        keys, values = self.suffix[layer, :, : self.rows, :, : self.columns]
        suffix_mask, prompt_mask = self._mask(window)
        own = attend_part(query.unflatten(1, (heads, -1)), keys, values, suffix_mask, softcap)
        grid = self._grid(query).view(prompts, n, heads, -1, size).transpose(1, 2)
        grid, (keys, values) = grid.reshape(prompts, heads, -1, size), self.prompts[layer]
        shared = attend_part(grid, keys, values, prompt_mask, softcap)
        sink = None if sink is None else sink.unflatten(0, (heads, -1))
        return merge(tuple(map(self._ungrid, shared)), own, sink).flatten(1, 2)

    def _attend_flash(self, layer: int, query: Tensor) -> Tensor:
        """The same by flash kernels: no grid, no masks."""
        prompts, own = (x[layer].transpose(2, 3).flatten(1, 2) for x in (self.prompts, self.suffix))
        heads, size, rows = *own.shape[2:], self.rows
        query = query.unflatten(1, (heads, -1)).transpose(1, 2).reshape(-1, heads, size)
        each, keys = (
            attention.Spans(x.bounds[: rows + 1], x.longest) for x in (self.each_row, self.own_keys)
        )
        shared = attention.flash_attend(
            query, *prompts, self.of_prompt, self.prompt_keys, used=self.prompt_used
        )
        alone = attention.flash_attend(query, *own, each, keys, used=self.own_used[:rows])
        return (
            attention.merge_normalised(shared, alone).unflatten(0, (rows, -1)).transpose(1, 2).flatten(1, 2)
        )

    def _ungrid(self, x: Tensor) -> Tensor:
        """(prompts, H, per_prompt * G, D) -> (rows, H, G, D)."""
        rows = x.unflatten(2, (self.shape.per_prompt, -1)).transpose(1, 2).flatten(0, 1)
        return rows.index_select(0, self.slot[: self.rows].clamp(max=len(rows) - 1))

    def shrink(self, count: int) -> None:
        """`count` rows stay, those that run among them, and move to the front of the buffers."""
        stay = running_first(self.done[: self.rows], count)
        for x in (self.tokens, self.slot, self.start, self.seed, self.limit, self.index, self.done):
            x[:count] = x[: self.rows][stay]
        for layer in self.suffix:  # one at a time: less memory
            layer[:, :count] = layer[:, : self.rows][:, stay]
        self.rows = count
        self._regroup()


# Recorded, and replayed ----------------------------------------------------------------------------------


class GraphDecoder:
    """Decodes batch after batch with recorded steps, which are kept as long as the sizes stay the same.

    record=False runs the same steps one by one, on any device: how the buffers and masks are tested.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        config: SampleConfig,
        eos_ids: Ids,
        context: int,
        *,
        record: bool = True,
    ) -> None:
        self.model, self.config, self.context, self.record = model, config, context, record
        self.eos = torch.tensor(list(eos_ids), device=model.device).long()
        self.plan: StaticStep | None = None
        self.graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}

    def __call__(self, prompts: Sequence[Ids], owner: Ids, *, seeds: Ids, limits: Ids) -> SampleOutput:
        """As `engine.decode`."""
        shape, count, width = BatchShape.of(prompts, owner, limits), len(owner), max(limits)
        if self.plan is None or self.plan.shape != shape:
            self.plan, self.graphs = None, {}  # the old buffers go before the new ones come
            self.plan = StaticStep(self.model, shape, self.config, self.eos)
        plan = self.plan
        cache, lengths, logits = prefill(self.model, prompts)
        plan.fill(cache, lengths, owner, seeds, limits, self.context)
        del cache
        spare = [owner[-1]] * (shape.rows - count)
        plan.sample(logits[torch.tensor([*owner, *spare], device=logits.device)])
        # The first token came with the prompts; then _STEPS at a time, and a look at who has finished.
        for first in range(1, width, _STEPS):
            if not self._drop_finished():
                break
            last = min(first + _STEPS, width)
            plan.columns = min(shape.columns, round_up(last, _COLUMNS))
            for _ in range(first, last):
                self._advance()
        limit = torch.tensor(list(limits), device=self.eos.device)
        return trim(plan.drawn[:count, :width], plan.logprobs[:count, :width], limit, self.eos)

    def _drop_finished(self) -> bool:
        """Let finished rows leave where that makes a smaller size; whether any row still runs."""
        plan = self.plan
        running = int((~plan.done[: plan.rows]).sum())
        fitting = [size for size in sizes(plan.shape.rows) if size >= running]
        if running and fitting[-1] < plan.rows:
            plan.shrink(fitting[-1])
        return running > 0

    def _advance(self) -> None:
        """One step: replayed where it was recorded."""
        if not self.record:
            return self.plan.step()
        key = self.plan.rows, self.plan.columns
        if key not in self.graphs:
            self.graphs[key] = self._recorded()
        self.graphs[key].replay()

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """A graph of the step for the rows and columns that the plan has now."""
        plan = self.plan
        state = (plan.tokens, plan.used, plan.done)
        before = [x.clone() for x in state]
        # Once for real, since libraries set themselves up in a first call; then what it changed is put back.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            plan.step()
        torch.cuda.current_stream().wait_stream(stream)
        for x, old in zip(state, before, strict=True):
            x.copy_(old)
        # All graphs share one pool of memory: only one of them runs at a time.
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.graphs.values())).pool() if self.graphs else None
        with torch.cuda.graph(graph, pool=pool):
            plan.step()
        return graph


def sizes(rows: int) -> Iterator[int]:
    """How many rows a step may have, falling: each is at most _SHRINK of the last, in multiples of ROWS.

    >>> list(sizes(100))
    [100, 64, 48, 32, 16]
    """
    while rows > ROWS:
        yield rows
        rows = max(ROWS, int(rows * _SHRINK) // ROWS * ROWS)
    yield rows


def recorded_or(
    eager: Callable[..., SampleOutput],
    model: PreTrainedModel,
    config: SampleConfig,
    eos_ids: Ids,
    context: int,
) -> Callable[..., SampleOutput]:
    """A decoder of recorded steps; where recording fails, `eager` goes on and a note says why."""
    recorded: list[GraphDecoder] = [GraphDecoder(model, config, eos_ids, context)]

    def run(prompts: Sequence[Ids], owner: Ids, *, seeds: Ids, limits: Ids) -> SampleOutput:
        while recorded:
            try:
                return recorded[0](prompts, owner, seeds=seeds, limits=limits)
            except RuntimeError as error:
                recorded[0].plan = None  # its buffers are what the next try needs
                if is_out_of_memory(error):
                    raise
                why = str(error).strip().splitlines()[0][:200]
            recorded.clear()  # outside the handler, where the error no longer holds on to tensors
            note(f"steps cannot be recorded for this model ({why}): decoding goes on step by step")
        return eager(prompts, owner, seeds=seeds, limits=limits)

    return run


def rows_in_flight(model: PreTrainedModel, prompt: int, response: int, n: int) -> int:
    """How many responses a GPU's free memory holds at once, at least one.

    prompt, response: the longest, in tokens; n: responses to a prompt, which share its keys and values.
    """
    layers, heads, size = _cache_shape(model)
    token = 2 * layers * heads * size * model.dtype.itemsize
    row = (
        token * (round_up(response, _COLUMNS) + prompt / n)
        + _WORKING * model.config.get_text_config().vocab_size
    )
    free, _ = torch.cuda.mem_get_info(model.device)
    return max(1, int(_MEMORY * free / row))


def tokens_in_pass(model: PreTrainedModel) -> int:
    """How many tokens a GPU holds in one forward pass without gradients, at most _MOST_TOKENS."""
    config = model.config.get_text_config()
    wide = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    token = model.dtype.itemsize * (12 * config.hidden_size + 4 * wide)  # what a layer holds at its widest
    free, _ = torch.cuda.mem_get_info(model.device)
    return max(1, min(_MOST_TOKENS, int(_MEMORY * free / token)))
