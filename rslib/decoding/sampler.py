"""The sampling maths: logits -> probabilities -> token, as pure functions of tensors."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import pad

from rslib.config import SampleConfig

_BLOCK = 64  # token ids in a block
_FAINT = 0.01  # below this temperature scaled logits may overflow, unless they are shifted first
_GOLDEN = 0x9E3779B97F4A7C15  # 2 ** 64 over the golden ratio: SplitMix64 counts in steps of it


def next_token_probs(logits: Tensor, temperature: float, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Probabilities (R, V) that the next token is drawn from, given logits (R, V); float32, rows sum to 1.

    Order: temperature, then top-k, then top-p on what top-k left. Temperature 0 puts all mass on the largest
    logit, the lowest id of a tie. Tokens tied with the k-th are all kept; top-p keeps the smallest set whose
    mass reaches `top_p`, lower ids first within a tie. NaN logits give NaN rows.

    >>> next_token_probs(torch.tensor([[0.0, 2.0, 2.0]]), 0.0)
    tensor([[0., 1., 0.]])
    >>> next_token_probs(torch.log(torch.tensor([[0.5, 0.3, 0.2]])), 1.0, top_p=0.6)
    tensor([[0.6250, 0.3750, 0.0000]])
    """
    logits = logits.float()
    if temperature == 0:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    if temperature != 1:  # shifted first, so that a tiny temperature overflows to -inf and never to inf - inf
        logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if 0 < top_k < logits.shape[-1]:
        kth = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    probs = logits.softmax(-1)
    return _nucleus(probs, top_p) if top_p < 1 else probs


def _nucleus(probs: Tensor, top_p: float) -> Tensor:
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(-1) - ordered >= top_p  # the mass before it is enough already
    probs = probs.masked_fill(outside.scatter(-1, order, outside), 0.0)
    return probs / probs.sum(-1, keepdim=True)


def _uniforms(seeds: Tensor, step: int | Tensor) -> Tensor:
    """One number in [0, 1) per response (R,), a function of its seed and the step alone: float32, 24 bits.

    `step` may lie on the device as a tensor (1,).

    SplitMix64 (Steele, Lea and Flood, 2014) used as a counter-based hash, in wrapping int64 arithmetic: the
    same on every device and in any batch.

    >>> [round(u, 4) for u in _uniforms(torch.tensor([7, 8, 7]), step=0).tolist()]
    [0.3898, 0.6185, 0.3898]
    """
    counted = _signed((step + 1) * _GOLDEN) if isinstance(step, int) else (step + 1) * _signed(_GOLDEN)
    mixed = seeds + counted
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ _shift_right(mixed, shift)) * _signed(factor)
    return _shift_right(mixed ^ _shift_right(mixed, 31), 40).float() * 2.0**-24


