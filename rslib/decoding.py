"""The token engine: one forward pass over ragged prompts and responses, each distinct prompt computed once.

Sampling n responses to a prompt, and scoring n responses to a prompt, repeat the same work n times unless
somebody shares it. Here the *prefix* (what the rows of one prompt have in common) is computed once and its
keys and values exist once; every row adds only its own *suffix*. Three ideas carry the file:

1. Tokens are packed end to end as one sequence (1, N), so linear layers never see padding. Only attention
   has to know which token belongs to which row: `Ragged` pads for it and packs again.
2. Attention over prefix + suffix is computed in two parts, merged through their softmax sums
   (`attend_part`, `merge`). In the prefix part the queries of all rows of a prompt form one matrix.
3. Rows that have finished leave the batch (`Step.keep`): ragged responses would waste most of it.

It plugs into unmodified transformers models: the attention function below is registered by name, and the
plan of the pass (`Tree` or `Step`) reaches it as a keyword argument of the model's forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from rslib.config import SampleConfig
from rslib.errors import ModelError

ATTENTION = "rslib_shared_prefix"
HIDDEN = torch.finfo(torch.float32).min  # finite: a part whose keys are all hidden then merges with weight 0
GROW = 32  # suffix buffers grow by this many tokens
KEEP_ROWS = 0.9  # rows leave the batch once this share or less of it is still running
PREFILL_TOKENS = 4096  # prompt tokens in one forward pass
Ids = Sequence[int]


# ----------------------------------------------------------------------------------- sampling maths


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
    if top_p < 1:
        ordered, order = probs.sort(-1, descending=True, stable=True)
        outside = ordered.cumsum(-1) - ordered >= top_p  # the mass before it is enough already
        probs = probs.masked_fill(outside.scatter(-1, order, outside), 0.0)
        probs = probs / probs.sum(-1, keepdim=True)
    return probs


def uniforms(seeds: Tensor, step: int) -> Tensor:
    """One number in [0, 1) per response (R,), a function of its seed and the step alone: float32, 24 bits.

    SplitMix64 (Steele, Lea, Flood, 2014) as a counter-based hash in wrapping int64 arithmetic, so it is the
    same on every device, in any batch.

    >>> uniforms(torch.tensor([7, 8, 7]), step=0).tolist()
    [0.3898297548294067, 0.7258107662200928, 0.3898297548294067]
    """
    mixed = seeds + _signed((step + 1) * 0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ _shift_right(mixed, shift)) * _signed(factor)
    return _shift_right(mixed ^ _shift_right(mixed, 31), 40).float() * 2.0**-24


def draw(probs: Tensor, uniform: Tensor) -> Tensor:
    """Token ids (R,) by inverse CDF from probabilities (R, V), with one uniform in [0, 1) per row.

    A token of probability 0 is never drawn. Rows need not sum to 1 exactly. Two levels (blocks of 64 ids, then
    ids) cost one quick pass over the vocabulary, and keep the rounding of the running sum small.

    >>> draw(torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]), torch.tensor([0.0, 0.7])).tolist()
    [1, 2]
    """
    rows, vocab = probs.shape
    blocks = torch.nn.functional.pad(probs, (0, -vocab % 64)).view(rows, -1, 64)
    block, rest = _first_above(blocks.sum(-1), uniform[:, None])
    inside = blocks.gather(1, block[..., None].expand(-1, -1, 64)).squeeze(1)
    mass = inside.sum(-1, keepdim=True)
    token, _ = _first_above(inside, rest / mass)
    return (block * 64 + token).squeeze(1)


def _first_above(mass: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Index (R, 1) where the running sum of `mass` (R, K) first exceeds uniform * total, and the mass left over."""
    # Entries without mass get sum 0, and the threshold stays below the largest sum: rounding cannot pick them.
    sums = mass.cumsum(-1).masked_fill_(mass <= 0, 0.0)
    total = sums.amax(-1, keepdim=True)
    threshold = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    index = (sums > threshold).to(torch.uint8).argmax(-1, keepdim=True)
    before = sums.gather(-1, index) - mass.gather(-1, index)
    return index, (threshold - before).clamp_(min=0)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # >> keeps the sign; a logical shift does not


