"""Attention over a shared prefix and a row's own suffix, in two parts that are merged.

It plugs into unmodified transformers models: the function is registered by name, every layer calls it with
the keys and values of the new tokens only, and the plan of the pass reaches it as a keyword argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from rslib.decoding.forks import fitting_threads
from rslib.decoding.sampler import triton_kernels
from rslib.errors import ModelError

CHUNKED = "chunked_attention"  # sees no further than its chunk; within the first chunk it is full attention
SCALED_BY_PLACE = "attn_temperature_tuning"  # of configs and layers: queries grow with their place
HIDDEN = -1e30  # added to scores; finite: a part whose keys are all hidden then merges with weight 0
_ROW_MULTIPLE = 16
_TILE = 1 << 24  # scores in memory at once: 64 MB
_LOG2E = math.log2(math.e)  # scores are kept in base 2: on a CPU exp2 is four times as fast as exp
_NAME = "rslib_shared_prefix"
_LN2 = math.log(2)  # flash kernels take natural logarithms
_LARGEST_HEAD = 256
_Normalised = tuple[Tensor, Tensor]
"""Attention (N, heads, D), and the log of the sum that normalised it (N, heads), float32; +inf: no keys."""
Part = tuple[Tensor, Tensor, Tensor]
"""Weighted values (..., D), top score (..., 1), sum of 2 ** (score - top) (..., 1)."""
QKV = tuple[Tensor, Tensor, Tensor]
"""Queries (N, heads, D), keys and values (N, kv_heads, D) of N packed tokens."""


def attend_part(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, softcap: float) -> Part:
    """Attention over some of the keys, left unnormalised so that parts can be merged.

    query (B, H, T * G, D), scaled so that scores are in base 2, as is `softcap` (0: none); keys and values
    (B, H, S, D); `mask`, HIDDEN where a key must not be seen and else 0, broadcasts to (B, H, T, G, S).
    Scores and sums are float32.
    """
    scores = (query @ keys.transpose(-1, -2)).float()
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores.unflatten(2, (mask.shape[2], -1)).add_(mask)
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp2_()
    return (weights.to(values.dtype) @ values).float(), top, weights.sum(-1, keepdim=True)


def attend_in_tiles(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Callable[[int, int], Tensor],
    width: int,
    softcap: float,
) -> Part:
    """`attend_part` over `width` query columns, a tile at a time: memory linear in the length, not square.

    mask(first, last) is that of these query columns; it may leave out the last keys, where they see none.
    """
    group = query.shape[2] // width
    scores = query.shape[0] * query.shape[1] * group * keys.shape[2]  # of one column
    size = max(_ROW_MULTIPLE, _TILE // scores // _ROW_MULTIPLE * _ROW_MULTIPLE)
    if size >= width:
        return attend_part(query, keys, values, mask(0, width), softcap)
    # The result is made first: small pieces that stay, among large ones that go, would scatter the memory.
    shape, floats = query.shape[:3], {"device": query.device, "dtype": torch.float32}
    out = tuple(torch.empty(*shape, last, **floats) for last in (values.shape[-1], 1, 1))
    for first in range(0, width, size):
        hidden = mask(first, min(first + size, width))
        seen, tile = hidden.shape[-1], slice(first * group, (first + size) * group)
        part = attend_part(query[:, :, tile], keys[:, :, :seen], values[:, :, :seen], hidden, softcap)
        for whole, piece in zip(out, part, strict=True):
            whole[:, :, tile] = piece
    return out


def normalised(part: Part, sink: Tensor | None) -> Tensor:
    """Attention (..., D) over the keys of one part. sink (..., 1): a score without a value."""
    values, top, mass = part
    return values / (mass if sink is None else mass + (sink - top).exp2_())


def merge(first: Part, second: Part, sink: Tensor | None = None) -> Tensor:
    """Attention (..., D) over the keys of both parts together, as one softmax over all of them gives it."""
    # Each part was divided by its own top; both are brought to the larger one before they are added.
    top = torch.maximum(first[1], second[1])
    a, b = (first[1] - top).exp2_(), (second[1] - top).exp2_()
    return normalised((first[0] * a + second[0] * b, top, first[2] * a + second[2] * b), sink)


@dataclass(frozen=True)
class Spans:
    """Sequences packed end to end, as flash kernels take them.

    Where each begins and the last ends (S + 1,) int32, and the longest.
    """

    bounds: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Spans:
        """Sequences of these lengths, one behind the other."""
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return cls(bounds, max([1, *lengths]))

    def first(self, count: int) -> Spans:
        """The first `count` sequences."""
        return Spans(self.bounds[: count + 1], self.longest)


def flash_usable(query: Tensor, softcap: float) -> bool:
    """Whether flash kernels serve these queries (N, heads, D): Ampere or newer, 16 bits, no softcap."""
    fits = query.shape[-1] <= _LARGEST_HEAD and query.shape[-1] % 8 == 0 and not softcap
    half = query.dtype in (torch.float16, torch.bfloat16)
    return fits and half and query.is_cuda and torch.cuda.get_device_capability(query.device) >= (8, 0)


def flash_attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    queries: Spans,
    spans: Spans,
    *,
    causal: bool = False,
    window: int = 0,
    used: Tensor | None = None,
) -> _Normalised:
    """Attention of each sequence of queries (N, heads, D) over its own keys and values (M, kv_heads, D).

    Nothing is padded, and memory is linear in the length. With it comes the logarithm of the sum that
    normalised it, which is all that merging needs (Dao, 2023, section 3.1).

    causal: query and key sequences end together, and no query sees a key behind it; from `window` tokens
    before it on it sees none either (0: no such limit). used (S,) int32: so many keys of each span count.
    """
    mixed, log_sum, *_ = torch.ops.aten._flash_attention_forward(
        query,
        keys,
        values,
        queries.bounds,
        spans.bounds,
        queries.longest,
        spans.longest,
        0.0,
        causal and not window,
        False,
        scale=_LN2,
        window_size_left=window - 1 if window else -1,
        window_size_right=0 if window else -1,
        seqused_k=used,
    )
    return mixed, log_sum.T


def merge_normalised(first: _Normalised, second: _Normalised) -> Tensor:
    """Attention (N, heads, D) over the keys of both parts, as one softmax over all of them gives it."""
    (a, log_a), (b, log_b) = first, second
    if a.is_cuda and (triton := triton_kernels()):
        return triton.merge_normalised(a.contiguous(), b.contiguous(), log_a, log_b)
    log_a, log_b = (x.masked_fill(x == torch.inf, -torch.inf) for x in (log_a, log_b))
    return torch.lerp(b.float(), a.float(), torch.sigmoid(log_a - log_b)[..., None]).to(a.dtype)


def round_up(count: int, multiple: int) -> int:
    """The smallest multiple that is at least `count`.

    >>> round_up(65, 64), round_up(64, 64)
    (128, 64)
    """
    return -(-count // multiple) * multiple


def row_multiple(device: torch.device) -> int:
    """The number of rows of which a batch is made up in whole groups: _ROW_MULTIPLE, on a GPU 1.

    CPU libraries compute products of few rows, and the odd numbers at the end of a tensor, in another way
    than the rest and round them differently. In whole groups, a row gets the same bits in every batch.
    """
    return _ROW_MULTIPLE if device.type == "cpu" else 1


def _pad_to_multiple(x: Tensor) -> Tensor:
    """The rows of `x`, the last one repeated until the groups are whole (see `row_multiple`)."""
    missing = round_up(len(x), row_multiple(x.device)) - len(x)
    return torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x


def mask_within(first: int, last: int, width: int, window: int, device: torch.device) -> Tensor:
    """(1, 1, last - first, 1, keys) for these columns of rows of `width` that see themselves.

    HIDDEN ahead of a token, and from `window` tokens before it on (0: no such limit). Keys that none of the
    columns sees are left out, in eighths of the width: of sizes that are all different memory is not reused.
    """
    keys = min(width, round_up(last, round_up(-(-width // 8), _ROW_MULTIPLE)))
    index = torch.arange(keys, device=device)
    distance = index[first:last, None] - index
    hidden = (distance < 0) | (distance >= window) if window else distance < 0
    return hidden[None, None, :, None] * HIDDEN


def mask_prefix(lengths: Tensor, width: int, positions: Tensor, window: int) -> Tensor:
    """(P, 1, T or 1, 1, width): HIDDEN for padding, and from `window` tokens before a query on (0: no limit).

    lengths (P,) are those of the prefixes, positions (P, 1, T, 1) those of the queries.
    """
    index = torch.arange(width, device=lengths.device)
    hidden = index >= lengths[:, None, None, None, None]
    hidden = hidden | (positions[..., None] - index >= window) if window else hidden
    return hidden * HIDDEN


class AttentionPlan(Protocol):
    """What one forward pass tells attention about its N packed tokens."""

    def attend(self, layer: int, qkv: QKV, softcap: float, window: int, sink: Tensor | None = None) -> Tensor:
        """Attention (N, heads, D) of scaled queries, with the same tokens' keys and values.

        sink (heads, 1): one more score of each head, in base 2, without a value (GPT-OSS).
        """


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in every layer: (1, heads, N, D) -> (1, N, heads, D)."""
    if "plan" not in options:
        raise _unsupported(module, "attention that takes no options")
    if attention_mask is not None:  # transformers makes none for an attention that it does not know
        raise _unsupported(module, "a layer that makes an attention mask of its own")
    options["seen"].append(module.layer_idx)
    # The rows that `packed_hidden` padded with need no attention: they are cut off, and put back afterwards.
    query, key, value = (x[0].transpose(0, 1)[: options["count"]] for x in (query, key, value))
    query = query * (_LOG2E * (options.get("scaling") or query.shape[-1] ** -0.5))
    softcap, window = _LOG2E * (options.get("softcap") or 0.0), options.get("sliding_window") or 0
    sink = options.get("s_aux")
    sink = None if sink is None else _LOG2E * sink.float()[:, None]
    mixed = options["plan"].attend(module.layer_idx, (query, key, value), softcap, window, sink)
    return _pad_to_multiple(mixed.to(query.dtype))[None], None


