"""Two steps that a GPU does in one launch each (`triton_kernels`), and what they compute in plain torch.

Choosing among 150,000 tokens, and merging two parts of attention, move so little and launch so much that
they cost half of a decoding step when they are written as a dozen operations on tensors.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 64  # token ids in a block
Normalised = tuple[Tensor, Tensor]
"""Attention (N, heads, D), and the log of the sum that normalised it (N, heads), float32; +inf: no keys."""


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
