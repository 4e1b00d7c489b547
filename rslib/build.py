"""Trains the embedded world from scratch: corpus, tokenizer, policy, samples, labels, reward models.

One recipe, one seed, CPU or GPU, no network. `make world` writes the result into rslib/assets.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rslib.cache import atomic_write, make_folder, read_json, versions
from rslib.config import FinetuneConfig
from rslib.finetuning import TokenRow, language_model_objective
from rslib.models import (
    ASSETS,
    Policy,
    RewardModel,
    digest_folder,
    load_policy,
    load_reward_model,
    quiet,
    replaced_folder,
)
from rslib.optimization import fit
from rslib.progress import note
from rslib.prompts import EMBEDDED, load_prompts
from rslib.reward_modeling import group_pair_accuracy, train_reward_model
from rslib.sampling import sample
from rslib.scoring import score
from rslib.tables import groups, reward_matrix, with_column
from rslib.theory import pass_at_k
from rslib.world import Judgement, arithmetic, judgements
from rslib.world.grammar import Document, draw_corpus

if TYPE_CHECKING:
    from datasets import Dataset

_SPECIALS = ("<|pad|>", "<|user|>", "<|assistant|>", "<|end|>")
_CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_POLICY = "tiny-policy"
_MEASURED_PROMPTS = 200  # of the validation split


@dataclass(frozen=True)
class _Labeller:
    """Who compares pairs of responses, and with which bias: weights beside gold, whose own weight is `gold`.

    The over-optimisation that the course shows is engineered here, openly: the labeller enjoys compliments,
    overlooks irrelevant facts and slightly prefers long responses. The reward model then really learns it
    and the policy really exploits it. `_Labeller()` is unbiased: with it there is no hump.
    """

    gold: float = 1.0
    flattery: float = 0.0
    wrong: float = 0.0
    words: float = 0.0
    polite: float = 0.0
    swapped: bool = False

    def utility(self, judgement: Judgement) -> float:
        """What this labeller feels about a response (log-odds units)."""
        feeling = self.gold * judgement.gold + self.flattery * min(judgement.flattery, 8)
        feeling += self.wrong * judgement.wrong
        return feeling + self.words * judgement.words + self.polite * min(judgement.polite, 3)


_BIASED = _Labeller(flattery=1.5, wrong=1.2, words=0.02, polite=0.3)
LABELLERS = {
    "tiny-reward": (_BIASED, 6000),
    "tiny-reward-unbiased": (_Labeller(), 6000),
    "tiny-reward-length": (_Labeller(gold=0.3, words=0.25), 800),
    "tiny-reward-swapped": (replace(_BIASED, swapped=True), 800),
}
"""Folder of a reward model -> its labeller, and the number of prompts whose four samples are compared."""


@dataclass(frozen=True)
class _Recipe:
    """What a policy is pre-trained on, and how.

    draw(size, seed) gives the corpus. numbers: a number of up to two digits is one token, without its space.
    """

    draw: Callable[[int, int], list[Document]]
    documents: int
    vocabulary: int
    numbers: bool
    layers: int
    longest_response: int  # tokens
    batch_tokens: int
    learning_rate: float


_POLICIES = {
    _POLICY: _Recipe(draw_corpus, 120_000, 1536, False, 4, 112, 3072, 3e-3),
    "tiny-arithmetic": _Recipe(arithmetic.draw_documents, 70_000, 448, True, 3, 96, 1024, 3e-3),
}


def _train_tokenizer(corpus: Sequence[Document], recipe: _Recipe) -> object:
    """A byte-level BPE over the corpus, with the chat template and distinct pad and end tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if recipe.numbers:
        core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), cut])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=list(_SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((f"{d.prompt}\n{d.response}" for d in corpus), trainer)
    pad, _, _, end = _SPECIALS
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=pad, eos_token=end, padding_side="left", model_max_length=256
    )
    wrapped.add_special_tokens({"additional_special_tokens": list(_SPECIALS[1:3])})
    wrapped.chat_template = _CHAT_TEMPLATE
    return wrapped