def _unsupported(module: torch.nn.Module, what: str) -> ModelError:
    fix = "Use a model of the Llama, Mistral, Qwen, Phi, GPT-2, GPT-NeoX or Gemma families."
    return ModelError(f"shared prefixes do not work with {what}", where=type(module).__name__, fix=fix)


AttentionInterface.register(_NAME, _attention)


# A model in parts -----------------------------------------------------------------------------------------


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The part of a model that turns tokens into hidden states; its text part if it also sees."""
    decoder = model.get_decoder()
    if decoder is model or not isinstance(decoder, PreTrainedModel):  # a head of that name, or none of these
        decoder = model.base_model if model.base_model is not model else model.model
    return decoder


def hidden_states(model: PreTrainedModel, input_ids: Tensor, **inputs: Any) -> Tensor:
    """The decoder's last hidden states (rows, tokens, width), below the head; `inputs` go to its forward."""
    return decoder_of(model)(input_ids=input_ids, **inputs).last_hidden_state


def logits_from_hidden(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits (..., vocabulary) of hidden states (..., width), for any selection of positions.

    Equals `model(...).logits` there: scaled as Granite (`logits_scaling`) and Cohere (`logit_scale`) do,
    capped as Gemma does (`final_logit_softcapping`). `load_policy` checks this equality for each model.
    """
    config = model.config.get_text_config()
    logits = model.get_output_embeddings()(hidden)
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (factor := getattr(config, "logit_scale", None)) is not None:
        logits = logits * factor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = cap * torch.tanh(logits / cap)
    return logits


def check_finite(values: Tensor, where: str) -> None:
    """Raise ModelError when logits or rewards hold NaN or an infinity (check before masking with -inf)."""
    if bool(torch.isfinite(values).all()):
        return
    half = values.dtype == torch.float16
    cause = (
        "float16 overflowed, as it does for some models" if half else "the weights are damaged or diverged"
    )
    fix = 'Load with dtype="float32" (or "bfloat16").' if half else "Use another checkpoint."
    raise ModelError(f"the model's values are not finite: {cause}", where=where, fix=fix)


def alike(values: Tensor, wanted: Tensor) -> bool:
    """Whether logits or rewards are equal up to the rounding of their dtype; NaN and infinity are not."""
    relative = 1e-4 if wanted.dtype == torch.float32 else 2e-2
    bound = relative * max(1.0, float(wanted.abs().max()))
    return bool(torch.isfinite(values).all()) and float((values - wanted).abs().max()) <= bound


# Packed passes --------------------------------------------------------------------------------------------


@contextmanager
def shared_attention(model: PreTrainedModel) -> Iterator[None]:
    """While it is open, `model` takes its attention from a plan, in eval mode and without gradients.

    A small one works on one thread (see `fitting_threads`). Afterwards its own attention and mode are back.
    Raises ModelError for layers that are no attention.
    """
    decoder = decoder_of(model)
    kinds = set(getattr(decoder.config, "layer_types", None) or ())
    if unknown := kinds - {"full_attention", "sliding_attention", CHUNKED}:
        raise _unsupported(model, f"layers of type {', '.join(sorted(unknown))}")
    before, training = decoder.config._attn_implementation, model.training
    # Llama 4 scales queries by their place in the pass, which is not that in a row; `load_policy` bounds the
    # context to places where the scale is 1.
    scaled = [layer for layer in decoder.modules() if getattr(layer, SCALED_BY_PLACE, False)]
    decoder.set_attn_implementation(_NAME)
    model.eval()
    try:
        for layer in scaled:
            setattr(layer, SCALED_BY_PLACE, False)
        with torch.inference_mode(), fitting_threads(model):
            yield
    finally:
        for layer in scaled:
            setattr(layer, SCALED_BY_PLACE, True)
        decoder.set_attn_implementation(before)
        model.train(training)


def packed_hidden(model: PreTrainedModel, tokens: Tensor, positions: Tensor, plan: AttentionPlan) -> Tensor:
    """Last hidden states (N, width) of packed tokens (N,) at positions (N,).

    Raises ModelError when not every layer asked the plan once, in order: tokens of different rows were mixed.
    """
    count, seen = len(tokens), []
    tokens, positions = _pad_to_multiple(tokens)[None], _pad_to_multiple(positions)[None]
    everything = torch.ones_like(tokens)  # nothing is padding; without a mask some models warn
    inputs = {"attention_mask": everything, "position_ids": positions, "use_cache": False}
    hidden = hidden_states(model, tokens, **inputs, plan=plan, count=count, seen=seen)[0, :count]
    if seen != list(range(model.config.get_text_config().num_hidden_layers)):
        raise _unsupported(model, "layers that compute attention by themselves")
    return hidden


def packed_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits (N, vocabulary) of hidden states (N, width)."""
    return logits_from_hidden(model, _pad_to_multiple(hidden))[: len(hidden)]
