"""What is tried on a model before it is trusted: the engine's passes beside the model's own forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rslib.decoding.attention import packed_hidden, shared_attention
from rslib.decoding.heads import decoder_of, hidden_states
from rslib.decoding.passes import DecodeStep, SharedPrefixPass
from rslib.errors import ModelError

_PREFIXES, _SUFFIXES, _OWNER = (9, 5), (4, 6, 3), (0, 0, 1)  # tokens; to which prefix each suffix belongs
_WINDOW = 4  # tokens, in place of sliding windows, which are longer than the rows
_EXACT, _HALF = 1e-3, 0.3  # share of the hidden states' size by which they may differ: far above rounding


def try_engine(model: PreTrainedModel, ids: Sequence[int], where: str) -> None:
    """Raise ModelError unless the engine's passes give the hidden states of the model's own forward pass.

    A few rows drawn from the token ids `ids`, two of them with a common prefix, are read alone by the model,
    in one shared pass by the engine, and token by token. Sliding windows are cut to fewer tokens than a row
    meanwhile, so that a layer that does not tell the engine of its window is found out.
    """
    drawn = torch.Generator().manual_seed(0)

    def row(length: int) -> list[int]:
        return [ids[i] for i in torch.randint(len(ids), (length,), generator=drawn).tolist()]

    prefixes, suffixes = ([row(length) for length in lengths] for lengths in (_PREFIXES, _SUFFIXES))
    with torch.no_grad(), _short_windows(model):
        rows = [prefixes[prefix] + suffix for prefix, suffix in zip(_OWNER, suffixes, strict=True)]
        wanted = [hidden_states(model, _batch(model, row), use_cache=False)[0] for row in rows]
        with shared_attention(model):
            shared = _in_one_pass(model, prefixes, suffixes)
            stepped = _step_by_step(model, prefixes, suffixes)
    ends = [tokens[_PREFIXES[prefix] :] for prefix, tokens in zip(_OWNER, wanted, strict=True)]
    off = max(_distance(shared, torch.cat(ends)), _distance(stepped, torch.stack([x[:3] for x in ends], 1)))
    if not off <= (_EXACT if model.dtype == torch.float32 else _HALF):
        what = f"shared prefixes change what {type(model).__name__} computes, by {off:.1g} of its size"
        fix = "Use a decoder in which a token sees those before it and nothing else: Llama, Qwen, Gemma, ..."
        raise ModelError(what, where=where, fix=fix)


def _batch(model: PreTrainedModel, row: Sequence[int]) -> Tensor:
    return torch.tensor([list(row)], device=model.device)


def _in_one_pass(model: PreTrainedModel, prefixes: list[list[int]], suffixes: list[list[int]]) -> Tensor:
    """Hidden states of the suffixes, packed."""
    plan = SharedPrefixPass(prefixes, suffixes, _OWNER, device=model.device)
    return packed_hidden(model, plan.tokens, plan.positions, plan)[plan.split :]


def _step_by_step(model: PreTrainedModel, prefixes: list[list[int]], suffixes: list[list[int]]) -> Tensor:
    """Hidden states (tokens, suffixes, width) of as many tokens as the shortest suffix has."""
    before = SharedPrefixPass(prefixes, device=model.device, keep=True)
    packed_hidden(model, before.tokens, before.positions, before)
    context = max(_PREFIXES) + max(_SUFFIXES)
    plan = DecodeStep(before.cache, before.prefix.lengths, torch.tensor(_OWNER), context)
    columns = list(zip(*suffixes, strict=False))
    return torch.stack([packed_hidden(model, _batch(model, x)[0], plan.advance(), plan) for x in columns])


def _distance(values: Tensor, wanted: Tensor) -> float:
    """Size of the difference over that of what is wanted, of the token in the middle.

    In half precision rounding sends single tokens to other experts, where their values are others.
    """
    difference, size = ((x.float().norm(dim=-1)) for x in (values - wanted, wanted))
    return float((difference / size).median())


@contextmanager
def _short_windows(model: PreTrainedModel) -> Iterator[None]:
    """While it is open, the sliding windows of the model's layers and config are _WINDOW tokens."""
    decoder = decoder_of(model)
    context = getattr(decoder.config, "max_position_embeddings", None) or 1 << 30
    holders = [x for x in (decoder.config, *decoder.modules()) if _has_window(x, context)]
    before = [holder.sliding_window for holder in holders]
    try:
        for holder in holders:
            holder.sliding_window = _WINDOW
        yield
    finally:
        for holder, window in zip(holders, before, strict=True):
            holder.sliding_window = window


def _has_window(holder: object, context: int) -> bool:
    """Whether a config or layer has a sliding window that is shorter than the context."""
    window = getattr(holder, "sliding_window", None)
    return isinstance(window, int) and 0 < window < context
