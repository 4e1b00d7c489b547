"""The two kinds of forward pass. Tokens are packed end to end, so that linear layers never see padding.

Only attention has to know which token belongs to which row: `_Ragged` pads for it and packs again. What is
tried on a model before it is trusted (`try_engine`) stands below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rslib.decoding import attention
from rslib.decoding.attention import (
    QKV,
    attend_in_tiles,
    attend_part,
    decoder_of,
    hidden_states,
    mask_prefix,
    mask_within,
    merge,
    normalised,
    packed_hidden,
    round_up,
    shared_attention,
)
from rslib.errors import ModelError

_GROW = 16  # suffix buffers grow by this many tokens
# Widths come in these steps, so that CPU libraries round alike in every batch (see `row_multiple`): sums over
# keys need 16, rows of queries 4.
_COLUMNS, _QUERY_COLUMNS = 16, 4
_KEEP_PROMPTS = 0.75  # prompts leave the cache once this share or less of them still has rows
Ids = Sequence[int]
_Mask = Callable[[int, int], Tensor]
"""What is hidden from the query columns between two numbers (see `attend_in_tiles`)."""
Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer."""


class _Ragged:
    """Rows of unequal length, packed (total, heads, D) or padded (rows, kv_heads, width * group, D).

    With grouped-query attention the `group` query heads that share a key/value head become neighbouring rows
    of one matrix, so that a single product serves them all.
    """

    def __init__(self, lengths: Ids, device: torch.device, columns: int = _COLUMNS) -> None:
        self.rows, self.width = len(lengths), round_up(max([1, *lengths]), columns)
        self.full = self.rows * self.width == sum(lengths)
        self.lengths = torch.tensor(lengths).to(device)

    @cached_property
    def index(self) -> Tensor:
        """Where each packed token stands in the padded rows."""
        filled = torch.arange(self.width) < self.lengths.cpu()[:, None]
        return filled.flatten().nonzero().flatten().to(self.lengths.device)

    def pad(self, packed: Tensor, kv_heads: int = 1) -> Tensor:
        """(total, heads, D) -> (rows, kv_heads, width * group, D), zeros in the gaps."""
        _, heads, size = packed.shape
        if not self.full:
            grid = packed.new_zeros(self.rows * self.width, heads, size)
            packed = grid.index_copy_(0, self.index, packed)
        grid = packed.reshape(self.rows, self.width, kv_heads, heads // kv_heads, size)
        return grid.transpose(1, 2).reshape(self.rows, kv_heads, -1, size)

    def pack(self, padded: Tensor) -> Tensor:
        """(rows, kv_heads, width * group, D) -> (total, heads, D)."""
        rows, kv_heads, _, size = padded.shape
        grid = padded.reshape(rows, kv_heads, self.width, -1, size).transpose(1, 2)
        grid = grid.reshape(rows * self.width, -1, size)
        return grid if self.full else grid.index_select(0, self.index)


class SharedPrefixPass:
    """One pass over prefixes and the suffixes that continue them: the plan of prefill and of scoring.

    Tokens are packed as prefix 0, prefix 1, ..., suffix 0, suffix 1, ...; suffix r continues prefix owner[r],
    and owner never decreases. With `keep`, keys and values of the prefixes stay in `cache` for a DecodeStep.
    """

    def __init__(
        self,
        prefixes: Sequence[Ids],
        suffixes: Sequence[Ids] = (),
        owner: Ids = (),
        *,
        device: torch.device,
        keep: bool = False,
    ) -> None:
        prefix_lengths, suffix_lengths = ([len(ids) for ids in rows] for rows in (prefixes, suffixes))
        # A suffix token stands behind the whole prefix of its row: its position counts on from there.
        queries_of = [0] * len(prefixes)
        positions = [range(length) for length in prefix_lengths]
        for prompt, length in zip(owner, suffix_lengths, strict=True):
            queries_of[prompt] += length
            positions.append(range(prefix_lengths[prompt], prefix_lengths[prompt] + length))
        self.prefix, self.suffix = _Ragged(prefix_lengths, device), _Ragged(suffix_lengths, device)
        self.queries = _Ragged(queries_of, device, _QUERY_COLUMNS)
        self.split = sum(prefix_lengths)  # the first suffix token
        self.tokens = torch.tensor(list(chain(*prefixes, *suffixes)), device=device)
        self.positions = torch.tensor(list(chain(*positions)), device=device)
        self.cache: Cache | None = [] if keep else None
        self._lengths = (prefix_lengths, suffix_lengths, queries_of)
        self._longest = int(self.positions.max()) + 1 if len(self.positions) else 0
        self._masks: dict[int, tuple[_Mask, _Mask, _Mask]] = {}

    @cached_property
    def _spans(self) -> list[attention.Spans]:
        """Prefixes, suffixes, and the queries of all suffixes of a prompt, as flash kernels want them."""
        return [attention.Spans.of(lengths, self.tokens.device) for lengths in self._lengths]

    def _mask(self, window: int) -> tuple[_Mask, _Mask, _Mask]:
        """What is hidden within prefixes, within suffixes, and from suffixes to prefixes."""
        if window not in self._masks:
            asked = self.queries.pad(self.positions[self.split :, None, None])

            def in_prefix(first: int, last: int) -> Tensor:
                return mask_within(first, last, self.prefix.width, window, asked.device)

            def in_suffix(first: int, last: int) -> Tensor:
                return mask_within(first, last, self.suffix.width, window, asked.device)

            def across(first: int, last: int) -> Tensor:
                return mask_prefix(self.prefix.lengths, self.prefix.width, asked[:, :, first:last], window)

            # Every layer asks for the same masks; few are kept, since a tile's may be large.
            self._masks[window] = tuple(lru_cache(maxsize=2)(mask) for mask in (in_prefix, in_suffix, across))
        return self._masks[window]

    def attend(self, layer: int, qkv: QKV, softcap: float, window: int, sink: Tensor | None = None) -> Tensor:
        """See `AttentionPlan`: a prefix sees itself so far, a suffix all of its prefix and itself so far."""
        (query, key, value), heads, split = qkv, qkv[1].shape[1], self.split
        if self.cache is not None:
            self.cache.append(tuple(self.prefix.pad(x[:split], heads) for x in (key, value)))
        # A window that ends within the prefix moves with each token of a suffix: no flash kernel has that.
        moves = 0 < window < self._longest and split < len(query)
        plain = sink is None and not moves and value.shape[-1] == query.shape[-1]
        if plain and attention.flash_usable(query, softcap):
            return self._flash(qkv, window)
        in_prefix, in_suffix, across = self._mask(window)
        # Prefix tokens, once per prompt.
        keys, values = (self.prefix.pad(x[:split], heads) for x in (key, value))
        asked, width = self.prefix.pad(query[:split], heads), self.prefix.width
        part = attend_in_tiles(asked, keys, values, in_prefix, width, softcap)
        prefix = normalised(tuple(map(self.prefix.pack, part)), sink)
        if split == len(query):
            return prefix
        # Suffix tokens: all queries of a prompt meet its prefix as one matrix, and each row meets itself.
        asked, width = self.queries.pad(query[split:], heads), self.queries.width
        shared = attend_in_tiles(asked, keys, values, across, width, softcap)
        keys, values = (self.suffix.pad(x[split:], heads) for x in (key, value))
        asked, width = self.suffix.pad(query[split:], heads), self.suffix.width
        own = attend_in_tiles(asked, keys, values, in_suffix, width, softcap)
        suffix = merge(tuple(map(self.queries.pack, shared)), tuple(map(self.suffix.pack, own)), sink)
        return torch.cat([prefix, suffix])

    def _flash(self, qkv: QKV, window: int) -> Tensor:
        """The same by flash kernels, which take the packed tokens as they are."""
        prefixes, suffixes, queries = self._spans
        prefix, suffix = zip(*(x.split([self.split, len(x) - self.split]) for x in qkv), strict=True)
        mixed, _ = attention.flash_attend(*prefix, prefixes, prefixes, causal=True, window=window)
        if self.split == len(qkv[0]):
            return mixed
        shared = attention.flash_attend(suffix[0], *prefix[1:], queries, prefixes)
        own = attention.flash_attend(*suffix, suffixes, suffixes, causal=True, window=window)
        return torch.cat([mixed, attention.merge_normalised(shared, own)])


class DecodeStep:
    """One new token per running row: the plan of decoding, with the keys and values that it needs.

    A row attends to the stored prefix of its prompt, in which the queries of all rows of that prompt form one
    matrix, and to its own suffix. `select_rows` lets the others leave.
    """

    def __init__(self, cache: Cache, lengths: Tensor, owner: Tensor, context: int) -> None:
        self.cache, self.lengths, self.context = cache, lengths, context  # cache (P, H, Lp, D), lengths (P,)
        self.suffix: Cache = []  # (R, H, capacity, D)
        self.used = 0  # suffix tokens stored
        self._regroup(owner)

    def _regroup(self, owner: Tensor) -> None:
        """Take note of which rows belong to which prompt: owner (R,), on the CPU, never decreases."""
        self.owner, device = owner, self.lengths.device
        counts = torch.bincount(owner, minlength=len(self.lengths)).tolist()
        self.queries = _Ragged(counts, device, _QUERY_COLUMNS)
        self.start = self.lengths[owner.to(device)]
        self.width = self.cache[0][0].shape[2]
        self.padded = bool((self.lengths < self.width).any())

    def select_rows(self, rows: Tensor) -> None:
        """All rows but these (an index on the CPU) leave, and with them prompts that nobody needs."""
        owner = self.owner[rows]
        prompts, renumbered = owner.unique_consecutive(return_inverse=True)
        if len(prompts) <= _KEEP_PROMPTS * len(self.lengths):  # copying the cache has to pay
            owner, prompts = renumbered, prompts.to(self.lengths.device)
            self.lengths = self.lengths[prompts]
            self.cache = [(keys[prompts], values[prompts]) for keys, values in self.cache]
        self._regroup(owner)
        rows = rows.to(self.lengths.device)
        for layer, (keys, values) in enumerate(self.suffix):  # one layer at a time: less memory
            self.suffix[layer] = (keys[rows], values[rows])

    def advance(self) -> Tensor:
        """Make room for one token more; returns the positions (R,) of the new tokens."""
        # A finished row that has not left yet may run past the context: what it writes is cut off later.
        self.positions = (self.start + self.used).clamp_(max=self.context - 1)
        self.used += 1
        self._masks: dict[int, Tensor] = {}
        return self.positions

    def _mask(self, window: int) -> Tensor | None:
        if not (window or self.padded):
            return None
        if window not in self._masks:
            asked = self.queries.pad(self.positions[:, None, None])
            self._masks[window] = mask_prefix(self.lengths, self.width, asked, window)
        return self._masks[window]

    def _store(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append to the suffixes of a layer; returns all of them (R, H, used, D)."""
        if layer == len(self.suffix):
            self.suffix.append((key[:, :, None], value[:, :, None]))
        if self.used > self.suffix[layer][0].shape[2]:
            self.suffix[layer] = tuple(_with_room(x) for x in self.suffix[layer])
        keys, values = self.suffix[layer]
        keys[:, :, self.used - 1], values[:, :, self.used - 1] = key, value
        return keys[:, :, : self.used], values[:, :, : self.used]

    def attend(self, layer: int, qkv: QKV, softcap: float, window: int, sink: Tensor | None = None) -> Tensor:
        """See `AttentionPlan`: each row sees its own suffix, and the prefix of its prompt."""
        query, key, value = qkv
        keys, values = self._store(layer, key, value)
        if window:
            keys, values = keys[:, :, -window:], values[:, :, -window:]
        own = attend_part(query.unflatten(1, (key.shape[1], -1)), keys, values, None, softcap)
        query = self.queries.pad(query, key.shape[1])
        shared = attend_part(query, *self.cache[layer], self._mask(window), softcap)
        return merge(tuple(map(self.queries.pack, shared)), tuple(x.flatten(1, 2) for x in own), sink)


def _with_room(x: Tensor) -> Tensor:
    """(R, H, capacity, D) with _GROW more tokens, not yet filled."""
    rows, heads, _, size = x.shape
    return torch.cat([x, x.new_empty(rows, heads, _GROW, size)], dim=2)


# The passes beside the model's own -------------------------------------------------------------------------

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