def _signed(x: int) -> int:
    x &= (1 << 64) - 1
    return x - (1 << 64) if x >> 63 else x


def choose_tokens(logits: Tensor, seeds: Tensor, step: int, rule: SampleConfig, eos: Tensor) -> Tensor:
    """The next token (R,) of every row: argmax at temperature 0, else drawn; `eos` ids wait for min_new_tokens."""
    if step < rule.min_new_tokens and len(eos):
        logits = logits.index_fill(-1, eos, -torch.inf)
    if rule.temperature == 0:
        return logits.argmax(-1)
    probs = next_token_probs(logits, rule.temperature, rule.top_k, rule.top_p)
    return draw(probs, uniforms(seeds, step))


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities (R,) in nats of tokens (R,) under logits (R, V), at temperature 1 over all tokens."""
    return logits.float().log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)


# ----------------------------------------------------------------------------------- attention in two parts


class Ragged:
    """Rows of unequal length: packed end to end (total, heads, D), or padded (rows, kv_heads, width * group, D).

    With grouped-query attention the `group` query heads that share a key/value head become neighbouring rows of
    one matrix, so that a single product serves them all.
    """

    def __init__(self, lengths: Ids, device: torch.device) -> None:
        self.rows, self.width = len(lengths), max(lengths, default=0)
        self.full = self.rows * self.width == sum(lengths)
        sizes = torch.tensor(lengths)
        filled = torch.arange(self.width) < sizes[:, None]
        self.index = filled.flatten().nonzero().flatten().to(device)  # packed place -> padded place
        self.lengths = sizes.to(device)

    def pad(self, packed: Tensor, kv_heads: int = 1) -> Tensor:
        """(total, heads, D) -> (rows, kv_heads, width * group, D), zeros in the gaps."""
        _, heads, size = packed.shape
        if not self.full:
            packed = packed.new_zeros(self.rows * self.width, heads, size).index_copy_(0, self.index, packed)
        grid = packed.reshape(self.rows, self.width, kv_heads, heads // kv_heads, size)
        return grid.transpose(1, 2).reshape(self.rows, kv_heads, -1, size)

    def pack(self, padded: Tensor) -> Tensor:
        """(rows, kv_heads, width * group, D) -> (total, heads, D)."""
        rows, kv_heads, _, size = padded.shape
        grid = padded.reshape(rows, kv_heads, self.width, -1, size).transpose(1, 2)
        grid = grid.reshape(rows * self.width, -1, size)
        return grid if self.full else grid.index_select(0, self.index)


Part = tuple[Tensor, Tensor, Tensor]  # weighted values (.., D), top score (.., 1), sum of exp(score - top) (.., 1)


def attend_part(query: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None, softcap: float) -> Part:
    """Attention over some of the keys, left unnormalised so that parts can be merged; float32 outside products.

    query (B, H, T * G, D) comes scaled, keys and values are (B, H, S, D); hidden, broadcast to (B, H, T, G, S),
    is True where a key must not be seen.
    """
    scores = (query @ keys.transpose(-1, -2)).float()
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    if hidden is not None:
        scores.unflatten(2, (hidden.shape[2], -1)).masked_fill_(hidden, HIDDEN)
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp_()
    return (weights.to(values.dtype) @ values).float(), top, weights.sum(-1, keepdim=True)


def merge(first: Part, second: Part) -> Tensor:
    """Attention (.., D) over the keys of both parts together, as one softmax over all of them gives it."""
    top = torch.maximum(first[1], second[1])
    a, b = (first[1] - top).exp_(), (second[1] - top).exp_()
    return (first[0] * a + second[0] * b) / (first[2] * a + second[2] * b)


def hidden_within(width: int, window: int, device: torch.device) -> Tensor:
    """(1, 1, T, 1, T), True where a token would look ahead, or back by `window` tokens or more (0: no limit)."""
    at = torch.arange(width, device=device)
    ago = at[:, None] - at
    return ((ago < 0) | (ago >= window) if window else ago < 0)[None, None, :, None]


def hidden_prefix(lengths: Tensor, width: int, positions: Tensor, window: int) -> Tensor:
    """True where a query must not see a prefix key: padding, or `window` or more tokens back (0: no limit).

    lengths (P,), positions (P, 1, T, 1, 1) of the queries -> (P, 1, T or 1, 1, width).
    """
    at = torch.arange(width, device=lengths.device)
    padding = at >= lengths[:, None, None, None, None]
    return padding | (positions - at >= window) if window else padding


class Plan(Protocol):
    """What one forward pass tells attention about its N packed tokens."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, softcap: float, window: int) -> Tensor:
        """query (N, heads, D), scaled; key and value (N, kv_heads, D) of the same tokens -> (N, heads, D)."""


