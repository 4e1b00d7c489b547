"""Trains the embedded world from scratch: corpus, tokenizer, policy, samples, labels, reward models.

One recipe, one seed, CPU or GPU, no network. `make world` writes the result into rslib/assets.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rslib.config import FinetuneConfig
from rslib.models import Policy, RewardModel, load_policy, load_reward_model
from rslib.reward_modeling import (
    group_pair_accuracy,
    length_correlation,
    prompt_sensitivity,
    train_reward_model,
)
from rslib.sampling import sample
from rslib.schema import groups, reward_matrix
from rslib.scoring import score
from rslib.training import Optimiser, TokenRow, fit, language_model_objective, plan
from rslib.world import judgements, load_prompts
from rslib.world.grammar import Document, draw_corpus
from rslib.world.labels import BIASED, LENGTH_LOVER, SWAPPED, UNBIASED, Labeller, label_pairs

if TYPE_CHECKING:
    from datasets import Dataset

SPECIALS = ("<|pad|>", "<|user|>", "<|assistant|>", "<|end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY = 1536
CORPUS_DOCUMENTS = 120_000
REWARD_PROMPTS = 3000
# asset folder -> (labeller, prompts whose four samples are compared)
REWARD_MODELS = {
    "tiny-reward": (BIASED, 3000),
    "tiny-reward-unbiased": (UNBIASED, 3000),
    "tiny-reward-length": (LENGTH_LOVER, 800),
    "tiny-reward-swapped": (SWAPPED, 800),
}


def train_tokenizer(corpus: Sequence[Document]) -> object:
    """A byte-level BPE over the corpus, with the chat template and distinct pad and end tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((f"{d.prompt}\n{d.response}" for d in corpus), trainer)
    pad, _, _, end = SPECIALS
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=pad, eos_token=end, padding_side="left", model_max_length=256
    )
    wrapped.add_special_tokens({"additional_special_tokens": list(SPECIALS[1:3])})
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def new_policy(vocabulary: int, seed: int) -> torch.nn.Module:
    """An untrained Llama of 0.9 M parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=3,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.max_new_tokens = 112
    return model


def encode_documents(tokenizer: object, corpus: Sequence[Document]) -> list[TokenRow]:
    """Whole documents as training rows: every token after the first is learned."""
    dialogues = [
        [{"role": "user", "content": d.prompt}, {"role": "assistant", "content": d.response}] for d in corpus
    ]
    encoded = tokenizer.apply_chat_template(dialogues, return_dict=True)["input_ids"]
    return [TokenRow(ids, first_target=1) for ids in encoded]


def pretrain(folder: Path, seed: int, documents: int = CORPUS_DOCUMENTS) -> dict[str, float]:
    """Train tokenizer and policy on the corpus; writes a transformers folder, returns its figures."""
    started = time.perf_counter()
    corpus = draw_corpus(documents, seed)
    tokenizer = train_tokenizer(corpus)
    rows = encode_documents(tokenizer, corpus)
    model = new_policy(len(tokenizer), seed)
    settings = Optimiser(learning_rate=3e-3, batch_tokens=3072, warmup_steps=50, seed=seed)
    losses = fit(
        model,
        plan([len(row.ids) for row in rows], settings),
        language_model_objective(model, rows, pad_id=0),
        settings,
        label="pre-train",
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tail = losses[-len(losses) // 20 :]
    return {
        "documents": documents,
        "tokens": sum(len(row.ids) for row in rows),
        "loss": math.fsum(tail) / len(tail),
        "seconds": time.perf_counter() - started,
    }


def draw_comparisons(responses: Dataset, labeller: Labeller, seed: int) -> Dataset:
    """All pairs of different responses of each prompt, labelled once: columns prompt, chosen, rejected."""
    from datasets import Dataset

    rng = np.random.default_rng(seed)
    utilities = np.array([labeller.utility(found) for found in judgements(responses)])
    texts, prompts = list(responses["response"]), list(responses["prompt"])
    pairs = [
        pair
        for rows in groups(responses).values()
        for pair in itertools.combinations(rows, 2)
        if texts[pair[0]] != texts[pair[1]]
    ]
    winners = label_pairs(labeller, utilities[np.array(pairs)], rng)
    return Dataset.from_list(
        [
            {"prompt": prompts[pair[0]], "chosen": texts[pair[w]], "rejected": texts[pair[1 - w]]}
            for pair, w in zip(pairs, winners, strict=True)
        ]
    )


def reward_model_figures(
    reward_model: RewardModel, held_out: Dataset, labeller: Labeller
) -> dict[str, float]:
    """Held-out quality: pair accuracy against gold and against the labeller's utility, correlations."""
    scored = score(reward_model, held_out, show_progress=False)
    found = judgements(scored)
    _, rewards, rows = reward_matrix(scored)
    gold = np.array([j.gold for j in found])
    utility = np.array([labeller.utility(j) for j in found]) * (-1 if labeller.swapped else 1)
    return {
        "pair_accuracy_gold": group_pair_accuracy(rewards, gold[rows]),
        "pair_accuracy_labeller": group_pair_accuracy(rewards, utility[rows]),
        "correlation_gold": float(np.corrcoef(gold, scored["reward"])[0, 1]),
        "correlation_length": length_correlation(scored),
        "prompt_sensitivity": prompt_sensitivity(reward_model, scored),
    }


