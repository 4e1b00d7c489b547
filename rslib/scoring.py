"""Score: one reward per response; and the log-probability of responses under a reference policy.

Rows of one prompt share their longest common token prefix, which is computed once (see `rslib.decoding`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from rslib.cache import recalled
from rslib.decoding import (
    SharedPrefixPass,
    forks_for,
    packed_hidden,
    packed_logits,
    run_batches,
    shared_attention,
    token_logprobs,
)
from rslib.decoding.attention import alike
from rslib.errors import DataError, is_out_of_memory
from rslib.lengths import beginnings, responses_with_room
from rslib.messages import frozen
from rslib.models import Policy, RewardModel, check_finite, checks, rewards_from_hidden
from rslib.models.loaded import vocabulary_of
from rslib.models.rewards import Encoded
from rslib.progress import Progress
from rslib.reward_functions import RewardFunction
from rslib.tables import check_responses, fingerprint, nonfinite_error, with_column

_CPU_TOKENS, _GPU_TOKENS = 2048, 1 << 14  # tokens in one pass; on a GPU where prefixes are not shared
_TRIED = (
    ("Hello.", "Hi."),
    ("Hello.", "How are you today?"),
    ("Hello.", "It is four, since two and two make four. " * 8),
)
_WORTH_FORKS = 4096  # tokens, below which forks save less than they cost
_LOGITS = 1 << 26  # logits in memory at once, tokens x vocabulary


@dataclass(frozen=True)
class _Row:
    """One token sequence, cut where it leaves what it shares with its prompt's other rows."""

    row: int
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]


def score(
    reward_model: RewardModel | RewardFunction | Callable[..., float],
    responses: Dataset,
    *,
    batch_tokens: int | None = None,
    too_long: str = "error",
    show_progress: bool = True,
) -> Dataset:
    """The responses table with `reward`, one finite float per row, in the same order; replaces an old one.

    The reward is what transformers' own class gives for the row alone, whatever the other rows are.
    `batch_tokens` is the number of tokens in one forward pass (None: 2048, on a GPU what its memory holds);
    halved when memory runs out. `too_long`: "drop" leaves out dialogues longer than the reward model's
    context, "truncate" scores their responses by the beginning. fn(prompt, response, reference) -> float may
    stand in the place of a reward model, and is asked about each row alone (see `rslib.reward_functions`).

    Raises DataError for a table that holds no responses or a dialogue longer than the reward model's context
    (naming prompt_id and sample_id), RewardError for rewards that are NaN or infinite and for what a function
    raises or returns beside numbers, ConfigError for what can score nothing, BudgetError.
    """
    check_responses(responses)
    if not hasattr(reward_model, "inputs_many"):
        rewards = RewardFunction.of(reward_model).rewards(responses, show=show_progress)
        return with_column(responses, "reward", rewards)
    if too_long != "error":
        responses = responses_with_room(reward_model, responses, too_long)
    prompts = responses["prompt"][:]
    texts = beginnings(reward_model, responses) if too_long == "truncate" else responses["response"][:]
    encoded = reward_model.inputs_many(list(zip(prompts, texts, strict=True)))
    fix = "Score its beginning: too_long='truncate' (--too-long truncate); or leave it out: 'drop'."
    _check_context(responses, [row["input_ids"] for row in encoded], reward_model.context, fix)
    judged = responses.select_columns(["prompt", "response"])
    rewards = _recalled(
        "score",
        lambda: {
            "model": reward_model.identity(),
            "responses": fingerprint(judged),
            "batch_tokens": batch_tokens,
        },
        lambda: _dialogue_rewards(
            reward_model, prompts, encoded, batch_tokens=batch_tokens, show=show_progress
        ),
    )
    bad = np.flatnonzero(~np.isfinite(rewards))
    if bad.size:
        raise nonfinite_error(responses, bad)
    return with_column(responses, "reward", rewards)


def _dialogue_rewards(
    reward_model: RewardModel,
    prompts: Sequence[Hashable],
    encoded: Sequence[Encoded],
    *,
    batch_tokens: int | None = None,
    show: bool = False,
) -> np.ndarray:
    """Rewards (rows,) float64 of dialogues as `RewardModel.inputs_many` encodes them.

    Rows of equal `prompts` share their common prefix, where that gives what the class's own forward pass
    gives: this is tried once for each model. Else rows of equal length go through that pass together.
    """
    if reward_model.shared is None:
        reward_model.shared = _prefixes_can_be_shared(reward_model)
    options = {"batch_tokens": batch_tokens, "show": show}
    if not reward_model.shared:
        return _own_rewards(reward_model, encoded, **options)
    # What stands behind the token that is read changes nothing: a decoder looks back alone.
    ids = [reward_model.read(row["input_ids"]) for row in encoded]
    return token_rewards(reward_model.model, prompts, ids, weights=reward_model.weights, **options)