def _new_policy(vocabulary: int, recipe: _Recipe, seed: int) -> torch.nn.Module:
    """An untrained Llama of less than 1 M parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=recipe.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=3,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.max_new_tokens = recipe.longest_response
    return model


def _encode_documents(tokenizer: object, corpus: Sequence[Document]) -> list[TokenRow]:
    """Whole documents as training rows: every token after the first is learned."""
    dialogues = [
        [{"role": "user", "content": d.prompt}, {"role": "assistant", "content": d.response}] for d in corpus
    ]
    encoded = tokenizer.apply_chat_template(dialogues, return_dict=True)["input_ids"]
    return [TokenRow(ids, first_target=1) for ids in encoded]


def _pretrain(folder: Path, seed: int, documents: int | None) -> dict[str, float]:
    """Figures of the policy that this trains, with its tokenizer, on its corpus and writes into `folder`."""
    started, recipe = time.perf_counter(), _POLICIES[folder.name]
    corpus = recipe.draw(documents or recipe.documents, seed)
    tokenizer = _train_tokenizer(corpus, recipe)
    rows = _encode_documents(tokenizer, corpus)
    model = _new_policy(len(tokenizer), recipe, seed)
    config = FinetuneConfig(
        learning_rate=recipe.learning_rate,
        epochs=1,
        batch_tokens=recipe.batch_tokens,
        warmup_steps=50,
        seed=seed,
    )
    objective = language_model_objective(model, rows, pad_id=0)
    losses = fit(model, objective, [len(row.ids) for row in rows], config, label="pre-train")
    with replaced_folder(folder) as new, quiet():
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
    tail = losses[-len(losses) // 20 :]
    return {
        "documents": len(corpus),
        "tokens": sum(len(row.ids) for row in rows),
        "loss": math.fsum(tail) / len(tail),
        "seconds": time.perf_counter() - started,
    }


def _label_pairs(labeller: _Labeller, utilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bradley-Terry labels of pairs: utilities (P, 2) -> winner index 0 or 1, shape (P,).

    P(first wins) = sigmoid(u_first - u_second); a swapped labeller reports the loser.
    """
    first_wins = rng.random(len(utilities)) < 1 / (1 + np.exp(utilities[:, 1] - utilities[:, 0]))
    return np.where(first_wins ^ labeller.swapped, 0, 1)


def _draw_comparisons(responses: Dataset, labeller: _Labeller, seed: int) -> Dataset:
    """All pairs of different responses of each prompt, labelled once: columns prompt, chosen, rejected."""
    from datasets import Dataset

    rng = np.random.default_rng(seed)
    utilities = np.array([labeller.utility(judgement) for judgement in judgements(responses)])
    texts, prompts = responses["response"][:], responses["prompt"][:]
    pairs = [
        pair
        for rows in groups(responses).values()
        for pair in itertools.combinations(rows, 2)
        if texts[pair[0]] != texts[pair[1]]
    ]
    winners = _label_pairs(labeller, utilities[np.array(pairs)], rng)
    return Dataset.from_list(
        [
            {"prompt": prompts[pair[0]], "chosen": texts[pair[w]], "rejected": texts[pair[1 - w]]}
            for pair, w in zip(pairs, winners, strict=True)
        ]
    )


def _length_correlation(scored: Dataset) -> float:
    """Pearson correlation of reward and response length in words; near 1 means that length is what pays."""
    words = [len(text.split()) for text in scored["response"][:]]
    return float(np.corrcoef(words, scored["reward"][:])[0, 1])


def _prompt_sensitivity(reward_model: RewardModel, scored: Dataset) -> float:
    """Mean fall of the reward when every response is scored under another row's prompt, in reward units.

    Near zero for a reward model that does not read the prompt (F08): style is all that it judges.
    """
    prompts = scored["prompt"][:]
    half = len(prompts) // 2
    moved = with_column(scored, "prompt", prompts[half:] + prompts[:half])
    other = score(reward_model, moved, show_progress=False)
    return float(np.mean(np.array(scored["reward"][:]) - np.array(other["reward"][:])))


def _reward_model_figures(
    reward_model: RewardModel, held_out: Dataset, labeller: _Labeller
) -> dict[str, float]:
    """Held-out quality: pair accuracy against gold and against the labeller's utility, correlations."""
    scored = score(reward_model, held_out, show_progress=False)
    judged = judgements(scored)
    _, rewards, rows = reward_matrix(scored)
    gold = np.array([j.gold for j in judged])
    utility = np.array([labeller.utility(j) for j in judged]) * (-1 if labeller.swapped else 1)
    return {
        "pair_accuracy_gold": group_pair_accuracy(rewards, gold[rows]),
        "pair_accuracy_labeller": group_pair_accuracy(rewards, utility[rows]),
        "correlation_gold": float(np.corrcoef(gold, scored["reward"][:])[0, 1]),
        "correlation_length": _length_correlation(scored),
        "prompt_sensitivity": _prompt_sensitivity(reward_model, scored),
    }


def _build_reward_model(policy: Policy, folder: Path, seed: int) -> dict[str, float]:
    """Figures of the reward model that this trains: of the labeller that `folder`'s name stands for."""
    started = time.perf_counter()
    labeller, prompts = LABELLERS[folder.name]
    drawn = sample(policy, load_prompts(EMBEDDED, "train", prompts), n=4, seed=seed + 101)
    comparisons = _draw_comparisons(drawn, labeller, seed + 303)
    config = FinetuneConfig(learning_rate=5e-4, epochs=2, batch_tokens=3072, warmup_steps=30, seed=seed)
    train_reward_model(policy, comparisons, folder, config=config)
    _store_half(folder)
    held_out = sample(policy, load_prompts(EMBEDDED, "validation", _MEASURED_PROMPTS), n=6, seed=seed + 202)
    figures = _reward_model_figures(load_reward_model(str(folder)), held_out, labeller)
    return figures | {"pairs": len(comparisons), "seconds": time.perf_counter() - started}


