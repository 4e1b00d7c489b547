"""What a GPU does in one launch each: attention of packed rows, merging two parts of it, masses of logits.

Flash kernels take sequences packed end to end, in memory linear in their length, and give beside the
attention the logarithm of the sum that normalised it, which is all that merging needs (Dao, 2023, section
3.1). Choosing among 150,000 tokens, and merging, move so little and launch so much that they cost half of a
decoding step when they are written as a dozen operations on tensors: on a GPU each is a kernel of ours
(`triton_kernels`), elsewhere the plain operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import pad

_LN2 = math.log(2)  # queries come scaled for powers of 2
_LARGEST_HEAD = 256
BLOCK = 64  # token ids in a block
Normalised = tuple[Tensor, Tensor]
"""Attention (N, heads, D), and the log of the sum that normalised it (N, heads), float32; +inf: no keys."""


@dataclass(frozen=True)
class Spans:
    """Sequences in a packed tensor: where each begins and the last ends (S + 1,) int32, and the longest."""

    bounds: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Spans:
        """Sequences of these lengths, one behind the other."""
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return cls(bounds, max([1, *lengths]))


def usable(query: Tensor, softcap: float) -> bool:
    """Whether the kernels serve these queries (N, heads, D): Ampere or newer, 16 bits, no softcap."""
    fits = query.shape[-1] <= _LARGEST_HEAD and query.shape[-1] % 8 == 0 and not softcap
    half = query.dtype in (torch.float16, torch.bfloat16)
    return fits and half and query.is_cuda and torch.cuda.get_device_capability(query.device) >= (8, 0)


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    queries: Spans,
    spans: Spans,
    *,
    causal: bool = False,
    window: int = 0,
    used: Tensor | None = None,
) -> Normalised:
    """Attention of each sequence of queries (N, heads, D) over its own keys and values (M, kv_heads, D).

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


def log_masses(logits: Tensor, scale: float = 1.0) -> Tensor:
    """Logarithm (R, ceil(V / BLOCK)) of the sum of exp(scale * logit) over each block of ids; float32.

    >>> log_masses(torch.zeros(1, 65)).exp().round().tolist()
    [[64.0, 1.0]]
    """
    if logits.is_cuda and (triton := _triton()):
        return triton.log_masses(logits, scale)
    blocks = pad(logits.float() * scale, (0, -logits.shape[1] % BLOCK), value=-torch.inf)
    return blocks.unflatten(1, (-1, BLOCK)).logsumexp(-1)


def merge_normalised(first: Normalised, second: Normalised) -> Tensor:
    """Attention (N, heads, D) over the keys of both parts, as one softmax over all of them gives it."""
    (a, log_a), (b, log_b) = first, second
    if a.is_cuda and (triton := _triton()):
        return triton.merge_normalised(a.contiguous(), b.contiguous(), log_a, log_b)
    log_a, log_b = (x.masked_fill(x == torch.inf, -torch.inf) for x in (log_a, log_b))
    return torch.lerp(b.float(), a.float(), torch.sigmoid(log_a - log_b)[..., None]).to(a.dtype)


@cache
def _triton() -> ModuleType | None:
    try:
        from rslib.decoding import triton_kernels
    except ImportError:  # it does not come with every build of torch
        return None
    return triton_kernels
