"""Sample: n responses to each prompt, with the log-probability of every token under the policy."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value, concatenate_datasets

from rslib.cache import recalled
from rslib.config import SampleConfig, unknown_name, with_settings
from rslib.decoding import SampleOutput, decoder_for, forks_for, run_batches, shared_attention
from rslib.lengths import fit_policy
from rslib.models import Policy
from rslib.progress import Progress
from rslib.prompts import list_rows
from rslib.store import table_bytes, table_from
from rslib.tables import fingerprint, take, with_column

_BACKENDS = ("rslib", "vllm")
_WORTH_FORKS = 128  # responses, below which forks save less than they cost
_FEATURES = {
    "response": Value("string"),
    "token_ids": List(Value("int32")),
    "token_logprobs": List(Value("float32")),
    "logprob": Value("float64"),
    "finish_reason": Value("string"),
    "seed": Value("int64"),
}


def sample(
    policy: Policy,
    prompts: Dataset | Sequence[str] | Sequence[Mapping[str, Any]],
    *,
    config: SampleConfig | None = None,
    backend: str = "rslib",
    vllm_url: str | None = None,
    too_long: str = "error",
    show_progress: bool = True,
    **settings: Any,
) -> Dataset:
    """The responses table of n responses to each prompt: prompt-major, in the order of the prompts.

    `settings` change single fields of `config` (SampleConfig): n=16, seed=0, temperature=1.0, top_k=0,
    top_p=1.0, min_new_tokens=0, max_new_tokens=None (the policy's own), batch_size=512 (on a GPU: what its
    memory holds, unless another is asked for). Temperature 0 is greedy.
    token_logprobs (nats) are those of the policy itself: temperature 1, nothing truncated or forbidden.
    finish_reason is "length" when max_new_tokens or the policy's context cut the response off.
    backend: "rslib", or "vllm" with other responses of the same kind (see `rslib.vllm_backend`): in this
    process, or by the server at `vllm_url`. too_long: what becomes of prompts that leave no room in the
    context or cannot be used (see `rslib.lengths`): "error", "drop", which names those, or "truncate".

    A response depends on the policy, its prompt, the settings and its own seed (see `response_seed`), not on
    the batch it was drawn in: on a CPU to the last bit (`rslib.decoding.attention.row_multiple` says how, and
    it is tested); on a GPU up to rounding, which now and then turns a token.

    Raises ConfigError for settings out of range, DataError for prompts that are empty, stand twice, or leave
    no room in the context, ModelError for logits that are not finite, BudgetError when memory runs out with
    a single response in the batch (before that, batches are halved). Two responses are read again by the
    model alone; a LogprobWarning says when their log-probabilities are others (see `logprobs_agree`).
    """
    config = with_settings(config or SampleConfig(), settings, where="sample")
    rows = fit_policy(list_rows(prompts), policy, config, option="max_new_tokens", too_long=too_long)[0]
    prompts = rows.settled(too_long).table
    if backend not in _BACKENDS:
        raise unknown_name("backend", backend, _BACKENDS, where="sample")
    asked = prompts.select_columns(["prompt_id", "prompt"])
    responses = recalled(
        "sample",
        lambda: {
            "policy": policy.identity(),
            "prompts": fingerprint(asked),
            "config": config,
            "backend": backend,
        },
        lambda: _responses(policy, prompts, config, backend, vllm_url, show_progress),
        table_bytes,
        table_from,
    )
    beside = take(prompts, np.repeat(np.arange(len(prompts)), config.n))
    beside = with_column(beside, "sample_id", np.tile(np.arange(config.n), len(prompts)))
    table = concatenate_datasets([beside, responses], axis=1)
    _warn_unless_agreeing(policy, table)
    return table


class LogprobWarning(UserWarning):
    """Stored log-probabilities are not those of the policy itself: KL and weights made of them are off."""


def logprobs_agree(policy: Policy, responses: Dataset) -> dict[str, Any]:
    """Whether stored log-probabilities are the policy's own: `{rows, tolerance, agree}`, of two responses.

    They are the longest and the one in the middle of the table, each read alone by the model's own forward
    pass. agree: in both of them the mean difference lies within the policy's `tolerance`.
    """
    lengths = [len(ids) for ids in responses["token_ids"][:]]
    picked = {int(np.argmax(lengths)), len(lengths) // 2} if any(lengths) else set()
    rows = [responses[row] for row in sorted(picked) if lengths[row]]
    return {
        "rows": len(rows),
        "tolerance": policy.tolerance,
        "agree": all(policy.logprob_difference(row) <= policy.tolerance for row in rows),
    }


def _warn_unless_agreeing(policy: Policy, responses: Dataset) -> None:
    check = logprobs_agree(policy, responses)
    if not check["agree"]:
        text = "stored log-probabilities differ from the policy's own by more than {tolerance} nats a token"
        warnings.warn(f"{text.format(**check)}: KL is not to be trusted", LogprobWarning, stacklevel=3)


def response_seed(run_seed: int, prompt_id: str, sample_id: int) -> int:
    """The 63-bit seed of one response: equal on every machine, in any batch, shard or order.

    >>> response_seed(0, "p00000", 0) == response_seed(0, "p00000", 0) != response_seed(0, "p00000", 1)
    True
    """
    digest = hashlib.sha256(f"{run_seed}\0{prompt_id}\0{sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class _Row:
    """One response to draw: `row` is its place in the table."""

    row: int
    prompt: tuple[int, ...]
    seed: int
    limit: int


def _responses(
    policy: Policy, prompts: Dataset, config: SampleConfig, backend: str, vllm_url: str | None, show: bool
) -> Dataset:
    """The responses, prompt-major: what stands beside prompt and sample_id."""
    rows = _rows(policy, prompts, config)
    found: list[dict[str, Any]] = [{}] * len(rows)
    places = {ids: place for place, ids in enumerate(dict.fromkeys(row.prompt for row in rows))}
    if backend == "vllm":
        from rslib.vllm_backend import vllm_decoder  # loaded only when asked for

        decoder, forks = vllm_decoder(policy, config, vllm_url), 1
        budget = len(rows)  # it makes batches itself
    else:
        decoder = decoder_for(policy.model, config, policy.eos_ids, policy.context)
        forks = forks_for(policy.model) if len(rows) >= _WORTH_FORKS else 1
        budget = _batch_size(len(rows), _rows_at_once(policy, rows, config), forks, config.n)
    with Progress(len(rows), "sample", show=show) as progress, shared_attention(policy.model):
        run = partial(_drawn, decoder, rows)
        owner = [places[row.prompt] for row in rows]
        with closing(run_batches(run, owner, [1] * len(rows), budget, forks=forks)) as batches:
            for part, drawn in batches:
                for at, row in enumerate(rows[part]):
                    found[row.row] = _response(policy, row, *(column[at] for column in drawn))
                progress.advance(len(rows[part]))
    columns = {name: [response[name] for response in found] for name in _FEATURES}
    return Dataset.from_dict(columns, features=Features(_FEATURES))


def _batch_size(rows: int, most: int, forks: int, n: int) -> int:
    """Rows in a batch: `most`; with several forks as many in each, n of a prompt together."""
    if forks == 1:
        return most
    share = math.ceil(rows / forks / math.ceil(rows / forks / most))
    return min(most, math.ceil(share / n) * n)


def _rows_at_once(policy: Policy, rows: Sequence[_Row], config: SampleConfig) -> int:
    """The batch size that was asked for; on a GPU, where none was, what its memory holds."""
    if policy.model.device.type != "cuda" or config.batch_size != SampleConfig.batch_size:
        return config.batch_size
    longest = max(len(row.prompt) for row in rows)
    from rslib.decoding.graphs import rows_in_flight  # what only a GPU needs is not loaded elsewhere

    return rows_in_flight(policy.model, longest, max(row.limit for row in rows), config.n)


def _rows(policy: Policy, prompts: Dataset, config: SampleConfig) -> list[_Row]:
    """All responses to draw, those of one prompt together and prompts of one length together."""
    longest = config.max_new_tokens or policy.max_new_tokens
    rows: list[_Row] = []
    encoded = policy.encode_many(prompts["prompt"][:])
    for prompt_id, ids in zip(prompts["prompt_id"][:], encoded, strict=True):
        room = policy.context - len(ids)
        for sample_id in range(config.n):
            seed = response_seed(config.seed, prompt_id, sample_id)
            rows.append(_Row(len(rows), tuple(ids), seed, min(longest, room)))
    return sorted(rows, key=lambda row: (len(row.prompt), row.prompt, row.row))


def _drawn(decoder: Callable[..., SampleOutput], rows: Sequence[_Row], part: slice) -> tuple[np.ndarray, ...]:
    """Of some rows the tokens and log-probabilities (R, width), lengths (R,) and whether they ended (R,)."""
    rows = rows[part]
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    place = {ids: at for at, ids in enumerate(prompts)}
    drawn = decoder(
        prompts,
        [place[row.prompt] for row in rows],
        seeds=[row.seed for row in rows],
        limits=[row.limit for row in rows],
    )
    return drawn.tokens.numpy(), drawn.logprobs.numpy(), drawn.lengths.numpy(), drawn.ended.numpy()


def _response(
    policy: Policy, row: _Row, tokens: np.ndarray, logprobs: np.ndarray, length: int, ended: bool
) -> dict[str, Any]:
    """One response, as fields of the table."""
    token_ids, logprobs = tokens[:length].tolist(), logprobs[:length]
    return {
        "response": policy.decode(token_ids),
        "token_ids": token_ids,
        "token_logprobs": logprobs,
        "logprob": float(logprobs.sum(dtype=np.float64)),
        "finish_reason": "eos" if ended else "length",
        "seed": row.seed,
    }