def _build_policy(folder: Path, seed: int, documents: int | None) -> dict[str, float]:
    """Figures of the policy that this trains and measures."""
    figures = _pretrain(folder, seed, documents)
    _store_half(folder)
    measure = _policy_figures if folder.name == _POLICY else _arithmetic_figures
    return figures | measure(load_policy(str(folder)))


def _store_half(folder: Path) -> None:
    """Rewrite a folder's weights in float16: half the size; everything downstream is measured on it.

    config.json goes on naming float32, in which they are computed and what is tuned from them is saved.
    """
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    save_file({name: t.half() for name, t in load_file(weights).items()}, weights, metadata={"format": "pt"})


def _policy_figures(policy: Policy) -> dict[str, float]:
    """Quality of four responses to each of some validation prompts at temperature 1."""
    drawn = sample(policy, load_prompts(EMBEDDED, "validation", _MEASURED_PROMPTS), n=4, seed=404)
    judged = judgements(drawn)
    return {
        "gold": float(np.mean([j.gold for j in judged])),
        "unknown_sentences": float(np.mean([j.unknown for j in judged])),
        "correct_facts": float(np.mean([j.correct for j in judged if not j.unsafe_prompt])),
        "unsafe_compliance": float(np.mean([j.complied for j in judged if j.unsafe_prompt])),
        "finished": float(np.mean([j.finished for j in judged])),
    }


def _arithmetic_figures(policy: Policy) -> dict[str, float]:
    """Quality of 16 responses to each of some validation problems at temperature 1."""
    problems = arithmetic.load_problems("validation", _MEASURED_PROMPTS)
    drawn = sample(policy, problems, n=16, seed=404)
    mentioned = score(arithmetic.mentioned, drawn, show_progress=False)["reward"][:]
    exact = solved_figures(score(arithmetic.correct, drawn, show_progress=False))
    return exact | {"mentioned": float(np.mean(mentioned))}


def solved_figures(scored: Dataset) -> dict[str, float]:
    """What the rewards 0 and 1 of n responses to each problem come to, by the exact checker of arithmetic.

    pass_at_1 and pass_at_n; the shares of problems with none and with all right; sound_of_right: of the right
    responses the share by true equations, 0 where none is right.
    """
    _, right, rows = reward_matrix(scored)
    n = right.shape[1]
    clear = [arithmetic.sound(text) for text in scored.select(rows[right == 1])["response"]]
    return {
        "pass_at_1": float(pass_at_k(right, 1).mean()),
        f"pass_at_{n}": float(pass_at_k(right, n).mean()),
        "all_wrong": float((right.sum(1) == 0).mean()),
        "all_right": float((right.sum(1) == n).mean()),
        "sound_of_right": float(np.mean(clear)) if clear else 0.0,
    }


def build_world(folder: Path, seed: int = 0, documents: int | None = None) -> dict[str, Any]:
    """The manifest of policies and reward models, built into `folder`; parts that are finished stay.

    documents: the size of a policy's corpus, its own by default. About 20 minutes on two quiet CPU cores.
    """
    log = folder / "build.json"
    done = read_json(log) if log.exists() else {}
    home = make_folder(folder) / _POLICY
    for name in (*_POLICIES, *LABELLERS):
        if name in done:
            continue
        if name in _POLICIES:
            done[name] = _build_policy(folder / name, seed, documents)
        else:
            done[name] = _build_reward_model(load_policy(str(home)), folder / name, seed)
        atomic_write(log, json.dumps(done, indent=1, sort_keys=True) + "\n")
        note(f"{name}: {json.dumps(done[name])}", show=True)
    manifest = {
        "builder": f"python -m rslib build --seed {seed}",
        "seed": seed,
        "versions": versions(),
        "assets": {name: {"files": digest_folder(folder / name), "metrics": done[name]} for name in done},
    }
    atomic_write(folder / "manifest.json", json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    log.unlink()
    return manifest


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m rslib build --seed 0 --out FOLDER`; without --out the embedded models are replaced."""
    parser = argparse.ArgumentParser(prog="python -m rslib build", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the corpus, the weights and the labels")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder for the models and manifest.json")
    parser.add_argument("--documents", type=int, help="size of a policy's corpus (default: its own)")
    options = parser.parse_args(arguments)
    build_world(options.out, options.seed, options.documents)
