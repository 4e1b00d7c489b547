"""Decoding on a GPU without waiting for the host: a step is recorded as a CUDA graph and replayed.

The eager engine launches some two thousand kernels a step and is bound by that. A `StaticStep` is the same
list of kernels each time; a graph of it is replayed _STEPS times between two questions of the host: who has
finished? Rows that have leave in coarse sizes, because every size, and every width of the rows' own keys, is
a graph of its own.

Same contract as `engine.decode`: in float32 the same tokens, but where rounding turns one, and
log-probabilities equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from transformers import PreTrainedModel

from rslib.config import SampleConfig
from rslib.decoding.attention import round_up
from rslib.decoding.engine import SampleOutput, prefill, trim
from rslib.decoding.passes import Ids
from rslib.decoding.static import COLUMNS, ROWS, BatchShape, StaticStep, cache_shape
from rslib.errors import is_out_of_memory
from rslib.progress import note

_STEPS = 8  # replays between two questions to the GPU: each one makes the host wait
_SHRINK = 0.75  # rows leave where at most this share of them is left
MEMORY = 0.6  # share of the free memory that rows in flight may take
_MOST_TOKENS = 131_072  # in one pass: more are no faster
_WORKING = 24  # bytes that choosing takes per token of the vocabulary: float32 logits, softmax, running sums


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
            plan.columns = min(shape.columns, round_up(last, COLUMNS))
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
    layers, heads, size = cache_shape(model)
    token = 2 * layers * heads * size * model.dtype.itemsize
    row = (
        token * (round_up(response, COLUMNS) + prompt / n)
        + _WORKING * model.config.get_text_config().vocab_size
    )
    free, _ = torch.cuda.mem_get_info(model.device)
    return max(1, int(MEMORY * free / row))


def tokens_in_pass(model: PreTrainedModel) -> int:
    """How many tokens a GPU holds in one forward pass without gradients, at most _MOST_TOKENS."""
    config = model.config.get_text_config()
    wide = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    token = model.dtype.itemsize * (12 * config.hidden_size + 4 * wide)  # what a layer holds at its widest
    free, _ = torch.cuda.mem_get_info(model.device)
    return max(1, min(_MOST_TOKENS, int(MEMORY * free / token)))
