"""The same road with one named defect: what the clinic diagnoses.

Nothing of the pipeline is copied. A flaw is a change of the run's settings, of one of its steps, or of both:

    report = run_flawed("worst", n=16, prompts=400, out="runs/worst")

The arm that carries the defect keeps the name of the healthy one (`best_of_n`), so that a report must be read
to tell them apart; `settings.flaw` names it. The control and the evaluation stay healthy, except where they
are the defect. Ids are those of the flaw catalogue in docs/glossary.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import schema
from rslib.config import FinetuneConfig, SampleConfig, unknown_name
from rslib.evaluation import Report
from rslib.pipeline import HEALTHY, RunConfig, Steps, run
from rslib.stages import finetune_folder, matched_random, sample_part, score_part, select_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

MANY_EPOCHS = 20
SHORT_RESPONSE = 16
"""Tokens after which `truncated_as_finished` cuts: about half of a good response of the embedded policy."""


@dataclass(frozen=True)
class Flaw:
    """One defect: where it sits, what it does, and how a run gets it."""

    name: str
    id: str
    stage: str
    description: str
    inject: Callable[[RunConfig, Steps], tuple[RunConfig, Steps]]


FLAWS: dict[str, Flaw] = {}
"""Every flaw by name."""

Inject = Callable[[RunConfig, Steps], tuple[RunConfig, Steps]]


def _flaw(name: str, id: str, stage: str, description: str) -> Callable[[Inject], Inject]:
    def register(inject: Inject) -> Inject:
        FLAWS[name] = Flaw(name, id, stage, description, inject)
        return inject

    return register


def flawed(name: str, config: RunConfig) -> tuple[RunConfig, Steps]:
    """The settings and steps of a run with this flaw. Raises ConfigError for an unknown name.

    >>> config, steps = flawed("n1", RunConfig())
    >>> config.sample.n, steps.name
    (1, 'n1')
    """
    if name not in FLAWS:
        raise unknown_name("flaw", name, FLAWS, "flawed(name=...)")
    return FLAWS[name].inject(config, replace(HEALTHY, name=name))


def run_flawed(
    name: str,
    config: RunConfig | None = None,
    *,
    out: str | Path,
    show_progress: bool = True,
    **settings: Any,
) -> Report:
    """`pipeline.run` with one named flaw; same arguments, same report, same run folder.

    Raises ConfigError for an unknown flaw, and the errors of `pipeline.run`.
    """
    config, steps = flawed(name, config or RunConfig.of(**settings))
    return run(config, out=out, steps=steps, show_progress=show_progress)


# Sampling ------------------------------------------------------------------------------------------------


@_flaw("n1", "F05", "sample", "one response per prompt: there is nothing to choose from")
def _n1(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, sample=replace(config.sample, n=1)), steps


@_flaw("temperature_zero", "F06", "sample", "greedy decoding: all n responses of a prompt are one text")
def _temperature_zero(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, sample=replace(config.sample, temperature=0.0)), steps


@_flaw(
    "wrong_prompt_pairing", "F10", "sample", "row i gets prompt i % M instead of i // n: responses to others"
)
def _wrong_prompt_pairing(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def draw(policy: Policy, prompts: Dataset, sampling: SampleConfig) -> Dataset:
        return mispaired(sample_part(policy, prompts, sampling), sampling.n)

    return config, replace(steps, sample=draw)


def mispaired(responses: Dataset, n: int) -> Dataset:
    """The responses of M prompts x n, dealt out to the prompts by i % M as a wrong flattening would."""
    prompts = len(responses) // n
    order = [sample * prompts + prompt for prompt in range(prompts) for sample in range(n)]
    moved = schema.take(responses, order)
    for name in ("response", "token_ids", "token_logprobs", "logprob", "finish_reason", "seed"):
        responses = schema.with_column(responses, name, moved[name][:])
    return responses


@_flaw("truncated_as_finished", "F25", "sample", "responses are cut short and then marked as finished")
def _truncated_as_finished(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def draw(policy: Policy, prompts: Dataset, sampling: SampleConfig) -> Dataset:
        return marked_finished(sample_part(policy, prompts, sampling), policy.eos_ids[0])

    short = replace(config.sample, max_new_tokens=SHORT_RESPONSE, min_new_tokens=0)
    return replace(config, sample=short), replace(steps, sample=draw)


def marked_finished(responses: Dataset, eos: int) -> Dataset:
    """The responses with an end-of-sequence token behind the cut ones, as if the policy had stopped there."""
    cut = [reason == "length" for reason in responses["finish_reason"][:]]
    ids = [
        [*row, eos] if was_cut else list(row)
        for row, was_cut in zip(responses["token_ids"][:], cut, strict=True)
    ]
    logprobs = [
        [*row, 0.0] if was_cut else list(row)
        for row, was_cut in zip(responses["token_logprobs"][:], cut, strict=True)
    ]
    responses = schema.with_column(responses, "token_ids", ids)
    responses = schema.with_column(responses, "token_logprobs", logprobs)
    return schema.with_column(responses, "finish_reason", ["eos"] * len(responses))


@_flaw("stale_samples", "F19", "sample", "every round selects from the pool of round 1 again")
def _stale_samples(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, rounds=max(2, config.rounds)), replace(steps, pool_round=_first)


@_flaw(
    "same_seed_every_round",
    "F20",
    "sample",
    "every round draws with the seed, and so the prompts, of round 1",
)
def _same_seed_every_round(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, rounds=max(2, config.rounds)), replace(steps, seed_round=_first)


def _first(number: int) -> int:
    return 1


# Scoring -------------------------------------------------------------------------------------------------


@_flaw("prompt_blind_scoring", "F08", "score", "the reward model sees the response without its prompt")
def _prompt_blind_scoring(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def judge(reward_model: RewardModel, responses: Dataset) -> Dataset:
        return score_part(dataclasses.replace(reward_model, prompt_blind=True), responses)

    return config, replace(steps, score=judge)


@_flaw(
    "shuffled_rewards",
    "F09",
    "score",
    "rewards come back in another order and are attached to the wrong rows",
)
def _shuffled_rewards(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def judge(reward_model: RewardModel, responses: Dataset) -> Dataset:
        scored = score_part(reward_model, responses)
        return schema.with_column(
            scored, "reward", _rng(responses, config.seed).permutation(scored["reward"][:])
        )

    return config, replace(steps, score=judge)


@_flaw("noise_reward_model", "F11", "score", "the reward model's head is untrained: its rewards are noise")
def _noise_reward_model(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def judge(reward_model: RewardModel, responses: Dataset) -> Dataset:
        noise = _rng(responses, config.seed).standard_normal(len(responses))
        return schema.with_column(responses, "reward", noise)

    return config, replace(steps, score=judge)


def _rng(table: Dataset, seed: int) -> np.random.Generator:
    """A generator of its own for every part of a table, the same whenever that part is done again."""
    digest = hashlib.sha256(schema.fingerprint(table).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


@_flaw(
    "length_biased_reward_model", "F12", "score", "the pool is scored by a reward model that pays for length"
)
def _length_biased_reward_model(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, scorer="tiny-length")


@_flaw(
    "swapped_reward_model", "F03", "score", "the pool is scored by a reward model trained on swapped labels"
)
def _swapped_reward_model(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, scorer="tiny-swapped")


# Selection -----------------------------------------------------------------------------------------------


@_flaw(
    "random_selection", "F04", "select", "the rewards are ignored: a random response of each prompt is kept"
)
def _random_selection(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def choose(scored: Dataset, selector: str, options: Mapping[str, Any], seed: int) -> Dataset:
        return matched_random(scored, select_rows(scored, selector, options, seed), seed + 1)

    return config, replace(steps, select=choose)


@_flaw("train_on_all", "F02", "select", "nothing is selected: the policy is tuned on its own distribution")
def _train_on_all(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, select=_choose_by("all"))


@_flaw("worst", "F03", "select", "the sign is wrong: the response with the lowest reward is kept")
def _worst(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, select=_choose_by("worst"))


@_flaw(
    "top_k_overall",
    "F29",
    "select",
    "the best rows of the whole pool are kept: easy prompts crowd out others",
)
def _top_k_overall(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    fraction = 1.0 / config.sample.n
    return config, replace(steps, select=_choose_by("top_fraction", fraction=fraction))


def _choose_by(name: str, **fixed: Any) -> Callable[[Dataset, str, Mapping[str, Any], int], Dataset]:
    def choose(scored: Dataset, selector: str, options: Mapping[str, Any], seed: int) -> Dataset:
        return select_rows(scored, name, fixed, seed)

    return choose


# Fine-tuning ---------------------------------------------------------------------------------------------


@_flaw("no_prompt_mask", "F22", "finetune", "the loss is taken on the prompt's tokens too")
def _no_prompt_mask(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, finetune=_finetune_with(train_on_prompt=True))


@_flaw(
    "missing_eos", "F24", "finetune", "the targets lack the end-of-sequence token: stopping is never taught"
)
def _missing_eos(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, finetune=_finetune_with(drop_eos=True))


def _finetune_with(**hooks: bool) -> Callable[..., Policy]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        return finetune_folder(policy, kept, out, config, show, **hooks)

    return tune


@_flaw("learning_rate_10x", "F46", "finetune", "the learning rate is ten times too high")
def _learning_rate_10x(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        from rslib.training import Optimiser

        rate = 10 * Optimiser.of(config, policy.parameters).learning_rate
        return finetune_folder(policy, kept, out, replace(config, learning_rate=rate), show)

    return config, replace(steps, finetune=tune)


@_flaw(
    "many_epochs",
    "F46",
    "finetune",
    f"{MANY_EPOCHS} passes over the few kept rows: they are learned by heart",
)
def _many_epochs(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        return finetune_folder(policy, kept, out, replace(config, epochs=MANY_EPOCHS), show)

    return config, replace(steps, finetune=tune)


@_flaw(
    "tune_reward_model", "F01", "finetune", "the optimiser got the wrong model: the policy leaves unchanged"
)
def _tune_reward_model(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        policy.save(out)
        return policy

    return config, replace(steps, finetune=tune)


# Evaluation ----------------------------------------------------------------------------------------------


@_flaw(
    "evaluate_on_training_prompts",
    "F18",
    "evaluate",
    "the policy is judged on the prompts that it was tuned on",
)
def _evaluate_on_training_prompts(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def heldout(slices: Sequence[Dataset], _: Dataset) -> Dataset:
        return slices[0]

    return config, replace(steps, heldout=heldout)
