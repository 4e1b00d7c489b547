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

from rslib.decoding.kernels import Normalised

LN2 = math.log(2)  # queries come scaled for powers of 2
LARGEST_HEAD = 256


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