def _shift_right(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # >> alone would copy the sign bit


def _signed(x: int) -> int:
    x &= (1 << 64) - 1
    return x - (1 << 64) if x >> 63 else x


def draw(probs: Tensor, uniform: Tensor) -> Tensor:
    """Token ids (R,) by inverse CDF from probabilities (R, V), with one uniform in [0, 1) per row.

    A token of probability 0 is never drawn; rows need not sum to exactly 1. Two levels (a block of 64 ids,
    then the id) cost one quick pass over the vocabulary and keep the rounding of the running sums small.

    >>> draw(torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]), torch.tensor([0.0, 0.7])).tolist()
    [1, 2]
    """
    blocks = pad(probs, (0, -probs.shape[1] % _BLOCK)).unflatten(1, (-1, _BLOCK))
    block, rest = _first_above(blocks.sum(-1), uniform[:, None])
    inside = blocks.gather(1, block[..., None].expand(-1, -1, _BLOCK)).squeeze(1)
    token, _ = _first_above(inside, rest)
    return (block * _BLOCK + token).squeeze(1)


def _first_above(mass: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Where the running sum of mass (R, K) first exceeds share (R, 1) of it all, and the share within."""
    # Entries without mass get sum 0, the threshold stays below the largest: rounding never picks them.
    sums = mass.cumsum(-1).masked_fill_(mass <= 0, 0.0)
    total = sums.amax(-1, keepdim=True)
    threshold = torch.minimum(share * total, torch.nextafter(total, torch.zeros_like(total)))
    index = (sums > threshold).to(torch.uint8).argmax(-1, keepdim=True)
    width = mass.gather(-1, index)
    share_within = (threshold - (sums.gather(-1, index) - width)) / width
    return index, share_within.clamp_(0, 1)


def sample_tokens(
    logits: Tensor, seeds: Tensor, step: int | Tensor, config: SampleConfig, eos: Tensor
) -> tuple[Tensor, Tensor]:
    """The next token (R,) of each row, and its log-probability (R,) in nats under the policy itself.

    Argmax at temperature 0, else drawn with the seed's uniform. The ids in `eos` cannot be chosen before step
    `config.min_new_tokens`.
    """
    allowed = _allowed(logits, step, config, eos)
    if config.temperature == 0:
        tokens = allowed.argmax(-1)
    else:
        probs = next_token_probs(allowed, config.temperature, config.top_k, config.top_p)
        tokens = draw(probs, _uniforms(seeds, step))
    return tokens, token_logprobs(logits, tokens)


def _allowed(logits: Tensor, step: int | Tensor, config: SampleConfig, eos: Tensor) -> Tensor:
    """The logits, those of `eos` at -inf before step `config.min_new_tokens`."""
    if not (config.min_new_tokens and len(eos)):
        return logits
    early = torch.as_tensor(step, device=logits.device) < config.min_new_tokens
    return torch.where(early, logits.index_fill(-1, eos, -torch.inf), logits)


def sample_in_one_pass(
    logits: Tensor, seeds: Tensor, step: int | Tensor, config: SampleConfig, eos: Tensor
) -> tuple[Tensor, Tensor]:
    """As `sample_tokens`, up to rounding, reading the vocabulary once: what a GPU's recorded step calls.

    Only the masses of blocks are computed for all tokens, and single tokens only in the block that is drawn.
    """
    if config.top_k or config.top_p < 1 or 0 < config.temperature < _FAINT:
        return sample_tokens(logits, seeds, step, config, eos)
    allowed = _allowed(logits, step, config, eos)
    masses = log_masses(logits)
    if config.temperature == 0:
        tokens = allowed.argmax(-1)
    else:
        scale = 1 / config.temperature
        plain = allowed is logits and scale == 1
        tokens = _draw_in_blocks(
            allowed, masses if plain else log_masses(allowed, scale), scale, _uniforms(seeds, step)
        )
    return tokens, logits.gather(-1, tokens[:, None]).squeeze(-1).float() - masses.logsumexp(-1)


def log_masses(logits: Tensor, scale: float = 1.0) -> Tensor:
    """Logarithm (R, ceil(V / _BLOCK)) of the sum of exp(scale * logit) over each block of ids; float32.

    >>> log_masses(torch.zeros(1, 65)).exp().round().tolist()
    [[64.0, 1.0]]
    """
    if logits.is_cuda and (triton := triton_kernels()):
        return triton.log_masses(logits, scale)
    blocks = pad(logits.float() * scale, (0, -logits.shape[1] % _BLOCK), value=-torch.inf)
    return blocks.unflatten(1, (-1, _BLOCK)).logsumexp(-1)


@cache
def triton_kernels() -> ModuleType | None:
    """Kernels that do on a GPU in one launch what a dozen operations do; None: this torch has no Triton."""
    try:
        from rslib.decoding import triton_kernels
    except ImportError:
        return None
    return triton_kernels


def _draw_in_blocks(logits: Tensor, masses: Tensor, scale: float, uniform: Tensor) -> Tensor:
    """As `draw` from the softmax of scale * logits, given the logarithms of its blocks' masses."""
    block, rest = _first_above(masses.softmax(-1), uniform[:, None])
    ids = block * _BLOCK + torch.arange(_BLOCK, device=logits.device)
    size = logits.shape[1]
    inside = (
        logits.gather(-1, ids.clamp(max=size - 1)).float().mul(scale).masked_fill(ids >= size, -torch.inf)
    )
    token, _ = _first_above(inside.softmax(-1), rest)
    return (block * _BLOCK + token).squeeze(1)


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities (R,) in nats of tokens (R,) under logits (R, V), at temperature 1 over all tokens."""
    return logits.float().log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)
