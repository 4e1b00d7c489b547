"""Sampling through vLLM (extra `vllm`): the contract of `rslib.decoding.decode`, kept by another engine.

`sample(policy, prompts, backend="vllm")` draws in this process; with `vllm_url` a server that somebody has
started draws (`vllm serve FOLDER`). Tokens go in and tokens come out, so that no text is tokenised twice.
A response has the seed that our own engine gives it, and other tokens: an engine has its own random numbers.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch

from rslib.config import SampleConfig
from rslib.decoding import SampleOutput, SharedPrefixPass, packed_hidden, packed_logits, token_logprobs
from rslib.errors import ModelError
from rslib.models import Policy, quiet

_MEMORY_SHARE = 0.8
"""Of the GPU memory that is free, what vLLM takes; the rest is left to the other models of this process."""
_TOLERANCE = 0.3
"""Nats a token by which vLLM's log-probabilities may differ from the policy's; roundings stay below 0.1."""
_ENGINES: WeakKeyDictionary[Policy, Any] = WeakKeyDictionary()
"""At most one engine, kept while its policy lives: starting one takes longer than a shard."""


@dataclass(frozen=True)
class _Request:
    """One response to draw, under the names that vLLM's SamplingParams and its server share.

    Everything that decides a token is named, so that no default of a server or of a generation_config does.
    logprobs=0: that of the drawn token alone, before any processing (vLLM's `logprobs_mode`, raw_logprobs).
    """

    seed: int
    max_tokens: int
    min_tokens: int
    temperature: float
    top_k: int
    top_p: float
    stop_token_ids: list[int]
    ignore_eos: bool = True  # what ends a response are the policy's eos_ids, as everywhere
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    logprobs: int = 0


def vllm_decoder(policy: Policy, config: SampleConfig, url: str | None = None) -> Callable[..., SampleOutput]:
    """A decoder to be called with prompts, owner, seeds and limits, as that of `rslib.decoding.decoder_for`.

    url: of a server, such as http://localhost:8000; None: vLLM runs in this process, on the folder that the
    policy was loaded from. To be called inside `shared_attention(policy.model)`.
    Raises ModelError when vLLM is not installed, cannot load the policy, does not answer, or draws from
    another model: one response of each call is weighed by the policy itself.
    """
    draw = partial(_ask, url.rstrip("/"), config.batch_size) if url else partial(_generate, _engine(policy))
    return partial(_decode, policy, config, draw, url or policy.path)


def _decode(
    policy: Policy,
    config: SampleConfig,
    draw: Callable[[list[list[int]], list[_Request]], list[tuple[list[int], list[float]]]],
    where: str,
    prompts: Sequence[Sequence[int]],
    owner: Sequence[int],
    *,
    seeds: Sequence[int],
    limits: Sequence[int],
) -> SampleOutput:
    """One response per row: row r continues prompts[owner[r]] by at most limits[r] tokens."""
    shared = {name: getattr(config, name) for name in ("temperature", "top_k", "top_p")}
    requests = [
        _Request(
            seed, limit, min(config.min_new_tokens, limit), stop_token_ids=list(policy.eos_ids), **shared
        )
        for seed, limit in zip(seeds, limits, strict=True)
    ]
    rows = draw([list(prompts[i]) for i in owner], requests)
    lengths = torch.tensor([len(ids) for ids, _ in rows])
    tokens = torch.full((len(rows), max(limits)), -1)
    logprobs = torch.zeros(tokens.shape)
    for row, (ids, values) in enumerate(rows):
        tokens[row, : len(ids)], logprobs[row, : len(ids)] = torch.tensor(ids), torch.tensor(values)
    ended = torch.tensor([ids[-1] in policy.eos_ids for ids, _ in rows])
    if not (ended | (lengths == torch.tensor(limits))).all():
        raise ModelError("vLLM ended a response before its limit and without an end token", where=where)
    longest = int(lengths.argmax())
    _check_policy(policy, prompts[owner[longest]], *rows[longest], where)
    return SampleOutput(tokens, logprobs, lengths, ended)


@torch.no_grad()
def _check_policy(
    policy: Policy, prompt: Sequence[int], ids: list[int], logprobs: list[float], where: str
) -> None:
    """Raise ModelError when the policy itself weighs the response otherwise."""
    plan = SharedPrefixPass([tuple(prompt)], [tuple(ids[:-1])], [0], device=policy.model.device)
    hidden = packed_hidden(policy.model, plan.tokens, plan.positions, plan)
    logits = packed_logits(policy.model, hidden[len(prompt) - 1 :])
    expected = token_logprobs(logits, torch.tensor(ids, device=logits.device)).cpu()
    difference = float((expected - torch.tensor(logprobs)).abs().mean())
    if not difference <= _TOLERANCE:
        what = f"vLLM draws from another model: {difference:.2g} nats a token away from the policy"
        fix = f"Serve {policy.path}, with --logprobs-mode raw_logprobs (vLLM's default)."
        raise ModelError(what, where=where, fix=fix)


# In this process ----------------------------------------------------------------------------------


def _engine(policy: Policy) -> Any:
    """A `vllm.LLM` with the policy's folder loaded, in the policy's dtype."""
    if policy in _ENGINES:
        return _ENGINES[policy]
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # hundreds of lines would bury the progress line
    try:
        from vllm import LLM
    except ImportError as err:
        fix = 'pip install "rslib-course[vllm]", or name a server: --vllm-url http://localhost:8000.'
        raise ModelError(f"vLLM cannot be imported ({err})", where='backend="vllm"', fix=fix) from err
    _ENGINES.clear()  # the older one's memory first
    # Prefill in chunks rewinds the generators of seeded requests, which those of a CPU cannot do.
    options: dict[str, Any] = {"enable_chunked_prefill": policy.model.device.type == "cuda"}
    if policy.model.device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        options["gpu_memory_utilization"] = _MEMORY_SHARE * free / total
    try:
        with quiet():
            engine = LLM(
                model=policy.path,
                skip_tokenizer_init=True,
                dtype=str(policy.device.dtype).removeprefix("torch."),
                max_model_len=policy.context,
                logprobs_mode="raw_logprobs",
                **options,
            )
    except Exception as err:  # it has a class for each way to fail, most of them ValueError and RuntimeError
        fix = "Use a model that vLLM supports and that fits, or leave out backend='vllm'."
        raise ModelError(f"vLLM cannot load the policy: {err}", where=policy.path, fix=fix) from err
    _ENGINES[policy] = engine
    return engine


def _generate(
    engine: Any, prompts: list[list[int]], requests: list[_Request]
) -> list[tuple[list[int], list[float]]]:
    """Token ids and log-probabilities of each row, drawn in this process."""
    from vllm import SamplingParams

    parameters = [SamplingParams(detokenize=False, **asdict(request)) for request in requests]
    inputs = [{"prompt_token_ids": ids} for ids in prompts]
    rows = []
    for result in engine.generate(inputs, parameters, use_tqdm=False):
        ids, logprobs = list(result.outputs[0].token_ids), result.outputs[0].logprobs
        rows.append((ids, [by_token[token].logprob for token, by_token in zip(ids, logprobs, strict=True)]))
    return rows


# A server -----------------------------------------------------------------------------------------


def _ask(
    url: str, in_flight: int, prompts: list[list[int]], requests: list[_Request]
) -> list[tuple[list[int], list[float]]]:
    """As `_generate`, by a server; it batches what is in flight."""
    with ThreadPoolExecutor(min(in_flight, len(requests))) as pool:
        return list(pool.map(partial(_ask_one, url), prompts, requests))


def _ask_one(url: str, prompt: list[int], request: _Request) -> tuple[list[int], list[float]]:
    body = asdict(request) | {"prompt": prompt, "return_token_ids": True, "n": 1}
    headers = {"Content-Type": "application/json"}
    try:
        call = urllib.request.Request(f"{url}/v1/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(call) as reply:
            choice = json.load(reply)["choices"][0]
        return choice["token_ids"], choice["logprobs"]["token_logprobs"]
    except (OSError, ValueError, LookupError, TypeError) as err:  # no answer, no JSON, no such fields
        detail = err.read().decode(errors="replace")[:200] if hasattr(err, "read") else repr(err)
        fix = "Start one with `vllm serve FOLDER`, the policy's folder, and name its address."
        raise ModelError(f"the vLLM server gave no tokens: {detail}", where=url, fix=fix) from err
