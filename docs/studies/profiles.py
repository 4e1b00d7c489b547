"""What a profile takes: seconds and memory of its pilot and of its run, on folders with random weights.

    python -m docs.studies.profiles docs/results      0.5 B shapes on a GPU: docs/results/profiles-<card>.json
    python -m docs.studies.profiles OUT --small       the same program with shapes that a CPU can carry

The run is that of profile `gpu`: its prompts, settings and judge, with models of 0.5 B parameters. Random
weights never end a response, so every response has its full length: the figures are those of the worst case.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

import rslib
from docs.studies.gpu import HALF_B, VOCABULARY
from docs.studies.results import write
from rslib.cache import versions
from rslib.profiles import Estimate, pilot, profile

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
FEW: dict[str, Any] = {
    "limit": 8,
    "eval_limit": 6,
    "n": 4,
    "max_new_tokens": 24,
    "eval_max_new_tokens": 24,
    "epochs": 1,
}
"""Settings beside the small shape."""
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of the prompts of daily life, with the turns of ChatML."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(rslib.load_prompts("everyday")["prompt"][:], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|pad|>", model_max_length=4096
    )
    made.chat_template = CHAT
    return made


def folder(path: Path, config: LlamaConfig | Qwen3Config, words: PreTrainedTokenizerFast, seed: int) -> str:
    """A transformers folder with random weights in bfloat16, as published models are."""
    auto = AutoModelForSequenceClassification if config.num_labels == 1 else AutoModelForCausalLM
    torch.manual_seed(seed)
    model = auto.from_config(config, dtype=torch.bfloat16)
    if auto is AutoModelForCausalLM:
        model.generation_config = GenerationConfig(eos_token_id=words.eos_token_id, pad_token_id=0)
    model.save_pretrained(path)
    words.save_pretrained(path)
    return str(path)


def folders(below: Path, shape: dict[str, int], vocabulary: int) -> dict[str, str]:
    """A Llama policy, and two Qwen3 reward models that differ in their seed."""
    words = tokenizer()
    common: dict[str, Any] = {
        **shape,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    reward = Qwen3Config(**common, num_labels=1, head_dim=64)
    return {
        "policy": folder(below / "policy", LlamaConfig(**common), words, 0),
        "reward_model": folder(below / "reward", reward, words, 1),
        "judge": folder(below / "judge", reward, words, 2),
    }


def measured(models_of_run: dict[str, str], out: Path, **settings: Any) -> dict[str, Any]:
    """Seconds of the pilot's estimate and of the run, by stage, and the most memory that each took."""
    card = profile("gpu", **models_of_run, **settings, options={})  # all responses are cut, none is dropped
    began = time.perf_counter()
    estimate = pilot(card.config)
    piloted = time.perf_counter() - began
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    report = rslib.run(card.config, out=out, show_progress=True)
    return {
        "pilot": {"took_s": round(piloted, 1), **as_dict(estimate)},
        "run_s": round(time.perf_counter() - began, 1),
        "stages_s": {k: round(v, 1) for k, v in report.rounds[0]["provenance"]["seconds"].items()},
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1)
        if torch.cuda.is_available()
        else None,
        "length": report.rounds[0]["arms"]["base"]["length"],
    }


def as_dict(estimate: Estimate) -> dict[str, Any]:
    """The estimate as JSON holds it."""
    stages = {stage: round(seconds, 1) for stage, seconds in estimate.seconds.items()}
    memory = None if estimate.memory_gib is None else round(estimate.memory_gib, 1)
    return {"total_s": round(estimate.total, 1), "stages_s": stages, "peak_gib": memory}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.profiles", description=main.__doc__)
    parser.add_argument("out", type=Path, help="folder of the result")
    parser.add_argument("--small", action="store_true", help="a small shape and few prompts")
    options = parser.parse_args(arguments)
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    if card == "cpu" and not options.small:
        parser.error("there is no GPU here; --small tries the program on a CPU")
    shape, vocabulary, settings = (SMALL, 4096, FEW) if options.small else (HALF_B, VOCABULARY, {})
    with tempfile.TemporaryDirectory() as scratch:
        models_of_run = folders(Path(scratch), shape, vocabulary)
        result = measured(models_of_run, Path(scratch) / "run", **settings)
    kind = "cpu" if card == "cpu" else card.split()[1].lower()
    facts = {"device": card, "versions": versions()}
    print(write(f"profiles-{'small-' if options.small else ''}{kind}", facts | result, options.out))


if __name__ == "__main__":
    main()