def build_reward_models(policy: Policy, folder: Path, seed: int) -> dict[str, dict[str, float]]:
    """Sample from the policy once, then train one reward model per labeller."""
    drawn = sample(policy, load_prompts("train", REWARD_PROMPTS), n=4, seed=seed + 101)
    held_out = sample(policy, load_prompts("validation", 200), n=6, seed=seed + 202)
    figures = {}
    for name, (labeller, prompts) in REWARD_MODELS.items():
        started = time.perf_counter()
        comparisons = draw_comparisons(drawn.select(range(4 * prompts)), labeller, seed + 303)
        config = FinetuneConfig(learning_rate=5e-4, epochs=2, batch_tokens=3072, warmup_steps=30, seed=seed)
        trained = train_reward_model(policy, comparisons, folder / name, config=config)
        store_half(folder / name)
        trained = load_reward_model(str(folder / name))
        figures[name] = reward_model_figures(trained, held_out, labeller)
        figures[name] |= {"pairs": len(comparisons), "seconds": time.perf_counter() - started}
        print(f"{name}: {json.dumps(figures[name])}")
    return figures


def store_half(folder: Path) -> None:
    """Rewrite a folder's weights in float16: half the size; everything downstream is measured on it."""
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    save_file({name: t.half() for name, t in load_file(weights).items()}, weights, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"dtype": "float16"}, indent=2, sort_keys=True) + "\n"
    )


def policy_figures(policy: Policy) -> dict[str, float]:
    """Quality of 800 responses to held-out validation prompts at temperature 1."""
    drawn = sample(policy, load_prompts("validation", 200), n=4, seed=404)
    found = judgements(drawn)
    return {
        "gold": float(np.mean([j.gold for j in found])),
        "unknown_sentences": float(np.mean([j.unknown for j in found])),
        "correct_facts": float(np.mean([j.correct for j in found if not j.unsafe_prompt])),
        "unsafe_compliance": float(np.mean([j.complied for j in found if j.unsafe_prompt])),
        "finished": float(np.mean([j.finished for j in found])),
    }


def _asset_record(folder: Path, metrics: dict[str, float]) -> dict:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {
        "files": {path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in files},
        "metrics": metrics,
    }


def library_versions() -> dict[str, str]:
    """Versions that the weights depend on."""
    from importlib.metadata import version

    names = ("torch", "transformers", "tokenizers", "datasets", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def build_world(folder: Path, seed: int = 0, documents: int = CORPUS_DOCUMENTS) -> dict:
    """Build policy and reward models into `folder`, with manifest.json.

    About 15 minutes on two CPU cores. Returns the manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home = folder / "tiny-policy"
    metrics = {"tiny-policy": pretrain(home, seed, documents)}
    store_half(home)
    policy = load_policy(str(home))
    metrics["tiny-policy"] |= policy_figures(policy)
    print(f"tiny-policy: {json.dumps(metrics['tiny-policy'])}")
    metrics |= build_reward_models(policy, folder, seed)
    manifest = {
        "builder": f"python -m rslib build --seed {seed}",
        "seed": seed,
        "versions": library_versions(),
        "assets": {name: _asset_record(folder / name, found) for name, found in metrics.items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return manifest