def token_rewards(
    model: PreTrainedModel,
    prompts: Sequence[Hashable],
    encoded: Sequence[Sequence[int]],
    *,
    weights: Sequence[float] | None = None,
    batch_tokens: int | None = None,
    show: bool = False,
) -> np.ndarray:
    """Rewards (rows,) float64 at each row's last token; rows of equal `prompts` share their common prefix."""

    def read(part: Sequence[_Row], plan: SharedPrefixPass, hidden: Tensor) -> np.ndarray:
        last = plan.split + plan.suffix.lengths.cumsum(0) - 1
        return rewards_from_hidden(model, hidden[last], weights).double().cpu().numpy()

    rows = _shared(prompts, encoded)
    return _read(model, rows, read, "score", len(encoded), batch_tokens=batch_tokens, show=show)


def _prefixes_can_be_shared(reward_model: RewardModel) -> bool:
    """Whether shared prefixes give a few dialogues, also padded, the rewards that the class itself gives."""
    model = reward_model.model
    if reward_model.paired or not hasattr(model, "score") or not checks.attention_can_be_replaced(model):
        return False
    rows = [list(row["input_ids"]) for row in reward_model.inputs_many(_TRIED)]
    pad = model.config.get_text_config().pad_token_id
    if pad is not None and 0 <= pad < vocabulary_of(model):
        rows += [[*row, pad] for row in rows]
    rows = [row[: reward_model.context] for row in rows]
    wanted = torch.stack([reward_model.own_rewards([{"input_ids": row}])[0].double().cpu() for row in rows])
    read = [reward_model.read(row) for row in rows]
    try:
        rewards = token_rewards(model, [0] * len(rows), read, weights=reward_model.weights)
    except Exception as err:  # an architecture without shared prefixes fails in its own way
        if is_out_of_memory(err):
            raise
        return False
    return alike(torch.from_numpy(rewards), wanted.to(model.dtype))


def _own_rewards(
    reward_model: RewardModel, encoded: Sequence[Encoded], *, batch_tokens: int | None, show: bool
) -> np.ndarray:
    """Rewards (rows,) by the class's own forward pass: rows of one length together, none is padded."""
    lengths = np.array([len(row["input_ids"]) for row in encoded])
    order, rewards = np.argsort(lengths, kind="stable"), np.full(len(encoded), np.nan)
    with Progress(len(encoded), "score", show=show) as progress:

        def run(part: slice) -> None:
            rows = order[part]
            size = 1 if reward_model.one_by_one else len(rows)
            for group in np.split(rows, np.flatnonzero(np.diff(lengths[rows])) + 1):
                for start in range(0, len(group), size):
                    together = group[start : start + size]
                    found = reward_model.own_rewards([encoded[row] for row in together])
                    rewards[together] = found.double().cpu()

        costs = lengths[order].tolist()
        budget = batch_tokens or (_CPU_TOKENS if reward_model.model.device.type == "cpu" else _GPU_TOKENS)
        for part, _ in run_batches(run, list(range(len(order))), costs, budget, unit="tokens"):
            progress.advance(part.stop - part.start)
    return rewards


def reference_logprobs(
    policy: Policy, responses: Dataset, *, batch_tokens: int | None = None, show_progress: bool = False
) -> np.ndarray:
    """Log-probability (rows,) float64 in nats of each response's token_ids under `policy` at temperature 1.

    A row without tokens gives 0. Raises DataError without a column token_ids or for a row longer than the
    context, ModelError when logits are not finite, BudgetError.
    """
    check_responses(responses)
    if "token_ids" not in responses.column_names:
        fix = "Use responses of sample(), which carry their tokens."
        raise DataError("no token_ids column, so nothing to weigh", where="reference_logprobs", fix=fix)
    texts, targets = list(map(frozen, responses["prompt"][:])), responses["token_ids"][:]
    distinct = dict(zip(texts, responses["prompt"][:], strict=True))
    prefixes = dict(zip(distinct, map(tuple, policy.encode_many(list(distinct.values()))), strict=True))
    rows = [[*prefixes[t], *ids] for t, ids in zip(texts, targets, strict=True)]
    _check_context(
        responses, rows, policy.context, "Leave the row out, or draw it with lower max_new_tokens."
    )
    weighed = responses.select_columns(["prompt", "token_ids"])
    return _recalled(
        "reference",
        lambda: {
            "policy": policy.identity(),
            "responses": fingerprint(weighed),
            "batch_tokens": batch_tokens,
        },
        lambda: _weighed(policy, texts, targets, prefixes, batch_tokens=batch_tokens, show=show_progress),
    )


