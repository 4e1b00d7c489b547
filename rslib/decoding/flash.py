"""Attention by flash kernels, where a GPU has them: memory linear in length, no padding, one launch a part.

They take sequences packed end to end and give, beside the attention, the logarithm of the sum that
normalised it, which is all that merging two parts needs (Dao, 2023, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

LN2 = math.log(2)  # queries come scaled for powers of 2
NOTHING = -1e30  # the logarithm of a sum over no keys; finite, so that merging gives it weight 0
LARGEST_HEAD = 256
Normalised = tuple[Tensor, Tensor]
"""Attention (N, heads, D) and the logarithm of its normalising sum (N, heads), float32."""


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
    fits = query.shape[-1] <= LARGEST_HEAD and query.shape[-1] % 8 == 0 and not softcap
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
        scale=LN2,
        window_size_left=window - 1 if window else -1,
        window_size_right=0 if window else -1,
        seqused_k=used,
    )
    return mixed, log_sum.T


def merge(first: Normalised, second: Normalised) -> Tensor:
    """Attention (N, heads, D) over the keys of both parts, as one softmax over all of them gives it."""
    # The kernels call the logarithm of an empty sum +inf.
    a, b = (torch.where(part[1].isinf(), NOTHING, part[1]) for part in (first, second))
    return torch.lerp(second[0].float(), first[0].float(), torch.sigmoid(a - b)[..., None])