def _attention(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, _: None, **options) -> tuple:
    """What transformers calls in every layer: (1, heads, N, D) -> ((1, N, heads, D), None)."""
    if options.get("s_aux") is not None:
        raise ModelError(
            f"{type(module).__name__} uses attention sinks, which shared prefixes do not support",
            fix="Use a policy of the Llama, Qwen, GPT-2, GPT-NeoX, Mistral, Phi or Gemma families.",
        )
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    scaling = options.get("scaling") or q.shape[-1] ** -0.5
    softcap, window = options.get("softcap") or 0.0, options.get("sliding_window") or 0
    mixed = options["plan"].attend(module.layer_idx, q * scaling, k, v, softcap, window)
    return mixed.to(query.dtype)[None], None


AttentionInterface.register(ATTENTION, _attention)


@contextmanager
def shared_attention(model: PreTrainedModel) -> Iterator[None]:
    """While it is open, `model` computes attention by plan, in eval mode and without gradients.

    Afterwards its own attention and mode are back. Raises ModelError for a model that cannot take it.
    """
    config = model.config.get_text_config()
    before, training = model.config._attn_implementation, model.training
    kinds = set(getattr(config, "layer_types", None) or ())
    if not model._supports_attention_backend or kinds - {"full_attention", "sliding_attention"}:
        raise ModelError(
            f"{type(model).__name__} does not let its attention be replaced",
            where=model.name_or_path,
            fix="Use a model of the Llama, Qwen, GPT-2, GPT-NeoX, Mistral, Phi or Gemma families.",
        )
    model.set_attn_implementation(ATTENTION)
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.set_attn_implementation(before)
        model.train(training)


def forward(model: PreTrainedModel, tokens: Tensor, positions: Tensor, plan: Plan, **options: object) -> object:
    """The model's own output for packed tokens (N,) at positions (N,)."""
    everything = torch.ones_like(tokens)[None]  # no padding anywhere: some models warn when no mask is given
    return model(tokens[None], attention_mask=everything, position_ids=positions[None], use_cache=False, plan=plan, **options)


# ----------------------------------------------------------------------------------- plan 1: a tree of tokens


class Tree:
    """One pass over prefixes and the suffixes that continue them: the plan behind prefill and scoring.

    Tokens are packed as prefix 0, prefix 1, ..., suffix 0, suffix 1, ...; suffix r continues prefix owner[r],
    and owner never decreases. With `cache`, the keys and values of the prefixes are kept for a `Step`.
    """

    def __init__(
        self, prefixes: Sequence[Ids], suffixes: Sequence[Ids], owner: Ids, device: torch.device, cache: bool = False
    ) -> None:
        lengths, tails = [len(p) for p in prefixes], [len(s) for s in suffixes]
        by_prompt = [0] * len(prefixes)
        for row, prompt in enumerate(owner):
            by_prompt[prompt] += tails[row]
        self.prefix, self.suffix, self.queries = (Ragged(x, device) for x in (lengths, tails, by_prompt))
        self.split = sum(lengths)
        places = chain(*map(range, lengths), *(range(lengths[p], lengths[p] + t) for p, t in zip(owner, tails)))
        self.tokens = torch.tensor(list(chain(*prefixes, *suffixes)), device=device)
        self.positions = torch.tensor(list(places), device=device)
        self.kept: list[tuple[Tensor, Tensor]] | None = [] if cache else None
        self.masks = lru_cache(self._masks)

    def _masks(self, window: int) -> tuple[Tensor, Tensor, Tensor]:
        device, (start, end) = self.tokens.device, (self.prefix, self.suffix)
        at = self.queries.pad(self.positions[self.split :, None, None])[..., None]
        across = hidden_prefix(start.lengths, start.width, at, window)
        return hidden_within(start.width, window, device), hidden_within(end.width, window, device), across

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, softcap: float, window: int) -> Tensor:
        kv_heads, split = key.shape[1], self.split
        within_prefix, within_suffix, across = self.masks(window)
        keys, values = (self.prefix.pad(x[:split], kv_heads) for x in (key, value))
        if self.kept is not None:
            self.kept.append((keys, values))
        mixed, _, mass = attend_part(self.prefix.pad(query[:split], kv_heads), keys, values, within_prefix, softcap)
        prefix = self.prefix.pack(mixed / mass)
        if split == len(query):
            return prefix
        tail = query[split:]
        shared = attend_part(self.queries.pad(tail, kv_heads), keys, values, across, softcap)
        own_keys, own_values = (self.suffix.pad(x[split:], kv_heads) for x in (key, value))
        own = attend_part(self.suffix.pad(tail, kv_heads), own_keys, own_values, within_suffix, softcap)
        suffix = merge(tuple(map(self.queries.pack, shared)), tuple(map(self.suffix.pack, own)))
        return torch.cat([prefix, suffix])


