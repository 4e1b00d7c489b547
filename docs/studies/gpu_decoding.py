"""Measure sampling on a GPU: the recorded step beside the eager engine and transformers' `generate`.

    python -m docs.studies.gpu_decoding docs/results       writes docs/results/gpu-decoding.json

Random weights of a 0.5 B shape in bfloat16, prompts of 128 to 256 tokens, 16 responses to each, geometric
lengths of at most 256 tokens. Every figure is the median of ROUNDS runs after a warm-up; start-up is apart.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from rslib.config import SampleConfig
from rslib.decoding import decode, shared_attention
from rslib.decoding.graphs import GraphDecoder

ROUNDS, N, NEW, CONTEXT = 3, 16, 256, 4096
JOBS = {"A": 64, "B": 256}
"""Prompts of each job."""
Job = tuple[list[list[int]], list[int], dict[str, list[int]]]


def model_of(dtype: torch.dtype) -> PreTrainedModel:
    """A model of 0.5 B parameters with random weights."""
    config = Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151_936,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config).to("cuda", dtype).eval()


def job_of(prompts: int) -> Job:
    """Prompts, the owner of each row, seeds and limits."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, 150_000, int(rng.integers(128, 257))).tolist() for _ in range(prompts)]
    owner = [prompt for prompt in range(prompts) for _ in range(N)]
    limits = np.minimum(rng.geometric(1 / 85, len(owner)), NEW).tolist()
    return sorted(ids, key=len), owner, {"seeds": list(range(1000, 1000 + len(owner))), "limits": limits}


def seconds(run: Callable[[], Any]) -> float:
    """Wall seconds of a call, the GPU's work included."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measured(run: Callable[[], Any], tokens: int, rounds: int = ROUNDS) -> dict[str, float]:
    """First call, median of the later ones, tokens a second, peak memory in MB."""
    torch.cuda.reset_peak_memory_stats()
    first = seconds(run)
    later = [seconds(run) for _ in range(rounds)]
    found = {"first_s": first, "median_s": statistics.median(later), "min_s": min(later), "max_s": max(later)}
    found["tokens_per_s"] = tokens / found["median_s"]
    found["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 3) for name, value in found.items()}


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
    found = {}
    for name, config in (("greedy", SampleConfig(temperature=0.0)), ("temperature 1", SampleConfig())):
        with shared_attention(model):
            eager = decode(model, prompts, owner, config=config, eos_ids=(), context=CONTEXT, **rows)
            other = GraphDecoder(model, config, (), CONTEXT)(prompts, owner, **rows)
        within = torch.arange(eager.tokens.shape[1]) < eager.lengths[:, None]
        same = ((eager.tokens == other.tokens) | ~within).all(1)
        gap = (eager.logprobs - other.logprobs)[within & same[:, None]].abs().max()
        found[name] = (
            f"{int(same.sum())} of {len(owner)} rows, log-probabilities within {float(gap):.1e} nats"
        )
    return found


def measure(model: PreTrainedModel, prompts: int, *, peers: bool) -> dict[str, Any]:
    """Recorded steps, plain and compiled; with `peers` the eager engine and `generate` beside them."""
    job = ids, owner, rows = job_of(prompts)
    tokens, config = sum(rows["limits"]), SampleConfig()
    found: dict[str, Any] = {"rows": len(owner), "new_tokens": tokens}
    with shared_attention(model):
        for label, fuse in (("recorded", False), ("recorded, compiled", True)):
            decoder = GraphDecoder(model, config, (), CONTEXT, fuse=fuse)
            found[label] = measured(partial(decoder, ids, owner, **rows), tokens)
            del decoder
            torch.cuda.empty_cache()
        if peers:
            eager = {"config": config, "eos_ids": (), "context": CONTEXT}
            found["eager"] = measured(partial(decode, model, ids, owner, **rows, **eager), tokens, 2)
    if peers:
        found["generate"] = measured(partial(generate, model, job, 256), tokens, 1)
    print(json.dumps(found, indent=1), flush=True)
    return found


def main(out: Path) -> None:
    """Measure, print, and write the results."""
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    found |= {"transformers": transformers.__version__, "float32": agreement(model_of(torch.float32))}
    print(found, flush=True)
    torch.cuda.empty_cache()
    model = model_of(torch.bfloat16)
    found |= {f"job {name}": measure(model, prompts, peers=name == "A") for name, prompts in JOBS.items()}
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu-decoding.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
