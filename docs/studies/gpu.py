"""Measure the engine on a GPU: sampling, scoring, fine-tuning and a whole round, beside what people use.

    python -m docs.studies.gpu docs/results       writes docs/results/gpu-<card>.json (about seven minutes)

Random weights of a 0.5 B shape in bfloat16, prompts of 128 to 256 tokens, 16 responses to each, geometric
lengths of at most 256 tokens. A figure is the median of ROUNDS runs after a first one, which stands apart.
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
)

from docs.studies.bench import works
from docs.studies.results import exponent
from rslib.config import FinetuneConfig, SampleConfig
from rslib.decoding import decode, prefill, shared_attention
from rslib.decoding.graphs import GraphDecoder, rows_in_flight
from rslib.finetuning import TokenRow, language_model_objective
from rslib.optimization import fit
from rslib.scoring import token_rewards

ROUNDS, N, NEW, CONTEXT, WORDS = 3, 16, 256, 4096, 150_000
HALF_B = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
}
VOCABULARY = 151_936
"""A shape of 0.5 B parameters, and its vocabulary."""
JOBS = {"A": 64, "B": 256}
"""Prompts of each job."""
IN_FLIGHT = 4096
PAPER = {"sample": 7.8, "score": 4.0, "fine-tune": 1.7}
"""Seconds that a round of 1,024 prompts x 16 x 256 tokens takes at least on paper, on an H200.

Prefill once, matrix products, reads of weights, keys and values, at 790 TFLOP/s and 4.3 TB/s.
"""
Job = tuple[list[list[int]], list[int], dict[str, list[int]]]


def config_of(**changes: Any) -> Qwen2Config:
    """A shape of 0.5 B parameters."""
    more = {"vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "tie_word_embeddings": True}
    return Qwen2Config(**HALF_B | more | changes)


def model_of(dtype: torch.dtype) -> PreTrainedModel:
    """A policy with random weights."""
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config_of()).to("cuda", dtype).eval()


def job_of(prompts: int, *, n: int = N, words: tuple[int, int] = (128, 257), full: bool = False) -> Job:
    """Prompts of `words` tokens, the owner of each row, seeds and limits (full: all NEW tokens)."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, WORDS, int(rng.integers(*words))).tolist() for _ in range(prompts)]
    owner = [prompt for prompt in range(prompts) for _ in range(n)]
    limits = np.minimum(rng.geometric(1 / 85, len(owner)), NEW).tolist()
    limits = [NEW] * len(owner) if full else limits
    return sorted(ids, key=len), owner, {"seeds": list(range(1000, 1000 + len(owner))), "limits": limits}


# Measuring ------------------------------------------------------------------------------------------------


