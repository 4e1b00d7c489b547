"""Choosing a token and merging attention in one launch each; Triton comes with torch's builds for CUDA.

Written as a dozen operations on tensors they cost half of a decoding step.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 64  # token ids in a block
_GROUP = 32  # blocks, or rows of heads, of one program


def log_masses(logits: Tensor, scale: float) -> Tensor:
    """As `sampler.log_masses`."""
    rows, size = logits.shape
    blocks = triton.cdiv(size, _BLOCK)
    out = torch.empty(rows, blocks, device=logits.device)
    grid = rows, triton.cdiv(blocks, _GROUP)
    _log_masses[grid](logits, out, size, logits.stride(0), blocks, scale, _GROUP, _BLOCK)
    return out


def merge_normalised(a: Tensor, b: Tensor, log_a: Tensor, log_b: Tensor) -> Tensor:
    """As `attention.merge_normalised`."""
    out, (count, heads, size) = torch.empty_like(a), a.shape
    grid, padded = (triton.cdiv(count * heads, _GROUP),), triton.next_power_of_2(size)
    _merge[grid](
        a, b, log_a, log_b, out, count, heads, size, *log_a.stride(), *log_b.stride(), _GROUP, padded
    )
    return out


@triton.jit
def _log_masses(logits, out, size, stride, blocks, scale, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1) * GROUP + tl.arange(0, GROUP)
    column = block[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    x = tl.load(logits + row * stride + column, mask=column < size, other=-float("inf"))
    x = x.to(tl.float32) * scale
    top = tl.max(x, 1)
    top = tl.where(top == -float("inf"), 0.0, top)  # a block in which nothing is allowed
    log_mass = tl.log(tl.sum(tl.exp(x - top[:, None]), 1)) + top
    tl.store(out + row * blocks + block, log_mass, mask=block < blocks)


@triton.jit
def _merge(
    a,
    b,
    log_a,
    log_b,
    out,
    count,
    heads,
    size,
    a_token,
    a_head,
    b_token,
    b_head,
    GROUP: tl.constexpr,
    SIZE: tl.constexpr,
):
    row = tl.program_id(0) * GROUP + tl.arange(0, GROUP)  # one head of one token
    column = tl.arange(0, SIZE)
    real = row < count * heads
    token, head = row // heads, row % heads
    x = tl.load(log_a + token * a_token + head * a_head, mask=real, other=0.0)
    y = tl.load(log_b + token * b_token + head * b_head, mask=real, other=0.0)
    x = tl.where(x == float("inf"), -float("inf"), x)
    y = tl.where(y == float("inf"), -float("inf"), y)
    weight = tl.sigmoid(x - y)[:, None]
    cell, inside = row[:, None] * size + column[None, :], real[:, None] & (column < size)[None, :]
    first = tl.load(a + cell, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(b + cell, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + cell, second + (first - second) * weight, mask=inside)