def _recalled(kind: str, facts: Callable[[], Any], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """One float64 per row, computed or recalled."""
    return recalled(kind, facts, compute, np.ndarray.tobytes, lambda content: np.frombuffer(content).copy())


def _weighed(
    policy: Policy,
    texts: Sequence[Hashable],
    targets: Sequence[Sequence[int]],
    prefixes: Mapping[Hashable, tuple[int, ...]],
    *,
    batch_tokens: int | None,
    show: bool,
) -> np.ndarray:
    """Log-probability (rows,) in nats of the target tokens of each prompt."""
    # The last token is predicted, never read.
    rows = [_Row(row, prefixes[t], tuple(targets[row][:-1])) for row, t in enumerate(texts) if targets[row]]

    def read(part: Sequence[_Row], plan: SharedPrefixPass, hidden: Tensor) -> np.ndarray:
        wanted = [targets[row.row] for row in part]
        logprobs = _weigh(
            policy, hidden[_predictors(part, plan)], torch.tensor([t for ids in wanted for t in ids])
        )
        return np.array([float(values.sum()) for values in logprobs.split([len(ids) for ids in wanted])])

    return _read(policy.model, rows, read, "reference", len(texts), batch_tokens=batch_tokens, show=show)


def _predictors(part: Sequence[_Row], plan: SharedPrefixPass) -> Tensor:
    """Packed places whose hidden states predict each row's tokens: the prefix's last, then the suffix."""
    ends = (plan.prefix.lengths.cumsum(0) - 1).tolist()
    owner, places, start = _owners(part), [], plan.split
    for row, prompt in zip(part, owner, strict=True):
        places += [ends[prompt], *range(start, start + len(row.suffix))]
        start += len(row.suffix)
    return torch.tensor(places, device=plan.tokens.device)


def _weigh(policy: Policy, hidden: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities (N,) float64 of tokens (N,) after hidden states (N, width), in bounded memory."""
    size = max(1, _LOGITS // policy.model.get_input_embeddings().num_embeddings)
    parts = [
        token_logprobs(packed_logits(policy.model, h), t.to(h.device))
        for h, t in zip(hidden.split(size), tokens.split(size), strict=True)
    ]
    logprobs = torch.cat(parts)
    check_finite(logprobs, where="reference_logprobs")
    return logprobs.double().cpu()


def _read(
    model: PreTrainedModel,
    rows: Sequence[_Row],
    read: Callable[[Sequence[_Row], SharedPrefixPass, Tensor], np.ndarray],
    label: str,
    count: int,
    *,
    batch_tokens: int | None,
    show: bool,
) -> np.ndarray:
    """What `read` makes of the rows' hidden states, batch by batch: (count,) float64, 0 without a row."""
    rows = sorted(rows, key=lambda row: (len(row.prefix), row.prefix, len(row.suffix)))
    budget, found = batch_tokens or _tokens_at_once(model), np.zeros(count)
    costs, entry = [len(row.suffix) for row in rows], [len(row.prefix) for row in rows]
    forks = forks_for(model) if sum(costs) >= _WORTH_FORKS else 1

    def run(part: slice) -> np.ndarray:
        batch = rows[part]
        prefixes = list(dict.fromkeys(row.prefix for row in batch))
        suffixes = [row.suffix for row in batch]
        plan = SharedPrefixPass(prefixes, suffixes, _owners(batch), device=model.device)
        return read(batch, plan, packed_hidden(model, plan.tokens, plan.positions, plan))

    with Progress(len(rows), label, show=show) as progress, shared_attention(model):
        options = {"entry": entry, "unit": "tokens", "forks": forks}
        with closing(run_batches(run, _owners(rows), costs, budget, **options)) as batches:
            for part, values in batches:
                found[[row.row for row in rows[part]]] = values
                progress.advance(len(values))
    return found


def _tokens_at_once(model: PreTrainedModel) -> int:
    if model.device.type != "cuda":
        return _CPU_TOKENS
    from rslib.decoding.graphs import tokens_in_pass  # what only a GPU needs is not loaded elsewhere

    return tokens_in_pass(model)


def _owners(rows: Sequence[_Row]) -> list[int]:
    place = {prefix: at for at, prefix in enumerate(dict.fromkeys(row.prefix for row in rows))}
    return [place[row.prefix] for row in rows]


def _shared(prompts: Sequence[Hashable], encoded: Sequence[Sequence[int]]) -> list[_Row]:
    """Rows cut behind what all rows of their prompt have in common; the suffix keeps one token at least."""
    members: dict[Hashable, list[int]] = {}
    for row, prompt in enumerate(prompts):
        members.setdefault(frozen(prompt), []).append(row)
    rows: list[_Row] = [_Row(0, (), ())] * len(encoded)
    for group in members.values():
        cut = _common([encoded[row] for row in group])
        for row in group:
            rows[row] = _Row(row, tuple(encoded[row][:cut]), tuple(encoded[row][cut:]))
    return rows


def _common(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the longest common prefix, less what would leave a sequence empty.

    >>> _common([[1, 2, 3, 4], [1, 2, 5]]), _common([[1, 2]]), _common([[1, 2], [1, 2, 3]])
    (2, 1, 1)
    """
    low, high = min(sequences), max(sequences)  # any two sequences agree at least as far as these
    agree = next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return min(agree, min(map(len, sequences)) - 1)


def _check_context(responses: Dataset, encoded: Sequence[Sequence[int]], context: int, fix: str) -> None:
    for row, ids in enumerate(encoded):
        if not 0 < len(ids) <= context:
            where = f"prompt_id '{responses[row]['prompt_id']}', sample_id {responses[row]['sample_id']}"
            what = f"prompt and response have {len(ids)} tokens; the model's context is {context}"
            raise DataError(what, where=where, fix=fix)