# ----------------------------------------------------------------------------------- plan 2: one step of decoding


class Step:
    """One new token per running row: attention over its prompt's stored prefix and over its own suffix."""

    def __init__(self, cache: list[tuple[Tensor, Tensor]], lengths: Tensor, owner: Tensor, context: int) -> None:
        self.cache, self.lengths, self.context = cache, lengths, context  # per layer keys, values (P, H, Lp, D)
        self.suffix: list[tuple[Tensor, Tensor]] = []  # per layer keys, values (R, H, capacity, D)
        self.used = 0  # suffix tokens stored
        self._regroup(owner)

    def _regroup(self, owner: Tensor) -> None:
        self.owner = owner  # on the CPU: (R,) place of each row's prompt, never decreasing
        device = self.lengths.device
        self.queries = Ragged(torch.bincount(owner, minlength=len(self.lengths)).tolist(), device)
        self.start = self.lengths[owner.to(device)]
        self.padded = bool((self.lengths != self.cache[0][0].shape[2]).any())

    def keep(self, rows: Tensor) -> None:
        """Let all rows but these (a CPU index) leave, and prompts nobody needs once they are many."""
        owner, place = self.owner[rows].unique_consecutive(return_inverse=True)
        if len(owner) <= KEEP_ROWS * len(self.lengths):
            prompts = owner.to(self.lengths.device)
            self.lengths = self.lengths[prompts]
            self.cache = [(k[prompts], v[prompts]) for k, v in self.cache]
        else:
            place = self.owner[rows]
        self._regroup(place)
        rows = rows.to(self.lengths.device)
        for layer, (keys, values) in enumerate(self.suffix):
            self.suffix[layer] = (keys[rows], values[rows])

    def advance(self) -> Tensor:
        """Make room for one more token per row; its positions (R,)."""
        # A finished row that has not left yet may run past the context: its token is never used.
        self.positions = (self.start + self.used).clamp_(max=self.context - 1)
        self.used += 1
        self.masks = lru_cache(self._mask)
        return self.positions

    def _mask(self, window: int) -> Tensor | None:
        if not (window or self.padded):
            return None
        at = self.queries.pad(self.positions[:, None, None])[..., None]
        return hidden_prefix(self.lengths, self.cache[0][0].shape[2], at, window)

    def _store(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if layer == len(self.suffix):
            self.suffix.append((key[:, :, None], value[:, :, None]))
        keys, values = self.suffix[layer]
        if self.used > keys.shape[2]:
            keys, values = (torch.nn.functional.pad(x, (0, 0, 0, GROW)) for x in (keys, values))
            self.suffix[layer] = (keys, values)
        keys[:, :, self.used - 1], values[:, :, self.used - 1] = key, value
        return keys[:, :, : self.used], values[:, :, : self.used]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, softcap: float, window: int) -> Tensor:
        kv_heads = key.shape[1]
        own_keys, own_values = self._store(layer, key, value)
        if window:
            own_keys, own_values = own_keys[:, :, -window:], own_values[:, :, -window:]
        grouped = query.unflatten(1, (kv_heads, -1))
        own = attend_part(grouped, own_keys, own_values, None, softcap)
        keys, values = self.cache[layer]
        shared = attend_part(self.queries.pad(query, kv_heads), keys, values, self.masks(window), softcap)
        mixed = merge(tuple(map(self.queries.pack, shared)), tuple(x.flatten(1, 2) for x in own))
        return mixed