def seconds(run: Callable[[], Any]) -> float:
    """Wall seconds of a call, the GPU's work included."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measured(run: Callable[[], Any], tokens: int, rounds: int = ROUNDS) -> dict[str, float]:
    """First call, median of the later ones, tokens a second, peak memory in MB."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    first = seconds(run)
    later = [seconds(run) for _ in range(rounds)]
    result = {
        "first_s": first,
        "median_s": statistics.median(later),
        "min_s": min(later),
        "max_s": max(later),
    }
    result["tokens_per_s"] = tokens / result["median_s"]
    result["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 3) for name, value in result.items()}


def say(name: str, result: Any) -> Any:
    """The result, printed."""
    print(name, json.dumps(result), flush=True)
    return result


# Sampling -------------------------------------------------------------------------------------------------


def generate(model: PreTrainedModel, job: Job, batch: int) -> None:
    """The same rows by `generate`, which runs every batch to its longest row."""
    prompts, owner, rows = job
    for start in range(0, len(owner), batch):
        part = range(start, min(start + batch, len(owner)))
        width = max(len(prompts[owner[row]]) for row in part)
        ids = [[0] * (width - len(prompts[owner[row]])) + prompts[owner[row]] for row in part]
        mask = [[0] * (width - len(prompts[owner[row]])) + [1] * len(prompts[owner[row]]) for row in part]
        model.generate(
            torch.tensor(ids, device="cuda"),
            attention_mask=torch.tensor(mask, device="cuda"),
            do_sample=True,
            top_k=0,
            max_new_tokens=max(rows["limits"][row] for row in part),
            eos_token_id=None,
            pad_token_id=0,
        )


def agreement(model: PreTrainedModel) -> dict[str, str]:
    """Rows in which recorded and eager steps draw the same tokens, in float32."""
    prompts, owner, rows = job_of(8)
    result = {}
    for name, config in (("greedy", SampleConfig(temperature=0.0)), ("temperature 1", SampleConfig())):
        with shared_attention(model):
            eager = decode(model, prompts, owner, config=config, eos_ids=(), context=CONTEXT, **rows)
            other = GraphDecoder(model, config, (), CONTEXT)(prompts, owner, **rows)
        within = torch.arange(eager.tokens.shape[1]) < eager.lengths[:, None]
        same = ((eager.tokens == other.tokens) | ~within).all(1)
        gap = (eager.logprobs - other.logprobs)[within & same[:, None]].abs().max()
        result[name] = (
            f"{int(same.sum())} of {len(owner)} rows, log-probabilities within {float(gap):.1e} nats"
        )
    return say("float32", result)


def sampling(model: PreTrainedModel, name: str, *, peers: bool) -> dict[str, Any]:
    """Recorded steps; with `peers` `generate` beside them."""
    job = ids, owner, rows = job_of(JOBS[name])
    tokens, config = sum(rows["limits"]), SampleConfig()
    result: dict[str, Any] = {"rows": len(owner), "new_tokens": tokens}
    with shared_attention(model):
        decoder = GraphDecoder(model, config, (), CONTEXT)
        result["recorded"] = measured(partial(decoder, ids, owner, **rows), tokens)
    if peers:
        result["generate"] = measured(partial(generate, model, job, 256), tokens, 1)
    return say(f"job {name}", result)


def in_batches(decoder: GraphDecoder, job: Job, batch: int) -> list[list[int]]:
    """The tokens of all rows, `batch` rows (a multiple of the responses to a prompt) at a time."""
    ids, owner, rows = job
    tokens: list[list[int]] = []
    with shared_attention(decoder.model):
        for first in range(0, len(owner), batch):
            part = slice(first, first + batch)
            prompts = ids[owner[first] : owner[part][-1] + 1]
            owners = [p - owner[first] for p in owner[part]]
            drawn = decoder(prompts, owners, seeds=rows["seeds"][part], limits=rows["limits"][part])
            tokens.extend(drawn.tokens.tolist())
    return tokens


def exponents(model: PreTrainedModel) -> dict[str, Any]:
    """How seconds grow once the GPU is full (IN_FLIGHT rows at a time): exponents of power laws."""
    kinds = {
        "n": {n: {"prompts": 512, "n": n} for n in (16, 32, 64)},
        "prompts": {p: {"prompts": p} for p in (512, 1024, 2048)},
        "prompt tokens": {t: {"prompts": 256, "words": (t, t + 1)} for t in (64, 256, 1024)},
    }
    result: dict[str, Any] = {}
    for kind, jobs in kinds.items():
        taken = []
        for settings in jobs.values():
            decoder, job = GraphDecoder(model, SampleConfig(), (), CONTEXT), job_of(**settings)
            in_batches(decoder, first_rows(job, IN_FLIGHT), IN_FLIGHT)  # records the graphs
            taken.append(round(seconds(partial(in_batches, decoder, job, IN_FLIGHT)), 3))
        grown = exponent(dict(zip(jobs, taken, strict=True)))
        result[kind] = {"sizes": list(jobs), "seconds": taken, "exponent": grown}
    return say("exponents", result)


def first_rows(job: Job, count: int) -> Job:
    """The job's first rows."""
    ids, owner, rows = job
    return ids, owner[:count], {name: values[:count] for name, values in rows.items()}


def prefill_memory() -> dict[str, float]:
    """Peak MB above the weights of one prompt of 16,000 tokens with 32 heads, in two dtypes."""
    shape = {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 2, "vocab_size": 32_000}
    config = LlamaConfig(
        **shape, num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=16_384
    )
    result = {}
    for dtype in (torch.bfloat16, torch.float32):
        model = LlamaForCausalLM(config).to("cuda", dtype).eval()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        with shared_attention(model):
            prefill(model, [list(np.arange(16_000) % 30_000)])
        result[str(dtype).removeprefix("torch.")] = (torch.cuda.max_memory_allocated() - before) / 2**20
        del model
    return say("prefill of 16,000 tokens, MB", {name: round(value) for name, value in result.items()})


# Scoring --------------------------------------------------------------------------------------------------


def padded_rewards(model: PreTrainedModel, rows: Sequence[Sequence[int]], batch: int) -> np.ndarray:
    """Rewards by the class's own forward pass on rows sorted by length and padded."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    rewards = np.empty(len(rows))
    rewards[order] = works.padded_rewards(model, [rows[row] for row in order], batch)
    return rewards


def scoring() -> dict[str, Any]:
    """Rewards of 1,024 rows, 16 to a prompt of 256 tokens, beside sorted and padded batches."""
    torch.manual_seed(0)
    config = config_of(num_labels=1, pad_token_id=0)
    model = Qwen2ForSequenceClassification(config).to("cuda", torch.bfloat16).eval()
    ids, owner, rows = job_of(64, words=(256, 257))
    rng = np.random.default_rng(1)
    encoded = [
        [*ids[p], *rng.integers(5, WORDS, limit)] for p, limit in zip(owner, rows["limits"], strict=True)
    ]
    tokens = sum(map(len, encoded))
    ours, theirs = token_rewards(model, owner, encoded), padded_rewards(model, encoded, 128)
    result: dict[str, Any] = {"tokens": tokens, "largest_difference": float(np.abs(ours - theirs).max())}
    result["spread"] = float(theirs.std())
    result["shared prefix"] = measured(partial(token_rewards, model, owner, encoded), tokens)
    for batch in (64, 128):
        padded = partial(padded_rewards, model, encoded, batch)
        result[f"padded and sorted, {batch}"] = measured(padded, tokens)
    return say("scoring", result)


# Fine-tuning ----------------------------------------------------------------------------------------------


def plain_loop(start: PreTrainedModel, rows: Sequence[TokenRow], batch: int) -> list[float]:
    """What people write: padded batches, the model's own loss under autocast, fused AdamW."""
    model = copy.deepcopy(start).requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    losses = []
    for first in range(0, len(rows), batch):
        part = rows[first : first + batch]
        width = max(len(row.ids) for row in part)
        ids = torch.tensor([[*row.ids, *[0] * (width - len(row.ids))] for row in part], device="cuda")
        lengths = torch.tensor([len(row.ids) for row in part], device="cuda")[:, None]
        column = torch.arange(width, device="cuda")
        learned = (column >= part[0].first_target) & (column < lengths)
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(ids, attention_mask=(column < lengths).long(), labels=ids.where(learned, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    return losses


def ours(start: PreTrainedModel, rows: Sequence[TokenRow], batch_tokens: int) -> list[float]:
    """The losses of one epoch of our own loop."""
    model = copy.deepcopy(start).requires_grad_(True)
    config = FinetuneConfig(epochs=1, batch_tokens=batch_tokens, learning_rate=1e-5)
    objective, lengths = language_model_objective(model, rows, 0), [len(row.ids) for row in rows]
    return fit(model, objective, lengths, config, compute_dtype=torch.bfloat16, show_progress=False)


def pairs(prompts: int) -> list[TokenRow]:
    """Rows of 256 prompt tokens and a response of geometric length, four to a prompt."""
    ids, owner, rows = job_of(prompts, n=4, words=(256, 257))
    rng = np.random.default_rng(1)
    responses = (rng.integers(5, WORDS, limit).tolist() for limit in rows["limits"])
    return [TokenRow([*ids[p], *response], 256) for p, response in zip(owner, responses, strict=True)]


def tuning() -> dict[str, Any]:
    """One epoch over 256 pairs in about as many steps as a plain loop with batches of 16, and of 48, rows."""
    start, rows = model_of(torch.float32), pairs(64)
    tokens = sum(len(row.ids) for row in rows)
    result: dict[str, Any] = {"rows": len(rows), "tokens": tokens}
    for batch, budget in ((16, 5600), (48, 17_000)):
        loops = {"ours": partial(ours, start, rows, budget), "plain": partial(plain_loop, start, rows, batch)}
        result[f"{batch} rows a step"] = {name: tuned(loop, tokens) for name, loop in loops.items()}
    return say("fine-tuning", result)


def tuned(loop: Callable[[], list[float]], tokens: int) -> dict[str, Any] | str:
    """Steps, mean loss and seconds of a loop; or that its memory does not suffice."""
    try:
        losses = loop()
        facts = {"steps": len(losses), "mean_loss": round(float(np.mean(losses)), 4)}
        return facts | measured(loop, tokens, 2)
    except torch.OutOfMemoryError:
        return "does not fit into memory"


# A whole round --------------------------------------------------------------------------------------------


def whole_round(model: PreTrainedModel) -> dict[str, Any]:
    """Seconds of each stage for 1,024 prompts x 16 responses of 256 tokens, beside the least on paper."""
    job = ids, owner, _ = job_of(1024, words=(256, 257), full=True)
    batch = min(len(owner), rows_in_flight(model, 256, NEW, N) // N * N)
    responses: list[list[int]] = []

    def sample() -> None:
        responses.extend(in_batches(GraphDecoder(model, SampleConfig(), (), CONTEXT), job, batch))

    result: dict[str, Any] = {"rows_in_flight": batch, "sample": round(seconds(sample), 2)}
    full = [[*ids[p], *response] for p, response in zip(owner, responses, strict=True)]
    judge = Qwen2ForSequenceClassification(config_of(num_labels=1, pad_token_id=0))
    judge = judge.to("cuda", torch.bfloat16).eval()
    torch.cuda.empty_cache()
    result["score"] = round(seconds(partial(token_rewards, judge, owner, full)), 2)
    del judge
    start, best = copy.deepcopy(model).float(), [TokenRow(row, 256) for row in full[::N]]
    torch.cuda.empty_cache()
    result["fine-tune"] = round(seconds(partial(ours, start, best, 16_384)), 2)
    result["total"] = round(sum(result[stage] for stage in PAPER), 2)
    return say("round", result | {"least on paper": round(sum(PAPER.values()), 1)})


def main(out: Path) -> None:
    """Measure, print, and write the results after each part."""
    out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    result["transformers"] = transformers.__version__
    card = result["device"].split()[1].lower()

    def keep(name: str, value: Any) -> None:
        result[name] = value
        torch.cuda.empty_cache()
        (out / f"gpu-{card}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    keep("float32", agreement(model_of(torch.float32)))
    model = model_of(torch.bfloat16)
    for name in JOBS:
        keep(f"job {name}", sampling(model, name, peers=name == "A"))
    keep("scoring", scoring())
    keep("fine-tuning", tuning())
    keep("round", whole_round(model))
    keep("prefill of 16,000 tokens, MB above the weights", prefill_memory())
    keep("exponents", exponents(model))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