# ----------------------------------------------------------------------------------- prefill and decode


def prefill(model: PreTrainedModel, prompts: Sequence[Ids]) -> tuple[list[tuple[Tensor, Tensor]], Tensor, Tensor]:
    """Keys and values per layer (P, H, Lp, D), prompt lengths (P,), and the logits (P, V) after each prompt."""
    device, width = model.device, max(map(len, prompts))
    layers: list[list[tuple[Tensor, Tensor]]] = []
    logits = []
    for part in _by_tokens(prompts, PREFILL_TOKENS):
        tree = Tree(part, [], [], device, cache=True)
        last = tree.prefix.lengths.cumsum(0) - 1
        logits.append(forward(model, tree.tokens, tree.positions, tree, logits_to_keep=last).logits[0].float())
        room = (0, 0, 0, width - tree.prefix.width)
        layers.append([tuple(torch.nn.functional.pad(x, room) for x in pair) for pair in tree.kept])
    cache = [tuple(map(torch.cat, zip(*pairs))) for pairs in zip(*layers)]
    if len(cache) != model.config.get_text_config().num_hidden_layers:
        raise ModelError(f"{type(model).__name__} has layers without ordinary attention", where=model.name_or_path)
    return cache, torch.tensor([len(p) for p in prompts], device=device), torch.cat(logits)


def _by_tokens(prompts: Sequence[Ids], budget: int) -> Iterator[list[Ids]]:
    part: list[Ids] = []
    for prompt in prompts:
        if part and (len(part) + 1) * max(len(prompt), *map(len, part)) > budget:
            yield part
            part = []
        part.append(prompt)
    yield part


@dataclass(frozen=True)
class Drawn:
    """Responses as they were drawn, on the CPU: tokens and logprobs (R, width), of which `lengths` (R,) count."""

    tokens: Tensor
    logprobs: Tensor
    lengths: Tensor
    ended: Tensor


def decode(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    owner: Ids,
    seeds: Ids,
    limits: Ids,
    *,
    rule: SampleConfig,
    eos_ids: Ids,
    context: int,
) -> Drawn:
    """Draw one response per row: row r continues prompts[owner[r]] for at most limits[r] tokens.

    owner never decreases. Must run inside `shared_attention(model)`. A row depends on its prompt, its seed and
    the rule alone, not on its neighbours (up to float rounding of the model's own arithmetic).
    """
    device = model.device
    eos, seed, limit = (torch.tensor(list(x), dtype=torch.long, device=device) for x in (eos_ids, seeds, limits))
    cache, lengths, logits = prefill(model, prompts)
    step = Step(cache, lengths, torch.tensor(owner), context)
    logits = logits[step.owner.to(device)]
    tokens = torch.full((len(owner), max(limits)), -1, device=device)
    logprobs = torch.zeros(tokens.shape, device=device)
    rows, done = torch.arange(len(owner), device=device), torch.zeros(len(owner), dtype=torch.bool, device=device)
    patience = 1 if device.type == "cpu" else 8  # asking a GPU whether rows have finished makes it wait
    for at in range(max(limits)):
        chosen = choose_tokens(logits, seed[rows], at, rule, eos)
        tokens[rows, at], logprobs[rows, at] = chosen, token_logprobs(logits, chosen)
        done |= torch.isin(chosen, eos) | (limit[rows] <= at + 1)
        if at % patience == 0:
            running = (~done).nonzero().flatten().cpu()
            if not len(running):
                break
            if len(running) <= KEEP_ROWS * len(rows):
                step.keep(running)
                stay = running.to(device)
                rows, done, chosen = rows[stay], done[stay], chosen[stay]
        positions = step.advance()
        logits = forward(model, chosen, positions, step).logits[0].float()
    ended = torch.isin(tokens, eos)
    first = torch.where(ended.any(1), ended.to(torch.uint8).argmax(1) + 1, max(limits))
    return Drawn(tokens.cpu(), logprobs.cpu(), torch.minimum(first, limit).cpu(), (first <= limit).cpu() & ended.any(1).cpu())
